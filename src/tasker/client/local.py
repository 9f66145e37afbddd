"""The client of a store that this process has opened."""

import asyncio
import getpass
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, Unpack, overload

from tasker import codec, versions
from tasker.analytics.model import UsualDurations
from tasker.client.analytics import LocalAnalytics, LocalFailures
from tasker.client.approvals import LocalApprovals
from tasker.client.bulk import LocalBulk
from tasker.client.fields import parse_duration_field
from tasker.client.hooks import LocalHooks
from tasker.client.protocol import (
    Client,
    TaskOptions,
    TaskRequest,
    make_task_request,
    replace_filter_attributes,
)
from tasker.client.schedules import LocalSchedules
from tasker.client.search import SearchMatch, search_store
from tasker.client.teams import LocalTeams
from tasker.client.templates import (
    DEFAULT_NAMESPACE,
    LoadedTemplate,
    TemplateCache,
    split_template_reference,
)
from tasker.client.trace import current_trace
from tasker.client.tracebacks import shorten_tracebacks
from tasker.client.waiting import (
    LONGEST_PAUSE,
    PATIENCE,
    TaskEndWaiter,
    make_parking_exception,
    require_success,
    wait_timeout_error,
)
from tasker.client.webhooks import LocalWebhooks
from tasker.durations import Duration
from tasker.errors import (
    IdempotencyConflict,
    InvalidInput,
    NotFound,
    StoreUnavailable,
    TemplateNotApproved,
    Violation,
)
from tasker.events import Event, EventFilter, EventNo
from tasker.model import (
    MOST_COUNTED,
    AccessChannel,
    Attempt,
    AuditEntry,
    CreateTasksResult,
    ExistingTaskAction,
    IdempotencyKeyLifetime,
    Json,
    JsonText,
    LimitKey,
    LimitValues,
    NewTask,
    RevealedStep,
    RevealedTask,
    Step,
    StoredTemplate,
    Task,
    TaskCounts,
    TaskFilter,
    TaskId,
    TaskStatus,
    Template,
    TemplateStatus,
)
from tasker.notices import Observer, TaskEnded
from tasker.settings import JsonSchemaMismatchAction
from tasker.step_logs import LogFilter, LogPage, LogPosition, log_level_number
from tasker.store import operator_rules
from tasker.store.protocol import AuditNote, RegisterTemplateResult, StepResolution, Store
from tasker.template.attributes import compute_task_attributes, render_task_title
from tasker.template.load import validate_and_normalize_template
from tasker.template.schema import fill_and_check_input, fill_input_and_list_violations
from tasker.template.step_limits import compute_open_task_bound, render_limits_of_steps
from tasker.times import TaskTimes, compute_task_times
from tasker.typed_template import In, TypedTemplate
from tasker.waits import (
    BroadcastSent,
    NewBroadcast,
    NewSignal,
    SignalSent,
    check_arrival_names,
    encode_payload,
)
from tasker.why import Reason, step_reasons, task_reasons

if TYPE_CHECKING:
    import asyncpg

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

log = logging.getLogger("tasker.client")

_PREPARED_AT_ONCE = 50  #: tasks whose contexts are checked in one iteration of the event loop
_EXPLAINED = 1_000  #: maximum number of unfinished steps read to explain a task
MOST_REVEALED = 1_000  #: steps of a task that are revealed at once
_MOST_ATTEMPTS = 10_000  #: maximum number of attempts of a task whose times are added up


class AttemptOrigin(NamedTuple):
    """The attempt on whose behalf tasks are created."""

    task_id: TaskId
    no: int
    correlation_id: str
    trace: str | None = None
    priority: int | None = None


class LocalWorker(Protocol):
    """A worker in this process that may claim the roots of new tasks immediately."""

    async def create_task_and_claim(self, new: NewTask, roots: int) -> CreateTasksResult:
        """Create a task in the store, and claim as many of its `roots` as there are free slots."""
        ...


