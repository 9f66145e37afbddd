"""Opening the database: pragmas, migrations, the tables that settlements are worked out in."""

import sqlite3
import uuid

from tasker.errors import SchemaMismatch
from tasker.store.migrate import Migrations
from tasker.store.sqlite.address import Address

MIGRATIONS = Migrations(__package__)
OLDEST = (3, 35, 0)  # RETURNING
_WORKSPACE = """
    create temp table settled (
        ord integer, task_id text, no integer, attempt integer, outcome integer,
        result text, error text, delay real, run_at real, children text,
        primary key (task_id, no)
    );
    create temp table child (task_id text, no integer, parents integer, run_at real);
"""


def connect(address: Address, memory: str) -> sqlite3.Connection:
    """Open the database of `address`, or the one in memory that is called `memory`."""
    if sqlite3.sqlite_version_info < OLDEST:
        raise SchemaMismatch(
            f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or later is needed"
            " (use PostgreSQL, or a Python that brings a newer one)"
        )
    if address.path is not None:
        address.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            address.path, isolation_level=None, timeout=10, cached_statements=256
        )
        connection.execute("pragma journal_mode = wal")
    else:
        connection = sqlite3.connect(
            f"file:{memory}?mode=memory&cache=shared",
            uri=True,
            isolation_level=None,
            cached_statements=256,
        )
    connection.execute(f"pragma synchronous = {address.synchronous}")
    connection.execute("pragma temp_store = memory")
    connection.execute("pragma cache_size = -16000")
    connection.execute("pragma mmap_size = 268435456")
    connection.executescript(_WORKSPACE)
    return connection


def memory_name() -> str:
    return f"tasker-{uuid.uuid4().hex}"


def version(connection: sqlite3.Connection) -> int:
    """Tell the number of the last migration applied, 0 for an empty database."""
    return int(connection.execute("pragma user_version").fetchone()[0])


def upgrade(connection: sqlite3.Connection) -> None:
    """Apply the migrations that are missing; part of the caller's transaction."""
    for number, script in MIGRATIONS.missing(version(connection)):
        for statement in _split(script):
            connection.execute(statement)
        connection.execute(f"pragma user_version = {number}")


def _split(script: str) -> list[str]:
    """Split a script at the ends of its statements; `executescript` would commit."""
    statements, rest = [], ""
    for line in script.splitlines(keepends=True):
        rest += line
        if sqlite3.complete_statement(rest):
            statements.append(rest)
            rest = ""
    return statements
