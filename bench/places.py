"""The stores that are measured: each run gets an empty one of its own."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from bench import proc
from tasker.store.open import make_store
from tasker.testing.postgres import temporary_postgres, temporary_schema

SERVER = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "fsync": "on",
    "synchronous_commit": "on",
}
STORES = ("postgres", "sqlite", "sqlite-normal")
DISK = Path("/var/tmp")  # /tmp may be memory, where an fsync costs nothing


class Server(NamedTuple):
    """A PostgreSQL server that only the benchmark uses."""

    url: str

    @property
    def home(self) -> Path:
        """The directory of its data and its socket."""
        return Path(parse_qs(urlsplit(self.url).query)["host"][0])

    @property
    def cpu(self) -> float | None:
        """Seconds of CPU that all its processes have used."""
        return proc.cpu_of_family(self.pid)

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return int((self.home / "data" / "postmaster.pid").read_text().split()[0])


class Place(NamedTuple):
    """A migrated, empty store."""

    store: str
    url: str
    server: Server | None


@contextmanager
def server(needed: bool) -> Iterator[Server | None]:
    """Run the PostgreSQL server, durable as ever, as long as the block lasts."""
    if not needed:
        yield None
        return
    with temporary_postgres(settings=SERVER, directory=DISK if DISK.is_dir() else None) as url:
        yield Server(url)


@contextmanager
def place(store: str, running: Server | None) -> Iterator[Place]:
    """Make an empty store, and remove it when the block ends."""
    if store == "postgres":
        if running is None:
            raise ValueError("no PostgreSQL server runs")
        asyncio.run(execute(running.url, "checkpoint"))
        with temporary_schema(running.url) as url:
            asyncio.run(_upgrade(url))
            # The worst of all statistics for what comes: plans made now believe in empty tables.
            asyncio.run(execute(url, "analyze"))
            yield Place(store, url, running)
        return
    directory = Path(tempfile.mkdtemp(prefix="tasker-bench-", dir=DISK if DISK.is_dir() else None))
    try:
        option = "?synchronous=normal" if store == "sqlite-normal" else ""
        url = f"sqlite:{directory / 'bench.db'}{option}"
        asyncio.run(_upgrade(url))
        yield Place(store, url, None)
    finally:
        shutil.rmtree(directory)


async def _upgrade(url: str) -> None:
    async with make_store(url) as store:
        await store.upgrade()


async def execute(url: str, *statements: str) -> None:
    """Run statements on PostgreSQL, in the store's schema."""
    from tasker.store.postgres.address import Address

    connection = await Address.parse(url).connect()
    try:
        for statement in statements:
            await connection.execute(statement, timeout=3600)
    finally:
        await connection.close()
