"""Statistics on recent work, read from a snapshot with a bounded number of rows."""

from abc import abstractmethod
from typing import Any, NamedTuple

from tasker.analytics import compute
from tasker.analytics.compute import BottleneckRows, Period, WindowCounts
from tasker.analytics.failures import FailedStep
from tasker.analytics.model import (
    MOST_ATTEMPTS,
    MOST_STEP_KINDS,
    MOST_TASKS,
    Backlog,
    Bottlenecks,
    Performance,
    Retries,
    Utilization,
    Window,
)
from tasker.store.operations.templates import template_ids
from tasker.store.session import Session, Sessions, T, Transaction


class Bounds(NamedTuple):
    """Maximum numbers of rows that one analysis reads."""

    tasks: int
    attempts: int


class Analytics(Sessions):
    """Implements `tasker.store.protocol.AnalyticsStore`."""

    async def failed_steps(self, window: Window, *, limit: int = 1000) -> list[FailedStep]:
        async def find(tx: Session) -> list[FailedStep]:
            period = await _period_of(tx, window)
            rows = await tx.all(
                "failed_steps",
                templates=period.templates,
                since=period.lowest_task_id,
                limit=limit,
            )
            return [tx.read.failed_step(row) for row in rows]

        return await self._read(find)

    async def performance(self, window: Window) -> Performance:
        bounds = self._bounds()

        async def measure(tx: Session) -> Performance:
            period = await _period_of(tx, window)
            return compute.compute_performance(period, await _window_counts(tx, period, bounds))

        return await self._analyse(measure)

    async def bottlenecks(
        self, window: Window, *, limit: int = 10, min_executions: int = 1
    ) -> Bottlenecks:
        bounds = self._bounds()

        async def search(tx: Session) -> Bottlenecks:
            period = await _period_of(tx, window)
            counted = await _window_counts(tx, period, bounds)
            findings = await self._read_bottleneck_rows(tx, period, limit, min_executions)
            return compute.compute_bottlenecks(period, counted, findings, limit)

        return await self._analyse(search)

    async def backlog(self) -> Utilization:
        return await self._analyse(self._utilization)

    async def queue_backlog(self) -> list[Backlog]:
        async def count(tx: Session) -> list[Backlog]:
            rows = await tx.all("queue_backlog", most=self._bounds().attempts)
            return [Backlog(*(row[field] for field in Backlog._fields)) for row in rows]

        return await self._analyse(count)

    @abstractmethod
    async def _analyse(self, transaction: Transaction[T]) -> T:
        """Run one analysis at a time on a snapshot, with a time limit.

        Raises: StoreUnavailable (the time limit was exceeded).
        """

    @abstractmethod
    def _pool_utilization(self) -> float:
        """Return the share of connections in use, excluding the caller's."""

    def _bounds(self) -> Bounds:
        return Bounds(MOST_TASKS, MOST_ATTEMPTS)

    async def _read_bottleneck_rows(
        self, tx: Session, period: Period, limit: int, min_executions: int
    ) -> BottleneckRows:
        bounds = self._bounds()
        tasks = _sample_parameters(period, bounds)
        attempts = {**tasks, "most_attempts": bounds.attempts}
        steps = await tx.all(
            "step_figures", min_executions=min_executions, most_kinds=MOST_STEP_KINDS, **attempts
        )
        slow = await tx.all("slow_tasks", min_executions=min_executions, limit=limit, **tasks)
        patterns = await tx.all("error_patterns", limit=limit, **attempts)
        (retries,) = await tx.all("retry_figures", **attempts)
        waited = await tx.all("waited_for", most_steps=bounds.attempts, limit=limit, **tasks)
        return BottleneckRows(
            [compute.step_figures(row, tx.read.instant) for row in steps],
            [compute.task_figures(row, tx.read.instant) for row in slow],
            [compute.error_pattern(row, tx.read.instant) for row in patterns],
            Retries(
                retried_steps=retries["retried"],
                succeeded=retries["succeeded"],
                failed=retries["failed"],
            ),
            [compute.blocking_step(row) for row in waited],
            await self._utilization(tx),
        )

    async def _utilization(self, tx: Session) -> Utilization:
        (backlog,) = await tx.all("backlog", most=self._bounds().attempts)
        return Utilization(
            database_pool_utilization=self._pool_utilization(),
            due_steps=backlog["due"],
            scheduled_steps=backlog["scheduled"],
            running_steps=backlog["running"],
            steps_without_worker=backlog["without_worker"],
        )


async def _period_of(tx: Session, window: Window) -> Period:
    if window.is_unfiltered:
        return Period(window, tx.now, None)
    templates = await template_ids(
        tx, window.namespace, window.name, window.version, visible=window.visible
    )
    return Period(window, tx.now, templates)


def _sample_parameters(period: Period, bounds: Bounds) -> dict[str, Any]:
    return {"since": period.lowest_task_id, "templates": period.templates, "most": bounds.tasks}


async def _window_counts(tx: Session, period: Period, bounds: Bounds) -> WindowCounts:
    sample = _sample_parameters(period, bounds)
    (tasks,) = await tx.all("task_figures", last_hour=period.lowest_task_id_of_last_hour, **sample)
    (attempts,) = await tx.all("attempt_figures", most_attempts=bounds.attempts, **sample)
    start = period.covered_start(tasks["oldest"], counted=tasks["total"], most=bounds.tasks)
    attempt_start = period.covered_start(
        attempts["oldest"], counted=attempts["total"], most=bounds.attempts
    )
    return WindowCounts(tasks, start, attempts, max(start, attempt_start))
