"""The client: creates tasks, reads them and cancels them. All calls block."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

from pydantic_core import to_jsonable_python

import tasker
from tasker.api.compat.core_views import core_step, core_step_attempt, core_task, core_task_page
from tasker.api.compat.requests import CompatTaskStatus, source_tag
from tasker.client import SyncClient
from tasker.model import Step, Task
from tasker_core.adapter import step_uuid
from tasker_core.bootstrap import shared_client

_KNOWN = ("context", "tags", "correlation_id", "idempotency_key")


class _Response:
    """A response: unknown members are ignored, absent ones have their defaults."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read it from JSON data."""
        names = {each.name for each in fields(cls)}  # type: ignore[arg-type]  # all are dataclasses
        return cls(**{key: value for key, value in data.items() if key in names})


@dataclass(frozen=True)
class TaskResponse(_Response):
    """A task."""

    task_uuid: str = ""
    name: str = ""
    namespace: str = ""
    version: str = ""
    status: str = ""
    created_at: str = ""
    updated_at: str = ""
    completed_at: str | None = None
    context: dict[str, Any] = field(default_factory=dict)
    initiator: str = ""
    source_system: str = ""
    reason: str = ""
    priority: int | None = None
    tags: list[str] | None = None
    correlation_id: str = ""
    parent_correlation_id: str | None = None
    total_steps: int = 0
    pending_steps: int = 0
    in_progress_steps: int = 0
    completed_steps: int = 0
    failed_steps: int = 0
    ready_steps: int = 0
    execution_status: str = ""
    recommended_action: str = ""
    completion_percentage: float = 0.0
    health_status: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class PaginationInfo(_Response):
    """The place of a page in a list."""

    page: int = 0
    per_page: int = 50
    total_count: int = 0
    total_pages: int = 0
    has_next: bool = False
    has_previous: bool = False


