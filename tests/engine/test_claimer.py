"""Claims: how many, when, and that none of them is forgotten or runs twice."""

import asyncio
from typing import Any

import pytest
from tests.engine.factories import SOON, Unreliable, of_kind, template
from tests.waiting import eventually

from tasker import Context, LocalClient, StepStatus, Worker, WorkerSettings
from tasker.events import Event, StepStarted
from tasker.model import AttemptOutcome, Claim, WorkerId
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("flow", "only")


async def test_an_idle_worker_claims_at_its_poll_interval_after_a_retry(memory: Store) -> None:
    def only(context: Context) -> None:
        if not context.is_retry:
            raise ValueError("once")

    store = Unreliable(memory)
    async with Worker(store, [{"only": only}], templates=[FLOW]) as worker:
        await worker.client.run("n.flow", timeout=SOON)
        before = store.calls.count("claim")
        await asyncio.sleep(0.5)  # half a poll: a window to count in
        claims = store.calls.count("claim") - before

    assert claims <= 3


async def test_claims_under_way_at_the_stop_are_claimable_by_others_before_the_grace_ends(
    memory: Store,
) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def only() -> None:
        started.set()
        await release.wait()

    store = Unreliable(memory)
    async with Worker(store, [{"only": only}], templates=[FLOW]) as worker:
        await worker.client.create_task("n.flow")
        await started.wait()
        store.held_up["claim"] = asyncio.Event()
        task = await LocalClient(memory).create_task("n.flow")
        await eventually(lambda: _holds(memory, worker.id, 2))
        worker.stop(SOON)
        store.held_up.pop("claim").set()
        await eventually(lambda: _holds(memory, worker.id, 1))
        [released] = await memory.list_steps(task.id)
        assert not release.is_set()  # the first attempt still runs: the grace has not ended
        release.set()

    assert (StepStatus.ENQUEUED, 1) == (released.status, released.attempts)


async def _holds(store: Store, worker: WorkerId, claims: int) -> bool:
    return claims == len(await store.held(worker))


class SlowToList(Unreliable):
    """A store whose `held` waits for `gate` before it looks."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.looks = 0
        self.gate = asyncio.Event()

    async def held(self, worker: WorkerId) -> Any:
        self.looks += 1
        await self.gate.wait()
        held: list[Claim] = list(await self._store.held(worker))
        return held


async def test_an_attempt_that_starts_while_claims_are_recovered_runs_once(memory: Store) -> None:
    release = asyncio.Event()

    async def only() -> None:
        await release.wait()

    store = SlowToList(memory)
    events: list[Event] = []
    async with Worker(
        store, [{"only": only}], templates=[FLOW], observers=[events.append]
    ) as worker:
        await eventually(lambda: "wait_for_work" in store.calls)
        store.lose("claim")
        other = await LocalClient(memory).create_task("n.flow")
        await eventually(lambda: store.looks)
        task = await worker.client.create_task("n.flow")
        await eventually(lambda: of_kind(StepStarted, events))
        store.gate.set()
        await eventually(lambda: len(of_kind(StepStarted, events)) >= 2)
        release.set()
        for created in (other, task):
            await worker.client.wait(created.id, timeout=SOON)
        outcomes = [row.outcome for row in await memory.history(task.id)]

    assert {(other.id, 1), (task.id, 1)} == {
        (event.task_id, event.attempt) for event in of_kind(StepStarted, events)
    }
    assert 2 == len(of_kind(StepStarted, events))
    assert [AttemptOutcome.COMPLETE] == outcomes


async def test_a_worker_without_slots_to_spare_claims_nothing(memory: Store) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def only() -> None:
        started.set()
        await release.wait()

    store = Unreliable(memory)
    async with Worker(
        store, [{"only": only}], templates=[FLOW], settings=WorkerSettings(slots=1)
    ) as worker:
        first = await worker.client.create_task("n.flow")
        await started.wait()
        before = store.calls.count("claim")
        second = await LocalClient(memory).create_task("n.flow")
        [waiting] = await memory.list_steps(second.id)
        assert before == store.calls.count("claim")
        release.set()
        for task in (first, second):
            await worker.client.wait(task.id, timeout=SOON)

    assert StepStatus.ENQUEUED == waiting.status
