"""The store's interface. The docstrings define each call; the suite in
`tasker.testing.store_suite` checks them on every store.

A call is one transaction: it happens completely or not at all, and its result is
durable. Stores keep JSON as text and never parse it. Leases, `run_at` and deadlines are
decided by the store's own clock, so the clocks of workers need not agree.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from tasker.analytics.failures import FailedStep, FailureCare, FailureCareChange
from tasker.analytics.figures import FigureRow, Figures
from tasker.analytics.model import (
    Backlog,
    Bottlenecks,
    OldestSnapshot,
    Performance,
    UsualDurations,
    Utilization,
    Window,
)
from tasker.approvals import Approval
from tasker.bulk import BulkOperation, BulkRefusal, NewBulk, StoredBulk
from tasker.clock import Clock
from tasker.codec import UNSTORABLE
from tasker.durable import DurableCall, NewCall
from tasker.errors import InvalidInput, TooLarge
from tasker.events import (
    Delivery,
    DeliveryId,
    DeliveryOutcome,
    DeliveryStatus,
    Endpoint,
    Event,
    EventFilter,
    EventNo,
    NewSubscription,
    NewWebhook,
    Pending,
    Subscription,
    SubscriptionId,
    Webhook,
    WebhookChange,
)
from tasker.hooks import Hook, HookSecret
from tasker.model import (
    MOST_WORKER_ATTEMPTS,
    NO_QUEUE,
    Attempt,
    AuditEntry,
    Claim,
    Claimed,
    CompensatingStep,
    CompletedStep,
    Created,
    CurrentStep,
    ExpiredAttempt,
    GroupClaimed,
    JsonObject,
    JsonText,
    LimitInfo,
    LimitKey,
    LimitSetting,
    LimitValues,
    NeighbourWorker,
    NewEvent,
    NewInstances,
    NewTask,
    Outcome,
    Pause,
    PauseTarget,
    Queue,
    QueueId,
    RemoteWorker,
    RenewedLease,
    RunningStep,
    RuntimeStep,
    SchemaStatus,
    ServedQueue,
    Settled,
    Settlement,
    Spawn,
    Spawned,
    Step,
    StepResult,
    StoredTemplate,
    Task,
    TaskEnd,
    TaskFilter,
    TaskId,
    TaskInput,
    TaskStatus,
    Template,
    TemplateId,
    TemplateName,
    TemplateVersion,
    Unclaimed,
    UnservedQueue,
    Via,
    WorkerAttempt,
    WorkerId,
    WorkerInfo,
    WorkerProcess,
)
from tasker.schedules.model import (
    Advance,
    Advanced,
    DueSchedule,
    NewSchedule,
    ScheduledTask,
    StoredSchedule,
    TickRecord,
)
from tasker.step_logs import EVERY_RECORD, LogFilter, LogPlace, LogRecord, NewLogRecord
from tasker.teams.model import (
    ApiKey,
    ApiKeyDigest,
    NamespaceInfo,
    NamespacePolicy,
    NewApiKey,
    TeamEvent,
    UserSession,
)
from tasker.waits import BroadcastSent, NewBroadcast, NewSignal, NewWait, SignalSent

UNKNOWN_PROCESS = WorkerProcess()
COMPLETED_STEPS = 1_000  #: most steps that one call of `completed_steps` returns
LONGEST_REASON = 10_000  #: bytes of a reason, or of an actor's name


class Registered(NamedTuple):
    """The result of `register_template`."""

    stored: StoredTemplate
    created: bool  #: False if the same content existed already


class StepAction(StrEnum):
    """An operator's way of settling a step. The value is the action in the audit log."""

    RESOLVE = "resolve_step"  #: done by other means
    COMPLETE = "complete_step"  #: as if its handler had returned the result
    SKIP = "skip"  #: not needed; its children run without its result


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditNote:
    """The actor and the reason of a change, for the audit log.

    Raises:
        InvalidInput: One contains a NUL character or an unpaired surrogate.
        TooLarge: One is longer than `LONGEST_REASON`.
    """

    actor: str = "unknown"
    reason: str = ""
    via: Via | None = None
    """How the actor reached the store; None: as a part of a program."""

    bulk_id: str | None = None
    """The bulk operation that the change is a part of."""

    def __post_init__(self) -> None:
        for name, text in (("actor", self.actor), ("reason", self.reason)):
            if UNSTORABLE.search(text):
                raise InvalidInput(
                    f"the {name} contains a NUL character or an unpaired surrogate",
                    path=f"$.{name}",
                )
            if (size := len(text.encode())) > LONGEST_REASON:
                raise TooLarge(f"the {name}", size, LONGEST_REASON)


