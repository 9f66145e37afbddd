"""Sessions that began while a database was read-only are replaced."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import pytest

from tasker.errors import StoreUnavailable
from tasker.store.open import open_store
from tasker.store.postgres.address import Address
from tasker.testing.store_suite.factories import (
    ManualWorker,
    chain_template,
    create_task,
    register_and_create_task,
    register_template,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[str]:
    """A database of the test's own, as others must not become read-only with it."""
    name = f"test_{secrets.token_hex(6)}"
    connection = await Address.parse(postgres_url).connect()
    await connection.execute(f"create database {name}")
    yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


async def test_a_database_that_becomes_writable_again_is_used(database: str) -> None:
    """On all connections of a store: pool, hot path and leases."""
    async with open_store(database, upgrade=True) as store:
        template = await register_template(store, chain_template())
        worker = await ManualWorker.register(store)
    await alter(database, "set default_transaction_read_only = on")
    async with open_store(database, upgrade=False) as store:
        await store.wait_for_work(30)  # until it listens; leases are renewed on that connection
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await create_task(store, template)
        with pytest.raises(StoreUnavailable):
            await store.renew_lease(worker.id, [], lease=timedelta(minutes=1))
        await alter(database, "reset default_transaction_read_only")

        await second_attempt(lambda: create_task(store, template))
        await second_attempt(lambda: store.renew_lease(worker.id, [], lease=timedelta(minutes=1)))
        await asyncio.gather(
            *(register_and_create_task(store, chain_template()) for _ in range(12))
        )


async def alter(database: str, change: str) -> None:
    name = urlsplit(database).path[1:]
    connection = await Address.parse(database).connect()
    await connection.execute("set default_transaction_read_only = off")
    await connection.execute(f"alter database {name} {change}")
    await connection.close()


async def second_attempt(operation: Callable[[], Awaitable[object]]) -> None:
    """Run an operation; the first attempt may find a session that is still read-only."""
    try:
        await operation()
    except StoreUnavailable:
        await operation()
