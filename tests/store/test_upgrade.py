"""Databases that another version made: rejected by name, and left as they are."""

import sqlite3

import pytest

from tasker.errors import SchemaMismatch
from tasker.store.migrate import Migrations
from tasker.store.open import make_store, open_store
from tasker.store.postgres.address import Address

pytestmark = pytest.mark.anyio


async def execute(url: str, *statements: str) -> None:
    """Change a database behind the store's back."""
    if url.startswith("sqlite:"):
        connection = sqlite3.connect(url.removeprefix("sqlite:"))
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()
        return
    postgres = await Address.parse(url).connect()
    for statement in statements:
        await postgres.execute(statement)
    await postgres.close()


async def assert_rejected(url: str, match: str) -> None:
    for upgrade in (True, False):
        with pytest.raises(SchemaMismatch, match=match):
            async with open_store(url, upgrade=upgrade):
                pass


async def test_a_database_without_digests_is_rejected(store_url: str) -> None:
    """Earlier commits stored only the numbers of migrations."""
    if store_url.startswith("sqlite:"):
        await execute(store_url, "create table task (id text)", "pragma user_version = 2")
    else:
        await execute(
            store_url,
            "create table schema_version"
            " (number int primary key, applied_at timestamptz not null default now())",
            "insert into schema_version (number) values (1), (2)",
            "create table task (id uuid)",
        )

    await assert_rejected(store_url, "another development version")


async def test_a_database_of_another_first_migration_is_rejected(store_url: str) -> None:
    """
    It is recognised by the digest of the script that made it.
    """
    async with make_store(store_url) as store:
        await store.upgrade_schema()
    await execute(store_url, "update schema_version set digest = 'other'")

    await assert_rejected(store_url, "another development version")


async def test_a_newer_database_is_rejected(store_url: str) -> None:
    """
    The message says to upgrade Tasker.
    """
    async with make_store(store_url) as store:
        await store.upgrade_schema()
    await execute(store_url, "insert into schema_version (number, digest) values (99, 'later')")

    await assert_rejected(store_url, "newer than this release supports")


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_the_digest_of_a_migration_depends_only_on_its_statements(
    dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Comments may be edited.
    """
    before = Migrations(f"tasker.store.{dialect}")
    commented = {f"{no:04}_x": f"-- more\n{text}\n" for no, text in before.scripts.items()}
    changed = {f"{no:04}_x": f"{text}\nselect 1;" for no, text in before.scripts.items()}

    monkeypatch.setattr("tasker.store.migrate.load_scripts", lambda *_: commented)
    assert before.digests == Migrations(f"tasker.store.{dialect}").digests
    monkeypatch.setattr("tasker.store.migrate.load_scripts", lambda *_: changed)
    assert before.digests != Migrations(f"tasker.store.{dialect}").digests


async def test_a_function_with_a_different_result_type_is_replaced(
    postgres_schema_url: str,
) -> None:
    """
    Those with other parameters stay: workers of that release may still call them.
    """
    async with open_store(postgres_schema_url, upgrade=True):
        pass
    await execute(
        postgres_schema_url,
        "drop function wake_steps_waiting_for_tasks",
        "create function wake_steps_waiting_for_tasks(ended uuid[]) returns int"
        " language sql as 'select 1'",
        "create function wake_workers(everyone boolean) returns int language sql as 'select 1'",
    )
    async with open_store(postgres_schema_url, upgrade=True):
        pass
    connection = await Address.parse(postgres_schema_url).connect()
    rows = await connection.fetch(
        "select proname, pg_get_function_result(oid) as result from pg_proc"
        " where pronamespace = current_schema()::regnamespace"
        " and proname in ('wake_workers', 'wake_steps_waiting_for_tasks')"
    )
    await connection.close()

    assert {
        ("wake_workers", "integer"),
        ("wake_workers", "void"),
        ("wake_steps_waiting_for_tasks", "void"),
    } == {(row["proname"], row["result"]) for row in rows}
