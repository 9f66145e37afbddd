"""Responses in the forms of the Rust core's API."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from typing_extensions import TypedDict

from tasker.analytics.model import Bottlenecks, Performance, StepFigures, TaskFigures
from tasker.api.compat.errors import CORE
from tasker.api.compat.requests import parent_correlation_id, source_system
from tasker.api.views import documented
from tasker.client.templates import LoadedTemplate
from tasker.derive import derive_statuses
from tasker.model import (
    STEP_ENDED,
    Attempt,
    AttemptOutcome,
    Json,
    Step,
    StepSpec,
    StepStatus,
    StoredTemplate,
    Task,
    TaskId,
    TemplateName,
)


class CoreStepReadinessFields(TypedDict):
    """The state of a step, and whether it can run."""

    name: str
    current_state: str
    dependencies_satisfied: bool
    retry_eligible: bool
    ready_for_execution: bool
    last_failure_at: datetime | None
    next_retry_at: datetime | None
    total_parents: int
    completed_parents: int
    attempts: int
    max_attempts: int
    last_attempted_at: datetime | None


@documented
class CoreStepReadiness(CoreStepReadinessFields):
    """A step of a task, with what decides whether it can run."""

    workflow_step_uuid: str
    """A UUID derived from the task's id and the step's name."""
    task_uuid: str
    named_step_uuid: str
    """A UUID that is the same for this step in all tasks of a template version."""
    backoff_request_seconds: int | None
    """Always null."""


class CoreStep(CoreStepReadinessFields):
    """One step of one task."""

    step_uuid: str
    task_uuid: str
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    results: Any


class CoreTaskWithoutContext(TypedDict):
    """A task without its context."""

    task_uuid: str
    name: str
    namespace: str
    version: str
    status: str
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    initiator: str
    source_system: str
    reason: str
    correlation_id: str
    total_steps: int
    pending_steps: int
    in_progress_steps: int
    completed_steps: int
    failed_steps: int
    execution_status: str
    recommended_action: str
    completion_percentage: float
    health_status: str


@documented
class CoreTask(CoreTaskWithoutContext):
    """One task."""

    context: Any
    priority: int | None
    """Always null."""
    tags: list[str]
    parent_correlation_id: str | None
    ready_steps: int
    steps: list[CoreStepReadiness]
    """The steps; empty in lists and in responses to creation requests."""


@documented
class CorePagination(TypedDict):
    """The position of a page in a list."""

    page: int
    per_page: int
    total_count: int
    """The number of tasks up to and including this page, plus one if there is a next page."""
    total_pages: int
    """The number of pages up to and including this one, plus one if there is a next page."""
    has_next: bool
    has_previous: bool


class CoreTaskList(TypedDict):
    """Tasks, newest first."""

    tasks: list[CoreTask]
    pagination: CorePagination


class CoreStepErrorSummary(TypedDict):
    """The kind of a step's error."""

    error_type: str | None
    retryable: bool
    status_code: int | None


class CoreSummaryStep(TypedDict):
    step_uuid: str
    name: str
    current_state: str
    created_at: datetime
    completed_at: datetime | None
    last_attempted_at: datetime | None
    attempts: int
    max_attempts: int
    dependencies_satisfied: bool
    retry_eligible: bool
    error: CoreStepErrorSummary | None


class CoreSummaryStepSpec(TypedDict):
    name: str
    step_type: str
    handler: str
    dependencies: list[str]
    retryable: bool
    max_attempts: int


class CoreSummaryTemplate(TypedDict):
    steps: list[CoreSummaryStepSpec]


class CoreTaskLinks(TypedDict):
    task: str
    steps: str


class CoreTaskSummary(TypedDict):
    """The status of a task and its steps, without context and results."""

    task: CoreTaskWithoutContext
    template: CoreSummaryTemplate
    steps: list[CoreSummaryStep]
    links: CoreTaskLinks


@documented
class CoreStepAttempt(TypedDict):
    """One finished attempt of a step."""

    audit_uuid: str
    workflow_step_uuid: str
    transition_uuid: str
    task_uuid: str
    recorded_at: datetime
    worker_uuid: None
    correlation_id: str
    success: bool
    execution_time_ms: int | None
    result: Any
    """The step's result if this attempt produced it; otherwise null."""
    step_name: str
    from_state: str
    to_state: str


