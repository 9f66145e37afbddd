"""Claims: how many, when, and that none of them is forgotten or runs twice."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from tests.engine.factories import SOON, Unreliable, of_kind, template
from tests.engine.pieces import Pieces, assembled
from tests.waiting import eventually

from tasker import Context, LocalClient, StepStatus, Worker, WorkerSettings
from tasker.engine import slots
from tasker.errors import Misuse, StoreUnavailable
from tasker.model import AttemptOutcome, Claim, TaskId, TaskInput, WorkerId
from tasker.notices import Notice, StepStarted
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
        before, began = store.calls.count("claim"), time.monotonic()
        await asyncio.sleep(0.5)  # half a poll: a window to count in
        claims, polls = store.calls.count("claim") - before, time.monotonic() - began

    assert claims <= 3 + polls


async def test_claims_that_arrive_during_the_stop_are_released_before_the_grace_ends(
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
    return claims == len(await store.list_held_claims(worker))


class SlowToList(Unreliable):
    """A store whose `list_held_claims` waits for `gate` before it looks."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.looks = 0
        self.gate = asyncio.Event()

    async def list_held_claims(self, worker: WorkerId) -> Any:
        self.looks += 1
        await self.gate.wait()
        held: list[Claim] = list(await self._store.list_held_claims(worker))
        return held


async def test_an_attempt_that_starts_while_claims_are_recovered_runs_once(memory: Store) -> None:
    release = asyncio.Event()

    async def only() -> None:
        await release.wait()

    store = SlowToList(memory)
    events: list[Notice] = []
    async with Worker(
        store, [{"only": only}], templates=[FLOW], observers=[events.append]
    ) as worker:
        await eventually(lambda: "wait_for_work" in store.calls)
        store.lose("claim", with_claims=True)
        other = await LocalClient(memory).create_task("n.flow")
        await eventually(lambda: store.looks)
        task = await worker.client.create_task("n.flow")
        await eventually(lambda: of_kind(StepStarted, events))
        store.gate.set()
        await eventually(lambda: len(of_kind(StepStarted, events)) >= 2)
        release.set()
        for created in (other, task):
            await worker.client.wait(created.id, timeout=SOON)
        outcomes = [row.outcome for row in await memory.list_attempts(task.id)]

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


async def claimed(pieces: Pieces, store: Store, most: int = 1) -> list[Claim]:
    """Claim steps for pieces whose claimer does not run."""
    claims = (await store.claim(pieces.lease.id, most)).claims
    return list(claims)


async def settled(pieces: Pieces) -> None:
    """Wait for what the pieces have spawned."""
    await eventually(lambda: not pieces.background.pending)


async def test_claims_after_the_stop_are_released_even_if_their_task_is_cached(
    memory: Store,
) -> None:
    async with assembled(memory, [{"only": lambda: 1}], [FLOW]) as pieces:
        task = await LocalClient(memory).create_task("n.flow")
        claims = await claimed(pieces, memory)
        await pieces.cache.fetch_claimed_tasks(claims)
        pieces.claimer.close()

        pieces.claimer.accept_claims(claims)

        assert {} == pieces.executor.running
        await settled(pieces)
        assert [AttemptOutcome.RELEASED] == [
            row.outcome for row in await memory.list_attempts(task.id)
        ]


async def test_claims_whose_task_is_read_at_the_stop_are_released(memory: Store) -> None:
    store = Unreliable(memory)
    async with assembled(store, [{"only": lambda: 1}], [FLOW]) as pieces:
        task = await LocalClient(memory).create_task("n.flow")
        store.held_up["load_task_inputs"] = gate = asyncio.Event()
        pieces.claimer.accept_claims(await claimed(pieces, memory))
        await eventually(lambda: "load_task_inputs" in store.calls)
        pieces.claimer.close()
        gate.set()

        await settled(pieces)

        assert {} == pieces.executor.running
        assert [AttemptOutcome.RELEASED] == [
            row.outcome for row in await memory.list_attempts(task.id)
        ]


