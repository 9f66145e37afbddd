"""Health and analytics in answers."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, NotRequired

from typing_extensions import TypedDict

from tasker.analytics.model import Bottlenecks, Performance
from tasker.api.views import documented


@documented
class HealthAnswer(TypedDict):
    """That the server is there."""

    status: str
    """`healthy`, or `alive`."""
    timestamp: datetime
    service: str
    version: str


@documented
class CheckAnswer(TypedDict):
    """One thing that the server needs."""

    status: str
    """`healthy` or `unhealthy`."""
    duration_ms: float
    message: NotRequired[str]


@documented
class ReadinessAnswer(TypedDict):
    """That the server can do its work."""

    status: str
    """`ready`."""
    ready: bool
    timestamp: datetime
    checks: dict[str, CheckAnswer]
    failed_checks: list[str]


@documented
class SpreadAnswer(TypedDict):
    """Durations in seconds."""

    average: float
    p50: float
    p95: float
    p99: float


@documented
class PerformanceAnswer(TypedDict):
    """How the tasks of a window fared."""

    total_tasks: int
    active_tasks: int
    completed_tasks: int
    failed_tasks: int
    cancelled_tasks: int
    completion_rate: float
    """Percent of all tasks."""
    error_rate: float
    """Percent of all tasks."""
    average_task_duration_seconds: float
    average_step_duration_seconds: float
    task_duration: SpreadAnswer
    """From creation to completion, waiting included."""
    step_duration: SpreadAnswer
    """Of attempts that completed."""
    tasks_per_hour: float
    steps_per_hour: float
    system_health_score: float
    """Completed of completed and failed, of the last hour; 1 without any."""
    total_namespaces: int
    unique_task_types: int
    analysis_period_start: datetime
    step_period_start: datetime
    calculated_at: datetime


@documented
class StepFiguresAnswer(TypedDict):
    """How one step of a template fared."""

    namespace_name: str
    task_name: str
    version: str
    step_name: str
    average_duration_seconds: float
    max_duration_seconds: float
    execution_count: int
    error_count: int
    retry_count: int
    error_rate: float
    last_executed_at: datetime


@documented
class TaskFiguresAnswer(TypedDict):
    """How the tasks of one template fared."""

    namespace_name: str
    task_name: str
    version: str
    average_duration_seconds: float
    max_duration_seconds: float
    execution_count: int
    average_step_count: float
    error_count: int
    error_rate: float
    last_executed_at: datetime


class ErrorPatternAnswer(TypedDict):
    error_type: str
    error_code: str | None
    count: int
    final_count: int
    last_seen_at: datetime


class RetriesAnswer(TypedDict):
    retried_steps: int
    succeeded: int
    failed: int
    success_rate: float


class WaitedForAnswer(TypedDict):
    namespace_name: str
    task_name: str
    version: str
    step_name: str
    tasks: int
    failed_tasks: int
    waiting_steps: int
    average_wait_seconds: float


class UtilizationAnswer(TypedDict):
    database_pool_utilization: float
    due_steps: int
    scheduled_steps: int
    running_steps: int


@documented
class BottlenecksAnswer(TypedDict):
    """What holds the tasks of a window up."""

    total_tasks: int
    unique_task_types: int
    task_states: dict[str, int]
    task_duration: SpreadAnswer
    distribution: dict[str, int]
    slow_steps: list[StepFiguresAnswer]
    failing_steps: list[StepFiguresAnswer]
    retried_steps: list[StepFiguresAnswer]
    slow_tasks: list[TaskFiguresAnswer]
    total_errors: int
    recent_error_rate: float
    error_patterns: list[ErrorPatternAnswer]
    retries: RetriesAnswer
    waited_for: list[WaitedForAnswer]
    resource_utilization: UtilizationAnswer
    recommendations: list[str]
    analysis_period_start: datetime
    step_period_start: datetime
    calculated_at: datetime


def performance_answer(found: Performance) -> dict[str, Any]:
    """Write a `PerformanceAnswer`."""
    return {
        **asdict(found),
        "average_task_duration_seconds": found.average_task_duration_seconds,
        "average_step_duration_seconds": found.average_step_duration_seconds,
    }


def bottlenecks_answer(found: Bottlenecks) -> dict[str, Any]:
    """Write a `BottlenecksAnswer`."""
    facts = asdict(found)
    facts["resource_utilization"] = facts.pop("utilization")
    facts["retries"]["success_rate"] = found.retries.success_rate
    return facts