class CoreNamespace(TypedDict):
    name: str
    description: str
    template_count: int


class CoreTemplate(TypedDict):
    """One template version in a list."""

    name: str
    namespace: str
    version: str
    description: str
    step_count: int


class CoreTemplateList(TypedDict):
    """Approved template versions."""

    namespaces: list[CoreNamespace]
    templates: list[CoreTemplate]
    total_count: int


class CoreStepSpec(TypedDict):
    name: str
    description: str
    default_retryable: bool
    default_max_attempts: int
    result_schema: Any


@documented
class CoreTemplateDetail(TypedDict):
    """One template version."""

    name: str
    namespace: str
    version: str
    description: str
    configuration: None
    """Always null."""
    steps: list[CoreStepSpec]


class CorePerformance(TypedDict):
    """Durations, rates and outcomes of the tasks of the last hours."""

    total_tasks: int
    active_tasks: int
    completed_tasks: int
    failed_tasks: int
    completion_rate: float
    error_rate: float
    average_task_duration_seconds: float
    average_step_duration_seconds: float
    tasks_per_hour: int
    steps_per_hour: int
    system_health_score: float
    analysis_period_start: datetime
    calculated_at: datetime


class CoreResourceUtilization(TypedDict):
    database_pool_utilization: float
    system_health: dict[str, int]


class CoreSlowTask(TypedDict):
    """Durations and counts of the tasks of one template."""

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


class CoreSlowStep(TypedDict):
    """Durations and counts of one step of a template."""

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


class CoreBottlenecks(TypedDict):
    """Slow steps and tasks."""

    slow_steps: list[CoreSlowStep]
    slow_tasks: list[CoreSlowTask]
    resource_utilization: CoreResourceUtilization
    recommendations: list[str]


def step_uuid(task_id: TaskId, name: str) -> str:
    """Return the UUID that identifies a step."""
    return str(uuid5(UUID(task_id), name))


@lru_cache(maxsize=4096)
def _template_step_uuid(template: TemplateName, step: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"tasker:{template}/{step}"))


def core_step_readiness(task: Task, step: Step) -> CoreStepReadiness:
    """Return a step with what decides whether it can run."""
    return {
        **_core_step_readiness_fields(step),
        "workflow_step_uuid": step_uuid(task.id, step.name),
        "task_uuid": task.id,
        "named_step_uuid": _template_step_uuid(task.template, step.name),
        "backoff_request_seconds": None,
    }


def core_step(task: Task, step: Step) -> CoreStep:
    """Return a step in the form of the Rust core."""
    return {
        **_core_step_readiness_fields(step),
        "step_uuid": step_uuid(task.id, step.name),
        "task_uuid": task.id,
        "created_at": task.created_at,
        "updated_at": max(
            at for at in (task.created_at, step.claimed_at, step.settled_at) if at is not None
        ),
        "completed_at": step.settled_at if step.status in STEP_ENDED else None,
        "results": step.result,
    }


def _core_step_readiness_fields(step: Step) -> CoreStepReadinessFields:
    parents = len(step.dependencies)
    return {
        "name": step.name,
        "current_state": step.status.value,
        "dependencies_satisfied": step.pending_parents == 0,
        "retry_eligible": step.status not in STEP_ENDED and step.attempts < step.max_attempts,
        "ready_for_execution": step.ready,
        "last_failure_at": None if step.error is None else step.settled_at,
        "next_retry_at": step.run_at if step.status is StepStatus.WAITING_FOR_RETRY else None,
        "total_parents": parents,
        "completed_parents": max(parents - step.pending_parents, 0),
        "attempts": step.attempts,
        "max_attempts": step.max_attempts,
        "last_attempted_at": step.claimed_at,
    }


