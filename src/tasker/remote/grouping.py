"""Group commit: outcomes that arrive during one transaction are settled in the next one."""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from tasker.errors import StoreUnavailable
from tasker.model import Claim, RenewedLease, Settlement, SettleResult, WorkerId
from tasker.store.protocol import Store

_MOST_OUTCOMES = 500  #: of one group
_MOST_BYTES = 8 << 20  #: results and errors of one group
_MOST_CLAIMS = 10_000  #: of one group of renewals, and workers


class _QueuedSettlement(NamedTuple):
    """The settlement of a worker that waits for its transaction, and the future of its result."""

    settlement: Settlement
    settled: "asyncio.Future[SettleResult]"

    def succeed(self, settled: SettleResult) -> None:
        if not self.settled.done():  # cancelled meanwhile
            self.settled.set_result(settled)

    def fail(self, error: Exception) -> None:
        if not self.settled.done():
            self.settled.set_exception(error)


class GroupSettler:
    """Settles the outcomes of all remote workers, one transaction at a time.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[_QueuedSettlement] = deque()
        self._settling: asyncio.Task[None] | None = None

    async def settle(self, settlement: Settlement) -> SettleResult:
        """Settle the outcomes of a worker, with those of others if a transaction is in progress.

        A cancelled caller does not affect others; its outcomes may still be settled.

        Raises: StoreError (one of the outcomes cannot be stored), StoreUnavailable.
        """
        waiting = _QueuedSettlement(settlement, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._settling is None:  # what arrives in this iteration of the event loop joins it
            self._settling = asyncio.create_task(
                self._settle_until_empty(), name="tasker-settlements"
            )
        return await waiting.settled

    async def _settle_until_empty(self) -> None:
        """Settle groups until no outcomes wait."""
        try:
            while group := self._take_group():
                await self._settle_group(group)
        finally:
            self._settling = None

    def _take_group(self) -> list[_QueuedSettlement]:
        group: list[_QueuedSettlement] = []
        outcomes = size = 0
        while self._waiting:
            given = self._waiting[0].settlement.outcomes
            outcomes += len(given)
            size += sum(len(each.result or "") + len(each.error or "") for each in given)
            if group and (outcomes > _MOST_OUTCOMES or size > _MOST_BYTES):
                break
            group.append(self._waiting.popleft())
        return group

    async def _settle_group(self, group: list[_QueuedSettlement]) -> None:
        if len(group) == 1:
            await self._settle_one_and_deliver(group[0])
            return
        try:
            settled = await self._store.settle_for_workers([each.settlement for each in group])
        except StoreUnavailable as error:
            for waiting in group:
                waiting.fail(error)
        except Exception:  # one that cannot be stored does not affect the others
            for waiting in group:
                await self._settle_one_and_deliver(waiting)
        else:
            for waiting, each in zip(group, settled, strict=True):
                waiting.succeed(each)

    async def _settle_one_and_deliver(self, waiting: _QueuedSettlement) -> None:
        try:
            waiting.succeed(await self._settle_separately(waiting.settlement))
        except Exception as error:  # delivered to the waiting caller
            waiting.fail(error)

    async def _settle_separately(self, settlement: Settlement) -> SettleResult:
        worker, outcomes, claim_up_to, events, gated = settlement
        return await self._store.settle(
            worker, outcomes, claim_up_to=claim_up_to, events=events, gated=gated
        )


class BatchingLeaseRenewer:
    """Renews the leases of all remote workers, one transaction at a time.

    Args:
        store: The store.
        lease: The time for which a renewed lease holds.
    """

    def __init__(self, store: Store, lease: timedelta) -> None:
        self._store = store
        self._lease = lease
        self._waiting: dict[WorkerId, _QueuedRenewal] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def renew(self, worker: WorkerId, held: Sequence[Claim]) -> RenewedLease | None:
        """Renew the lease of a worker; return None if it has expired.

        Raises: StoreUnavailable.
        """
        renewal = self._waiting.get(worker)
        if renewal is None:
            renewed = asyncio.get_running_loop().create_future()
            renewal = self._waiting[worker] = _QueuedRenewal([], renewed)
        renewal.held.extend(held)
        if self._renewing is None:  # what arrives in this iteration of the event loop joins it
            self._renewing = asyncio.create_task(self._renew_until_empty(), name="tasker-renewals")
        return await asyncio.shield(renewal.renewed)

    async def _renew_until_empty(self) -> None:
        """Renew groups until nobody waits."""
        try:
            while self._waiting:
                await self._renew_group(self._take_group())
        finally:
            self._renewing = None

    def _take_group(self) -> dict[WorkerId, "_QueuedRenewal"]:
        group: dict[WorkerId, _QueuedRenewal] = {}
        left = _MOST_CLAIMS
        for worker, renewal in self._waiting.items():
            left -= 1 + len(renewal.held)
            if group and left < 0:
                break
            group[worker] = renewal
        for worker in group:
            del self._waiting[worker]
        return group

    async def _renew_group(self, group: dict[WorkerId, "_QueuedRenewal"]) -> None:
        held = {worker: renewal.held for worker, renewal in group.items()}
        try:
            renewed = await self._store.renew_leases(held, lease=self._lease)
        except Exception as error:  # delivered to those who wait
            for renewal in group.values():
                renewal.renewed.set_exception(error)
                renewal.renewed.exception()  # perhaps nobody waits any more
        else:
            for worker, renewal in group.items():
                renewal.renewed.set_result(renewed.get(worker))


class _QueuedRenewal(NamedTuple):
    """The claims of a worker whose lease waits to be renewed, and the future of the result."""

    held: list[Claim]
    renewed: "asyncio.Future[RenewedLease | None]"
