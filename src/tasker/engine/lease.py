"""The registration of a worker in the store: its id, its lease and the queues that it serves."""

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from typing import Protocol

from tasker.engine.process import describe_this_process
from tasker.engine.repeated import RepeatedWarning
from tasker.errors import LeaseLost, StoreUnavailable
from tasker.handlers import Handlers
from tasker.handlers.registry import EVERY_NAMESPACE
from tasker.model import (
    ENGINE,
    NO_QUEUE,
    Claim,
    Queue,
    WorkerId,
    WorkerRequirement,
    released_outcome,
)
from tasker.settings import WorkerSettings
from tasker.store.protocol import Store

log = logging.getLogger("tasker.worker")

_ENGINE_QUEUES_INTERVAL = 2.0  #: seconds between looks at which queues of the engine others serve
RENEWALS = 3  #: renewals per lease duration


class ClaimHolder(Protocol):
    """Holds claims under a lease; implemented by the executor."""

    def held_claims(self) -> Sequence[Claim]:
        """List the claims that have not been settled."""
        ...

    def revoke_claims(self, claims: Sequence[Claim]) -> None:
        """Stop attempts whose claims this worker has lost."""
        ...


class LeasedClaimer(Protocol):
    """Claims under a lease; implemented by the claimer."""

    def wake(self) -> None:
        """End the current wait."""
        ...

    def clear_task_cache(self) -> None:
        """Forget results that other workers may replace."""
        ...

    @property
    def settlement_count_without_fsync(self) -> int:
        """Number of settlements so far that a crash of the database server may have undone."""
        ...

    def verify_claims_after_unsynced_settlements(self, relaxed_settlements: int) -> None:
        """Compare the claims with the store's soon, once after so many such settlements."""
        ...


