"""Schedules on a worker: each tick gets one task, and what happens to the others is recorded."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.engine.factories import of_kind, step, template

from tasker import LocalClient, Template
from tasker.clock import ManualClock
from tasker.engine.reporting import Reporter
from tasker.engine.scheduler import Scheduler
from tasker.errors import InvalidInput, NotFound, ScheduleChanged
from tasker.model import JsonObject, OverlapPolicy, Schedule, Task, TaskFilter, TaskStatus
from tasker.notices import Notice, TickHandled
from tasker.schedules.model import NoTaskReason
from tasker.store.open import open_store
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

MIDNIGHT = datetime(2026, 3, 28, tzinfo=UTC)
HOUR = timedelta(hours=1)
FLOW = template("flow", "only")


class JumpingClock(ManualClock):
    """A clock that is also set back."""

    def jump(self, by: timedelta) -> None:
        self._now += by


class Bench:
    """A store with a clock, and the scheduler of one worker."""

    def __init__(self, store: Store, clock: JumpingClock) -> None:
        self.store = store
        self.clock = clock
        self.client = LocalClient(store, actor="ann")
        self.notices: list[Notice] = []
        reporter = Reporter("test", [self.notices.append], self.client.task_end_waiter)
        self.scheduler = Scheduler(store, self.client, reporter)

    async def pass_time(self, by: timedelta) -> None:
        self.clock.advance(by)
        await self.scheduler.create_due_tasks()

    async def tasks(self) -> Sequence[Task]:
        """Return the tasks, oldest first."""
        return [*reversed(await self.store.list_tasks(TaskFilter(), limit=1000))]

    async def ticks(self) -> list[str]:
        return [f"{task.scheduled_for:%d %H:%M}" for task in await self.tasks()]

    async def records(self, name: str = "n.hourly") -> list[tuple[str, str, str]]:
        return [
            (f"{one.first:%d %H:%M}", f"{one.last:%d %H:%M}", one.outcome.value)
            for one in await self.client.schedules.ticks_without_task(name)
        ]

    async def end(self, task: Task) -> None:
        await self.client.cancel(task.id)


@pytest.fixture
async def bench() -> Any:
    clock = JumpingClock(MIDNIGHT)
    async with open_store("sqlite::memory:", clock=clock) as store:
        bench = Bench(store, clock)
        await bench.client.register(FLOW)
        yield bench


def hourly(**fields: Any) -> Schedule:
    return Schedule(**{"name": "hourly", "every": "1h", **fields})


async def test_each_tick_gets_a_task_with_its_context_and_key(bench: Bench) -> None:
    daily = Schedule(
        name="daily",
        cron="30 2 * * *",
        timezone="Europe/Berlin",
        overlap=OverlapPolicy.ALLOW,
        context={"day": "{tick.date}", "span": ["{tick.start}", "{tick.end}"], "n": 1},
        priority=4,
    )
    stored = await bench.client.schedules.create("n.flow@^1", daily)

    await bench.pass_time(timedelta(hours=2))
    await bench.pass_time(timedelta(hours=24))

    first, second = await bench.tasks()
    assert "2026-03-28T01:30:00Z 2026-03-29T01:00:00Z" == " ".join(
        f"{task.scheduled_for:%Y-%m-%dT%H:%M:%SZ}" for task in (first, second)
    )
    assert {
        "day": "2026-03-29",
        "span": ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00"],
        "n": 1,
    } == second.context
    assert (f"schedule:{stored.id}:2026-03-29T01:00:00Z", "schedule:n.daily", stored.id) == (
        second.idempotency_key,
        second.created_by,
        second.schedule_id,
    )
    assert (second.scheduled_for, second.id) == (
        (await bench.client.schedules.get("n.daily")).last_at,
        (await bench.client.schedules.get("n.daily")).last_task,
    )
    assert [
        ("n", "daily", "created", timedelta(minutes=30)),
        ("n", "daily", "created", timedelta(hours=1)),
    ] == [
        (one.namespace, one.schedule, one.outcome, one.late_by)
        for one in of_kind(TickHandled, bench.notices)
    ]


async def test_skip_creates_no_task_while_the_last_one_is_open(bench: Bench) -> None:
    await bench.client.schedules.create("n.flow", hourly())
    for _ in range(3):
        await bench.pass_time(HOUR)
    await bench.end((await bench.tasks())[0])
    await bench.pass_time(HOUR)

    assert ["28 01:00", "28 04:00"] == await bench.ticks()
    assert [("28 02:00", "28 03:00", "skipped")] == await bench.records()


async def test_buffer_one_starts_the_first_waiting_tick(bench: Bench) -> None:
    await bench.client.schedules.create("n.flow", hourly(overlap="buffer_one"))
    for _ in range(3):
        await bench.pass_time(HOUR)
    before = await bench.ticks()
    buffered = (await bench.client.schedules.get("n.hourly")).buffered
    await bench.end((await bench.tasks())[0])
    await bench.pass_time(timedelta(seconds=6))

    assert (["28 01:00"], 1) == (before, buffered)
    assert ["28 01:00", "28 02:00"] == await bench.ticks()
    assert [("28 03:00", "28 03:00", "skipped")] == await bench.records()


async def test_buffer_all_starts_every_tick_one_after_another(bench: Bench) -> None:
    await bench.client.schedules.create("n.flow", hourly(overlap="buffer_all"))
    for _ in range(3):
        await bench.pass_time(HOUR)
    for number in range(3):
        assert number + 1 == len(await bench.ticks())
        await bench.end((await bench.tasks())[-1])
        await bench.pass_time(timedelta(seconds=6))

    assert ["28 01:00", "28 02:00", "28 03:00"] == await bench.ticks()
    assert [] == await bench.records()


async def test_cancel_running_cancels_the_last_task(bench: Bench) -> None:
    await bench.client.schedules.create("n.flow", hourly(overlap="cancel_running"))
    await bench.pass_time(HOUR)
    await bench.pass_time(HOUR)

    first, second = await bench.tasks()
    assert (TaskStatus.CANCELLED, TaskStatus.PENDING) == (first.status, second.status)
    (entry,) = await bench.client.task_audit(first.id)
    assert ("schedule:n.hourly", "the next tick of its schedule is due") == (
        entry.actor,
        entry.reason,
    )


async def test_missed_ticks_within_the_window_run_oldest_first(bench: Bench) -> None:
    await bench.client.schedules.create("n.flow", hourly(overlap="allow", catch_up="3h"))

    await bench.pass_time(timedelta(hours=10, minutes=30))

    assert ["28 08:00", "28 09:00", "28 10:00"] == await bench.ticks()
    assert [("28 01:00", "28 07:00", "missed")] == await bench.records()


async def test_many_missed_ticks_run_in_several_transactions(bench: Bench) -> None:
    schedule = Schedule(name="often", every=60, overlap="allow", catch_up="5h")
    await bench.client.schedules.create("n.flow", schedule)

    await bench.pass_time(timedelta(hours=4))

    assert 240 == len(await bench.tasks())
    assert sorted(await bench.ticks()) == await bench.ticks()


async def test_a_clock_set_back_repeats_no_tick(bench: Bench) -> None:
    await bench.client.schedules.create("n.flow", hourly(overlap="allow"))
    await bench.pass_time(timedelta(hours=3))
    bench.clock.jump(timedelta(hours=-2))
    await bench.scheduler.create_due_tasks()
    back = await bench.ticks()

    await bench.pass_time(timedelta(hours=3))

    assert ["28 01:00", "28 02:00", "28 03:00"] == back
    assert [*back, "28 04:00"] == await bench.ticks()


async def test_a_pause_while_the_clock_is_set_back_repeats_no_tick(bench: Bench) -> None:
    await bench.client.schedules.create("n.flow", hourly(overlap="allow"))
    await bench.pass_time(timedelta(hours=3))
    bench.clock.jump(timedelta(hours=-2))

    await bench.client.schedules.pause("n.hourly")
    resumed = await bench.client.schedules.resume("n.hourly")

    assert MIDNIGHT + 4 * HOUR == resumed.next_at


async def test_jitter_delays_the_start_and_not_the_tick(bench: Bench) -> None:
    await bench.client.schedules.create("n.flow", hourly(jitter="30m", overlap="allow"))
    await bench.pass_time(HOUR)

    (task,) = await bench.tasks()
    (step_,) = await bench.client.steps(task.id)

    assert MIDNIGHT + HOUR == task.scheduled_for
    assert step_.run_at is not None
    assert MIDNIGHT + HOUR < step_.run_at <= MIDNIGHT + 1.5 * HOUR


async def test_a_tick_whose_task_cannot_be_created_is_recorded(bench: Bench) -> None:
    await bench.client.schedules.create("n.flow", hourly())
    await bench.client.retire("n.flow@1.0.0")
    await bench.pass_time(HOUR)
    await bench.pass_time(HOUR)
    await bench.client.restore("n.flow@1.0.0")
    await bench.pass_time(HOUR)

    assert ["28 03:00"] == await bench.ticks()
    assert [("28 01:00", "28 02:00", "failed")] == await bench.records()
    (record,) = await bench.client.schedules.ticks_without_task("n.hourly")
    assert NoTaskReason.FAILED is record.outcome
    assert "retired" in record.detail


async def test_a_new_version_runs_from_the_next_tick_on(bench: Bench) -> None:
    await bench.client.schedules.create("n.flow@^1", hourly(overlap="allow"))
    await bench.pass_time(HOUR)
    await bench.client.register(versioned("1.1.0"))
    await bench.client.register(versioned("2.0.0"))
    bench.client.template_cache.clear_names()
    await bench.pass_time(HOUR)

    assert ["1.0.0", "1.1.0"] == [task.version for task in await bench.tasks()]


async def test_a_schedule_needs_a_template_that_accepts_its_context(bench: Bench) -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {"day": {"type": "string", "format": "date"}},
    }
    strict = Template(
        namespace="n", name="strict", version="1.0.0", steps=(step("only"),), input_schema=schema
    )
    await bench.client.register(strict)

    await bench.client.schedules.create("n.strict", hourly(context={"day": "{tick.date}"}))
    with pytest.raises(InvalidInput, match="string"):
        await bench.client.schedules.create("n.strict", hourly(name="b", context={"day": 5}))
    with pytest.raises(NotFound, match=r"template n\.nope not found"):
        await bench.client.schedules.create("n.nope", hourly(name="c"))
    with pytest.raises(InvalidInput, match="is not a valid name"):
        await bench.client.schedules.create("n.flow", hourly(name="c.d"))
    with pytest.raises(InvalidInput, match="exactly one of 'cron' and 'every'"):
        await bench.client.schedules.create("n.flow", Schedule(name="d"))


async def test_a_backfill_creates_each_tick_once_at_the_lowest_priority(bench: Bench) -> None:
    stored = await bench.client.schedules.create("n.flow", hourly())
    start, end = MIDNIGHT - 5 * HOUR, MIDNIGHT - 2 * HOUR

    planned = await bench.client.schedules.backfill("n.hourly", start, end, dry_run=True)
    first = await bench.client.schedules.backfill("n.hourly", start, end)
    second = await bench.client.schedules.backfill("n.hourly", start, end + HOUR)

    assert [start, start + HOUR, start + 2 * HOUR] == list(planned.ticks)
    assert [(0, 0), (3, 0), (1, 3)] == [
        (each.created, each.existing) for each in (planned, first, second)
    ]
    tasks = await bench.tasks()
    assert {(0, stored.id, "ann")} == {
        (task.priority, task.schedule_id, task.created_by) for task in tasks
    }
    assert f"backfill:{stored.id}:2026-03-27T19:00:00Z" == tasks[0].idempotency_key
    assert stored == await bench.client.schedules.get("n.hourly")


async def test_a_backfill_is_bounded(bench: Bench) -> None:
    await bench.client.schedules.create("n.flow", Schedule(name="s", every=10))
    backfill = bench.client.schedules.backfill

    with pytest.raises(InvalidInput, match="more than 1,000 ticks"):
        await backfill("n.s", MIDNIGHT - timedelta(seconds=10_010), MIDNIGHT)
    with pytest.raises(InvalidInput, match="in the future"):
        await backfill("n.s", MIDNIGHT, MIDNIGHT + HOUR)
    with pytest.raises(InvalidInput, match="range contains no ticks"):
        await backfill("n.s", MIDNIGHT, MIDNIGHT)
    with pytest.raises(InvalidInput, match="has no time zone"):
        await backfill("n.s", datetime(2026, 1, 1), MIDNIGHT)
    assert [] == await bench.tasks()


async def test_the_next_ticks_are_previewed_before_a_schedule_is_saved(bench: Bench) -> None:
    ticks = await bench.client.schedules.preview(hourly())

    assert [MIDNIGHT + number * HOUR for number in range(1, 11)] == ticks
    assert [] == await bench.client.schedules.list()
    with pytest.raises(InvalidInput, match="from 1 to 100"):
        await bench.client.schedules.preview(hourly(), count=101)


async def test_actions_refuse_an_outdated_etag(bench: Bench) -> None:
    stored = await bench.client.schedules.create("n.flow", hourly())
    await bench.client.schedules.pause("n.hourly", if_match=stored.etag)

    with pytest.raises(ScheduleChanged):
        await bench.client.schedules.resume("n.hourly", if_match=stored.etag)


def versioned(version: str) -> Template:
    return replace(FLOW, version=version)
