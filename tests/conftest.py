"""Fixtures for all tests."""

import asyncio
import gc
import os
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from asyncpg import Connection
from httpx._transports import asgi
from hypothesis import HealthCheck, settings
from tests.ports import reserved_port
from tests.reused_connections import KEPT_SCHEMAS, reused_connections

from tasker.store.open import make_store
from tasker.store.postgres.address import Address
from tasker.store.sqlite import connection as sqlite
from tasker.testing.postgres import SharedSchemaConnection, temporary_postgres, temporary_schema

LEFT_OUT = [
    "api/auth/**/test_*.py",
    "api/test_*.py",
    "benchmarks/**/test_*.py",
    "cli/**/test_*.py",
    "client/test_*.py",
    "compat/**/test_*.py",
    "conformance/test_batched.py",
    "docs/**/test_*.py",
    "engine/test_handlers.py",
    "engine/test_http_step.py",
    "engine/test_many.py",
    "engine/test_outages.py",
    "engine/test_process.py",
    "engine/test_stopping.py",
    "engine/test_webhooks.py",
    "examples/**/test_*.py",
    "handlers/test_subprocess.py",
    "observe/**/test_*.py",
    "property/**/test_*.py",
    "remote/**/test_*.py",
    "store/**/test_*.py",
    "template/test_bombs.py",
    "template/test_document.py",
    "template/test_fuzz.py",
    "template/test_schema_bombs.py",
    "test_deploy.py",
    "test_lock.py",
    "test_mcp.py",
    "testing/test_for_users.py",
    "testing/test_postgres.py",
    "web/**/test_*.py",
]
"""What starts many processes, tries many cases, or depends little on the version of Python.

Quick runs show that the code works on another version: the laws of stores, in memory; binding of
parameters, expressions and schemas; workers; the client and the routes of tasks.
"""
NOT_LEFT_OUT = {"api/test_refusals.py", "api/test_tasks.py", "client/test_local.py"}

gc.disable()  #: until the tests are collected: it takes a quarter of that time

settings.register_profile("tasker", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tasker")  #: how long an example takes depends on what else the machine does

QUICK = bool(os.environ.get("QUICK"))
if QUICK:
    here = Path(__file__).parent
    collect_ignore = [
        path
        for pattern in LEFT_OUT
        for path in here.glob(pattern)
        if path.suffix == ".py" and str(path.relative_to(here)) not in NOT_LEFT_OUT
    ]

FIRST_OWN_TYPE = 16_384  #: lower ids of types are those of PostgreSQL itself


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs PostgreSQL where tests must be quick."""
    if QUICK:
        config.hook.pytest_deselected(items=[item for item in items if _needs_postgres(item)])
        items[:] = [item for item in items if not _needs_postgres(item)]


def _needs_postgres(item: pytest.Item) -> bool:
    fixtures: list[str] = getattr(item, "fixturenames", [])
    return "postgres_url" in fixtures or "postgres" in item.name.partition("[")[2]


def pytest_collection_finish() -> None:
    """Exempt the collected tests from garbage collection, which takes a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture
def free_port() -> Iterator[int]:
    """Return a port that the system gives to nobody else during the test."""
    with reserved_port() as port:
        yield port


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run coroutines on asyncio, the one event loop that Tasker supports."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _read_types_once() -> Iterator[None]:
    """Let the driver read PostgreSQL's own types once, not in each of thousands of connections.

    That takes a quarter of the server's time: the driver asks for arrays of integers, which
    have the same ids in each database.
    """
    read = vars(Connection)["_introspect_types"]
    known: dict[frozenset[int], Any] = {}

    async def read_once(self: Any, oids: Collection[int], timeout: float | None) -> Any:
        if max(oids) >= FIRST_OWN_TYPE:
            return await read(self, oids, timeout)
        key = frozenset(oids)
        if key not in known:
            known[key] = await read(self, oids, timeout)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "_introspect_types", read_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def _make_tables_in_memory_once() -> Iterator[None]:
    """Copy the tables of empty stores in memory, a quarter of the time of making them."""
    upgrade = sqlite.upgrade_schema
    tables = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    upgrade(tables, "")

    def copy_tables(connection: sqlite3.Connection, url: str) -> None:
        _, _, file = connection.execute("pragma database_list").fetchone()
        if file or connection.execute("select 1 from sqlite_master").fetchone():
            upgrade(connection, url)
            return
        connection.execute("commit")
        tables.backup(connection)
        connection.execute("begin immediate")

    with pytest.MonkeyPatch.context() as patch, closing(tables):
        patch.setattr(sqlite, "upgrade_schema", copy_tables)
        yield


@pytest.fixture(scope="session", autouse=True)
def _make_events_without_a_search() -> Iterator[None]:
    """Let httpx not look for another event loop's package at each request, a tenth of its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asgi, "create_event", asyncio.Event)
        yield


@pytest.fixture(scope="module", autouse=True)
def _reused_connections() -> Iterator[None]:
    """Let the tests of a module reuse connections, so that the server plans statements once."""
    with reused_connections():
        yield


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
            await store.upgrade_schema()

    with temporary_schema(postgres_url) as url:
        asyncio.run(upgrade(url))
        KEPT_SCHEMAS.add(Address.parse(url).schema)
        yield url


@pytest.fixture(scope="session")
def postgres_connection(_kept_schema_url: str) -> Iterator[SharedSchemaConnection]:
    """Return a connection to the store that tests use one after the other."""
    with SharedSchemaConnection(_kept_schema_url) as connection:
        yield connection


@pytest.fixture
def postgres_store_url(postgres_connection: SharedSchemaConnection) -> str:
    """Return the URL of an empty store, which one test after the other uses."""
    postgres_connection.execute(_EMPTY)  # a tenth of the time of `truncate`
    return postgres_connection.url


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
