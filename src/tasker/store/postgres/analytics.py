"""Analyses read by one connection at a time, on one core."""

import asyncio

import asyncpg

from tasker.analytics.model import TIMEOUT, OldestSnapshot, analysis_timeout_error
from tasker.store.operations import analytics
from tasker.store.postgres.driver import Driver
from tasker.store.postgres.session import PostgresSession
from tasker.store.session import T, Transaction


class Analytics(analytics.Analytics, Driver):
    """Analyses read by one connection at a time, on one core."""

    def __init__(self, url: str, *, connections: int = 10) -> None:
        super().__init__(url, connections=connections)
        self._analysing = asyncio.Lock()

    def _connection_pool_utilization(self) -> float:
        busy = self._pool.get_size() - self._pool.get_idle_size() - 1
        return round(max(busy, 0) / self._pool.get_max_size(), 4)

    async def find_oldest_database_snapshot(self) -> OldestSnapshot | None:
        row = await self._fetch_one("find_oldest_database_snapshot")
        if row is None:
            return None
        return OldestSnapshot(
            kind=row["kind"],
            name=row["name"],
            user=row["role"],
            pid=row["pid"],
            state=row["state"],
            age_seconds=row["age_seconds"],
            transactions=row["transactions"],
        )

    async def _run_analysis(self, transaction: Transaction[T]) -> T:
        async with (
            self._analysing,
            self._pooled_connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            most = int(TIMEOUT.total_seconds() * 1000)
            await connection.execute("set local max_parallel_workers_per_gather = 0")
            await connection.execute(f"set local statement_timeout = {most}")
            try:
                return await transaction(PostgresSession(connection))
            except asyncpg.QueryCanceledError:
                raise analysis_timeout_error() from None
