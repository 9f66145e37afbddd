"""Settlements: batched, repeated after a lost reply, and isolated from what cannot be stored."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from tests.engine.factories import SOON, Unreliable, step, template
from tests.engine.pieces import assembled
from tests.waiting import eventually

from tasker import Context, LocalClient, Worker, WorkerSettings
from tasker.engine import slots
from tasker.errors import RetryableError
from tasker.model import AttemptOutcome, SettlementDurability
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

SHORT = WorkerSettings(lease=timedelta(seconds=1))
AWAY = (
    "settle",
    "schema_status",
    "renew_lease",
    "list_held_claims",
    "list_expired_attempts",
    "end_overdue_and_failed_tasks",
)
CHAIN = template("chain", step("first"), step("second", "first"))
FLOW = template("flow", "only")


class Recording(Unreliable):
    """A store that records how many steps each settlement may claim."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.claim_up_to: list[int] = []
        self.relaxed: list[bool] = []

    async def settle(self, worker: Any, outcomes: Any, **options: Any) -> Any:
        reply = await Unreliable.__getattr__(self, "settle")(worker, outcomes, **options)
        self.claim_up_to.append(options.get("claim_up_to", 0))
        self.relaxed.append(options.get("relaxed", False))
        return reply


async def test_an_outcome_is_settled_under_a_previous_lease(memory: Store) -> None:
    """
    The store has not got it, and lists its claim under the id of the lease before.
    """
    store = Unreliable(memory)
    async with Worker(
        store, [{"only": lambda: 1}], templates=[template("flow", "only")], settings=SHORT
    ) as worker:
        before = worker.id
        for name in AWAY:
            store.refuse(name, 1_000_000)
        task = await worker.client.create_task("n.flow")
        await eventually(lambda: worker.id != before)
        for name in AWAY:
            if name != "list_expired_attempts":  # nobody else takes the step over
                store.refuse(name, 0)
        await worker.client.wait(task.id, timeout=SOON)
        history = await memory.list_attempts(task.id)

    assert [AttemptOutcome.COMPLETE] == [row.outcome for row in history]


async def test_a_settlement_is_relaxed_if_all_its_templates_are(memory: Store) -> None:
    """It is counted when confirmed, so that a renewal verifies the claims."""
    store = Recording(memory)
    relaxed = template("relaxed", "only", durability=SettlementDurability.RELAXED)
    async with assembled(store, [{"only": lambda: 1}], [FLOW, relaxed]) as pieces:
        client = LocalClient(memory)

        async def settle(*names: str) -> bool:
            """Run a task of each template, and settle all in one batch."""
            tasks = [await client.create_task(name) for name in names]
            pieces.claimer.accept_claims((await memory.claim(pieces.lease.id, len(tasks))).claims)
            await eventually(lambda: pieces.settler.waiting_count == len(tasks))
            run = asyncio.create_task(pieces.settler.run())
            for task in tasks:
                await client.wait(task.id, timeout=SOON)
            await pieces.settler.drain()
            run.cancel()
            return store.relaxed[-1]

        assert [True, False, False] == [
            await settle("n.relaxed", "n.relaxed"),
            await settle("n.relaxed", "n.flow"),
            await settle("n.flow"),
        ]
        assert 1 == pieces.claimer.settlement_count_without_fsync


