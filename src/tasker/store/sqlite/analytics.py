"""How work went lately: read beside the writer, in bounds."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

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
from tasker.clock import Clock
from tasker.store.sqlite.driver import READ, Driver, fetch, fetch_one, json_text
from tasker.store.sqlite.thread import translated

T = TypeVar("T")
_MEMORY_SHARE = 10  #: in memory the writer itself reads, so it reads a part of that only
_LOOK_EVERY = 10_000  #: instructions of SQLite between looks at the time


class Analytics(Driver):
    """How work went lately: read beside the writer, in bounds."""

    def __init__(self, url: str = "sqlite", *, clock: Clock | None = None) -> None:
        super().__init__(url, clock=clock)
        self._analysing = asyncio.Lock()

    async def performance(self, window: Window) -> Performance:
        now, limits = self._clock.now(), self._limits()

        def measure(on: sqlite3.Connection) -> Performance:
            period = _period(on, window, now)
            return compute.performance(period, _counted(on, period, *limits))

        return await self._analyse(measure)

    async def bottlenecks(
        self, window: Window, *, limit: int = 10, min_executions: int = 3
    ) -> Bottlenecks:
        now, limits = self._clock.now(), self._limits()

        def look(on: sqlite3.Connection) -> Bottlenecks:
            period = _period(on, window, now)
            counted = _counted(on, period, *limits)
            found = _findings(on, period, limit, min_executions, *limits)
            return compute.bottlenecks(period, counted, found, limit)

        return await self._analyse(look)

    async def backlog(self) -> Utilization:
        now, (_, most) = self._clock.now().timestamp(), self._limits()
        return await self._analyse(lambda on: _utilization(on, now, most))

    def _limits(self) -> tuple[int, int]:
        """Tell how many tasks and attempts are looked at."""
        part = 1 if self.address.path is not None else _MEMORY_SHARE
        return MOST_TASKS // part, MOST_ATTEMPTS // part

    async def _analyse(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read from one snapshot: of a file, on a connection of its own."""
        if self.address.path is None:
            return await self._read(lambda on: _in_time(on, work))
        path = self.address.path

        def read() -> T:
            try:
                connection = sqlite3.connect(path, isolation_level=None, timeout=10)
                try:
                    connection.execute("pragma query_only = on")
                    connection.execute("pragma temp_store = memory")
                    connection.execute("begin")
                    return _in_time(connection, work)
                finally:
                    connection.close()
            except sqlite3.Error as error:
                raise translated(error, self.url) from None

        async with self._analysing:
            return await asyncio.to_thread(read)


def _in_time(on: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Do some reading, and stop it when it takes too long."""
    end = time.monotonic() + TIMEOUT.total_seconds()
    on.set_progress_handler(lambda: time.monotonic() > end, _LOOK_EVERY)
    try:
        return work(on)
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            raise too_long() from None
        raise
    finally:
        on.set_progress_handler(None, 0)


def _period(on: sqlite3.Connection, window: Window, now: datetime) -> Period:
    if window.everything:
        return Period(window, now, None)
    rows = fetch(
        on,
        "template_ids",
        namespace=window.namespace,
        name=window.name,
        version=window.version,
        visible=None if window.visible is None else json_text(sorted(window.visible)),
    )
    return Period(window, now, [row[0] for row in rows])


def _sample(period: Period, most: int) -> dict[str, Any]:
    templates = None if period.templates is None else json_text(period.templates)
    return {"since": period.since, "templates": templates, "most": most}


def _counted(on: sqlite3.Connection, period: Period, most: int, most_attempts: int) -> Counted:
    sample = _sample(period, most)
    tasks = fetch_one(on, "task_figures", last_hour=period.last_hour, **sample)
    attempts = fetch_one(on, "attempt_figures", most_attempts=most_attempts, **sample)
    start = period.start(tasks[17], counted=tasks[0], most=most)
    attempt_start = period.start(attempts[7], counted=attempts[0], most=most_attempts)
    return Counted(tasks, start, attempts, max(start, attempt_start))


def _findings(
    on: sqlite3.Connection,
    period: Period,
    limit: int,
    min_executions: int,
    most: int,
    most_attempts: int,
) -> Findings:
    now = period.now.timestamp()
    tasks = _sample(period, most)
    attempts = {**tasks, "most_attempts": most_attempts}
    steps = fetch(
        on,
        "step_figures",
        min_executions=min_executions,
        most_kinds=MOST_STEP_KINDS,
        **attempts,
    )
    slow = fetch(on, "slow_tasks", min_executions=min_executions, limit=limit, **tasks)
    patterns = fetch(on, "error_patterns", limit=limit, **attempts)
    retries = fetch_one(on, "retry_figures", **attempts)
    waited = fetch(on, "waited_for", most_steps=most_attempts, limit=limit, now=now, **tasks)
    return Findings(
        [compute.step(row, READ.instant) for row in steps],
        [compute.task(row, READ.instant) for row in slow],
        [compute.pattern(row, READ.instant) for row in patterns],
        Retries(retried_steps=retries[0], succeeded=retries[1], failed=retries[2]),
        [compute.waited_for(row) for row in waited],
        _utilization(on, now, most_attempts),
    )


def _utilization(on: sqlite3.Connection, now: float, most: int) -> Utilization:
    backlog = fetch_one(on, "backlog", most=most, now=now)
    return Utilization(
        database_pool_utilization=0.0,
        due_steps=backlog[0],
        scheduled_steps=backlog[1],
        running_steps=backlog[2],
    )