def core_task_without_context(task: Task) -> CoreTaskWithoutContext:
    """Return a task without its context, in the form of the Rust core."""
    counts, derived = task.counts, derive_statuses(task)
    unserved = derived.execution_status == "no_worker"  # a status unknown to its clients
    return {
        "task_uuid": task.id,
        "name": task.name,
        "namespace": task.namespace,
        "version": task.version,
        "status": task.status.value,
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "completed_at": task.ended_at,
        "initiator": task.created_by or "unknown",
        "source_system": source_system(task),
        "reason": task.reason or "unknown",
        "correlation_id": task.correlation_id,
        "total_steps": counts.total,
        "pending_steps": counts.pending + counts.waiting + counts.waiting_for_retry,
        "in_progress_steps": counts.in_progress,
        "completed_steps": counts.done,
        "failed_steps": counts.error,
        "execution_status": "has_ready_steps" if unserved else derived.execution_status,
        "recommended_action": "execute_ready_steps" if unserved else derived.recommended_action,
        "completion_percentage": derived.completion_percentage,
        "health_status": "healthy" if unserved else derived.health_status,
    }


def core_task(task: Task, steps: Sequence[Step] = ()) -> CoreTask:
    """Return a task in the form of the Rust core, with its steps if they are given."""
    return {
        **core_task_without_context(task),
        "context": task.context,
        "priority": None,
        "tags": list(task.tags),
        "parent_correlation_id": parent_correlation_id(task),
        "ready_steps": task.counts.enqueued,
        "steps": [core_step_readiness(task, step) for step in steps],
    }


