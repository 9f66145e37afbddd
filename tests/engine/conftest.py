"""A store for each test, of each kind."""

from collections.abc import AsyncIterator

import pytest
from tests.process_state import unchanged_by_module, unchanged_by_test  # noqa: F401

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
async def memory() -> AsyncIterator[Store]:
    """Open an empty store in memory, for what no store has a part in."""
    async with open_store("sqlite::memory:") as store:
        yield store