@dataclass(frozen=True)
class TaskListResponse:
    """A page of tasks."""

    tasks: list[TaskResponse] = field(default_factory=list)
    pagination: PaginationInfo = field(default_factory=PaginationInfo)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read it from JSON data."""
        tasks = [TaskResponse.from_dict(task) for task in data.get("tasks") or ()]
        return cls(tasks, PaginationInfo.from_dict(data.get("pagination") or {}))


@dataclass(frozen=True)
class StepResponse(_Response):
    """A step of a task."""

    step_uuid: str = ""
    task_uuid: str = ""
    name: str = ""
    created_at: str = ""
    updated_at: str = ""
    completed_at: str | None = None
    results: dict[str, Any] | None = None
    current_state: str = ""
    dependencies_satisfied: bool = False
    retry_eligible: bool = False
    ready_for_execution: bool = False
    total_parents: int = 0
    completed_parents: int = 0
    attempts: int = 0
    max_attempts: int = 0
    last_failure_at: str | None = None
    next_retry_at: str | None = None
    last_attempted_at: str | None = None


@dataclass(frozen=True)
class StepAuditResponse(_Response):
    """An attempt of a step."""

    audit_uuid: str = ""
    workflow_step_uuid: str = ""
    transition_uuid: str = ""
    task_uuid: str = ""
    recorded_at: str = ""
    worker_uuid: str | None = None
    correlation_id: str | None = None
    success: bool = False
    execution_time_ms: int | None = None
    result: Any = None
    step_name: str = ""
    from_state: str | None = None
    to_state: str = ""


@dataclass(frozen=True)
class HealthResponse(_Response):
    """Whether the store or server answers."""

    healthy: bool = False
    status: str = ""
    timestamp: str = ""


class TaskerClient:
    """Creates tasks, reads them and cancels them.

    It uses the store of this process's worker, or else what `DATABASE_URL`, `TASKER_URL` or
    `ORCHESTRATION_URL` name.

    Args:
        initiator: Who creates tasks.
        source_system: The system that creates tasks.
    """

    def __init__(
        self, initiator: str = "tasker-core-python", source_system: str = "tasker-core"
    ) -> None:
        self.initiator = initiator
        self.source_system = source_system

    def create_task(
        self,
        name: str,
        *,
        namespace: str = "default",
        context: dict[str, Any] | None = None,
        version: str = "1.0.0",
        reason: str = "Task requested",
        **kwargs: Any,
    ) -> TaskResponse:
        """Create a task.

        Args:
            name: The name of the template.
            namespace: Its namespace.
            context: The task's inputs.
            version: The version of the template.
            reason: Why, for people.
            kwargs: `tags`, `correlation_id`, `idempotency_key`, `priority` and others.

        Raises:
            ValueError: The request is invalid.
            RuntimeError: The task cannot be created.
        """
        tags = [*(kwargs.get("tags") or ()), source_tag(self.source_system)]
        if parent := kwargs.get("parent_correlation_id"):
            tags.append(f"parent_correlation_id:{parent}")
        options = {key: kwargs[key] for key in _KNOWN if kwargs.get(key) is not None}
        given = {"context": context or {}, **options, "tags": tags}
        with _errors_of("create_task"):
            task = shared_client().create_task(
                name, namespace=namespace, version=version, reason=reason, **given
            )
        return TaskResponse.from_dict(_json(core_task(task)))

    def get_task(self, task_uuid: str) -> TaskResponse:
        """Return a task with its steps.

        Raises:
            ValueError: `task_uuid` is not a UUID.
            RuntimeError: The task does not exist.
        """
        client = shared_client()
        with _errors_of("get_task"):
            task = client.get(_uuid(task_uuid))
            steps = client.steps(task.id)
        return TaskResponse.from_dict(_json(core_task(task, steps)))

    def list_tasks(
        self,
        *,
        limit: int = 50,
        offset: int = 0,
        namespace: str | None = None,
        status: str | None = None,
    ) -> TaskListResponse:
        """List tasks, newest first.

        Args:
            limit: The most tasks, at least 1.
            offset: How many to leave out, a multiple of `limit`.
            namespace: Only those of this namespace.
            status: Only those with this status.
        """
        if limit < 1 or offset < 0:
            raise ValueError("limit must be at least 1, and offset at least 0")
        wanted = None if status is None else CompatTaskStatus(status).status
        with _errors_of("list_tasks"):
            tasks = shared_client().tasks(
                tasker.TaskFilter(namespace=namespace, status=wanted), limit=offset + limit + 1
            )
        return TaskListResponse.from_dict(_json(core_task_page(tasks, offset // limit + 1, limit)))

    def cancel_task(self, task_uuid: str) -> dict[str, Any]:
        """Cancel a task; return `{"cancelled": True}`."""
        with _errors_of("cancel_task"):
            shared_client().cancel(_uuid(task_uuid), reason="cancelled by a client")
        return {"cancelled": True}

    def list_task_steps(self, task_uuid: str) -> list[StepResponse]:
        """List the steps of a task."""
        with _errors_of("list_task_steps"):
            task, steps = _steps_of(shared_client(), _uuid(task_uuid))
        return [StepResponse.from_dict(_json(core_step(task, step))) for step in steps]

    def get_step(self, task_uuid: str, step_uuid: str) -> StepResponse:
        """Return a step of a task."""
        with _errors_of("get_step"):
            task, step = _step_of(shared_client(), _uuid(task_uuid), _uuid(step_uuid))
        return StepResponse.from_dict(_json(core_step(task, step)))

    def get_step_audit_history(self, task_uuid: str, step_uuid: str) -> list[StepAuditResponse]:
        """List the attempts of a step, newest first."""
        client = shared_client()
        with _errors_of("get_step_audit_history"):
            task, step = _step_of(client, _uuid(task_uuid), _uuid(step_uuid))
            attempts = client.attempts(task.id, step=step.name)
        views = [core_step_attempt(task, step, attempt) for attempt in reversed(attempts)]
        return [StepAuditResponse.from_dict(_json(view)) for view in views]

    def health_check(self) -> HealthResponse:
        """Return whether the store or server answers."""
        now = datetime.now(UTC).isoformat()
        try:
            shared_client().tasks(limit=1)
        except Exception as error:
            return HealthResponse(False, f"unhealthy: {error}", now)
        return HealthResponse(True, "healthy", now)


def _steps_of(client: SyncClient, task_id: str) -> tuple[Task, list[Step]]:
    task = client.get(task_id)
    return task, client.steps(task.id)


def _step_of(client: SyncClient, task_id: str, wanted: str) -> tuple[Task, Step]:
    task, steps = _steps_of(client, task_id)
    for step in steps:
        if step_uuid(task.id, step.name) == wanted:
            return task, step
    raise tasker.NotFound(f"task {task_id} has no step {wanted}")


def _json(view: Any) -> dict[str, Any]:
    data: dict[str, Any] = to_jsonable_python(view)
    return data


def _uuid(text: str) -> str:
    try:
        return str(UUID(str(text)))
    except ValueError:
        raise ValueError(f"Invalid UUID: {text!r}") from None


@contextmanager
def _errors_of(operation: str) -> Iterator[None]:
    """Raise errors of Tasker as the errors that applications of this package expect."""
    try:
        yield
    except tasker.Misuse as error:
        raise ValueError(f"{operation} failed: {error}") from error
    except tasker.TaskerError as error:
        raise RuntimeError(f"{operation} failed: {error}") from error
