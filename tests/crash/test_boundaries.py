"""A process dies at each boundary to its database; another one finishes its work."""

import asyncio
import os
import random
import re
import signal
import sys
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.crash import endings, waits
from tests.crash.boundaries import Boundary, create, worker_of, world
from tests.crash.fleet import prove
from tests.crash.worker import SETTINGS, events_file
from tests.waiting import eventually

from tasker import LocalClient, open_store
from tasker.events import EventFilter
from tasker.store.protocol import Store
from tasker.testing.postgres import temporary_schema

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
DEATHS = None if os.environ.get("ALL") else 20  #: of a run, on each store; None: at each boundary
WORDS = os.environ.get("BOUNDARIES")  #: dies only at those whose names match
BY_CLOCK = re.compile(r"insert into figure \(minute, template_id, (created|merged)\)")
"""Statements that a process runs when a minute has ended: some runs do not come to them."""
AT_ONCE = 4  #: processes that die beside each other
WITHIN = 300.0  #: seconds until a process is dead, or until its tasks are done


async def run_victim(
    url: str, folder: Path, at: Boundary | None = None, occurrence: int = 1
) -> int:
    """Run a process until it dies at the boundary; without one, until its tasks are done.

    Returns:
        Its exit code; one that never came to the boundary is stopped.
    """
    death = [str(at), str(occurrence)] if at else []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.crash.boundaries", url),
        *(str(folder / "effects"), str(folder / "boundaries"), *death),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WITHIN):
            while line := await process.stdout.readline():
                if line == b"done\n":
                    if at:  # it may be a boundary of a renewal, of cleaning, or of the end
                        with suppress(TimeoutError):
                            async with asyncio.timeout(3 * SETTINGS.lease.total_seconds()):
                                await process.wait()
                    if process.returncode is None:
                        process.terminate()
            return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def survive(url: str, folder: Path) -> None:
    """Submit the same tasks again, run them, and compare the store with the effects."""
    effects = folder / "effects"
    async with open_store(url, upgrade=True) as store:
        client = LocalClient(store)
        tasks = await create(client)
        async with worker_of(store, effects), asyncio.timeout(WITHIN):
            await world(store, tasks, effects)
            await eventually(lambda: all_received(store, effects), within=WITHIN)
        everything = await client.tasks(limit=100)
        await prove(
            *(store, everything, effects),
            ends=endings.ENDS,
            statuses=waits.STATUSES | endings.STATUSES,
            unhandled=waits.UNHANDLED | endings.UNHANDLED,
        )
        await waits.prove(store, tasks, effects)
        await endings.prove(store, tasks, effects)


async def all_received(store: Store, effects: Path) -> bool:
    """Return whether a subscriber has received every event, none of a task before an earlier one.

    A process that was killed may have taken deliveries along until their lease ends.
    """
    events = await store.list_events(EventFilter(), limit=1000)
    received = events_file(effects).read_text().splitlines()
    if await store.list_deliveries("crash", "record", limit=1) or len(set(received)) < len(events):
        return False
    assert {event.id for event in events} == set(received)
    for task_id in {event.task_id for event in events}:
        expected = [event.id for event in reversed(events) if event.task_id == task_id]
        first = dict.fromkeys(each for each in received if each in expected)
        assert expected == list(first)
    return True


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_task_survives_a_kill_at_any_boundary_to_the_database(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, seed: int
) -> None:
    """
    The tasks complete, no attempt is used twice, and each task is created once.
    """
    rng = random.Random(seed)
    passing = asyncio.Semaphore(AT_ONCE)
    server = "" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))

    @asynccontextmanager
    async def database(folder: Path) -> AsyncIterator[str]:
        folder.mkdir()  # noqa: ASYNC240 - once, before anything runs
        if not server:
            yield f"sqlite:{folder / 'crash.db'}"
            return
        with ExitStack() as stack:
            url = await asyncio.to_thread(stack.enter_context, temporary_schema(server))
            try:
                yield url
            finally:
                await asyncio.to_thread(stack.close)

    async def attempt(folder: Path, at: Boundary | None, occurrence: int) -> int:
        async with database(folder) as url:
            code = await run_victim(url, folder, at, occurrence)
            await survive(url, folder)
        return code

    unreached: list[str] = []

    async def die(no: int, at: Boundary, most: int) -> str | None:
        async with passing:
            occurrence = rng.randint(1, max(1, most // 2))
            try:
                code = await attempt(tmp_path / f"{no}", at, occurrence)
                if code == 0 and occurrence > 1:
                    code = await attempt(tmp_path / f"{no}-first", at, 1)
                assert code in (-signal.SIGKILL, 0)
                unreached.extend([str(at)] if code == 0 else [])
            except (AssertionError, TimeoutError) as error:
                where = "".join(traceback.format_exception(error)[-3:])
                return f"{at} (occurrence {occurrence}): {where}"
        return None

    assert 0 == await attempt(tmp_path / "whole", None, 0)
    passed = Counter(
        Boundary(*line.split(" ", 1))
        for line in (tmp_path / "whole" / "boundaries").read_text().splitlines()
    )
    names = {at: str(at) for at in passed if not BY_CLOCK.search(str(at))}
    listed = sorted(at for at, name in names.items() if not WORDS or re.search(WORDS, name))
    chosen = listed if DEATHS is None else rng.sample(listed, min(DEATHS, len(listed)))

    failures = await asyncio.gather(
        *(die(no, at, passed[at]) for no, at in enumerate(chosen, start=1))
    )

    assert [] == [failure for failure in failures if failure], f"TASKER_SEED={seed}"
    # Those of a lost lease, of a collision or of a whole minute are not in every run.
    assert len(unreached) <= len(chosen) // 4, unreached
