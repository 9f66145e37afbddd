"""Stores durable calls in batches: calls that complete during one statement form the next batch."""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from tasker.durable import NewDurableCall
from tasker.errors import AttemptCancelled, StoreError, StoreUnavailable
from tasker.store.protocol import WorkerStore

MOST = 500  #: calls in one statement
BYTES = 4 << 20  #: of values in one statement, where it has more than one call
PATIENCE = 60.0  #: seconds for which the store may be unreachable
PAUSE = 0.25  #: seconds between two tries meanwhile


class _UnstoredCall(NamedTuple):
    call: NewDurableCall
    stored: "asyncio.Future[float]"


class DurableCallRecorder:
    """Stores durable calls, one statement at a time.

    Args:
        store: The store.
    """

    def __init__(self, store: WorkerStore) -> None:
        self._store = store
        self._waiting: list[_UnstoredCall] = []
        self._writer: asyncio.Task[None] | None = None

    async def record(self, call: NewDurableCall) -> float:
        """Store a call; return the seconds until the end of a sleep, otherwise 0.

        Raises:
            AttemptCancelled: The attempt no longer holds its claim.
            StoreUnavailable: The store was unreachable for `PATIENCE` seconds.
        """
        stored: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append(_UnstoredCall(call, stored))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(
                self._store_until_empty(), name="tasker-record-calls"
            )
        return await stored

    async def _store_until_empty(self) -> None:
        while self._waiting:
            count = _batch_size(self._waiting)
            batch, self._waiting = self._waiting[:count], self._waiting[count:]
            await self._store_batch(sorted(batch, key=lambda waiting: waiting.call[:2]))

    async def _store_batch(self, batch: Sequence[_UnstoredCall]) -> None:
        try:
            stored = await self._record_with_retries([waiting.call for waiting in batch])
        except StoreError as error:
            if len(batch) > 1 and not isinstance(error, StoreUnavailable):
                for waiting in batch:  # one of them cannot be stored
                    await self._store_batch([waiting])
                return
            for waiting in batch:
                if not waiting.stored.done():
                    waiting.stored.set_exception(error)
            return
        for index, waiting in enumerate(batch):
            if waiting.stored.done():  # its handler was interrupted
                continue
            if (remaining := stored.get(index)) is not None:
                waiting.stored.set_result(remaining)
            else:
                waiting.stored.set_exception(
                    AttemptCancelled(
                        f"the durable call {waiting.call.name!r} was rejected:"
                        " the attempt no longer holds its step"
                    )
                )

    async def _record_with_retries(self, calls: Sequence[NewDurableCall]) -> dict[int, float]:
        """Record calls, retrying while the store is unreachable: a repetition is harmless."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return await self._store.record_durable_calls(calls)
            except StoreUnavailable:
                if time.monotonic() > end:
                    raise
            await asyncio.sleep(PAUSE)


def _batch_size(waiting: Sequence[_UnstoredCall]) -> int:
    """Return how many calls to store with the next statement."""
    size = 0
    for count, (call, _) in enumerate(waiting[:MOST]):
        size += len(call.value or "")
        if size > BYTES and count:
            return count
    return min(len(waiting), MOST)
