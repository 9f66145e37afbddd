"""Opens the database: pragmas, migrations, and temporary tables for settlements."""

import os
import sqlite3
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

from tasker.errors import SchemaMismatch
from tasker.model import SchemaStatus
from tasker.store.migrate import Migrations, require_matching_script_digests
from tasker.store.sqlite.address import Address

MIGRATIONS = Migrations(__package__)
OLDEST = (3, 35, 0)  # RETURNING
_WORKSPACE = """
    create temp table settled (
        ord integer, task_id text, no integer, attempt integer, outcome integer,
        result text, error text, delay real, run_at real, children text, on_error text,
        choice text, to_handler integer,
        primary key (task_id, no)
    );
    create temp table child (
        task_id text, no integer, parents integer, run_at real, missed integer
    );
"""


_PATIENCE = 10  #: seconds to wait for locks of other connections


def connect(address: Address, memory: str) -> sqlite3.Connection:
    """Open the database of `address`, or the in-memory one named `memory`."""
    if sqlite3.sqlite_version_info < OLDEST:
        raise SchemaMismatch(
            f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or later is needed"
            " (use PostgreSQL, or a Python with a newer SQLite)"
        )
    if address.path is not None:
        _create_file(address.path)
        connection = sqlite3.connect(
            address.path, isolation_level=None, timeout=_PATIENCE, cached_statements=256
        )
    else:
        connection = sqlite3.connect(
            f"file:{memory}?mode=memory&cache=shared",
            uri=True,
            isolation_level=None,
            cached_statements=256,
        )
    try:
        if address.path is not None:
            _use_write_ahead_log(connection)
        connection.execute(f"pragma synchronous = {address.synchronous}")
        connection.execute("pragma temp_store = memory")
        connection.execute("pragma cache_size = -16000")
        connection.execute("pragma mmap_size = 268435456")
        connection.executescript(_WORKSPACE)
    except sqlite3.Error:  # not a database, not permitted, locked
        connection.close()
        raise
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, as soon as no other connection does so at the same time.

    SQLite waits for locks, but not for this one.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(0.005)


def _create_file(path: Path) -> None:
    """Create the file of a database for its owner only: it has the contexts and secrets of tasks.

    SQLite gives the files beside it the same mode. A file that exists keeps its own. The file gets
    its name only after it is closed: closing it later would release the locks of connections that
    other threads have opened meanwhile (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # SQLite reports why a file cannot be created
        if not path.exists():
            descriptor, unnamed = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
            os.close(descriptor)
            try:
                os.link(unnamed, path)  # fails if another process was faster
            finally:
                Path(unnamed).unlink()


def unique_memory_name() -> str:
    return f"tasker-{uuid.uuid4().hex}"


def read_schema_status(connection: sqlite3.Connection) -> SchemaStatus:
    """Return the version of the schema, without changing it."""
    number: int = connection.execute("pragma user_version").fetchone()[0]
    if not number:
        return MIGRATIONS.schema_status([])
    table = "select 1 from sqlite_master where name = 'schema_version'"
    if connection.execute(table).fetchone() is None:
        return MIGRATIONS.schema_status([(number, None)])
    return MIGRATIONS.schema_status(
        connection.execute("select number, digest from schema_version").fetchall()
    )


def data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes with each commit of another connection."""
    version: int = connection.execute("pragma data_version").fetchone()[0]
    return version


def upgrade_schema(connection: sqlite3.Connection, url: str) -> None:
    """Apply missing migrations within the caller's transaction.

    Raises:
        SchemaMismatch: The schema was made by migrations that this release does not have.
    """
    before = read_schema_status(connection)
    require_matching_script_digests(before, url)
    connection.execute(
        "create table if not exists schema_version (number integer primary key, digest text)"
    )
    for number, digest, script in MIGRATIONS.pending(before.current):
        for statement in _split_statements(script):
            connection.execute(statement)
        connection.execute("insert into schema_version values (?, ?)", (number, digest))
        connection.execute(f"pragma user_version = {number}")


def _split_statements(script: str) -> list[str]:
    """Split a script into statements, because `executescript` would commit."""
    statements, rest = [], ""
    for line in script.splitlines(keepends=True):
        rest += line
        if sqlite3.complete_statement(rest):
            statements.append(rest)
            rest = ""
    return statements
