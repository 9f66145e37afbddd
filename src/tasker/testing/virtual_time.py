"""A store in memory whose clock skips the time in which nothing would happen."""

import asyncio
import math
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from tasker.approvals import EVERY_GROUP
from tasker.client.approvals import fill_and_check_form
from tasker.clock import ManualClock
from tasker.codec import dumps
from tasker.durable import DurableCall
from tasker.errors import InvalidInput
from tasker.model import (
    Claim,
    ClaimResult,
    Json,
    JsonText,
    NewEvent,
    Outcome,
    SettleResult,
    TaskId,
    WorkerId,
)
from tasker.plurals import pluralize
from tasker.schedules.model import DueSchedule
from tasker.store.protocol import AuditNote
from tasker.store.sqlite import SqliteStore
from tasker.waits import NewSignal, encode_payload

FOR_EVER = timedelta(days=36_500)  #: a lease that no skipped time outlasts

_AHEAD = """
    select exists (select 1 from step where state = 2),
           (select min(run_at) from step
            where state = 1 and queue_id / 5 * 5 in (select queue_id from worker_queue)),
           (select min(run_at) from step
            where state = 1 and queue_id / 5 * -5 in (select queue_id from worker_queue)),
           (select min(deadline) from task where state = 0),
           (select min(wake_at) from wait),
           (select min(look_at) from schedule where paused = 0),
           total_changes()
"""
_AWAITED = "select task_id, name from wait where kind = 'signal' order by task_id, no, name"

_EXTERNAL = """
    select w.task_id, w.no, s.name from wait w join step s on s.task_id = w.task_id and s.no = w.no
    where w.kind = 'external' order by w.task_id, w.no
"""

_TEST = AuditNote(actor="test")