async def test_after_a_database_crash_void_claims_stop_and_undone_steps_run_again(
    memory: Store,
) -> None:
    """
    The store lists the step before: its settlement, which had freed the running one, is undone.
    """
    stopped = asyncio.Event()

    async def only() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with assembled(memory, [{"only": only}], [FLOW]) as pieces:
        void, undone = [
            await LocalClient(memory).create_task("n.flow", idempotency_key=key) for key in "ab"
        ]
        claims = {claim.task_id: claim for claim in await claimed(pieces, memory, 2)}
        await pieces.cache.fetch_claimed_tasks([claims[void.id]])
        pieces.claimer.accept_claims([claims[void.id]])
        await LocalClient(memory).cancel(void.id)
        pieces.background.start_loop("claim", pieces.claimer.run())
        pieces.claimer.verify_claims_after_unsynced_settlements(1)

        await eventually(stopped.is_set)
        await eventually(lambda: [claims[undone.id]] == pieces.executor.held_claims())


async def test_claims_whose_task_is_read_while_claims_are_recovered_are_not_read_again(
    memory: Store,
) -> None:
    store = Unreliable(memory)
    async with assembled(store, [{"only": lambda: 1}], [FLOW]) as pieces:
        await LocalClient(memory).create_task("n.flow")
        store.held_up["load_task_inputs"] = gate = asyncio.Event()
        pieces.claimer.accept_claims(await claimed(pieces, memory))
        await eventually(lambda: "load_task_inputs" in store.calls)
        pieces.claimer.verify_claims_after_unsynced_settlements(1)
        pieces.background.start_loop("claim", pieces.claimer.run())
        await eventually(lambda: "claim" in store.calls)  # they are recovered
        gate.set()
        await eventually(lambda: pieces.settler.waiting_count)

    assert 1 == store.calls.count("load_task_inputs")


async def test_claims_are_verified_once_after_relaxed_settlements(
    memory: Store,
) -> None:
    store = Unreliable(memory)
    async with assembled(store, [{"only": lambda: 1}], [FLOW]) as pieces:
        pieces.background.start_loop("claim", pieces.claimer.run())
        await eventually(lambda: "wait_for_work" in store.calls)
        pieces.claimer.verify_claims_after_unsynced_settlements(0)
        pieces.claimer.verify_claims_after_unsynced_settlements(2)
        await eventually(lambda: "list_held_claims" in store.calls)
        pieces.claimer.verify_claims_after_unsynced_settlements(2)
        before = store.calls.count("claim")
        pieces.claimer.wake()
        await eventually(lambda: store.calls.count("claim") > before)

    assert 1 == store.calls.count("list_held_claims")


class Recording(Unreliable):
    """A store that records how many steps each claim asks for, and whose settlements wait."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.asked: list[int] = []
        self.settling = asyncio.Event()
        self.gate = asyncio.Event()

    async def claim(self, worker: Any, limit: int) -> Any:
        self.asked.append(limit)
        return await self._store.claim(worker, limit)

    async def settle(self, *args: Any, **options: Any) -> Any:
        self.settling.set()
        await self.gate.wait()
        return await self._store.settle(*args, **options)


async def test_a_slot_is_reserved_for_a_step_that_each_waiting_outcome_may_free(
    memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise new work would take the slots of started tasks. Nothing is claimed ahead here."""
    monkeypatch.setattr(slots, "MOST_AHEAD", 0)
    store = Recording(memory)
    async with assembled(store, [{"only": lambda: 1}], [FLOW], WorkerSettings(slots=4)) as pieces:
        pieces.background.start_loop("settle", pieces.settler.run())
        for _ in range(2):
            await LocalClient(memory).create_task("n.flow")
        first, second = await claimed(pieces, memory, 2)
        pieces.claimer.accept_claims([first])
        await store.settling.wait()
        pieces.claimer.accept_claims([second])
        await eventually(lambda: pieces.settler.waiting_count)

        pieces.background.start_loop("claim", pieces.claimer.run())
        await eventually(lambda: store.asked)

        assert 3 == store.asked[0]
        store.gate.set()
        await pieces.settler.drain()


