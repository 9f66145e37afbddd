"""Computes statistics from rows. The SQL of both stores returns the same columns."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tasker import codec
from tasker.analytics.model import (
    AnalysisWindow,
    BlockingStep,
    Bottlenecks,
    DurationStatistics,
    ErrorPattern,
    Performance,
    RetryStatistics,
    StepFigures,
    StoreLoad,
    TaskFigures,
    make_recommendations,
    rate_per_hour,
    rounded_share,
    top_steps_by,
)
from tasker.model import TaskId
from tasker.store.rows import Row

Instant = Callable[[Any], datetime]


class ResolvedWindow(NamedTuple):
    """A window in the form in which a store queries it."""

    window: AnalysisWindow
    now: datetime
    templates: Sequence[int] | None  #: None: all

    @property
    def lowest_task_id(self) -> str:
        """The lowest task id in the window."""
        return codec.lowest_task_id_at(self.now - timedelta(hours=self.window.hours))

    @property
    def lowest_task_id_of_last_hour(self) -> str:
        """The lowest task id of the last hour."""
        return codec.lowest_task_id_at(self.now - timedelta(hours=1))

    def counted_period_start(self, oldest: str | None, *, counted: int, most: int) -> datetime:
        """Return the start of the period that the counted rows cover.

        It is the start of the window or, if rows were omitted, the time of the `oldest` one.
        """
        begin = self.now - timedelta(hours=self.window.hours)
        if oldest is None or counted < most:
            return begin
        return max(begin, codec.task_id_time(TaskId(oldest)))


class WindowCounts(NamedTuple):
    """The rows of `task_statistics` and `attempt_statistics`, and the start of the period that each
    covers."""

    tasks: Row
    task_start: datetime
    attempts: Row
    attempt_start: datetime


def compute_performance(period: ResolvedWindow, counted: WindowCounts) -> Performance:
    """Return counts, rates and durations of a window's tasks, from the rows of a store."""
    tasks, attempts = counted.tasks, counted.attempts
    total, failed = tasks["total"], tasks["failed"]
    completed = tasks["complete"] + tasks["resolved"]
    return Performance(
        total_tasks=total,
        active_tasks=tasks["active"],
        completed_tasks=completed,
        failed_tasks=failed,
        cancelled_tasks=tasks["cancelled"],
        completion_rate=round(100 * completed / total, 2) if total else 0.0,
        error_rate=round(100 * failed / total, 2) if total else 0.0,
        task_duration=_make_duration_statistics(tasks),
        step_duration=_make_duration_statistics(attempts),
        tasks_per_hour=rate_per_hour(total, counted.task_start, period.now),
        steps_per_hour=rate_per_hour(attempts["complete"], counted.attempt_start, period.now),
        system_health_score=_last_hour_success_share(tasks),
        total_namespaces=tasks["namespaces"],
        unique_task_types=tasks["types"],
        analysis_period_start=counted.task_start,
        step_period_start=counted.attempt_start,
        calculated_at=period.now,
    )


class BottleneckInputs(NamedTuple):
    """What `compute_bottlenecks` needs besides the counts: figures, errors and the store's load."""

    steps: list[StepFigures]
    slow_tasks: list[TaskFigures]
    patterns: list[ErrorPattern]
    retries: RetryStatistics
    blocking_steps: list[BlockingStep]
    utilization: StoreLoad