async def test_a_settlement_without_a_lease_claims_nothing(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    release = asyncio.Event()

    async def first() -> None:
        await release.wait()

    store = Recording(memory)
    async with Worker(
        store, [{"first": first, "second": lambda: 1}], templates=[CHAIN], settings=SHORT
    ) as worker:
        task = await worker.client.create_task("n.chain")
        for name in (*AWAY, "register_worker"):
            store.refuse(name, 1_000_000)
        release.set()
        await eventually(lambda: "lease_lost" in caplog.messages)
        for name in ("settle", "schema_status", "list_held_claims"):
            store.refuse(name, 0)
        await eventually(lambda: store.claim_up_to)
        for name in (
            "renew_lease",
            "list_expired_attempts",
            "end_overdue_and_failed_tasks",
            "register_worker",
        ):
            store.refuse(name, 0)
        await worker.client.wait(task.id, timeout=SOON)

    assert 0 == store.claim_up_to[0]


async def test_a_settlement_claims_nothing_for_an_outcome_that_frees_no_step(
    memory: Store,
) -> None:
    """Its slots are used by other claims meanwhile."""

    def first(context: Context) -> None:
        if not context.is_retry:
            raise RetryableError("once", retry_after=timedelta(0))

    store = Recording(memory)
    async with assembled(store, [{"first": first, "second": lambda: 1}], [CHAIN]) as pieces:
        pieces.background.start_loop("settle", pieces.settler.run())
        client = LocalClient(memory)
        task = await client.create_task("n.chain")
        pieces.claimer.accept_claims((await memory.claim(pieces.lease.id, 1)).claims)
        await eventually(lambda: store.claim_up_to)
        pieces.claimer.accept_claims((await memory.claim(pieces.lease.id, 1)).claims)
        await client.wait(task.id, timeout=SOON)

    assert [0, 1, 0] == store.claim_up_to


class Gated(Unreliable):
    """A store whose settlements begin only when a test opens their gates."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.gates: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def settle(self, worker: Any, outcomes: Any, **options: Any) -> Any:
        gate = asyncio.Event()
        self.gates.put_nowait(gate)
        await gate.wait()
        return await self._store.settle(worker, outcomes, **options)


async def test_draining_waits_for_attempts_that_end_during_the_last_settlement(
    memory: Store,
) -> None:
    store = Gated(memory)
    async with assembled(store, [{"only": lambda: 1}], [FLOW]) as pieces:
        pieces.background.start_loop("settle", pieces.settler.run())
        for _ in range(2):
            await LocalClient(memory).create_task("n.flow")
        claims = (await memory.claim(pieces.lease.id, 2)).claims
        pieces.claimer.accept_claims(claims[:1])
        first = await store.gates.get()
        pieces.claimer.accept_claims(claims[1:])
        await eventually(lambda: pieces.settler.waiting_count)
        draining = asyncio.create_task(pieces.settler.drain())
        first.set()
        second = await store.gates.get()

        assert not draining.done()

        second.set()
        await draining
        assert [] == await memory.list_held_claims(pieces.lease.id)


async def test_a_large_settlement_begins_during_another(
    memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third of what may be claimed is large; fewer outcomes wait for the first settlement."""
    monkeypatch.setattr(slots, "MOST_AHEAD", 0)
    store = Gated(memory)
    settings = WorkerSettings(slots=120)
    async with assembled(store, [{"only": lambda: 1}], [FLOW], settings) as pieces:
        pieces.background.start_loop("settle", pieces.settler.run())
        for _ in range(82):
            await LocalClient(memory).create_task("n.flow")
        claims = (await memory.claim(pieces.lease.id, 82)).claims
        pieces.claimer.accept_claims(claims[:1])
        first = await store.gates.get()
        pieces.claimer.accept_claims(claims[1:40])
        await eventually(lambda: pieces.settler.waiting_count == 39)

        assert store.gates.empty()

        pieces.claimer.accept_claims(claims[40:])
        second = await store.gates.get()
        await eventually(lambda: pieces.settler.waiting_count == 41)

        assert store.gates.empty()

        second.set()
        third = await store.gates.get()
        third.set()
        await eventually(lambda: len(pieces.settler.unsettled_attempt_keys()) == 2)

        assert store.gates.empty()

        first.set()
        last = await store.gates.get()
        last.set()
        await pieces.settler.drain()

        assert [] == await memory.list_held_claims(pieces.lease.id)
        assert not pieces.settler.unsettled_attempt_keys()


async def test_claims_are_compared_with_the_store_while_no_settlement_is_in_progress(
    memory: Store,
) -> None:
    store = Gated(memory)
    async with assembled(store, [{"only": lambda: 1}], [FLOW]) as pieces:
        pieces.background.start_loop("settle", pieces.settler.run())
        for _ in range(2):
            await LocalClient(memory).create_task("n.flow")
        claims = (await memory.claim(pieces.lease.id, 2)).claims
        pieces.claimer.accept_claims(claims[:1])
        first = await store.gates.get()
        compared: list[bool] = []

        async def compare() -> None:
            async with pieces.settler.pause_settlements():
                pieces.claimer.accept_claims(claims[1:])
                await eventually(
                    lambda: {claims[1].attempt_key} <= pieces.settler.unsettled_attempt_keys()
                )
                compared.append(store.gates.empty())

        comparison = asyncio.create_task(compare())
        await asyncio.sleep(0)

        assert not compared

        first.set()
        await comparison

        assert compared == [True]

        second = await store.gates.get()
        second.set()
        await pieces.settler.drain()


async def test_an_ended_task_is_removed_from_the_cache(memory: Store) -> None:
    """
    An operator may change it afterwards.
    """
    store = Gated(memory)
    async with assembled(store, [{"only": lambda: 1}], [FLOW]) as pieces:
        pieces.background.start_loop("settle", pieces.settler.run())
        await LocalClient(memory).create_task("n.flow")
        [claim] = (await memory.claim(pieces.lease.id, 1)).claims
        pieces.claimer.accept_claims([claim])
        gate = await store.gates.get()
        before = pieces.cache.find_task_with_needed_results(claim)
        gate.set()
        await pieces.settler.drain()

        assert before is not None
        assert pieces.cache.find_task_with_needed_results(claim) is None
