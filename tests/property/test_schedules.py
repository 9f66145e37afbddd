"""Schedules against a model: each tick is handled once, whatever processes and clocks do."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.factories import template

from tasker import LocalClient
from tasker.clock import ManualClock
from tasker.engine.reporting import Reporter
from tasker.engine.scheduler import Scheduler
from tasker.model import OverlapPolicy, Schedule, TaskFilter
from tasker.schedules.model import DueSchedule, NoTaskReason
from tasker.schedules.ticks import ticks_between
from tasker.store.open import open_store
from tasker.store.protocol import Store

START = datetime(2026, 3, 28, 22, tzinfo=UTC)  #: before a change of the clocks in Berlin
PROCESSES = 2


class JumpingClock(ManualClock):
    """A clock that is also set back."""

    def jump(self, by: timedelta) -> None:
        self._now += by


class Processes:
    """Processes that look at schedules and act on what they saw, perhaps much later."""

    def __init__(self, store: Store, clock: JumpingClock) -> None:
        self.store = store
        self.clock = clock
        self.client = LocalClient(store)
        reporter = Reporter("test", [], self.client.task_end_waiter)
        self.scheduler = Scheduler(store, self.client, reporter)
        self.seen: list[Sequence[DueSchedule]] = [()] * PROCESSES
        self.latest = clock.now()  #: the latest time at which a process looked

    async def do(self, action: str, number: int, minutes: int) -> None:
        if action == "look":
            self.seen[number] = await self.store.list_due_schedules(10)
        elif action == "act":
            for due in self.seen[number]:
                await self.scheduler.handle_due_ticks(due)
        elif action == "crash":
            self.seen[number] = ()
        elif action == "jump":
            self.clock.jump(timedelta(minutes=minutes))
        elif action == "end":
            for task in await self.store.list_tasks(TaskFilter(), limit=1):
                if not task.has_ended:
                    await self.client.cancel(task.id)
        elif action == "pause":
            await self.client.schedules.pause("n.s")
        elif action == "resume":
            await self.client.schedules.resume("n.s")


ACTIONS = st.tuples(
    st.sampled_from([*("look", "act", "jump") * 4, "crash", "end", "end", "pause", "resume"]),
    st.integers(0, PROCESSES - 1),
    st.sampled_from([25, 25, 70, 400, -50]),
)
SCHEDULES = st.builds(
    Schedule,
    name=st.just("s"),
    cron=st.sampled_from(["*/20 * * * *", "30 2 * * *", "5,7 1-3 * * *"]),
    timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
    overlap=st.sampled_from(OverlapPolicy),
    catch_up=st.sampled_from(["1m", "1h", "30d"]),
) | st.builds(
    Schedule,
    name=st.just("s"),
    every=st.sampled_from(["17m", "2h"]),
    overlap=st.sampled_from(OverlapPolicy),
    catch_up=st.sampled_from(["1m", "1h", "30d"]),
)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(schedule=SCHEDULES, actions=st.lists(ACTIONS, min_size=12, max_size=40))
def test_each_tick_is_handled_once(schedule: Schedule, actions: list[tuple[str, int, int]]) -> None:
    """Each gets one task, or waits for one, or is recorded; none is lost, and none is in two."""

    async def play() -> None:
        clock = JumpingClock(START)
        async with open_store("sqlite::memory:", clock=clock) as store:
            processes = Processes(store, clock)
            await processes.client.register(template("flow", "only"))
            await processes.client.schedules.create("n.flow", schedule)
            for action in actions:
                await processes.do(*action)
                await check(store, schedule)
            await processes.client.schedules.resume("n.s")
            await processes.scheduler.create_due_tasks()
            await check(store, schedule)
            assert (await store.get_schedule("n", "s")).next_at > clock.now()

    asyncio.run(play())


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(actions=st.lists(ACTIONS, min_size=12, max_size=40))
def test_created_ticks_are_the_expected_ticks(actions: list[tuple[str, int, int]]) -> None:
    """With `allow` and a long window, all ticks up to the latest observed time have tasks."""
    schedule = Schedule(name="s", cron="*/20 * * * *", overlap="allow", catch_up="30d")

    async def play() -> None:
        clock = JumpingClock(START)
        async with open_store("sqlite::memory:", clock=clock) as store:
            processes = Processes(store, clock)
            await processes.client.register(template("flow", "only"))
            await processes.client.schedules.create("n.flow", schedule)
            looked: list[datetime] = []
            for action, number, minutes in actions:
                if action in ("pause", "resume"):
                    continue
                await processes.do(action, number, minutes)
                if action == "act":
                    looked += [due.now for due in processes.seen[number]]
            latest = max([*looked, clock.now()])
            clock.jump(latest - clock.now())  # what was seen by then may have been refused as stale
            await processes.scheduler.create_due_tasks()
            ticks = await created(store)
            assert list(ticks_between(schedule, START + MICRO, latest + MICRO)) == ticks

    asyncio.run(play())


MICRO = timedelta(microseconds=1)


async def created(store: Store) -> list[datetime]:
    tasks = await store.list_tasks(TaskFilter(), limit=100_000)
    return sorted(task.scheduled_for for task in tasks if task.scheduled_for is not None)


async def check(store: Store, schedule: Schedule) -> None:
    """Assert that the ticks before the next one are those with a task and those recorded."""
    stored = await store.get_schedule("n", "s")
    handled = await created(store)
    assert len(set(handled)) == len(handled), "a tick has two tasks"
    buffered = 0
    for record in await store.list_ticks_without_task("n", "s", limit=100_000):
        between = list(ticks_between(schedule, record.first, record.last + MICRO))
        assert [record.first, record.last] == [between[0], between[-1]]
        handled += between
        buffered += record.outcome is NoTaskReason.BUFFERED
    assert list(ticks_between(schedule, START + MICRO, stored.next_at)) == sorted(handled)
    assert stored.buffered == buffered


@pytest.mark.anyio
async def test_any_number_of_processes_create_one_task_for_a_tick(tmp_path: Any) -> None:
    """Stores of their own on one database, which look and act at the same time."""
    url = f"sqlite:{tmp_path / 'tasker.db'}"
    clock = JumpingClock(START)
    async with open_store(url, clock=clock) as first, open_store(url, clock=clock) as second:
        both = [Processes(store, clock) for store in (first, second)]
        await both[0].client.register(template("flow", "only"))
        schedule = Schedule(name="s", every="10s", overlap="allow")
        await both[0].client.schedules.create("n.flow", schedule)
        for _ in range(20):
            clock.jump(timedelta(seconds=95))
            await asyncio.gather(
                *(each.scheduler.create_due_tasks() for each in both for _ in range(3))
            )

        await check(first, schedule)
        assert 190 == len(await created(first))