def compute_bottlenecks(
    period: ResolvedWindow, counted: WindowCounts, findings: BottleneckInputs, limit: int
) -> Bottlenecks:
    """Return what slows the tasks of a window down; lists of steps have at most `limit` entries."""
    tasks, attempts = counted.tasks, counted.attempts
    return Bottlenecks(
        total_tasks=tasks["total"],
        unique_task_types=tasks["types"],
        tasks_by_status={
            "active": tasks["active"],
            "complete": tasks["complete"],
            "error": tasks["failed"],
            "cancelled": tasks["cancelled"],
            "resolved_manually": tasks["resolved"],
        },
        task_duration=_make_duration_statistics(tasks),
        distribution={
            "0-10s": tasks["quick"],
            "10-30s": tasks["middling"],
            "30s+": tasks["slow"],
        },
        slow_steps=top_steps_by(findings.steps, "average_seconds", limit, least=-1.0),
        failing_steps=top_steps_by(findings.steps, "error_rate", limit),
        retried_steps=top_steps_by(findings.steps, "retry_count", limit),
        slow_tasks=tuple(findings.slow_tasks),
        total_errors=attempts["failed"],
        recent_error_rate=rounded_share(attempts["failed"], attempts["total"]),
        error_patterns=tuple(findings.patterns),
        retries=findings.retries,
        blocking_steps=tuple(findings.blocking_steps),
        utilization=findings.utilization,
        recommendations=make_recommendations(
            steps=findings.steps,
            patterns=findings.patterns,
            total_errors=attempts["failed"],
            retries=findings.retries,
            blocking_steps=findings.blocking_steps,
            utilization=findings.utilization,
        ),
        analysis_period_start=counted.task_start,
        step_period_start=counted.attempt_start,
        calculated_at=period.now,
    )


def step_figures_from_row(row: Row, to_instant: Instant) -> StepFigures:
    return StepFigures(
        namespace=row["namespace"],
        name=row["name"],
        version=row["version"],
        step=row["step"],
        average_duration_seconds=_round_to_microseconds(row["average"]),
        max_duration_seconds=_round_to_microseconds(row["longest"]),
        average_parked_seconds=_round_to_microseconds(row["parked"] / max(row["executions"], 1)),
        execution_count=row["executions"],
        error_count=row["errors"],
        retry_count=row["retries"],
        error_rate=rounded_share(row["errors"], row["executions"]),
        last_executed_at=to_instant(row["last_executed_at"]),
    )


def task_figures_from_row(row: Row, to_instant: Instant) -> TaskFigures:
    return TaskFigures(
        namespace=row["namespace"],
        name=row["name"],
        version=row["version"],
        average_duration_seconds=_round_to_microseconds(row["average"]),
        max_duration_seconds=_round_to_microseconds(row["longest"]),
        execution_count=row["executions"],
        average_step_count=round(float(row["steps"]), 2),
        error_count=row["errors"],
        error_rate=rounded_share(row["errors"], row["executions"]),
        last_executed_at=to_instant(row["last_executed_at"]),
    )


def error_pattern_from_row(row: Row, to_instant: Instant) -> ErrorPattern:
    return ErrorPattern(
        error_type=str(row["type"]),
        error_code=None if row["code"] is None else str(row["code"]),
        count=row["count"],
        final_count=row["final"],
        last_seen_at=to_instant(row["last_seen_at"]),
    )


def blocking_step_from_row(row: Row) -> BlockingStep:
    return BlockingStep(
        namespace=row["namespace"],
        name=row["name"],
        version=row["version"],
        step=row["step"],
        tasks=row["tasks"],
        failed_tasks=row["failed"],
        waiting_steps=row["waiting"],
        average_wait_seconds=_round_to_microseconds(row["average"]),
    )


def _last_hour_success_share(tasks: Row) -> float:
    """Return the share of the last hour's ended tasks that succeeded."""
    done, failed = tasks["lately_done"], tasks["lately_failed"]
    return rounded_share(done, done + failed, nothing=1.0)


def _make_duration_statistics(row: Row) -> DurationStatistics:
    return DurationStatistics(
        average=_round_to_microseconds(row["average"]),
        p50=_round_to_microseconds(row["p50"]),
        p95=_round_to_microseconds(row["p95"]),
        p99=_round_to_microseconds(row["p99"]),
    )


def _round_to_microseconds(value: Any) -> float:
    return round(float(value), 6)
