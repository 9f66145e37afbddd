"""The slots of a worker: how many attempts run, how many more may be claimed."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

_FAIR = 4  #: under load, every fourth call that could claim reserves no slot


class Slots:
    """Counts slots: used by attempts, reserved for pending claims, free.

    Every store call that may return claims reserves slots for its duration, so that
    never more attempts run than there are slots.

    Args:
        total: How many attempts may run at once.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.taken = 0
        self.backlog = False  #: the last claim returned all that it asked for
        self.changed = asyncio.Event()
        """Set when there may be more free slots, or no more work to wait for."""

        self.given_back = asyncio.Event()
        """Set when an attempt gives its slot back."""

        self._reserved = 0
        self._closed = False
        self._calls = 0

    @property
    def free(self) -> int:
        return 0 if self._closed else self.total - self.taken - self._reserved

    def take(self) -> None:
        """Occupy a slot; an attempt starts."""
        self.taken += 1

    def give_back(self) -> None:
        """Free the slot of an attempt that ended."""
        self.taken -= 1
        self.changed.set()
        self.given_back.set()

    def hold(self, count: int) -> None:
        """Reserve `count` slots until `drop`."""
        self._reserved += count

    def drop(self, count: int) -> None:
        """Free slots that `hold` reserved."""
        self._reserved -= count

    @contextmanager
    def reserve(self, most: int) -> Iterator[int]:
        """Reserve up to `most` slots for the steps that a store call may free; yield how many.

        With a backlog every fourth call reserves none, so older queued work is not starved.
        """
        self._calls += 1
        yields = self.backlog and self._calls % _FAIR == 0
        count = 0 if yields else max(0, min(self.free, most))
        self._reserved += count
        try:
            yield count
        finally:
            self._reserved -= count

    def close(self) -> None:
        """Have no free slot from now on."""
        self._closed = True
        self.changed.set()
