"""The databases that are measured: each run gets an empty one of its own."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from bench import proc
from tasker.store.open import make_store
from tasker.store.postgres.address import Address
from tasker.testing.postgres import temporary_postgres, temporary_schema

SERVER_SETTINGS: Mapping[str, str] = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "fsync": "on",
    "synchronous_commit": "on",
}
STORES = ("postgres", "sqlite", "sqlite-normal")
_VAR_TMP = Path("/var/tmp")
DISK = _VAR_TMP if _VAR_TMP.is_dir() else None
"""Where data is kept. /tmp may be memory, where an fsync costs nothing. None: the default."""


class Server(NamedTuple):
    """A PostgreSQL server that only the benchmark uses."""

    url: str

    @property
    def home(self) -> Path:
        """The directory of its data and its socket."""
        return Path(parse_qs(urlsplit(self.url).query)["host"][0])

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return int((self.home / "data" / "postmaster.pid").read_text().split()[0])

    @property
    def cpu(self) -> float | None:
        """CPU seconds used by all its processes."""
        return proc.cpu_of_family(self.pid)


class Database(NamedTuple):
    """A database with the current schema."""

    store: str
    url: str
    server: Server | None


@contextmanager
def postgres_server(more: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a PostgreSQL server with full durability until the block ends."""
    settings = {**SERVER_SETTINGS, **(more or {})}
    with temporary_postgres(settings=settings, directory=DISK) as url:
        yield Server(url)


@contextmanager
def new_database(store: str, server: Server | None) -> Iterator[str]:
    """Yield the URL of a database without a schema, and remove it when the block ends.

    Raises:
        ValueError: `store` is `postgres`, and no server is given.
    """
    if store == "postgres":
        if server is None:
            raise ValueError("the store postgres needs a running server")
        asyncio.run(execute(server.url, "checkpoint"))
        with temporary_schema(server.url) as url:
            yield url
        return
    option = "?synchronous=normal" if store == "sqlite-normal" else ""
    with tempfile.TemporaryDirectory(prefix="tasker-bench-", dir=DISK) as directory:
        yield f"sqlite:{directory}/bench.db{option}"


@contextmanager
def empty_database(store: str, server: Server | None) -> Iterator[Database]:
    """Yield a database with the current schema and no tasks."""
    with new_database(store, server) as url:
        asyncio.run(_upgrade(url))
        if store == "postgres":
            # The worst statistics for what follows: plans made now assume empty tables.
            asyncio.run(execute(url, "analyze"))
        yield Database(store, url, server if store == "postgres" else None)


def sqlite_file(url: str) -> str:
    """Return the path in a SQLite URL."""
    return url.removeprefix("sqlite:").partition("?")[0]


async def execute(url: str, *statements: str) -> None:
    """Execute statements on PostgreSQL, in the schema of `url`."""
    connection = await Address.parse(url).connect()
    try:
        for statement in statements:
            await connection.execute(statement, timeout=3600)
    finally:
        await connection.close()


async def _upgrade(url: str) -> None:
    async with make_store(url) as store:
        await store.upgrade_schema()
