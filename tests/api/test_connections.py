"""Bounds of connections, over real sockets: callers here have no credential and send no request."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.waiting import eventually

from tasker.api import create_app
from tasker.api.auth.principal import ANONYMOUS_NAME
from tasker.api.connections import MAX_HEAD, MAX_HEADERS
from tasker.api.server import Server, run_server
from tasker.model import WorkerId
from tasker.remote.registered import RegisteredWorker
from tasker.remote.service import RemoteWorkerService
from tasker.settings import AuthSettings, ServerSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

SOON = timedelta(seconds=0.2)
HALF_A_HEAD = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "
WHOLE = b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
ABSENT = WHOLE.replace(b"/live", b"/v1/absent")


class Caller:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Send bytes, unless the server has closed the connection."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            pass

    async def status(self) -> int:
        """Read a response's head; return its status."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        return int(head.split()[1])

    async def rest(self) -> bytes:
        """Read until the server closes the connection."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""

    @property
    def is_closed(self) -> bool:
        """Whether the server closed the connection, and all that it sent was read."""
        return self._reader.at_eof() or self._reader.exception() is not None

    def close(self) -> None:
        self._writer.close()


class Callers:
    """Opens raw connections to a server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._port = int(server.url.rpartition(":")[2])
        self._opened: list[Caller] = []

    async def call(self, data: bytes = b"", **options: Any) -> Caller:
        """Open a connection and send bytes."""
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self._port, **options))
        self._opened.append(caller)
        await caller.send(data)
        return caller

    def close(self) -> None:
        """Close all connections."""
        for caller in self._opened:
            caller.close()


@asynccontextmanager
async def callers_of(
    store: Store, auth: AuthSettings | None = None, **options: Any
) -> AsyncIterator[Callers]:
    """Serve an application; open connections to it."""
    settings = ServerSettings(port=0, grace=timedelta(0), **options)
    async with run_server(create_app(store, settings=settings, auth=auth), settings) as server:
        callers = Callers(server)
        try:
            async with asyncio.timeout(60):
                yield callers
        finally:
            callers.close()


