"""The HTTP API: creating tasks, singly and in bulk, listing among many tasks, waiting.

The server is a process of its own, as `tasker server` runs it. The requests come from this
process over several connections, as plain bytes, so that the client costs little.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from bench.databases import Database, Server, empty_database
from bench.fleet import ROOT, Settings
from bench.history import FINISHED, finish
from bench.rows import Percentiles, Row, median_row
from bench.workloads import CHAIN
from tasker import LocalClient
from tasker.store.open import open_store

CONNECTIONS = 50
BULK = 500  #: tasks created by one request
_NAME = {"name": CHAIN.template.name, "namespace": CHAIN.template.namespace, "context": {"n": 1}}


class _Response(NamedTuple):
    """One response, and the seconds until it was read."""

    status: int
    body: bytes
    took: float


class _Connection:
    """An HTTP connection that sends one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def request(self, method: str, path: str, body: bytes = b"") -> _Response:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        start = time.perf_counter()
        self._writer.write(head.encode() + b"\r\n" + body)
        header = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(header.split(b"content-length:")[1].split(b"\r\n")[0])
        content = await self._reader.readexactly(length)
        return _Response(int(header[9:12]), content, time.perf_counter() - start)


def create(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure the creation of chains, one in a request."""
    tasks = 4_000 if settings.quick else 20_000
    body = json.dumps(_NAME).encode()
    return _creation(settings, store, server, "api-create", [body] * tasks, 1)


def create_bulk(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure the creation of chains, `BULK` in a request."""
    requests = 20 if settings.quick else 80
    body = json.dumps({"tasks": [_NAME] * BULK}).encode()
    return _creation(settings, store, server, "api-bulk", [body] * requests, BULK)


def _creation(
    settings: Settings,
    store: str,
    server: Server | None,
    workload: str,
    bodies: Sequence[bytes],
    each: int,
) -> Row:
    path = "/v1/tasks" if each == 1 else "/v1/tasks/bulk"
    connections = CONNECTIONS if each == 1 else 4

    async def run(port: int) -> Row:
        lines = [await _connect(port) for _ in range(connections)]
        for line in lines:
            await line.request("POST", path, bodies[0])
        left = iter(bodies)
        start = time.perf_counter()
        responses = await asyncio.gather(*(_send(line, "POST", path, left) for line in lines))
        speed = len(bodies) * each / (time.perf_counter() - start)
        took = [response.took for some in responses for response in some]
        return Row(
            store=store, workload=workload, tasks_per_s=speed, latency_ms=Percentiles.of(took)
        )

    rows = []
    for _ in range(settings.runs):
        with empty_database(store, server) as database:
            asyncio.run(_register(database))
            with _serving(database) as port:
                rows.append(asyncio.run(run(port)))
            asyncio.run(_require_tasks(database, (len(bodies) + connections) * each))
    return median_row(rows)


def list_pages(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure pages of 25 among a million tasks: first, second, by template, by status."""
    tasks = FINISHED // 20 if settings.quick else FINISHED
    pages = 60 if settings.quick else 300

    async def run(port: int) -> Row:
        line = await _connect(port)
        first = json.loads((await line.request("GET", "/v1/tasks")).body)
        cursor = first["pagination"]["next_cursor"]
        paths = (
            "/v1/tasks",
            f"/v1/tasks?cursor={cursor}",
            f"/v1/tasks?namespace={CHAIN.template.namespace}&name={CHAIN.template.name}",
            "/v1/tasks?status=complete",
        )
        requested = iter([paths[no % len(paths)] for no in range(pages)])
        responses = [await line.request("GET", path) for path in requested]
        _require_success(responses)
        took = Percentiles.of([response.took for response in responses])
        return Row(store=store, workload="api-list", latency_ms=took)

    with empty_database(store, server) as database:
        asyncio.run(finish(database, tasks))
        with _serving(database) as port:
            return median_row([asyncio.run(run(port)) for _ in range(settings.runs)])


def wait(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure a chain from create to end, in two requests; its worker is in the server."""
    tasks = 100 if settings.quick else 500

    async def run(port: int) -> Row:
        line, took = await _connect(port), []
        body = json.dumps(_NAME).encode()
        for _ in range(tasks):
            start = time.perf_counter()
            created = await line.request("POST", "/v1/tasks", body)
            ended = await line.request("GET", f"/v1/tasks/{json.loads(created.body)['id']}/wait")
            took.append(time.perf_counter() - start)
            _require_success([created, ended])
        return Row(store=store, workload="api-wait", latency_ms=Percentiles.of(took[5:]))

    rows = []
    for _ in range(settings.runs):
        with empty_database(store, server) as database:
            asyncio.run(_register(database))
            worker = ("--with-worker", "--handlers", "bench.workloads", "--namespace", "*")
            with _serving(database, *worker) as port:
                rows.append(asyncio.run(run(port)))
    return median_row(rows)


async def _send(
    line: _Connection, method: str, path: str, bodies: Iterator[bytes]
) -> list[_Response]:
    responses = [await line.request(method, path, body) for body in bodies]
    _require_success(responses)
    return responses


def _require_success(responses: Sequence[_Response]) -> None:
    for response in responses:
        if response.status not in (200, 201):
            raise RuntimeError(f"{response.status}: {response.body[:500].decode(errors='replace')}")


async def _connect(port: int) -> _Connection:
    return _Connection(*await asyncio.open_connection("127.0.0.1", port, limit=64 << 20))


async def _register(database: Database) -> None:
    async with open_store(database.url) as store:
        await LocalClient(store).register(CHAIN.template)


async def _require_tasks(database: Database, tasks: int) -> None:
    """Require that the store has every task that was confirmed."""
    async with open_store(database.url) as store:
        backlog = await store.backlog()
    if backlog.due_steps < min(tasks, 100_000):
        raise RuntimeError(f"{tasks} tasks were confirmed, but only {backlog.due_steps} are due")


@contextmanager
def _serving(database: Database, *arguments: str) -> Iterator[int]:
    """Run a server on a database and yield its port."""
    inherited: dict[str, Any] = {k: v for k, v in os.environ.items() if not k.startswith("TASKER_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tasker", "server", "--store", database.url, *arguments],
        cwd=ROOT,
        env={**inherited, "TASKER_SERVER__PORT": "0", "TASKER_SERVER__ACCESS_LOG": "false"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield _port(process)
    finally:
        process.terminate()
        process.communicate()


def _port(process: "subprocess.Popen[str]") -> int:
    for line in process.stderr or ():
        if match := re.search(r"server_started.* url=(\S+)", line):
            return urlsplit(match[1]).port or 0
    raise RuntimeError(f"the server exited with code {process.wait()}")
