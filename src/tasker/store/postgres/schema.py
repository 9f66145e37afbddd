"""The tables and functions of the store in the database."""

import asyncpg

from tasker.model import SchemaStatus
from tasker.store import statements
from tasker.store.migrate import Migrations, require_matching_script_digests
from tasker.store.postgres.address import Connection

MIGRATIONS = Migrations(__package__)
_FUNCTIONS = statements.load_scripts(__package__, "functions")
_APPLIED = "select number, to_jsonb(v) ->> 'digest' from schema_version v"  # it may have none

_FUNCTIONS_NAMED = """
    select oid::regprocedure::text from pg_proc
    where pronamespace = current_schema()::regnamespace and proname = $1
"""


async def read_schema_status(connection: Connection) -> SchemaStatus:
    """Return the version of the schema, without changing it."""
    if await connection.fetchval("select to_regclass('schema_version')") is None:
        return MIGRATIONS.schema_status([])
    rows = await connection.fetch(_APPLIED)
    return MIGRATIONS.schema_status([(row[0], row[1]) for row in rows])


async def upgrade_schema(
    connection: "asyncpg.Connection[asyncpg.Record]", schema: str, url: str
) -> None:
    """Apply missing migrations and recreate the functions, in one transaction.

    Processes that do this at the same time wait for each other.

    Raises:
        SchemaMismatch: The schema was made by migrations that this release does not have.
    """
    async with connection.transaction():
        await connection.execute(
            "select pg_advisory_xact_lock(hashtext('tasker'), hashtext($1))", schema
        )
        if await connection.fetchval("select to_regnamespace($1)", schema) is None:
            await connection.execute(f'create schema "{schema}"')
        await connection.execute(
            "create table if not exists schema_version"
            " (number int primary key, digest text not null,"
            " applied_at timestamptz not null default now())"
        )
        before = await read_schema_status(connection)
        require_matching_script_digests(before, url)
        for number, digest, script in MIGRATIONS.pending(before.current):
            await connection.execute(script)
            await connection.execute(
                "insert into schema_version (number, digest) values ($1, $2)", number, digest
            )
        for name, script in _FUNCTIONS.items():
            await _create_function(connection, name, script)


async def _create_function(connection: Connection, name: str, script: str) -> None:
    """Create a function, replacing that of another release.

    A function with different parameters remains, for running workers of that release; one that
    differs only in its result cannot remain.
    """
    try:
        async with connection.transaction():
            await connection.execute(script)
    except asyncpg.InvalidFunctionDefinitionError:
        for (function,) in await connection.fetch(_FUNCTIONS_NAMED, name):
            await connection.execute(f"drop function {function}")
        await connection.execute(script)