class LocalClient(LocalTeams, LocalApprovals, LocalAnalytics, Client):
    """The client of a store.

    Args:
        store: An open store.
        actor: Name for the audit log and `created_by`; None means the user of this process.
        inputs: Whether a context that violates its schema is rejected, logged or accepted.
        context_limit: Maximum size of a context in bytes.
        claimant: The worker in this process, if any.
        origin: The attempt on whose behalf this client works. New tasks get the attempt's task as
            their parent, its correlation id, and an idempotency key that is the same in later
            attempts of the step.
        observers: Called with a `TaskEnded` notice for each task that an action of this client
            ends.
    """

    def __init__(
        self,
        store: Store,
        *,
        actor: str | None = None,
        via: AccessChannel | None = None,
        inputs: JsonSchemaMismatchAction = JsonSchemaMismatchAction.ENFORCE,
        context_limit: int = codec.DEFAULT_LIMIT,
        claimant: LocalWorker | None = None,
        origin: AttemptOrigin | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.store = store
        self.actor = actor or _os_user_name()
        self.via = via
        self._inputs = inputs
        self._context_limit = context_limit
        self._claimant = claimant
        self._origin = origin
        self._observers = observers
        self._templates = TemplateCache(store)
        self._ends = TaskEndWaiter(store)
        self._created: dict[str, int] = {}  #: number of tasks created for the origin, by template

    @property
    def schedules(self) -> LocalSchedules:
        """The methods for schedules."""
        return LocalSchedules(self)

    @property
    def failures(self) -> LocalFailures:
        """The methods for causes of failures."""
        return LocalFailures(self)

    @property
    def hooks(self) -> LocalHooks:
        """The methods for provider hooks."""
        return LocalHooks(self)

    @property
    def bulk(self) -> LocalBulk:
        """The methods for operations on many tasks."""
        return LocalBulk(self)

    @property
    def webhooks(self) -> LocalWebhooks:
        """The methods for webhooks."""
        return LocalWebhooks(self)

    async def events(
        self,
        name: str | None = None,
        *,
        namespace: str | None = None,
        task_id: str | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[Event]:
        wanted = EventFilter(name=name, namespace=namespace, task_id=task_id)
        last = None if after is None else EventNo(after)
        return await self.store.list_events(wanted, after=last, limit=limit)

    @property
    def template_cache(self) -> TemplateCache:
        """The cached templates, shared with the clients that `acting_as` returns."""
        return self._templates

    @property
    def task_end_waiter(self) -> TaskEndWaiter:
        """The object with which callers of this client and of its copies wait for tasks to end."""
        return self._ends

    def for_attempt(self, origin: AttemptOrigin) -> "LocalClient":
        """Return a client for the handler of one attempt."""
        return self._copy_with(self.actor, self.via, origin)

    def acting_as(self, actor: str, via: AccessChannel | None = None) -> "LocalClient":
        """Return a client that acts as `actor`, for example the caller of a server."""
        return self._copy_with(actor, via, self._origin)

    def _copy_with(
        self, actor: str, via: AccessChannel | None, origin: AttemptOrigin | None
    ) -> "LocalClient":
        client = LocalClient(
            self.store,
            actor=actor,
            via=via,
            inputs=self._inputs,
            context_limit=self._context_limit,
            claimant=self._claimant,
            origin=origin,
            observers=self._observers,
        )
        client._templates, client._ends = self._templates, self._ends
        return client

    # ----------------------------------------------------------------- creating

    @overload
    async def create_task(
        self,
        template: TypedTemplate[In, Any],
        context: In,
        *,
        connection: "Connection | None" = None,
        **options: Unpack[TaskOptions],
    ) -> Task: ...

    @overload
    async def create_task(
        self,
        template: str | TypedTemplate[Mapping[str, Any], Any],
        context: Mapping[str, Any] | None = None,
        *,
        connection: "Connection | None" = None,
        **options: Unpack[TaskOptions],
    ) -> Task: ...

    async def create_task(
        self,
        template: str | TypedTemplate[Any, Any],
        context: Any = None,
        *,
        connection: "Connection | None" = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Create one task: see `Client.create_task`.

        Args:
            template: The name of a template, or a workflow.
            context: The task's inputs; None means no inputs.
            connection: A connection to the store's PostgreSQL with an open transaction: the task is
                created only if that transaction commits.
            options: The other fields of `TaskRequest`.
        """
        tasks = await self._create_tasks(
            [make_task_request(template, context, options)], connection
        )
        return tasks[0]

    async def create_tasks(self, requests: Sequence[TaskRequest]) -> list[Task]:
        return await self._create_tasks(requests, None)

    @shorten_tracebacks
    async def _create_tasks(
        self,
        requests: Sequence[TaskRequest],
        connection: "Connection | None",
    ) -> list[Task]:
        requests = [self._add_attempt_idempotency_key(request) for request in requests]
        try:
            return await self._build_and_store_tasks(requests, connection)
        except (TemplateNotApproved, IdempotencyConflict):
            self._templates.clear_names()  # the version may just have been retired
            if connection is not None:
                raise
            return await self._build_and_store_tasks(
                [await self._pin_version_of_existing_task(each) for each in requests], None
            )

    async def _build_and_store_tasks(
        self,
        requests: Sequence[TaskRequest],
        connection: "Connection | None",
    ) -> list[Task]:
        news = []
        templates = []
        for index, request in enumerate(requests):
            if index % _PREPARED_AT_ONCE == _PREPARED_AT_ONCE - 1:
                await asyncio.sleep(0)
            loaded = await self._templates.load_by_name(
                request.template, request.namespace, request.version
            )
            templates.append(loaded)
            try:
                news.append(await self._build_new_task(request, loaded))
            except InvalidInput as error:
                if len(requests) == 1:
                    raise
                raise _add_request_index(index, error) from None
        claimant = self._claimant
        if connection is not None:
            created = await self.store.create_tasks(news, connection=connection)
        elif claimant is not None and len(news) == 1 and news[0].run_at is None:
            created = await claimant.create_task_and_claim(news[0], len(templates[0].graph.roots))
        else:
            created = await self.store.create_tasks(news)
        if created.at is None:
            return []
        tasks = []
        for new, loaded, (task_id, is_new) in zip(news, templates, created.tasks, strict=True):
            task = loaded.build_initial_task(new, created.at)
            tasks.append(task if is_new else await self._read_existing_task(task_id, task))
        return tasks

    async def _read_existing_task(self, task_id: TaskId, requested: Task) -> Task:
        """Return the task that exists with the idempotency key of `requested`, by its id."""
        try:
            task = await self.store.get_task(task_id)
        except NotFound:  # created in the caller's own transaction, not yet visible to others
            task = replace(requested, id=task_id)
        return replace(task, created=False)

    async def build_new_task(self, request: TaskRequest) -> NewTask:
        """Return the task of a request without creating it.

        Raises: NotFound, TemplateNotApproved, InvalidInput, TooLarge.
        """
        loaded = await self._templates.load_by_name(
            request.template, request.namespace, request.version
        )
        if loaded.stored.status is not TemplateStatus.APPROVED:  # an exact version was retired
            self._templates.clear_names()
            raise TemplateNotApproved(loaded.stored.template.full_name, loaded.stored.status)
        return await self._build_new_task(request, loaded)

    async def _build_new_task(self, request: TaskRequest, loaded: LoadedTemplate) -> NewTask:
        template = loaded.stored.template
        context: Json = request.context
        if template.input_schema is not None and self._inputs is not JsonSchemaMismatchAction.OFF:
            context = await self._fill_and_check_context(template, context)
        elif not isinstance(context, Mapping):
            raise InvalidInput("the context must be a JSON object")
        task_id = codec.new_task_id()
        text = codec.dumps(context, what="the context", limit=self._context_limit)
        title: str | None = None
        attributes: Mapping[str, str] = {}
        if template.title or template.attributes:
            inputs = codec.loads(text)
            title, attributes = (
                render_task_title(template, inputs),
                compute_task_attributes(template, inputs),
            )
        limits: Mapping[int, tuple[tuple[LimitKey, LimitValues], ...]] = {}
        if loaded.limits:
            limits = render_limits_of_steps(
                loaded.limits, template.namespace, codec.loads(text), task_id
            )
        place = None
        if template.concurrency is not None:
            place = compute_open_task_bound(template, codec.loads(text))
        origin = self._origin
        parent_id = origin.task_id if origin else None
        if request.parent_id:
            parent_id = TaskId(request.parent_id)
        return NewTask(
            id=task_id,
            template_id=loaded.stored.id,
            context=text,
            correlation_id=request.correlation_id or (origin.correlation_id if origin else task_id),
            idempotency_key=request.idempotency_key,
            unique_while=IdempotencyKeyLifetime(
                request.unique_while or IdempotencyKeyLifetime.ALWAYS
            ),
            if_exists=ExistingTaskAction(request.if_exists or ExistingTaskAction.RETURN),
            parent_id=parent_id,
            attached=request.attached and parent_id is not None,
            created_by=request.created_by or self.actor,
            reason=request.reason,
            tags=request.tags,
            title=title,
            attributes=attributes,
            trace=request.trace or current_trace() or (origin.trace if origin else None),
            run_at=self._start_time(request),
            deadline=parse_duration_field("deadline", request.deadline) or template.deadline,
            priority=await self._choose_priority(request, template),
            limits=limits,
            place=place,
        )

    async def _choose_priority(self, request: TaskRequest, template: Template) -> int:
        """Return the requested priority, or else that of the parent task or the template."""
        if request.priority is not None:
            return request.priority
        if request.parent_id is not None:
            for parent in await self.store.load_task_inputs([TaskId(request.parent_id)]):
                return parent.priority
        elif self._origin is not None and self._origin.priority is not None:
            return self._origin.priority
        return template.priority

    async def _fill_and_check_context(self, template: Template, context: Json) -> Json:
        """Fill in defaults and check the context; violations raise InvalidInput or are logged."""
        if self._inputs is JsonSchemaMismatchAction.ENFORCE or not isinstance(context, Mapping):
            return await fill_and_check_input(template, context)
        filled, violations = await fill_input_and_list_violations(template, context)
        if violations:
            problem = "; ".join(map(str, violations[:10]))
            log.warning(
                "input_schema_mismatch",
                extra={"template": template.full_name, "problem": problem},
            )
        return filled

    def _start_time(self, request: TaskRequest) -> datetime | None:
        """Return the earliest start of the first step, or None for immediately."""
        delay = parse_duration_field("delay", request.delay)
        return self.store.clock.now() + delay if delay else request.run_at

    def _add_attempt_idempotency_key(self, request: TaskRequest) -> TaskRequest:
        """Return the request with an idempotency key that is the same in later attempts."""
        if self._origin is None or request.idempotency_key:
            return request
        namespace, short, _ = split_template_reference(
            request.template, request.namespace, request.version
        )
        name = f"{namespace}.{short}"
        self._created[name] = self._created.get(name, 0) + 1
        key = f"{self._origin.task_id}:{self._origin.no}:{name}:{self._created[name]}"
        return replace(request, idempotency_key=key)

    async def _pin_version_of_existing_task(self, request: TaskRequest) -> TaskRequest:
        """Return the request with the template version of the existing task with its key."""
        namespace, name, version = split_template_reference(
            request.template, request.namespace, request.version
        )
        if not request.idempotency_key or request.if_exists not in (
            None,
            ExistingTaskAction.RETURN,
        ):
            return request
        task = await self.store.find_task_by_idempotency_key(namespace, request.idempotency_key)
        if task is None or task.name != name:
            return request
        before = task.version
        if versions.highest_matching_version([before], spec=version) is None:
            return request
        return replace(request, template=f"{namespace}.{name}", namespace=None, version=before)

    # ------------------------------------------------------------------ waiting

    async def wait(self, task_id: str, *, timeout: Duration | None = None) -> Task:
        """Wait until a task is complete: see `Client.wait`.

        In an attempt, a wait without a timeout parks the step, so it does not occupy a worker. The
        handler is called again when the task has ended.
        """
        limit = parse_duration_field("timeout", timeout)
        if self._origin is not None and limit is None:
            task = await self._read_task_with_retries(TaskId(task_id), None)
            if not task.has_ended:
                raise make_parking_exception(task, self._origin.task_id)
        else:
            task = await self._wait_until_ended(TaskId(task_id), limit)
        return require_success(task)

    @shorten_tracebacks
    async def _wait_until_ended(self, task_id: TaskId, timeout: timedelta | None) -> Task:
        """Return a task when it has ended. Raises WaitTimeout."""
        end = None if timeout is None else time.monotonic() + timeout.total_seconds()
        while True:
            try:
                async with asyncio.timeout(None if end is None else end - time.monotonic()):
                    await self._ends.wait(operator_rules.canonical_task_id(task_id))
            except TimeoutError:
                pass
            task = await self._read_task_with_retries(task_id, end)
            if task.has_ended:
                return task
            if timeout is not None and end is not None and time.monotonic() >= end:
                raise wait_timeout_error(task, timeout)

    @shorten_tracebacks
    async def _read_task_with_retries(self, task_id: TaskId, end: float | None) -> Task:
        """Read a task, retrying while the store is unreachable."""
        patience = time.monotonic() + PATIENCE
        while True:
            try:
                return await self.store.get_task(task_id)
            except StoreUnavailable:
                if time.monotonic() >= min(patience, end or patience):
                    raise
            await asyncio.sleep(LONGEST_PAUSE)

    # ------------------------------------------------------------------ reading

    @shorten_tracebacks
    async def get(self, task_id: str) -> Task:
        return await self.store.get_task(TaskId(task_id))

    async def tasks(
        self,
        filter: TaskFilter | None = None,
        *,
        attributes: Mapping[str, str] | None = None,
        after: str | None = None,
        limit: int = 25,
    ) -> list[Task]:
        cursor = TaskId(after) if after else None
        filter = replace_filter_attributes(filter, attributes)
        return await self.store.list_tasks(filter, after=cursor, limit=limit)

    @shorten_tracebacks
    async def count_tasks(
        self, filter: TaskFilter | None = None, *, attributes: Mapping[str, str] | None = None
    ) -> TaskCounts:
        counted = await self.store.count_tasks(
            replace_filter_attributes(filter, attributes), most=MOST_COUNTED + 1
        )
        open_ones = counted[TaskStatus.PENDING] + counted[TaskStatus.IN_PROGRESS]
        return TaskCounts(
            by_status={one.value: min(number, MOST_COUNTED) for one, number in counted.items()},
            exact=max(*counted.values(), open_ones) <= MOST_COUNTED,
            as_of=self.store.clock.now(),
        )

    async def search(self, text: str) -> list[SearchMatch]:
        return await search_store(self.store, text)

    @shorten_tracebacks
    async def steps(self, task_id: str, *, after: int = 0, limit: int | None = None) -> list[Step]:
        return (await self._read_steps_and_times(TaskId(task_id), after, limit))[0]

    @shorten_tracebacks
    async def attempts(self, task_id: str, *, step: str | None = None) -> list[Attempt]:
        no = None if step is None else await self._find_step_number(TaskId(task_id), step)
        return await self.store.list_attempts(TaskId(task_id), no=no)

    @shorten_tracebacks
    async def task_times(self, task_id: str) -> TaskTimes:
        return (await self._read_steps_and_times(TaskId(task_id)))[1]

    async def _read_steps_and_times(
        self, task_id: TaskId, after: int = 0, limit: int | None = None
    ) -> tuple[list[Step], TaskTimes]:
        """Return a task's steps, described, and the times of the task and its steps."""
        task = await self.store.get_task(task_id)
        loaded = await self._load_template_of_task(task.id)
        steps = await self.store.list_steps(task.id, after=after, limit=limit)
        history = await self.store.list_attempts(task.id, limit=_MOST_ATTEMPTS)
        now = self.store.clock.now()
        times = compute_task_times(task, steps, history, now)
        return loaded.fill_derived_step_fields(steps, now, times), times

    @shorten_tracebacks
    async def why(self, task_id: str, *, step: str | None = None) -> list[Reason]:
        task = await self.store.get_task(TaskId(task_id))
        loaded, now = await self._load_template_of_task(task.id), self.store.clock.now()
        if step is None:
            stored = await self.store.list_steps(task.id, limit=_EXPLAINED, unfinished=True)
            steps = loaded.fill_derived_step_fields(stored, now)
            return task_reasons(task, steps, now)
        no = await loaded.find_step_number_in_task(self.store, task.id, step)
        one = await self.store.list_steps(task.id, after=no - 1, limit=1)
        return [
            reason
            for each in loaded.fill_derived_step_fields(one, now)
            for reason in step_reasons(each, now)
        ]

    @shorten_tracebacks
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
        records = await self.store.list_logs(
            TaskId(task_id),
            LogFilter(
                no=None if step is None else await self._find_step_number(TaskId(task_id), step),
                attempt=attempt,
                level=None if level is None else log_level_number(level),
                text=text,
                since=since,
            ),
            after=None if cursor is None else LogPosition.from_cursor(cursor),
            newest_first=newest_first,
            limit=limit,
        )
        following = records[-1].position.cursor if len(records) == limit else None
        return LogPage(tuple(records), following)

    @shorten_tracebacks
    async def task_audit(self, task_id: str) -> list[AuditEntry]:
        return await self.store.list_audit_entries(TaskId(task_id))

    # ------------------------------------------------------------------- acting

    @shorten_tracebacks
    async def cancel(self, task_id: str, *, reason: str = "", if_match: str | None = None) -> Task:
        task = await self.store.cancel_task(
            TaskId(task_id), self._audit_note(reason), if_match=if_match
        )
        return await self._notify_observers_if_ended(task)

    @shorten_tracebacks
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
        nos, counted_attempts = await self.select_steps_to_retry(
            TaskId(task_id), steps, reset_attempts=reset_attempts
        )
        return await self.store.retry_steps(
            TaskId(task_id),
            self._audit_note(reason),
            steps=nos,
            counted_attempts=counted_attempts,
            fresh=fresh,
            if_match=if_match,
        )

    async def select_steps_to_retry(
        self, task_id: TaskId, steps: Collection[str] | None, *, reset_attempts: bool
    ) -> tuple[list[int] | None, Mapping[int, int]]:
        """Return the numbers of the steps to retry and the attempts that count as used."""
        loaded = await self._load_template_of_task(task_id)
        nos = (
            None
            if steps is None
            else [
                await loaded.find_step_number_in_task(self.store, task_id, step) for step in steps
            ]
        )
        return nos, {} if reset_attempts else loaded.compute_used_attempts_leaving_one()

    @shorten_tracebacks
    async def resolve(
        self,
        task_id: str,
        step: str | None = None,
        result: Json = None,
        *,
        reason: str = "",
        if_match: str | None = None,
    ) -> Task:
        if step is None:
            task = await self.store.resolve_task(
                TaskId(task_id), self._audit_note(reason), if_match=if_match
            )
            return await self._notify_observers_if_ended(task)
        text = None if result is None else codec.dumps(result, what="the result")
        no = await self._find_step_number(TaskId(task_id), step)
        return await self._act_on_step(
            task_id, no, text, self._audit_note(reason), StepResolution.RESOLVE, if_match
        )

    @shorten_tracebacks
    async def complete_step(
        self,
        task_id: str,
        step: str,
        result: Json,
        *,
        reason: str = "",
        if_match: str | None = None,
    ) -> Task:
        text = codec.dumps(result, what="the result")
        no = await self._find_step_number(TaskId(task_id), step)
        return await self._act_on_step(
            task_id, no, text, self._audit_note(reason), StepResolution.COMPLETE, if_match
        )

    @shorten_tracebacks
    async def skip_step(
        self, task_id: str, step: str, *, reason: str = "", if_match: str | None = None
    ) -> Task:
        no = await self._find_step_number(TaskId(task_id), step)
        return await self._act_on_step(
            task_id, no, None, self._audit_note(reason), StepResolution.SKIP, if_match
        )

    async def reveal(self, task_id: str, *, reason: str, step: str | None = None) -> RevealedTask:
        if not reason.strip():
            raise InvalidInput("a reason is required; the audit log records it", path="$.reason")
        id_ = TaskId(task_id)
        no = None if step is None else await self._find_step_number(id_, step)
        await self.store.record_reveal(id_, self._audit_note(reason), no=no)
        task = await self.store.get_task(id_)
        after, most = (0, MOST_REVEALED) if no is None else (no - 1, 1)
        steps = await self.store.list_steps(id_, after=after, limit=most)
        return RevealedTask(
            task_id=task.id,
            context=task.context,
            result=task.result,
            error=task.error,
            steps=[
                RevealedStep(
                    no=one.no,
                    name=one.name,
                    result=one.result,
                    checkpoint=one.checkpoint,
                    error=one.error,
                )
                for one in steps
                if one.no == no or (one.result, one.checkpoint, one.error) != (None, None, None)
            ],
        )

    async def _find_step_number(self, task_id: TaskId, step: str) -> int:
        loaded = await self._load_template_of_task(task_id)
        return await loaded.find_step_number_in_task(self.store, task_id, step)

    async def _act_on_step(
        self,
        task_id: str,
        no: int,
        result: JsonText | None,
        act: AuditNote,
        action: StepResolution,
        if_match: str | None,
    ) -> Task:
        task = await self.store.resolve_step(
            TaskId(task_id), no, result, act, action=action, if_match=if_match
        )
        return await self._notify_observers_if_ended(task)

    async def _notify_observers_if_ended(self, task: Task) -> Task:
        """Report a task that an action ended, and return it."""
        if task.has_ended and self._observers:
            inputs = await self.store.load_task_inputs([task.id])
            task_input = inputs[0] if inputs else None
            notice = TaskEnded.for_just_ended_task(task.id, task.status, task.template, task_input)
            for observe in self._observers:
                observe(notice)
        return task

    async def notify_observers_if_ended(self, task_id: TaskId) -> None:
        """Report a task to the observers if it has ended."""
        if self._observers:
            await self._notify_observers_if_ended(await self.store.get_task(task_id))

    @shorten_tracebacks
    async def signal(
        self,
        task_id: str,
        name: str,
        payload: Any = None,
        *,
        id: str | None = None,
        reason: str = "",
    ) -> SignalSent:
        check_arrival_names(name=name, id=id)
        signal = NewSignal(TaskId(task_id), name, encode_payload(payload), id)
        return await self.store.send_signal(signal, self._audit_note(reason))

    @shorten_tracebacks
    async def broadcast(
        self,
        name: str,
        key: str,
        payload: Any = None,
        *,
        id: str | None = None,
        namespace: str | None = None,
    ) -> BroadcastSent:
        check_arrival_names(name=name, key=key, id=id, namespace=namespace)
        if namespace is None:
            namespace = await self._attempt_or_default_namespace()
        broadcast = NewBroadcast(namespace, name, key, encode_payload(payload), id)
        return await self.store.send_broadcast(broadcast, self.actor)

    # ---------------------------------------------------------------- templates

    async def templates(
        self, namespace: str | None = None, name: str | None = None
    ) -> list[StoredTemplate]:
        return await self.store.list_approved_templates(namespace=namespace, name=name)

    @shorten_tracebacks
    async def template(self, name: str, version: str | None = None) -> StoredTemplate:
        return (await self._templates.load_by_name(name, None, version)).stored

    async def usual_durations(self, template: str) -> UsualDurations:
        return await self.store.usual_durations(await self.template(template))

    @shorten_tracebacks
    async def register(
        self, template: Template, *, replace: bool = False
    ) -> RegisterTemplateResult:
        (registered,) = await self.register_all([template], replace=replace)
        return registered

    @shorten_tracebacks
    async def register_all(
        self, templates: Sequence[Template], *, replace: bool = False
    ) -> list[RegisterTemplateResult]:
        def validate_templates() -> list[Template]:
            return [validate_and_normalize_template(template) for template in templates]

        checked = await asyncio.to_thread(validate_templates)
        registered = await self.store.register_templates(
            checked, registered_by=self.actor, replace=replace, via=self.via
        )
        self._templates.clear_names()
        return registered

    # ------------------------------------------------------------------ private

    async def _attempt_or_default_namespace(self) -> str:
        """Return the namespace of the task on whose behalf this client acts, or `default`."""
        if self._origin is None:
            return DEFAULT_NAMESPACE
        return (await self._load_template_of_task(self._origin.task_id)).stored.template.namespace

    def _audit_note(self, reason: str) -> AuditNote:
        return AuditNote(actor=self.actor, reason=reason, via=self.via)

    async def _load_template_of_task(self, task_id: TaskId) -> LoadedTemplate:
        """Return a task's template. Raises NotFound."""
        inputs = await self.store.load_task_inputs([operator_rules.canonical_task_id(task_id)])
        if not inputs:
            raise operator_rules.unknown_task_error(task_id)
        return await self._templates.load_by_id(inputs[0].template_id)


def _add_request_index(index: int, error: InvalidInput) -> InvalidInput:
    """Return the error of one of several requests, with paths relative to their list."""
    violations = [
        Violation(f"$[{index}]{path.removeprefix('$')}", message)
        for path, message in error.violations
    ]
    return InvalidInput(f"task {index}: {error}", path=violations[0].path, violations=violations)


def _os_user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user does not exist, as in containers
        return "unknown"
