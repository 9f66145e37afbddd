"""What the suite must know of the database that it tests a store on."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

from tasker.clock import ManualClock
from tasker.store.open import make_store
from tasker.store.protocol import Store


class Subject(ABC):
    """An empty database made for one test. What a store cannot do is said here, never by name."""

    shared: bool = True
    """Whether several store objects may be open at once, and see what the others wrote."""

    @abstractmethod
    def connect(self) -> Store:
        """Make a store object on this database; the suite opens and closes it."""

    @abstractmethod
    async def advance(self, by: timedelta) -> None:
        """Let time pass for the store, as far as it can tell."""

    async def listen(self, store: Store) -> None:  # noqa: B027
        """Return once a store that was just opened hears the wake-ups of others."""

    async def contradictions(self) -> Sequence[Any]:
        """Return rows of different tables that contradict each other."""
        return ()

    def transaction(self) -> AbstractAsyncContextManager[Any] | None:
        """Begin a caller's own transaction, whose connection `Store.create_tasks` takes.

        It is rolled back where the block ends with an exception. None: the store takes none.
        """
        return None


class SqliteSubject(Subject):
    """A SQLite database, whose clock stands still until it is advanced."""

    def __init__(self, url: str = "sqlite::memory:") -> None:
        self.url = url
        self.shared = url != "sqlite::memory:"
        self.clock = ManualClock()

    def connect(self) -> Store:
        return make_store(self.url, clock=self.clock)

    async def advance(self, by: timedelta) -> None:
        self.clock.advance(by)


class PostgresSubject(Subject):
    """A schema of a PostgreSQL server. Time passes by moving all that is stored into the past."""

    def __init__(self, url: str) -> None:
        self.url = url

    def connect(self) -> Store:
        return make_store(self.url)

    async def listen(self, store: Store) -> None:
        await store.wait_for_work(60)  # the first wait ends when it listens

    async def advance(self, by: timedelta) -> None:
        async with self.transaction() as connection:
            for table, columns in await connection.fetch(_INSTANTS):
                moved = ", ".join(f'"{column}" = "{column}" - $1::interval' for column in columns)
                await connection.execute(f'update "{table}" set {moved}', by)  # noqa: S608

    async def contradictions(self) -> Sequence[Any]:
        from tasker.store.postgres.address import Address
        from tasker.testing.store_suite.contradictions import contradictions

        return await contradictions(Address.parse(self.url))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self._connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        from tasker.store.postgres.address import Address

        connection = await Address.parse(self.url).connect()
        try:
            yield connection
        finally:
            await connection.close()


_INSTANTS = """
    select table_name, array_agg(column_name::text)
    from information_schema.columns
    join information_schema.tables using (table_schema, table_name)
    where table_schema = current_schema() and table_type = 'BASE TABLE'
      and data_type = 'timestamp with time zone'
    group by table_name
"""
