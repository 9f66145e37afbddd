"""Starts the measured processes, releases them together, and collects their results."""

import asyncio
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.compared import Scale
from bench.counters import Count, Counters
from bench.databases import Database
from bench.rows import Percentiles, Row

ROOT = Path(__file__).resolve().parent.parent
TIME_LIMIT = 600.0  #: seconds until a run is stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all runs of a benchmark have in common."""

    scale: Scale
    runs: int  #: of each measurement; the median is reported
    loop: str  #: uvloop or asyncio
    slots: int  #: of each worker
    tasks: int = 10_000_000  #: in the store of the measurement `ui`

    @property
    def quick(self) -> bool:
        return self.scale == "quick"


def best_loop() -> str:
    return "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"


def loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what creates event loops of a kind; None: the default."""
    if loop != "uvloop":
        return None
    import uvloop

    return uvloop.new_event_loop


class Member:
    """One measured process."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.process", json.dumps(order)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def wait_until_ready(self) -> None:
        self._read()

    def signal(self) -> None:
        """Release the process, or stop it: it waits for one line each time."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Wait for the end of the process and return its result."""
        result = self._read()
        self._process.wait()
        return result

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"a measured process ended with code {self._process.wait()}")
        message: dict[str, Any] = json.loads(line)
        return message


class Fleet:
    """Processes that share one database."""

    def __init__(
        self, settings: Settings, database: Database, counters: Path, processes: int
    ) -> None:
        self.database = database
        self._common = {
            "url": database.url,
            "loop": settings.loop,
            "slots": settings.slots,
            "counters": str(counters),
            "processes": processes,
        }
        self.counters = Counters(counters, processes)
        self.members: list[Member] = []

    def start(self, role: str, **more: Any) -> Member:
        """Start another process and wait until it is ready."""
        member = Member({**self._common, "role": role, "index": len(self.members), **more})
        self.members.append(member)
        member.wait_until_ready()
        return member

    def signal(self) -> None:
        """Release all processes, or stop them."""
        for member in self.members:
            member.signal()

    def results(self) -> list[dict[str, Any]]:
        """Wait for the end of all processes and return their results."""
        return [member.result() for member in self.members]


@contextmanager
def fleet(settings: Settings, database: Database, processes: int = 1) -> Iterator[Fleet]:
    """Yield a fleet without members; none outlives the block."""
    with TemporaryDirectory(prefix="tasker-bench-") as directory:
        started = Fleet(settings, database, Path(directory) / "counters", processes)
        try:
            yield started
        finally:
            for member in started.members:
                member.kill()


class Span:
    """The time, CPU and work of a fleet between two moments."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._counts = fleet.counters.read()
        self._server = self._server_cpu()
        self._start = time.monotonic()
        self.seconds = self.python = 0.0
        self.postgres: float | None = None
        self.settled = self.ended = 0

    def update(self) -> None:
        """Take the figures at the last settlement."""
        counts = self._fleet.counters.read()
        self.seconds = max(count.at for count in counts) - self._start
        self.settled = _growth(self._counts, counts, "settled")
        self.ended = _growth(self._counts, counts, "ended")
        self.python = sum(
            new.cpu - old.cpu for old, new in zip(self._counts, counts, strict=True) if new.cpu
        )

    def close(self) -> None:
        """Take the figures at the last settlement, and the CPU of the database server."""
        self.update()
        now = self._server_cpu()
        if now is not None and self._server is not None:
            self.postgres = now - self._server

    def wait(self, tasks: int) -> None:
        """Wait until this number of tasks has ended."""
        while self.ended < tasks:
            time.sleep(0.002)
            self.update()
            if time.monotonic() - self._start > TIME_LIMIT:
                raise RuntimeError(
                    f"only {self.ended} of {tasks} tasks ended in {TIME_LIMIT:.0f} s"
                )
        self.close()

    def row(
        self,
        row: Row,
        *,
        steps: int,
        tasks: int,
        latency_ms: Percentiles | None = None,
        rss_mb: float | None = None,
    ) -> Row:
        """Return `row` with the figures of this span."""
        return replace(
            row,
            steps_per_s=steps / self.seconds,
            tasks_per_s=tasks / self.seconds,
            latency_ms=latency_ms,
            python_us_per_step=self.python / steps * 1e6,
            postgres_us_per_step=None if self.postgres is None else self.postgres / steps * 1e6,
            rss_mb=rss_mb,
        )

    def _server_cpu(self) -> float | None:
        server = self._fleet.database.server
        return None if server is None else server.cpu


def _growth(before: Sequence[Count], after: Sequence[Count], name: str) -> int:
    return sum(
        getattr(new, name) - getattr(old, name) for old, new in zip(before, after, strict=True)
    )
