"""Worker processes are killed with SIGKILL, again and again, until all tasks are done."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tasker import LocalClient, Retry, TaskRequest, TaskState, Template, open_store
from tasker.errors import StoreUnavailable
from tasker.model import AttemptOutcome, StepSpec, StepState, Task
from tasker.store.protocol import Store
from tasker.testing.postgres import temporary_postgres

pytestmark = pytest.mark.anyio

PROGRAM = Path(__file__).with_name("worker.py")
WORKERS = 3
KILLS = 10  #: at least
CRASHES = 4  #: of the database
WITHIN = 90.0  #: seconds

#: more than there are kills, so that no step runs out of attempts by being killed
PATIENT = Retry(max_attempts=1000)


def step(name: str, handler: str, *after: str) -> StepSpec:
    return StepSpec(name=name, callable=handler, dependencies=after, retry=PATIENT)


DIAMOND = Template(
    namespace="crash",
    name="diamond",
    version="1.0.0",
    steps=(
        step("top", "quick"),
        step("left", "blocking", "top"),
        step("right", "failing_first", "top"),
        step("bottom", "quick", "left", "right"),
    ),
)
FAN = Template(
    namespace="crash",
    name="fan",
    version="1.0.0",
    steps=(
        step("first", "blocking"),
        *(step(f"leaf_{no}", "quick", "first") for no in range(20)),
        step("last", "quick", *(f"leaf_{no}" for no in range(20))),
    ),
)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'crash.db'}"
    return str(request.getfixturevalue("postgres_schema_url"))


class Fleet:
    """Worker processes, each replaced when it is killed."""

    def __init__(self, url: str, effects: Path) -> None:
        self._command = [sys.executable, str(PROGRAM), url, str(effects)]
        self.processes: list[asyncio.subprocess.Process] = []
        self.kills = 0

    async def start(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.PIPE
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert b"ready\n" == await asyncio.wait_for(process.stdout.readline(), 30)

    async def kill_one(self, rng: random.Random) -> None:
        victim = self.processes.pop(rng.randrange(len(self.processes)))
        victim.send_signal(signal.SIGKILL)
        assert -signal.SIGKILL == await victim.wait()
        self.kills += 1
        await self.start()

    async def stop(self) -> list[int]:
        for process in self.processes:
            process.terminate()
        return [await asyncio.wait_for(process.wait(), 30) for process in self.processes]


@asynccontextmanager
async def fleet(url: str, effects: Path) -> AsyncIterator[Fleet]:
    found = Fleet(url, effects)
    try:
        for _ in range(WORKERS):
            await found.start()
        yield found
    finally:
        for process in found.processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def create(store: Store) -> list[Task]:
    client = LocalClient(store)
    await client.register(DIAMOND)
    await client.register(FAN)
    return await client.create_tasks(
        [TaskRequest(template="crash.diamond") for _ in range(120)]
        + [TaskRequest(template="crash.fan") for _ in range(12)]
    )


async def open_tasks(store: Store, tasks: Sequence[Task]) -> list[Task]:
    found = [await store.get_task(task.id) for task in tasks]
    return [task for task in found if not task.ended]


def count(effects: Path) -> Counter[tuple[str, ...]]:
    """Count the effects of each (task, step)."""
    return Counter(tuple(line.split()[:2]) for line in effects.read_text().splitlines())


async def prove(store: Store, tasks: Sequence[Task], effects: Path) -> None:
    """Hold what the store says against itself, and against what the handlers did."""
    done = count(effects)
    for task in tasks:
        assert TaskState.COMPLETE == (await store.get_task(task.id)).state
        steps = await store.list_steps(task.id)
        assert {StepState.COMPLETE} == {found.state for found in steps}
        history = await store.history(task.id)
        completed = [row for row in history if row.outcome is AttemptOutcome.COMPLETE]
        assert sorted(found.name for found in steps) == sorted(row.step for row in completed)
        numbers = Counter((row.step, row.attempt) for row in history)
        assert {1} == set(numbers.values()), "an attempt was used twice"
        for found in steps:
            assert done[task.id, found.name] >= 1
            ended = [row.attempt for row in history if row.step == found.name]
            assert list(range(1, found.attempt + 1)) == sorted(ended)
    assert [] == await store.lapsed(10)


async def test_killed_workers_lose_nothing_and_settle_nothing_twice(
    url: str, tmp_path: Path
) -> None:
    """
    Whenever they die: every task completes, every step settles once, every effect happens.
    """
    effects = tmp_path / "effects"
    rng = random.Random(7)
    async with open_store(url, upgrade=True) as store:
        tasks = await create(store)
        async with fleet(url, effects) as workers:
            end = time.monotonic() + WITHIN
            waiting: Sequence[Task] = tasks
            while waiting or workers.kills < KILLS:
                assert time.monotonic() < end, f"{len(waiting)} tasks never ended"
                await asyncio.sleep(rng.uniform(0.05, 0.3))  # the moment of the next death
                await workers.kill_one(rng)
                waiting = await open_tasks(store, waiting)
            assert [0] * WORKERS == await workers.stop()

        await prove(store, tasks, effects)


async def test_a_killed_database_loses_nothing_and_settles_nothing_twice(tmp_path: Path) -> None:
    """
    PostgreSQL's processes die at any moment; it recovers, and the workers take up their work.
    """
    effects = tmp_path / "effects"
    rng = random.Random(11)
    with temporary_postgres(settings={"log_min_messages": "panic"}) as url:
        async with open_store(url, upgrade=True) as store:
            tasks = await create(store)
            async with fleet(url, effects) as workers:
                end = time.monotonic() + WITHIN
                waiting: Sequence[Task] = tasks
                crashes = 0
                while waiting or crashes < CRASHES:
                    assert time.monotonic() < end, f"{len(waiting)} tasks never ended"
                    if crashes < CRASHES:
                        await asyncio.sleep(rng.uniform(0.3, 0.6))  # the moment of the next death
                        crashes += await kill_backend(url, rng)
                    with contextlib.suppress(StoreUnavailable):
                        waiting = await open_tasks(store, waiting)
                assert [0] * WORKERS == await workers.stop()

            await prove(store, tasks, effects)


async def kill_backend(url: str, rng: random.Random) -> bool:
    """Kill the server's process behind a worker's connection: all of them restart."""
    try:
        connection = await asyncpg.connect(url)
    except (OSError, asyncpg.PostgresError):  # it is still recovering
        return False
    try:
        rows = await connection.fetch(
            "select pid from pg_stat_activity"
            " where backend_type = 'client backend' and pid <> pg_backend_pid()"
        )
    finally:
        connection.terminate()
    if not rows:
        return False
    os.kill(rng.choice(rows)["pid"], signal.SIGKILL)
    return True
