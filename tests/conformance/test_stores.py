"""Both stores keep every law of the suite."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasker.store.open import make_store
from tasker.store.postgres.address import Address
from tasker.testing.postgres import temporary_schema
from tasker.testing.store_suite import *  # noqa: F403
from tasker.testing.store_suite import PostgresSubject, SqliteSubject, Subject, TestSchema


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgres"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    """An empty database of each kind."""
    if request.param == "sqlite-memory":
        return SqliteSubject("sqlite::memory:")
    if request.param == "sqlite-file":
        return SqliteSubject(f"sqlite:{tmp_path / 'suite.db'}")
    if request.cls is TestSchema:
        return PostgresSubject(request.getfixturevalue("postgres_schema_url"))
    url = request.getfixturevalue("upgraded_schema_url")
    asyncio.run(empty(url))
    return PostgresSubject(url)


@pytest.fixture(scope="session")
def upgraded_schema_url(postgres_url: str) -> Iterator[str]:
    """A schema with its tables, for one test after the other: to make one takes longer."""

    async def upgrade(url: str) -> None:
        async with make_store(url) as store:
            await store.upgrade()

    with temporary_schema(postgres_url) as url:
        asyncio.run(upgrade(url))
        yield url


async def empty(url: str) -> None:
    """Delete everything but the schema's version."""
    connection = await Address.parse(url).connect()
    try:
        tables = await connection.fetchval(
            "select string_agg(quote_ident(tablename), ', ') from pg_tables"
            " where schemaname = current_schema() and tablename <> 'schema_version'"
        )
        await connection.execute(f"truncate {tables} restart identity")
    finally:
        await connection.close()
