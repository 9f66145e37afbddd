"""Starts the processes that are measured, lets them go together, and gathers what they say."""

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.places import Place
from bench.rows import Percentiles, Row
from bench.tally import Count, Tally

HERE = Path(__file__).resolve().parent.parent
PATIENCE = 600.0  #: seconds until a run is given up


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all runs of a benchmark have in common."""

    quick: bool
    runs: int  #: of each measurement; the median counts
    loop: str  #: uvloop or asyncio
    slots: int


def best_loop() -> str:
    return "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"


class Member:
    """One process."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.process", json.dumps(order)],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def ready(self) -> None:
        """Wait until it is."""
        self._heard()

    def tell(self) -> None:
        """Let it go, or stop."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def found(self) -> dict[str, Any]:
        """Wait for its end; tell what it found."""
        found = self._heard()
        self._process.wait()
        return found

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _heard(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"a measured process ended with code {self._process.wait()}")
        heard: dict[str, Any] = json.loads(line)
        return heard


class Fleet:
    """Processes on one store."""

    def __init__(self, settings: Settings, place: Place, tally: Path, processes: int) -> None:
        self.place = place
        self._common = {
            "url": place.url,
            "loop": settings.loop,
            "slots": settings.slots,
            "tally": str(tally),
            "processes": processes,
        }
        self.tally = Tally(tally, processes)
        self.members: list[Member] = []

    def start(self, role: str, **more: Any) -> Member:
        """Start one more process, and wait until it is ready."""
        member = Member({**self._common, "role": role, "index": len(self.members), **more})
        self.members.append(member)
        member.ready()
        return member

    def tell(self) -> None:
        """Let all of them go, or stop."""
        for member in self.members:
            member.tell()

    def found(self) -> list[dict[str, Any]]:
        """Wait for the end of all; tell what they found."""
        return [member.found() for member in self.members]


@contextmanager
def fleet(settings: Settings, place: Place, processes: int = 1) -> Iterator[Fleet]:
    """Have a fleet; none of it outlives the block."""
    with TemporaryDirectory(prefix="tasker-bench-") as directory:
        found = Fleet(settings, place, Path(directory) / "tally", processes)
        try:
            yield found
        finally:
            for member in found.members:
                member.kill()


class Span:
    """The time and the work between two moments of a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._counts = fleet.tally.read()
        self._server = self._server_cpu()
        self._start = time.monotonic()
        self.seconds = self.python = 0.0
        self.postgres: float | None = None
        self.settled = self.ended = 0

    def look(self) -> None:
        """Take what has happened up to the last settlement."""
        counts = self._fleet.tally.read()
        self.seconds = max(count.at for count in counts) - self._start
        self.settled = _grown(self._counts, counts, "settled")
        self.ended = _grown(self._counts, counts, "ended")
        self.python = sum(
            new.cpu - old.cpu for old, new in zip(self._counts, counts, strict=True) if new.cpu
        )

    def close(self) -> None:
        """Take the server's part too."""
        self.look()
        now = self._server_cpu()
        if now is not None and self._server is not None:
            self.postgres = now - self._server

    def wait(self, tasks: int) -> None:
        """Wait until so many tasks have ended."""
        while self.ended < tasks:
            time.sleep(0.002)
            self.look()
            if time.monotonic() - self._start > PATIENCE:
                raise RuntimeError(f"only {self.ended} of {tasks} tasks ended in {PATIENCE:.0f} s")
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
        """Fill in what this span came to."""
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
        server = self._fleet.place.server
        return None if server is None else server.cpu


def _grown(before: Sequence[Count], after: Sequence[Count], name: str) -> int:
    return sum(
        getattr(new, name) - getattr(old, name) for old, new in zip(before, after, strict=True)
    )
