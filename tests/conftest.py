"""Fixtures for all tests."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from tasker.store.open import make_store
from tasker.store.postgres.address import Address
from tasker.testing.postgres import temporary_postgres, temporary_schema

SLOW = [
    "api/auth/*",
    "api/test_fuzz.py",
    "api/test_generated_requests.py",
    "api/test_processes.py",
    "benchmarks/*",
    "cli/*",
    "client/test_clients.py",
    "conformance/*",
    "docs/test_quickstart.py",
    "engine/test_handlers.py",
    "engine/test_outages.py",
    "engine/test_stopping.py",
    "examples/*",
    "handlers/test_subprocess.py",
    "property/*",
    "template/test_bombs.py",
    "template/test_document.py",
    "template/test_fuzz.py",
    "template/test_schema_bombs.py",
    "testing/test_for_users.py",
    "testing/test_postgres.py",
]  #: what starts many processes, or tries many cases

QUICK = bool(os.environ.get("QUICK"))
collect_ignore_glob = SLOW if QUICK else []
API_STORES = ["sqlite"] if QUICK else ["sqlite", "postgres"]
"""Stores behind the API; the tests of stores and engine run on both in any case."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run coroutines on asyncio, the one event loop that Tasker supports."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Return the URL of a PostgreSQL server: `TASKER_TEST_POSTGRES`, or one for this session."""
    if url := os.environ.get("TASKER_TEST_POSTGRES"):
        yield url
        return
    with temporary_postgres(settings={"fsync": "off", "full_page_writes": "off"}) as url:
        yield url


@pytest.fixture
def postgres_schema_url(postgres_url: str) -> Iterator[str]:
    """Return the URL of an empty schema, made for this test."""
    with temporary_schema(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def _kept_schema_url(postgres_url: str) -> Iterator[str]:
    """Make a schema with its tables, once: that takes longer than to empty them."""

    async def upgrade(url: str) -> None:
        async with make_store(url) as store:
            await store.upgrade()

    with temporary_schema(postgres_url) as url:
        asyncio.run(upgrade(url))
        yield url


@pytest.fixture
def postgres_store_url(_kept_schema_url: str) -> str:
    """Return the URL of an empty store, which one test after the other uses."""
    asyncio.run(_empty(_kept_schema_url))
    return _kept_schema_url


async def _empty(url: str) -> None:
    """Delete everything but the schema's version; that takes a tenth of the time of `truncate`."""
    connection = await Address.parse(url).connect()
    try:
        await connection.execute(_EMPTY)
    finally:
        await connection.close()


_EMPTY = """
do $$
declare
    name text;
begin
    set local session_replication_role = replica;  -- in any order, despite foreign keys
    for name in
        select quote_ident(tablename) from pg_tables
        where schemaname = current_schema() and tablename <> 'schema_version'
    loop
        execute 'delete from ' || name;
    end loop;
    perform setval(seqrelid, seqstart, false)
    from pg_sequence s join pg_class c on c.oid = s.seqrelid
    where c.relnamespace = current_schema()::regnamespace;
end $$
"""
