"""Processes that create the tasks of schedules are killed; each tick has exactly one task."""

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.crash.boundaries import Boundary
from tests.crash.fleet import CHAIN, Fleet
from tests.crash.scheduling import handle_ticks
from tests.waiting import eventually

from tasker import LocalClient, open_store
from tasker.model import Schedule, TaskFilter
from tasker.schedules.ticks import next_tick, ticks_between
from tasker.store.postgres.address import Address
from tasker.store.protocol import Store
from tasker.testing.postgres import temporary_schema

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
KINDS = pytest.mark.parametrize("kind", ["sqlite", "postgres"])
SCHEDULES = [
    Schedule(name="often", every="10s", overlap="allow", catch_up="2h"),
    Schedule(name="quarter", cron="*/5 * * * *", overlap="buffer_all", catch_up="2h"),
    Schedule(name="skipping", every="30s", overlap="skip", catch_up="10m"),
    Schedule(name="cancelling", every="1m", overlap="cancel_running", catch_up="2h"),
]
DEATHS = None if os.environ.get("ALL") else 8  #: of a run, on each store
BACK = timedelta(minutes=30)
NEARLY = timedelta(seconds=30)  #: the last three ticks of the most frequent schedule
KILLS = 8


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if kind == "sqlite":
        return f"sqlite:{tmp_path / 'crash.db'}"
    return str(request.getfixturevalue("postgres_store_url"))


async def set_up(url: str) -> dict[str, datetime]:
    """Create the schedules as they would be after an outage; return their first ticks."""
    async with open_store(url, upgrade=True) as store:
        client = LocalClient(store)
        await client.register(CHAIN)
        for schedule in SCHEDULES:
            await client.schedules.create("crash.chain", schedule)
    first = {schedule.name: next_tick(schedule, datetime.now(UTC) - BACK) for schedule in SCHEDULES}
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:")) as connection:
            for name, tick in first.items():
                connection.execute(
                    "update schedule set next_at = ?, look_at = ? where name = ?",
                    (tick.timestamp(), tick.timestamp(), name),
                )
        connection.close()
    else:
        on = await Address.parse(url).connect()
        for name, tick in first.items():
            await on.execute(
                "update schedule set next_at = $1, look_at = $1 where name = $2", tick, name
            )
        await on.close()
    return first


async def check(store: Store, first: dict[str, datetime]) -> None:
    """Assert that each tick from the first to the next has a task or a record, and not two."""
    for schedule in SCHEDULES:
        stored = await store.get_schedule("crash", schedule.name)
        handled: Counter[datetime] = Counter()
        for task in await all_tasks(store, stored.id):
            handled[task.scheduled_for] += 1
        for record in await store.list_ticks_without_task("crash", schedule.name, limit=1000):
            end = record.last + timedelta(seconds=1)
            handled.update(ticks_between(schedule, record.first, end))
        expected = ticks_between(schedule, first[schedule.name], stored.next_at)
        assert Counter(expected) == handled, schedule.name


async def all_tasks(store: Store, schedule_id: int) -> list[Any]:
    return await store.list_tasks(TaskFilter(schedule_id=schedule_id), limit=10_000)


@KINDS
async def test_each_tick_has_one_task_despite_killed_workers(
    url: str, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    first = await set_up(url)
    fleet = Fleet(url, tmp_path / "effects")
    async with open_store(url) as store:
        for _ in range(3):
            await fleet.start()
        for _ in range(KILLS):
            await asyncio.sleep(rng.uniform(0.0, 0.6))  # when a process dies is the point
            await fleet.kill_one(rng)

        async def caught_up() -> bool:
            schedules = await store.list_schedules(namespace="crash")
            return all(one.next_at > datetime.now(UTC) - NEARLY for one in schedules)

        await eventually(caught_up, within=300)
        assert [0, 0, 0] == await fleet.stop()
        await check(store, first)
        assert 170 < len(await all_tasks(store, (await store.get_schedule("crash", "often")).id))


@KINDS
async def test_ticks_survive_a_kill_at_any_boundary_to_the_database(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)

    async def attempt(folder: Path, at: Boundary | None, occurrence: int = 1) -> int:
        folder.mkdir()  # noqa: ASYNC240 - once, before anything runs
        if kind == "sqlite":
            return await die(f"sqlite:{folder / 'crash.db'}", folder, at, occurrence)
        server = str(request.getfixturevalue("postgres_url"))
        with ExitStack() as stack:
            url = await asyncio.to_thread(stack.enter_context, temporary_schema(server))
            code = await die(url, folder, at, occurrence)
            await asyncio.to_thread(stack.close)
        return code

    async def die(url: str, folder: Path, at: Boundary | None, occurrence: int) -> int:
        first = await set_up(url)
        death = [str(at), str(occurrence)] if at else []
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.crash.scheduling", url),
            *(str(folder / "boundaries"), *death),
            cwd=ROOT,
        )
        code = await asyncio.wait_for(process.wait(), 120)
        async with open_store(url) as store:
            await handle_ticks(store)
            await check(store, first)
        return code

    assert 0 == await attempt(tmp_path / "whole", None)
    lines = (tmp_path / "whole" / "boundaries").read_text().splitlines()
    listed = sorted({Boundary(*line.split(" ", 1)) for line in lines})
    chosen = listed if DEATHS is None else rng.sample(listed, min(DEATHS, len(listed)))

    for no, at in enumerate(chosen):
        code = await attempt(tmp_path / f"{no}", at, rng.randint(1, 2))
        assert code in (-signal.SIGKILL, 0), f"{at}, TASKER_SEED={seed}"
