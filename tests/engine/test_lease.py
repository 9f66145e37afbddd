"""A worker's lease: kept, lost, opened again, ended."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from tests.engine.factories import SOON, Unreliable, template
from tests.engine.pieces import assembled
from tests.waiting import eventually

from tasker import LocalClient, StepStatus, Worker, WorkerSettings
from tasker.model import AttemptOutcome, Claim
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("flow", "only")


async def test_a_stopped_worker_releases_claims_whose_reply_was_lost(memory: Store) -> None:
    store = Unreliable(memory)
    async with Worker(store, [{"only": lambda: 1}], templates=[FLOW]) as worker:
        await eventually(lambda: "wait_for_work" in store.calls)
        store.lose("claim")
        store.refuse("schema_status", 1_000_000)  # so that it cannot recover the claim before
        task = await LocalClient(memory).create_task("n.flow")
        await eventually(lambda: memory.held(worker.id))
        worker.stop()

    [step] = await memory.list_steps(task.id)
    [attempt] = await memory.history(task.id)
    assert (StepStatus.ENQUEUED, 1) == (step.status, step.attempts)
    assert AttemptOutcome.RELEASED == attempt.outcome


class Idle:
    """Holds no claims, and waits for a lease."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()

    def held(self) -> Sequence[Claim]:
        return ()

    def revoke(self, claims: Sequence[Claim]) -> None:
        assert not claims

    def wake(self) -> None:
        self.woken.set()


async def test_a_new_lease_wakes_the_claimer(memory: Store) -> None:
    """
    It waits without end while there is none.
    """
    brief = WorkerSettings(lease=timedelta(seconds=1))
    idle = Idle()
    async with assembled(memory, [{"only": lambda: 1}], [FLOW], brief) as pieces:
        before = pieces.lease.id
        pieces.background.start("lease", pieces.lease.keep(idle, idle))
        await memory.retire_worker(before)
        async with asyncio.timeout(SOON.total_seconds()):
            await idle.woken.wait()

        assert pieces.lease.holds
        assert before != pieces.lease.id
