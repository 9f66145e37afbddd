"""Connects the store's methods to the database."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Self, TypeVar

from tasker.clock import Clock, SystemClock
from tasker.model import SchemaStatus, WorkerId
from tasker.store.gate_cursor import GateCursor
from tasker.store.operations.limits import GateIdCache
from tasker.store.rows import Row
from tasker.store.session import Transaction, TransactionalStore
from tasker.store.sqlite import connection as database
from tasker.store.sqlite.address import Address
from tasker.store.sqlite.change_watcher import ChangeWatcher
from tasker.store.sqlite.session import SqliteSession, run_synchronously
from tasker.store.sqlite.thread import DatabaseThread

T = TypeVar("T")


class Driver(TransactionalStore):
    """Opens the database, and runs statements by name.

    Several processes may write, one transaction at a time.

    Args:
        url: `sqlite`, `sqlite:FILE[?synchronous=normal]` or `sqlite::memory:`.
        clock: The store's own clock.
    """

    def __init__(self, url: str = "sqlite", *, clock: Clock | None = None) -> None:
        self.address = Address.parse(url)
        self.url = self.address.without_password
        self._clock = clock or SystemClock()
        memory = database.unique_memory_name()
        self._thread = DatabaseThread(lambda: database.connect(self.address, memory), self.url)
        self._work = asyncio.Event()
        self._revocation = asyncio.Event()
        self._gate_cursors: dict[WorkerId, GateCursor] = {}
        self._gates = GateIdCache()
        self._watcher: ChangeWatcher | None = (
            None  # none for in-memory databases, which are not shared
        )
        if self.address.path is not None:
            self._watcher = ChangeWatcher(
                self.address.path, self._data_version, self._on_write_by_other_process
            )

    async def __aenter__(self) -> Self:
        self._thread.start()
        try:
            await self._thread.run(database.read_schema_status, writes=False)
        except BaseException:
            await self._thread.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._watcher is not None:
            await self._watcher.close()
        await self._thread.stop()

    @property
    def clock(self) -> Clock:
        return self._clock

    async def schema_status(self) -> SchemaStatus:
        return await self._thread.run(database.read_schema_status, writes=False)

    async def upgrade_schema(self) -> SchemaStatus:
        await self._in_shared_transaction(lambda on: database.upgrade_schema(on, self.url))
        return await self.schema_status()

    def _now(self) -> float:
        return self._clock.now().timestamp()

    async def _in_shared_transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation of the hot path, which shares its transaction with others."""
        return await self._thread.run(work, writes=True)

    async def _in_read_transaction(self, transaction: Transaction[T]) -> T:
        return await self._run_transaction(transaction, writes=False)

    async def _in_write_transaction(self, transaction: Transaction[T]) -> T:
        return await self._run_transaction(transaction, writes=True)

    _in_yielding_transaction = _in_write_transaction  # none waits for locks

    async def _execute_in_transaction(self, statement: str, /, **values: object) -> Sequence[Row]:
        return await self._in_write_transaction(lambda tx: tx.fetch_all(statement, **values))

    async def _run_transaction(self, transaction: Transaction[T], *, writes: bool) -> T:
        def run_in_database_thread(on: sqlite3.Connection) -> tuple[T, SqliteSession]:
            session = SqliteSession(on, self._clock.now())
            return run_synchronously(transaction(session)), session

        result, session = await self._thread.run(run_in_database_thread, writes=writes)
        self._notify_waiters(session.notifications)
        await self._try_admit_tasks_to_freed_places(session.ended)
        return result

    def _notify_waiters(self, notifications: Collection[str]) -> None:
        if "wake_workers" in notifications:
            self._work.set()
        if "notify_revocation" in notifications:
            self._revocation.set()

    async def _wait_for_event(self, event: asyncio.Event, timeout: float) -> None:
        """Wait for this process's event, or for another process's commit."""
        if self._watcher is not None:
            self._watcher.start_listening()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await event.wait()
        event.clear()

    async def _data_version(self) -> int:
        return await self._thread.run(database.data_version, writes=False)

    def _on_write_by_other_process(self) -> None:
        self._work.set()
        self._revocation.set()
