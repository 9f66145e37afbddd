"""A client that records requests to create tasks instead of creating them."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Unpack

from tasker import codec
from tasker.client import TaskOptions, TaskRequest
from tasker.client.fields import parse_duration_field
from tasker.client.protocol import make_task_request
from tasker.durations import Duration
from tasker.errors import NotFound, ParkedForTask
from tasker.model import StepCounts, Task, TaskId, TaskStatus
from tasker.typed_template import TypedTemplate


class RecordingClient:
    """The `context.client` in `run_step`: the part of `Client` that handlers use.

    No task runs, so that waiting for a task parks the step, as in a worker.
    """

    def __init__(self) -> None:
        self.requests: list[TaskRequest] = []
        self._tasks: dict[str, Task] = {}

    async def create_task(
        self,
        template: str | TypedTemplate[Any, Any],
        context: Any = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Record a request, and return the task that it would create."""
        request = make_task_request(template, context, options)
        task = _make_pending_task(request)
        self.requests.append(request)
        self._tasks[task.id] = task
        return task

    async def run(
        self,
        template: str | TypedTemplate[Any, Any],
        context: Any = None,
        *,
        timeout: Duration | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Record a request, and park the step."""
        task = await self.create_task(template, context, **options)
        raise ParkedForTask(task.id)

    async def wait(self, task_id: str, *, timeout: Duration | None = None) -> Task:
        """Park the step."""
        raise ParkedForTask(TaskId(task_id))

    async def get(self, task_id: str) -> Task:
        """Return a task whose creation was recorded. Raises NotFound."""
        if task_id not in self._tasks:
            raise NotFound(f"task {task_id} not found")
        return self._tasks[task_id]


class BlockingRecordingClient:
    """A blocking version of `RecordingClient` for sync handlers."""

    def __init__(self, client: RecordingClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *given, **options: _run_coroutine_without_loop(method(*given, **options))


def _run_coroutine_without_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a method of a recording client waited")


def _make_pending_task(request: TaskRequest) -> Task:
    name, _, version = request.template.partition("@")
    namespace, _, name = name.rpartition(".")
    task_id = codec.new_task_id()
    now, deadline = datetime.now(UTC), parse_duration_field("deadline", request.deadline)
    return Task(
        id=task_id,
        namespace=namespace or request.namespace or "default",
        name=name,
        version=version or request.version or "",
        status=TaskStatus.PENDING,
        context=request.context,
        correlation_id=request.correlation_id or task_id,
        parent_id=TaskId(request.parent_id) if request.parent_id else None,
        idempotency_key=request.idempotency_key,
        created_by=request.created_by or "",
        reason=request.reason,
        tags=request.tags,
        created_at=now,
        updated_at=now,
        ended_at=None,
        deadline=now + deadline if deadline else None,
        error=None,
        counts=StepCounts(),
    )
