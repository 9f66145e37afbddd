"""Tasks in responses."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.api.views.steps import StepOverview, StepSummary, step_overview, step_summary
from tasker.client.templates import LoadedTemplate
from tasker.derive import derive
from tasker.model import Failure, Pause, Step, StepCounts, Task
from tasker.times import Timeline, Times


@documented
class TaskSummary(TypedDict):
    """A task without its data (context, result and error)."""

    id: str
    """A UUID; ids sort by creation time."""
    namespace: str
    name: str
    """The template's name."""
    version: str
    full_name: str
    """`namespace.name@version`."""
    status: str
    """`pending`, `in_progress`, `complete`, `error`, `cancelled` or `resolved_manually`."""
    correlation_id: str
    parent_id: str | None
    """The task whose step created this one."""
    idempotency_key: str | None
    created_by: str
    reason: str
    tags: list[str]
    title: str | None
    attributes: Mapping[str, str]
    """Searchable attributes."""
    created_at: datetime
    updated_at: datetime
    """When it or one of its steps last changed."""
    etag: str | None
    """Differs whenever it or one of its steps changed, for `If-Match`; null where it was just
    created."""
    ended_at: datetime | None
    deadline: datetime | None
    """It ends as `error` unless it has ended by then."""
    counts: StepCounts
    pauses: list[Pause]
    """The pauses of the task, its template and its namespace; empty if it is not paused."""
    execution_status: str
    recommended_action: str
    health_status: str
    completion_percentage: float


@documented
class TaskView(TaskSummary):
    """One task."""

    context: Any
    """Its inputs."""
    result: Any
    """That of its only last step, or of several by their names; null until it is complete, and in
    lists."""
    error: Any
    """Why it ended as error, and the names of the failed steps; null unless it did."""
    failure: Failure | None
    """The first step that failed for good, and its error; null in lists."""
    created: bool
    """False if the idempotency key matched an existing task."""
    times: Times | None
    """Times by phase, in seconds: each moment counts once, as `ran` if any step ran then, else
    as `queued`, `backoff` or `parked`; null in lists and in answers to a creation."""
    steps: list[StepOverview]
    """Its steps in the template's order; empty in lists and in answers to a creation."""


@documented
class Pagination(TypedDict):
    """The position of the next page of a list."""

    next_cursor: str | None
    """The `cursor` of the next page; null on the last one."""
    has_next: bool
    limit: int


@documented
class TaskList(TypedDict):
    """Tasks, newest first."""

    tasks: list[TaskView]
    pagination: Pagination


@documented
class TasksCreated(TypedDict):
    """Tasks created in bulk, in request order."""

    tasks: list[TaskView]
    created: int
    """Number of new tasks; the others already existed under their idempotency keys."""


class SummaryError(TypedDict):
    """The kind of a step's error, without the message, which may quote data."""

    type: str | None
    code: str | None


@documented
class SummaryStep(StepSummary):
    """A step in a task's summary."""

    error: SummaryError | None


class SummaryView(TypedDict):
    """The statuses of a task and its steps, without their data."""

    task: TaskSummary
    steps: list[SummaryStep]


def task_summary(task: Task) -> TaskSummary:
    """Return a task without its data."""
    derived, template = derive(task), task.template
    return {
        "id": task.id,
        "namespace": template.namespace,
        "name": template.name,
        "version": template.version,
        "full_name": str(template),
        "status": task.status.value,
        "correlation_id": task.correlation_id,
        "parent_id": task.parent_id,
        "idempotency_key": task.idempotency_key,
        "created_by": task.created_by,
        "reason": task.reason,
        "tags": list(task.tags),
        "title": task.title,
        "attributes": task.attributes,
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "etag": task.etag,
        "ended_at": task.ended_at,
        "deadline": task.deadline,
        "counts": task.counts,
        "pauses": list(task.pauses),
        "execution_status": derived.execution_status,
        "recommended_action": derived.recommended_action,
        "health_status": derived.health_status,
        "completion_percentage": derived.completion_percentage,
    }


def task_view(
    task: Task,
    loaded: LoadedTemplate | None = None,
    steps: Sequence[Step] = (),
    *,
    now: datetime,
    timeline: Timeline | None = None,
) -> TaskView:
    """Return a task in full, with its steps if its template is given."""
    return {
        **task_summary(task),
        "context": task.context,
        "result": task.result,
        "error": task.error,
        "failure": task.failure,
        "created": task.created,
        "times": timeline and timeline.task,
        "steps": [step_overview(loaded, step, now, timeline) for step in steps] if loaded else [],
    }


def summary_view(
    task: Task, loaded: LoadedTemplate, steps: Sequence[Step], now: datetime
) -> SummaryView:
    """Return the status of a task and its steps."""
    return {
        "task": task_summary(task),
        "steps": [
            {
                **step_summary(loaded, step, now),
                "error": step.error
                and {"type": step.error.get("type"), "code": step.error.get("code")},  # type: ignore[typeddict-item]
            }
            for step in steps
        ],
    }