async def test_a_request_head_that_does_not_end_is_disconnected(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The client may send nothing, a part, or single bytes; many cases share one log record."""
    async with callers_of(memory, header_timeout=SOON) as callers:
        silent, half = await callers.call(), await callers.call(HALF_A_HEAD)
        trickling = await callers.call(HALF_A_HEAD)
        while not trickling.is_closed:
            await trickling.send(b"a")
            await asyncio.sleep(0.01)

        assert [b"", b""] == [await silent.rest(), await half.rest()]
        again = await callers.call(HALF_A_HEAD)
        assert b"" == await again.rest()
        records = [r for r in caplog.records if r.getMessage() == "connections_cut"]
        assert [logging.WARNING] == [record.levelno for record in records]
        assert "127.0.0.1" == records[0].__dict__["last_client"]
        assert 1 <= records[0].__dict__["slow_head"] <= 3


async def test_an_idle_connection_has_a_time_limit_for_its_next_head(
    memory: Store,
) -> None:
    """Empty lines and the rest of an answered request's body do not keep it open."""
    refused = b"POST /v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
    auth = AuthSettings(enabled=True)
    async with callers_of(memory, auth, header_timeout=SOON) as callers:
        for request, status, more in ((WHOLE, 200, b"\r\n"), (refused, 401, b"a")):
            caller = await callers.call(request)
            assert status == await caller.status()
            rest = asyncio.create_task(caller.rest())
            while not rest.done():
                await caller.send(more)
                await asyncio.sleep(0.01)


async def test_requests_sent_before_a_response_are_answered_in_order(memory: Store) -> None:
    async with callers_of(memory) as callers:
        for sent in ((WHOLE, ABSENT, WHOLE, ABSENT), (ABSENT, WHOLE)):
            caller = await callers.call(b"".join(sent))
            last = ABSENT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            await caller.send(last)

            heads = re.findall(rb"HTTP/1.1 (\d+)", await caller.rest())

            expected = [b"200" if each == WHOLE else b"404" for each in (*sent, last)]
            assert expected == heads


@pytest.mark.parametrize("padding", [0, 200_000])
async def test_a_claim_ends_when_its_client_disconnects(memory: Store, padding: int) -> None:
    settings = ServerSettings(port=0, grace=timedelta(0))
    app = create_app(memory, settings=settings)
    worker = await register_worker(app)
    body = json.dumps({"max": 1, "wait_s": 25, "unknown": "a" * padding}).encode()
    path = f"/v1/workers/{worker.id}/claim"
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    async with run_server(app, settings) as server:
        callers = Callers(server)
        sent = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        await callers.call(sent)
        await eventually(lambda: worker.is_claiming)

        callers.close()

        await eventually(lambda: count_requests(app, "/v1/workers/{worker}/claim", status=499))
        assert not worker.is_claiming


async def test_a_claim_ends_when_another_asgi_server_reports_a_disconnection(
    memory: Store,
) -> None:
    app = create_app(memory)
    worker = await register_worker(app)
    messages: asyncio.Queue[Any] = asyncio.Queue()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/v1/workers/{worker.id}/claim",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    serving = asyncio.create_task(app(scope, messages.get, send))
    messages.put_nowait({"type": "http.request", "body": b'{"max": 1, "wait_s": 25}'})
    await eventually(lambda: worker.is_claiming)

    messages.put_nowait({"type": "http.disconnect"})

    await serving
    assert (False, []) == (worker.is_claiming, sent)


def count_requests(app: FastAPI, route: str, *, status: int) -> float:
    """Return how many requests of a route ended with a status."""
    labels = {"method": "POST", "route": route, "status": str(status)}
    registry = app.state.tasker.metrics.registry
    return registry.get_sample_value("tasker_http_requests_total", labels) or 0.0


async def register_worker(app: FastAPI) -> RegisteredWorker:
    """Register a remote worker; return what the server knows of it."""
    workers: RemoteWorkerService = app.state.tasker.remote_workers
    body = {
        "protocol": 1,
        "name": "w",
        "slots": 1,
        "namespaces": ["n"],
        "handlers": [{"name": "h"}],
    }
    answer = await workers.register_worker(body, ANONYMOUS_NAME, "", None)
    return await workers.get_worker(WorkerId(int(answer["worker"])))


async def test_a_body_that_does_not_end_is_disconnected(memory: Store) -> None:
    body = b"POST /v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    async with callers_of(memory, timeout=SOON, header_timeout=SOON) as callers:
        caller = await callers.call(body + b"Content-Length: 1000\r\n\r\n{")
        assert 408 == await caller.status()
        rest = asyncio.create_task(caller.rest())
        while not rest.done():
            await caller.send(b" ")
            await asyncio.sleep(0.01)


async def test_incomplete_heads_do_not_block_other_clients(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """New connections displace them, and idle ones."""
    async with callers_of(memory, connections=50) as callers:
        idle = await callers.call(WHOLE)
        assert 200 == await idle.status()
        for _ in range(200):
            await callers.call(HALF_A_HEAD)

        async with httpx.AsyncClient(base_url=callers.server.url, timeout=60) as client:
            for _ in range(5):
                assert 200 == (await client.get("/health")).status_code
        assert idle.is_closed or await idle.rest()
        assert "connections_cut" in [record.getMessage() for record in caplog.records]


async def test_connections_with_a_running_request_are_not_closed_for_others(
    memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One more is refused.
    """
    going = asyncio.Event()
    real, under_way = memory.list_tasks, 0

    async def held_up(*args: Any, **options: Any) -> Any:
        nonlocal under_way
        under_way += 1
        await going.wait()
        return await real(*args, **options)

    monkeypatch.setattr(memory, "list_tasks", held_up)
    listing = b"GET /v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    async with callers_of(memory, connections=2) as callers:
        first = [await callers.call(listing) for _ in range(2)]
        await eventually(lambda: under_way == 2)
        refused = await (await callers.call()).rest()
        going.set()

        assert refused.startswith(b"HTTP/1.1 503 ")
        assert [200, 200] == [await caller.status() for caller in first]
        assert 200 == await (await callers.call(WHOLE)).status()


@pytest.mark.parametrize("proxies", [(), ("127.0.0.0/8",), ("*",)])
async def test_connections_are_limited_per_address(memory: Store, proxies: tuple[str, ...]) -> None:
    """Proxies have none, since they relay many clients."""
    async with callers_of(memory, connections_per_address=2, proxies=proxies) as callers:
        first = await callers.call(HALF_A_HEAD)
        second = await callers.call(HALF_A_HEAD)
        third = await callers.call(WHOLE)
        assert 200 == await third.status()

        if proxies:
            await first.send(b"\r\n\r\n")
            assert 200 == await first.status()
        else:
            assert b"" == await first.rest()
        await second.send(b"\r\n\r\n")
        assert 200 == await second.status()


async def test_the_size_of_a_request_head_is_limited(memory: Store) -> None:
    """Lines and bytes are limited, also those after a chunked body."""
    begin = b"POST /live HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    lines = b"X-A: 1\r\n" * (MAX_HEADERS - 1)
    chunked = begin + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nX-A: "
    async with callers_of(memory) as callers:
        fits = await callers.call(begin + lines + b"\r\n")
        assert 405 == await fits.status()
        many = await callers.call(begin + lines + b"X-A: 1\r\n\r\n")
        assert (await many.rest()).startswith(b"HTTP/1.1 431 ")

        for start in (begin + b"X-A: ", b"GET /", chunked):
            endless = await callers.call(start)
            rest, sent = asyncio.create_task(endless.rest()), 0
            while not rest.done():
                await endless.send(b"a" * 1000)
                sent += 1000
                await asyncio.sleep(0)
            assert sent < 100 * MAX_HEAD  # and not the time limit


async def test_invalid_requests_do_not_fill_the_log(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async with callers_of(memory) as callers:
        for _ in range(20):
            caller = await callers.call(b"\x16\x03\x01 no request\r\n\r\n")
            assert (await caller.rest()).startswith(b"HTTP/1.1 400 ")
        await eventually(lambda: bool(caplog.records))

        records = [r for r in caplog.records if r.levelno >= logging.WARNING]
        assert ["connections_cut"] == [record.getMessage() for record in records]
        assert records[0].__dict__["invalid_request"] >= 1
        assert "127.0.0.1" == records[0].__dict__["last_client"]


async def test_a_client_that_does_not_read_is_disconnected(memory: Store) -> None:
    """Closing its connection does not hang."""
    request = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    async with callers_of(memory, timeout=SOON, header_timeout=SOON) as callers:
        caller = await callers.call(request * 200, limit=1)
        connections = callers.server.connections
        await eventually(lambda: connections.count == 1)
        await eventually(lambda: connections.count == 0)
        caller.close()
