"""Reads analytics in parallel with the writer: for files, on a separate connection."""

import asyncio
import sqlite3
import time
from collections.abc import Callable

from tasker.analytics.model import TIMEOUT, analysis_timeout_error
from tasker.clock import Clock
from tasker.store.operations import analytics
from tasker.store.operations.analytics import RowLimits
from tasker.store.session import T, Transaction
from tasker.store.sqlite.driver import Driver
from tasker.store.sqlite.session import SqliteSession, run_synchronously
from tasker.store.sqlite.thread import translate_error

_MEMORY_SHARE = 10  #: in memory the writer itself reads, so it reads that part of the bounds only
_CHECK_EVERY = 10_000  #: instructions of SQLite between checks of the time


class Analytics(analytics.Analytics, Driver):
    """Reads analytics in parallel with the writer: for files, on a separate connection."""

    MERGES_APART = True

    def __init__(self, url: str = "sqlite", *, clock: Clock | None = None) -> None:
        super().__init__(url, clock=clock)
        self._analysing = asyncio.Lock()

    def _row_limits(self) -> RowLimits:
        tasks, attempts = super()._row_limits()
        if self.address.path is not None:
            return RowLimits(tasks, attempts)
        return RowLimits(tasks // _MEMORY_SHARE, attempts // _MEMORY_SHARE)

    def _connection_pool_utilization(self) -> float:
        return 0.0

    async def find_oldest_database_snapshot(self) -> None:
        """Return None: SQLite does not show the readers of a file."""

    async def _run_analysis(self, transaction: Transaction[T]) -> T:
        def analyse_on_connection(on: sqlite3.Connection) -> T:
            session = SqliteSession(on, self._clock.now())
            return _run_within_time_limit(on, lambda: run_synchronously(transaction(session)))

        path = self.address.path
        if path is None:
            return await self._thread.run(analyse_on_connection, writes=False)

        def analyse_file() -> T:
            try:
                connection = sqlite3.connect(path, isolation_level=None, timeout=10)
                try:
                    connection.execute("pragma query_only = on")
                    connection.execute("pragma temp_store = memory")
                    connection.execute("begin")
                    return analyse_on_connection(connection)
                finally:
                    connection.close()
            except sqlite3.Error as error:
                raise translate_error(error, self.url) from None

        async with self._analysing:
            return await asyncio.to_thread(analyse_file)


def _run_within_time_limit(on: sqlite3.Connection, read: Callable[[], T]) -> T:
    """Read, but stop if it takes too long."""
    end = time.monotonic() + TIMEOUT.total_seconds()
    on.set_progress_handler(lambda: time.monotonic() > end, _CHECK_EVERY)
    try:
        return read()
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            raise analysis_timeout_error() from None
        raise
    finally:
        on.set_progress_handler(None, 0)
