"""Applications over empty stores, and clients of them."""

from collections.abc import AsyncIterator

import httpx
import pytest
from tests.api.api_client import ApiClient, templates
from tests.process_state import unchanged_by_module, unchanged_by_test  # noqa: F401

from tasker import open_store
from tasker.api import create_app
from tasker.settings import ServerSettings
from tasker.store.protocol import Store


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty store, of each kind in turn."""
    if request.param == "sqlite":
        return "sqlite::memory:"
    return str(request.getfixturevalue("postgres_store_url"))


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """Open an empty store, of each kind in turn."""
    async with open_store(url, upgrade=True) as store:
        yield store


@pytest.fixture
async def api(store: Store) -> AsyncIterator[ApiClient]:
    """Return a client of an application over either store, which has the tests' templates."""
    for template in templates():
        await store.register_template(template, registered_by="tests")
    async with client_of(store) as client:
        yield client


@pytest.fixture
async def memory() -> AsyncIterator[Store]:
    """Open a store in memory with the tests' templates, for laws of the API alone."""
    async with open_store("sqlite::memory:") as store:
        for template in templates():
            await store.register_template(template, registered_by="tests")
        yield store


@pytest.fixture
async def one(memory: Store) -> AsyncIterator[ApiClient]:
    """Return a client of an application over a store in memory."""
    async with client_of(memory) as client:
        yield client


def client_of(store: Store, settings: ServerSettings | None = None) -> ApiClient:
    """Return a client of an application over a store."""
    app = create_app(store, settings=settings)
    return ApiClient(store, transport=httpx.ASGITransport(app), base_url="http://tasker")
