"""How the store's methods reach the database."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncpg

from tasker.clock import SystemClock
from tasker.errors import SchemaMismatch, StoreError, StoreUnavailable
from tasker.model import QueueId, SchemaStatus, WorkerId
from tasker.store.gate_cursor import GateCursor
from tasker.store.operations.limits import GateIdCache
from tasker.store.postgres import schema
from tasker.store.postgres.address import Address, Connection
from tasker.store.postgres.claim_cursor import ClaimCursor, QueuePosition
from tasker.store.postgres.dedicated_connection import DedicatedConnection
from tasker.store.postgres.listen import Listener
from tasker.store.postgres.session import STATEMENTS, PostgresSession
from tasker.store.rows import Row
from tasker.store.session import Session, Transaction, TransactionalStore

T = TypeVar("T")

_UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a session that the server ended while it was idle
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutdown, crash, start, cancel
    asyncpg.InsufficientResourcesError,  # connections, memory, disk
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,  # it became a standby
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
)
"""Errors raised when the server is unavailable, as opposed to errors caused by the data."""

_NO_SCHEMA = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidSchemaNameError,
)

_LOOK_UPS = 4  #: connections for looking up single tasks
_PLANNED_ONCE = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""Settings of the connections for looking up single tasks. Planning a look-up takes ten times as
long as executing it, so each statement is planned only once, and its plan must suit tables of any
size."""

_WAIT_BRIEFLY = "set local lock_timeout = '50ms'"
_TRIES = 100


