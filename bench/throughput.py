"""How many steps a second: a backlog is there, workers begin together, the last end counts."""

import asyncio
import sqlite3

from bench.fleet import Settings, Span, fleet
from bench.places import Place, Server, place
from bench.rows import Percentiles, Row, middle
from bench.workloads import Workload
from tasker import LocalClient, TaskRequest
from tasker.store.open import make_store

_BATCH = 500  #: tasks created at once, fewer where they have many steps


def throughput(
    settings: Settings, store: str, server: Server | None, workload: Workload, processes: int
) -> Row:
    """Measure one workload, each run on a store of its own."""
    rows = []
    for _ in range(settings.runs):
        with place(store, server) as where:
            rows.append(drain(settings, where, workload, processes))
    return middle(rows)


def drain(settings: Settings, where: Place, workload: Workload, processes: int = 1) -> Row:
    """Let workers work off a backlog, once."""
    tasks = workload.quick if settings.quick else workload.tasks
    with fleet(settings, where, processes) as workers:
        for _ in range(processes):
            workers.start("work")
        asyncio.run(_load(where.url, workload, tasks))
        span = Span(workers)
        workers.tell()
        span.wait(tasks)
        workers.tell()
        found = workers.found()
    return span.row(
        Row(store=where.store, workload=workload.name, processes=processes),
        steps=tasks * workload.steps,
        tasks=tasks,
        latency_ms=_waits(where),
        rss_mb=max((each["rss"] for each in found if each["rss"]), default=None),
    )


async def _load(url: str, workload: Workload, tasks: int) -> None:
    """Create the backlog."""
    batch = max(1, min(_BATCH, 20_000 // workload.steps))
    async with make_store(url) as store:
        client = LocalClient(store)
        await client.register(workload.template)
        request = TaskRequest(template=workload.template.full_name, context={"n": 1})
        for start in range(0, tasks, batch):
            await client.create_tasks([request] * min(batch, tasks - start))


def _waits(where: Place) -> Percentiles:
    """Tell how long steps took from claimed to settled, as the store's history has it."""
    if where.server is None:
        path = where.url.removeprefix("sqlite:").partition("?")[0]
        connection = sqlite3.connect(path)
        found = connection.execute(
            "select settled_at - claimed_at from attempt where worker is not null"
        ).fetchall()
        connection.close()
        return Percentiles.of([row[0] for row in found])
    return asyncio.run(_waits_in_postgres(where.url))


async def _waits_in_postgres(url: str) -> Percentiles:
    from tasker.store.postgres.address import Address

    connection = await Address.parse(url).connect()
    try:
        found = await connection.fetchval(
            "select percentile_disc(array[0.5, 0.95, 0.99]) within group (order by"
            " extract(epoch from settled_at - claimed_at)::float8)"
            " from attempt where worker is not null"
        )
    finally:
        await connection.close()
    return Percentiles(*(round(seconds * 1000, 3) for seconds in found))
