"""An application over an empty store, and a remote worker of the tests' template."""

from collections.abc import AsyncIterator

import pytest
from tests.api.api_client import ApiClient, templates
from tests.api.conftest import client_of

from tasker import open_store
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
