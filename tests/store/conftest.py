"""Empty databases of both kinds."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tasker.store.open import open_store
from tasker.store.postgres.address import Address
from tasker.store.protocol import Store


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_schema_url"))
    return f"sqlite:{tmp_path / 'tasker.db'}"


@pytest.fixture
async def store(postgres_schema_url: str) -> AsyncIterator[Store]:
    """An empty store on PostgreSQL."""
    async with open_store(postgres_schema_url, upgrade=True) as opened:
        yield opened


@pytest.fixture
async def connection(store: Store, postgres_schema_url: str) -> AsyncIterator[Any]:
    """A connection of the test's own to the store's schema."""
    connection = await Address.parse(postgres_schema_url).connect()
    yield connection
    await connection.close()
