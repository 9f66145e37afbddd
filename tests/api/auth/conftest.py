"""Fixtures for the tests of authentication."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.api.auth.scene import register

from tasker import open_store
from tasker.store.protocol import Store


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """Open a store in memory, with a template in each of three namespaces."""
    async with _opened("sqlite::memory:") as store:
        yield store


@pytest.fixture
async def either(url: str) -> AsyncIterator[Store]:
    """Open a store of each kind in turn, with a template in each of three namespaces."""
    async with _opened(url) as store:
        yield store


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Store]:
    async with open_store(url, upgrade=True) as store:
        await register(store, "payments", "orders", "shared")
        yield store
