"""Creating tasks, watching them, and acting on them: the one API for programs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypedDict, Unpack

from tasker.client.fields import check_names, check_tags, check_texts, check_times, task_id
from tasker.client.teams import TeamClient
from tasker.model import (
    Attempt,
    AuditEntry,
    Json,
    Step,
    StoredTemplate,
    Task,
    TaskFilter,
    TaskId,
    Template,
)
from tasker.store.protocol import Registered


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """One task to be created.

    Raises:
        InvalidInput: A field holds what no store can keep; `path` tells which.
    """

    template: str
    """`name`, `namespace.name`, or either with `@version`; see `versions` for ranges."""

    context: Mapping[str, Any] = field(default_factory=dict)
    """The task's input: a JSON object."""

    namespace: str | None = None
    version: str | None = None
    """An exact version, a range, or None: the latest release."""

    idempotency_key: str | None = None
    """Creating twice under one key of one namespace makes one task."""

    correlation_id: str | None = None
    """None: that of the creating task, or the new task's own id."""

    parent_id: TaskId | None = None
    created_by: str | None = None
    reason: str = ""
    tags: tuple[str, ...] = ()
    trace: str | None = None  #: W3C traceparent
    run_at: datetime | None = None
    """Not before then; None: at once."""

    deadline: timedelta | None = None
    """Most time from creation to end; None: what the template says."""

    def __post_init__(self) -> None:
        check_names(
            idempotency_key=self.idempotency_key,
            correlation_id=self.correlation_id,
            created_by=self.created_by,
        )
        check_texts(reason=self.reason, trace=self.trace)
        if self.tags:
            check_tags(self.tags)
        check_times(self.run_at, self.deadline)
        if self.parent_id is not None:
            object.__setattr__(self, "parent_id", task_id("parent_id", self.parent_id))


class TaskOptions(TypedDict, total=False):
    """The fields of `TaskRequest` that may be left out, as keyword arguments."""

    namespace: str | None
    version: str | None
    idempotency_key: str | None
    correlation_id: str | None
    parent_id: TaskId | None
    created_by: str | None
    reason: str
    tags: tuple[str, ...]
    trace: str | None
    run_at: datetime | None
    deadline: timedelta | None


class Client(TeamClient, Protocol):
    """What programs do with tasks, wherever the store is."""

    async def create_task(
        self,
        template: str,
        context: Mapping[str, Any] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Create one task; `options` are the other fields of `TaskRequest`.

        Returns:
            The task; `created` is False where its idempotency key had made it before.

        Raises:
            NotFound: There is no such template or version.
            NotApproved: It waits for approval, was rejected or retired.
            InvalidInput: The context does not fit the template's schema.
            IdempotencyConflict: The key was used with another template or context.
        """
        ...

    async def create_tasks(self, requests: Sequence[TaskRequest]) -> list[Task]:
        """Create tasks, all or none. Raises as `create_task`."""
        ...

    async def run(
        self,
        template: str,
        context: Mapping[str, Any] | None = None,
        *,
        timeout: timedelta | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Create a task and wait until it is complete. Raises as `create_task` and `wait`."""
        ...

    async def wait(self, task_id: TaskId, *, timeout: timedelta | None = None) -> Task:
        """Wait until a task ends.

        Raises:
            TaskFailed: It ended in error or cancelled.
            WaitTimeout: It did not end in time; it goes on.
            NotFound: There is no such task.
        """
        ...

    async def get(self, task_id: TaskId) -> Task:
        """Read a task. Raises NotFound."""
        ...

    async def tasks(
        self, filter: TaskFilter | None = None, *, after: TaskId | None = None, limit: int = 25
    ) -> list[Task]:
        """List tasks, newest first, that are older than `after`."""
        ...

    async def steps(self, task_id: TaskId) -> list[Step]:
        """List a task's steps in the template's order. Raises NotFound."""
        ...

    async def history(self, task_id: TaskId, *, step: str | None = None) -> list[Attempt]:
        """List the attempts that ended, oldest first. Raises NotFound."""
        ...

    async def audit(self, task_id: TaskId) -> list[AuditEntry]:
        """List what operators did to a task, oldest first. Raises NotFound."""
        ...

    async def cancel(self, task_id: TaskId, *, reason: str = "") -> Task:
        """End an open task. Raises NotFound, WrongState."""
        ...

    async def retry(
        self,
        task_id: TaskId,
        *,
        steps: Collection[str] | None = None,
        reset_attempts: bool = False,
        reason: str = "",
    ) -> Task:
        """Give failed steps one more attempt, or all of theirs anew.

        Args:
            task_id: The task.
            steps: Names; None: all that failed.
            reset_attempts: Whether they get `max_attempts` attempts again.
            reason: For the audit.

        Raises: NotFound, WrongState (the task was cancelled; a step did not fail).
        """
        ...

    async def resolve(
        self, task_id: TaskId, step: str | None = None, result: Json = None, *, reason: str = ""
    ) -> Task:
        """Declare a step done by other means, with a result for the steps after it; or,
        without a step, a failed task. Raises NotFound, WrongState.
        """
        ...

    async def complete(self, task_id: TaskId, step: str, result: Json, *, reason: str = "") -> Task:
        """Complete a step with a result, as if its handler had returned it.
        Raises NotFound, WrongState.
        """
        ...

    async def templates(
        self, namespace: str | None = None, name: str | None = None
    ) -> list[StoredTemplate]:
        """List approved templates."""
        ...

    async def template(self, name: str, version: str | None = None) -> StoredTemplate:
        """Find a template by `namespace.name[@version]`: an approved one, or one that was
        retired and is named by its exact version. Raises NotFound, NotApproved.
        """
        ...

    async def register(self, template: Template, *, replace: bool = False) -> Registered:
        """Register a template; where its namespace requires approval, it waits for that.
        Raises TaskRegistrationError.
        """
        ...
