"""Rows to figures: both stores' statements on performance return the same columns."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tasker import codec
from tasker.analytics.model import (
    Bottlenecks,
    ErrorPattern,
    Performance,
    Retries,
    Spread,
    StepFigures,
    TaskFigures,
    Utilization,
    WaitedFor,
    Window,
    per_hour,
    recommendations,
    share,
    worst,
)
from tasker.model import TaskId
from tasker.store.rows import Row

Instant = Callable[[Any], datetime]


class Period(NamedTuple):
    """A window, as a store asks for it."""

    window: Window
    now: datetime
    templates: Sequence[int] | None  #: None: all

    @property
    def since(self) -> str:
        """The lowest id that belongs to it."""
        return codec.first_task_id(self.now - timedelta(hours=self.window.hours))

    @property
    def last_hour(self) -> str:
        """The lowest id of the last hour."""
        return codec.first_task_id(self.now - timedelta(hours=1))

    def start(self, oldest: str | None, *, counted: int, most: int) -> datetime:
        """Tell from when on figures hold: later than the window where rows were left out."""
        begin = self.now - timedelta(hours=self.window.hours)
        if oldest is None or counted < most:
            return begin
        return max(begin, codec.creation_time(TaskId(oldest)))


class Counted(NamedTuple):
    """`task_figures` and `attempt_figures`, and from when on they hold."""

    tasks: Row
    task_start: datetime
    attempts: Row
    attempt_start: datetime


def performance(period: Period, counted: Counted) -> Performance:
    tasks, attempts = counted.tasks, counted.attempts
    total, completed, failed = tasks[0], tasks[2] + tasks[5], tasks[3]
    return Performance(
        total_tasks=total,
        active_tasks=tasks[1],
        completed_tasks=completed,
        failed_tasks=failed,
        cancelled_tasks=tasks[4],
        completion_rate=round(100 * completed / total, 2) if total else 0.0,
        error_rate=round(100 * failed / total, 2) if total else 0.0,
        task_duration=_spread(tasks[10:14]),
        step_duration=_spread(attempts[3:7]),
        tasks_per_hour=per_hour(total, counted.task_start, period.now),
        steps_per_hour=per_hour(attempts[1], counted.attempt_start, period.now),
        system_health_score=share(tasks[6], tasks[6] + tasks[7], nothing=1.0),
        total_namespaces=tasks[8],
        unique_task_types=tasks[9],
        analysis_period_start=counted.task_start,
        step_period_start=counted.attempt_start,
        calculated_at=period.now,
    )


class Findings(NamedTuple):
    """What else `bottlenecks` reads."""

    steps: list[StepFigures]
    slow_tasks: list[TaskFigures]
    patterns: list[ErrorPattern]
    retries: Retries
    waited_for: list[WaitedFor]
    utilization: Utilization


def bottlenecks(period: Period, counted: Counted, found: Findings, limit: int) -> Bottlenecks:
    tasks, attempts = counted.tasks, counted.attempts
    names = ("active", "complete", "error", "cancelled", "resolved_manually")
    return Bottlenecks(
        total_tasks=tasks[0],
        unique_task_types=tasks[9],
        task_states=dict(zip(names, tasks[1:6], strict=True)),
        task_duration=_spread(tasks[10:14]),
        distribution=dict(zip(("0-10s", "10-30s", "30s+"), tasks[14:17], strict=True)),
        slow_steps=worst(found.steps, "average_duration_seconds", limit, least=-1.0),
        failing_steps=worst(found.steps, "error_rate", limit),
        retried_steps=worst(found.steps, "retry_count", limit),
        slow_tasks=tuple(found.slow_tasks),
        total_errors=attempts[2],
        recent_error_rate=share(attempts[2], attempts[0]),
        error_patterns=tuple(found.patterns),
        retries=found.retries,
        waited_for=tuple(found.waited_for),
        utilization=found.utilization,
        recommendations=recommendations(
            steps=found.steps,
            patterns=found.patterns,
            total_errors=attempts[2],
            retries=found.retries,
            waited_for=found.waited_for,
            utilization=found.utilization,
        ),
        analysis_period_start=counted.task_start,
        step_period_start=counted.attempt_start,
        calculated_at=period.now,
    )


def step(row: Row, instant: Instant) -> StepFigures:
    return StepFigures(
        namespace_name=row[0],
        task_name=row[1],
        version=row[2],
        step_name=row[3],
        average_duration_seconds=_seconds(row[4]),
        max_duration_seconds=_seconds(row[5]),
        execution_count=row[6],
        error_count=row[7],
        retry_count=row[8],
        error_rate=share(row[7], row[6]),
        last_executed_at=instant(row[9]),
    )


def task(row: Row, instant: Instant) -> TaskFigures:
    return TaskFigures(
        namespace_name=row[0],
        task_name=row[1],
        version=row[2],
        average_duration_seconds=_seconds(row[3]),
        max_duration_seconds=_seconds(row[4]),
        execution_count=row[5],
        average_step_count=round(float(row[6]), 2),
        error_count=row[7],
        error_rate=share(row[7], row[5]),
        last_executed_at=instant(row[8]),
    )


def pattern(row: Row, instant: Instant) -> ErrorPattern:
    return ErrorPattern(
        error_type=str(row[0]),
        error_code=None if row[1] is None else str(row[1]),
        count=row[2],
        final_count=row[3],
        last_seen_at=instant(row[4]),
    )


def waited_for(row: Row) -> WaitedFor:
    return WaitedFor(
        namespace_name=row[0],
        task_name=row[1],
        version=row[2],
        step_name=row[3],
        tasks=row[4],
        failed_tasks=row[5],
        waiting_steps=row[6],
        average_wait_seconds=_seconds(row[7]),
    )


def _spread(row: Row) -> Spread:
    return Spread(
        average=_seconds(row[0]), p50=_seconds(row[1]), p95=_seconds(row[2]), p99=_seconds(row[3])
    )


def _seconds(value: Any) -> float:
    return round(float(value), 6)
