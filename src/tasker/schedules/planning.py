"""Decides which ticks of a due schedule get a task."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from tasker import limits
from tasker.model import OverlapPolicy, Schedule
from tasker.schedules.model import (
    CAUGHT_UP_AT_ONCE,
    DueSchedule,
    NoTaskReason,
    TicksWithoutTask,
)
from tasker.schedules.ticks import next_tick, previous_tick

LOOK_AGAIN = timedelta(seconds=5)  #: until a schedule is looked at again whose ticks wait
_CAPACITY = {OverlapPolicy.BUFFER_ONE: 1, OverlapPolicy.BUFFER_ALL: limits.TICKS_BUFFERED}


class TickPlan(NamedTuple):
    """What happens to the ticks of a due schedule, and when it is due again."""

    starts: Sequence[datetime]  #: ticks whose tasks are created, oldest first
    cancel: bool  #: whether the task of the last tick is cancelled
    taken: Sequence[datetime]  #: ticks that no longer wait
    records: Sequence[TicksWithoutTask]  #: ticks without a task, and those that begin to wait
    next_at: datetime
    look_at: datetime


def plan_ticks(due: DueSchedule) -> TickPlan:
    """Decide what happens to the ticks of a schedule up to now, at most 100 of them."""
    schedule = due.stored.schedule
    missed, ticks, next_at = _split_missed_and_due_ticks(schedule, due.stored.next_at, due.now)
    starts, waiting, skipped = _apply_overlap_policy(
        schedule.overlap, [*due.waiting, *ticks], is_running=due.is_running
    )
    before = set(due.waiting)
    records = [
        *missed,
        *_group_successive_ticks(schedule, skipped),
        *(
            TicksWithoutTask(first=tick, last=tick, outcome=NoTaskReason.BUFFERED)
            for tick in waiting
            if tick not in before
        ),
    ]
    return TickPlan(
        starts=starts,
        cancel=schedule.overlap is OverlapPolicy.CANCEL_RUNNING and due.is_running and bool(starts),
        taken=[tick for tick in due.waiting if tick not in waiting],
        records=records,
        next_at=next_at,
        look_at=min(next_at, due.now + LOOK_AGAIN) if waiting else next_at,
    )


def make_ticks_without_task(
    schedule: Schedule, first: datetime, until: datetime, outcome: NoTaskReason
) -> TicksWithoutTask | None:
    """Return the record of the ticks from `first` up to, but not including, `until`; None if there
    are none."""
    last = previous_tick(schedule, until)
    if last is None or last < first:
        return None
    return TicksWithoutTask(first=first, last=last, outcome=outcome)


def _split_missed_and_due_ticks(
    schedule: Schedule, first: datetime, now: datetime
) -> tuple[list[TicksWithoutTask], list[datetime], datetime]:
    """Return the missed ticks up to now, the ticks to handle, and the next tick."""
    missed = []
    oldest = now - schedule.catch_up
    if first < oldest and (
        record := make_ticks_without_task(schedule, first, oldest, NoTaskReason.MISSED)
    ):
        missed.append(record)
        first = next_tick(schedule, record.last)
    ticks: list[datetime] = []
    while first <= now and len(ticks) < CAUGHT_UP_AT_ONCE:
        ticks.append(first)
        first = next_tick(schedule, first)
    return missed, ticks, first


def _apply_overlap_policy(
    overlap: OverlapPolicy, ticks: Sequence[datetime], *, is_running: bool
) -> tuple[list[datetime], list[datetime], list[datetime]]:
    """Return the ticks to start, those that wait, and those to skip."""
    if overlap is OverlapPolicy.ALLOW:
        return [*ticks], [], []
    if overlap is OverlapPolicy.CANCEL_RUNNING:
        return [*ticks[-1:]], [], [*ticks[:-1]]
    starts = [] if is_running else [*ticks[:1]]
    others = ticks[len(starts) :]
    capacity = _CAPACITY.get(overlap, 0)
    return starts, [*others[:capacity]], [*others[capacity:]]


def _group_successive_ticks(
    schedule: Schedule, ticks: Sequence[datetime]
) -> list[TicksWithoutTask]:
    """Return records of skipped ticks, one for each run of successive ticks."""
    runs: list[TicksWithoutTask] = []
    for tick in ticks:
        follows = runs and next_tick(schedule, runs[-1].last) == tick
        first = runs.pop().first if follows else tick
        runs.append(TicksWithoutTask(first=first, last=tick, outcome=NoTaskReason.SKIPPED))
    return runs
