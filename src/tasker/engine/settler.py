"""Settles what finished, as many as have gathered while the last settlement was under way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager

from tasker.engine.executor import Finished, Key, Running
from tasker.engine.failure import error_text
from tasker.engine.lease import WorkerLease
from tasker.errors import Misuse, StoreError, StoreUnavailable
from tasker.model import Claim, Outcome, Settled, TaskId, failed
from tasker.store.protocol import Store

MOST = 500  #: outcomes in one settlement
BYTES = 8 << 20  #: of results in one settlement, where it has more than one outcome


class Settler:
    """Sends outcomes to the store, one settlement at a time.

    Under load a settlement gathers by itself what finishes during the one before; when
    the system is idle an outcome leaves at once. No timer is involved.

    Args:
        store: The store.
        presence: The worker, as the store knows it.
        room: Keeps slots for the steps that a settlement frees; yields how many.
        settled: Told of each settlement and what it was of.
        recover: Awaited when the store cannot be reached; returns when it can be again.
    """

    def __init__(
        self,
        store: Store,
        presence: WorkerLease,
        *,
        room: Callable[[int], AbstractContextManager[int]],
        settled: Callable[[Sequence[Finished], Settled], None],
        recover: Callable[[], Awaitable[None]],
    ) -> None:
        self.lock = asyncio.Lock()
        """Held while a settlement is under way."""

        self._store = store
        self._presence = presence
        self._room = room
        self._settled = settled
        self._recover = recover
        self._batch: list[Finished] = []
        self._pending: list[Finished] = []
        self._parking: set[Key] = set()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, finished: Finished) -> None:
        """Take an outcome; it is settled soon."""
        if not self._pending:
            self._idle.clear()
            self._wake.set()
        self._pending.append(finished)

    async def run(self) -> None:
        """Settle for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                many = _portion(self._pending)
                self._batch, self._pending = self._pending[:many], self._pending[many:]
                await self._settle(self._batch)
                self._batch = []
            self._idle.set()

    async def drain(self) -> None:
        """Wait until everything taken so far is settled."""
        await self._idle.wait()

    @property
    def waiting(self) -> int:
        """How many outcomes wait for the settlement that is under way to end."""
        return len(self._pending)

    def keys(self) -> set[Key]:
        """Tell the attempts that ended here, while the store may not know it yet."""
        unsettled = (finished.outcome[:3] for finished in self._batch + self._pending)
        return {*unsettled, *self._parking}

    async def park(self, running: Running, awaits: TaskId) -> bool:
        """Let an attempt's step wait for a task; tell False where it came too late."""
        self._parking.add(running.key)
        try:
            uncertain = False
            while True:
                try:
                    parked = await self._store.park(running.claim, awaits)
                except StoreUnavailable:
                    await self._recover()
                    uncertain = True
                else:
                    return parked or uncertain
        finally:
            self._parking.discard(running.key)

    async def _settle(self, batch: list[Finished]) -> None:
        while batch:
            try:
                async with self.lock:
                    with self._room(_freed(batch)) as room:
                        settled = await self._store.settle(
                            self._presence.id,
                            [finished.outcome for finished in batch],
                            queues=self._presence.queues,
                            claim_up_to=room,
                        )
                    self._settled(batch, settled)
                    return
            except StoreUnavailable:
                await self._recover()
                batch = await self._unknown(batch)
            except StoreError as error:
                await self._isolate(batch, error)
                return

    async def _unknown(self, batch: list[Finished]) -> list[Finished]:
        """After a lost reply: tell which outcomes the store has not got.

        What is no longer in progress was settled by the call whose reply was lost, or
        belongs to others by now; either way there is nothing left to say.
        """
        while True:
            try:
                held = {
                    claim[:3]
                    for worker in self._presence.ids
                    for claim in await self._store.held(worker)
                }
            except StoreUnavailable:
                await self._recover()
            else:
                return [finished for finished in batch if finished.outcome[:3] in held]

    async def _isolate(self, batch: list[Finished], error: StoreError) -> None:
        """Something in the batch cannot be stored: find it, and let the rest pass."""
        if len(batch) > 1:
            half = len(batch) // 2
            await self._settle(batch[:half])
            await self._settle(batch[half:])
            return
        only = batch[0]
        if only.outcome.outcome == _FAILED:
            raise error  # even an error's text cannot be stored: the store is broken
        text = error_text(Misuse(f"the result could not be stored: {error}"), retryable=False)
        await self._settle([only._replace(outcome=failed(_claim(only.outcome), text))])


_COMPLETE, _FAILED = 0, 2  # indexes in ATTEMPT_OUTCOMES


def _portion(waiting: Sequence[Finished]) -> int:
    """Tell how many of the outcomes that wait to settle at once."""
    size = 0
    for many, finished in enumerate(waiting[:MOST]):
        size += len(finished.outcome.result or "")
        if size > BYTES and many:
            return many
    return min(len(waiting), MOST)


def _freed(batch: Sequence[Finished]) -> int:
    """Tell how many steps a settlement may free."""
    return sum(
        finished.running.task.served.fan_out[finished.outcome.no]
        for finished in batch
        if finished.outcome.outcome == _COMPLETE
    )


def _claim(outcome: Outcome) -> Claim:
    return Claim(outcome.task_id, outcome.no, outcome.attempt, 0)