class Driver(TransactionalStore):
    """Opens the database, and runs statements by name.

    Args:
        url: `postgresql://user@host/database?schema=tasker`; other query parameters are passed to
            the driver.
        connections: Maximum number of connections of the pool. There are up to four more for
            looking up tasks. A worker has two more: one to listen, and one for its claims and
            settlements.
    """

    SCALAR = True  #: one task or success alone has a statement of its own; tests turn it off

    def __init__(self, url: str, *, connections: int = 10) -> None:
        self.address = Address.parse(url)
        self.clock = SystemClock()
        self.url = self.address.without_password
        self._connections = connections
        self._cursors: dict[WorkerId, ClaimCursor] = {}
        self._gate_cursors: dict[WorkerId, GateCursor] = {}
        self._gates = GateIdCache()
        self._listener = Listener(self.address.connect, self.address.schema)
        self._dedicated = DedicatedConnection(
            partial(self.address.connect, plan_cache_mode="force_generic_plan")
        )

    async def __aenter__(self) -> Self:
        with translate_driver_errors(self.url):
            self._pool = await self._create_pool(least=1, most=self._connections)
            self._look_ups = await self._create_pool(
                least=0, most=min(self._connections, _LOOK_UPS), **_PLANNED_ONCE
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._listener.close()
        try:
            async with asyncio.timeout(5):
                await self._dedicated.close()
                await self._look_ups.close()
                await self._pool.close()
        except _UNREACHABLE:  # nothing is left to do but to let go of the connections
            self._dedicated.terminate()
            self._look_ups.terminate()
            self._pool.terminate()

    def _create_pool(self, *, least: int, most: int, **settings: str) -> "asyncpg.Pool[Any]":
        return asyncpg.create_pool(
            self.address.dsn,
            min_size=least,
            max_size=most,
            reset=_skip_reset,
            command_timeout=60,
            server_settings={**self.address.server_settings, **settings},
        )

    async def schema_status(self) -> SchemaStatus:
        async with self._pooled_connection() as connection:
            return await schema.read_schema_status(connection)

    async def upgrade_schema(self) -> SchemaStatus:
        with translate_driver_errors(self.url):
            connection = await self.address.connect()
            try:
                await schema.upgrade_schema(connection, self.address.schema, self.url)
            finally:
                await connection.close()
        return await self.schema_status()

    @asynccontextmanager
    async def _lookup_pool_connection(self) -> AsyncIterator[Connection]:
        async with self._translate_errors(), self._look_ups.acquire() as connection:
            yield connection

    @asynccontextmanager
    async def _pooled_connection(self) -> AsyncIterator[Connection]:
        async with self._translate_errors(), self._pool.acquire() as connection:
            yield connection

    async def _in_read_transaction(self, transaction: Transaction[T]) -> T:
        async with self._pooled_connection() as connection:
            return await transaction(PostgresSession(connection))

    async def _in_read_by_id(self, transaction: Transaction[T]) -> T:
        async with self._lookup_pool_connection() as connection:
            return await transaction(PostgresSession(connection))

    async def _in_write_transaction(self, transaction: Transaction[T]) -> T:
        async with self._pooled_connection() as connection:
            session = PostgresSession(connection)
            async with connection.transaction():
                result = await transaction(session)
        self._move_cursors_back(session.enqueued)
        await self._try_admit_tasks_to_freed_places(session.ended)
        return result

    def _claim_cursor_for(self, worker: WorkerId) -> ClaimCursor:
        """Return a worker's cursor; a first one replaces those of workers that have ended."""
        cursor = self._cursors.get(worker)
        if cursor is None:
            for ended in [key for key, other in self._cursors.items() if other.is_unused]:
                del self._cursors[ended]
                self._gate_cursors.pop(ended, None)
            cursor = self._cursors[worker] = ClaimCursor()
        return cursor

    def _move_cursors_back(self, enqueued: Iterable[tuple[QueueId, QueuePosition]]) -> None:
        """Let claims of this process find steps that it enqueued behind its cursors."""
        for queue, place in enqueued:
            for cursor in self._cursors.values():
                cursor.note_enqueued(queue, place)

    async def _in_yielding_transaction(self, transaction: Transaction[T]) -> T:
        """Run a transaction on one task that yields to settlements of the same task.

        Settlements lock steps before their task; an operator's transaction does the opposite.
        So it never waits long for a lock, but releases its own locks and starts over. No deadlock
        lasts, and none is resolved by aborting a settlement.
        """
        async with self._translate_errors():
            for left in reversed(range(_TRIES)):
                try:
                    async with self._pool.acquire() as connection:
                        session = PostgresSession(connection)
                        async with connection.transaction():
                            await connection.execute(_WAIT_BRIEFLY)
                            result = await transaction(session)
                    break
                except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                    if not left:
                        raise
                await asyncio.sleep(0.02 * random.random())
        self._move_cursors_back(session.enqueued)
        await self._try_admit_tasks_to_freed_places(session.ended)
        return result

    async def _execute_in_transaction(self, statement: str, /, **values: object) -> Sequence[Row]:
        return await self._fetch_all(statement, **values)

    @asynccontextmanager
    async def _urgent_session(self) -> AsyncIterator[Session]:
        """Lend a session that is free even while the whole pool is busy."""
        async with self._listener.lend_connection() as connection:
            if connection is not None:
                async with self._translate_errors():
                    yield PostgresSession(connection)
                return
        async with self._pooled_connection() as pooled:
            yield PostgresSession(pooled)

    async def _fetch_dedicated(self, statement: str, /, **values: object) -> list[Any]:
        """Run a statement of the hot path on its own connection, if that is free."""
        if not self._dedicated.is_free:
            return await self._fetch_pooled(statement, **values)
        text, names = STATEMENTS[statement]
        async with self._translate_errors():
            return await self._dedicated.fetch(text, *[values[name] for name in names])

    async def _fetch_pooled(self, statement: str, /, **values: object) -> list[Any]:
        """Run a statement of the hot path on a connection of the pool."""
        text, names = STATEMENTS[statement]
        async with self._pooled_connection() as connection:
            return await connection.fetch(text, *[values[name] for name in names])

    async def _look_up_by_key(self, statement: str, /, **values: object) -> list[Any]:
        """Run a statement of the hot path that looks up rows by their keys."""
        text, names = STATEMENTS[statement]
        async with self._lookup_pool_connection() as connection:
            return await connection.fetch(text, *[values[name] for name in names])

    @asynccontextmanager
    async def _translate_errors(self) -> AsyncIterator[None]:
        """Convert the driver's errors to the store's; replace read-only connections.

        A session keeps the `default_transaction_read_only` that it started with, and one to a
        server that became a standby stays there.
        """
        try:
            with translate_driver_errors(self.url):
                yield
        except StoreUnavailable as error:
            if isinstance(error.__cause__, asyncpg.ReadOnlySQLTransactionError):
                await self._pool.expire_connections()
                self._dedicated.replace_before_next_statement()
                await self._look_ups.expire_connections()
                self._listener.reconnect()
            raise


async def _skip_reset(_connection: object) -> None:
    """Replace the pool's query at each release, since no session state outlives a transaction."""


@contextmanager
def translate_driver_errors(url: str) -> Iterator[None]:
    """Convert the driver's errors to the store's."""
    try:
        yield
    except _NO_SCHEMA as error:
        raise SchemaMismatch(
            f"the schema of {url} does not match this release ({error}): run `tasker db upgrade`"
        ) from error
    except _UNREACHABLE as error:
        raise StoreUnavailable(f"{url}: {str(error) or type(error).__name__}") from error
    except asyncpg.PostgresError as error:
        if error.sqlstate.startswith("TK"):
            raise
        raise StoreError(f"{url}: {error}") from error
