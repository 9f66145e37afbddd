"""Settlements and renewals of several remote workers in one transaction."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from tasker.errors import StoreError, StoreUnavailable
from tasker.model import (
    Claim,
    JsonText,
    RenewedLease,
    Settlement,
    SettleResult,
    TaskId,
    WorkerId,
    completed_outcome,
)
from tasker.remote.grouping import BatchingLeaseRenewer, GroupSettler
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


class Recorder:
    """Records settlements; the first waits until it is released."""

    def __init__(self) -> None:
        self.transactions: list[list[WorkerId]] = []
        self.began = asyncio.Event()
        self.release = asyncio.Event()
        self.refuses: WorkerId | None = None
        self.is_available = True

    async def settle(self, worker: WorkerId, outcomes: Sequence[Any], **_: Any) -> SettleResult:
        self.transactions.append([worker])
        self.began.set()
        await self.release.wait()
        if worker == self.refuses:
            raise StoreError("it cannot be stored")
        return SettleResult((), [Claim(TaskId(str(worker)), 1, 1, 1)], ())

    async def settle_for_workers(self, settlements: Sequence[Settlement]) -> list[SettleResult]:
        workers = [each.worker for each in settlements]
        self.transactions.append(workers)
        if not self.is_available:
            raise StoreUnavailable("gone")
        if self.refuses in workers:
            raise StoreError("it cannot be stored")
        return [SettleResult((), [Claim(TaskId(str(each)), 1, 1, 1)], ()) for each in workers]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def settle_all(recorder: Recorder, workers: int) -> list[asyncio.Task[SettleResult]]:
    """Settle an outcome of each worker; all but the first arrive during the first transaction."""
    groups = GroupSettler(as_store(recorder))
    outcome = completed_outcome(Claim(TaskId("t"), 1, 1, 1), JsonText("1"))

    def settle(worker: int) -> asyncio.Task[SettleResult]:
        return asyncio.create_task(groups.settle(Settlement(WorkerId(worker), [outcome])))

    first = settle(0)
    await recorder.began.wait()
    return [first, *map(settle, range(1, workers))]


def as_store(recorder: Any) -> Store:
    store: Store = recorder
    return store


def owners(settled: Sequence[SettleResult | BaseException]) -> list[str]:
    """Return whose claims each answer brings, or the kind of its error."""
    return [
        type(each).__name__ if isinstance(each, BaseException) else each.claims[0].task_id
        for each in settled
    ]


async def test_what_arrives_during_a_transaction_goes_together_into_the_next(
    recorder: Recorder,
) -> None:
    settling = await settle_all(recorder, 4)

    recorder.release.set()

    assert ["0", "1", "2", "3"] == owners(await asyncio.gather(*settling))
    assert [[0], [1, 2, 3]] == recorder.transactions


async def test_what_arrives_in_one_iteration_of_the_event_loop_goes_together(
    recorder: Recorder,
) -> None:
    groups = GroupSettler(as_store(recorder))
    outcome = completed_outcome(Claim(TaskId("t"), 1, 1, 1), JsonText("1"))
    arriving = [groups.settle(Settlement(WorkerId(each), [outcome])) for each in range(3)]

    assert ["0", "1", "2"] == owners(await asyncio.gather(*arriving))
    assert [[0, 1, 2]] == recorder.transactions


async def test_an_outcome_that_cannot_be_stored_fails_alone(recorder: Recorder) -> None:
    recorder.refuses = WorkerId(2)
    settling = await settle_all(recorder, 4)

    recorder.release.set()

    settled = await asyncio.gather(*settling, return_exceptions=True)
    assert ["0", "1", "StoreError", "3"] == owners(settled)


async def test_a_store_that_is_away_is_reported_to_all(recorder: Recorder) -> None:
    recorder.is_available = False
    settling = await settle_all(recorder, 3)

    recorder.release.set()

    settled = await asyncio.gather(*settling, return_exceptions=True)
    assert ["0", "StoreUnavailable", "StoreUnavailable"] == owners(settled)


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_a_cancelled_request_hurts_no_other(recorder: Recorder, cancelled: int) -> None:
    """Neither the current transaction nor waiting requests are affected."""
    settling = await settle_all(recorder, 3)
    await asyncio.sleep(0)  # the others have arrived

    settling[cancelled].cancel()
    await asyncio.sleep(0)
    recorder.release.set()

    settled = await asyncio.gather(*settling, return_exceptions=True)
    expected = ["0", "1", "2"]
    expected[cancelled] = "CancelledError"
    assert expected == owners(settled)


class Renewals:
    """Records renewals; the first waits until it is released."""

    def __init__(self) -> None:
        self.transactions: list[dict[WorkerId, list[int]]] = []
        self.began = asyncio.Event()
        self.release = asyncio.Event()
        self.is_available = True

    async def renew_leases(
        self, held: Mapping[WorkerId, Sequence[Claim]], *, lease: timedelta
    ) -> Mapping[WorkerId, RenewedLease]:
        numbers = {worker: [claim.no for claim in claims] for worker, claims in held.items()}
        self.transactions.append(numbers)
        self.began.set()
        await self.release.wait()
        if not self.is_available:
            raise StoreUnavailable("gone")
        return {worker: RenewedLease(claims, False) for worker, claims in held.items() if worker}


async def renew_all(recorder: Renewals, workers: Sequence[int]) -> list[Any]:
    """Renew leases; all but the first renewal arrive during the first transaction."""
    groups = BatchingLeaseRenewer(as_store(recorder), timedelta(seconds=30))

    def renew(index: int) -> asyncio.Task[RenewedLease | None]:
        claims = [Claim(TaskId("t"), index, 1, 1)]
        return asyncio.create_task(groups.renew(WorkerId(workers[index]), claims))

    renewing = [renew(0)]
    await recorder.began.wait()
    renewing += map(renew, range(1, len(workers)))
    await asyncio.sleep(0)  # they have arrived then
    recorder.release.set()
    return await asyncio.gather(*renewing, return_exceptions=True)


async def test_renewals_that_arrive_during_a_transaction_go_together_into_the_next() -> None:
    recorder = Renewals()

    renewed = await renew_all(recorder, [0, 1, 2])

    assert [{0: [0]}, {1: [1], 2: [2]}] == recorder.transactions
    assert [None, 1, 2] == [each and each.revoked[0].no for each in renewed]  # 0 has expired


async def test_two_renewals_of_a_worker_at_once_name_the_claims_of_both() -> None:
    recorder = Renewals()

    renewed = await renew_all(recorder, [3, 4, 4])

    assert [{3: [0]}, {4: [1, 2]}] == recorder.transactions
    assert [[0], [1, 2], [1, 2]] == [[claim.no for claim in each.revoked] for each in renewed]


async def test_a_store_that_is_away_is_reported_to_all_renewals() -> None:
    recorder = Renewals()
    recorder.is_available = False

    renewed = await renew_all(recorder, [1, 2, 3])

    assert [StoreUnavailable] * 3 == [type(each) for each in renewed]
