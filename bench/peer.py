"""Another durable workflow library on the same server in the same run, where it is installed.

Its chain does equal work: four async steps that return the same 100 bytes, each durable
before the next begins; 100 chains at a time, as many as one of our workers has slots.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from bench.databases import Server
from bench.fleet import ROOT, Settings
from bench.rows import Percentiles, Row, median_row
from bench.workloads import CHAIN


def installed() -> bool:
    return importlib.util.find_spec("dbos") is not None


def dbos(settings: Settings, server: Server | None, _: Callable[[str], None]) -> list[Row]:
    """Measure DBOS Transact: the throughput of chains, and the latency of one at a time."""
    if server is None:
        raise ValueError("the measurement dbos needs a running PostgreSQL server")
    runs = [list(_run(settings, server, no)) for no in range(settings.runs)]
    return [median_row(rows) for rows in zip(*runs, strict=True)]


def _run(settings: Settings, server: Server, no: int) -> Iterator[Row]:
    """Measure once, in a database of its own."""
    tasks = 300 if settings.quick else 1_500
    user = urlsplit(server.url).username
    order = {
        "url": f"postgresql://{user}@/dbos_bench_{no}?host={server.home}&port=5432",
        "postmaster": server.pid,
        "tasks": tasks,
        "width": settings.slots,
    }
    done = subprocess.run(
        [sys.executable, "-m", "bench.peer_dbos", json.dumps(order)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    steps = tasks * CHAIN.steps
    yield Row(
        store="postgres",
        workload="dbos-chain",
        steps_per_s=steps / result["took"],
        tasks_per_s=tasks / result["took"],
        python_us_per_step=result["cpu"] / steps * 1e6,
        postgres_us_per_step=result["postgres"] / steps * 1e6,
        rss_mb=result["rss"],
    )
    yield Row(store="postgres", workload="dbos-latency", latency_ms=Percentiles.of(result["alone"]))
