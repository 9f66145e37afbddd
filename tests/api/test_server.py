"""How a server stops."""

from datetime import timedelta

import httpx
import pytest

from tasker.api import create_app
from tasker.api.server import run_server
from tasker.settings import ServerSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


async def test_a_draining_server_accepts_requests_and_is_not_ready(store: Store) -> None:
    """
    Load balancers stop sending before it refuses connections.
    """
    settings = ServerSettings(port=0, drain=timedelta(hours=1), grace=timedelta(0))
    async with run_server(create_app(store, settings=settings), settings) as server:
        async with httpx.AsyncClient(base_url=server.url) as caller:
            assert 200 == (await caller.get("/ready")).status_code

            server.stop()

            ready = await caller.get("/ready")
            assert 503 == ready.status_code
            assert ["server"] == ready.json()["failed_checks"]
            assert 200 == (await caller.get("/live")).status_code
        async with httpx.AsyncClient(base_url=server.url) as newcomer:
            assert 200 == (await newcomer.get("/v1/tasks")).status_code

        server.stop(at_once=True)
        await server.wait_ended()


async def test_a_server_ends_after_its_drain(store: Store) -> None:
    """
    A further call does not begin another.
    """
    settings = ServerSettings(port=0, drain=timedelta(seconds=0.2), grace=timedelta(0))
    async with run_server(create_app(store, settings=settings), settings) as server:
        server.stop()
        server.stop()
        await server.wait_ended()
        async with httpx.AsyncClient() as caller:
            with pytest.raises(httpx.ConnectError):
                await caller.get(f"{server.url}/live")
