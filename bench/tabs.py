"""What open tabs of the web UI cost the workers: at saturation, and at a steady load.

Runs without tabs and with them take turns, each in a new database. A tab is measured once it has
been open for a while, as the first requests of a page are its dearest.
"""

import asyncio
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from bench.databases import Database, Server, empty_database
from bench.fleet import Settings, Span, fleet
from bench.http_client import connect, require_success, serving
from bench.ratios import MIN_ROUNDS, median_interval
from bench.rows import Percentiles, Row, median_row
from bench.throughput import drain
from bench.workloads import CHAIN, THROUGHPUT
from tasker import LocalClient, TaskRequest
from tasker.store.open import make_store
from tasker.store.postgres.address import Address

_TABS = 50
_LIST_EVERY = 2.0  #: seconds, as in ui/src/views/tasks.tsx
_TASK_EVERY = 5.0  #: seconds, as in ui/src/views/task.tsx
_ANSWERS = 4  #: to each tab, before anything is measured
_OPENING = 120.0  #: seconds that these may take
_RATE = 100  #: tasks created per second at a steady load: 400 steps
_BEFORE = 200  #: tasks that ended before, for the lists
_SECONDS = 20


def tabs(settings: Settings, store: str, server: Server | None) -> list[Row]:
    """Measure chains without open tabs, and with `_TABS`, half at a list and half at a task."""
    rounds = settings.runs if settings.quick else max(settings.runs, MIN_ROUNDS)
    rows: dict[str, list[Row]] = {}
    cpu: dict[str, list[float]] = {}
    for turn in range(rounds):
        for load, count in itertools.product(
            (_saturated, _steady), (0, _TABS)[:: 1 - turn % 2 * 2]
        ):
            name = f"{load.__name__.strip('_')}-{count}"
            with empty_database(store, server) as database, serving(database.url) as process:
                asyncio.run(_create(database.url, _BEFORE))
                with _open_tabs(process.port, count) as opened:
                    before, answers, start = process.cpu, opened.answers, time.monotonic()
                    row = load(settings, database)
                    seconds = time.monotonic() - start
                used = (process.cpu - before) / seconds * 100
            asked = (opened.answers - answers) / seconds
            load_of_server = f"server {used:.1f} % of a core, {asked:.0f} requests/s"
            print(f"{name} tabs: {row.summary()}; {load_of_server}", flush=True)
            rows.setdefault(name, []).append(replace(row, workload=f"ui-tabs-{name}"))
            cpu.setdefault(name, []).append(used)
    for kind, figure in (("saturated", "steps/s"), ("steady", "CPU per step")):
        _print_ratio(kind, figure, rows[f"{kind}-{_TABS}"], rows[f"{kind}-0"])
    return [median_row(some) for some in rows.values()]


def _print_ratio(load: str, figure: str, tabs: list[Row], none: list[Row]) -> None:
    """Print what tabs change, round by round."""
    of = _cpu_of if figure == "CPU per step" else (lambda row: row.steps_per_s or 0.0)
    ratios = [of(row) / of(base) for row, base in zip(tabs, none, strict=True)]
    text = f"{load}: {figure} with {_TABS} tabs is {median(ratios):.3f} of that without"
    if len(ratios) >= MIN_ROUNDS:
        text += " (90 % interval {:.3f} to {:.3f})".format(*median_interval(ratios))
    print(text)


def _cpu_of(row: Row) -> float:
    return (row.python_us_per_step or 0.0) + (row.postgres_us_per_step or 0.0)


def _saturated(settings: Settings, database: Database) -> Row:
    """Work off a backlog."""
    return drain(settings, database, THROUGHPUT[CHAIN.name])


