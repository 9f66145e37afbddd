"""A server's connections: how it stops, and clients that hang up."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.waiting import eventually

from tasker import LocalClient, Template
from tasker.api import create_app
from tasker.api.middleware import RequestLimitsMiddleware
from tasker.api.server import run_server
from tasker.model import StepSpec
from tasker.settings import AccessLogMode, ServerSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

ONE = Template(namespace="n", name="one", version="1.0.0", steps=(StepSpec(name="only"),))


def find_limits(app: FastAPI) -> RequestLimitsMiddleware:
    """Return the middleware that counts requests in progress."""
    layer: Any = app.middleware_stack
    while not isinstance(layer, RequestLimitsMiddleware):
        layer = layer.app
    return layer


async def test_a_draining_server_accepts_requests_and_is_not_ready(store: Store) -> None:
    """
    Load balancers stop sending before it refuses connections.
    """
    settings = ServerSettings(port=0, drain=timedelta(hours=1), grace=timedelta(0))
    async with run_server(create_app(store, settings=settings), settings) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as caller:
            assert 200 == (await caller.get("/ready")).status_code

            server.stop()

            ready = await caller.get("/ready")
            assert 503 == ready.status_code
            assert ["server"] == ready.json()["failed_checks"]
            assert 200 == (await caller.get("/live")).status_code
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as newcomer:
            assert 200 == (await newcomer.get("/v1/tasks")).status_code

        server.stop(at_once=True)
        await server.wait_ended()


async def test_a_server_exits_after_draining(store: Store) -> None:
    """
    A further call does not begin another.
    """
    settings = ServerSettings(port=0, drain=timedelta(seconds=0.2), grace=timedelta(0))
    async with run_server(create_app(store, settings=settings), settings) as server:
        server.stop()
        server.stop()
        await server.wait_ended()
        async with httpx.AsyncClient(timeout=60) as caller:
            with pytest.raises(httpx.ConnectError):
                await caller.get(f"{server.url}/live")


@pytest.mark.parametrize("part", ["headers", "body", "wait"])
async def test_a_client_that_hangs_up_is_no_error(
    store: Store, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    """
    In its headers, in its body, or while it waits. The access log has it with status 499.
    """
    await store.register_template(ONE, registered_by="tests")
    task = await LocalClient(store).create_task("n.one")
    wait = f"GET /v1/tasks/{task.id}/wait?timeout=60 HTTP/1.1\r\nHost: x\r\n\r\n"
    post = "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    sent = {
        "headers": post,
        "body": f'{post}Transfer-Encoding: chunked\r\n\r\n8\r\n{{"name":\r\n',
        "wait": wait,
    }[part]
    caplog.set_level(logging.INFO)
    settings = ServerSettings(port=0, grace=timedelta(0), access_log=AccessLogMode.ALL)
    app = create_app(store, settings=settings)
    async with run_server(app, settings) as server:
        host, port = server.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent.encode())
        await writer.drain()
        limits = find_limits(app)
        if part != "headers":
            await eventually(lambda: sum(limits.under_way.values()) == 1)
        writer.close()
        await writer.wait_closed()
        await eventually(lambda: sum(limits.under_way.values()) == 0)
        async with httpx.AsyncClient(timeout=60) as other:
            await other.get(f"{server.url}/v1/tasks")
        records = [*caplog.records]

    assert [] == [record.getMessage() for record in records if record.levelno > logging.INFO]
    statuses = [vars(each)["status"] for each in records if each.name == "tasker.access"]
    assert ([200] if part == "headers" else [499, 200]) == statuses
