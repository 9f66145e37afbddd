"""The protocol of clients, which create tasks, read them and act on them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, TypedDict, Unpack, overload

from tasker.analytics.model import UsualDurations
from tasker.client.analytics import AnalyticsClient
from tasker.client.approvals import ApprovalClient
from tasker.client.bulk import BulkClient
from tasker.client.fields import (
    check_idempotency_options,
    check_indexable_strings,
    check_priority,
    check_start_and_deadline,
    check_storable_strings,
    check_tags,
    parse_task_id,
)
from tasker.client.hooks import HookClient
from tasker.client.schedules import ScheduleClient
from tasker.client.search import SearchMatch
from tasker.client.teams import TeamClient
from tasker.client.webhooks import WebhookClient
from tasker.durations import Duration
from tasker.events import Event
from tasker.model import (
    Attempt,
    AuditEntry,
    ExistingTaskAction,
    ExistingTaskActionName,
    IdempotencyKeyLifetime,
    IdempotencyKeyLifetimeName,
    Json,
    RevealedTask,
    Step,
    StoredTemplate,
    Task,
    TaskCounts,
    TaskFilter,
    Template,
)
from tasker.step_logs import LogPage
from tasker.store.protocol import RegisterTemplateResult
from tasker.times import TaskTimes
from tasker.typed_template import In, Out, TypedTemplate
from tasker.waits import BroadcastSent, SignalSent
from tasker.why import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """A task to create.

    Raises:
        InvalidInput: A field has a value that cannot be stored; `path` names it.
    """

    template: str
    """A template: `name` or `namespace.name`, optionally followed by `@` and a version or range."""

    context: Mapping[str, Any] = field(default_factory=dict)
    """The task's inputs, as a JSON object."""

    namespace: str | None = None
    version: str | None = None
    """An exact version or a range; None means the latest release."""

    idempotency_key: str | None = None
    """The idempotency key: repeated requests with the same key in a namespace create only one
    task."""

    unique_while: IdempotencyKeyLifetime | IdempotencyKeyLifetimeName | None = None
    """How long the key belongs to the task: "always" (until the task is pruned) or "open" (until
    the task ends). None means "always". Requires an idempotency key."""

    if_exists: ExistingTaskAction | ExistingTaskActionName | None = None
    """What happens if another task has the key: "return" that task, "reject" the creation, or
    "replace" that task, which is cancelled if it is open. None means "return". Requires an
    idempotency key."""

    correlation_id: str | None = None
    """The correlation id; None means the correlation id of the creating task or, without one, the
    new task's id."""

    parent_id: str | None = None
    attached: bool = False
    """Whether the task is cancelled when its parent is cancelled or misses its deadline."""

    created_by: str | None = None
    reason: str = ""
    tags: tuple[str, ...] = ()
    trace: str | None = None  #: W3C traceparent
    run_at: datetime | None = None
    """Time before which no step starts; None means that steps start immediately or after
    `delay`."""

    delay: Duration | None = None
    """Time from the task's creation to the earliest start of its steps, at most ten years: seconds,
    a timedelta or a string such as `"5m"`. Not allowed together with `run_at`. None means no
    delay."""

    deadline: Duration | None = None
    """Time limit from the task's creation to its end, at most ten years: seconds, a timedelta or a
    string such as `"5m"`. None means the template's deadline."""

    priority: int | None = None
    """Priority from 0 to 4 (most urgent). In a handler's queue, each level counts as one minute of
    waiting. None means the priority of the parent task or, without one, of the template (2 by
    default)."""

    def __post_init__(self) -> None:
        check_indexable_strings(
            idempotency_key=self.idempotency_key,
            correlation_id=self.correlation_id,
            created_by=self.created_by,
        )
        check_storable_strings(reason=self.reason, trace=self.trace)
        if self.tags:
            check_tags(self.tags)
        check_start_and_deadline(self.run_at, self.delay, self.deadline)
        if self.priority is not None:
            check_priority(self.priority)
        check_idempotency_options(self.idempotency_key, self.unique_while, self.if_exists)
        if self.parent_id is not None:
            object.__setattr__(self, "parent_id", parse_task_id("parent_id", self.parent_id))


class TaskOptions(TypedDict, total=False):
    """The optional fields of `TaskRequest` as keyword arguments."""

    namespace: str | None
    version: str | None
    idempotency_key: str | None
    unique_while: IdempotencyKeyLifetime | IdempotencyKeyLifetimeName | None
    if_exists: ExistingTaskAction | ExistingTaskActionName | None
    correlation_id: str | None
    parent_id: str | None
    attached: bool
    created_by: str | None
    reason: str
    tags: tuple[str, ...]
    trace: str | None
    run_at: datetime | None
    delay: Duration | None
    deadline: Duration | None
    priority: int | None


