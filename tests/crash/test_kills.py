"""Workers and databases are killed with SIGKILL, again and again, until all tasks are done."""

import asyncio
import contextlib
import os
import random
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from tests.crash.fleet import WORKERS, create, fleet, open_tasks, prove
from tests.waiting import eventually

from tasker import open_store
from tasker.errors import StoreUnavailable
from tasker.model import Task
from tasker.store.protocol import Store
from tasker.testing.postgres import temporary_postgres

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

KILLS = 10  #: at least
CRASHES = 3  #: of the database
WITHIN = 300.0  #: seconds


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'crash.db'}"
    return str(request.getfixturevalue("postgres_schema_url"))


async def test_killed_workers_lose_and_repeat_no_settlement(url: str, tmp_path: Path) -> None:
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


class Server:
    """The PostgreSQL server of `url`, killed as by a power cut, and started again."""

    def __init__(self, url: str) -> None:
        self._data = Path(parse_qs(urlsplit(url).query)["host"][0]) / "data"
        self._command = shlex.split((self._data / "postmaster.opts").read_text())
        self._process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        pid = int(self._lock()[0])
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # else its number would count as that of a running server

    def start(self) -> bool:
        """Start it; return whether it is ready. While its old sessions die it cannot be."""
        if self._process is None or self._process.poll() is not None:
            owner = self._data.stat().st_uid if os.geteuid() == 0 else None
            self._process = subprocess.Popen(
                self._command,
                cwd=self._data.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                user=owner,
                extra_groups=None if owner is None else [],
            )
        lock = self._lock()
        return lock[:1] == [str(self._process.pid)] and lock[-1] == "ready"

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()

    def _lock(self) -> list[str]:
        lock = self._data / "postmaster.pid"
        return lock.read_text().split() if lock.exists() else [""]


@contextmanager
def server_of(url: str) -> Iterator[Server]:
    server = Server(url)
    try:
        yield server
    finally:
        server.stop()


async def test_a_killed_database_loses_and_repeats_no_settlement(tmp_path: Path) -> None:
    """
    PostgreSQL backends are killed at any moment, and the whole server once; workers continue after
    recovery.
    """
    effects = tmp_path / "effects"
    rng = random.Random(11)
    settings = {"log_min_messages": "panic", "shared_buffers": "16MB"}
    with temporary_postgres(settings=settings) as url, server_of(url) as server:
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
                        if crashes == 1:
                            server.kill()
                            await eventually(server.start)
                        crashes += await kill_backend(url, rng)
                    with contextlib.suppress(StoreUnavailable):
                        waiting = await open_tasks(store, waiting)
                assert [0] * WORKERS == await workers.stop()

            await until_recovered(store)
            await prove(store, tasks, effects)


async def until_recovered(store: Store) -> None:
    """Wait until the database answers after its last death."""
    async with asyncio.timeout(WITHIN):
        while True:
            with contextlib.suppress(StoreUnavailable):
                await store.schema_status()
                return
            await asyncio.sleep(0.1)


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
