"""The ticks of schedules: cron expressions in local time, intervals, clock changes."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasker.model import Schedule
from tasker.schedules.ticks import (
    compute_jitter,
    local_time_to_instant,
    next_tick,
    next_ticks,
    previous_tick,
    ticks_between,
)
from tasker.template.schedules import find_schedule_problems

MINUTE = timedelta(minutes=1)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia")


def cron(line: str, zone: str = "UTC") -> Schedule:
    return Schedule(name="s", cron=line, timezone=zone)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def local(ticks: list[datetime], zone: str) -> list[str]:
    return [tick.astimezone(ZoneInfo(zone)).isoformat(sep=" ") for tick in ticks]


def test_a_local_time_that_does_not_exist_runs_at_the_first_instant_after_the_gap() -> None:
    ticks = next_ticks(cron("30 2 * * *", "Europe/Berlin"), utc("2026-03-28T00:00Z"), 3)

    assert [
        "2026-03-28 02:30:00+01:00",
        "2026-03-29 03:00:00+02:00",
        "2026-03-30 02:30:00+02:00",
    ] == local(ticks, "Europe/Berlin")


def test_a_local_time_that_exists_twice_runs_once_the_first_time() -> None:
    ticks = next_ticks(cron("30 2 * * *", "Europe/Berlin"), utc("2026-10-24T00:00Z"), 3)

    assert [
        "2026-10-24 02:30:00+02:00",
        "2026-10-25 02:30:00+02:00",
        "2026-10-26 02:30:00+01:00",
    ] == local(ticks, "Europe/Berlin")


def test_several_local_times_in_a_gap_are_one_tick() -> None:
    ticks = next_ticks(cron("*/15 * * * *", "Europe/Berlin"), utc("2026-03-29T00:40Z"), 3)

    assert [
        "2026-03-29 01:45:00+01:00",
        "2026-03-29 03:00:00+02:00",
        "2026-03-29 03:15:00+02:00",
    ] == local(ticks, "Europe/Berlin")


def test_no_tick_falls_into_the_repeated_hour() -> None:
    ticks = next_ticks(cron("*/30 * * * *", "Europe/Berlin"), utc("2026-10-25T00:00Z"), 3)

    assert [
        "2026-10-25 02:30:00+02:00",
        "2026-10-25 03:00:00+01:00",
        "2026-10-25 03:30:00+01:00",
    ] == local(ticks, "Europe/Berlin")


def test_gaps_may_be_half_an_hour_or_a_day_long() -> None:
    half = next_tick(cron("15 2 * * *", "Australia/Lord_Howe"), utc("2026-10-03T00:00Z"))
    day = next_tick(cron("0 12 30 12 *", "Pacific/Apia"), utc("2011-12-01T00:00Z"))

    assert ["2026-10-04 02:30:00+11:00"] == local([half], "Australia/Lord_Howe")
    assert ["2011-12-31 00:00:00+14:00"] == local([day], "Pacific/Apia")


CHANGES = st.sampled_from(
    [
        ("Europe/Berlin", "2026-03-28T20:00Z"),
        ("Europe/Berlin", "2026-10-24T20:00Z"),
        ("America/New_York", "2026-03-08T02:00Z"),
        ("America/New_York", "2026-11-01T02:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T10:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T10:00Z"),
        ("Pacific/Apia", "2011-12-30T04:00Z"),
        ("UTC", "2026-03-28T20:00Z"),
    ]
)


@given(
    change=CHANGES,
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=6),
)
@settings(max_examples=40)
def test_ticks_equal_those_found_by_checking_every_minute(
    change: tuple[str, str], minutes: set[int], hours: set[int]
) -> None:
    """The first minute with a local time, or the first one beyond a gap that has it."""
    name, begin = change
    zone, start = ZoneInfo(name), utc(begin)
    end = start + timedelta(hours=18)
    line = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    instants = [start - timedelta(days=2) + MINUTE * n for n in range(5 * 24 * 60)]
    walls = [at.astimezone(zone).replace(tzinfo=None, fold=0) for at in instants]
    first: dict[datetime, datetime] = {}
    for at, wall in zip(instants, walls, strict=True):
        first.setdefault(wall, at)
    expected = set()
    wanted = walls[0]
    while wanted <= walls[-1]:
        if wanted.minute in minutes and wanted.hour in hours:
            expected.add(first.get(wanted) or min(at for w, at in first.items() if w > wanted))
        wanted += MINUTE
    schedule = cron(line, name)

    ticks = list(ticks_between(schedule, start, end))

    assert sorted(tick for tick in expected if start <= tick < end) == ticks
    for tick, following in pairwise(ticks):
        assert tick == previous_tick(schedule, following)
        assert tick == previous_tick(schedule, tick + timedelta(seconds=1))


@given(
    zone=st.sampled_from(ZONES),
    at=st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
)
def test_the_previous_tick_is_not_after_now(zone: str, at: datetime) -> None:
    schedule = cron("*/20 1-3 * * *", zone)

    following = next_tick(schedule, at)
    previous = previous_tick(schedule, following)

    assert previous is not None
    assert previous <= at < following


def test_an_interval_counts_from_its_anchor_through_clock_changes() -> None:
    schedule = Schedule(
        name="s", every="8h", anchor=utc("2026-03-28T06:00+01:00"), timezone="Europe/Berlin"
    )

    ticks = next_ticks(schedule, utc("2026-03-28T04:00Z"), 4)

    assert [
        utc("2026-03-28T05:00Z"),
        utc("2026-03-28T13:00Z"),
        utc("2026-03-28T21:00Z"),
        utc("2026-03-29T05:00Z"),
    ] == ticks
    assert ticks[2] == previous_tick(schedule, ticks[3])
    assert utc("2026-03-27T21:00Z") == previous_tick(schedule, ticks[0])


def test_jitter_is_the_same_for_the_same_tick_and_spreads_ticks() -> None:
    schedule = Schedule(name="s", every="1h", jitter="10m")
    ticks = next_ticks(schedule, utc("2026-01-01T00:00Z"), 100)

    delays = [compute_jitter(schedule, 7, tick) for tick in ticks]

    assert delays == [compute_jitter(schedule, 7, tick) for tick in ticks]
    assert delays != [compute_jitter(schedule, 8, tick) for tick in ticks]
    assert timedelta(0) <= min(delays) < timedelta(minutes=2)
    assert timedelta(minutes=8) < max(delays) <= timedelta(minutes=10)


@pytest.mark.parametrize(
    ("fields", "at", "message"),
    [
        ({}, "cron", "a schedule must have exactly one of 'cron' and 'every'"),
        ({"cron": "0 0 * * *", "every": 60}, "cron", "exactly one of 'cron' and 'every'"),
        ({"cron": "0 0 * *"}, "cron", "must have five fields"),
        ({"cron": "0 0 0 * * *"}, "cron", "must have five fields"),
        ({"cron": "61 0 * * *"}, "cron", "'61 0 * * *' is not a cron expression (bad minute)"),
        ({"cron": "0 0 31 2 *"}, "cron", "bad day-of-month"),
        ({"cron": "0 0 30 2 MON#6"}, "cron", "bad day-of-week"),
        ({"cron": "0 0 * * MON#1/2"}, "cron", "is not a cron expression"),
        ({"cron": "0 0 " + "1," * 200 + "1 * *"}, "cron", "must have five fields"),
        ({"every": "5s"}, "every", "from 10 seconds to 366 days"),
        ({"every": "10500ms"}, "every", "whole number of seconds"),
        ({"every": "400d"}, "every", "from 10 seconds to 366 days"),
        ({"every": 60, "timezone": "Mars/Olympus"}, "timezone", "is not an IANA time zone"),
        ({"every": 60, "timezone": "../etc/passwd"}, "timezone", "is not an IANA time zone"),
        ({"every": 60, "timezone": "Europe"}, "timezone", "is not an IANA time zone"),
        ({"every": 60, "anchor": datetime(2026, 1, 1)}, "anchor", "with a time zone"),
        ({"every": 60, "catch_up": 1}, "catch_up", "from 1 minute to 30 days"),
        ({"every": 60, "jitter": "2d"}, "jitter", "from 0 to 1 day"),
        ({"every": 60, "priority": 5}, "priority", "from 0 to 4"),
        (
            {"every": 60, "context": {"a": ["{tick.day}"]}},
            "context",
            "unknown placeholder {tick.day}",
        ),
        ({"every": 60, "context": {"a": "{tick.date"}}, "context", "is unmatched"),
        ({"every": 60, "context": {"a": "x" * 70_000}}, "context", "the limit is 65,536"),
    ],
)
def test_invalid_schedules_are_refused_by_field(
    fields: dict[str, object], at: str, message: str
) -> None:
    problems = list(find_schedule_problems(Schedule(name="s", **fields)))  # type: ignore[arg-type]

    assert [at] == [field for field, _ in problems]
    assert message in problems[0][1]


def test_an_ordinary_local_time_is_unchanged() -> None:
    zone = ZoneInfo("Europe/Berlin")

    assert utc("2026-06-01T10:00Z") == local_time_to_instant(datetime(2026, 6, 1, 12), zone)
