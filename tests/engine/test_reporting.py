"""What is logged and reported of attempts and tasks."""

import logging
from typing import Any

import pytest
from tests.engine.factories import SOON, of_kind, template

from tasker import TaskFailed, Worker
from tasker.errors import PermanentError
from tasker.notices import Notice, StepSettled, TaskEnded
from tasker.store.protocol import Store
from tasker.template.load import parse_template
from tasker.testing import run_workflow

pytestmark = pytest.mark.anyio


def broken() -> None:
    raise PermanentError("it broke")


async def fail(store: Store, **options: Any) -> None:
    """Run a task whose step fails permanently."""
    async with Worker(
        store, [{"only": broken}], templates=[template("flow", "only")], **options
    ) as worker:
        with pytest.raises(TaskFailed):
            await worker.client.run("n.flow", timeout=SOON)


async def test_final_failures_are_logged_without_observers(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await fail(memory)

    levels = {record.getMessage(): record.levelno for record in caplog.records}
    assert logging.WARNING == levels["attempt_failed"]
    assert logging.WARNING == levels["task_failed"]


async def test_a_skipped_step_is_logged_as_skipped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="tasker")
    flow = parse_template("{name: flow, steps: [{name: only, when: input.cents > 5}]}")

    await run_workflow(flow, {"cents": 1}, stubs={"only": 1})

    levels = {record.getMessage(): record.levelno for record in caplog.records}
    assert logging.INFO == levels["step_skipped"]
    assert "attempt_failed" not in levels


async def test_a_failing_observer_affects_neither_work_nor_other_observers(memory: Store) -> None:
    events: list[Notice] = []

    def raising(event: Notice) -> None:
        raise RuntimeError(type(event).__name__)

    await fail(memory, observers=[raising, events.append])

    assert ["error"] == [event.outcome.value for event in of_kind(StepSettled, events)]
    assert ["error"] == [event.status.value for event in of_kind(TaskEnded, events)]
