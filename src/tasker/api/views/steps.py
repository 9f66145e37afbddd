"""Steps in answers."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.client.templates import LoadedTemplate
from tasker.model import (
    STEP_ENDED,
    Attempt,
    AttemptOutcome,
    AuditEntry,
    Step,
    StepStatus,
    Task,
    TaskId,
    TemplateName,
)


@documented
class StepReadiness(TypedDict):
    """A step, and whether it can run."""

    workflow_step_uuid: str
    """The step's id, made from the task's id and the step's name."""
    task_uuid: str
    named_step_uuid: str
    """The same for this step of all tasks of one template."""
    no: int
    """Its number in the template's order, from 1."""
    name: str
    current_state: str
    """`pending`, `enqueued`, `waiting_for_retry`, `in_progress`, `waiting`, `complete`, `error`,
    `cancelled`, `skipped` or `resolved_manually`."""
    dependencies_satisfied: bool
    retry_eligible: bool
    """Whether it may be attempted (again) without an operator."""
    ready_for_execution: bool
    """Whether a worker may claim it now."""
    last_failure_at: datetime | None
    """Of its last attempt, where that failed."""
    next_retry_at: datetime | None
    total_parents: int
    completed_parents: int
    attempts: int
    max_attempts: int
    backoff_request_seconds: int | None
    """Always null: what a server asks for is in `next_retry_at`."""
    last_attempted_at: datetime | None
    created_at: datetime
    updated_at: datetime


@documented
class StepAnswer(StepReadiness):
    """One step of one task."""

    step_uuid: str
    """The same as `workflow_step_uuid`."""
    task_id: str
    """The same as `task_uuid`."""
    handler: str
    dependencies: list[str]
    state: str
    """As stored: `waiting_for_retry` is `enqueued` there."""
    attempt: int
    """The last attempt's number, 0 before the first."""
    run_at: datetime | None
    claimed_at: datetime | None
    settled_at: datetime | None
    completed_at: datetime | None
    """When it ended, however it did."""
    worker: str | None
    result: Any
    results: Any
    """The same as `result`."""
    error: Any
    """Of its last attempt: type, message, code, details; null where it did not fail."""
    checkpoint: Any
    pending_parents: int
    """Dependencies that are not done yet."""


@documented
class AttemptAnswer(TypedDict):
    """One attempt that ended."""

    task_id: str
    no: int
    step: str
    attempt: int
    outcome: str
    """`complete`, `retry`, `error`, `lost`, `released`, `parked`, `cancelled` or
    `resolved_manually`."""
    worker: str | None
    enqueued_at: datetime | None
    claimed_at: datetime | None
    settled_at: datetime
    error: Any


@documented
class AuditAnswer(TypedDict):
    """One act of an operator."""

    task_id: str
    step: str | None
    at: datetime
    actor: str
    action: str
    reason: str
    before: str
    after: str


@documented
class StepAudit(TypedDict):
    """What one attempt led to, in the words of earlier clients."""

    audit_uuid: str
    workflow_step_uuid: str
    transition_uuid: str
    task_uuid: str
    recorded_at: datetime
    worker_uuid: None
    worker: str | None
    correlation_id: str
    success: bool
    execution_time_ms: int | None
    result: Any
    """Of the attempt that the step's result is from; null of others."""
    step_name: str
    from_state: str
    to_state: str


def step_uuid(task_id: TaskId, name: str) -> str:
    """Tell a step's id."""
    return str(uuid5(UUID(task_id), name))


