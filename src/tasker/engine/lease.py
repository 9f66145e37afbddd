"""A worker as the store knows it: its id, its lease, the queues that it serves."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from tasker.config import WorkerSettings
from tasker.errors import LeaseLost, StoreUnavailable
from tasker.handlers import Handlers
from tasker.model import Claim, Queue, QueueId, WorkerId, released
from tasker.store.protocol import Store

log = logging.getLogger("tasker.worker")

RENEWALS = 3  #: in the time of one lease


class WorkerLease:
    """Announces a worker, and keeps one lease for all that it holds.

    Args:
        store: The store.
        name: What operators see.
        settings: The worker's.
        handlers: What it can run.
        held: Tells what it holds.
        taken: Told of claims that are no longer its own.
        opened: Told when a lease was opened anew after one was lost.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        settings: WorkerSettings,
        handlers: Handlers,
        *,
        held: Callable[[], Sequence[Claim]],
        taken: Callable[[Sequence[Claim]], None],
        opened: Callable[[], None],
    ) -> None:
        self.id = WorkerId(0)
        self.ids: tuple[WorkerId, ...] = ()  #: the present one, and the one before
        self.queues: Sequence[QueueId] = ()
        self.holds = False  #: whether the lease does, as far as is known here
        self.looked_at = 0.0  #: when the queues were, by the monotonic clock
        self._store = store
        self._name = name
        self._settings = settings
        self._handlers = handlers
        self._held = held
        self._taken = taken
        self._opened = opened
        self._until = 0.0

    async def announce(self) -> None:
        """Open a lease, and find out which queues this worker serves."""
        began = time.monotonic()
        self.id = await self._store.register_worker(
            self._name,
            lease=self._settings.lease,
            slots=self._settings.slots,
            handlers=self._handlers.names(),
        )
        self.ids = (self.id, *self.ids[:1])
        self._until = began + self._settings.lease.total_seconds()
        await self.find_queues()
        self.holds = True

    async def find_queues(self) -> bool:
        """Look which queues there are; tell whether this worker serves one more."""
        self.looked_at = time.monotonic()
        queues = await self._store.queues()
        served = [no for queue in queues if self._serves(queue) for no in queue.ids]
        grown = len(served) > len(self.queues)
        self.queues = served
        return grown

    def _serves(self, queue: Queue) -> bool:
        return self._handlers.find(queue.handler, queue.namespace) is not None

    async def keep(self) -> None:
        """Renew the lease for ever. Where it is lost, give up what was held; open another."""
        while True:
            await self._renew_until_lost()
            self.holds = False
            held = self._held()
            log.error("lease_lost", extra={"worker": self._name, "held": len(held)})
            self._taken(held)
            await self._announce_again()
            self._opened()

    async def _renew_until_lost(self) -> None:
        pause = self._settings.lease.total_seconds() / RENEWALS
        while True:
            await self._store.wait_for_revocation(pause)
            began = time.monotonic()
            try:
                gone = await self._store.renew(self.id, self._held(), lease=self._settings.lease)
            except LeaseLost:
                return
            except StoreUnavailable:
                if time.monotonic() >= self._until:
                    return  # others may have taken over by now
                await asyncio.sleep(min(pause, 1.0))
            else:
                self._until = began + self._settings.lease.total_seconds()
                if gone:
                    self._taken(gone)

    async def _announce_again(self) -> None:
        while True:
            try:
                await self.announce()
                return
            except StoreUnavailable:
                await asyncio.sleep(0.5)

    async def retire(self) -> None:
        """Hand back what the store says is still held, and end the lease."""
        self.holds = False
        try:
            held = await self._store.held(self.id)
            if held:
                await self._store.settle(self.id, [released(claim) for claim in held])
        finally:
            await self._store.retire_worker(self.id)

    async def wait_for_store(self) -> None:
        """Wait until the store can be reached again."""
        pause, told = 0.05, False
        while True:
            await asyncio.sleep(pause)
            try:
                await self._store.schema_status()
            except StoreUnavailable as error:
                if not told:
                    log.error(
                        "store_unavailable", extra={"worker": self._name, "error": str(error)}
                    )
                told, pause = True, min(pause * 2, 2.0)
            else:
                if told:
                    log.info("store_available", extra={"worker": self._name})
                return
