"""Settles what finished, as many as have gathered while the last settlement was under way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from tasker.engine.executor import Finished
from tasker.engine.failure import error_text
from tasker.errors import Misuse, StoreError, StoreUnavailable
from tasker.model import Claim, Outcome, QueueId, Settled, WorkerId, failed
from tasker.store.protocol import Store

MOST = 500  #: outcomes in one settlement


class Host(Protocol):
    """What a settler must know of its worker."""

    id: WorkerId
    queues: Sequence[QueueId]

    def room(self) -> int:
        """Tell how many freed steps the worker can take."""
        ...


class Settler:
    """Sends outcomes to the store, one settlement at a time.

    Under load a settlement gathers by itself what finishes during the one before; when
    the system is idle an outcome leaves at once. No timer is involved.

    Args:
        store: The store.
        host: The worker.
        settled: Told of each settlement and what it was of.
        recover: Awaited when the store cannot be reached; returns when it can be again.
        lock: Held while a settlement is under way.
    """

    def __init__(
        self,
        store: Store,
        host: Host,
        *,
        settled: Callable[[Sequence[Finished], Settled], None],
        recover: Callable[[], Awaitable[None]],
        lock: asyncio.Lock,
    ) -> None:
        self._store = store
        self._host = host
        self._settled = settled
        self._recover = recover
        self._lock = lock
        self._batch: list[Finished] = []
        self._pending: list[Finished] = []
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
                self._batch, self._pending = self._pending[:MOST], self._pending[MOST:]
                await self._settle(self._batch)
                self._batch = []
            self._idle.set()

    async def drain(self) -> None:
        """Wait until everything taken so far is settled."""
        await self._idle.wait()

    def unsettled(self) -> list[Finished]:
        """List what was taken and is not in the store yet."""
        return self._batch + self._pending

    async def _settle(self, batch: list[Finished]) -> None:
        while batch:
            try:
                async with self._lock:
                    settled = await self._store.settle(
                        self._host.id,
                        [finished.outcome for finished in batch],
                        queues=self._host.queues,
                        claim_up_to=self._host.room(),
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
                held = {claim[:3] for claim in await self._store.held(self._host.id)}
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


_FAILED = 2  # index in ATTEMPT_OUTCOMES


def _claim(outcome: Outcome) -> Claim:
    return Claim(outcome.task_id, outcome.no, outcome.attempt, 0)
