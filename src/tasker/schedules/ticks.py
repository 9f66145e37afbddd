"""The ticks of a schedule: the instants at which it creates a task."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from tasker.model import PRIORITIES, Schedule
from tasker.schedules.model import (
    LEAST_CATCH_UP,
    LONGEST_INTERVAL,
    MOST_CATCH_UP,
    MOST_JITTER,
    SHORTEST_INTERVAL,
)

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_LONGEST_CRON = 200
_SECOND = timedelta(seconds=1)
_FORM = 'five fields (minute, hour, day of month, month, day of week), such as "30 2 * * *"'


def find_timing_problems(schedule: Schedule) -> Iterator[tuple[str, str]]:
    """Yield the fields of a schedule that are invalid, except its context, each with a message."""
    if bool(schedule.cron) == (schedule.every is not None):
        yield "cron", "a schedule must have exactly one of 'cron' and 'every'"
    elif schedule.cron:
        if message := _find_cron_problem(schedule.cron):
            yield "cron", message
    elif schedule.every is not None:
        if not SHORTEST_INTERVAL <= schedule.every <= LONGEST_INTERVAL:
            yield "every", "must be from 10 seconds to 366 days"
        elif schedule.every % _SECOND:
            yield "every", "must be a whole number of seconds"
    if schedule.anchor.tzinfo is None or schedule.anchor.microsecond:
        yield "anchor", "must be a time in whole seconds with a time zone"
    if not _is_time_zone(schedule.timezone):
        yield (
            "timezone",
            f"{schedule.timezone[:60]!r} is not an IANA time zone such as Europe/Berlin",
        )
    if not LEAST_CATCH_UP <= schedule.catch_up <= MOST_CATCH_UP:
        yield "catch_up", "must be from 1 minute to 30 days"
    if not timedelta(0) <= schedule.jitter <= MOST_JITTER:
        yield "jitter", "must be from 0 to 1 day"
    if schedule.priority is not None and not 0 <= schedule.priority < PRIORITIES:
        yield "priority", f"must be from 0 to {PRIORITIES - 1}"


def next_tick(schedule: Schedule, after: datetime) -> datetime:
    """Return the first tick after an instant, in UTC; `NEVER` without a tick in 50 years."""
    if schedule.every is not None:
        passed = (after - schedule.anchor) // schedule.every
        return (schedule.anchor + (passed + 1) * schedule.every).astimezone(UTC)
    zone = _load_time_zone(schedule.timezone)
    local = CronSim(schedule.cron, after.astimezone(zone).replace(tzinfo=None, fold=0))
    while (wall := next(local, None)) is not None:
        if (tick := local_time_to_instant(wall, zone)) > after:
            return tick
    return NEVER


def previous_tick(schedule: Schedule, before: datetime) -> datetime | None:
    """Return the last tick before an instant, in UTC; None without a tick in 50 years."""
    if schedule.every is not None:
        passed = -((schedule.anchor - before) // schedule.every)
        return (schedule.anchor + (passed - 1) * schedule.every).astimezone(UTC)
    zone = _load_time_zone(schedule.timezone)
    at = before.astimezone(zone)
    wall = at.replace(tzinfo=None, fold=0)
    if at.fold:  # begin at the end of the repeated time, as its first occurrence was before
        wall += (at.replace(fold=0).utcoffset() or timedelta(0)) - (at.utcoffset() or timedelta(0))
    local = CronSim(schedule.cron, wall + _SECOND, reverse=True)
    while (wall_before := next(local, None)) is not None:
        if (tick := local_time_to_instant(wall_before, zone)) < before:
            return tick
    return None


def ticks_between(schedule: Schedule, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the ticks from `start` up to, but not including, `end`."""
    tick = next_tick(schedule, start - timedelta(microseconds=1))
    while tick < end:
        yield tick
        tick = next_tick(schedule, tick)


def next_ticks(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    """Return the first `count` ticks after an instant."""
    ticks: list[datetime] = []
    while len(ticks) < count and (tick := next_tick(schedule, after)) < NEVER:
        ticks.append(tick)
        after = tick
    return ticks


def local_time_to_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant of a local time: the first of two, or the end of the gap around it."""
    earlier = wall.replace(tzinfo=zone).astimezone(UTC)  # of two, that with fold=0
    if earlier.astimezone(zone).replace(tzinfo=None) == wall:
        return earlier
    low = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)  # before the gap
    before = low.astimezone(zone).utcoffset()
    high = earlier  # after the gap
    while high - low > _SECOND:
        middle = low + (high - low) // (2 * _SECOND) * _SECOND
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def compute_jitter(schedule: Schedule, schedule_id: int, tick: datetime) -> timedelta:
    """Return the delay of a tick's task, from 0 to `jitter`; it is the same in every process."""
    digest = hashlib.sha256(f"{schedule_id}:{format_tick(tick)}".encode()).digest()
    share = int.from_bytes(digest[:8]) / 2**64
    return timedelta(seconds=int(schedule.jitter.total_seconds() * share))


def format_tick(tick: datetime) -> str:
    """Return a tick in the form used in idempotency keys: `2026-03-29T01:00:00Z`."""
    return tick.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _find_cron_problem(line: str) -> str | None:
    if len(line) > _LONGEST_CRON or len(line.split()) != 5:
        return f"must have {_FORM}"
    try:
        CronSim(line, datetime.min)
    except CronSimError as error:
        return f"{line!r} is not a cron expression ({str(error).lower()}); write {_FORM}"
    except (AssertionError, ValueError):  # of a step after L or #
        return f"{line!r} is not a cron expression; write {_FORM}"
    return None


def _is_time_zone(name: str) -> bool:
    try:
        _load_time_zone(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


@cache
def _load_time_zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
