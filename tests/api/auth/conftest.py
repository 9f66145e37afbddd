"""Fixtures for the tests of authentication."""

from collections.abc import AsyncIterator

import pytest
from tests.api.auth.scene import register

from tasker import open_store
from tasker.store.protocol import Store


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """Open an empty store, with a template in each of three namespaces."""
    async with open_store("sqlite::memory:") as store:
        await register(store, "payments", "orders", "shared")
        yield store
