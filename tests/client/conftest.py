"""The client that a test is about, of each kind in turn, and what stands behind it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import NamedTuple

import httpx
import pytest
from tests.client.handlers import HANDLERS

from tasker import Client, LocalClient, Worker, WorkerSettings, open_store
from tasker.api import create_app
from tasker.api.server import run_server
from tasker.client.http import HttpClient
from tasker.settings import ServerSettings
from tasker.store.protocol import Store


class Scene(NamedTuple):
    """A client, and the store behind it."""

    client: Client
    store: Store

    def worker(self) -> Worker:
        """Make a worker for the tests' templates, to be entered."""
        return Worker(
            self.store,
            [HANDLERS],
            namespaces="*",
            settings=WorkerSettings(poll=timedelta(seconds=0.05)),
        )


KINDS = ("local-sqlite", "local-postgres", "asgi-postgres", "http-sqlite")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Return the kind of client and the URL of its store."""
    way, store = str(request.param).split("-")
    if store == "sqlite":
        return way, "sqlite::memory:"
    return way, str(request.getfixturevalue("postgres_store_url"))


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
            settings = ServerSettings(port=0, grace=timedelta(seconds=1))
            app = create_app(store, settings=settings)
            async with run_server(app, settings) as server, HttpClient(server.url) as client:
                yield Scene(client, store)
