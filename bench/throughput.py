"""Steps per second: workers start together on a backlog; the last task's end is the end."""

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing

from bench.databases import Database, Server, empty_database, sqlite_file
from bench.fleet import Settings, Span, fleet
from bench.rows import Percentiles, Row, median_row
from bench.workloads import THROUGHPUT, Workload
from tasker import LocalClient, TaskRequest
from tasker.store.open import make_store

_BATCH = 500  #: tasks created at once, fewer where they have many steps


def throughput(
    settings: Settings, store: str, server: Server | None, workload: Workload, processes: int
) -> Row:
    """Measure one workload; each run has a database of its own."""
    rows = []
    for _ in range(settings.runs):
        with empty_database(store, server) as database:
            rows.append(drain(settings, database, workload, processes))
    return median_row(rows)


def drain(
    settings: Settings,
    database: Database,
    workload: Workload,
    processes: int = 1,
    *,
    extras: bool = True,
) -> Row:
    """Create a backlog and measure how workers work it off.

    `extras`: whether the workers keep figures and the logs of steps.
    """
    tasks = workload.quick if settings.quick else workload.tasks
    with fleet(settings, database, processes) as workers:
        for _ in range(processes):
            workers.start("work", uses_earlier=workload is THROUGHPUT["earlier"], extras=extras)
        asyncio.run(create_backlog(database.url, workload, tasks))
        span = Span(workers)
        workers.signal()
        span.wait(tasks)
        workers.signal()
        results = workers.results()
    fairness = _fairness(database) if workload.per_key else None
    return span.row(
        Row(store=database.store, workload=workload.name, processes=processes, fairness=fairness),
        steps=tasks * workload.steps,
        tasks=tasks,
        latency_ms=_step_latency(database),
        rss_mb=max((each["rss"] for each in results if each["rss"]), default=None),
    )


async def create_backlog(url: str, workload: Workload, tasks: int) -> None:
    """Create the backlog of a workload."""
    batch = max(1, min(_BATCH, 20_000 // workload.steps))
    async with make_store(url) as store:
        client = LocalClient(store)
        await client.register(workload.template)
        name = workload.template.full_name
        keys = tasks // workload.per_key if workload.per_key else 0
        for start in range(0, tasks, batch):
            numbers = range(start, min(start + batch, tasks))
            contexts = [{"n": 1} | ({"key": number % keys} if keys else {}) for number in numbers]
            await client.create_tasks(
                [TaskRequest(template=name, context=context) for context in contexts]
            )


def _step_latency(database: Database) -> Percentiles:
    """Return the time of steps from claimed to settled, from the recorded attempts."""
    if database.server is None:
        connection = sqlite3.connect(sqlite_file(database.url))
        rows = connection.execute(
            "select settled_at - claimed_at from attempt_history where worker is not null"
        ).fetchall()
        connection.close()
        return Percentiles.of([row[0] for row in rows])
    return asyncio.run(_step_latency_in_postgres(database.url))


async def _step_latency_in_postgres(url: str) -> Percentiles:
    from tasker.store.postgres.address import Address

    connection = await Address.parse(url).connect()
    try:
        percentiles = await connection.fetchval(
            "select percentile_disc(array[0.5, 0.95, 0.99]) within group (order by"
            " extract(epoch from settled_at - claimed_at)::float8)"
            " from attempt_history where worker is not null"
        )
    finally:
        await connection.close()
    return Percentiles(*(round(seconds * 1000, 3) for seconds in percentiles))


_COMPLETED = """
select {key}, h.settled_at from attempt_history h join task t on t.id = h.task_id
where h.worker is not null and {key} is not null  -- which tasks to warm up lack
order by h.settled_at
"""


def _fairness(database: Database) -> float:
    """Return Jain's index of the numbers of steps by key when half of all steps are done.

    It is 1 if all keys have the same number, and 1/n if one of n keys has all.
    Source: Jain, Chiu, Hawe, "A Quantitative Measure of Fairness" (DEC-TR-301, 1984).
    """
    if database.server is None:
        with closing(sqlite3.connect(sqlite_file(database.url))) as connection:
            query = _COMPLETED.format(key="json_extract(t.context, '$.key')")
            keys = [row[0] for row in connection.execute(query)]
    else:
        keys = asyncio.run(_completed_keys(database.url))
    counts = Counter(keys[: len(keys) // 2])
    return sum(counts.values()) ** 2 / (len(set(keys)) * sum(count**2 for count in counts.values()))


async def _completed_keys(url: str) -> list[str]:
    from tasker.store.postgres.address import Address

    connection = await Address.parse(url).connect()
    try:
        rows = await connection.fetch(_COMPLETED.format(key="t.context ->> 'key'"))
    finally:
        await connection.close()
    return [row[0] for row in rows]
