"""The same work in Tasker and in DBOS Transact, on the same server in the same run.

One process creates chains of four steps and awaits their results: 100 chains at a time, then
one after the other. The steps return the same 100 bytes, and each is durable before the next
begins. DBOS is measured where the package `dbos` is installed, with its default settings, once
with async functions and once with sync ones in threads.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from bench.databases import Server, empty_database
from bench.fleet import ROOT, Settings, fleet
from bench.rows import Percentiles, Row, median_row
from bench.workloads import CHAIN

ALONE = 100  #: chains that are run one after the other


def peer_version() -> str | None:
    """Return the version of DBOS Transact, or None if it is not installed."""
    return version("dbos") if importlib.util.find_spec("dbos") else None


def peer(settings: Settings, server: Server | None, _: Callable[[str], None]) -> list[Row]:
    """Measure Tasker and, if it is installed, DBOS Transact."""
    if server is None:
        raise ValueError("the measurement peer needs a running PostgreSQL server")
    rows = [median_row([_tasker(settings, server) for _ in range(settings.runs)])]
    if peer_version() is not None:
        for form in ("async", "sync"):
            rows.append(
                median_row([_dbos(settings, server, form, no) for no in range(settings.runs)])
            )
    return rows


def _tasker(settings: Settings, server: Server) -> Row:
    tasks = 3_000 if settings.quick else 15_000
    with empty_database("postgres", server) as database, fleet(settings, database) as one:
        member = one.start("create-and-wait", tasks=tasks, alone=ALONE, postmaster=server.pid)
        member.signal()
        return _row("create-and-wait", tasks, member.result())


def _dbos(settings: Settings, server: Server, form: str, no: int) -> Row:
    """Measure once, in a database of its own."""
    tasks = 300 if settings.quick else 1_500
    user = urlsplit(server.url).username
    order = {
        "url": f"postgresql://{user}@/dbos_{form}_{no}?host={server.home}&port=5432",
        "form": form,
        "postmaster": server.pid,
        "tasks": tasks,
        "alone": ALONE,
        "width": settings.slots,
        "loop": settings.loop,
    }
    done = subprocess.run(
        [sys.executable, "-m", "bench.peer_dbos", json.dumps(order)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return _row(f"dbos-{form}", tasks, json.loads(done.stdout.splitlines()[-1]))


def _row(workload: str, tasks: int, result: dict[str, Any]) -> Row:
    steps = tasks * CHAIN.steps
    return Row(
        store="postgres",
        workload=workload,
        steps_per_s=steps / result["took"],
        tasks_per_s=tasks / result["took"],
        python_us_per_step=result["cpu"] / steps * 1e6,
        postgres_us_per_step=result["postgres"] / steps * 1e6,
        latency_ms=Percentiles.of(result["alone"]),
        rss_mb=result["rss"],
    )
