"""Another durable workflow library, on the same server in the same run, where it is installed.

Its chain does equal work: four async steps that return the same 100 bytes, each durable
before the next begins; 100 chains at a time, as many as a worker of ours has slots.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

from bench.fleet import HERE, Settings
from bench.places import Server
from bench.rows import Percentiles, Row
from bench.workloads import CHAIN


def installed() -> bool:
    return importlib.util.find_spec("dbos") is not None


def dbos(settings: Settings, server: Server | None, told: Callable[[str], None]) -> list[Row]:
    """Measure DBOS Transact: throughput of chains, and the latency of one at a time."""
    if server is None:
        raise ValueError("no PostgreSQL server runs")
    tasks = 300 if settings.quick else 1_500
    name = urlsplit(server.url)
    order = {
        "url": f"postgresql://{name.username}@/dbos_bench?host={server.home}&port=5432",
        "tasks": tasks,
        "width": settings.slots,
    }
    done = subprocess.run(
        [sys.executable, "-m", "bench.peer_dbos", json.dumps(order)],
        cwd=HERE,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    steps = tasks * CHAIN.steps
    return [
        Row(
            store="postgres",
            workload="dbos-chain",
            steps_per_s=steps / found["took"],
            tasks_per_s=tasks / found["took"],
            latency_ms=Percentiles.of(found["alone"]),
            python_us_per_step=found["cpu"] / steps * 1e6,
            rss_mb=found["rss"],
        )
    ]
