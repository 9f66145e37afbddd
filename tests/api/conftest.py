"""An application over an empty store, and a way to ask it."""

from collections.abc import AsyncIterator

import httpx
import pytest
from tests.api.asking import Asking, templates

from tasker import open_store
from tasker.api import create_app
from tasker.settings import ServerSettings
from tasker.store.protocol import Store


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Tell the URL of an empty store, of each kind in turn."""
    if request.param == "sqlite":
        return "sqlite::memory:"
    return str(request.getfixturevalue("postgres_schema_url"))


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """Open an empty store, of each kind in turn."""
    async with open_store(url, upgrade=True) as store:
        yield store


@pytest.fixture
async def api(store: Store) -> AsyncIterator[Asking]:
    """Ask an application over either store, which has the tests' templates."""
    for template in templates():
        await store.register_template(template, registered_by="tests")
    async with asking(store) as client:
        yield client


@pytest.fixture
async def memory() -> AsyncIterator[Store]:
    """Open an empty store in memory, for what no store has a part in."""
    async with open_store("sqlite::memory:") as store:
        for template in templates():
            await store.register_template(template, registered_by="tests")
        yield store


@pytest.fixture
async def one(memory: Store) -> AsyncIterator[Asking]:
    """Ask an application over a store in memory."""
    async with asking(memory) as client:
        yield client


def asking(store: Store, settings: ServerSettings | None = None) -> Asking:
    """Make a way to ask an application."""
    app = create_app(store, settings=settings)
    return Asking(store, transport=httpx.ASGITransport(app), base_url="http://tasker")
