"""Opens the store of a URL."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tasker.clock import Clock
from tasker.errors import InvalidSettings
from tasker.store import migrate
from tasker.store.protocol import Store

DEFAULT_URL = "sqlite"

_HOST_AND_PORT = re.compile(r"[\w.-]+:\d+(/|$)")


def make_store(url: str = DEFAULT_URL, *, clock: Clock | None = None) -> Store:
    """Create the store of a URL without opening it.

    Args:
        url: `sqlite` (the file `.tasker/tasker.db`), `sqlite:FILE`, `sqlite::memory:` or
            `postgresql://user@host/database?schema=tasker`.
        clock: The clock of a SQLite store; PostgreSQL uses its own.

    Raises:
        InvalidSettings: The URL's scheme is unknown, or the driver is not installed.
    """
    scheme = url.split(":", 1)[0].split("?", 1)[0]
    if scheme == "sqlite":
        from tasker.store.sqlite import SqliteStore

        return SqliteStore(url, clock=clock)
    if scheme in ("postgresql", "postgres"):
        try:
            from tasker.store.postgres import PostgresStore
        except ModuleNotFoundError as error:
            if error.name != "asyncpg":
                raise
            raise InvalidSettings(
                "the PostgreSQL driver is not installed: run"
                " `pip install 'tasker-workflows[postgres]'`"
            ) from None
        return PostgresStore(url)
    given = f"{scheme}:" if url else "''"
    hint = "" if ":" in url or not url else f"; for a SQLite file, write sqlite:{url}"
    if _HOST_AND_PORT.match(url):
        hint = f"; for a server, write http://{url} or https://{url}"
    raise InvalidSettings(f"a store URL must start with sqlite or postgresql://, not {given}{hint}")


@asynccontextmanager
async def open_store(
    url: str = DEFAULT_URL, *, upgrade: bool | None = None, clock: Clock | None = None
) -> AsyncIterator[Store]:
    """Open a store, and close it at the end of the block.

    Args:
        url: See `make_store`.
        upgrade: Whether to upgrade the schema. None upgrades only SQLite, so that only `tasker db
            upgrade` changes a shared PostgreSQL database.
        clock: See `make_store`.

    Raises:
        SchemaMismatch: The schema does not match this release.
        StoreUnavailable: The store cannot be reached.
    """
    async with make_store(url, clock=clock) as store:
        if upgrade if upgrade is not None else url.startswith("sqlite"):
            await store.upgrade_schema()
        migrate.require_current_schema(await store.schema_status(), store.url)
        yield store
