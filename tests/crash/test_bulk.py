"""A process dies amid a bulk operation; another one carries it on."""

import asyncio
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.waiting import eventually

from tasker import LocalClient, open_store
from tasker.bulk import BulkAction, BulkStatus
from tasker.model import StepStatus, TaskFilter, TaskId, TaskStatus
from tasker.store.protocol import Store
from tasker.testing.postgres import temporary_schema
from tasker.testing.store_suite.factories import (
    create_and_run_task,
    one_step_template,
    register_and_create_task,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
TASKS = 4
DEATHS = [("before", 2), ("after", 3)]
"""A side of a commit, and its number; the first one takes the operation."""


@pytest.mark.parametrize("action", [BulkAction.RETRY, BulkAction.CANCEL])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_bulk_operation_survives_the_death_of_its_process(
    kind: str, action: BulkAction, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Each task is changed once, and counted once."""
    with ExitStack() as stack:
        urls = [f"sqlite:{tmp_path / f'{no}.db'}" for no in range(len(DEATHS))]
        if kind == "postgres":
            server = str(request.getfixturevalue("postgres_url"))
            schemas = [temporary_schema(server) for _ in DEATHS]
            urls = [await asyncio.to_thread(stack.enter_context, one) for one in schemas]
        cases = zip(urls, DEATHS, strict=True)
        await asyncio.gather(*(survive(url, action, *death) for url, death in cases))
        await asyncio.to_thread(stack.close)


async def survive(url: str, action: BulkAction, side: str, commit: int) -> None:
    async with open_store(url, upgrade=True) as store:
        client = LocalClient(store, actor="ana")
        tasks = [await prepared(store, action) for _ in range(TASKS)]
        status = TaskStatus.ERROR if action is BulkAction.RETRY else None
        filter = TaskFilter(namespace="suite", status=status)
        started = await client.bulk.start(action, filter, per_second=1000, reason="because")
        arguments = (url, side, str(commit))
        victim = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.crash.bulk", *arguments), cwd=ROOT
        )
        assert -signal.SIGKILL == await victim.wait()
        assert BulkStatus.RUNNING is (await client.bulk.get(started.id)).status

        async def no_operation_runs() -> bool:
            return await client.bulk.execute_batch_if_due() is None

        await eventually(no_operation_runs)
        ended = await client.bulk.get(started.id)
        assert (BulkStatus.COMPLETE, TASKS, {}) == (ended.status, ended.changed, ended.rejected)
        for task_id in tasks:
            acts = [
                one for one in await store.list_audit_entries(task_id) if one.bulk_id == started.id
            ]
            assert 1 == len(acts)
            (step,) = await store.list_steps(task_id)
            expected = StepStatus.ENQUEUED if status else StepStatus.CANCELLED
            assert expected is step.status


async def prepared(store: Store, action: BulkAction) -> TaskId:
    """Create a task to which the action applies."""
    if action is BulkAction.CANCEL:
        return await register_and_create_task(store, one_step_template())
    return (await create_and_run_task(store, one_step_template(), failing=("only",))).id