def core_task_page(tasks: Sequence[Task], page: int, per_page: int) -> CoreTaskList:
    """Return a page of tasks; `tasks` contains all tasks up to the end of the page and one more."""
    start, end = (page - 1) * per_page, page * per_page
    return {
        "tasks": [core_task(task) for task in tasks[start:end]],
        "pagination": {
            "page": page,
            "per_page": per_page,
            "total_count": len(tasks),
            "total_pages": -(-len(tasks) // per_page),
            "has_next": len(tasks) > end,
            "has_previous": page > 1,
        },
    }


def core_task_summary(task: Task, loaded: LoadedTemplate, steps: Sequence[Step]) -> CoreTaskSummary:
    """Return the statuses of a task and its steps in the form of the Rust core."""
    path = f"{CORE}/v1/tasks/{task.id}"
    return {
        "task": core_task_without_context(task),
        "template": {"steps": [_summary_step_spec(spec) for spec in loaded.stored.template.steps]},
        "steps": [_summary_step(core_step(task, step), step) for step in steps],
        "links": {"task": path, "steps": f"{path}/workflow_steps"},
    }


def _summary_step_spec(spec: StepSpec) -> CoreSummaryStepSpec:
    return {
        "name": spec.name,
        "step_type": "standard",
        "handler": spec.handler,
        "dependencies": list(spec.dependencies),
        "retryable": spec.retry.retryable,
        "max_attempts": spec.retry.max_attempts,
    }


def _summary_step(view: CoreStep, step: Step) -> CoreSummaryStep:
    error: CoreStepErrorSummary | None = None
    if step.error is not None:
        kind = step.error.get("type")
        error = {
            "error_type": kind if isinstance(kind, str) else None,
            "retryable": step.status not in STEP_ENDED,
            "status_code": None,
        }
    return {
        "step_uuid": view["step_uuid"],
        "name": view["name"],
        "current_state": view["current_state"],
        "created_at": view["created_at"],
        "completed_at": view["completed_at"],
        "last_attempted_at": view["last_attempted_at"],
        "attempts": view["attempts"],
        "max_attempts": view["max_attempts"],
        "dependencies_satisfied": view["dependencies_satisfied"],
        "retry_eligible": view["retry_eligible"],
        "error": error,
    }


def core_step_attempt(task: Task, step: Step, attempt: Attempt) -> CoreStepAttempt:
    """Return a finished attempt of a step in the form of the Rust core."""
    own = step_uuid(task.id, attempt.step)
    audit = str(uuid5(UUID(own), str(attempt.attempt)))
    success = attempt.outcome in (AttemptOutcome.COMPLETE, AttemptOutcome.RESOLVED_MANUALLY)
    began = attempt.claimed_at
    took = None if began is None else round((attempt.settled_at - began).total_seconds() * 1000)
    result: Json = step.result if success and attempt.attempt == step.attempts else None
    return {
        "audit_uuid": audit,
        "workflow_step_uuid": own,
        "transition_uuid": audit,
        "task_uuid": task.id,
        "recorded_at": attempt.settled_at,
        "worker_uuid": None,
        "correlation_id": task.correlation_id,
        "success": success,
        "execution_time_ms": took,
        "result": result,
        "step_name": attempt.step,
        "from_state": "in_progress",
        "to_state": _LED_TO.get(attempt.outcome, attempt.outcome.value),
    }


_LED_TO = {
    AttemptOutcome.RETRY: "waiting_for_retry",
    AttemptOutcome.LOST: "enqueued",
    AttemptOutcome.RELEASED: "enqueued",
    AttemptOutcome.PARKED: "waiting",
}


def core_template_list(
    templates: Sequence[StoredTemplate], descriptions: dict[str, str]
) -> CoreTemplateList:
    """Return template versions and their namespaces in the form of the Rust core."""
    counts: dict[str, int] = {}
    for stored in templates:
        counts[stored.template.namespace] = counts.get(stored.template.namespace, 0) + 1
    return {
        "namespaces": [
            {"name": name, "description": descriptions.get(name, ""), "template_count": count}
            for name, count in sorted(counts.items())
        ],
        "templates": [
            {
                "name": stored.template.name,
                "namespace": stored.template.namespace,
                "version": stored.template.version,
                "description": stored.template.description,
                "step_count": len(stored.template.steps),
            }
            for stored in templates
        ],
        "total_count": len(templates),
    }


def core_template(stored: StoredTemplate) -> CoreTemplateDetail:
    """Return a template version in the form of the Rust core."""
    template = stored.template
    return {
        "name": template.name,
        "namespace": template.namespace,
        "version": template.version,
        "description": template.description,
        "configuration": None,
        "steps": [
            {
                "name": spec.name,
                "description": spec.description,
                "default_retryable": spec.retry.retryable,
                "default_max_attempts": spec.retry.max_attempts,
                "result_schema": spec.result_schema,
            }
            for spec in template.steps
        ],
    }


def core_performance(figures: Performance) -> CorePerformance:
    """Return durations, rates and outcomes of tasks in the form of the Rust core."""
    return {
        "total_tasks": figures.total_tasks,
        "active_tasks": figures.active_tasks,
        "completed_tasks": figures.completed_tasks,
        "failed_tasks": figures.failed_tasks,
        "completion_rate": figures.completion_rate,
        "error_rate": figures.error_rate,
        "average_task_duration_seconds": figures.task_duration.average,
        "average_step_duration_seconds": figures.step_duration.average,
        "tasks_per_hour": round(figures.tasks_per_hour),
        "steps_per_hour": round(figures.steps_per_hour),
        "system_health_score": figures.system_health_score,
        "analysis_period_start": figures.analysis_period_start,
        "calculated_at": figures.calculated_at,
    }


def core_bottlenecks(figures: Bottlenecks) -> CoreBottlenecks:
    """Return slow steps and tasks in the form of the Rust core."""
    used = figures.utilization
    return {
        "slow_steps": [_rename_fields_for_core(step) for step in figures.slow_steps],
        "slow_tasks": [_rename_fields_for_core(task) for task in figures.slow_tasks],
        "resource_utilization": {
            "database_pool_utilization": used.database_pool_utilization,
            "system_health": {
                **{f"{status}_tasks": count for status, count in figures.tasks_by_status.items()},
                "total_tasks": figures.total_tasks,
                "enqueued_steps": used.due_steps,
                "waiting_for_retry_steps": used.scheduled_steps,
                "in_progress_steps": used.running_steps,
            },
        },
        "recommendations": [*figures.recommendations],
    }


_CORE_NAMES = {"namespace": "namespace_name", "name": "task_name", "step": "step_name"}


def _rename_fields_for_core(figures: StepFigures | TaskFigures) -> Any:
    """Return statistics under the field names of the Rust core."""
    return {_CORE_NAMES.get(name, name): value for name, value in asdict(figures).items()}
