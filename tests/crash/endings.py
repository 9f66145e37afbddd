"""Tasks that fail or are cancelled and undo what they did, and tasks that wait for a place.

Their ends are events. Their operator acts again when asked again: as people do that do not know
whether their last action arrived.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.crash.fleet import ITEMS, PATIENT, step
from tests.crash.worker import effects

from tasker import (
    Compensation,
    Context,
    LocalClient,
    PermanentError,
    RetryableError,
    StepSpec,
    TaskRequest,
)
from tasker.errors import Rejected
from tasker.events import EventFilter
from tasker.model import (
    AwaitedSignal,
    CompensateSpec,
    CompensationStatus,
    Map,
    StepStatus,
    Task,
    TaskConcurrency,
    TaskEndEvent,
    TaskStatus,
    Template,
    WaitSpec,
)
from tasker.store.protocol import Store

UNDO = CompensateSpec(callable="undoing", retry=PATIENT)


def undone(name: str, *after: str) -> StepSpec:
    return StepSpec(name=name, callable="quick", dependencies=after, retry=PATIENT, compensate=UNDO)


def template(name: str, *steps: StepSpec, **more: Any) -> Template:
    return Template(
        namespace="crash",
        name=name,
        version="1.0.0",
        steps=steps,
        events=tuple(TaskEndEvent),
        **more,
    )


FAILED = template(
    "failed",
    undone("reserve"),
    undone("charge", "reserve"),
    StepSpec(
        name="each",
        spawning=Map(over="input.items"),
        steps=(undone("fetch"),),
        dependencies=("reserve",),
    ),
    step("ship", "failing", "charge", "each"),
    compensation=Compensation(hold=0.05),
)
ABANDONED = template(
    "abandoned",
    undone("reserve"),
    StepSpec(
        name="delivered",
        wait=WaitSpec(signals=(AwaitedSignal("never"),), timeout=timedelta(hours=1)),
        dependencies=("reserve",),
    ),
    step("end", "quick", "delivered"),
)
STUCK = template(
    "stuck",
    StepSpec(
        name="reserve",
        callable="quick",
        retry=PATIENT,
        compensate=CompensateSpec(callable="failing", retry=PATIENT),
    ),
    step("ship", "failing", "reserve"),
    concurrency=TaskConcurrency("stuck", tasks=1, when_full="wait"),
)
HELD = template(
    "held",
    undone("reserve"),
    step("ship", "failing_until_retried", "reserve"),
    compensation=Compensation(hold="1h"),
    concurrency=TaskConcurrency("held", tasks=1, when_full="wait"),
)
LINED_UP = template(
    "lined_up",
    step("first", "quick"),
    step("second", "failing_first", "first"),
    concurrency=TaskConcurrency("line", tasks=1, when_full="wait"),
)
REPLACED, REPLACING = (
    template(
        name,
        step("only", "quick"),
        concurrency=TaskConcurrency("slot", tasks=1, when_full="cancel_oldest"),
    )
    for name in ("replaced", "replacing")
)
TEMPLATES = {
    each.name: each for each in (FAILED, ABANDONED, STUCK, HELD, LINED_UP, REPLACED, REPLACING)
}
ENDS = {
    "failed": TaskStatus.ERROR,
    "abandoned": TaskStatus.CANCELLED,
    "stuck": TaskStatus.ERROR,
    "replaced": TaskStatus.CANCELLED,
}
"""How tasks end that do not complete, by template."""

STATUSES = {
    ("failed", "ship"): StepStatus.ERROR,
    ("abandoned", "delivered"): StepStatus.CANCELLED,
    ("abandoned", "end"): StepStatus.CANCELLED,
    ("stuck", "ship"): StepStatus.ERROR,
    ("stuck", "reserve.compensation"): StepStatus.RESOLVED_MANUALLY,
    ("replaced", "only"): StepStatus.CANCELLED,
}
"""How steps end that do not complete, by template and step."""

UNHANDLED = {(name, "compensation.plan") for name in ("failed", "abandoned", "stuck")} | {
    ("stuck", "reserve.compensation")
}
"""Steps that end without an effect of their last attempt."""

EVENTS = {
    TaskStatus.COMPLETE: TaskEndEvent.COMPLETED,
    TaskStatus.ERROR: TaskEndEvent.FAILED,
    TaskStatus.CANCELLED: TaskEndEvent.CANCELLED,
}
"""The event of each end."""

UNDONE = {
    "failed": {"reserve", "charge", *(f"each[{no}].fetch" for no in range(len(ITEMS["items"])))},
    "abandoned": {"reserve"},
}
"""The steps that are undone by a handler, by template."""

TASKS = [
    TaskRequest(template=f"crash.{name}", context=ITEMS, idempotency_key=f"{name}-{no}")
    for name, many in (
        *(("failed", 2), ("abandoned", 2), ("stuck", 2), ("held", 2)),
        *(("lined_up", 3), ("replaced", 1), ("replacing", 1)),
    )
    for no in range(many)
]


def handlers(file: Path) -> dict[str, Callable[..., Any]]:
    """Return the handlers that `worker.handlers` lacks."""
    record = effects(file)
    undos = os.open(undos_file(file), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def undoing(context: Context) -> None:
        record(context)
        if context.counted_attempts == 1:
            raise RetryableError("once", retry_after=0.05)
        os.write(undos, f"{context.task_id} {context.step}\n".encode())

    def failing_until_retried(context: Context) -> str:
        record(context)
        if context.attempt == 1:
            raise PermanentError("once")
        return context.step

    return {"undoing": undoing, "failing_until_retried": failing_until_retried}


def undos_file(file: Path) -> Path:
    """Return the file of what was undone beside that of effects."""
    return file.with_name(f"{file.name}-undos")


async def create(client: LocalClient) -> list[Task]:
    """Create the tasks, or find them where they exist."""
    for each in TEMPLATES.values():
        await client.register(each)
    return await client.create_tasks(TASKS)


async def operate(store: Store, tasks: Sequence[Task]) -> None:
    """Cancel, retry and resolve what an operator has to, until all tasks have ended permanently."""
    client = LocalClient(store, actor="ana")
    for task in tasks:
        while not _is_over(current := await client.get(task.id)):
            with suppress(Rejected):  # it is not so far yet, or was done before
                await _act(client, current)
            await asyncio.sleep(0.05)


def _is_over(task: Task) -> bool:
    return task.has_ended and task.compensation is not CompensationStatus.INCOMPLETE


async def _act(client: LocalClient, task: Task) -> None:
    if task.compensation is CompensationStatus.INCOMPLETE:
        await client.resolve(task.id, "reserve.compensation", reason="undone by hand")
    elif task.name == HELD.name and task.compensation is not None:
        await client.retry(task.id, reason="it may work now")
    elif task.name == ABANDONED.name and task.counts.waiting:
        await client.cancel(task.id, reason="it takes too long")


async def prove(store: Store, tasks: Sequence[Task], file: Path) -> None:
    """Hold what was undone, who had a place, and the events of ends against what should be."""
    undos = _first_words(undos_file(file))
    for task in [task for task in tasks if task.name in TEMPLATES]:
        ended = await store.get_task(task.id)
        compensated = task.name in (*UNDONE, STUCK.name)
        assert (CompensationStatus.COMPLETE if compensated else None) is ended.compensation
        if task.name in UNDONE:
            names = [name for task_id, name in undos if task_id == task.id]
            first = names.index("reserve.compensation")
            assert UNDONE[task.name] == {name.removesuffix(".compensation") for name in names}
            assert {"reserve.compensation"} == set(names[first:])
        events = await store.list_events(EventFilter(task_id=task.id), limit=100)
        ends = 2 if task.name == STUCK.name else 1  # and again, once it was resolved
        expected = [(EVENTS[ended.status], 0)] * ends
        assert expected == [(event.name, event.step_no) for event in events]
    lined_up = [task.id for task in tasks if task.name == LINED_UP.name]
    began = [task_id for task_id, _ in _first_words(file) if task_id in lined_up]
    assert lined_up == [task_id for task_id, _ in groupby(began)]


def _first_words(file: Path) -> list[tuple[str, str]]:
    """Read the task and the step of each line."""
    lines = [line.split() for line in file.read_text().splitlines()]
    return [(line[0], line[1]) for line in lines]
