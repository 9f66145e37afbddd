"""Waiting times: a task in an idle worker, its creation, the wake-up of an idle worker."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from bench.databases import Database, Server, empty_database
from bench.fleet import Settings, fleet
from bench.rows import Percentiles, Row, median_row
from bench.workloads import CHAIN

BULK = 500  #: tasks created in one call


class _SingleRun(NamedTuple):
    """The result of one process, and the CPU that the server used meanwhile."""

    result: dict[str, Any]
    postgres: float | None  #: CPU seconds

    def row(self, database: Database, workload: str, tasks: int, **more: Any) -> Row:
        steps = tasks * CHAIN.steps
        return Row(
            store=database.store,
            workload=workload,
            python_us_per_step=self.result["cpu"] / steps * 1e6,
            postgres_us_per_step=None if self.postgres is None else self.postgres / steps * 1e6,
            rss_mb=self.result["rss"],
            **more,
        )


def latency(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure one chain at a time, created in the process of the idle worker."""
    tasks = 200 if settings.quick else 500

    def run(database: Database) -> Row:
        single = _run_single(settings, database, "latency", tasks=tasks)
        took = Percentiles.of(single.result["took"])
        return single.row(database, "latency", tasks, latency_ms=took)

    return _median(settings, store, server, run)


def create_bulk(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure the creation of chains, `BULK` in a call, without a worker."""
    tasks = 10_000 if settings.quick else 40_000
    return _creation(settings, store, server, "create-bulk", tasks, BULK)


def create_single(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure the creation of chains one by one, from 50 coroutines."""
    tasks = 4_000 if settings.quick else 12_000
    return _creation(settings, store, server, "create-single", tasks, 0)


def _creation(
    settings: Settings, store: str, server: Server | None, workload: str, tasks: int, bulk: int
) -> Row:
    def run(database: Database) -> Row:
        single = _run_single(settings, database, "create", tasks=tasks, bulk=bulk)
        speed = tasks / single.result["took"]
        return single.row(database, workload, tasks, tasks_per_s=speed)

    return _median(settings, store, server, run)


def idle(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure the CPU and the memory of an idle worker."""
    return _idle(settings, store, server, "idle", 0)


def idle_parked(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure the same while 100,000 steps wait for signals (quick: 2,000)."""
    return _idle(settings, store, server, "idle-parked", 2_000 if settings.quick else 100_000)


def timers(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure how late steps start of which 10,000 are due at once (quick: 1,000)."""
    tasks = 1_000 if settings.quick else 10_000

    def run(database: Database) -> Row:
        single = _run_single(settings, database, "timers", tasks=tasks)
        delays = Percentiles.of(single.result["delays"])
        return Row(store=store, workload="timers", latency_ms=delays, rss_mb=single.result["rss"])

    return _median(settings, store, server, run)


def _idle(settings: Settings, store: str, server: Server | None, workload: str, parked: int) -> Row:
    seconds = 4.0 if settings.quick else 10.0

    def run(database: Database) -> Row:
        with fleet(settings, database) as workers:
            worker = workers.start("idle", parked=parked)
            time.sleep(1.5)  # until the last task's follow-up work is done
            worker.signal()
            time.sleep(seconds)
            worker.signal()
            result = worker.result()
        cpu, rss = result["idle"] * 100, result["rss"]
        return Row(store=store, workload=workload, rss_mb=rss, idle_cpu_percent=cpu)

    return _median(settings, store, server, run)


def wake(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure from creation in one process to the start of the handler in an idle other one."""
    return _wake(settings, store, server, "wake", "submit")


def wake_by_signal(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure from a signal in one process to the attempt that receives it in an idle other one."""
    return _wake(settings, store, server, "wake-signal", "send")


def _wake(settings: Settings, store: str, server: Server | None, workload: str, role: str) -> Row:
    tasks = 30 if settings.quick else 200

    def run(database: Database) -> Row:
        with fleet(settings, database, 2) as both:
            worker = both.start("idle")
            submitter = both.start(role, tasks=tasks)
            time.sleep(0.5)
            worker.signal()
            submitter.signal()
            submitter.result()
            worker.signal()
            delays = Percentiles.of(worker.result()["delays"][1:])
        return Row(store=store, workload=workload, processes=2, latency_ms=delays)

    return _median(settings, store, server, run)


def _run_single(settings: Settings, database: Database, role: str, **order: Any) -> _SingleRun:
    with fleet(settings, database) as one:
        member = one.start(role, **order)
        before = database.server.cpu if database.server else None
        member.signal()
        result = member.result()
        after = database.server.cpu if database.server else None
    return _SingleRun(result, None if before is None or after is None else after - before)


def _median(
    settings: Settings, store: str, server: Server | None, run: Callable[[Database], Row]
) -> Row:
    rows = []
    for _ in range(settings.runs):
        with empty_database(store, server) as database:
            rows.append(run(database))
    return median_row(rows)
