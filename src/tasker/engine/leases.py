"""Keeps the worker's lease, and learns what was taken from it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from tasker.errors import LeaseLost, StoreUnavailable
from tasker.model import Claim, WorkerId
from tasker.store.protocol import Store

RENEWALS = 3  #: in the time of one lease


class Leases:
    """Renews one lease for all that a worker holds.

    Args:
        store: The store.
        lease: How long it lasts.
        held: Tells what the worker holds.
        taken: Told of claims that are no longer the worker's.
        lost: Told when the lease is gone, and all that was held with it.
    """

    def __init__(
        self,
        store: Store,
        *,
        lease: timedelta,
        held: Callable[[], Sequence[Claim]],
        taken: Callable[[Sequence[Claim]], None],
        lost: Callable[[], None],
    ) -> None:
        self._store = store
        self._lease = lease
        self._held = held
        self._taken = taken
        self._lost = lost
        self._pause = lease.total_seconds() / RENEWALS
        self._until = 0.0

    def opened(self) -> None:
        """Count the lease from now."""
        self._until = time.monotonic() + self._lease.total_seconds()

    async def run(self, worker: WorkerId) -> None:
        """Renew until the lease is lost."""
        while True:
            await self._store.wait_for_recall(self._pause)
            began = time.monotonic()
            try:
                gone = await self._store.renew(worker, self._held(), lease=self._lease)
            except LeaseLost:
                break
            except StoreUnavailable:
                if time.monotonic() >= self._until:
                    break  # others may have taken over by now
                await asyncio.sleep(min(self._pause, 1.0))
            else:
                self._until = began + self._lease.total_seconds()
                if gone:
                    self._taken(gone)
        self._lost()
