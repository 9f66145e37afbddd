"""`tasker task show` of a task with many instances."""

from io import StringIO

import pytest
from rich.console import Console

from tasker import (
    CompensateSpec,
    PermanentError,
    StepSpec,
    StepStatus,
    Template,
    Worker,
    open_store,
)
from tasker.cli.reading import read_task_detail
from tasker.cli.render.task import render_task
from tasker.errors import TaskFailed
from tasker.model import InstanceFailureHandling, InstanceFailurePolicy, Map

pytestmark = pytest.mark.anyio


async def test_instances_are_counted_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of each status are kept, and the first failure is shown."""
    monkeypatch.setattr("tasker.cli.reading.STEPS_PAGE", 7)
    monkeypatch.setattr("tasker.cli.reading._INSTANCES", 2)
    each = StepSpec(
        name="each",
        spawning=Map(over="input.items"),
        on_failure=InstanceFailureHandling(policy=InstanceFailurePolicy.CONTINUE),
    )
    template = Template(namespace="n", name="many", version="1.0.0", steps=(each,))

    def work(item: int) -> int:
        if item % 10 == 4:
            raise PermanentError("not this one")
        return item

    async with (
        open_store("sqlite::memory:", upgrade=True) as store,
        Worker(store, [{"each": work}], templates=[template]) as worker,
    ):
        task = await worker.client.run("n.many", {"items": list(range(30))})
        few = await read_task_detail(worker.client, task.id, full=False)
        everything = await read_task_detail(worker.client, task.id)

    console = Console(file=StringIO(), width=200)
    render_task(console, few, full=False)
    shown = console.file.getvalue()  # type: ignore[attr-defined]

    [node] = {step.template_node for step in few.steps if step.instance is not None}
    assert (27, 3) == (few.counts[node, StepStatus.COMPLETE], few.counts[node, StepStatus.ERROR])
    assert few.counts == everything.counts
    assert (4, 30) == tuple(
        sum(step.instance is not None for step in detail.steps) for detail in (few, everything)
    )
    assert "30 instances" in shown
    assert "27 complete, 3 error; each[4]: not this one" in shown
    assert "each[4]' failed: not this one" in shown
    assert "and 2 other steps" in shown


async def test_compensating_steps_are_shown_separately() -> None:
    """In the order in which they run, with the status of the compensation."""
    undo = CompensateSpec(callable="undo")
    steps = (
        StepSpec(name="book", compensate=undo),
        StepSpec(
            name="pack",
            dependencies=("book",),
            spawning=Map(over="input.items"),
            compensate=undo,
        ),
        StepSpec(name="ship", dependencies=("pack",)),
    )
    template = Template(namespace="n", name="order", version="1.0.0", steps=steps)

    def ship() -> None:
        raise PermanentError("no carrier")

    handlers = {"book": lambda: 1, "pack": lambda: 2, "ship": ship, "undo": lambda: None}
    async with (
        open_store("sqlite::memory:", upgrade=True) as store,
        Worker(store, [handlers], templates=[template]) as worker,
    ):
        with pytest.raises(TaskFailed) as failed:
            await worker.client.run("n.order", {"items": [1, 2]})
        detail = await read_task_detail(worker.client, failed.value.task.id, full=False)

    console = Console(file=StringIO(), width=200)
    render_task(console, detail, full=False)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    steps_part, compensation = shown.split("Compensation\n")
    assert "compensation  complete" in steps_part
    assert "pack[0].compensation" not in steps_part.partition("Attempts")[0]
    named = [line.split()[1] for line in compensation.splitlines() if ".compensation" in line]
    assert ["pack[1].compensation", "pack[0].compensation", "book.compensation"] == named[:3]