async def test_a_root_that_is_created_while_claims_are_recovered_runs_once(memory: Store) -> None:
    """
    Though the store lists it before the reply to its creation arrives.
    """
    store = SlowToList(memory)
    events: list[Notice] = []
    async with Worker(
        store, [{"only": lambda: 1}], templates=[FLOW], observers=[events.append]
    ) as worker:
        await eventually(lambda: "wait_for_work" in store.calls)
        store.lose("claim", with_claims=True)
        other = await LocalClient(memory).create_task("n.flow")
        await eventually(lambda: store.looks)
        store.held_up["create_tasks"] = replied = asyncio.Event()
        creation = asyncio.create_task(worker.client.create_task("n.flow"))
        await eventually(lambda: _holds(memory, worker.id, 2))
        store.gate.set()
        await worker.client.wait(other.id, timeout=SOON)
        replied.set()
        task = await creation
        await worker.client.wait(task.id, timeout=SOON)

    assert {(other.id, 1), (task.id, 1)} == {
        (event.task_id, event.attempt) for event in of_kind(StepStarted, events)
    }
    assert 2 == len(of_kind(StepStarted, events))


async def test_a_reply_lost_while_claims_are_recovered_causes_another_recovery(
    memory: Store,
) -> None:
    store = SlowToList(memory)
    async with Worker(store, [{"only": lambda: 1}], templates=[FLOW]) as worker:
        await eventually(lambda: "wait_for_work" in store.calls)
        store.held_up["create_tasks"] = replied = asyncio.Event()
        creation = asyncio.create_task(worker.client.create_task("n.flow", idempotency_key="key"))
        await eventually(lambda: _holds(memory, worker.id, 1))
        store.lose("claim", with_claims=True)
        await LocalClient(memory).create_task("n.flow")
        await eventually(lambda: store.looks)
        store.lose("create_tasks")
        replied.set()
        with pytest.raises(StoreUnavailable):
            await creation
        store.gate.set()
        task = await memory.find_task_by_idempotency_key("n", "key")
        assert task is not None
        await worker.client.wait(task.id, timeout=SOON)


class UnreadableOnce(Unreliable):
    """A store whose tasks cannot be read at first, when settlements are lost too."""

    is_readable = False

    async def load_task_inputs(self, ids: Sequence[TaskId]) -> list[TaskInput]:
        if not self.is_readable:
            self.is_readable = True
            self.refuse("settle")
            raise Misuse("the template is of a later release")
        return list(await self.__getattr__("load_task_inputs")(ids))


async def test_a_claim_that_could_not_be_handed_back_is_run(memory: Store) -> None:
    """The lease does not end: it would belong to this worker for ever."""
    store: Any = UnreadableOnce(memory)
    async with Worker(store, [{"only": lambda: 1}], templates=[FLOW]) as worker:
        await eventually(lambda: "wait_for_work" in store.calls)
        task = await LocalClient(memory).create_task("n.flow")
        await worker.client.wait(task.id, timeout=SOON)

    assert [AttemptOutcome.COMPLETE] == [row.outcome for row in await memory.list_attempts(task.id)]


async def test_the_context_of_a_task_created_here_is_not_read_again(memory: Store) -> None:
    store = Unreliable(memory)
    async with Worker(store, [{"only": lambda: 1}], templates=[FLOW]) as worker:
        await eventually(lambda: "wait_for_work" in store.calls)  # it has slots to spare
        await worker.client.run("n.flow", timeout=SOON)

    assert "load_task_inputs" not in store.calls[: store.calls.index("settle")]
