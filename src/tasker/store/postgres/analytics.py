"""How work went lately: read by one connection at a time, in bounds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg

from tasker.analytics import compute
from tasker.analytics.compute import Counted, Findings, Period
from tasker.analytics.model import (
    MOST_ATTEMPTS,
    MOST_STEP_KINDS,
    MOST_TASKS,
    TIMEOUT,
    Bottlenecks,
    Performance,
    Retries,
    Utilization,
    Window,
    too_long,
)
from tasker.store.postgres.address import Connection
from tasker.store.postgres.driver import READ, Driver, fetch, fetch_one


class Analytics(Driver):
    """How work went lately: read by one connection at a time, in bounds."""

    def __init__(self, url: str, *, connections: int = 10) -> None:
        super().__init__(url, connections=connections)
        self._analysing = asyncio.Lock()

    async def performance(self, window: Window) -> Performance:
        async with self._analysis() as connection:
            period = await _period(connection, window)
            return compute.performance(period, await _counted(connection, period))

    async def bottlenecks(
        self, window: Window, *, limit: int = 10, min_executions: int = 3
    ) -> Bottlenecks:
        async with self._analysis() as connection:
            period = await _period(connection, window)
            counted = await _counted(connection, period)
            found = await self._findings(connection, period, limit, min_executions)
        return compute.bottlenecks(period, counted, found, limit)

    async def backlog(self) -> Utilization:
        async with self._analysis() as connection:
            return await self._utilization(connection)

    async def _utilization(self, connection: Connection) -> Utilization:
        backlog = await fetch_one(connection, "backlog", most=MOST_ATTEMPTS)
        return Utilization(
            database_pool_utilization=self._pool_utilization(),
            due_steps=backlog[0],
            scheduled_steps=backlog[1],
            running_steps=backlog[2],
        )

    async def _findings(
        self, connection: Connection, period: Period, limit: int, min_executions: int
    ) -> Findings:
        tasks = _sample(period)
        attempts = {**tasks, "most_attempts": MOST_ATTEMPTS}
        steps = await fetch(
            connection,
            "step_figures",
            min_executions=min_executions,
            most_kinds=MOST_STEP_KINDS,
            **attempts,
        )
        slow = await fetch(
            connection, "slow_tasks", min_executions=min_executions, limit=limit, **tasks
        )
        patterns = await fetch(connection, "error_patterns", limit=limit, **attempts)
        retries = await fetch_one(connection, "retry_figures", **attempts)
        waited = await fetch(
            connection, "waited_for", most_steps=MOST_ATTEMPTS, limit=limit, **tasks
        )
        return Findings(
            [compute.step(row, READ.instant) for row in steps],
            [compute.task(row, READ.instant) for row in slow],
            [compute.pattern(row, READ.instant) for row in patterns],
            Retries(retried_steps=retries[0], succeeded=retries[1], failed=retries[2]),
            [compute.waited_for(row) for row in waited],
            await self._utilization(connection),
        )

    def _pool_utilization(self) -> float:
        """Tell which part of the pool is in use, without the connection that asks."""
        busy = self._pool.get_size() - self._pool.get_idle_size() - 1
        return round(max(busy, 0) / self._pool.get_max_size(), 4)

    @asynccontextmanager
    async def _analysis(self) -> AsyncIterator[Connection]:
        """Read from one snapshot; one analysis at a time, on one core, each statement in time."""
        async with (
            self._analysing,
            self._connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            most = int(TIMEOUT.total_seconds() * 1000)
            await connection.execute(f"set local statement_timeout = {most}")
            await connection.execute("set local max_parallel_workers_per_gather = 0")
            try:
                yield connection
            except asyncpg.QueryCanceledError:
                raise too_long() from None


async def _period(connection: Connection, window: Window) -> Period:
    now = datetime.now(UTC)  # as the ids of tasks are made by the processes' clocks
    if window.everything:
        return Period(window, now, None)
    rows = await fetch(
        connection,
        "template_ids",
        namespace=window.namespace,
        name=window.name,
        version=window.version,
        visible=None if window.visible is None else sorted(window.visible),
    )
    return Period(window, now, [row[0] for row in rows])


def _sample(period: Period) -> dict[str, Any]:
    return {"since": period.since, "templates": period.templates, "most": MOST_TASKS}


async def _counted(connection: Connection, period: Period) -> Counted:
    sample = _sample(period)
    tasks = await fetch_one(connection, "task_figures", last_hour=period.last_hour, **sample)
    attempts = await fetch_one(connection, "attempt_figures", most_attempts=MOST_ATTEMPTS, **sample)
    start = period.start(tasks[17], counted=tasks[0], most=MOST_TASKS)
    attempt_start = period.start(attempts[7], counted=attempts[0], most=MOST_ATTEMPTS)
    return Counted(tasks, start, attempts, max(start, attempt_start))
