"""The client that a test is about, of each kind in turn, and what stands behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

import httpx
import pytest
import uvicorn
from tests.client.handlers import HANDLERS

from tasker import Client, LocalClient, Worker, WorkerSettings, open_store
from tasker.api import create_app
from tasker.client.http import HttpClient
from tasker.store.protocol import Store


class Scene(NamedTuple):
    """A client, and the store behind it."""

    client: Client
    store: Store

    def worker(self) -> Worker:
        """Make a worker for the tests' templates, to be entered."""
        return Worker(self.store, [HANDLERS], settings=WorkerSettings(poll=timedelta(seconds=0.05)))


KINDS = ("local-sqlite", "local-postgres", "asgi-sqlite", "asgi-postgres", "http-sqlite")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Tell the way to a store, and its URL."""
    way, store = str(request.param).split("-")
    if store == "sqlite":
        return way, "sqlite::memory:"
    return way, str(request.getfixturevalue("postgres_schema_url"))


@pytest.fixture
async def scene(kind: tuple[str, str]) -> AsyncIterator[Scene]:
    """Open a store, and a client to it: of this process, of an application, of a server."""
    way, url = kind
    async with open_store(url, upgrade=True) as store:
        if way == "local":
            yield Scene(LocalClient(store, actor="anonymous"), store)
        elif way == "asgi":
            transport = httpx.ASGITransport(create_app(store))
            async with HttpClient("http://server", transport=transport) as client:
                yield Scene(client, store)
        else:
            async with serving(store) as url, HttpClient(url) as client:
                yield Scene(client, store)


@asynccontextmanager
async def serving(store: Store) -> AsyncIterator[str]:
    """Serve the API on a free port of this machine; tell its URL."""
    config = uvicorn.Config(create_app(store), port=0, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running
