"""A store in memory whose clock skips the time in which nothing would happen."""

import asyncio
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from tasker.clock import ManualClock
from tasker.model import NewEvent, Outcome, Settled, WorkerId
from tasker.store.sqlite import SqliteStore

FOR_EVER = timedelta(days=36_500)  #: a lease that no skipped time outlasts

_AHEAD = """
    select exists (select 1 from step where state = 2),
           (select min(run_at) from step
            where state = 1 and queue_id / 5 * 5 in (select queue_id from worker_queue)),
           (select min(deadline) from task where state = 0)
"""


class VirtualTimeStore(SqliteStore):
    """SQLite in memory, for one worker: while it waits for work, time passes instantly.

    The clock stops during attempts. When none runs, it skips to the next time at which a step
    is due or a deadline passes.
    """

    def __init__(self, clock: ManualClock | None = None) -> None:
        self._manual_clock = clock or ManualClock()
        super().__init__("sqlite::memory:", clock=self._manual_clock)
        self.skipped = timedelta(0)  #: total time skipped
        self.still = asyncio.Event()
        """Set when the worker waits and no timer is pending."""

    @property
    def clock(self) -> ManualClock:
        """The clock that skips."""
        return self._manual_clock

    async def settle(
        self,
        worker: WorkerId,
        outcomes: Sequence[Outcome],
        *,
        claim_up_to: int = 0,
        relaxed: bool = False,
        events: Sequence[NewEvent] = (),
        gated: bool = False,
    ) -> Settled:
        settled = await super().settle(
            worker,
            outcomes,
            claim_up_to=claim_up_to,
            relaxed=relaxed,
            events=events,
            gated=gated,
        )
        self._work.set()  # waiting callers compute the next time again
        return settled

    async def wait_for_work(self, timeout: float) -> None:
        if not self._work.is_set():
            await self._skip_idle_time()
        await super().wait_for_work(timeout)

    async def _skip_idle_time(self) -> None:
        def look(on: sqlite3.Connection) -> _NextTimes:
            return _NextTimes(*on.execute(_AHEAD).fetchone())

        ahead = await self._thread.run(look, writes=False)
        instants = [instant for instant in (ahead.due, ahead.deadline) if instant is not None]
        if ahead.running:
            return
        if not instants:
            self.still.set()
            return
        at = _round_up_to_microsecond(min(instants))
        if (pause := at - self.clock.now()) > timedelta(0):
            self.clock.advance(pause)
            self.skipped += pause
        if ahead.deadline == min(instants):
            await self.sweep()
        self._work.set()


def _round_up_to_microsecond(seconds: float) -> datetime:
    """Return the first instant of whole microseconds that is not before `seconds` since 1970."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at if at.timestamp() >= seconds else at + timedelta(microseconds=1)


class _NextTimes(NamedTuple):
    """The times that determine the next skip, in seconds since 1970."""

    running: int
    due: float | None
    deadline: float | None
