"""Finds steps for a worker's slots, and knows of each claim until it runs.

Claims come in four ways: asked for when slots are free; with a settlement that freed
them; with a task that this process made; and found in the store after a reply was lost.
Every call that may bring claims keeps slots for them while it is under way, so that
never more attempts run than there are slots.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from tasker.config import WorkerSettings
from tasker.engine.executor import Executor, Key, Running
from tasker.engine.failure import error_text
from tasker.engine.lease import WorkerLease
from tasker.engine.settler import Settler
from tasker.engine.task_cache import CachedTask, TaskCache
from tasker.errors import StoreUnavailable, TaskerError
from tasker.model import Claim, Created, NewTask, TaskId, TaskInput, released, retried
from tasker.store.protocol import Store

log = logging.getLogger("tasker.worker")

_FAIR = 4  #: of so many settlements under load, one leaves its freed steps to all
_NEW_QUEUES = 0.5  #: seconds between looks for queues of templates that came later, when idle
_NEW_QUEUES_BUSY = 5.0  #: the same when there is enough to do
_FEW = 0.02  #: seconds that a few free slots wait for more, when more work is known to wait
_PUT_OFF = timedelta(seconds=30)  #: until a task that cannot be read here is tried again


class Claimer:
    """Finds steps, and has them run.

    Args:
        store: The store.
        settings: The worker's.
        presence: As whom to claim, and from which queues.
        knowledge: What handlers need of tasks.
        executor: Runs attempts.
        settler: Knows those that ended and are not settled yet.
        started: Told of each attempt that began.
        errand: Runs a coroutine that the worker must not end without.
    """

    def __init__(
        self,
        store: Store,
        settings: WorkerSettings,
        presence: WorkerLease,
        knowledge: TaskCache,
        executor: Executor,
        settler: Settler,
        *,
        started: Callable[[Running], None],
        errand: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._store = store
        self._settings = settings
        self._presence = presence
        self._knowledge = knowledge
        self._executor = executor
        self._settler = settler
        self._started = started
        self._errand = errand
        self._closed = False
        self._reserved = 0  #: slots kept for claims that are asked for, or being fetched
        self._fetching: set[Key] = set()
        self._creating: set[TaskId] = set()
        self._backlog = False  #: the last claim found all it asked for
        self._calls = 0  #: for room
        self._uncertain = False  #: a reply was lost: the store may hold claims for us
        self._changed = asyncio.Event()  #: there may be more room, or a lease again
        self._poked = asyncio.Event()  #: something is to be done that no one will tell us of
        self._retry_due = float("inf")  #: when a step that failed here is due again
        self._wake_at = float("inf")  #: when the present wait ends

    # --------------------------------------------------------------------- room

    @contextmanager
    def room(self, most: int) -> Iterator[int]:
        """Keep up to `most` slots for the steps that a store call may bring; tell how many.

        With a backlog there are none now and then, so that older work gets in.
        """
        self._calls += 1
        waits = self._backlog and self._calls % _FAIR == 0
        room = 0 if waits or self._closed or not self._presence.holds else self._free()
        room = max(0, min(room, most))
        self._reserved += room
        try:
            yield room
        finally:
            self._reserved -= room

    def _free(self) -> int:
        return self._settings.slots - len(self._executor.running) - self._reserved

    def _claimable(self) -> int:
        """Tell how many steps to claim: a slot is kept for what each settlement may free."""
        return self._free() - self._settler.waiting

    def made_room(self) -> None:
        """Look again whether there are slots to fill."""
        self._changed.set()

    def wake(self) -> None:
        """Look again what there is to do."""
        self._changed.set()
        self._poked.set()

    def retry_in(self, seconds: float) -> None:
        """Look again then: a step that failed here will be due."""
        self._retry_due = min(self._retry_due, time.monotonic() + seconds)
        if self._retry_due < self._wake_at:
            self._poked.set()

    def close(self) -> None:
        """Take nothing any more; hand back what still comes."""
        self._closed = True
        self.wake()

    # ----------------------------------------------------------------- claiming

    async def run(self) -> None:
        """Claim until closed."""
        while await self._slots():
            self._poked.clear()
            try:
                if self._uncertain:
                    await self._recover_claims()
                pause = await self._claim(self._claimable())
            except StoreUnavailable:
                await self.recover()
            else:
                if pause > 0:
                    await self._wait(pause)

    async def _slots(self) -> bool:
        """Wait until there are slots to claim for, and a lease; False when closed.

        With a backlog a few of them wait a little for more, so that it is not claimed in
        crumbs; but no longer, for what runs in the others may run for hours.
        """
        enough = max(1, self._settings.slots // 4)
        patience = time.monotonic() + _FEW
        while not self._closed:
            free = self._claimable() if self._presence.holds else 0
            left = patience - time.monotonic() if self._backlog and free < enough else 0
            if free > 0 and left <= 0:
                return True
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left if free > 0 else None):
                    await self._changed.wait()
        return False

    async def _claim(self, limit: int) -> float:
        """Claim; tell how many seconds to wait before the next try."""
        if limit <= 0:
            return 0
        worker = self._presence.id
        self._reserved += limit
        try:
            claims, next_due = await self._store.claim(worker, self._presence.queues, limit)
        finally:
            self._reserved -= limit
        self._backlog = len(claims) == limit
        if worker == self._presence.id and self._presence.holds:
            self.accept(claims)
        else:  # they are of a lease that was lost meanwhile
            await self._release(claims)
        since = time.monotonic() - self._presence.looked_at
        stale = since > (_NEW_QUEUES_BUSY if claims else _NEW_QUEUES)
        if (stale and await self._presence.find_queues()) or self._backlog:
            return 0
        return self._pause(next_due)

    def _pause(self, next_due: float | None) -> float:
        pause = self._settings.poll.total_seconds()
        if next_due is not None:
            pause = min(pause, next_due)
        now = time.monotonic()
        if self._retry_due <= now:
            self._retry_due = float("inf")
        return max(min(pause, self._retry_due - now), 0.001)

    async def _wait(self, pause: float) -> None:
        """Wait for work, or until poked."""
        self._wake_at = time.monotonic() + pause
        waits = [
            asyncio.ensure_future(self._store.wait_for_work(pause)),
            asyncio.ensure_future(self._poked.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if waits[0].done():
                await waits[0]
        finally:
            self._wake_at = float("inf")
            for wait in waits:
                wait.cancel()

    async def create(self, new: NewTask, roots: int) -> Created:
        """Create a task, and take those of its `roots` for which there is room.

        Callers may give up waiting; what the store answers is taken all the same.
        """
        return await asyncio.shield(asyncio.ensure_future(self._create(new, roots)))

    async def _create(self, new: NewTask, roots: int) -> Created:
        self._creating.add(new.id)
        try:
            with self.room(roots) as room:
                created = await self._store.create_tasks(
                    [new],
                    worker=self._presence.id,
                    queues=self._presence.queues,
                    claim_up_to=room,
                )
            if created.claims:
                await self._knowledge.remember(_input(new))
                self.accept(created.claims)
        except BaseException:
            self._uncertain = True
            self.wake()
            raise
        finally:
            self._creating.discard(new.id)
        return created

    async def recover(self) -> None:
        """After a lost reply: wait for the store, and have the claims looked for."""
        self._uncertain = True
        await self._presence.wait_for_store()
        self.wake()

    async def _recover_claims(self) -> None:
        """Run the claims that the store holds for this worker, unknown to it."""
        async with self._settler.lock:
            known, creating = self._known(), set(self._creating)
            self._uncertain = False
            try:
                held = await self._store.held(self._presence.id)
            except BaseException:
                self._uncertain = True
                raise
            known |= self._known()
            self.accept(
                [
                    claim
                    for claim in held
                    if claim[:3] not in known and claim.task_id not in creating
                ]
            )

    def _known(self) -> set[Key]:
        return {*self._executor.running, *self._settler.keys(), *self._fetching}

    # ---------------------------------------------------------------- accepting

    def accept(self, claims: Sequence[Claim]) -> None:
        """Run claims; at once where all they need is known, else when it was fetched."""
        if self._closed:
            if claims:
                self._errand(self._release(claims))
            return
        unknown: list[Claim] = []
        for claim in claims:
            task = self._knowledge.task(claim)
            if task is None:
                unknown.append(claim)
            else:
                self._started(self._executor.start(claim, task))
        if unknown:
            self._reserved += len(unknown)
            self._fetching.update(claim[:3] for claim in unknown)
            self._errand(self._fetch(unknown))

    async def _fetch(self, claims: Sequence[Claim]) -> None:
        try:
            found = await self._fetched(claims)
        finally:
            self._reserved -= len(claims)
            self._fetching.difference_update(claim[:3] for claim in claims)
            self._changed.set()
        if self._closed:
            await self._release(claims)
            return
        for claim in claims:
            task = found.get(claim.task_id)
            if task is not None:  # None: pruned meanwhile
                self._started(self._executor.start(claim, task))

    async def _fetched(self, claims: Sequence[Claim]) -> Mapping[TaskId, CachedTask]:
        while True:
            try:
                return await self._knowledge.fetch(claims)
            except StoreUnavailable:
                await self.recover()
            except TaskerError as error:
                if len(claims) == 1:
                    await self._postpone(claims[0], error)
                    return {}
                half = len(claims) // 2
                found = dict(await self._fetched(claims[:half]))
                found.update(await self._fetched(claims[half:]))
                return found

    async def _postpone(self, claim: Claim, error: TaskerError) -> None:
        """Leave a task that cannot be read here to others, or to a later release."""
        facts = {"task_id": claim.task_id, "no": claim.no, "attempt": claim.attempt}
        log.error("task_unreadable", extra={**facts, "error": str(error)})
        outcome = retried(claim, error_text(error, retryable=True), _PUT_OFF)
        with suppress(StoreUnavailable):
            await self._store.settle(self._presence.id, [outcome])

    async def _release(self, claims: Sequence[Claim]) -> None:
        """Hand back claims that came too late; those that cannot be handed back expire."""
        if claims:
            with suppress(StoreUnavailable):
                outcomes = [released(claim) for claim in claims]
                await self._store.settle(self._presence.id, outcomes)


def _input(new: NewTask) -> TaskInput:
    return TaskInput(
        new.id, new.template_id, new.context, new.correlation_id, new.parent_id, new.trace
    )
