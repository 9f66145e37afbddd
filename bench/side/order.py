"""What a run is asked for, what it reports, and how its CPU time is taken."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypedDict
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from bench.proc import cpu_of_family

UNSUPPORTED = 3  #: exit code of a run whose revision lacks what the workload needs
RESULT = {"data": "x" * 89}  #: 100 bytes as JSON
WARM_UP = 0.1  #: share of the steps that run before the measurement begins

Sample: TypeAlias = dict[str, dict[str, float]]
"""What one run cost: a phase of it -> `process` and `postgres` (us of CPU per step, creation or
start), `wall` (us of time for each), `rss` (MB)."""


class Order(TypedDict):
    """What one run is asked for."""

    source: str  #: the directory that contains `tasker`
    url: str
    program: str
    size: int  #: of the workload: handlers, processes; else 0
    amount: int  #: tasks, or what the workload counts instead
    postmaster: int | None
    loop: str


class Cpu(NamedTuple):
    """CPU seconds used so far, and the seconds of a clock."""

    process: float
    postgres: float
    at: float

    def since(self, start: "Cpu", count: int) -> dict[str, float]:
        """Return the microseconds of CPU and of time since `start`, for each of `count`."""
        return {
            "process": (self.process - start.process) / count * 1e6,
            "postgres": (self.postgres - start.postgres) / count * 1e6,
            "wall": (self.at - start.at) / count * 1e6,
        }


def cpu_of(order: Order) -> Cpu:
    """Return the CPU seconds of this process and of the database server."""
    pid = order["postmaster"]
    server = (cpu_of_family(pid) or 0.0) if pid else 0.0
    return Cpu(time.process_time(), server, time.monotonic())


async def connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """Open a session of its own in the database of a PostgreSQL store."""
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "schema"]
    return await asyncpg.connect(urlunsplit(parts._replace(query=urlencode(query, safe="/"))))


class Steps:
    """The handler of all steps: counts its calls, and takes the CPU time at two of them."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._begin_at = self._end_at = 0
        self._begin = self._end = cpu_of(order)
        self.calls = 0
        self.done = asyncio.Event()

    def expect(self, steps: int, *, first: int = 0) -> None:
        """Measure the next `steps` calls but for the first, at least a tenth of them."""
        self._begin_at = self.calls + max(1, first, int(steps * WARM_UP))
        self._end_at = self.calls + steps
        self.done.clear()

    async def work(self) -> dict[str, str]:
        self.calls += 1
        if self.calls == self._begin_at:
            self._begin = cpu_of(self._order)
        elif self.calls == self._end_at:
            self._end = cpu_of(self._order)
            self.done.set()
        return RESULT

    def cost(self) -> dict[str, float]:
        """Return the CPU per step of the measured calls."""
        return self._end.since(self._begin, self._end_at - self._begin_at)


class Member:
    """Another process of the same run. It waits for a line after it is ready."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def start(cls, order: Order, **changed: object) -> "Member":
        """Start a process on the same source and database, and wait until it is ready."""
        member = cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "bench.side", json.dumps({**order, **changed})),
                cwd=Path(order["source"]),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        )
        await member.line()
        return member

    async def line(self) -> str:
        """Wait for its next line and return it."""
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        if not line:
            raise SystemExit(await self._process.wait() or 1)
        return line

    def send(self, text: str = "") -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n".encode())

    async def stop(self) -> None:
        """Close its input, and wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def lines() -> asyncio.StreamReader:
    """Report that this process is ready, and return the lines that it is sent."""
    print("ready", flush=True)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader
