"""What open tabs of the web UI cost: at saturation, and at a steady load.

Runs without tabs and with them take turns, each in a new database. The server, the worker, the tabs
and the creation of tasks are processes of their own. Tabs are measured once they have been open for
a while, as the first requests of a page are its dearest.

On one machine the tabs themselves use CPU that browsers would use elsewhere, so what they cost the
system is the CPU of the worker, the server and PostgreSQL.
"""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple

from bench.databases import Database, Server, empty_database
from bench.fleet import ROOT, Settings, Span, fleet
from bench.http_client import RunningServer, serving
from bench.open_tabs import TABS
from bench.proc import cpu_of_process
from bench.ratios import MIN_ROUNDS, median_interval
from bench.rows import Percentiles, Row, median_row
from bench.throughput import create_backlog
from bench.workloads import CHAIN
from tasker import LocalClient, TaskRequest
from tasker.store.open import make_store
from tasker.store.postgres.address import Address

_RATE = 100  #: tasks created per second at a steady load: 400 steps
_BEFORE = 200  #: tasks that ended before, for the lists
_SECONDS = 20
_LIMIT = 0.05  #: of throughput, or of the CPU per step
_LOADS = ("saturated", "steady")


class _Run(NamedTuple):
    """One run. CPU is a number of cores."""

    row: Row
    server: float
    tabs: float
    requests: float  #: per second

    @property
    def worker(self) -> float:
        return (self.row.python_us_per_step or 0.0) * self.steps_per_s / 1e6

    @property
    def postgres(self) -> float:
        return (self.row.postgres_us_per_step or 0.0) * self.steps_per_s / 1e6

    @property
    def steps_per_s(self) -> float:
        return self.row.steps_per_s or 0.0

    @property
    def system(self) -> float:
        return self.worker + self.server + self.postgres

    @property
    def us_per_step(self) -> float:
        """CPU of the system."""
        return self.system / self.steps_per_s * 1e6

    def summary(self) -> str:
        return (
            f"{self.row.summary()}; {self.us_per_step:.0f} µs of CPU per step; of a core, worker"
            f" {self.worker:.1%}, server {self.server:.1%}, PostgreSQL {self.postgres:.1%}, tabs"
            f" {self.tabs:.1%}; {self.requests:.0f} requests/s"
        )


def tabs(settings: Settings, store: str, server: Server | None) -> list[Row]:
    """Measure chains without open tabs, and with `TABS`, half at a list and half at a task."""
    rounds = settings.runs if settings.quick else max(settings.runs, MIN_ROUNDS)
    runs: dict[str, list[_Run]] = {}
    for turn in range(rounds):
        for load, count in itertools.product(_LOADS, (0, TABS)[:: 1 - turn % 2 * 2]):
            name = f"{load}-{count}"
            with empty_database(store, server) as database, serving(database.url) as process:
                asyncio.run(create_cancelled(database.url, _BEFORE))
                with _open_tabs(settings, process.port, count) as opened:
                    run = _run(settings, database, load, process, opened)
            print(f"{name} tabs: {run.summary()}", flush=True)
            run = run._replace(row=replace(run.row, workload=f"ui-tabs-{name}"))
            runs.setdefault(name, []).append(run)
    for load in _LOADS:
        _print_cost(load, runs[f"{load}-{TABS}"], runs[f"{load}-0"])
    return [median_row([run.row for run in some]) for some in runs.values()]


