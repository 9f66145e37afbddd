"""What one waits for: a task on an idle system, its creation, an idle worker's awakening."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from bench.fleet import Settings, fleet
from bench.places import Place, Server, place
from bench.rows import Percentiles, Row, middle
from bench.workloads import CHAIN

BULK = 500  #: tasks created in one call


class _Alone(NamedTuple):
    """What one process did between being let go and its end."""

    found: dict[str, Any]
    postgres: float | None  #: seconds of the server's CPU

    def row(self, where: Place, workload: str, tasks: int, **more: Any) -> Row:
        steps = tasks * CHAIN.steps
        return Row(
            store=where.store,
            workload=workload,
            python_us_per_step=self.found["cpu"] / steps * 1e6,
            postgres_us_per_step=None if self.postgres is None else self.postgres / steps * 1e6,
            rss_mb=self.found["rss"],
            **more,
        )


def latency(settings: Settings, store: str, server: Server | None) -> Row:
    """From create to settled: one chain at a time, in the process of the idle worker."""
    tasks = 200 if settings.quick else 500

    def run(where: Place) -> Row:
        alone = _alone(settings, where, "latency", tasks=tasks)
        return alone.row(where, "latency", tasks, latency_ms=Percentiles.of(alone.found["took"]))

    return _middle(settings, store, server, run)


def create_bulk(settings: Settings, store: str, server: Server | None) -> Row:
    """Create chains, many in a call, while nobody works."""
    tasks = 10_000 if settings.quick else 40_000
    return _creation(settings, store, server, "create-bulk", tasks, BULK)


def create_single(settings: Settings, store: str, server: Server | None) -> Row:
    """Create chains one by one, from 50 coroutines."""
    tasks = 4_000 if settings.quick else 12_000
    return _creation(settings, store, server, "create-single", tasks, 0)


def _creation(
    settings: Settings, store: str, server: Server | None, workload: str, tasks: int, bulk: int
) -> Row:
    def run(where: Place) -> Row:
        alone = _alone(settings, where, "create", tasks=tasks, bulk=bulk)
        speed = tasks / alone.found["took"]
        return alone.row(where, workload, tasks, tasks_per_s=speed, steps_per_s=speed * CHAIN.steps)

    return _middle(settings, store, server, run)


def idle(settings: Settings, store: str, server: Server | None) -> Row:
    """What a worker costs that has nothing to do."""
    seconds = 4.0 if settings.quick else 10.0
    with place(store, server) as where, fleet(settings, where) as workers:
        worker = workers.start("listen")
        time.sleep(1.5)  # its last work is behind it
        worker.tell()
        time.sleep(seconds)
        worker.tell()
        found = worker.found()
    return Row(
        store=store, workload="idle", rss_mb=found["rss"], idle_cpu_percent=found["idle"] * 100
    )


def wake(settings: Settings, store: str, server: Server | None) -> Row:
    """From a create in one process to the start of its handler in another, which was idle."""
    tasks = 30 if settings.quick else 200
    with place(store, server) as where, fleet(settings, where, 2) as both:
        worker = both.start("listen")
        ringer = both.start("ring", tasks=tasks)
        time.sleep(0.5)
        worker.tell()
        ringer.tell()
        ringer.found()
        worker.tell()
        found = worker.found()
    return Row(
        store=store, workload="wake", processes=2, latency_ms=Percentiles.of(found["heard"][1:])
    )


def _alone(settings: Settings, where: Place, role: str, **order: Any) -> _Alone:
    with fleet(settings, where) as one:
        member = one.start(role, **order)
        before = where.server.cpu if where.server else None
        member.tell()
        found = member.found()
        after = where.server.cpu if where.server else None
    return _Alone(found, None if before is None or after is None else after - before)


def _middle(
    settings: Settings, store: str, server: Server | None, run: Callable[[Place], Row]
) -> Row:
    rows = []
    for _ in range(settings.runs):
        with place(store, server) as where:
            rows.append(run(where))
    return middle(rows)