def step_readiness(task: Task, shape: LoadedTemplate, step: Step, now: datetime) -> StepReadiness:
    """Write whether a step can run."""
    spec = shape.stored.template.steps[step.no - 1]
    parents = len(spec.dependencies)
    counted_attempts = max(1, spec.retry.max_attempts) if spec.retry.retryable else 1
    waiting = step.waiting_for_retry(now)
    times = (task.created_at, step.claimed_at, step.settled_at)
    return {
        "workflow_step_uuid": step_uuid(task.id, step.name),
        "task_uuid": task.id,
        "named_step_uuid": _named_step_uuid(task.template, step.name),
        "no": step.no,
        "name": step.name,
        "current_state": "waiting_for_retry" if waiting else step.status.value,
        "dependencies_satisfied": step.pending_parents == 0,
        "retry_eligible": step.status not in STEP_ENDED and step.attempts < counted_attempts,
        "ready_for_execution": step.status is StepStatus.ENQUEUED
        and (step.run_at is None or step.run_at <= now),
        "last_failure_at": None if step.error is None else step.settled_at,
        "next_retry_at": step.run_at if waiting else None,
        "total_parents": parents,
        "completed_parents": max(parents - step.pending_parents, 0),
        "attempts": step.attempts,
        "max_attempts": counted_attempts,
        "backoff_request_seconds": None,
        "last_attempted_at": step.claimed_at,
        "created_at": task.created_at,
        "updated_at": max(at for at in times if at is not None),
    }


def step_answer(task: Task, shape: LoadedTemplate, step: Step, now: datetime) -> StepAnswer:
    """Write a step."""
    readiness = step_readiness(task, shape, step, now)
    spec = shape.stored.template.steps[step.no - 1]
    return {
        **readiness,
        "step_uuid": readiness["workflow_step_uuid"],
        "task_id": task.id,
        "handler": spec.handler,
        "dependencies": list(spec.dependencies),
        "state": step.status.value,
        "attempt": step.attempts,
        "run_at": step.run_at,
        "claimed_at": step.claimed_at,
        "settled_at": step.settled_at,
        "completed_at": step.settled_at if step.status in STEP_ENDED else None,
        "worker": step.worker,
        "result": step.result,
        "results": step.result,
        "error": step.error,
        "checkpoint": step.checkpoint,
        "pending_parents": step.pending_parents,
    }


def attempt_answer(attempt: Attempt) -> AttemptAnswer:
    return {
        "task_id": attempt.task_id,
        "no": attempt.no,
        "step": attempt.step,
        "attempt": attempt.attempt,
        "outcome": attempt.outcome.value,
        "worker": attempt.worker,
        "enqueued_at": attempt.enqueued_at,
        "claimed_at": attempt.claimed_at,
        "settled_at": attempt.settled_at,
        "error": attempt.error,
    }


def audit_answer(entry: AuditEntry) -> AuditAnswer:
    return {
        "task_id": entry.task_id,
        "step": entry.step,
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "reason": entry.reason,
        "before": entry.before,
        "after": entry.after,
    }


def step_audit(task: Task, step: Step, attempt: Attempt) -> StepAudit:
    """Write what an attempt led to, as earlier clients read it."""
    own = step_uuid(task.id, attempt.step)
    audit = str(uuid5(UUID(own), str(attempt.attempt)))
    success = attempt.outcome in (AttemptOutcome.COMPLETE, AttemptOutcome.RESOLVED_MANUALLY)
    began = attempt.claimed_at
    return {
        "audit_uuid": audit,
        "workflow_step_uuid": own,
        "transition_uuid": audit,
        "task_uuid": task.id,
        "recorded_at": attempt.settled_at,
        "worker_uuid": None,
        "worker": attempt.worker,
        "correlation_id": task.correlation_id,
        "success": success,
        "execution_time_ms": None
        if began is None
        else round((attempt.settled_at - began).total_seconds() * 1000),
        "result": step.result if success and attempt.attempt == step.attempts else None,
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


def readiness_of(
    task: Task, shape: LoadedTemplate, steps: Sequence[Step], now: datetime
) -> list[StepReadiness]:
    return [step_readiness(task, shape, step, now) for step in steps]


@lru_cache(maxsize=4096)
def _named_step_uuid(template: TemplateName, step: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"tasker:{template}/{step}"))
