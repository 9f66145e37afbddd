"""Time, so that tests can own it."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class ManualClock:
    """A clock that only moves by `advance`."""

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return its time, aware, in UTC."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move the clock on. Raises ValueError for a negative `by`."""
        if by < timedelta(0):
            raise ValueError(f"time does not run backwards: {by}")
        self._now += by
