"""The client for blocking code, such as sync handlers and scripts."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, Unpack, cast, overload

from tasker.analytics.failures import FailureCause, FailureTriage
from tasker.analytics.figures import Chart, Metric, SeriesGrouping
from tasker.analytics.model import (
    AnalysisWindow,
    Bottlenecks,
    HandlerBacklog,
    Performance,
    SystemStatus,
    UsualDurations,
)
from tasker.approvals import Approval
from tasker.bulk import (
    DEFAULT_RATE,
    BulkAction,
    BulkActionName,
    BulkOperation,
    BulkPreview,
)
from tasker.client.analytics import FailureClient
from tasker.client.bulk import BulkClient
from tasker.client.hooks import HookClient
from tasker.client.protocol import Client, TaskOptions, TaskRequest
from tasker.client.schedules import PREVIEW, ScheduleClient
from tasker.client.search import SearchMatch
from tasker.client.templates import DEFAULT_NAMESPACE
from tasker.client.webhooks import WebhookClient
from tasker.durations import Duration
from tasker.errors import Misuse, Rejected
from tasker.events import Delivery, DeliveryStatus, Event, Patterns, Webhook
from tasker.hooks import DEFAULT_HEADER, HookMessageKind, ProviderHook, SignatureScheme
from tasker.model import (
    MOST_WORKER_ATTEMPTS,
    Attempt,
    AuditEntry,
    Json,
    LimitInfo,
    LimitSetting,
    Pause,
    PauseTarget,
    Rate,
    RevealedTask,
    Schedule,
    Step,
    StoredTemplate,
    Task,
    TaskCounts,
    TaskFilter,
    TaskId,
    Template,
    TemplateVersion,
    WorkerAttempt,
)
from tasker.schedules.model import BackfillResult, StoredSchedule, TicksWithoutTask
from tasker.step_logs import LogPage
from tasker.store.protocol import RegisterTemplateResult
from tasker.teams.model import NamespaceInfo, NamespacePolicy, TeamAuditEntry
from tasker.times import TaskTimes
from tasker.typed_template import In, Out, TypedTemplate
from tasker.waits import BroadcastSent, SignalSent
from tasker.why import Reason

T = TypeVar("T")


class SyncClient:
    """A blocking version of `Client`, for threads other than the event loop's.

    Args:
        client: The client, which is used in `loop`.
        loop: A running event loop in another thread.
    """

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    @property
    def schedules(self) -> "SyncSchedules":
        """The methods for schedules."""
        return SyncSchedules(self._client.schedules, self._run_in_loop)

    @property
    def failures(self) -> "SyncFailures":
        """The methods for causes of failures."""
        return SyncFailures(self._client.failures, self._run_in_loop)

    @property
    def hooks(self) -> "SyncHooks":
        """The methods for provider hooks."""
        return SyncHooks(self._client.hooks, self._run_in_loop)

    @property
    def bulk(self) -> "SyncBulk":
        """The methods for operations on many tasks."""
        return SyncBulk(self._client.bulk, self._run_in_loop)

    @property
    def webhooks(self) -> "SyncWebhooks":
        """The methods for webhooks."""
        return SyncWebhooks(self._client.webhooks, self._run_in_loop)

    def events(
        self,
        name: str | None = None,
        *,
        namespace: str | None = None,
        task_id: str | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[Event]:
        """List domain events, newest first: see `Client.events`."""
        return self._run_in_loop(
            self._client.events(
                name, namespace=namespace, task_id=task_id, after=after, limit=limit
            )
        )

    @overload
    def create_task(
        self, template: TypedTemplate[In, Any], context: In, **options: Unpack[TaskOptions]
    ) -> Task: ...

    @overload
    def create_task(
        self,
        template: str | TypedTemplate[Mapping[str, Any], Any],
        context: Mapping[str, Any] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task: ...

    def create_task(
        self,
        template: str | TypedTemplate[Any, Any],
        context: Any = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Create one task: see `Client.create_task`."""
        return self._run_in_loop(self._client.create_task(template, context, **options))

    def create_tasks(self, requests: Sequence[TaskRequest]) -> list[Task]:
        """Create tasks in one transaction: see `Client.create_tasks`."""
        return self._run_in_loop(self._client.create_tasks(requests))

    @overload
    def run(
        self,
        template: TypedTemplate[In, Out],
        context: In,
        *,
        timeout: Duration | None = None,
        **options: Unpack[TaskOptions],
    ) -> Out: ...

    @overload
    def run(
        self,
        template: TypedTemplate[Mapping[str, Any], Out],
        context: None = None,
        *,
        timeout: Duration | None = None,
        **options: Unpack[TaskOptions],
    ) -> Out: ...

    @overload
    def run(
        self,
        template: str,
        context: Mapping[str, Any] | None = None,
        *,
        timeout: Duration | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task: ...

    def run(
        self,
        template: Any,
        context: Any = None,
        *,
        timeout: Duration | None = None,
        **options: Unpack[TaskOptions],
    ) -> Any:
        """Create a task and wait until it is complete. Returns the result of a workflow, or the
        task of a named template; see `Client.run`.
        """
        return self._run_in_loop(self._client.run(template, context, timeout=timeout, **options))

    def wait(self, task_id: str, *, timeout: Duration | None = None) -> Task:
        """Wait until a task is complete: see `Client.wait`."""
        return self._run_in_loop(self._client.wait(task_id, timeout=timeout))

    def get(self, task_id: str) -> Task:
        """Return a task with its `result` or `failure`. Raises NotFound."""
        return self._run_in_loop(self._client.get(task_id))

    def tasks(
        self,
        filter: TaskFilter | None = None,
        *,
        attributes: Mapping[str, str] | None = None,
        after: str | None = None,
        limit: int = 25,
    ) -> list[Task]:
        """List tasks older than `after`, newest first: see `Client.tasks`."""
        tasks = self._client.tasks(filter, attributes=attributes, after=after, limit=limit)
        return self._run_in_loop(tasks)

    def count_tasks(
        self, filter: TaskFilter | None = None, *, attributes: Mapping[str, str] | None = None
    ) -> TaskCounts:
        """Count tasks by status, up to 10,000 of each: see `Client.count_tasks`."""
        return self._run_in_loop(self._client.count_tasks(filter, attributes=attributes))

    def search(self, text: str) -> list[SearchMatch]:
        """Search tasks by id, and workflows and others by name: see `Client.search`."""
        return self._run_in_loop(self._client.search(text))

    def steps(self, task_id: str, *, after: int = 0, limit: int | None = None) -> list[Step]:
        """List a task's steps in the template's order: see `Client.steps`."""
        return self._run_in_loop(self._client.steps(task_id, after=after, limit=limit))

    def why(self, task_id: str, *, step: str | None = None) -> list[Reason]:
        """Explain why a task or one of its steps does not run, most important reason first.

        Raises NotFound.
        """
        return self._run_in_loop(self._client.why(task_id, step=step))

    def attempts(self, task_id: str, *, step: str | None = None) -> list[Attempt]:
        """List the ended attempts of a task or of one step, oldest first. Raises NotFound."""
        return self._run_in_loop(self._client.attempts(task_id, step=step))

    def task_times(self, task_id: str) -> TaskTimes:
        """Return the times of a task and its steps by phase. Raises NotFound."""
        return self._run_in_loop(self._client.task_times(task_id))

    def logs(
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
        """Return a page of what a task's handlers logged and printed: see `Client.logs`."""
        return self._run_in_loop(
            self._client.logs(
                task_id,
                step=step,
                attempt=attempt,
                level=level,
                text=text,
                since=since,
                newest_first=newest_first,
                cursor=cursor,
                limit=limit,
            )
        )

    def task_audit(self, task_id: str) -> list[AuditEntry]:
        """List operator actions on a task, oldest first. Raises NotFound."""
        return self._run_in_loop(self._client.task_audit(task_id))

    def cancel(self, task_id: str, *, reason: str = "", if_match: str | None = None) -> Task:
        """Cancel an open task. Raises NotFound, WrongStatus."""
        return self._run_in_loop(self._client.cancel(task_id, reason=reason, if_match=if_match))

    def retry(
        self,
        task_id: str,
        *,
        steps: Collection[str] | None = None,
        reset_attempts: bool = False,
        fresh: bool = False,
        reason: str = "",
        if_match: str | None = None,
    ) -> Task:
        """Give failed steps another attempt: see `Client.retry`."""
        return self._run_in_loop(
            self._client.retry(
                task_id,
                steps=steps,
                reset_attempts=reset_attempts,
                fresh=fresh,
                reason=reason,
                if_match=if_match,
            )
        )

    def resolve(
        self,
        task_id: str,
        step: str | None = None,
        result: Json = None,
        *,
        reason: str = "",
        if_match: str | None = None,
    ) -> Task:
        """Mark a step as done by other means, or a failed task as done: see `Client.resolve`."""
        return self._run_in_loop(
            self._client.resolve(task_id, step, result, reason=reason, if_match=if_match)
        )

    def complete_step(
        self,
        task_id: str,
        step: str,
        result: Json,
        *,
        reason: str = "",
        if_match: str | None = None,
    ) -> Task:
        """Complete a step with a result: see `Client.complete_step`."""
        return self._run_in_loop(
            self._client.complete_step(task_id, step, result, reason=reason, if_match=if_match)
        )

    def skip_step(
        self, task_id: str, step: str, *, reason: str = "", if_match: str | None = None
    ) -> Task:
        """Skip a step that is not needed: see `Client.skip_step`."""
        return self._run_in_loop(
            self._client.skip_step(task_id, step, reason=reason, if_match=if_match)
        )

    def reveal(self, task_id: str, *, reason: str, step: str | None = None) -> RevealedTask:
        """Return the data of a task or a step, unmasked: see `Client.reveal`."""
        return self._run_in_loop(self._client.reveal(task_id, reason=reason, step=step))

    def signal(
        self,
        task_id: str,
        name: str,
        payload: Any = None,
        *,
        id: str | None = None,
        reason: str = "",
    ) -> SignalSent:
        """Send a signal to a task: see `Client.signal`."""
        return self._run_in_loop(self._client.signal(task_id, name, payload, id=id, reason=reason))

    def broadcast(
        self,
        name: str,
        key: str,
        payload: Any = None,
        *,
        id: str | None = None,
        namespace: str | None = None,
    ) -> BroadcastSent:
        """Send a broadcast to all steps that wait for it: see `Client.broadcast`."""
        return self._run_in_loop(
            self._client.broadcast(name, key, payload, id=id, namespace=namespace)
        )

    def approvals(
        self,
        *,
        mine: bool = False,
        status: str = "open",
        namespace: str | None = None,
        task_id: str | None = None,
        groups: Collection[str] = (),
        after: str | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        """List approvals: see `Client.approvals`."""
        return self._run_in_loop(
            self._client.approvals(
                mine=mine,
                status=status,
                namespace=namespace,
                task_id=task_id,
                groups=groups,
                after=after,
                limit=limit,
            )
        )

    def approval(self, approval_id: str) -> Approval:
        """Return an approval. Raises NotFound."""
        return self._run_in_loop(self._client.approval(approval_id))

    def decide(
        self, approval_id: str, form: Any, *, reason: str = "", groups: Collection[str] = ()
    ) -> Approval:
        """Decide an approval: see `Client.decide`."""
        return self._run_in_loop(
            self._client.decide(approval_id, form, reason=reason, groups=groups)
        )

    def templates(
        self, namespace: str | None = None, name: str | None = None
    ) -> list[StoredTemplate]:
        """List approved templates."""
        return self._run_in_loop(self._client.templates(namespace, name))

    def template(self, name: str, version: str | None = None) -> StoredTemplate:
        """Return a template: see `Client.template`."""
        return self._run_in_loop(self._client.template(name, version))

    def register(self, template: Template, *, replace: bool = False) -> RegisterTemplateResult:
        """Register a template version: see `Client.register`."""
        return self._run_in_loop(self._client.register(template, replace=replace))

    def register_all(
        self, templates: Sequence[Template], *, replace: bool = False
    ) -> list[RegisterTemplateResult]:
        """Register template versions in one transaction: see `Client.register_all`."""
        return self._run_in_loop(self._client.register_all(templates, replace=replace))

    def usual_durations(self, template: str) -> UsualDurations:
        """Return how long a template version and its steps usually take: see
        `Client.usual_durations`.
        """
        return self._run_in_loop(self._client.usual_durations(template))

    def performance(self, window: AnalysisWindow) -> Performance:
        """Return durations, rates and outcomes of the tasks of a window: see
        `Client.performance`.
        """
        return self._run_in_loop(self._client.performance(window))

    def bottlenecks(
        self, window: AnalysisWindow, *, limit: int = 10, min_executions: int = 1
    ) -> Bottlenecks:
        """Return slow and failing steps, errors, and steps that block others: see
        `Client.bottlenecks`.
        """
        return self._run_in_loop(
            self._client.bottlenecks(window, limit=limit, min_executions=min_executions)
        )

    def series(
        self,
        metric: Metric | str = Metric.ENDED,
        window: AnalysisWindow | None = None,
        *,
        by: SeriesGrouping | str = SeriesGrouping.NONE,
        step_seconds: int | None = None,
    ) -> Chart:
        """Return figures per minute, or per `step_seconds`: see `Client.series`."""
        return self._run_in_loop(
            self._client.series(metric, window, by=by, step_seconds=step_seconds)
        )

    def system(self) -> SystemStatus:
        """Return the state of the store, its workers and its steps."""
        return self._run_in_loop(self._client.system())

    def namespaces(self) -> list[NamespaceInfo]:
        """List namespaces that have a policy or a template, and `default`, by name."""
        return self._run_in_loop(self._client.namespaces())

    def policy(self, namespace: str) -> NamespacePolicy | None:
        """Return the policy of a namespace, or None if it has none."""
        return self._run_in_loop(self._client.policy(namespace))

    def put_policy(self, policy: NamespacePolicy, *, reason: str = "") -> NamespacePolicy:
        """Replace the policy of a namespace. Raises InvalidInput."""
        return self._run_in_loop(self._client.put_policy(policy, reason=reason))

    def pause(
        self, target: str | PauseTarget, *, reason: str = "", if_match: str | None = None
    ) -> Pause:
        """Pause a task, a template, a handler's queue or a namespace: see `Client.pause`."""
        return self._run_in_loop(self._client.pause(target, reason=reason, if_match=if_match))

    def resume(
        self, target: str | PauseTarget, *, reason: str = "", if_match: str | None = None
    ) -> bool:
        """End a pause; return False if the target was not paused: see `Client.resume`."""
        return self._run_in_loop(self._client.resume(target, reason=reason, if_match=if_match))

    def pauses(self, namespace: str | None = None) -> list[Pause]:
        """List the current pauses, newest first."""
        return self._run_in_loop(self._client.pauses(namespace))

    def drain_worker(self, worker: int, *, reason: str = "") -> None:
        """Stop a worker from claiming more steps: see `Client.drain_worker`."""
        self._run_in_loop(self._client.drain_worker(worker, reason=reason))

    def ended_worker_attempts(
        self, worker: int, *, limit: int = MOST_WORKER_ATTEMPTS
    ) -> list[WorkerAttempt]:
        """List a worker's ended attempts: see `Client.ended_worker_attempts`."""
        return self._run_in_loop(self._client.ended_worker_attempts(worker, limit=limit))

    def set_queue_weight(
        self, namespace: str, handler: str, weight: float, *, reason: str = ""
    ) -> None:
        """Set the share of claims of a handler's queues: see `Client.set_queue_weight`."""
        self._run_in_loop(self._client.set_queue_weight(namespace, handler, weight, reason=reason))

    def set_limit(
        self,
        key: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        concurrency: int | None = None,
        rate: Rate | str | None = None,
        burst: int | None = None,
        reason: str = "",
    ) -> None:
        """Set the limit of the steps that share a key: see `Client.set_limit`."""
        self._run_in_loop(
            self._client.set_limit(
                key,
                namespace=namespace,
                concurrency=concurrency,
                rate=rate,
                burst=burst,
                reason=reason,
            )
        )

    def unset_limit(
        self, key: str, *, namespace: str = DEFAULT_NAMESPACE, reason: str = ""
    ) -> None:
        """Remove the limit that was set for a key or a pattern: see `Client.unset_limit`."""
        self._run_in_loop(self._client.unset_limit(key, namespace=namespace, reason=reason))

    def limits(
        self, namespace: str = DEFAULT_NAMESPACE, *, after: str = "", limit: int = 100
    ) -> list[LimitInfo]:
        """List the limits of a namespace's keys: see `Client.limits`."""
        return self._run_in_loop(self._client.limits(namespace, after=after, limit=limit))

    def limit_settings(self, namespace: str = DEFAULT_NAMESPACE) -> list[LimitSetting]:
        """List the limits set for keys and patterns of a namespace, by pattern."""
        return self._run_in_loop(self._client.limit_settings(namespace))

    def queues(self, namespace: str | None = None) -> list[HandlerBacklog]:
        """List the queues of handlers with their numbers of steps, by namespace and handler."""
        return self._run_in_loop(self._client.queues(namespace))

    def template_versions(
        self, namespace: str | None = None, name: str | None = None
    ) -> list[TemplateVersion]:
        """List template versions of every status by (namespace, name, registration)."""
        return self._run_in_loop(self._client.template_versions(namespace, name))

    def review(self, template: str, *, approve: bool, reason: str = "") -> TemplateVersion:
        """Approve or reject a version that is pending review: see `Client.review`."""
        return self._run_in_loop(self._client.review(template, approve=approve, reason=reason))

    def retire(self, template: str, *, reason: str = "") -> TemplateVersion:
        """Retire an approved version: see `Client.retire`."""
        return self._run_in_loop(self._client.retire(template, reason=reason))

    def restore(self, template: str, *, reason: str = "") -> TemplateVersion:
        """Restore a retired version: see `Client.restore`."""
        return self._run_in_loop(self._client.restore(template, reason=reason))

    def namespace_audit(
        self, namespace: str | None = None, *, after: int | None = None, limit: int = 100
    ) -> list[TeamAuditEntry]:
        """List changes of policies, template versions and API keys, newest first: see
        `Client.namespace_audit`.
        """
        return self._run_in_loop(self._client.namespace_audit(namespace, after=after, limit=limit))

    def _run_in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except (Rejected, Misuse) as error:
            raise error.with_traceback(None) from None


class SyncSchedules:
    """A blocking version of `ScheduleClient`."""

    def __init__(self, schedules: ScheduleClient, wait_for: Callable[..., Any]) -> None:
        self._schedules = schedules
        self._run_in_loop = wait_for

    def create(self, template: str, schedule: Schedule, *, reason: str = "") -> StoredSchedule:
        """Create a schedule: see `ScheduleClient.create`."""
        created = self._schedules.create(template, schedule, reason=reason)
        return cast(StoredSchedule, self._run_in_loop(created))

    def update(
        self, template: str, schedule: Schedule, *, reason: str = "", if_match: str | None = None
    ) -> StoredSchedule:
        """Replace a schedule: see `ScheduleClient.update`."""
        updated = self._schedules.update(template, schedule, reason=reason, if_match=if_match)
        return cast(StoredSchedule, self._run_in_loop(updated))

    def preview(
        self, schedule: Schedule, *, count: int = PREVIEW, after: datetime | None = None
    ) -> list[datetime]:
        """Return the first ticks of a schedule: see `ScheduleClient.preview`."""
        previewed = self._schedules.preview(schedule, count=count, after=after)
        return cast(list[datetime], self._run_in_loop(previewed))

    def get(self, name: str) -> StoredSchedule:
        """Return a schedule. Raises NotFound."""
        return cast(StoredSchedule, self._run_in_loop(self._schedules.get(name)))

    def ticks_without_task(self, name: str, *, limit: int = 100) -> list[TicksWithoutTask]:
        """List ticks, latest first: see `ScheduleClient.ticks_without_task`."""
        return cast(
            list[TicksWithoutTask],
            self._run_in_loop(self._schedules.ticks_without_task(name, limit=limit)),
        )

    def pause(self, name: str, *, reason: str = "", if_match: str | None = None) -> StoredSchedule:
        """Pause a schedule: its ticks create no tasks. Raises NotFound, ScheduleChanged."""
        paused = self._schedules.pause(name, reason=reason, if_match=if_match)
        return cast(StoredSchedule, self._run_in_loop(paused))

    def resume(self, name: str, *, reason: str = "", if_match: str | None = None) -> StoredSchedule:
        """Resume a schedule, from the first tick after now. Raises NotFound, ScheduleChanged."""
        resumed = self._schedules.resume(name, reason=reason, if_match=if_match)
        return cast(StoredSchedule, self._run_in_loop(resumed))

    def delete(self, name: str, *, reason: str = "", if_match: str | None = None) -> None:
        """Delete a schedule; its tasks remain: see `ScheduleClient.delete`."""
        self._run_in_loop(self._schedules.delete(name, reason=reason, if_match=if_match))

    def backfill(
        self, name: str, start: datetime, end: datetime, *, dry_run: bool = False
    ) -> BackfillResult:
        """Create tasks for past ticks: see `ScheduleClient.backfill`."""
        filled = self._schedules.backfill(name, start, end, dry_run=dry_run)
        return cast(BackfillResult, self._run_in_loop(filled))

    def trigger(self, name: str) -> TaskId:
        """Create a task of a schedule now: see `ScheduleClient.trigger`."""
        return cast(TaskId, self._run_in_loop(self._schedules.trigger(name)))

    def list(
        self, namespace: str | None = None, *, template: str | None = None
    ) -> list[StoredSchedule]:
        """List schedules, oldest first: see `ScheduleClient.list`."""
        listed = self._schedules.list(namespace, template=template)
        return cast(list[StoredSchedule], self._run_in_loop(listed))


class SyncFailures:
    """A blocking version of `FailureClient`."""

    def __init__(self, failures: FailureClient, wait_for: Callable[..., Any]) -> None:
        self._failures = failures
        self._run_in_loop = wait_for

    def list(self, window: AnalysisWindow | None = None) -> list[FailureCause]:
        """List causes of failures that stopped tasks: see `FailureClient.list`."""
        return cast("list[FailureCause]", self._run_in_loop(self._failures.list(window)))

    def assign(
        self,
        fingerprint: str,
        assignee: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        reason: str = "",
    ) -> FailureTriage:
        """Assign a cause: see `FailureClient.assign`."""
        assigned = self._failures.assign(fingerprint, assignee, namespace=namespace, reason=reason)
        return cast(FailureTriage, self._run_in_loop(assigned))

    def set_note(
        self, fingerprint: str, note: str, *, namespace: str = DEFAULT_NAMESPACE, reason: str = ""
    ) -> FailureTriage:
        """Replace the note about a cause: see `FailureClient.set_note`."""
        noted = self._failures.set_note(fingerprint, note, namespace=namespace, reason=reason)
        return cast(FailureTriage, self._run_in_loop(noted))

    def mute(
        self,
        fingerprint: str,
        *,
        until: datetime | None = None,
        below: str | None = None,
        namespace: str = DEFAULT_NAMESPACE,
        reason: str = "",
    ) -> FailureTriage:
        """Mute a cause: see `FailureClient.mute`."""
        muted = self._failures.mute(
            fingerprint, until=until, below=below, namespace=namespace, reason=reason
        )
        return cast(FailureTriage, self._run_in_loop(muted))

    def unmute(
        self, fingerprint: str, *, namespace: str = DEFAULT_NAMESPACE, reason: str = ""
    ) -> FailureTriage:
        """Unmute a cause: see `FailureClient.unmute`."""
        unmuted = self._failures.unmute(fingerprint, namespace=namespace, reason=reason)
        return cast(FailureTriage, self._run_in_loop(unmuted))


class SyncHooks:
    """A blocking version of `HookClient`."""

    def __init__(self, hooks: HookClient, wait_for: Callable[..., Any]) -> None:
        self._hooks = hooks
        self._run_in_loop = wait_for

    def declare(
        self,
        name: str,
        *,
        scheme: SignatureScheme | str,
        secret: str,
        sends: str,
        key: str,
        target: HookMessageKind | str = HookMessageKind.BROADCAST,
        id: str | None = None,
        when: str | None = None,
        header: str = DEFAULT_HEADER,
        reason: str = "",
    ) -> ProviderHook:
        """Declare a hook: see `HookClient.declare`."""
        declared = self._hooks.declare(
            name,
            scheme=scheme,
            secret=secret,
            sends=sends,
            key=key,
            target=target,
            id=id,
            when=when,
            header=header,
            reason=reason,
        )
        return cast(ProviderHook, self._run_in_loop(declared))

    def list(self, namespace: str | None = None) -> list[ProviderHook]:
        """List hooks: see `HookClient.list`."""
        return cast("list[ProviderHook]", self._run_in_loop(self._hooks.list(namespace)))

    def delete(self, name: str, *, reason: str = "") -> None:
        """Delete a hook. Raises NotFound."""
        self._run_in_loop(self._hooks.delete(name, reason=reason))


class SyncWebhooks:
    """A blocking version of `WebhookClient`."""

    def __init__(self, webhooks: WebhookClient, wait_for: Callable[..., Any]) -> None:
        self._webhooks = webhooks
        self._run_in_loop = wait_for

    def create(
        self,
        name: str,
        url: str,
        events: Patterns = "*",
        *,
        include: Collection[str] = (),
        reason: str = "",
    ) -> Webhook:
        """Create a webhook: see `WebhookClient.create`."""
        created = self._webhooks.create(name, url, events, include=include, reason=reason)
        return cast(Webhook, self._run_in_loop(created))

    def get(self, name: str) -> Webhook:
        """Return a webhook. Raises NotFound."""
        return cast(Webhook, self._run_in_loop(self._webhooks.get(name)))

    def update(
        self,
        name: str,
        *,
        url: str | None = None,
        events: Patterns | None = None,
        include: Collection[str] | None = None,
        paused: bool | None = None,
        reason: str = "",
    ) -> Webhook:
        """Change a webhook: see `WebhookClient.update`."""
        updated = self._webhooks.update(
            name, url=url, events=events, include=include, paused=paused, reason=reason
        )
        return cast(Webhook, self._run_in_loop(updated))

    def replace_secret(self, name: str, *, reason: str = "") -> Webhook:
        """Replace the secret of a webhook and return the webhook with it. Raises NotFound."""
        return cast(Webhook, self._run_in_loop(self._webhooks.replace_secret(name, reason=reason)))

    def delete(self, name: str, *, reason: str = "") -> None:
        """Delete a webhook and its deliveries. Raises NotFound."""
        self._run_in_loop(self._webhooks.delete(name, reason=reason))

    def deliveries(
        self,
        name: str,
        *,
        status: DeliveryStatus | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        """List deliveries, newest first: see `WebhookClient.deliveries`."""
        listed = self._webhooks.deliveries(name, status=status, after=after, limit=limit)
        return cast(list[Delivery], self._run_in_loop(listed))

    def send_again(self, name: str, delivery: int, *, reason: str = "") -> None:
        """Send an event again, even a delivered or dead one. Raises NotFound."""
        self._run_in_loop(self._webhooks.send_again(name, delivery, reason=reason))

    def list(self, namespace: str | None = None) -> list[Webhook]:
        """List the webhooks of a namespace, or of all namespaces, by name."""
        return cast("list[Webhook]", self._run_in_loop(self._webhooks.list(namespace)))


class SyncBulk:
    """A blocking version of `BulkClient`."""

    def __init__(self, bulk: BulkClient, wait_for: Callable[..., Any]) -> None:
        self._bulk = bulk
        self._run_in_loop = wait_for

    def preview(
        self,
        action: BulkAction | BulkActionName,
        filter: TaskFilter | None = None,
        *,
        ids: Sequence[str] | None = None,
        steps: Sequence[str] | None = None,
        reset_attempts: bool = False,
        fresh: bool = False,
    ) -> BulkPreview:
        """Return what an operation would change: see `BulkClient.preview`."""
        preview = self._bulk.preview(
            action, filter, ids=ids, steps=steps, reset_attempts=reset_attempts, fresh=fresh
        )
        return cast(BulkPreview, self._run_in_loop(preview))

    def start(
        self,
        action: BulkAction | BulkActionName,
        filter: TaskFilter | None = None,
        *,
        ids: Sequence[str] | None = None,
        steps: Sequence[str] | None = None,
        reset_attempts: bool = False,
        fresh: bool = False,
        per_second: float = DEFAULT_RATE,
        reason: str = "",
        token: str | None = None,
    ) -> BulkOperation:
        """Start an operation: see `BulkClient.start`."""
        started = self._bulk.start(
            action,
            filter,
            ids=ids,
            steps=steps,
            reset_attempts=reset_attempts,
            fresh=fresh,
            per_second=per_second,
            reason=reason,
            token=token,
        )
        return cast(BulkOperation, self._run_in_loop(started))

    def get(self, bulk_id: str) -> BulkOperation:
        """Return an operation with its progress. Raises NotFound."""
        return cast(BulkOperation, self._run_in_loop(self._bulk.get(bulk_id)))

    def list(self, *, after: str | None = None, limit: int = 25) -> list[BulkOperation]:
        """List operations, newest first: see `BulkClient.list`."""
        return cast(
            "list[BulkOperation]", self._run_in_loop(self._bulk.list(after=after, limit=limit))
        )

    def stop(self, bulk_id: str, *, reason: str = "") -> BulkOperation:
        """Stop an operation. Raises NotFound, WrongStatus."""
        return cast(BulkOperation, self._run_in_loop(self._bulk.stop(bulk_id, reason=reason)))

    def wait(self, bulk_id: str, timeout: Duration | None = None) -> BulkOperation:
        """Wait until an operation has ended: see `BulkClient.wait`."""
        return cast(BulkOperation, self._run_in_loop(self._bulk.wait(bulk_id, timeout)))
