"""A worker's lease: kept, lost, opened again, ended."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from tests.engine.factories import SOON, Unreliable, template
from tests.engine.pieces import assembled
from tests.waiting import eventually

from tasker import LocalClient, StepStatus, Worker, WorkerSettings, handler
from tasker.errors import StoreUnavailable
from tasker.model import AttemptOutcome, Claim, ClaimResult, WorkerId
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("flow", "only")


class LosingClaims(Unreliable):
    """A store that claims steps, and loses the replies."""

    async def claim(self, worker: WorkerId, limit: int) -> ClaimResult:
        claimed = await self._store.claim(worker, limit)
        if claimed.claims:
            raise StoreUnavailable("the test lost the claims")
        return claimed


async def test_a_stopped_worker_releases_claims_whose_reply_was_lost(memory: Store) -> None:
    store = LosingClaims(memory)
    async with Worker(store, [{"only": lambda: 1}], templates=[FLOW]) as worker:
        await eventually(lambda: "wait_for_work" in store.calls)
        store.refuse("schema_status", 1_000_000)  # so that it cannot recover the claim before
        task = await LocalClient(memory).create_task("n.flow")
        await eventually(lambda: memory.list_held_claims(worker.id))
        worker.stop()

    [step] = await memory.list_steps(task.id)
    [attempt] = await memory.list_attempts(task.id)
    assert (StepStatus.ENQUEUED, 1) == (step.status, step.attempts)
    assert AttemptOutcome.RELEASED == attempt.outcome


class Holding:
    """Holds one claim, and waits for a lease; records calls."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.calls: list[str] = []
        self.woken = asyncio.Event()

    def held_claims(self) -> Sequence[Claim]:
        return [self.claim]

    def revoke_claims(self, claims: Sequence[Claim]) -> None:
        assert [self.claim] == list(claims)
        self.calls.append("revoke_claims")

    def wake(self) -> None:
        self.calls.append("wake")
        self.woken.set()

    def clear_task_cache(self) -> None:
        self.calls.append("clear_task_cache")

    settlement_count_without_fsync = 3

    def verify_claims_after_unsynced_settlements(self, relaxed_settlements: int) -> None:
        assert 3 == relaxed_settlements
        self.calls.append("verify_claims_after_unsynced_settlements")


async def test_a_lost_lease_stops_attempts_and_a_new_one_wakes_the_claimer(
    memory: Store,
) -> None:
    """It claims nothing without a lease."""
    brief = WorkerSettings(lease=timedelta(seconds=1))
    async with assembled(memory, [{"only": lambda: 1}], [FLOW], brief) as pieces:
        lease, before = pieces.lease, pieces.lease.id
        await LocalClient(memory).create_task("n.flow")
        [claim] = (await memory.claim(before, 1)).claims
        holding = Holding(claim)
        pieces.background.start_loop("lease", lease.maintain(holding, holding))
        await memory.retire_worker(before)
        async with asyncio.timeout(SOON.total_seconds()):
            await holding.woken.wait()

        assert ["revoke_claims", "clear_task_cache", "wake"] == holding.calls
        assert lease.holds
        assert before != lease.id


async def test_the_store_records_which_queues_a_worker_serves(memory: Store) -> None:
    """This includes queues of templates that are registered later."""

    @handler("late", namespace="n")
    def late() -> None: ...

    async with assembled(memory, [{"only": lambda: 1}, late], [FLOW]) as pieces:
        client = LocalClient(memory)
        [early] = await memory.list_steps((await client.create_task("n.flow")).id)
        await client.register(template("late"))
        task = await client.create_task("n.late")
        [unserved] = await memory.list_steps(task.id)
        grown = await pieces.lease.serve_new_queues()
        [served] = await memory.list_steps(task.id)

    assert grown
    assert [False, True, False] == [step.no_worker for step in (early, unserved, served)]


async def test_each_renewal_verifies_claims(memory: Store) -> None:
    """
    A renewal makes durable what was settled before it, unless a crash has undone that.
    """
    brief = WorkerSettings(lease=timedelta(seconds=1))
    async with assembled(memory, [{"only": lambda: 1}], [FLOW], brief) as pieces:
        await LocalClient(memory).create_task("n.flow")
        [claim] = (await memory.claim(pieces.lease.id, 1)).claims
        holding = Holding(claim)
        pieces.background.start_loop("lease", pieces.lease.maintain(holding, holding))
        await eventually(lambda: "verify_claims_after_unsynced_settlements" in holding.calls)
