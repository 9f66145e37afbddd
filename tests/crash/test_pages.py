"""A process dies between two pages of an action; the janitor of another one carries it out."""

import asyncio
import signal
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.crash.pages import ACT, ACTIONS

from tasker import open_store
from tasker.model import PauseTarget, StepStatus, TaskId, TaskStatus, TemplateId
from tasker.store.protocol import Store
from tasker.testing.postgres import temporary_schema
from tasker.testing.store_suite.factories import (
    ManualWorker,
    create_task,
    fan_template,
    register_template,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
STEPS = 7  #: of each task, besides the first and the last one; a page has two of them
COMMITS = (1, 3)  #: of the action, before the process dies


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_an_action_survives_a_kill_between_two_of_its_pages(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A sweep changes the remaining steps, as the action would have."""
    url = f"sqlite:{tmp_path / 'pages.db'}"
    with ExitStack() as stack:
        if kind == "postgres":
            server = str(request.getfixturevalue("postgres_url"))
            url = await asyncio.to_thread(stack.enter_context, temporary_schema(server))
        async with open_store(url, upgrade=True) as store:
            template = await register_template(store, fan_template(STEPS))
            deaths = [(action, commits) for action in ACTIONS for commits in COMMITS]
            tasks = [await begin(store, template, action) for action, _ in deaths]
            victims = [
                run_victim(url, action, task_id, commits)
                for task_id, (action, commits) in zip(tasks, deaths, strict=True)
            ]
            assert [-signal.SIGKILL] * len(deaths) == await asyncio.gather(*victims)
            await store.end_overdue_and_failed_tasks()
            actions = [action for action, _ in deaths]
            await prove(store, dict(zip(tasks, actions, strict=True)))
        await asyncio.to_thread(stack.close)


async def begin(store: Store, template: TemplateId, action: str) -> TaskId:
    """Create a task all of whose steps but the last one are due, paused or failed."""
    task_id = await create_task(store, template)
    worker = await ManualWorker.register(store, handlers=["start"])
    await worker.complete(await worker.claim_one())
    if action == "retry":
        failing = await ManualWorker.register(store, handlers=["between"])
        await failing.fail(*await failing.claim())
    elif action == "resume":
        await store.pause(PauseTarget.of_task(task_id), ACT)
    return task_id


async def run_victim(url: str, action: str, task_id: TaskId, commits: int) -> int:
    """Run a process until it dies, and return its exit code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.crash.pages", url, action, task_id, str(commits)), cwd=ROOT
    )
    return await process.wait()


async def prove(store: Store, tasks: dict[TaskId, str]) -> None:
    """Compare the steps that can be claimed, and the ends of the tasks, with the actions."""
    worker = await ManualWorker.register(store)
    claims = await worker.claim()
    claimed = Counter(claim.task_id for claim in claims)
    runs = {"cancel": 0, "pause": 0, "resume": STEPS, "retry": STEPS}
    assert {task_id: runs[action] for task_id, action in tasks.items()} == {
        task_id: claimed[task_id] for task_id in tasks
    }
    await worker.complete(*claims)
    await worker.complete_all_due()
    for task_id, action in tasks.items():
        task, steps = await store.get_task(task_id), await store.list_steps(task_id)
        if action == "cancel":
            assert TaskStatus.CANCELLED is task.status
            assert {StepStatus.COMPLETE, StepStatus.CANCELLED} == {step.status for step in steps}
        elif action == "pause":
            assert TaskStatus.IN_PROGRESS is task.status
            assert 1 == len(task.pauses)
        else:
            assert TaskStatus.COMPLETE is task.status
