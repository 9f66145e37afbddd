"""Tasks in answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.api.views.steps import StepReadiness
from tasker.derive import derive
from tasker.model import StepCounts, Task

SOURCE_TAG, PARENT_TAG = "source_system:", "parent_correlation_id:"
"""Tags under which what older clients send is kept, and can be searched for."""


@documented
class Counts(TypedDict):
    """How many steps are in each state; `enqueued` excludes `waiting_for_retry`."""

    pending: int
    enqueued: int
    waiting_for_retry: int
    in_progress: int
    waiting: int
    complete: int
    error: int
    cancelled: int
    skipped: int
    resolved_manually: int


class TaskHead(TypedDict):
    """What identifies a task, and how it stands; without context and results."""

    id: str
    """The task's id, a UUID whose order is that of creation."""
    task_uuid: str
    """The same."""
    name: str
    namespace: str
    version: str
    full_name: str
    """`namespace.name@version`."""
    status: str
    """`pending`, `in_progress`, `complete`, `error`, `cancelled` or `resolved_manually`."""
    created_at: datetime
    updated_at: datetime
    """The last change that the answer knows: of the task, or of a step that it lists."""
    completed_at: datetime | None
    """When it ended, however it did."""
    deadline: datetime | None
    """It ends as `error` where it has not ended by then."""
    initiator: str
    """Who created it; `unknown` where that is not known."""
    created_by: str
    """The same as it is stored."""
    source_system: str
    """`unknown` where it was not said."""
    reason: str
    priority: int | None
    """Always null: tasks have no priority."""
    tags: list[str]
    correlation_id: str
    parent_correlation_id: str | None
    parent_id: str | None
    """The task whose step created this one."""
    idempotency_key: str | None
    total_steps: int
    pending_steps: int
    """Not claimable yet: waiting for other steps, tasks, or the next attempt."""
    ready_steps: int
    in_progress_steps: int
    completed_steps: int
    """Complete, resolved by an operator, or skipped."""
    failed_steps: int
    counts: Counts
    execution_status: str
    recommended_action: str
    health_status: str
    completion_percentage: float


@documented
class TaskAnswer(TaskHead):
    """One task."""

    context: Any
    """Its input."""
    error: Any
    """Why it failed: type, message, step; null where it did not."""
    created: bool
    """False where an idempotency key found this task instead of making it."""
    steps: list[StepReadiness]
    """Its steps and what they wait for; empty in lists and where it was just created."""


@documented
class Pagination(TypedDict):
    """Where a list goes on."""

    next_cursor: str | None
    """To be sent as `cursor` for what follows; null at the end."""
    has_next: bool
    limit: int


@documented
class TaskList(TypedDict):
    """Tasks, newest first."""

    tasks: list[TaskAnswer]
    pagination: Pagination


class TasksCreated(TypedDict):
    """What was created in bulk, in the order asked for."""

    tasks: list[TaskAnswer]
    created: int
    """How many of them are new; idempotency keys found the others."""


def task_answer(task: Task, steps: Sequence[StepReadiness] = ()) -> TaskAnswer:
    """Write a task."""
    return {
        **task_head(task, steps),
        "context": task.context,
        "error": task.error,
        "created": task.created,
        "steps": list(steps),
    }


def task_head(task: Task, steps: Sequence[StepReadiness] = ()) -> TaskHead:
    """Write a task without what it was given and what it gave."""
    counts, derived, name = task.counts, derive(task), task.template
    return {
        "id": task.id,
        "task_uuid": task.id,
        "name": name.name,
        "namespace": name.namespace,
        "version": name.version,
        "full_name": str(name),
        "status": task.status.value,
        "created_at": task.created_at,
        "updated_at": _updated(task, steps),
        "completed_at": task.ended_at,
        "deadline": task.deadline,
        "initiator": task.created_by or "unknown",
        "created_by": task.created_by,
        "source_system": _tagged(task, SOURCE_TAG) or "unknown",
        "reason": task.reason,
        "priority": None,
        "tags": list(task.tags),
        "correlation_id": task.correlation_id,
        "parent_correlation_id": _tagged(task, PARENT_TAG),
        "parent_id": task.parent_id,
        "idempotency_key": task.idempotency_key,
        "total_steps": counts.total,
        "pending_steps": counts.pending + counts.waiting + counts.waiting_for_retry,
        "ready_steps": counts.enqueued,
        "in_progress_steps": counts.in_progress,
        "completed_steps": counts.done,
        "failed_steps": counts.error,
        "counts": counts_answer(counts),
        "execution_status": derived.execution_status,
        "recommended_action": derived.recommended_action,
        "health_status": derived.health_status,
        "completion_percentage": derived.completion_percentage,
    }


def counts_answer(counts: StepCounts) -> Counts:
    return {
        "pending": counts.pending,
        "enqueued": counts.enqueued,
        "waiting_for_retry": counts.waiting_for_retry,
        "in_progress": counts.in_progress,
        "waiting": counts.waiting,
        "complete": counts.complete,
        "error": counts.error,
        "cancelled": counts.cancelled,
        "skipped": counts.skipped,
        "resolved_manually": counts.resolved_manually,
    }


def _updated(task: Task, steps: Sequence[StepReadiness]) -> datetime:
    times = [step["last_attempted_at"] for step in steps] + [step["updated_at"] for step in steps]
    known = [at for at in (*times, task.ended_at, task.created_at) if at is not None]
    return max(known)


def _tagged(task: Task, prefix: str) -> str | None:
    """Tell what a reserved tag holds."""
    return next((tag.removeprefix(prefix) for tag in task.tags if tag.startswith(prefix)), None)
