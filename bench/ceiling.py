"""The speed of the database alone: the same minimal writes, sent by pgbench.

For each step: one update that claims it, one that stores its result, one update that counts down
its child or its task, and a row of `due` that is inserted and deleted. The tables and indexes are
those of the store, filled with chains. Measured with one step in a transaction, and with 50.
"""

import asyncio
import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.databases import Server, empty_database, execute
from bench.fleet import Settings
from bench.workloads import RESULT
from tasker.store.postgres.address import Address
from tasker.testing.postgres import find_postgres_binaries

BATCH = 50
_SCRIPT = Path(__file__).with_name("ceiling.sql")


class Ceiling(NamedTuple):
    """Steps per second."""

    batched: float
    single: float
    tool: str  #: pgbench, or asyncpg where pgbench is not installed

    def summary(self) -> str:
        return (
            f"{self.batched:,.0f} steps/s in transactions of {BATCH} steps,"
            f" {self.single:,.0f} in transactions of one ({self.tool})"
        )

    def as_json(self) -> dict[str, float]:
        return {
            "pgbench_batched_steps_per_s": round(self.batched),
            "pgbench_single_steps_per_s": round(self.single),
        }


def ceiling(settings: Settings, server: Server) -> Ceiling:
    """Measure both, each with the number of clients that suits it best."""
    pgbench = find_postgres_binaries() / "pgbench"
    tool = pgbench if pgbench.is_file() else None
    batched = ((4,) if settings.quick else (2, 4)), BATCH, 80_000
    single = ((16,) if settings.quick else (8, 16)), 1, 20_000
    speeds = [
        max(
            median(_run(settings, server, tool, clients, many, tasks) for _ in range(settings.runs))
            for clients in choices
        )
        for choices, many, tasks in (batched, single)
    ]
    return Ceiling(speeds[0], speeds[1], "pgbench" if tool else "asyncpg")


def _run(
    settings: Settings, server: Server, pgbench: Path | None, clients: int, many: int, tasks: int
) -> float:
    """Return the steps per second that `clients` settle, `many` in a transaction."""
    seconds = 3 if settings.quick else 5
    tasks *= seconds // 3 + 1
    with empty_database("postgres", server) as database:
        script = _SCRIPT.read_text().replace("RESULT", RESULT["data"])
        script = script.replace("TASKS", str(tasks))
        asyncio.run(execute(database.url, script, "vacuum analyze", "checkpoint"))
        schema = Address.parse(database.url).schema
        if pgbench is not None:
            call = f"select {schema}.ceiling(:client_id, {many});\n"
            took = _pgbench(pgbench, server, schema, call, clients, seconds)
        else:
            took = asyncio.run(_asyncpg(database.url, many, clients, seconds))
        settled = asyncio.run(_settled(database.url))
    if settled >= tasks * 4:
        raise RuntimeError(f"{clients} clients ran out of {tasks * 4} steps")
    return settled / took


def _pgbench(
    pgbench: Path, server: Server, schema: str, call: str, clients: int, seconds: int
) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(call)
        file.flush()
        parts = urlsplit(server.url)
        command = [
            str(pgbench),
            *("--no-vacuum", "--protocol=prepared", f"--client={clients}", "--jobs=1"),
            *(f"--time={seconds}", f"--file={file.name}", f"--host={server.home}", "--port=5432"),
            *(f"--username={parts.username}", parts.path.lstrip("/")),
        ]
        environment = {**os.environ, "PGOPTIONS": f"-c search_path={schema}"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pgbench failed: {done.stderr[-2000:]}")
    return float(seconds)


async def _asyncpg(url: str, many: int, clients: int, seconds: int) -> float:
    """Call the function from asyncpg, where pgbench is not installed."""
    end = time.monotonic() + seconds

    async def client(number: int) -> None:
        connection = await Address.parse(url).connect()
        while time.monotonic() < end:
            await connection.fetchval("select ceiling($1, $2)", number, many)
        await connection.close()

    await asyncio.gather(*map(client, range(clients)))
    return float(seconds)


async def _settled(url: str) -> int:
    connection = await Address.parse(url).connect()
    try:
        settled: int = await connection.fetchval("select count(*) from step where state = 4")
        return settled
    finally:
        await connection.close()