def _run(
    settings: Settings, database: Database, load: str, process: RunningServer, opened: "_Opened"
) -> _Run:
    """Work off a backlog, or run tasks that are created at a steady rate."""
    with fleet(settings, database) as processes:
        worker = processes.start("work", uses_earlier=False)
        if load == "steady":
            tasks = _RATE * (_SECONDS // 4 if settings.quick else _SECONDS)
            processes.start("create-steadily", tasks=tasks, rate=_RATE)
        else:
            tasks = CHAIN.quick if settings.quick else CHAIN.tasks
            asyncio.run(create_backlog(database.url, CHAIN, tasks))
        newest = asyncio.run(_newest(database.url))
        responses, cpu, own = opened.responses(), process.cpu, opened.cpu
        start, span = time.monotonic(), Span(processes)
        processes.signal()
        span.wait(tasks)
        took = time.monotonic() - start
        cpu, own = process.cpu - cpu, opened.cpu - own
        responses = opened.responses() - responses
        worker.signal()
        processes.results()
    row = span.row(
        Row(store=database.store, workload=load),
        steps=tasks * CHAIN.steps,
        tasks=tasks,
        latency_ms=asyncio.run(_latency(database.url, newest)) if load == "steady" else None,
    )
    return _Run(row=row, server=cpu / took, tabs=own / took, requests=responses / took)


def _print_cost(load: str, tabs: Sequence[_Run], none: Sequence[_Run]) -> None:
    """Print what tabs change, round by round, next to the limit."""

    def ratio(figure: Callable[[_Run], float]) -> str:
        ratios = [figure(run) / figure(base) for run, base in zip(tabs, none, strict=True)]
        text = f"{median(ratios):.3f} of that without"
        if len(ratios) >= MIN_ROUNDS:
            text += " (90 % interval {:.3f} to {:.3f})".format(*median_interval(ratios))
        return text

    def more(figure: Callable[[_Run], float]) -> float:
        return median(figure(run) for run in tabs) - median(figure(run) for run in none)

    print(f"{load}: CPU per step with {TABS} tabs is {ratio(lambda run: run.us_per_step)};", end="")
    print(f" the limit is {1 + _LIMIT:.2f}")
    if load == "saturated":
        print(f"{load}: steps/s with {TABS} tabs is {ratio(lambda run: run.steps_per_s)};", end="")
        print(
            f" the limit is {1 - _LIMIT:.2f} where browsers use other machines; here they use"
            f" {more(lambda run: run.tabs) / (os.cpu_count() or 1):.1%} of this one"
        )
    else:
        print(
            f"{load}: {TABS} tabs cost {more(lambda run: run.system) / (os.cpu_count() or 1):.1%}"
            f" of the machine's CPU: of a core, {more(lambda run: run.server):.1%} in the server,"
            f" {more(lambda run: run.postgres):.1%} in PostgreSQL,"
            f" {more(lambda run: run.worker):.1%} in the worker"
        )


async def create_cancelled(url: str, tasks: int) -> None:
    """Create tasks and cancel them, as the measured worker has others."""
    async with make_store(url) as store:
        client = LocalClient(store)
        await client.register(CHAIN.template)
        request = TaskRequest(template=CHAIN.template.full_name, context={"n": 1})
        for one in await client.create_tasks([request] * tasks):
            await client.cancel(one.id, reason="the measured worker has others")


async def _newest(url: str) -> Any:
    connection = await Address.parse(url).connect()
    try:
        return await connection.fetchval("select max(created_at) from task")
    finally:
        await connection.close()


async def _latency(url: str, after: Any) -> Percentiles:
    """Return the time from the creation to the end of tasks."""
    connection = await Address.parse(url).connect()
    try:
        seconds = await connection.fetch(
            "select extract(epoch from ended_at - created_at)::float8 as took from task"
            " where created_at > $1 and ended_at is not null",
            after,
        )
    finally:
        await connection.close()
    return Percentiles.of([row["took"] for row in seconds])


class _Opened:
    """The process that keeps tabs open."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    @property
    def cpu(self) -> float:
        return cpu_of_process(self._process.pid) or 0.0

    def responses(self) -> int:
        """Return the number of responses that the tabs have received. Raises RuntimeError."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self.read()

    def read(self) -> int:
        """Return the next number that the process writes. Raises RuntimeError."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"the tabs stopped with code {self._process.wait()}")
        return int(line)


@contextmanager
def _open_tabs(settings: Settings, port: int, count: int) -> Iterator[_Opened]:
    """Keep tabs open in another process; yield once each has been open for a while."""
    order = {"port": port, "tabs": count, "loop": settings.loop}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.open_tabs", json.dumps(order)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        opened = _Opened(process)
        opened.read()
        yield opened
    finally:
        process.kill()
        process.wait()