class VirtualTimeStore(SqliteStore):
    """SQLite in memory, for one worker: while it waits for work, time passes instantly.

    The clock stops during attempts. When none runs, it skips to the next time at which a step
    is due, a wait times out, a deadline passes or a limit lets more steps through.

    Args:
        clock: The clock; by default it starts in 2030.
        signals: Names and payloads of signals. Each is sent once, in this order, when no step is
            due and a step waits for a signal with its name.
        decisions: Filled-in forms. Each decides the oldest open approval, in this order, when no
            step is due.
        completions: What other systems send, `{"result": ...}` or `{"error": ...}`. Each completes
            one waiting external step, in this order, when no step is due.

    Raises:
        InvalidInput: A completion has neither a result nor an error.
    """

    def __init__(
        self,
        clock: ManualClock | None = None,
        *,
        signals: Iterable[tuple[str, Json]] = (),
        decisions: Iterable[Json] = (),
        completions: Iterable[Json] = (),
    ) -> None:
        self._decisions = list(decisions)
        self._completions = [_encode_completion(body) for body in completions]
        self._approved: list[str] = []  #: steps whose approvals were decided
        self._completed: list[str] = []  #: external steps that were completed
        self._awaited: dict[str, None] = {}  #: names of signals for which steps waited
        self._tokens: dict[tuple[TaskId, int], str] = {}  #: digests by external step
        self._signals = [(name, encode_payload(payload)) for name, payload in signals]
        self._manual_clock = clock or ManualClock()
        super().__init__("sqlite::memory:", clock=self._manual_clock)
        self._room_at: datetime | None = None  #: when limits let more steps through
        self._seen_changes: int | None = None
        """The store's change count at the last claim of limited steps, if that claim returned no
        steps."""
        self.skipped = timedelta(0)  #: total time skipped
        self.still = asyncio.Event()
        """Set when the worker is idle and no timer is pending."""
        self.schedules_until: datetime | None = None
        """The time until which schedules create tasks; None means that they create no tasks."""
        self.start_scheduled: Callable[[], Awaitable[None]] | None = None
        """A function that creates tasks for the schedules that are due."""

    @property
    def clock(self) -> ManualClock:
        """The clock, which skips idle time."""
        return self._manual_clock

    def describe_unused_inputs(self) -> list[str]:
        """Describe signals, decisions and completions for which nothing waited."""
        unused = []
        if self._signals:
            names = [name for name, _ in self._signals]
            unused.append(_describe_unused("signal", names, "for signals", self._awaited))
        if self._decisions:
            forms = [dumps(form)[:60] for form in self._decisions]
            unused.append(_describe_unused("decision", forms, "for approvals", self._approved))
        if self._completions:
            bodies = [text[:60] for text in self._completions]
            unused.append(
                _describe_unused("completion", bodies, "for other systems", self._completed)
            )
        return unused

    async def settle(
        self,
        worker: WorkerId,
        outcomes: Sequence[Outcome],
        *,
        claim_up_to: int = 0,
        relaxed: bool = False,
        events: Sequence[NewEvent] = (),
        gated: bool = False,
    ) -> SettleResult:
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

    async def claim_limited_steps(self, worker: WorkerId, limit: int) -> ClaimResult:
        changes = await self._thread.run(lambda on: on.total_changes, writes=False)
        claimed = await super().claim_limited_steps(worker, limit)
        self._seen_changes = None if claimed.claims else changes
        self._room_at = None
        if claimed.next_due is not None:
            microseconds = math.ceil(claimed.next_due * 1e6)  # rounded down, it would stay ahead
            self._room_at = self.clock.now() + timedelta(microseconds=microseconds)
        return claimed

    async def list_due_schedules(self, limit: int) -> list[DueSchedule]:
        until = self.schedules_until
        if until is None or self.clock.now() > until:
            return []
        return await super().list_due_schedules(limit)

    async def wait_for_work(self, timeout: float) -> None:
        if not self._work.is_set():
            await self._skip_idle_time()
        await super().wait_for_work(timeout)

    async def _skip_idle_time(self) -> None:
        def read_next_times(on: sqlite3.Connection) -> _NextTimes:
            return _NextTimes(*on.execute(_AHEAD).fetchone())

        ahead = await self._thread.run(read_next_times, writes=False)
        if ahead.running:
            return
        now = self.clock.now().timestamp()
        due = ahead.due
        is_held_up = self._room_at is not None or ahead.changes == self._seen_changes
        if ahead.gated is not None and not (ahead.gated <= now and is_held_up):
            due = ahead.gated if due is None else min(due, ahead.gated)
        is_due = due is not None and due <= now
        if not is_due and (
            await self._send_next_signal()
            or await self._decide_next_approval()
            or await self._complete_next_external_step()
        ):
            return
        room = None if self._room_at is None else self._room_at.timestamp()
        tick = self._next_schedule_time(ahead.tick)
        times = (due, ahead.deadline, ahead.timeout, room, tick)
        instants = [instant for instant in times if instant is not None]
        if not instants:
            if not self._work.is_set():  # else a task was created after the look
                self.still.set()
            return
        at = _round_up_to_microsecond(min(instants))
        if (pause := at - self.clock.now()) > timedelta(0):
            self.clock.advance(pause)
            self.skipped += pause
        if ahead.deadline == min(instants):
            await self.end_overdue_and_failed_tasks()
        if ahead.timeout == min(instants):
            await self.end_timed_out_waits(1000)
        if tick == min(instants) and self.start_scheduled is not None:
            await self.start_scheduled()
        self._work.set()

    def _next_schedule_time(self, tick: float | None) -> float | None:
        """Return the time at which a schedule is due, or None if schedules create no task then."""
        until = self.schedules_until
        return tick if tick and until and tick <= until.timestamp() else None

    async def _decide_next_approval(self) -> bool:
        """Decide the oldest open approval, if there is one and a decision is left."""
        if not self._decisions:
            return False
        for approval in await self.list_open_approvals(limit=1):
            form = await fill_and_check_form(approval, self._decisions.pop(0))
            self._approved.append(approval.step)
            await self.decide_approval(approval.id, dumps(form), groups={EVERY_GROUP}, act=_TEST)
            return True
        return False

    async def add_token_and_find_completion(self, claim: Claim, digest: str) -> DurableCall | None:
        self._tokens[claim.task_id, claim.no] = digest
        return await super().add_token_and_find_completion(claim, digest)

    async def _complete_next_external_step(self) -> bool:
        """Complete the first waiting external step, if there is one and a completion is left."""
        if not self._completions:
            return False
        rows = await self._thread.run(lambda on: on.execute(_EXTERNAL).fetchall(), writes=False)
        for task_id, no, step in rows:
            self._completed.append(step)
            await self.complete_external_step(
                self._tokens[TaskId(task_id), no], self._completions.pop(0)
            )
            return True
        return False

    async def _send_next_signal(self) -> bool:
        """Send the first of the signals for which a step waits, if there is one."""
        if not self._signals:
            return False
        rows = await self._thread.run(lambda on: on.execute(_AWAITED).fetchall(), writes=False)
        self._awaited |= dict.fromkeys(awaited for _, awaited in rows)
        for index, (name, payload) in enumerate(self._signals):
            for task_id, awaited in rows:
                if awaited == name:
                    del self._signals[index]
                    await self.send_signal(NewSignal(TaskId(task_id), name, payload), _TEST)
                    return True
        return False


def _encode_completion(body: Json) -> JsonText:
    if not isinstance(body, dict) or len(body.keys() & {"result", "error"}) != 1:
        raise InvalidInput(
            f"a completion must have either a 'result' or an 'error', not {dumps(body)[:100]}",
            path="$.completions",
        )
    return dumps(body)


def _describe_unused(noun: str, given: Sequence[str], what: str, awaited: Iterable[str]) -> str:
    """Return `signal 'paid' was not used: steps waited for signals 'payment'`."""
    which = ", ".join(map(repr, given)) if noun == "signal" else ", ".join(given)
    names = ", ".join(map(repr, awaited))
    waited = f"steps waited {what}: {names}" if names else f"no step waited {what}"
    were = "was" if len(given) == 1 else "were"
    return f"the {pluralize(noun, len(given))} {which} {were} not used ({waited})"


def _round_up_to_microsecond(seconds: float) -> datetime:
    """Return the first instant of whole microseconds that is not before `seconds` since 1970."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at if at.timestamp() >= seconds else at + timedelta(microseconds=1)


class _NextTimes(NamedTuple):
    """The times that determine how far the clock skips, in seconds since 1970."""

    running: int
    due: float | None
    gated: float | None  #: when a step under limits is due
    deadline: float | None
    timeout: float | None  #: of a wait
    tick: float | None  #: of a schedule
    changes: int  #: how many rows the store has changed so far
