"""Steps that a worker claims before it has slots for them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from tests.engine.factories import ONE_SLOT, SOON, of_kind, template
from tests.waiting import eventually

from tasker import Context, LocalClient, StepStatus, Worker
from tasker.engine import claimer
from tasker.engine.slots import Slots
from tasker.model import AttemptOutcome, Task, TaskId
from tasker.notices import Notice, StepStarted
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("flow", "only")


@pytest.fixture(autouse=True)
def two_ahead(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each worker claim two steps more than it has slots, however slow it is."""
    monkeypatch.setattr(Slots, "capacity", property(lambda slots: slots.total + 2))
    monkeypatch.setattr(claimer, "PATIENCE", 3600.0)
    yield


class Gate:
    """A handler that runs until it is opened, and records who ran."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.ran: list[TaskId] = []
        self.at_once = self.most_at_once = 0

    async def __call__(self, context: Context) -> None:
        self.ran.append(context.task_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.open.wait()
        self.at_once -= 1


@asynccontextmanager
async def three_tasks(
    store: Store, gate: Gate, events: list[Notice] | None = None
) -> AsyncIterator[tuple[Worker, list[Task]]]:
    """Start a worker with one slot; it runs the first of three tasks and has claimed them all."""

    async def only(context: Context) -> None:
        await gate(context)

    observers = [] if events is None else [events.append]
    async with Worker(
        store, [{"only": only}], templates=[FLOW], settings=ONE_SLOT, observers=observers
    ) as worker:
        client = LocalClient(store)
        tasks = [await client.create_task("n.flow") for _ in range(3)]
        await eventually(lambda: worker._slots.waiting == 2 and gate.ran)
        yield worker, tasks


async def _held(store: Store, worker: Worker, count: int) -> bool:
    return count == len(await store.list_held_claims(worker.id))


async def test_steps_claimed_ahead_run_as_slots_become_free(memory: Store) -> None:
    gate = Gate()
    async with three_tasks(memory, gate) as (worker, tasks):
        before = list(gate.ran)
        gate.open.set()
        for task in tasks:
            await worker.client.wait(task.id, timeout=SOON)

    assert [tasks[0].id] == before
    assert [task.id for task in tasks] == gate.ran
    assert 1 == gate.most_at_once


async def test_steps_claimed_ahead_are_released_when_running_attempts_take_long(
    memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be claimed ahead and released several times before the slot becomes free."""
    monkeypatch.setattr(claimer, "PATIENCE", 0.01)
    gate = Gate()

    async def only(context: Context) -> None:
        await gate(context)

    async with Worker(memory, [{"only": only}], templates=[FLOW], settings=ONE_SLOT) as worker:
        tasks = [await worker.client.create_task("n.flow") for _ in range(3)]

        async def is_released() -> bool:
            histories = [await memory.list_attempts(task.id) for task in tasks]
            return any(row.outcome is AttemptOutcome.RELEASED for rows in histories for row in rows)

        await eventually(is_released)
        assert 1 == len(gate.ran)
        gate.open.set()
        for task in tasks:
            await worker.client.wait(task.id, timeout=SOON)


async def test_steps_claimed_ahead_are_released_when_the_worker_stops(memory: Store) -> None:
    gate = Gate()
    async with three_tasks(memory, gate) as (worker, tasks):
        worker.stop(SOON)
        await eventually(lambda: _held(memory, worker, 1))
        states = [(await memory.list_steps(task.id))[0].status for task in tasks]
        gate.open.set()

    assert [StepStatus.IN_PROGRESS, StepStatus.ENQUEUED, StepStatus.ENQUEUED] == states
    assert [tasks[0].id] == gate.ran


async def test_a_cancelled_step_claimed_ahead_never_starts(memory: Store) -> None:
    gate = Gate()
    events: list[Notice] = []
    async with three_tasks(memory, gate, events) as (worker, tasks):
        await LocalClient(memory).cancel(tasks[1].id, reason="not needed")
        await eventually(lambda: worker._slots.waiting == 1)
        gate.open.set()
        await worker.client.wait(tasks[2].id, timeout=SOON)

    started = [event.task_id for event in of_kind(StepStarted, events)]
    assert [tasks[0].id, tasks[2].id] == started


async def test_steps_claimed_ahead_are_dropped_with_a_lost_lease(
    memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Their next attempts are claimed under the new lease.
    """
    pause = memory.wait_for_revocation
    monkeypatch.setattr(memory, "wait_for_revocation", lambda _: pause(0.1))  # renews sooner
    gate = Gate()
    events: list[Notice] = []
    async with three_tasks(memory, gate, events) as (worker, tasks):
        before = worker.id
        await memory.retire_worker(before)
        await eventually(lambda: worker.id != before)
        gate.open.set()
        for task in tasks:
            await worker.client.wait(task.id, timeout=SOON)

    started = {(event.task_id, event.attempt) for event in of_kind(StepStarted, events)}
    assert {(tasks[0].id, 1), *((task.id, 2) for task in tasks)} == started
