"""The boundaries between a process and its database, and a process that dies at one of them.

A boundary is the moment before a statement is sent, or after its answer arrived. Between two
boundaries the process waits: a death there looks to the database like one at a boundary.

    python -m tests.crash.boundaries STORE_URL EFFECTS_FILE BOUNDARIES_FILE [BOUNDARY OCCURRENCE]

creates tasks and works on them. It appends each boundary that it passes to the boundaries
file, and kills itself with SIGKILL at the given occurrence of a boundary.
"""

import asyncio
import functools
import os
import re
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
from tests.crash import endings, waits
from tests.crash.fleet import CHAIN, DIAMOND, ITEMS, MAPPED, PARENT
from tests.crash.worker import SETTINGS, handlers, subscriber

from tasker import LocalClient, TaskRequest, Worker, open_store
from tasker.engine import spawning
from tasker.events import NewSubscription
from tasker.model import Task
from tasker.store.protocol import Store

TASKS = [
    TaskRequest(template=f"crash.{name}", idempotency_key=f"{name}-{no}")
    for name in ("diamond", "chain", "parent")
    for no in range(3)
] + [
    TaskRequest(template="crash.mapped", context=ITEMS, idempotency_key=f"mapped-{no}")
    for no in range(3)
]


class Boundary(NamedTuple):
    """A side of a statement, with the statement's first words as its name."""

    side: str
    statement: str

    def __str__(self) -> str:
        return f"{self.side} {self.statement}"


Pass = Callable[[Boundary], None]
"""Called whenever the process passes a boundary."""


async def create(client: LocalClient) -> list[Task]:
    """Create the subscription and the tasks, or find them where they exist."""
    subscription = NewSubscription(namespace="crash", name="record", events=("*",))
    await client.store.subscribe([subscription], "crash")
    for template in (DIAMOND, CHAIN, MAPPED, PARENT):
        await client.register(template)
    created = await client.create_tasks(TASKS)
    return [*created, *await waits.create(client), *await endings.create(client)]


def worker_of(store: Store, effects: Path) -> Worker:
    """Return a worker with the handlers of all tasks, and a subscriber."""
    own = handlers(effects) | waits.handlers(effects) | endings.handlers(effects)
    return Worker(store, [own, subscriber(effects)], namespaces="*", settings=SETTINGS)


async def world(store: Store, tasks: Sequence[Task], effects: Path) -> None:
    """Do what people and other systems do, until all tasks have ended."""
    await asyncio.gather(waits.world(store, tasks, effects), endings.operate(store, tasks))


def name_of(statement: str) -> str:
    """Return a statement's first words, without comments and generated names.

    Those of a migration have one name: it is one transaction.
    """
    text = re.sub(r"--[^\n]*", "", statement).lstrip()
    if text.startswith("create "):
        return "create"
    return " ".join(re.sub(r"\S*\d\S*", "#", text).split())[:70]


def watch_sqlite(passed: Pass) -> None:
    """Report the boundaries of every SQLite connection opened from now on."""

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            passed(Boundary("before", name_of(sql)))
            cursor = super().execute(sql, *parameters)
            passed(Boundary("after", name_of(sql)))
            return cursor

        def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
            passed(Boundary("before", name_of(sql)))
            cursor = super().executemany(sql, parameters)
            passed(Boundary("after", name_of(sql)))
            return cursor

    sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)  # type: ignore[assignment]


def watch_postgres(passed: Pass) -> None:
    """Report the boundaries of every PostgreSQL connection."""

    def watch(method: str) -> None:
        call = getattr(asyncpg.Connection, method)

        async def watched(self: Any, query: str, *args: Any, **options: Any) -> Any:
            passed(Boundary("before", name_of(query)))
            answer = await call(self, query, *args, **options)
            passed(Boundary("after", name_of(query)))
            return answer

        setattr(asyncpg.Connection, method, watched)

    for method in ("execute", "_execute", "executemany"):
        watch(method)


def recorder(file: Path, at: Boundary | None, occurrence: int) -> Pass:
    """Return a function that notes each boundary, and ends the process at one of them."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    seen = 0

    def passed(boundary: Boundary) -> None:
        nonlocal seen
        os.write(descriptor, f"{boundary}\n".encode())
        if boundary == at:
            seen += 1
            if seen == occurrence:
                os.kill(os.getpid(), signal.SIGKILL)

    return passed


async def main(url: str, effects: Path) -> None:
    spawning.MOST_SPAWNED = 4  # type: ignore[attr-defined]  # so that it takes several calls
    async with open_store(url, upgrade=True) as store:
        client = LocalClient(store)
        tasks = await create(client)
        worker = worker_of(store, effects)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        print("ready", flush=True)
        running = asyncio.create_task(worker.run())
        await world(store, tasks, effects)
        print("done", flush=True)
        await running


if __name__ == "__main__":
    url, effects, boundaries, *death = sys.argv[1:]
    at = Boundary(*death[0].split(" ", 1)) if death else None
    passed = recorder(Path(boundaries), at, int(death[1]) if death else 0)
    (watch_sqlite if url.startswith("sqlite") else watch_postgres)(passed)
    asyncio.run(main(url, Path(effects)))