def _steady(settings: Settings, database: Database) -> Row:
    """Run tasks that are created at a steady rate; the latency is that of tasks."""
    tasks = _RATE * (_SECONDS // 4 if settings.quick else _SECONDS)
    with fleet(settings, database) as workers:
        workers.start("work", uses_earlier=False)
        first = asyncio.run(_newest(database.url))
        span = Span(workers)
        workers.signal()
        asyncio.run(_create(database.url, tasks, rate=_RATE))
        span.wait(tasks)
        workers.signal()
        workers.results()
    return span.row(
        Row(store=database.store, workload="steady"),
        steps=tasks * CHAIN.steps,
        tasks=tasks,
        latency_ms=asyncio.run(_latency(database.url, first)),
    )


async def _create(url: str, tasks: int, *, rate: float = 0.0) -> None:
    """Create tasks at a rate per second, or at once tasks that are cancelled."""
    async with make_store(url) as store:
        client = LocalClient(store)
        await client.register(CHAIN.template)
        name = CHAIN.template.full_name
        if not rate:
            created = await client.create_tasks(
                [TaskRequest(template=name, context={"n": 1})] * tasks
            )
            for one in created:
                await client.cancel(one.id, reason="the worker measured has others")
            return
        start = time.monotonic()
        for no in range(tasks):
            await asyncio.sleep(max(0.0, start + no / rate - time.monotonic()))
            await client.create_task(name, {"n": 1})


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


# ------------------------------------------------------------------ open tabs


@dataclass
class _Opened:
    """What open tabs have done so far."""

    answers: int = 0
    of_tab: Counter[int] = field(default_factory=Counter)


@contextmanager
def _open_tabs(port: int, count: int) -> Iterator[_Opened]:
    """Keep tabs open in a thread of their own; yield once each has been open for a while."""
    opened = _Opened()
    closing = threading.Event()

    async def keep_open() -> None:
        running = [asyncio.create_task(_tab(port, no, opened)) for no in range(count)]
        await asyncio.to_thread(closing.wait)
        for one in running:
            one.cancel()
        for ended in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(ended, Exception):
                print(f"a tab stopped: {ended!r}")

    thread = threading.Thread(target=lambda: asyncio.run(keep_open()))
    thread.start()
    try:
        end = time.monotonic() + _OPENING
        while min((opened.of_tab[no] for no in range(count)), default=_ANSWERS) < _ANSWERS:
            if time.monotonic() > end:
                raise RuntimeError(f"the tabs did not open in {_OPENING:.0f} s")
            time.sleep(0.05)
        yield opened
    finally:
        closing.set()
        thread.join()


async def _tab(port: int, no: int, opened: _Opened) -> None:
    """Ask as visible pages do: a list and its counts, or a task beside its stream."""
    line = await connect(port)
    await asyncio.sleep(no / _TABS * 2)

    known: dict[str, tuple[str, Any]] = {}

    async def ask(path: str, every: float, *, max_age: int = 0) -> Any:
        """Ask, and rest as `ui/src/state/pace.ts` does."""
        nonlocal line
        if line.closed:  # a browser opens another connection, too
            line = await connect(port)
        etag, before = known.get(path, ("", None))
        try:
            response = await line.request("GET", path, max_age=max_age, known=etag)
        except ConnectionError:  # it closed the connection at the same time
            line = await connect(port)
            response = await line.request("GET", path, max_age=max_age, known=etag)
        require_success([response])
        opened.answers += 1
        opened.of_tab[no] += 1
        await asyncio.sleep(max(every, min(9 * response.took, 15)))
        if 304 == response.status:
            return before
        content = json.loads(response.body)
        if response.etag:
            known.clear()
            known[path] = (response.etag, content)
        return content

    for turn in itertools.count():
        age = 1 if turn else 0  # the first time everything is new
        page = "/v1/tasks?limit=100&current=true"
        listed = (await ask(page, _LIST_EVERY, max_age=age))["tasks"]
        if no % 2 and not turn % 2:
            await ask("/v1/tasks/counts", 0, max_age=2 * age)
        elif not no % 2 and listed:
            await _look_at(random.choice(listed)["id"], port, ask)


async def _look_at(task: str, port: int, ask: Callable[..., Awaitable[Any]]) -> None:
    """Look at a task for a while: ask when it changes, as its stream reports, and regularly."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET /v1/stream?task={task} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        for _ in range(10):
            if (await ask(f"/v1/tasks/{task}/snapshot", 0))["task"]["ended_at"]:
                await asyncio.sleep(_TASK_EVERY)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(_TASK_EVERY):
                    while not (await reader.readline()).startswith(b"event: change"):
                        pass
    finally:
        writer.close()