class WorkerStore(Protocol):
    """The store for workers: queues, claims, settlements, leases."""

    async def template_by_id(self, template_id: TemplateId) -> StoredTemplate:
        """Read a template of any status, replaced ones included. Raises NotFound."""
        ...

    async def queues(self, *, after: QueueId = NO_QUEUE) -> list[Queue]:
        """List queues: each namespace, handler and requirement that templates ever named.

        A queue is never removed and later ones have greater ids, so that `after`, the last id
        that is known, leads to the new ones.
        """
        ...

    async def paused_queues(self, queues: Collection[PauseTarget]) -> set[PauseTarget]:
        """Return those of handlers' queues that are paused, or whose namespace is."""
        ...

    async def load_task_inputs(self, ids: Sequence[TaskId]) -> list[TaskInput]:
        """Return the inputs of tasks for workers, in no particular order."""
        ...

    async def load_results(self, steps: Mapping[TaskId, Sequence[int]]) -> list[StepResult]:
        """Return the results of steps that are done; others are omitted."""
        ...

    async def claim(self, worker: WorkerId, limit: int) -> Claimed:
        """Lease up to `limit` due steps to a worker.

        A step is due when it is enqueued and its `run_at` is reached. It is claimed from the
        queues that the worker serves and that are not paused. Each queue with due steps gets a
        share by its weight, up to five of them in one claim, drawn at random by weight; what
        is left goes to those that have more. In a queue, the longest due come first; each level
        of priority counts as a minute. Claiming
        makes a step in_progress and adds one to its attempt; no two claims ever carry the
        same (task, step, attempt). Never waits for rows that another claim holds. A worker
        that finds less than it asked for is marked idle: until its next full claim,
        a call that leaves work behind wakes it.
        """
        ...

    async def claim_group(self, rooms: Mapping[WorkerId, int]) -> GroupClaimed:
        """Lease due steps to several workers that serve the same queues, in one transaction.

        As `claim` for all of them together. Each in turn gets one step, up to its number in
        `rooms`, so that no worker has two while another with room has none.
        """
        ...

    async def claim_gated(self, worker: WorkerId, limit: int) -> Claimed:
        """Lease up to `limit` due steps that are under limits to a worker.

        Like `claim`, for the queues of limited steps, which `claim` leaves out. The claims of a
        worker go round the limit keys; each key lets through as many steps as it has room for,
        those due longest. At no time are more steps of a key in progress than its `concurrency`,
        unless that was lowered, and in no period of `t` seconds more are claimed than its `burst`
        plus `t` times its `rate`. Attempts that end in any way make room.
        """
        ...

    async def settle(
        self,
        worker: WorkerId,
        outcomes: Sequence[Outcome],
        *,
        claim_up_to: int = 0,
        relaxed: bool = False,
        events: Sequence[NewEvent] = (),
        gated: bool = False,
    ) -> Settled:
        """Record outcomes and their consequences.

        For each outcome whose (task, step, attempt) is in progress: the result or
        error and the attempt's history are stored; children without unmet parents are
        enqueued; the task ends when all its sinks are done, or when a step failed for
        good and no further step can run. A parked attempt does not count, and its step is due
        again after its delay. Up to `claim_up_to` of the freed steps that
        `worker` serves are claimed for it. Other outcomes are refused without effect,
        so that sending one twice is harmless.

        With `relaxed`, a settlement that ends no task may be undone by a crash of the database
        server within the next second: its steps are then in progress again, as `held` lists
        them, and the claims that it returned are void. Only PostgreSQL makes use of that.

        With `events`, those of the accepted outcomes are stored in the same transaction, which
        is then never relaxed.

        With `gated`, some of the attempts were under limits, so idle workers are woken.

        Raises:
            StoreUnavailable: It is unknown whether it took effect; call `held`.
        """
        ...

    async def settle_group(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Record outcomes of several workers in one transaction, completely or not at all.

        As `settle` for each of them, in any order; a freed step is claimed for a worker whose
        outcome freed it.

        Raises:
            StoreUnavailable: It is unknown whether it took effect; call `held`.
            StoreError: One of the outcomes cannot be stored, so none was.
        """
        ...

    async def checkpoint(self, claim: Claim, value: JsonText) -> bool:
        """Store the progress of an attempt for the next one; return False if the claim is lost."""
        ...

    async def record_calls(self, calls: Sequence[NewCall]) -> dict[int, float]:
        """Store durable calls of attempts in progress, for later attempts of their steps.

        The bounds of a step's records are the caller's business. A name that the step has
        already is left as it is, so that repeating a call is harmless.

        Args:
            calls: Sorted by task and step.

        Returns:
            By the index of each call that was accepted, the seconds until the end of a sleep, else
            0. The others belong to attempts that no longer hold their claim.
        """
        ...

    async def load_calls(self, claim: Claim) -> list[DurableCall]:
        """Return the durable calls that were recorded for a claim's step, in no order."""
        ...

    async def park(self, claim: Claim, waits_for: TaskId) -> bool:
        """Park a step until another task ends; return False if the claim is lost.

        The attempt ends and does not count. The step is enqueued again when that task ends, or
        immediately if it has already ended.

        Raises:
            WaitCycle: That task waits for the claim's task, directly or through others.
        """
        ...

    async def spawn(self, claim: Claim, new: NewInstances) -> Spawned | None:
        """Insert steps at run time: instances of a body that the template declares.

        The first call of a spawn reserves the numbers of all its instances; each call inserts up
        to `MOST_SPAWNED` steps. What was inserted before is left as it is, so a call may be
        repeated, also by a later attempt. The last steps of the new instances become parents of the
        join. They inherit the task's priority and pause.

        Returns:
            The numbers of the spawn, which its first call determined; None if the claim is lost.

        Raises:
            TooManyInstances: The join would have more than `limits.INSTANCES`.
        """
        ...

    async def admit_waiting(self, limit: int) -> int:
        """Let tasks start that waited until fewer tasks of their key are open; return how many.

        Args:
            limit: Keys to look at.
        """
        ...

    async def admit_after(self, ended: Collection[TaskId]) -> int:
        """Let tasks start that waited for the end of some tasks; return how many."""
        ...

    async def completed_steps(
        self, task_id: TaskId, nodes: Collection[int], *, after: int = 0
    ) -> list[CompletedStep]:
        """Return the completed steps that were made from one of these nodes, by number.

        Args:
            task_id: The task.
            nodes: Numbers of steps in its template.
            after: Steps with greater numbers only; `COMPLETED_STEPS` of them at most.
        """
        ...

    async def add_compensating_steps(
        self, claim: Claim, steps: Sequence[CompensatingStep], total: int, *, keep_going: bool
    ) -> bool:
        """Insert steps that undo others; return False if the claim is lost.

        The first call reserves the numbers of all of them. Steps that were inserted before are
        left as they are, so a call may be repeated, also by a later attempt.

        Args:
            claim: The attempt of the step that plans them.
            steps: Up to `MOST_SPAWNED` steps. Those that wait for one of them are among them or
                were inserted before.
            total: The number of all of them.
            keep_going: Whether a step that fails permanently frees those that wait for it.
        """
        ...

    async def spawns(self, task_id: TaskId, join_no: int) -> list[Spawn]:
        """List the spawns for a join, by first instance."""
        ...

    async def count_failed_instances(self, spawn: Spawn) -> int:
        """Count the instances of a spawn with a step that failed permanently."""
        ...

    async def cancel_instances(self, spawn: Spawn) -> None:
        """Cancel the steps of a spawn that have not started, in transactions of `MOST_SPAWNED`."""
        ...

    async def load_runtime_steps(self, steps: Mapping[TaskId, Sequence[int]]) -> list[RuntimeStep]:
        """Return what instances are given, with the instances that their spawners are part of.

        Each is returned once.
        """
        ...

    async def receive(self, claim: Claim, wait: NewWait) -> DurableCall | None:
        """Record what arrived first for a wait of an attempt, or return None.

        A signal to the task goes to one step; the oldest is first. A broadcast is received if it
        was sent since the task was created. None: nothing has arrived, or the claim is lost.
        """
        ...

    async def park_for_arrival(self, claim: Claim, wait: NewWait) -> bool:
        """Park a step until something arrives, or the wait times out; return False if the claim is
        lost.

        The attempt ends and does not count. What arrives first is recorded as the durable call of
        the wait, and enqueues the step; if something has arrived before, both happen at once. After
        the timeout, `end_late_waits` does the same with the value `TIMED_OUT`. Neither a signal
        nor a broadcast that is sent meanwhile is missed.
        """
        ...

    async def end_late_waits(self, limit: int) -> int:
        """End up to `limit` waits that have timed out; return how many were found."""
        ...

    async def fail_external(
        self, outcome: Outcome, events: Sequence[NewEvent] = ()
    ) -> Settled | None:
        """Settle the last failed attempt of an external step, unless the step was completed.

        Returns:
            None if a completion was kept: the step is to have another attempt, which uses it.
        """
        ...

    async def open_completion(self, claim: Claim, digest: str) -> DurableCall | None:
        """Let the bearer of a token complete the step of an attempt, until the step ends.

        Returns:
            The completion of the step, if an earlier token was used before.
        """
        ...

    async def escalate_approvals(self, limit: int) -> int:
        """Let the assignees of up to `limit` overdue escalations decide; return how many."""
        ...

    async def cancel_orphaned_tasks(self, limit: int) -> int:
        """Cancel up to `limit` attached tasks whose parent has ended without them; return how many
        were found.
        """
        ...

    async def deliver_broadcasts(self, limit: int) -> int:
        """Complete up to `limit` broadcasts whose sender died before all waiting steps had received
        them; return how many.
        """
        ...

    async def prune_broadcasts(self, limit: int) -> int:
        """Delete up to `limit` broadcasts that are older than a week; return how many."""
        ...

    async def register_worker(
        self,
        name: str,
        *,
        lease: timedelta,
        slots: int,
        handlers: Sequence[str],
        process: WorkerProcess = UNKNOWN_PROCESS,
        registration: JsonText | None = None,
        act: AuditNote | None = None,
    ) -> WorkerId:
        """Announce a worker and open its lease.

        Args:
            name: The worker's name, as shown to operators.
            lease: Time until the lease expires unless it is renewed.
            slots: Maximum number of attempts that run at once.
            handlers: Names of its handlers.
            process: Properties of its process.
            registration: Of a remote worker, what it registered; for `remote_worker`.
            act: Of a remote worker, the caller, for the audit.
        """
        ...

    async def remote_worker(self, worker: WorkerId) -> RemoteWorker | None:
        """Return a worker that was announced with a registration, or None."""
        ...

    async def drain_worker(self, worker: WorkerId, act: AuditNote) -> None:
        """Stop a worker from claiming more steps; it finishes the running ones.

        Raises:
            NotFound: There is no worker with the id, or its lease has expired.
        """
        ...

    async def signing_keys(self) -> list[str]:
        """Return the secrets that sign tickets: the newest, and perhaps the one before.

        The first call creates it.
        """
        ...

    async def serve_queues(self, worker: WorkerId, queues: Sequence[QueueId]) -> None:
        """Let a worker claim from queues, given by `Queue.base`, in addition to those before."""
        ...

    async def serve_unserved_engine_queues(self, worker: WorkerId) -> None:
        """Let a worker whose only handler is the engine claim from those queues of the engine that
        no other live worker serves, and from no others.
        """
        ...

    async def count_open_tasks(self, most: int) -> dict[TemplateId, int]:
        """Count the open tasks of each template, all together up to `most`."""
        ...

    async def renew(
        self, worker: WorkerId, held: Sequence[Claim], *, lease: timedelta
    ) -> list[Claim]:
        """Extend the worker's lease, which covers all of its claims.

        Returns:
            The claims among `held` that the worker has lost because the task was cancelled or an
            operator acted on the step.

        Raises:
            LeaseLost: The lease has expired and all claims are lost; register again.
        """
        ...

    async def renew_group(
        self, held: Mapping[WorkerId, Sequence[Claim]], *, lease: timedelta
    ) -> Mapping[WorkerId, RenewedLease]:
        """Extend the leases of several workers, as `renew` does for one, in one transaction.

        Args:
            held: The claims of each worker.
            lease: The time for which the leases hold from now on.

        Returns:
            The leases that were extended. The others have expired.
        """
        ...

    async def held(self, worker: WorkerId) -> list[Claim]:
        """List the claims that a worker holds, for comparison after a lost reply."""
        ...

    async def retire_worker(self, worker: WorkerId, act: AuditNote | None = None) -> None:
        """End a worker's lease. Its claims are lost.

        Args:
            worker: The worker.
            act: Of a remote worker, the caller, for the audit.
        """
        ...

    async def neighbour_workers(self, machine: str) -> list[NeighbourWorker]:
        """List the workers of a machine whose lease holds: see `WorkerProcess.machine`."""
        ...

    async def wait_for_work(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until there may be work for this process.

        Only a hint: it may return early, and may miss the work of other processes.
        """
        ...

    async def wait_for_revocation(self, timeout: float) -> None:
        """Wait until a claim of this process may have been revoked.

        Only a hint: `renew` decides.
        """
        ...

    async def expired(self, limit: int) -> list[ExpiredAttempt]:
        """List attempts whose worker's lease expired. Settle them as `lost` or failed."""
        ...

    async def fail_unclaimed(self, limit: int) -> Unclaimed:
        """Fail up to `limit` steps that were due for their `queue_timeout` without being claimed.

        The failure is final: such a step gets an attempt without a worker, whose error has the code
        `queue_timeout`. Each retry restarts the time limit.
        """
        ...

    async def unserved_queues(self, longer_than: timedelta, limit: int) -> list[UnservedQueue]:
        """List queues that no live worker serves and whose next step is due for `longer_than`.

        At most `limit`, the longest due first.
        """
        ...

    async def sweep(self) -> list[TaskEnd]:
        """End tasks past their deadline, and failed tasks without a step that can run.

        At most 100 of the former; the next sweep continues. Also ends the steps that are left in
        tasks which were ended early.
        """
        ...


class TaskStore(Protocol):
    """Registers and reads templates; creates and reads tasks."""

    async def register_template(
        self,
        template: Template,
        *,
        registered_by: str,
        replace: bool = False,
        via: Via | None = None,
    ) -> Registered:
        """Keep a valid template under its namespace, name and version.

        Stores do not check templates: those made in Python must pass `check_template` before.

        Registering the same content again is a no-op, and keeps its status. With `replace`,
        different content replaces the version for new tasks; existing tasks keep their content. If
        the namespace's policy requires reviews, new content is stored as pending_review, and takes
        tasks (and the place of what it replaces) when it was approved. Rejected content is ignored.

        Raises:
            TaskRegistrationError: The version exists with other content; the message
                names namespace, name, version and who registered it.
            HttpHostNotAllowed: A step calls a host that the namespace's policy does not list.
        """
        ...

    async def register_templates(
        self,
        templates: Sequence[Template],
        *,
        registered_by: str,
        replace: bool = False,
        via: Via | None = None,
    ) -> list[Registered]:
        """Register templates in one transaction, all or none: see `register_template`."""
        ...

    async def template(self, name: TemplateName) -> StoredTemplate:
        """Return an approved template version. Raises NotFound."""
        ...

    async def templates(
        self, *, namespace: str | None = None, name: str | None = None
    ) -> list[StoredTemplate]:
        """List approved templates by (namespace, name, registration)."""
        ...

    async def versions(self, namespace: str, name: str) -> list[str]:
        """List the approved versions of a template, in no particular order."""
        ...

    async def count_unserved_roots(self, name: TemplateName) -> int:
        """Count the roots of an approved template that no live worker can run."""
        ...

    async def create_tasks(
        self,
        tasks: Sequence[NewTask],
        *,
        worker: WorkerId | None = None,
        claim_up_to: int = 0,
        connection: Any = None,  # a driver's; its type is known to its store only
    ) -> Created:
        """Store tasks with all their steps, in one transaction.

        Roots are enqueued; up to `claim_up_to` of them that `worker` serves are
        claimed for it in the same transaction. A task whose idempotency key is
        taken in its namespace is not created: the holder of the key is returned. A key that
        was taken with `unique_while` open is free when its task has ended. With `if_exists`
        replace, the holder is cancelled if it is open, and the new task gets its key. With
        `connection`, one of asyncpg to the same PostgreSQL, the tasks become part of its
        transaction: they exist, and workers are woken, when the caller commits.

        Raises:
            IdempotencyConflict: A key was used with another template or context.
            TaskExists: A key is taken, and `if_exists` is reject.
            Misuse: `if_exists` is replace, and two of the tasks have one key, or there is a
                `connection`.
            NotFound: A template id or a parent is unknown.
            NotApproved: A template accepts no new tasks. The holder of a key
                is still returned.
        """
        ...

    async def get_task(self, task_id: TaskId) -> Task:
        """Read a task. Raises NotFound.

        Its result, its failure and its counts are those of its first `limits.STEPS_PAGE` steps.
        """
        ...

    async def etags(self, ids: Collection[TaskId]) -> dict[TaskId, str]:
        """Return the ETags of those of `ids` that exist, as `get_task` returns them."""
        ...

    async def ended_tasks(self, ids: Collection[TaskId]) -> set[TaskId]:
        """Return those of `ids` that have ended or do not exist."""
        ...

    async def find_task(self, namespace: str, idempotency_key: str) -> Task | None:
        """Return the task that holds a key, or None if the key is free."""
        ...

    async def list_tasks(
        self, filter: TaskFilter, *, after: TaskId | None = None, limit: int = 25
    ) -> list[Task]:
        """List tasks, newest first, that are older than `after`.

        Raises: NotFound (`after` or the filter's parent is not an id).
        """
        ...

    async def count_tasks(self, filter: TaskFilter, *, most: int) -> dict[TaskStatus, int]:
        """Count the tasks of each status that match a filter, up to `most` of each.

        Of the open tasks, the newest `most` are divided into pending ones and those in progress.
        The filter's own status is ignored. Raises: NotFound (the filter's parent is not an id).
        """
        ...

    async def attached_tasks(self, parent_id: TaskId, *, limit: int) -> list[TaskId]:
        """List open tasks that are cancelled with their parent."""
        ...

    async def current_steps(self, ids: Collection[TaskId]) -> dict[TaskId, CurrentStep]:
        """Return of each task the step that says most about it; ended ones may have none."""
        ...

    async def list_steps(
        self,
        task_id: TaskId,
        *,
        after: int = 0,
        limit: int | None = None,
        unfinished: bool = False,
    ) -> list[Step]:
        """List steps by number, beyond `after`. Raises NotFound for an unknown task.

        With `unfinished`, those that have not ended, and those that failed.
        """
        ...

    async def history(
        self, task_id: TaskId, *, no: int | None = None, limit: int = 1000
    ) -> list[Attempt]:
        """List the attempts that ended, oldest first. Raises NotFound.

        Without `no`, those of the first `limits.STEPS_PAGE` steps.
        """
        ...


class OperatorStore(Protocol):
    """Operator actions on tasks, audit, workers and pruning.

    With `if_match`, the ETag of a task as it was read, an action raises TaskChanged if the
    task or one of its steps has changed since.
    """

    async def cancel_task(
        self, task_id: TaskId, act: AuditNote, *, if_match: str | None = None
    ) -> Task:
        """End an open task as cancelled. Its running attempts can no longer settle.

        Of a task with more than 1,000 open steps, the others end in further transactions, which
        `sweep` continues if the caller dies. Until then some of them may be claimed.

        Its attached children are cancelled with it, up to 100 in each task; the others follow by
        `cancel_orphaned_tasks`. Tasks that waited for its place among the open ones may start.

        Raises: NotFound, WrongStatus (it ended already).
        """
        ...

    async def record_reveal(
        self, task_id: TaskId, act: AuditNote, *, no: int | None = None
    ) -> None:
        """Record in the audit log that the masked data of a task, or of one step, was revealed.

        Raises: NotFound.
        """
        ...

    async def retry_steps(
        self,
        task_id: TaskId,
        act: AuditNote,
        *,
        steps: Collection[int] | None = None,
        counted_attempts: Mapping[int, int] | None = None,
        fresh: bool = False,
        if_match: str | None = None,
    ) -> Task:
        """Enqueue failed steps again, and reopen their task.

        Of a task that missed its deadline, the steps cancelled by it may run as well, and
        the deadline is lifted.

        Args:
            task_id: The task.
            act: The actor and the reason.
            steps: Step numbers; None: all failed steps.
            counted_attempts: By step number, the attempts that count as used; absent: 0,
                so that the step starts over.
            fresh: Whether the durable calls of the steps are deleted, so that their handlers
                make them again; tasks that they created lose their idempotency keys.
            if_match: The ETag that the task must have.

        Raises:
            NotFound: The task or a step does not exist.
            WrongStatus: The task was cancelled, or a step did not fail.
            TaskExists: Its idempotency key belongs to another open task meanwhile.
        """
        ...

    async def resolve_step(
        self,
        task_id: TaskId,
        no: int,
        result: JsonText | None,
        act: AuditNote,
        *,
        action: StepAction = StepAction.RESOLVE,
        if_match: str | None = None,
    ) -> Task:
        """Declare a step done, with `result`: complete, or else resolved_manually.

        Its children are freed as if it had run, a failed task is reopened, and a
        running attempt can no longer settle.

        Raises:
            NotFound: The task or the step does not exist.
            WrongStatus: It is done or cancelled, or waits for dependencies.
            TaskExists: Its task's idempotency key belongs to another open task meanwhile.
        """
        ...

    async def resolve_task(
        self, task_id: TaskId, act: AuditNote, *, if_match: str | None = None
    ) -> Task:
        """Declare a failed task done: it ends as resolved_manually, its open steps as skipped.

        Raises: NotFound, WrongStatus (it did not fail).
        """
        ...

    async def audit(self, task_id: TaskId) -> list[AuditEntry]:
        """List operator actions on a task, oldest first. Raises NotFound."""
        ...

    async def worker_steps(self, worker: WorkerId, *, limit: int = 200) -> list[RunningStep]:
        """List the steps that a worker runs, those that it claimed last first."""
        ...

    async def worker_attempts(
        self,
        worker: WorkerId,
        *,
        namespaces: Collection[str] | None = None,
        limit: int = MOST_WORKER_ATTEMPTS,
    ) -> list[WorkerAttempt]:
        """List attempts of a worker that ended, newest first.

        Reads the newest 1,000 tasks, and at most 20,000 attempts of them.

        Args:
            worker: The worker.
            namespaces: Only attempts of tasks in these; None: in all.
            limit: Maximum number of attempts.
        """
        ...

    async def worker_queues(self, worker: WorkerId) -> list[ServedQueue]:
        """List the queues that a worker serves, by namespace and handler."""
        ...

    async def list_workers(self) -> list[WorkerInfo]:
        """List workers whose lease holds, or expired less than a day ago; newest first."""
        ...

    async def prune(self, *, ended_before: datetime | None = None, limit: int = 1000) -> int:
        """Delete up to `limit` ended tasks with all their rows; return how many.

        Tasks of a template with a `retention` are deleted when it has passed since their
        end, others when they ended before `ended_before`; None: others are kept. Workers
        that hold nothing are deleted as well, if their lease expired before then or more than
        30 days ago.
        """
        ...

    async def prunable(self, *, ended_before: datetime | None = None) -> int:
        """Count the tasks that `prune` would delete."""
        ...


class BulkStore(Protocol):
    """Operations on many tasks at once."""

    async def add_bulk(self, new: NewBulk, act: AuditNote) -> BulkOperation:
        """Store an operation, or return the one that is stored with its id."""
        ...

    async def bulk(self, bulk_id: str) -> StoredBulk:
        """Read an operation. Raises NotFound."""
        ...

    async def bulks(self, *, after: str | None = None, limit: int = 100) -> list[StoredBulk]:
        """List operations older than `after`, newest first."""
        ...

    async def stop_bulk(self, bulk_id: str, act: AuditNote) -> BulkOperation:
        """Stop an operation: it changes no further task, once this returns.

        Raises: NotFound, WrongStatus (it has ended).
        """
        ...

    async def take_bulk(self) -> StoredBulk | None:
        """Take the operation that waits longest for its next batch of tasks, or return None.

        Others may take it if it makes no progress for `tasker.store.operations.bulk.LEASE`
        seconds.
        """
        ...

    async def next_bulk(self) -> float | None:
        """Return the seconds until an operation may be taken, or None if none runs."""
        ...

    async def act_in_bulk(
        self,
        stored: StoredBulk,
        task_id: TaskId,
        *,
        steps: Collection[int] | None = None,
        counted_attempts: Mapping[int, int] | None = None,
    ) -> StoredBulk | None:
        """Apply the action of an operation to its next task, and store that it came so far.

        Args:
            stored: The operation, with the task that it handled last.
            task_id: The next task.
            steps: See `OperatorStore.retry_steps`.
            counted_attempts: See `OperatorStore.retry_steps`.

        Returns:
            The operation after this task, or None if it was stopped, or others carry it on.

        Raises:
            Refused: The task cannot be changed; nothing is stored.
        """
        ...

    async def pass_in_bulk(
        self, stored: StoredBulk, task_id: TaskId, refusal: BulkRefusal | None
    ) -> StoredBulk | None:
        """Store that an operation came to a task without changing it; as `act_in_bulk`.

        Without a `refusal`, the task is not one that it may change, and is not counted.
        """
        ...

    async def pace_bulk(self, stored: StoredBulk, delay: float, *, ended: bool = False) -> None:
        """Let the next batch begin in `delay` seconds, or end the operation.

        This changes nothing if it was stopped, or others carry it on.
        """
        ...

    async def prune_bulks(self, before: datetime) -> None:
        """Delete operations that ended before an instant."""
        ...

    async def count_by_template(self, filter: TaskFilter, *, most: int) -> dict[str, int]:
        """Count the newest tasks that match, `most` together, by `namespace.name`."""
        ...


class SignalStore(Protocol):
    """Signals to tasks, and broadcasts."""

    async def signal(self, signal: NewSignal, act: AuditNote) -> SignalSent:
        """Store a signal to a task, and wake the first of its steps that waits for it.

        The signal is kept until a step waits for it. Sending a signal with the same name and id
        again changes nothing.

        Raises:
            NotFound: The task does not exist.
            WrongStatus: The task has ended.
            TooManySignals: The task has 1,000 signals that no step has taken.
        """
        ...

    async def broadcast(self, broadcast: NewBroadcast, sent_by: str) -> BroadcastSent:
        """Store a broadcast, and wake all steps that wait for it, 100 in each transaction.

        Sending a broadcast with the same id again only completes its delivery.

        Raises:
            TooManyBroadcasts: 1,000 broadcasts with the same name and key were sent within a week.
        """
        ...


class ApprovalStore(Protocol):
    """Approvals: decisions that steps wait for."""

    async def approvals(
        self,
        *,
        assignee: Collection[str] | None = None,
        namespace: str | None = None,
        task_id: TaskId | None = None,
        visible: Collection[str] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        """List approvals that steps wait for, the oldest first.

        Args:
            assignee: Only those assigned to one of these (`user:ana`, `role:support`), or to
                nobody in particular.
            namespace: Only those of tasks of this namespace.
            task_id: Only those of this task.
            visible: Only those of tasks of these namespaces.
            after: Only those after the approval with this id: the next page.
            limit: How many at most.
        """
        ...

    async def decided_approvals(
        self,
        *,
        namespace: str | None = None,
        task_id: TaskId | None = None,
        visible: Collection[str] | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        """List decided approvals, the latest first."""
        ...

    async def approval(self, approval_id: str) -> Approval:
        """Return an approval. Raises NotFound."""
        ...

    async def decide(
        self, approval_id: str, form: JsonText, *, groups: Collection[str], act: AuditNote
    ) -> Approval:
        """Store the decision of an approval, which fits its form, and wake its step.

        Args:
            approval_id: The approval.
            form: The form as it was filled in.
            groups: The groups of the actor, for assignees of the form `role:NAME`.
            act: The actor, who must be an assignee, and the reason, for the audit log.

        Raises:
            NotFound: The approval does not exist.
            NotAnAssignee: It is assigned to others.
            WrongStatus: It was decided before, or its step does not wait any more.
        """
        ...


class CompletionStore(Protocol):
    """Completions of external steps by other systems."""

    async def complete_external(self, digest: str, value: JsonText) -> bool:
        """Complete the step of a token with `{"result": ...}` or `{"error": ...}`.

        If its handler still runs, or waits for another attempt, the completion is kept. False:
        there is no such token, or its step was completed or has ended.
        """
        ...


class HookStore(Protocol):
    """Provider hooks of namespaces."""

    async def put_hook(self, hook: Hook, secret: str, act: AuditNote) -> Hook:
        """Insert or replace a hook. Raises InvalidInput."""
        ...

    async def delete_hook(self, namespace: str, name: str, act: AuditNote) -> None:
        """Delete a hook. Raises NotFound."""
        ...

    async def hooks(
        self, *, namespace: str | None = None, visible: Collection[str] | None = None
    ) -> list[Hook]:
        """List hooks by namespace and name, only those of the `visible` namespaces."""
        ...

    async def hook_secret(self, namespace: str, name: str) -> HookSecret | None:
        """Return a hook with its secret, or None if it does not exist."""
        ...


class QueueStore(Protocol):
    """Pauses of tasks, templates, queues and namespaces, and the weights of queues.

    While something is paused, none of its steps is claimed. Running attempts continue and
    settle; steps that they free wait. Deadlines run on; a `queue_timeout` starts over at the
    end of the pause.
    """

    async def pause(
        self, target: PauseTarget, act: AuditNote, *, if_match: str | None = None
    ) -> Pause:
        """Pause a target; return its pause, or the existing one if it is paused already.

        Pausing a template also pauses tasks of later versions. Its open tasks are paused in
        transactions of 100; repeating an interrupted call completes it.

        Args:
            target: What to pause.
            act: The actor and the reason.
            if_match: The ETag that a task must have.

        Raises: NotFound, WrongStatus (the task has ended), TaskChanged.
        """
        ...

    async def resume(
        self, target: PauseTarget, act: AuditNote, *, if_match: str | None = None
    ) -> bool:
        """End a pause; return False if the target was not paused.

        Other pauses of the same steps remain.

        Raises: NotFound, TaskChanged.
        """
        ...

    async def pauses(self, *, namespace: str | None = None) -> list[Pause]:
        """List the current pauses of a namespace, newest first; None: of all namespaces."""
        ...

    async def set_queue_weight(
        self, namespace: str, handler: str, weight: float, act: AuditNote
    ) -> None:
        """Set the weight of a handler's queue, which determines its share of claims.

        Args:
            namespace: The namespace.
            handler: The handler, as templates name it.
            weight: 0.01 to 100; a new queue has 1.
            act: The actor and the reason.

        Raises: NotFound, InvalidInput.
        """
        ...


class ScheduleStore(Protocol):
    """Schedules, which create a task at each of their ticks.

    With `if_match`, the ETag of a schedule as it was read, an action raises ScheduleChanged if it
    was changed since.
    """

    async def create_schedule(self, new: NewSchedule, act: AuditNote) -> StoredSchedule:
        """Store a valid schedule; its first tick is the first one after now.

        Raises:
            ScheduleExists: The namespace already has a schedule with this name.
            InvalidInput: The namespace has too many schedules.
        """
        ...

    async def change_schedule(
        self, new: NewSchedule, act: AuditNote, *, if_match: str | None = None
    ) -> StoredSchedule:
        """Replace a schedule of an operator.

        Its next tick stays unless its times change; then it is the first one after now.

        Raises: NotFound, ScheduleChanged, Refused (a template declares it).
        """
        ...

    async def pause_schedule(
        self,
        namespace: str,
        name: str,
        act: AuditNote,
        *,
        paused: bool,
        if_match: str | None = None,
    ) -> StoredSchedule:
        """Pause or resume a schedule; nothing changes if it is so already.

        Ticks during a pause never get a task: resuming records them, and continues with the
        first tick after now.

        Raises: NotFound, ScheduleChanged.
        """
        ...

    async def delete_schedule(
        self, namespace: str, name: str, act: AuditNote, *, if_match: str | None = None
    ) -> StoredSchedule:
        """Delete a schedule of an operator, and return it; its tasks stay.

        Raises: NotFound, ScheduleChanged, Refused (a template declares it).
        """
        ...

    async def schedule(self, namespace: str, name: str) -> StoredSchedule:
        """Return a schedule. Raises NotFound."""
        ...

    async def schedules(
        self,
        *,
        namespace: str | None = None,
        template: str | None = None,
        visible: Collection[str] | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[StoredSchedule]:
        """List schedules by id, beyond `after`.

        Args:
            namespace: Only its schedules; None: all.
            template: Only those of a template with that name; None: all.
            visible: Only those of these namespaces; None: all.
            after: Only those with greater ids.
            limit: Maximum number.
        """
        ...

    async def ticks_without_task(
        self, namespace: str, name: str, *, limit: int = 100
    ) -> list[TickRecord]:
        """List the recorded ticks without a task, the latest first. Raises NotFound."""
        ...

    async def due_schedules(self, limit: int) -> list[DueSchedule]:
        """List schedules that have a tick to handle, those that wait longest first."""
        ...

    async def advance_schedule(
        self, due: DueSchedule, advance: Advance, act: AuditNote
    ) -> Advanced | None:
        """Handle the ticks of a due schedule, in one transaction: create tasks, record other ticks,
        and move on to the next tick.

        A tick whose idempotency key has a task already gets no other.

        Args:
            due: The schedule as it was read.
            advance: What happens. `look_at` is after `due.now`.
            act: The actor and the reason of a cancellation.

        Returns:
            What was created; None if the schedule was changed or handled by another process since
            it was read, or is being handled: then nothing has changed.

        Raises: IdempotencyConflict, Refused (a template accepts no new tasks).
        """
        ...

    async def create_scheduled_tasks(
        self, stored: StoredSchedule, tasks: Sequence[ScheduledTask]
    ) -> Advanced:
        """Create tasks for ticks without changing the schedule.

        Raises: IdempotencyConflict, Refused (a template accepts no new tasks).
        """
        ...


class TeamStore(Protocol):
    """Namespaces and their policies, decisions about template versions, API keys, audit log."""

    async def namespaces(self) -> list[NamespaceInfo]:
        """List namespaces that have a policy or a template, and `default`, by name."""
        ...

    async def policy(self, namespace: str) -> NamespacePolicy | None:
        """Return the policy of a namespace, or None if it has none."""
        ...

    async def put_policy(self, policy: NamespacePolicy, act: AuditNote) -> NamespacePolicy:
        """Insert or replace the policy of a namespace.

        Storing the same policy again is a no-op, without an audit entry. Template versions keep
        their status: a new approval requirement only applies to versions registered later, and
        pending versions stay pending.

        Raises:
            InvalidInput: A name or an address is malformed, or an approval is required without
                approvers.
        """
        ...

    async def decide_template(
        self, name: TemplateName, *, approve: bool, act: AuditNote
    ) -> TemplateVersion:
        """Approve or reject the version that is pending review.

        Once approved, it takes new tasks, in place of the version's former content. Nobody
        approves their own registration; rejecting it withdraws it. If the namespace's policy
        no longer requires reviews, anyone may decide.

        Raises:
            NotFound: The name is unknown.
            WrongStatus: No version is pending.
            NotAnApprover: The actor may not review it.
            InvalidInput: A rejection without a reason.
        """
        ...

    async def retire_template(self, name: TemplateName, act: AuditNote) -> TemplateVersion:
        """Retire an approved version: it accepts no new tasks, and its existing tasks continue.

        Raises: NotFound, WrongStatus.
        """
        ...

    async def restore_template(self, name: TemplateName, act: AuditNote) -> TemplateVersion:
        """Restore a retired version: it accepts tasks again. Raises: NotFound, WrongStatus."""
        ...

    async def template_statuses(
        self, *, namespace: str | None = None, name: str | None = None
    ) -> list[TemplateVersion]:
        """List template versions of every status by (namespace, name, registration).

        A version appears several times if it has rejected content, or pending content beside
        the current one.
        """
        ...

    async def team_audit(
        self,
        *,
        namespace: str | None = None,
        visible: Collection[str] | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[TeamEvent]:
        """List changes of policies, template versions and API keys.

        Args:
            namespace: Only its entries; None: all, including those of API keys.
            visible: Only entries of these namespaces; None: all.
            after: Only entries older than this id.
            limit: Maximum number of entries.

        Returns:
            Newest first.
        """
        ...

    async def add_api_key(self, key: NewApiKey, act: AuditNote) -> ApiKey:
        """Store an API key. A store never receives the secret, only its hash.

        Raises:
            InvalidInput: A field cannot be stored, or a namespace is malformed.
        """
        ...

    async def find_api_key(self, prefix: str) -> ApiKeyDigest | None:
        """Return the key with a prefix and its digest, even if revoked or expired."""
        ...

    async def list_api_keys(self) -> list[ApiKey]:
        """List all keys, newest first, revoked ones included."""
        ...

    async def revoke_api_key(self, prefix: str, act: AuditNote) -> ApiKey:
        """Revoke a key permanently. Raises: NotFound, WrongStatus (it is revoked)."""
        ...

    async def touch_api_key(self, prefix: str) -> None:
        """Record the use of a key; writes at most once a minute."""
        ...

    async def add_session(
        self,
        digest: str,
        key_prefix: str | None = None,
        *,
        claims: JsonObject | None = None,
        lifetime: timedelta,
    ) -> UserSession:
        """Store a person's login in a browser, and delete the logins that have expired.

        Args:
            digest: The SHA-256 of the session's secret, which a store never receives.
            key_prefix: The prefix of the API key that the person logged in with.
            claims: The claims of their identity provider, instead of a key.
            lifetime: The time after which the session ends, whether or not it is used.
        """
        ...

    async def find_session(self, digest: str, *, idle: timedelta) -> UserSession | None:
        """Return a session, unless it has ended or was not used for the time `idle`."""
        ...

    async def touch_session(self, digest: str) -> None:
        """Record the use of a session; writes at most once a minute."""
        ...

    async def end_session(self, digest: str) -> None:
        """Delete a session; does nothing if it has ended."""
        ...


class AnalyticsStore(Protocol):
    """Statistics on recent work."""

    async def failed_steps(self, window: Window, *, limit: int = 1000) -> list[FailedStep]:
        """List steps that failed permanently, in tasks of the window that nobody has continued.

        At most the newest `limit` failed and the newest `limit` open tasks are read.

        Returns:
            The newest failure first.
        """
        ...

    async def usual_durations(self, stored: StoredTemplate) -> UsualDurations:
        """Return how long a template version and its steps usually take.

        Measured by its newest complete tasks, at most 50 and 5,000 steps: no matter how many tasks
        there are, this reads no more.
        """
        ...

    async def failure_care(self, fingerprints: Sequence[str]) -> list[FailureCare]:
        """Return who looks after causes of failures, as far as somebody does."""
        ...

    async def change_failure_care(
        self, namespace: str, fingerprint: str, change: FailureCareChange, act: AuditNote
    ) -> FailureCare:
        """Assign, note or mute a cause of failures; recorded in the audit log of its namespace."""
        ...

    async def performance(self, window: Window) -> Performance:
        """Return durations, rates and outcomes of the tasks of a window.

        At most the newest tasks and attempts within the bounds of `tasker.analytics.model` are
        read. It never blocks workers: one analysis at a time reads from a snapshot, with a
        time limit.

        Raises:
            StoreUnavailable: The time limit was exceeded.
        """
        ...

    async def bottlenecks(
        self, window: Window, *, limit: int = 10, min_executions: int = 1
    ) -> Bottlenecks:
        """Return the bottlenecks of a window's tasks; bounded as `performance`.

        Args:
            window: The tasks to analyse.
            limit: Maximum number of entries per list.
            min_executions: Steps and templates with fewer executions are omitted.
        """
        ...

    async def backlog(self) -> Utilization:
        """Count the steps that are due now, due later, and running."""
        ...

    async def queue_backlog(self) -> Sequence[Backlog]:
        """Count the steps of each namespace and handler that are due, due later, and running."""
        ...

    async def add_figures(self, figures: Sequence[Figures]) -> None:
        """Append what a worker has counted."""
        ...

    async def tend_figures(self) -> None:
        """Count the tasks created in the minutes that have passed, merge rows, delete old ones.

        Each minute is counted once, regardless of the caller. Of an outage of all workers, the last
        hour is counted.
        """
        ...

    async def figures(self, window: Window, *, step_seconds: int) -> list[FigureRow]:
        """Return the figures of a window, added up over points of `step_seconds`."""
        ...

    async def oldest_snapshot(self) -> OldestSnapshot | None:
        """Return the oldest open snapshot besides that of this call, or None.

        SQLite does not show its readers: it always returns None.
        """
        ...


class EventStore(Protocol):
    """Domain events, who subscribes to them, and their deliveries."""

    async def list_events(
        self, filter: EventFilter, *, after: EventNo | None = None, limit: int = 100
    ) -> list[Event]:
        """List events older than `after`, newest first, without context and result."""
        ...

    async def recent_events(self, after: EventNo, since: datetime, limit: int) -> list[Event]:
        """List the newest `limit` events that are beyond `after` or younger than `since`,
        oldest first.

        Events become visible out of order: `since` should lie some seconds in the past, and the
        caller drops those that it has seen.
        """
        ...

    async def subscribe(
        self, subscriptions: Sequence[NewSubscription], actor: str
    ) -> list[SubscriptionId]:
        """Store subscriptions of code in workers, or note that they are still served.

        A new one gets the events from now on. To be repeated: one that no worker has served for
        as long as events are kept is deleted.

        Raises:
            Misuse: A webhook has the name of one of them.
        """
        ...

    async def subscriptions(self) -> list[Subscription]:
        """List all subscriptions, webhooks included, by namespace and name."""
        ...

    async def distribute_events(self, limit: int = 1000) -> int:
        """Make deliveries of up to `limit` new events, oldest first; return how many events.

        Each event is distributed once, to the subscriptions that existed when it was published.
        One process does it at a time; for others it returns 0.
        """
        ...

    async def claim_deliveries(
        self, subscriptions: Sequence[SubscriptionId], limit: int, *, lease: timedelta
    ) -> list[Pending]:
        """Claim due deliveries, about `limit` of each subscription.

        Deliveries of one task to one subscription are made in the order of its events: none is
        claimed before the earlier ones have ended. After `lease`, others may claim what is not
        settled.
        """
        ...

    async def settle_deliveries(self, outcomes: Sequence[DeliveryOutcome]) -> None:
        """Record attempts to deliver; those of deliveries that others have claimed are ignored.

        A webhook whose endpoint fails gets no further deliveries for a while, up to 5 minutes.
        """
        ...

    async def deliveries(
        self,
        namespace: str,
        name: str,
        *,
        status: DeliveryStatus | None = None,
        after: DeliveryId | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        """List deliveries of a subscription older than `after`, newest first. Raises NotFound."""
        ...

    async def send_again(
        self, namespace: str, name: str, delivery: DeliveryId, act: AuditNote
    ) -> None:
        """Make a delivery due again, whatever became of it. Raises NotFound."""
        ...

    async def endpoints(self) -> list[Endpoint]:
        """List the webhooks that are not paused, with their secrets."""
        ...

    async def webhooks(
        self, *, namespace: str | None = None, visible: Collection[str] | None = None
    ) -> list[Webhook]:
        """List webhooks by namespace and name."""
        ...

    async def webhook(self, namespace: str, name: str) -> Webhook:
        """Read a webhook. Raises NotFound."""
        ...

    async def add_webhook(self, new: NewWebhook, act: AuditNote) -> Webhook:
        """Store a webhook.

        Raises:
            WebhookExists: The namespace already has a webhook or a subscriber with this name.
            InvalidInput: The namespace has too many webhooks.
        """
        ...

    async def update_webhook(
        self, namespace: str, name: str, change: WebhookChange, act: AuditNote
    ) -> Webhook:
        """Change a webhook. Raises NotFound."""
        ...

    async def delete_webhook(self, namespace: str, name: str, act: AuditNote) -> None:
        """Delete a webhook with its deliveries. Raises NotFound."""
        ...

    async def prune_events(self, before: datetime, *, dead_before: datetime) -> int:
        """Delete old events with their deliveries; return how many of the former.

        Args:
            before: Events published and deliveries made before then are deleted, but not events
                with deliveries that are pending or dead; and subscriptions of code that no worker
                has served since.
            dead_before: Dead deliveries are deleted if their last attempt was before then.
        """


class LogStore(Protocol):
    """The log and output of handlers."""

    async def append_logs(self, records: Sequence[NewLogRecord]) -> None:
        """Store log records of attempts.

        A record is identified by (task, step, attempt, number), so repeating a call is harmless.
        Long messages are cut off, and records beyond the bound of an attempt left out (see
        `tasker.step_logs.storable`). Whether the attempts exist is the caller's business.
        """
        ...

    async def logs(
        self,
        task_id: TaskId,
        filter: LogFilter = EVERY_RECORD,
        *,
        after: LogPlace | None = None,
        newest_first: bool = False,
        limit: int = 1000,
    ) -> list[LogRecord]:
        """List the log records of a task by time, those after `after` in this order.

        Raises:
            NotFound: The task does not exist.
        """
        ...

    async def prune_logs(self, before: datetime, *, limit: int = 1000) -> int:
        """Delete up to `limit` records from before an instant; return how many were deleted."""
        ...


class LimitStore(Protocol):
    """Limits on the steps that share a key.

    A key belongs to a namespace, or with the namespace '' to all. Templates declare limits, and
    what operators set for a key, or for a pattern of keys, goes before that: each bound that is
    not None replaces the template's. The setting of the key itself applies, or else that with the
    longest pattern.
    """

    async def set_limit(self, key: LimitKey, values: LimitValues, act: AuditNote) -> None:
        """Set the bounds of a key or, with `*` for any text, of all keys that match."""
        ...

    async def unset_limit(self, key: LimitKey, act: AuditNote) -> None:
        """Remove the limit that was set for a key or a pattern. Raises NotFound."""
        ...

    async def limit_settings(self, namespace: str) -> list[LimitSetting]:
        """List what operators set in a namespace, by pattern."""
        ...

    async def limits(self, namespace: str, *, after: str = "", limit: int = 100) -> list[LimitInfo]:
        """List the limits of keys that were ever used, by key, beyond `after`."""
        ...


class Store(
    WorkerStore,
    TaskStore,
    OperatorStore,
    BulkStore,
    SignalStore,
    ApprovalStore,
    CompletionStore,
    HookStore,
    QueueStore,
    ScheduleStore,
    LimitStore,
    TeamStore,
    EventStore,
    LogStore,
    AnalyticsStore,
    Protocol,
):
    """The store of all state. Used from one event loop; open it with `tasker.store.open_store`."""

    url: str

    @property
    def clock(self) -> Clock:
        """The clock of `Context.now` and of delays: the store's clock if it runs in this process,
        otherwise this machine's clock.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    async def schema_status(self) -> SchemaStatus:
        """Return the version of the schema, without changing it."""
        ...

    async def upgrade(self) -> SchemaStatus:
        """Apply missing migrations, each in a transaction. Safe to repeat."""
        ...
