"""The fixtures that pytest finds by itself, and what they cost."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasker import Context, Retry, StepStatus, TaskStatus, Worker
from tasker.clock import ManualClock
from tasker.model import SchemaStatus, StepSpec, TaskFilter, Template
from tasker.store.protocol import Store
from tasker.testing.plugin import StartWorker

pytestmark = pytest.mark.anyio

HOURLY = Retry(
    max_attempts=5, initial_delay=timedelta(hours=1), max_delay=timedelta(days=1), jitter=0
)
PATIENT = Template(
    namespace="default", name="patient", version="1.0.0", steps=(StepSpec(name="x", retry=HOURLY),)
)


async def test_the_fixture_is_an_open_and_empty_store(tasker_store: Store) -> None:
    """
    In memory, with its schema.
    """
    status = await tasker_store.schema_status()

    assert SchemaStatus(status.wanted, status.wanted) == status
    assert [] == await tasker_store.list_tasks(TaskFilter())


async def test_a_worker_runs_what_its_client_creates(
    tasker_worker: StartWorker, tasker_clock: ManualClock
) -> None:
    """
    Delays between attempts pass at once, on the clock that the test holds.
    """
    began = tasker_clock.now()
    seen: list[datetime] = []

    def x(ctx: Context) -> int:
        seen.append(tasker_clock.now())
        if ctx.attempt < 4:
            raise ConnectionError
        return ctx.attempt

    worker: Worker = await tasker_worker({"x": x}, templates=[PATIENT])
    task = await worker.client.run("patient", timeout=timedelta(seconds=20))

    assert TaskStatus.COMPLETE == task.status
    assert [timedelta(hours=hours) for hours in (0, 1, 3, 7)] == [at - began for at in seen]
    assert began.tzinfo is UTC


async def test_an_operator_can_act_during_a_test(tasker_worker: StartWorker) -> None:
    """
    Fail, look, retry: the whole client is there.
    """
    broken = [True]

    def x() -> str:
        if broken[0]:
            raise ConnectionError
        return "mended"

    worker: Worker = await tasker_worker({"x": x}, templates=[PATIENT])
    task = await worker.client.create_task("patient")
    while not (await worker.client.get(task.id)).has_ended:
        pass
    broken[0] = False
    await worker.client.retry(task.id, reason="mended")
    await worker.client.wait(task.id, timeout=timedelta(seconds=20))

    (step,) = await worker.client.steps(task.id)
    assert (StepStatus.COMPLETE, "mended", 6) == (step.status, step.result, step.attempts)


def test_the_plugin_costs_nothing_until_it_is_used() -> None:
    """Loading it imports neither the engine nor any library but pytest."""
    code = """
import sys, pytest
before = set(sys.modules)
import tasker.testing.plugin
print(*sorted(name for name in set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )

    assert {"tasker", "tasker.testing", "tasker.testing.plugin"} == set(done.stdout.split())