def make_task_request(
    template: str | TypedTemplate[Any, Any], context: Any, options: TaskOptions
) -> TaskRequest:
    """Return the request for a task of a template, or of the version of a workflow.

    Raises:
        InvalidInput: An option or the workflow's input is invalid.
    """
    if context is None:
        context = {}
    if isinstance(template, TypedTemplate):
        name, context = template.template.full_name, template.make_context(context)
        return TaskRequest(template=name, context=context, **options)
    return TaskRequest(template=template, context=context, **options)


def replace_filter_attributes(
    filter: TaskFilter | None, attributes: Mapping[str, str] | None
) -> TaskFilter:
    """Return a filter with its attributes replaced; unchanged if `attributes` is None."""
    filter = filter or TaskFilter()
    return filter if attributes is None else replace(filter, attributes=attributes)


class Client(TeamClient, ApprovalClient, AnalyticsClient, Protocol):
    """Creates tasks, reads them and acts on them, either through a store or through a server.

    Actions accept `if_match`, the `etag` of a task that was read earlier: they raise TaskChanged if
    the task or one of its steps has changed since.
    """

    @property
    def schedules(self) -> ScheduleClient:
        """The methods for schedules: `client.schedules.create(...)`."""
        ...

    @property
    def hooks(self) -> HookClient:
        """The methods for provider hooks: `client.hooks.declare(...)`."""
        ...

    @property
    def bulk(self) -> BulkClient:
        """The methods for operations on many tasks: `client.bulk.start(...)`."""
        ...

    @property
    def webhooks(self) -> WebhookClient:
        """The methods for webhooks: `client.webhooks.create(...)`."""
        ...

    async def events(
        self,
        name: str | None = None,
        *,
        namespace: str | None = None,
        task_id: str | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[Event]:
        """List domain events, newest first, without context and result.

        Args:
            name: Only events with this name, or with a prefix such as `payment.*`.
            namespace: Only events of this namespace; None: of all namespaces.
            task_id: Only events of this task.
            after: Only events older than the event with this `no`.
            limit: Maximum number, at most 1,000.
        """
        ...

    @overload
    async def create_task(
        self, template: TypedTemplate[In, Any], context: In, **options: Unpack[TaskOptions]
    ) -> Task: ...

    @overload
    async def create_task(
        self,
        template: str | TypedTemplate[Mapping[str, Any], Any],
        context: Mapping[str, Any] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task: ...

    async def create_task(
        self,
        template: str | TypedTemplate[Any, Any],
        context: Any = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Create one task.

        Args:
            template: The name of a template, as in `TaskRequest.template`, or a workflow, whose
                version the task then has.
            context: The task's inputs: a JSON object, or a value of the type that the workflow
                declares as `input`; None means no inputs.
            options: The other fields of `TaskRequest`.

        Returns:
            The task; `created` is False if its idempotency key matched an existing one.

        Raises:
            NotFound: The template or version does not exist.
            TemplateNotApproved: The version is pending review, rejected or retired.
            InvalidInput: The context violates the template's schema.
            IdempotencyConflict: The key was used with a different template or context.
            TaskExists: Another task has the key, and `if_exists` is "reject".
        """
        return (await self.create_tasks([make_task_request(template, context, options)]))[0]

    async def create_tasks(self, requests: Sequence[TaskRequest]) -> list[Task]:
        """Create tasks in one transaction. Raises the same errors as `create_task`."""
        ...

    @overload
    async def run(
        self,
        template: TypedTemplate[In, Out],
        context: In,
        *,
        timeout: Duration | None = None,
        **options: Unpack[TaskOptions],
    ) -> Out: ...

    @overload
    async def run(
        self,
        template: TypedTemplate[Mapping[str, Any], Out],
        context: None = None,
        *,
        timeout: Duration | None = None,
        **options: Unpack[TaskOptions],
    ) -> Out: ...

    @overload
    async def run(
        self,
        template: str,
        context: Mapping[str, Any] | None = None,
        *,
        timeout: Duration | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task: ...

    async def run(
        self,
        template: str | TypedTemplate[Any, Any],
        context: Any = None,
        *,
        timeout: Duration | None = None,
        **options: Unpack[TaskOptions],
    ) -> Any:
        """Create a task and wait until it is complete. Raises the errors of `create_task` and
        `wait`.

        Args:
            template: See `create_task`.
            context: See `create_task`.
            timeout: See `wait`.
            options: The other fields of `TaskRequest`.

        Returns:
            For a template's name, the task with its `result`; for a workflow, only the result,
            converted to the type that the workflow declares as `result`.

        Raises:
            pydantic.ValidationError: The result does not have that type.
        """
        task = await self.create_task(template, context, **options)
        task = await self.wait(task.id, timeout=timeout)
        return template.result_of_task(task) if isinstance(template, TypedTemplate) else task

    async def wait(self, task_id: str, *, timeout: Duration | None = None) -> Task:
        """Wait until a task is complete, and return it with its `result`.

        Args:
            task_id: The task.
            timeout: Maximum wait: seconds, a timedelta or `"5m"`; None means no limit.

        Raises:
            TaskFailed: The task ended in error or was cancelled.
            WaitTimeout: The task did not end in time; it continues.
            NotFound: The task does not exist.
            InvalidInput: `timeout` is not a duration.
        """
        ...

    async def get(self, task_id: str) -> Task:
        """Return a task with its `result` or `failure`. Raises NotFound."""
        ...

    async def tasks(
        self,
        filter: TaskFilter | None = None,
        *,
        attributes: Mapping[str, str] | None = None,
        after: str | None = None,
        limit: int = 25,
    ) -> list[Task]:
        """List tasks older than `after`, newest first.

        Args:
            filter: Filter of the tasks; None means all tasks.
            attributes: Attributes that the tasks must have; replaces those of the filter.
            after: The id of a task; None starts with the newest task.
            limit: Maximum number of tasks.
        """
        ...

    async def count_tasks(
        self, filter: TaskFilter | None = None, *, attributes: Mapping[str, str] | None = None
    ) -> TaskCounts:
        """Count tasks by status, up to 10,000 of each.

        Of the open tasks, the newest 10,000 are divided into pending ones and those in progress.

        Args:
            filter: Filter of the tasks; its `status` is ignored. None means all tasks.
            attributes: Attributes that the tasks must have; replaces those of the filter.
        """
        ...

    async def search(self, text: str) -> list[SearchMatch]:
        """Search tasks by a prefix of their id (6 digits or more) or by their correlation id, and
        workflows, namespaces and live workers by a part of their name.

        Returns:
            At most 8 matches of each kind: tasks, workflows, namespaces, workers. Kinds that the
            caller may not list are omitted.

        Raises:
            InvalidInput: The text does not have 1 to 200 characters.
        """
        ...

    async def steps(self, task_id: str, *, after: int = 0, limit: int | None = None) -> list[Step]:
        """List a task's steps in the template's order, then its instances. Raises NotFound.

        Args:
            task_id: The task.
            after: The number (`Step.no`) of the last step that was read; 0 starts with the first.
            limit: Maximum number of steps; None: all.
        """
        ...

    async def attempts(self, task_id: str, *, step: str | None = None) -> list[Attempt]:
        """List the ended attempts of a task or of one step, oldest first. Raises NotFound."""
        ...

    async def task_times(self, task_id: str) -> TaskTimes:
        """Return the times of a task and its steps by phase. Raises NotFound."""
        ...

    async def why(self, task_id: str, *, step: str | None = None) -> list[Reason]:
        """Explain why a task or one of its steps does not run, most important reason first.

        Raises NotFound.
        """
        ...

    async def logs(
        self,
        task_id: str,
        *,
        step: str | None = None,
        attempt: int | None = None,
        level: str | None = None,
        text: str | None = None,
        since: datetime | None = None,
        newest_first: bool = False,
        cursor: str | None = None,
        limit: int = 200,
    ) -> LogPage:
        """Return a page of what a task's handlers logged and printed.

        Args:
            task_id: The task.
            step: Only records of this step.
            attempt: Only records of attempts with this number.
            level: The lowest level: `debug`, `info`, `warning`, `error` or `critical`.
            text: Part of the message; ASCII letters match in either case.
            since: Only records logged at or after this time, by the worker's clock.
            newest_first: Whether the newest records come first instead of the oldest.
            cursor: The `next_cursor` of the previous page.
            limit: Maximum number of records, 1 to 1,000.

        Raises:
            NotFound: The task or the step does not exist.
            InvalidInput: The level or the cursor is malformed.
        """
        ...

    async def task_audit(self, task_id: str) -> list[AuditEntry]:
        """List operator actions on a task, oldest first. Raises NotFound."""
        ...

    async def cancel(self, task_id: str, *, reason: str = "", if_match: str | None = None) -> Task:
        """Cancel an open task. Raises NotFound, WrongStatus."""
        ...

    async def retry(
        self,
        task_id: str,
        *,
        steps: Collection[str] | None = None,
        reset_attempts: bool = False,
        fresh: bool = False,
        reason: str = "",
        if_match: str | None = None,
    ) -> Task:
        """Give failed steps another attempt.

        Args:
            task_id: The task.
            steps: Names of the steps; None means all failed steps.
            reset_attempts: Whether the steps get all of their attempts again instead of one more.
            fresh: Whether the steps forget their durable calls and make them again.
            reason: For the audit log.

        Raises:
            NotFound: The task or a step does not exist.
            WrongStatus: The task was cancelled, or a step did not fail.
        """
        ...

    async def resolve(
        self,
        task_id: str,
        step: str | None = None,
        result: Json = None,
        *,
        reason: str = "",
        if_match: str | None = None,
    ) -> Task:
        """Mark a step as done by other means, with a result for its children; without a step, mark
        a failed task as done. Raises NotFound, WrongStatus.
        """
        ...

    async def complete_step(
        self,
        task_id: str,
        step: str,
        result: Json,
        *,
        reason: str = "",
        if_match: str | None = None,
    ) -> Task:
        """Complete a step with a result, as if its handler had returned it.
        Raises NotFound, WrongStatus.
        """
        ...

    async def skip_step(
        self, task_id: str, step: str, *, reason: str = "", if_match: str | None = None
    ) -> Task:
        """Skip a step that is not needed: it becomes resolved_manually, and its children receive
        None as its result. Raises NotFound, WrongStatus.
        """
        ...

    async def reveal(self, task_id: str, *, reason: str, step: str | None = None) -> RevealedTask:
        """Return the data of a task, or of one step, unmasked; the audit log records it.

        Raises:
            NotFound: The task or the step does not exist.
            InvalidInput: The reason is empty.
        """
        ...

    async def signal(
        self,
        task_id: str,
        name: str,
        payload: Any = None,
        *,
        id: str | None = None,
        reason: str = "",
    ) -> SignalSent:
        """Send a signal to a task. The first step that waits for the name receives the signal;
        until then, the signal is kept.

        Args:
            task_id: The task.
            name: The signal's name: 1 to 200 characters.
            payload: Any value with a JSON form of at most 64 KiB.
            id: Sending a signal with the same name and id to a task again changes nothing.
            reason: For the audit log.

        Raises:
            NotFound: The task does not exist.
            WrongStatus: The task has ended.
            TooManySignals: The task has 1,000 signals that no step has received.
            InvalidInput: A name is invalid, or the payload has no JSON form.
            TooLarge: A name or the payload is too large.
        """
        ...

    async def broadcast(
        self,
        name: str,
        key: str,
        payload: Any = None,
        *,
        id: str | None = None,
        namespace: str | None = None,
    ) -> BroadcastSent:
        """Send a broadcast to all steps that wait for its name and key.

        The broadcast is kept for a week, for steps of existing tasks that start to wait for it
        later.

        Args:
            name: The name of the signal that the steps wait for: 1 to 200 characters.
            key: The key that they wait for: 1 to 200 characters.
            payload: Any value with a JSON form of at most 64 KiB.
            id: Sending a broadcast with the same name, key and id again changes nothing.
            namespace: The namespace of the waiting tasks; None: the namespace of the task on whose
                behalf this client acts, or `default`.

        Raises:
            TooManyBroadcasts: 1,000 broadcasts with this name and key were sent within a week.
            InvalidInput: A name is invalid, or the payload has no JSON form.
            TooLarge: A name or the payload is too large.
        """
        ...

    async def usual_durations(self, template: str) -> UsualDurations:
        """Return how long a template version and its steps usually take, in seconds.

        Measured over the newest complete tasks of the version, at most 50.

        Args:
            template: `namespace.name` or `namespace.name@version`; without a version, the latest.

        Raises:
            NotFound: The template does not exist.
        """
        ...

    async def templates(
        self, namespace: str | None = None, name: str | None = None
    ) -> list[StoredTemplate]:
        """List approved templates."""
        ...

    async def template(self, name: str, version: str | None = None) -> StoredTemplate:
        """Return a template by `namespace.name[@version]`: an approved version, or a retired one if
        the version is exact. Raises NotFound, TemplateNotApproved.
        """
        ...

    async def register(
        self, template: Template, *, replace: bool = False
    ) -> RegisterTemplateResult:
        """Register a template version, which is pending review if its namespace requires approval.
        Raises TaskRegistrationError.
        """
        ...

    async def register_all(
        self, templates: Sequence[Template], *, replace: bool = False
    ) -> list[RegisterTemplateResult]:
        """Register template versions in one transaction, either all or none: see `register`. A
        server accepts at most 1,000 at once. Raises InvalidInput, TaskRegistrationError.
        """
        ...
