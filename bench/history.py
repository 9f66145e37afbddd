"""Speed over time: with a million finished tasks in the tables, and over five minutes."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from bench.databases import Database, Server, empty_database, execute, sqlite_file
from bench.fleet import Fleet, Settings, Span, fleet
from bench.rows import Row, median_row
from bench.throughput import drain
from bench.workloads import CHAIN, RESULT
from tasker import LocalClient
from tasker.codec import dump_rows
from tasker.store.open import make_store

FINISHED = 1_000_000
_BATCH = 50_000  #: finished tasks written at once


def with_history(
    settings: Settings, store: str, server: Server | None, progress: Callable[[str], None]
) -> Row:
    """Measure the chain with a million finished tasks in the tables."""
    with empty_database(store, server) as database:
        began = time.monotonic()
        asyncio.run(finish(database, FINISHED))
        progress(f"{FINISHED:,} finished tasks written in {time.monotonic() - began:.0f} s")
        row = median_row([drain(settings, database, CHAIN) for _ in range(settings.runs)])
    return replace(row, workload="chain-after-1M")


def sustained(
    settings: Settings, store: str, server: Server | None, progress: Callable[[str], None]
) -> list[Row]:
    """Measure the first and the last minute of the chain while another process creates tasks."""
    minutes = 2 if settings.quick else 5
    with empty_database(store, server) as database, fleet(settings, database, 2) as both:
        worker = both.start("work")
        feeder = both.start("feed", seconds=minutes * 60 + 1)
        feeder.signal()
        worker.signal()
        spans = _minutes(both, minutes, progress)
        feeder.result()
        worker.signal()
        worker.result()
    return [
        span.row(
            Row(store=store, workload=f"sustained-{name}"),
            steps=span.settled,
            tasks=span.ended,
        )
        for name, span in (("first", spans[0]), ("last", spans[-1]))
    ]


def _minutes(both: Fleet, minutes: int, progress: Callable[[str], None]) -> list[Span]:
    spans = []
    for minute in range(1, minutes + 1):
        span = Span(both)
        time.sleep(60)
        span.close()
        spans.append(span)
        progress(f"minute {minute}: {span.settled / span.seconds:,.0f} steps/s")
    return spans


# ------------------------------------------------------------- finished tasks


class _Dialect(NamedTuple):
    """How a store writes numbers, times and ids; `n` is the number of a task."""

    numbers: str  #: for the numbers from {first} to {last}
    at: str
    id: str
    no_tags: str


_MS = f"({int(time.time() * 1000) - 100 * 86_400_000} + n * 8640)"  # over the last hundred days
_POSTGRES = _Dialect(
    numbers="(select generate_series({first}::bigint, {last}) as n) as numbers",
    at=f"to_timestamp({_MS} / 1000.0)",
    id=f"(lpad(to_hex({_MS}::bigint), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid",
    no_tags="{}",
)
_SQLITE = _Dialect(
    numbers="(with recursive numbers (n) as (select {first} union all"
    " select n + 1 from numbers where n < {last}) select n from numbers) as numbers",
    at=f"({_MS} / 1000.0)",
    id=f"printf('%08x-%04x-7000-8000-%012x', {_MS} >> 16, {_MS} & 65535, n)",
    no_tags="[]",
)


async def finish(database: Database, tasks: int) -> None:
    """Insert finished chains, as the engine would have left them."""
    async with make_store(database.url) as store:
        template = (await LocalClient(store).register(CHAIN.template)).stored.id
    for first in range(0, tasks, _BATCH):
        last = min(first + _BATCH, tasks) - 1
        if database.server is not None:
            await execute(database.url, *_statements(_POSTGRES, template, first, last))
        else:
            _execute(database.url, _statements(_SQLITE, template, first, last))
    if database.server is not None:
        await execute(database.url, "vacuum analyze", "checkpoint")


def _statements(how: _Dialect, template: int, first: int, last: int) -> list[str]:
    numbers = how.numbers.format(first=first, last=last)
    steps = f"{numbers} cross join template_step s where s.template_id = {template}"
    result = dump_rows(RESULT)
    return [
        "insert into task (id, template_id, state, open_sinks, created_at, ended_at,"
        " correlation_id, created_by, reason, tags, context)"
        f" select {how.id}, {template}, 4, 0, {how.at}, {how.at}, cast({how.id} as text),"
        f" 'bench', '', '{how.no_tags}', '{{}}' from {numbers}",
        "insert into step (task_id, no, state, queue_id, attempt, pending_parents, run_at,"
        " enqueued_at, claimed_at, settled_at, name, children, result)"
        f" select {how.id}, s.no, 4, s.queue_id, 1, 0, {how.at}, {how.at}, {how.at}, {how.at},"
        f" s.name, s.children, '{result}' from {steps}",
    ]


def _execute(url: str, statements: list[str]) -> None:
    connection = sqlite3.connect(sqlite_file(url))
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
