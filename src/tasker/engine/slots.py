"""The slots of a worker: how many attempts run, and how many more may be claimed."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

_FAIR = 8  #: with a backlog, one in so many freed steps is left to claims by queue
PATIENCE = 0.2  #: seconds that a claimed step may wait for a slot
AHEAD = 0.1  #: seconds of work that are claimed beyond what runs
MOST_AHEAD = 800  #: steps of this work


class Slots:
    """Counts the slots that are used by attempts, reserved for pending claims, and free.

    At most `total` attempts run, each in a slot. Further steps may be claimed before there is a
    slot for them, as many as ended within the last `AHEAD` seconds, and wait in this process. So
    attempts run while the store settles others, and a released slot is reused immediately. If
    attempts take long, no steps are claimed ahead.

    Every store call that may return claims reserves room for them for its duration.

    Args:
        total: How many attempts may run at once.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.taken = 0
        self.begun = 0  #: attempts that ever took a slot
        self.waiting = 0  #: claimed steps without a slot
        self.backlog = False  #: the last claim returned all that it asked for
        self.polled = 0
        """Slots reserved for a claim that waits for steps; settlements cannot use them."""

        self.changed = asyncio.Event()
        """Set when slots may have become free, and when the worker shuts down."""

        self.given_back = asyncio.Event()
        """Set when an attempt releases its slot."""

        self._reserved = 0
        self._closed = False
        self._offered = 0  #: freed steps since one was last left to claims
        self._most_ahead = MOST_AHEAD
        self._ahead = 0
        self._ended = 0  #: attempts since `_since`
        self._since = monotonic()

    @property
    def capacity(self) -> int:
        """How many steps may be claimed, including running steps and those claimed ahead."""
        elapsed = monotonic() - self._since
        if elapsed >= AHEAD:
            self._ahead = min(round(self._ended / elapsed * AHEAD), self._most_ahead)
            self._ended = 0
            self._since += elapsed
        return self.total + self._ahead

    def limit_claims_ahead(self, most: int) -> None:
        """Claim at most so many steps, up to 800, beyond what runs."""
        self._most_ahead = min(most, MOST_AHEAD)

    @property
    def free_count(self) -> int:
        """How many more steps may be claimed."""
        if self._closed:
            return 0
        return self.capacity - self.taken - self.waiting - self._reserved

    def occupy(self) -> None:
        """Occupy a slot; an attempt starts."""
        self.taken += 1
        self.begun += 1

    def vacate(self) -> None:
        """Free the slot of an attempt that ended."""
        self.taken -= 1
        self._ended += 1
        self.changed.set()
        self.given_back.set()

    def reserve_until_released(self, count: int) -> None:
        """Count `count` slots as reserved until `release_reserved`, even if fewer are free."""
        self._reserved += count

    def release_reserved(self, count: int) -> None:
        """Free slots that `reserve_until_released` reserved."""
        self._reserved -= count

    @contextmanager
    def reserve_up_to(self, most: int) -> Iterator[int]:
        """Reserve up to `most` slots for the steps that a store call may free; yield how many.

        With a backlog, every eighth of these steps goes to its queue instead, so older steps and
        other queues are not starved.
        """
        left = 0
        if self.backlog:
            left, self._offered = divmod(self._offered + most, _FAIR)
        count = max(0, min(self.free_count - self.polled, most - left))
        self._reserved += count
        try:
            yield count
        finally:
            self._reserved -= count
            self.changed.set()

    def close(self) -> None:
        """Offer no free slots from now on."""
        self._closed = True
        self.changed.set()
