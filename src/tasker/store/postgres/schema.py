"""Tables and functions of the store, as the database has them."""

import asyncpg

from tasker.store import statements
from tasker.store.migrate import Migrations
from tasker.store.postgres.address import Connection

MIGRATIONS = Migrations(__package__)
_FUNCTIONS = statements.scripts(__package__, "functions")


async def version(
    connection: Connection,
) -> int:
    """Tell the number of the last migration applied, 0 for an empty database."""
    if await connection.fetchval("select to_regclass('schema_version')") is None:
        return 0
    found = await connection.fetchval("select coalesce(max(number), 0) from schema_version")
    return int(found)


async def upgrade(connection: "asyncpg.Connection[asyncpg.Record]", schema: str) -> None:
    """Apply missing migrations and lay the functions anew, in one transaction.

    Processes that do so at once wait for each other.
    """
    async with connection.transaction():
        await connection.execute(
            "select pg_advisory_xact_lock(hashtext('tasker'), hashtext($1))", schema
        )
        if await connection.fetchval("select to_regnamespace($1)", schema) is None:
            await connection.execute(f'create schema "{schema}"')
        await connection.execute(
            "create table if not exists schema_version"
            " (number int primary key, applied_at timestamptz not null default now())"
        )
        current = await connection.fetchval("select coalesce(max(number), 0) from schema_version")
        for number, script in MIGRATIONS.missing(current):
            await connection.execute(script)
            await connection.execute("insert into schema_version (number) values ($1)", number)
        for script in _FUNCTIONS.values():
            await connection.execute(script)