class WorkerLease:
    """Registers a worker and maintains one lease for all of its claims.

    Args:
        store: The store.
        name: The worker's name, as shown to operators.
        settings: The worker's settings.
        handlers: The worker's handlers.
        namespaces: Namespaces whose engine steps it runs, besides those of its handlers.
        engine_only: Whether it runs only engine steps, in namespaces where no other worker does.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        settings: WorkerSettings,
        handlers: Handlers,
        namespaces: Collection[str] = (),
        *,
        engine_only: bool = False,
    ) -> None:
        self.id = WorkerId(0)
        self.ids: tuple[WorkerId, ...] = ()  #: the current id and the previous one
        self.served: list[Queue] = []
        self.serves_gated = False  #: whether some of them have steps under limits
        self.holds = False  #: whether the lease is valid, as far as this worker knows
        self.looked_at = 0.0  #: monotonic time of the last update of the queues
        self._store = store
        self._name = name
        self._settings = settings
        self._handlers = handlers
        self._namespaces = frozenset(namespaces)
        self._engine_only = engine_only
        #: monotonic time of the last look at what others serve
        self._engine_queues_at = -_ENGINE_QUEUES_INTERVAL
        self._labels = set(settings.labels.items())
        self._newest = NO_QUEUE  #: of all queues, served or not
        self._until = 0.0

    async def register_and_open_lease(self) -> None:
        """Register the worker, open its lease, and determine the queues that it serves."""
        began = time.monotonic()
        handlers = [ENGINE] if self._engine_only else await self._list_handler_names()
        self.id = await self._store.register_worker(
            self._name,
            lease=self._settings.lease,
            slots=self._settings.slots,
            handlers=handlers,
            process=describe_this_process(self._settings.labels),
        )
        self.ids = (self.id, *self.ids[:1])
        self._until = began + self._settings.lease.total_seconds()
        self.served, self._newest, self._engine_queues_at = [], NO_QUEUE, -_ENGINE_QUEUES_INTERVAL
        self.serves_gated = False
        await self.serve_new_queues()
        self.holds = True

    async def _list_handler_names(self) -> list[str]:
        """List the registered handlers and others that steps of registered templates call."""
        names = set(self._handlers.registered_names())
        for queue in await self._store.list_queues():
            handler = self._handlers.find_handler(queue.handler, queue.namespace)
            is_plain = handler is not None and not self._handlers.is_registered(handler)
            if is_plain and self._serves_queue(queue):
                names.add(queue.handler)
        return sorted(names)

    def serves_namespace(self, namespace: str) -> bool:
        """Return whether this worker is bound to a namespace, even without serving its queues."""
        named = {namespace, EVERY_NAMESPACE} & self._namespaces
        return bool(named) or self._handlers.serves_namespace(namespace)

    async def serve_new_queues(self) -> bool:
        """Serve new queues, and return whether there were any."""
        self.looked_at = time.monotonic()
        if self._engine_only:
            if self.looked_at - self._engine_queues_at >= _ENGINE_QUEUES_INTERVAL:
                self._engine_queues_at = self.looked_at
                await self._store.serve_unserved_engine_queues(self.id)
            return False
        new = await self._store.list_queues(after=self._newest)
        served = [queue for queue in new if self._serves_queue(queue)]
        if served:
            await self._store.add_served_queues(self.id, [queue.base for queue in served])
            self.served += served
            self.serves_gated = any(queue.gated for queue in self.served)
        if new:
            self._newest = new[-1].base
        return bool(served)

    def _serves_queue(self, queue: Queue) -> bool:
        if queue.handler == ENGINE:
            return self.serves_namespace(queue.namespace)
        requirement = WorkerRequirement.parse(queue.requirement)
        handler = self._handlers.find_handler(queue.handler, queue.namespace, requirement.version)
        return handler is not None and set(requirement.labels) <= self._labels

    async def maintain(self, holder: ClaimHolder, claimer: LeasedClaimer) -> None:
        """Renew the lease until cancelled. If it is lost, revoke all claims and register again.

        Args:
            holder: The holder of the claims under this lease.
            claimer: Woken after a new lease has been opened.
        """
        while True:
            await self._renew_until_lost(holder, claimer)
            self.holds = False
            held = holder.held_claims()
            log.error("lease_lost", extra={"worker": self._name, "held": len(held)})
            holder.revoke_claims(held)
            claimer.clear_task_cache()
            await self._register_again()
            claimer.wake()

    async def _renew_until_lost(self, holder: ClaimHolder, claimer: LeasedClaimer) -> None:
        pause = self._settings.lease.total_seconds() / RENEWALS
        failing = RepeatedWarning(log, "lease_renewal_failed")
        while True:
            await self._store.wait_for_revocation(pause)
            began, relaxed = time.monotonic(), claimer.settlement_count_without_fsync
            try:
                revoked = await self._store.renew_lease(
                    self.id, holder.held_claims(), lease=self._settings.lease
                )
            except LeaseLost:
                return
            except StoreUnavailable as error:
                left = self._until - time.monotonic()
                failing.log_failure_if_due(
                    worker=self._name, left_s=round(left, 1), error=str(error)
                )
                if left <= 0:
                    return  # other workers may have taken over by now
                await asyncio.sleep(min(pause, 1.0))
            else:
                failing.note_success()
                self._until = began + self._settings.lease.total_seconds()
                if revoked:
                    holder.revoke_claims(revoked)
                # settlements that were not undone by now are durable
                claimer.verify_claims_after_unsynced_settlements(relaxed)

    async def _register_again(self) -> None:
        failing = RepeatedWarning(log, "worker_registration_failed")
        while True:
            try:
                await self.register_and_open_lease()
                return
            except StoreUnavailable as error:
                failing.log_failure_if_due(worker=self._name, error=str(error))
                await asyncio.sleep(0.5)

    async def release_claims_and_end_lease(self) -> None:
        """Release the claims that the store still lists, and end the lease."""
        self.holds = False
        try:
            held = await self._store.list_held_claims(self.id)
            if held:
                await self._store.settle(self.id, [released_outcome(claim) for claim in held])
        finally:
            await self._store.retire_worker(self.id)

    async def wait_for_store(self) -> None:
        """Wait until the store can be reached again."""
        pause, logged = 0.05, False
        while True:
            await asyncio.sleep(pause)
            try:
                await self._store.schema_status()
            except StoreUnavailable as error:
                if not logged:
                    log.error(
                        "store_unavailable", extra={"worker": self._name, "error": str(error)}
                    )
                logged, pause = True, min(pause * 2, 2.0)
            else:
                if logged:
                    log.info("store_available", extra={"worker": self._name})
                return
