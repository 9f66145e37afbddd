"""Servers and remote workers are killed with SIGKILL, again and again, until all tasks are done."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.crash.fleet import WORKERS, create, fleet, open_tasks, prove
from tests.ports import reserved_port

from tasker import open_store
from tasker.model import Task

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

KILLS = 3  #: of workers, at least; and as many of servers
WITHIN = 300.0  #: seconds


class Server:
    """A server process, started again at the same address when it is killed."""

    def __init__(self, store: str, port: int, log: Path) -> None:
        self._log = log.open("ab")
        self.url = f"http://127.0.0.1:{port}"
        self.kills = 0
        self._command = [
            *(sys.executable, "-m", "tasker", "server"),
            *("--store", store, "--port", str(port)),
        ]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        leases = {"TASKER_SERVER__WORKER_LEASE": "1s", "TASKER_WORKER__LEASE": "1s"}
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env={"PATH": os.environ["PATH"], **leases},
            stdout=self._log,
            stderr=self._log,
        )
        async with httpx.AsyncClient() as client:
            for _ in range(1200):
                try:
                    await client.get(f"{self.url}/health/live")
                    return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        raise AssertionError("the server did not start")

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)
        self.kills += 1
        await self.start()

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)
        self._log.close()

    async def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(how)
            await asyncio.wait_for(self._process.wait(), 60)


@asynccontextmanager
async def server_of(store: str, log: Path) -> AsyncIterator[Server]:
    with reserved_port() as port:
        server = Server(store, port, log)
        try:
            await server.start()
            yield server
        finally:
            await server.stop()


async def test_killed_servers_and_workers_lose_and_repeat_no_settlement(
    tmp_path: Path,
) -> None:
    """
    The laws of `test_kills`, over the worker protocol.
    """
    url, effects = f"sqlite:{tmp_path / 'crash.db'}", tmp_path / "effects"
    rng = random.Random(11)
    async with open_store(url, upgrade=True) as store:
        tasks = await create(store)
        async with (
            server_of(url, tmp_path / "server.log") as server,
            fleet(server.url, effects) as workers,
        ):
            end = time.monotonic() + WITHIN
            waiting: Sequence[Task] = tasks
            while waiting or min(workers.kills, server.kills) < KILLS:
                assert time.monotonic() < end, f"{len(waiting)} tasks never ended"
                await asyncio.sleep(rng.uniform(0.2, 0.6))  # the moment of the next death
                victim = workers.kill_one(rng) if rng.random() < 0.5 else server.kill()
                await victim
                waiting = await open_tasks(store, waiting)
            assert [0] * WORKERS == await workers.stop()

        await prove(store, tasks, effects)
