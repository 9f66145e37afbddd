"""What the HTTP API bears: creating, in bulk too, listing among many tasks, waiting.

A server process of its own, as `tasker server` runs it; the requests come from this process
over as many connections as a measurement says, written and read as plain bytes, so that the
client costs little.
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

from bench.fleet import HERE, Settings
from bench.history import FINISHED, finish
from bench.places import Place, Server, place
from bench.rows import Percentiles, Row, middle
from bench.workloads import CHAIN
from tasker import LocalClient
from tasker.store.open import open_store

CONNECTIONS = 50
BULK = 500  #: tasks created by one request
_NAME = {"name": CHAIN.template.name, "namespace": CHAIN.template.namespace, "context": {"n": 1}}


class _Answer(NamedTuple):
    """One answer, and how many seconds it took."""

    status: int
    body: bytes
    took: float


class _Connection:
    """Sends one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, method: str, path: str, body: bytes = b"") -> _Answer:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        start = time.perf_counter()
        self._writer.write(head.encode() + b"\r\n" + body)
        said = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(said.split(b"content-length:")[1].split(b"\r\n")[0])
        found = await self._reader.readexactly(length)
        return _Answer(int(said[9:12]), found, time.perf_counter() - start)


def create(settings: Settings, store: str, server: Server | None) -> Row:
    """Create chains one by one."""
    tasks = 4_000 if settings.quick else 20_000
    body = json.dumps(_NAME).encode()
    return _creation(settings, store, server, "api-create", [body] * tasks, 1)


def create_bulk(settings: Settings, store: str, server: Server | None) -> Row:
    """Create chains, many by one request."""
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
            await line.ask("POST", path, bodies[0])
        left = iter(bodies)
        start = time.perf_counter()
        answers = await asyncio.gather(*(_send(line, "POST", path, left) for line in lines))
        speed = len(bodies) * each / (time.perf_counter() - start)
        took = [answer.took for some in answers for answer in some]
        return Row(
            store=store, workload=workload, tasks_per_s=speed, latency_ms=Percentiles.of(took)
        )

    rows = []
    for _ in range(settings.runs):
        with place(store, server) as where:
            asyncio.run(_register(where))
            with _serving(where) as port:
                rows.append(asyncio.run(run(port)))
            asyncio.run(_check(where, (len(bodies) + connections) * each))
    return middle(rows)


def listing(settings: Settings, store: str, server: Server | None) -> Row:
    """Read pages of 25 among a million tasks: the first, one by namespace, and some way in."""
    tasks = FINISHED // 20 if settings.quick else FINISHED
    pages = 60 if settings.quick else 300

    async def run(port: int) -> Row:
        line = await _connect(port)
        first = json.loads((await line.ask("GET", "/v1/tasks")).body)
        cursor = first["pagination"]["next_cursor"]
        paths = (
            "/v1/tasks",
            f"/v1/tasks?cursor={cursor}",
            f"/v1/tasks?namespace={CHAIN.template.namespace}&name={CHAIN.template.name}",
            "/v1/tasks?status=complete",
        )
        wanted = iter([paths[no % len(paths)] for no in range(pages)])
        answers = [await line.ask("GET", path) for path in wanted]
        _all_well(answers)
        took = Percentiles.of([answer.took for answer in answers])
        return Row(store=store, workload="api-list", latency_ms=took)

    with place(store, server) as where:
        asyncio.run(finish(where, tasks))
        with _serving(where) as port:
            return middle([asyncio.run(run(port)) for _ in range(settings.runs)])


def wait(settings: Settings, store: str, server: Server | None) -> Row:
    """Create a chain and wait for its end, in two requests; its worker is in the server."""
    tasks = 100 if settings.quick else 500

    async def run(port: int) -> Row:
        line, took = await _connect(port), []
        body = json.dumps(_NAME).encode()
        for _ in range(tasks):
            start = time.perf_counter()
            made = await line.ask("POST", "/v1/tasks", body)
            ended = await line.ask("GET", f"/v1/tasks/{json.loads(made.body)['id']}/wait")
            took.append(time.perf_counter() - start)
            _all_well([made, ended])
        return Row(store=store, workload="api-wait", latency_ms=Percentiles.of(took[5:]))

    rows = []
    for _ in range(settings.runs):
        with place(store, server) as where:
            asyncio.run(_register(where))
            with _serving(where, "--with-worker", "--handlers", "bench.workloads") as port:
                rows.append(asyncio.run(run(port)))
    return middle(rows)


async def _send(
    line: _Connection, method: str, path: str, bodies: Iterator[bytes]
) -> list[_Answer]:
    answers = [await line.ask(method, path, body) for body in bodies]
    _all_well(answers)
    return answers


def _all_well(answers: Sequence[_Answer]) -> None:
    for answer in answers:
        if answer.status not in (200, 201):
            raise RuntimeError(f"{answer.status}: {answer.body[:500].decode(errors='replace')}")


async def _connect(port: int) -> _Connection:
    return _Connection(*await asyncio.open_connection("127.0.0.1", port, limit=64 << 20))


async def _register(where: Place) -> None:
    async with open_store(where.url) as store:
        await LocalClient(store).register(CHAIN.template)


async def _check(where: Place, tasks: int) -> None:
    """Hold the store to having every task that was answered."""
    async with open_store(where.url) as store:
        backlog = await store.backlog()
    if backlog.due_steps < min(tasks, 100_000):
        raise RuntimeError(f"{tasks} tasks were created, and {backlog.due_steps} are there")


@contextmanager
def _serving(where: Place, *arguments: str) -> Iterator[int]:
    """Run a server on a store; tell its port."""
    kept: dict[str, Any] = {k: v for k, v in os.environ.items() if not k.startswith("TASKER_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tasker", "server", "--store", where.url, *arguments],
        cwd=HERE,
        env={**kept, "TASKER_SERVER__PORT": "0", "TASKER_SERVER__ACCESS_LOG": "false"},
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
        if found := re.search(r"server_started.* url=(\S+)", line):
            return urlsplit(found[1]).port or 0
    raise RuntimeError(f"the server ended with code {process.wait()}")
