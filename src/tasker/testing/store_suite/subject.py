"""The properties of a database that the suite must know."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

from tasker.clock import ManualClock
from tasker.store.open import make_store
from tasker.store.protocol import Store
from tasker.testing.postgres import SharedSchemaConnection

T = TypeVar("T")


class StoreUnderTest(ABC):
    """An empty database made for one test, and the optional capabilities of its store."""

    shared: bool = True
    """Whether several store objects may be open at once and see each other's writes."""

    @abstractmethod
    def connect(self) -> Store:
        """Return a new store object on this database; the suite opens and closes it."""

    @abstractmethod
    async def advance(self, by: timedelta) -> None:
        """Let time pass for the store."""

    async def wait_until_listening(self, store: Store) -> None:  # noqa: B027
        """Wait until a store that was just opened receives the wake-ups of others."""

    async def find_contradictions(self) -> Sequence[Any]:
        """Return rows of different tables that contradict each other."""
        return ()

    def transaction(self) -> AbstractAsyncContextManager[Any] | None:
        """Return a context manager that runs a transaction of the caller of `Store.create_tasks`.

        It yields the connection, and rolls back if the block ends with an exception. None means
        that the store cannot take part in such a transaction.
        """
        return None


class SqliteUnderTest(StoreUnderTest):
    """A SQLite database whose clock stands still until it is advanced."""

    def __init__(self, url: str = "sqlite::memory:") -> None:
        self.url = url
        self.shared = url != "sqlite::memory:"
        self.clock = ManualClock()

    def connect(self) -> Store:
        return make_store(self.url, clock=self.clock)

    async def advance(self, by: timedelta) -> None:
        self.clock.advance(by)


class PostgresUnderTest(StoreUnderTest):
    """A schema of a PostgreSQL server. Time passes by moving all stored times into the past.

    Args:
        url: The schema's URL.
        shared: The connection for calls outside the stores; None means a new one for each call.
    """

    def __init__(self, url: str, shared: SharedSchemaConnection | None = None) -> None:
        self.url = url
        self._shared = shared

    def connect(self) -> Store:
        return make_store(self.url)

    async def wait_until_listening(self, store: Store) -> None:
        await store.wait_for_work(60)  # the first wait ends when it listens

    async def advance(self, by: timedelta) -> None:
        await self._run_with_connection(
            lambda connection: _move_timestamps_into_past(connection, by)
        )

    async def find_contradictions(self) -> Sequence[Any]:
        from tasker.testing.store_suite.contradictions import find_contradictions

        return await self._run_with_connection(find_contradictions)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self._open_connection() as connection, connection.transaction():
            yield connection

    async def _run_with_connection(self, use: Callable[[Any], Awaitable[T]]) -> T:
        if self._shared:
            return await self._shared.run_with_connection(use)
        async with self._open_connection() as connection:
            return await use(connection)

    @asynccontextmanager
    async def _open_connection(self) -> AsyncIterator[Any]:
        from tasker.store.postgres.address import Address

        connection = await Address.parse(self.url).connect()
        try:
            yield connection
        finally:
            await connection.close()


async def _move_timestamps_into_past(connection: Any, by: timedelta) -> None:
    async with connection.transaction():
        for table, columns in await connection.fetch(_INSTANTS):
            moved = ", ".join(f'"{column}" = "{column}" - $1::interval' for column in columns)
            await connection.execute(f'update "{table}" set {moved}', by)  # noqa: S608


_INSTANTS = """
    select c.relname, array_agg(a.attname::text)
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = current_schema()::regnamespace and not c.relispartition
      and c.relkind in ('r', 'p') and a.atttypid = 'timestamptz'::regtype
    group by c.relname
"""
