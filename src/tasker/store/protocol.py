"""The store's interface. The docstrings define each call; the suite in
`tasker.testing.store_suite` checks them on every store.

A call is one transaction: it happens completely or not at all, and its result is durable. Stores
keep JSON as text and never parse it. Leases, `run_at` and deadlines are decided by the store's own
clock, so the clocks of workers need not agree.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from tasker.analytics.failures import FailedStep, FailureTriage, FailureTriageChange
from tasker.analytics.figures import IntervalFigures, MinuteFigures
from tasker.analytics.model import (
    AnalysisWindow,
    Bottlenecks,
    HandlerBacklog,
    OldestSnapshot,
    Performance,
    StoreLoad,
    UsualDurations,
)
from tasker.approvals import Approval
from tasker.bulk import BulkOperation, BulkRejection, NewBulkOperation, StoredBulkOperation
from tasker.clock import Clock
from tasker.codec import UNSTORABLE
from tasker.durable import DurableCall, NewDurableCall
from tasker.errors import InvalidInput, TooLarge
from tasker.events import (
    ClaimedDelivery,
    Delivery,
    DeliveryId,
    DeliveryOutcome,
    DeliveryStatus,
    Event,
    EventFilter,
    EventNo,
    NewSubscription,
    NewWebhook,
    Subscription,
    SubscriptionId,
    Webhook,
    WebhookChange,
    WebhookEndpoint,
)
from tasker.hooks import HookWithSecret, ProviderHook
from tasker.model import (
    MOST_WORKER_ATTEMPTS,
    NO_QUEUE,
    AccessChannel,
    Attempt,
    AuditEntry,
    Claim,
    ClaimResult,
    CompensatingStep,
    CompensationCandidate,
    CreateTasksResult,
    CurrentStep,
    ExpiredAttempt,
    FailUnclaimedResult,
    GroupClaimResult,
    JsonObject,
    JsonText,
    LimitInfo,
    LimitKey,
    LimitSetting,
    LimitValues,
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
    Settlement,
    SettleResult,
    SpawnedStepNumbers,
    Step,
    StepResult,
    StoredSpawn,
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
    UnservedQueue,
    WorkerAttempt,
    WorkerId,
    WorkerInfo,
    WorkerOnSameMachine,
    WorkerRegistration,
)
from tasker.schedules.model import (
    DueSchedule,
    NewSchedule,
    ScheduleAdvance,
    ScheduleAdvanceResult,
    ScheduledTask,
    StoredSchedule,
    TicksWithoutTask,
)
from tasker.step_logs import EVERY_RECORD, LogFilter, LogPosition, LogRecord, NewLogRecord
from tasker.teams.model import (
    ApiKey,
    ApiKeyWithDigest,
    NamespaceInfo,
    NamespacePolicy,
    NewApiKey,
    TeamAuditEntry,
    UserSession,
)
from tasker.waits import BroadcastSent, NewBroadcast, NewSignal, NewWait, SignalSent

UNKNOWN_PROCESS = WorkerRegistration()
COMPLETED_STEPS = 1_000  #: most steps that one call of `list_completed_steps_of_nodes` returns
LONGEST_REASON = 10_000  #: bytes of a reason, or of an actor's name


class RegisterTemplateResult(NamedTuple):
    """The result of `register_template`."""

    stored: StoredTemplate
    created: bool  #: False if the same content existed already


class StepResolution(StrEnum):
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
    via: AccessChannel | None = None
    """The interface through which the actor reached the store; None if the actor is a program that
    opened the store itself."""

    bulk_id: str | None = None
    """Id of the bulk operation that the change is part of."""

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

    async def list_queues(self, *, after: QueueId = NO_QUEUE) -> list[Queue]:
        """List queues: one for each namespace, handler and requirement that any template has used.

        Queues are never removed and later ones have greater ids, so a call with `after`, the last
        known id, returns the new ones.
        """
        ...

    async def find_paused_queues(self, queues: Collection[PauseTarget]) -> set[PauseTarget]:
        """Return the handlers' queues that are paused or whose namespace is paused."""
        ...

    async def load_task_inputs(self, ids: Sequence[TaskId]) -> list[TaskInput]:
        """Return the inputs of tasks for workers, in no particular order."""
        ...

    async def load_step_results(self, steps: Mapping[TaskId, Sequence[int]]) -> list[StepResult]:
        """Return the results of steps that are done; others are omitted."""
        ...

    async def claim(self, worker: WorkerId, limit: int) -> ClaimResult:
        """Lease up to `limit` due steps to a worker.

        A step is due when it is enqueued and its `run_at` is reached. It is claimed from the
        queues that the worker serves and that are not paused. Each queue with due steps gets a
        share according to its weight, up to five queues in one claim, drawn at random by weight.
        The rest of the limit goes to queues with more due steps. Within a queue, the steps due
        longest come first; each level of priority counts as a minute. Claiming makes a step
        in_progress and adds one to its attempt; no two claims ever carry the same (task, step,
        attempt). Never waits for rows that another claim holds. A worker that gets fewer steps than
        it requested becomes idle: until its next full claim, calls that leave due steps behind wake
        it.
        """
        ...

    async def claim_for_workers(self, rooms: Mapping[WorkerId, int]) -> GroupClaimResult:
        """Lease due steps to several workers that serve the same queues, in one transaction.

        Like `claim` for all of them together. The workers get one step each in turn, up to their
        number in `rooms`, so no worker gets two while another with room has none.
        """
        ...

    async def claim_limited_steps(self, worker: WorkerId, limit: int) -> ClaimResult:
        """Lease up to `limit` due steps that are under limits to a worker.

        Like `claim`, but for the queues of limited steps, which `claim` ignores. A worker's claims
        cycle through the limit keys. Each key lets through as many steps as its limit allows, those
        due longest first. At no time are more steps of a key in progress than its `concurrency`,
        unless that was lowered, and in no period of `t` seconds more are claimed than its `burst`
        plus `t` times its `rate`. The end of an attempt, whatever its outcome, makes room.
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
    ) -> SettleResult:
        """Record outcomes and their consequences.

        For each outcome whose (task, step, attempt) is in progress: the result or
        error and the attempt's history are stored; children without unmet parents are
        enqueued; the task ends when all its sinks are done, or when a step failed for
        good and no further step can run. A parked attempt does not count, and its step is due
        again after its delay. Up to `claim_up_to` of the freed steps that
        `worker` serves are claimed for it. Other outcomes are rejected without effect, so sending
        an outcome twice is harmless.

        With `relaxed`, a settlement that ends no task may be undone by a crash of the database
        server within the next second: its steps are then in progress again, as `list_held_claims`
        lists them, and the claims that it returned are void. Only PostgreSQL does this.

        The `events` of accepted outcomes are stored in the same transaction, which is then never
        relaxed.

        `gated` means that some of the attempts were under limits, so idle workers are woken.

        Raises:
            StoreUnavailable: It is unknown whether the call took effect; call `list_held_claims`.
        """
        ...

    async def settle_for_workers(self, settlements: Sequence[Settlement]) -> list[SettleResult]:
        """Record outcomes of several workers in one transaction, completely or not at all.

        Like `settle` for each of them, in any order. A freed step is claimed for a worker whose
        outcome freed it.

        Raises:
            StoreUnavailable: It is unknown whether the call took effect; call `list_held_claims`.
            StoreError: One of the outcomes cannot be stored, so none was.
        """
        ...

    async def store_checkpoint(self, claim: Claim, value: JsonText) -> bool:
        """Store the progress of an attempt for the next one; return False if the claim is lost."""
        ...

    async def record_durable_calls(self, calls: Sequence[NewDurableCall]) -> dict[int, float]:
        """Store durable calls of attempts in progress, for later attempts of their steps.

        The caller must enforce the limits of a step's records. Existing names are not changed, so
        repeating a call is harmless.

        Args:
            calls: Sorted by task and step.

        Returns:
            By the index of each call that was accepted, the seconds until the end of a sleep, else
            0. The others belong to attempts that no longer hold their claim.
        """
        ...

    async def load_durable_calls(self, claim: Claim) -> list[DurableCall]:
        """Return the durable calls recorded for a claim's step, in no particular order."""
        ...

    async def park_until_task_ends(self, claim: Claim, waits_for: TaskId) -> bool:
        """Park a step until another task ends; return False if the claim is lost.

        The attempt ends and does not count. The step is enqueued again when that task ends, or
        immediately if it has already ended.

        Raises:
            WaitCycle: That task waits for the claim's task, directly or through others.
        """
        ...

    async def spawn_instances(self, claim: Claim, new: NewInstances) -> SpawnedStepNumbers | None:
        """Insert steps at run time: instances of a body that the template declares.

        The first call of a spawn reserves the numbers of all its instances; each call inserts up
        to `MOST_SPAWNED` steps. Existing steps are not changed, so a call may be repeated, even by
        a later attempt. The last steps of the new instances become parents of the join. They
        inherit the task's priority and pause.

        Returns:
            The numbers of the spawn, determined by its first call; None if the claim is lost.

        Raises:
            TooManyInstances: The join would have more than `limits.INSTANCES`.
        """
        ...

    async def admit_waiting_tasks(self, limit: int) -> int:
        """Start tasks that waited until fewer tasks with their key are open; return how many.

        Args:
            limit: Maximum number of keys to examine.
        """
        ...

    async def admit_tasks_to_freed_places(self, ended: Collection[TaskId]) -> int:
        """Start tasks that waited for the end of the given tasks; return how many."""
        ...

    async def list_completed_steps_of_nodes(
        self, task_id: TaskId, nodes: Collection[int], *, after: int = 0
    ) -> list[CompensationCandidate]:
        """Return the completed steps that were created from any of these nodes, by number.

        Args:
            task_id: The task.
            nodes: Numbers of steps in its template.
            after: Only steps with greater numbers, at most `COMPLETED_STEPS`.
        """
        ...

    async def add_compensating_steps(
        self, claim: Claim, steps: Sequence[CompensatingStep], total: int, *, keep_going: bool
    ) -> bool:
        """Insert compensating steps; return False if the claim is lost.

        The first call reserves the numbers of all of them. Existing steps are not changed, so a
        call may be repeated, even by a later attempt.

        Args:
            claim: The attempt of the step that plans them.
            steps: Up to `MOST_SPAWNED` steps. Steps that wait for one of them are among them or
                were inserted earlier.
            total: The number of all of them.
            keep_going: Whether a step that fails permanently frees the steps that wait for it.
        """
        ...

    async def list_spawns(self, task_id: TaskId, join_no: int) -> list[StoredSpawn]:
        """List the spawns for a join, by first instance."""
        ...

    async def count_failed_instances(self, spawn: StoredSpawn) -> int:
        """Count the instances of a spawn with a step that failed permanently."""
        ...

    async def cancel_unstarted_instances(self, spawn: StoredSpawn) -> None:
        """Cancel the steps of a spawn that have not started, in transactions of `MOST_SPAWNED`."""
        ...

    async def load_runtime_steps(self, steps: Mapping[TaskId, Sequence[int]]) -> list[RuntimeStep]:
        """Return the inputs of instances, with the instances that their spawners are part of.

        Each is returned once.
        """
        ...

    async def receive_arrival(self, claim: Claim, wait: NewWait) -> DurableCall | None:
        """Record and return the first arrival for a wait of an attempt, or return None.

        Each signal to the task goes to one step, oldest first. A broadcast is received if it was
        sent since the task was created. None: nothing has arrived, or the claim is lost.
        """
        ...

    async def park_for_arrival(self, claim: Claim, wait: NewWait) -> bool:
        """Park a step until an arrival or the timeout of its wait; return False if the claim is
        lost.

        The attempt ends and does not count. The first arrival is recorded as the durable call of
        the wait and enqueues the step; for an earlier arrival, both happen immediately. After the
        timeout, `end_timed_out_waits` does the same with the value `TIMED_OUT`. Signals and
        broadcasts sent in the meantime are not missed.
        """
        ...

    async def end_timed_out_waits(self, limit: int) -> int:
        """End up to `limit` waits that have timed out; return how many were found."""
        ...

    async def fail_external_step_unless_completed(
        self, outcome: Outcome, events: Sequence[NewEvent] = ()
    ) -> SettleResult | None:
        """Settle the last failed attempt of an external step, unless the step was completed.

        Returns:
            None if there is a stored completion: the step then needs another attempt, which uses
            it.
        """
        ...

    async def add_token_and_find_completion(self, claim: Claim, digest: str) -> DurableCall | None:
        """Let whoever has a token complete the attempt's step until the step ends.

        Returns:
            The completion of the step, if an earlier token was already used.
        """
        ...

    async def escalate_approvals(self, limit: int) -> int:
        """Escalate up to `limit` overdue approvals to their further assignees; return how many."""
        ...

    async def cancel_orphaned_tasks(self, limit: int) -> int:
        """Cancel up to `limit` open attached tasks whose parent has ended; return how many were
        found.
        """
        ...

    async def complete_interrupted_broadcasts(self, limit: int) -> int:
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
        process: WorkerRegistration = UNKNOWN_PROCESS,
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
            registration: For a remote worker, its registration, which `find_remote_worker` returns.
            act: For a remote worker, the caller, for the audit log.
        """
        ...

    async def find_remote_worker(self, worker: WorkerId) -> RemoteWorker | None:
        """Return a worker that was announced with a registration, or None."""
        ...

    async def drain_worker(self, worker: WorkerId, act: AuditNote) -> None:
        """Stop a worker from claiming more steps; it finishes the running ones.

        Raises:
            NotFound: There is no worker with the id, or its lease has expired.
        """
        ...

    async def find_or_add_ticket_signing_keys(self) -> list[str]:
        """Return the secrets that sign tickets: the newest and, if there is one, its predecessor.

        The first call creates it.
        """
        ...

    async def add_served_queues(self, worker: WorkerId, queues: Sequence[QueueId]) -> None:
        """Let a worker claim from further queues, given by `Queue.base`."""
        ...

    async def serve_unserved_engine_queues(self, worker: WorkerId) -> None:
        """Let a worker that only runs engine steps claim from exactly those engine queues that no
        other live worker serves.
        """
        ...

    async def count_open_tasks_by_template(self, most: int) -> dict[TemplateId, int]:
        """Count the open tasks of each template, up to `most` in total."""
        ...

    async def renew_lease(
        self, worker: WorkerId, held: Sequence[Claim], *, lease: timedelta
    ) -> list[Claim]:
        """Extend the worker's lease, which covers all of its claims.

        Returns:
            The claims among `held` that the worker has lost because a task was cancelled or an
            operator acted on a step.

        Raises:
            LeaseLost: The lease has expired and all claims are lost; register again.
        """
        ...

    async def renew_leases(
        self, held: Mapping[WorkerId, Sequence[Claim]], *, lease: timedelta
    ) -> Mapping[WorkerId, RenewedLease]:
        """Extend the leases of several workers, as `renew_lease` does for one, in one transaction.

        Args:
            held: The claims of each worker.
            lease: The time for which the leases hold from now on.

        Returns:
            The leases that were extended. The others have expired.
        """
        ...

    async def list_held_claims(self, worker: WorkerId) -> list[Claim]:
        """List the claims that a worker holds, for comparison after a lost reply."""
        ...

    async def retire_worker(self, worker: WorkerId, act: AuditNote | None = None) -> None:
        """End a worker's lease. Its claims are lost.

        Args:
            worker: The worker.
            act: For a remote worker, the caller, for the audit log.
        """
        ...

    async def list_workers_on_machine(self, machine: str) -> list[WorkerOnSameMachine]:
        """List the workers of a machine whose lease is valid: see `WorkerProcess.machine`."""
        ...

    async def wait_for_work(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until there may be work for this process.

        This is only a hint: it may return early and may miss work from other processes.
        """
        ...

    async def wait_for_revocation(self, timeout: float) -> None:
        """Wait until a claim of this process may have been revoked.

        This is only a hint: `renew_lease` decides.
        """
        ...

    async def list_expired_attempts(self, limit: int) -> list[ExpiredAttempt]:
        """List attempts whose worker's lease expired. Settle them as `lost` or failed."""
        ...

    async def fail_unclaimed_steps(self, limit: int) -> FailUnclaimedResult:
        """Fail up to `limit` steps that were due for their `queue_timeout` without being claimed.

        The failure is final: such a step gets an attempt without a worker, whose error has the code
        `queue_timeout`. Each retry restarts the time limit.
        """
        ...

    async def unserved_queues(self, longer_than: timedelta, limit: int) -> list[UnservedQueue]:
        """List queues that no live worker serves and whose next step is due for `longer_than`.

        At most `limit` queues, longest due first.
        """
        ...

    async def end_overdue_and_failed_tasks(self) -> list[TaskEnd]:
        """End tasks past their deadline, and failed tasks without a step that can run.

        A call ends at most 100 tasks past their deadline; the next sweep continues. Also ends the
        remaining steps of tasks that were ended early.
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
        via: AccessChannel | None = None,
    ) -> RegisterTemplateResult:
        """Store a valid template under its namespace, name and version.

        Stores do not check templates: those created in Python must pass
        `validate_and_normalize_template` first.

        Registering the same content again is a no-op, and keeps its status. With `replace`,
        different content replaces the version for new tasks; existing tasks keep their content. If
        the namespace's policy requires reviews, new content is stored as pending_review. It accepts
        tasks, and replaces the previous content, once it is approved. Rejected content is ignored.

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
        via: AccessChannel | None = None,
    ) -> list[RegisterTemplateResult]:
        """Register templates in one transaction, either all or none: see `register_template`."""
        ...

    async def get_template(self, name: TemplateName) -> StoredTemplate:
        """Return an approved template version. Raises NotFound."""
        ...

    async def list_approved_templates(
        self, *, namespace: str | None = None, name: str | None = None
    ) -> list[StoredTemplate]:
        """List approved templates by (namespace, name, registration)."""
        ...

    async def list_approved_versions(self, namespace: str, name: str) -> list[str]:
        """List the approved versions of a template, in no particular order."""
        ...

    async def count_unserved_root_steps(self, name: TemplateName) -> int:
        """Count the roots of an approved template that no live worker can run."""
        ...

    async def create_tasks(
        self,
        tasks: Sequence[NewTask],
        *,
        worker: WorkerId | None = None,
        claim_up_to: int = 0,
        connection: Any = None,  # a driver's connection; only its store knows its type
    ) -> CreateTasksResult:
        """Store tasks with all their steps, in one transaction.

        Roots are enqueued; up to `claim_up_to` of them that `worker` serves are
        claimed for it in the same transaction. A task whose idempotency key is
        taken in its namespace is not created: the holder of the key is returned. A key taken with
        `unique_while` open becomes free when its task ends. With `if_exists` replace, the holder is
        cancelled if it is open, and the new task gets its key. With `connection`, one of asyncpg to
        the same PostgreSQL, the tasks become part of its transaction: they exist, and workers are
        woken, when the caller commits.

        Raises:
            IdempotencyConflict: A key was used with a different template or context.
            TaskExists: A key is taken, and `if_exists` is reject.
            Misuse: `if_exists` is replace, and two of the tasks have one key, or there is a
                `connection`.
            NotFound: A template id or a parent is unknown.
            TemplateNotApproved: A template accepts no new tasks. The holder of a key
                is still returned.
        """
        ...

    async def get_task(self, task_id: TaskId) -> Task:
        """Read a task. Raises NotFound.

        Its result, its failure and its counts are those of its first `limits.STEPS_PAGE` steps.
        """
        ...

    async def get_task_etags(self, ids: Collection[TaskId]) -> dict[TaskId, str]:
        """Return the ETags of the tasks among `ids` that exist, as `get_task` returns them."""
        ...

    async def find_ended_tasks(self, ids: Collection[TaskId]) -> set[TaskId]:
        """Return the tasks among `ids` that have ended or do not exist."""
        ...

    async def find_task_by_idempotency_key(
        self, namespace: str, idempotency_key: str
    ) -> Task | None:
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

    async def list_attached_tasks(self, parent_id: TaskId, *, limit: int) -> list[TaskId]:
        """List open tasks that are cancelled with their parent."""
        ...

    async def current_steps(self, ids: Collection[TaskId]) -> dict[TaskId, CurrentStep]:
        """Return the step of each task that best describes its state; ended tasks may have none."""
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

        With `unfinished`, only steps that have not ended or have failed.
        """
        ...

    async def list_attempts(
        self, task_id: TaskId, *, no: int | None = None, limit: int = 1000
    ) -> list[Attempt]:
        """List the attempts that ended, oldest first. Raises NotFound.

        Without `no`, the attempts of the first `limits.STEPS_PAGE` steps.
        """
        ...


class OperatorStore(Protocol):
    """Operator actions on tasks, the audit log, workers and pruning.

    With `if_match`, the ETag from an earlier read of the task, an action raises TaskChanged if the
    task or one of its steps has changed since.
    """

    async def cancel_task(
        self, task_id: TaskId, act: AuditNote, *, if_match: str | None = None
    ) -> Task:
        """End an open task as cancelled. Its running attempts can no longer settle.

        Of a task with more than 1,000 open steps, the others end in further transactions, which
        `end_overdue_and_failed_tasks` continues if the caller dies. Until then some of them may be
        claimed.

        Its attached tasks are cancelled with it, up to 100 for each task; `cancel_orphaned_tasks`
        cancels the others. Tasks that waited for its place may start.

        Raises: NotFound, WrongStatus (it has already ended).
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
        """Enqueue failed steps again and reopen their task.

        If the task missed its deadline, the deadline is removed, and the steps that it cancelled
        may run again.

        Args:
            task_id: The task.
            act: The actor and the reason.
            steps: Step numbers; None: all failed steps.
            counted_attempts: By step number, the attempts that count as used; if absent, 0: the
                step starts over.
            fresh: Whether the durable calls of the steps are deleted, so their handlers make them
                again; tasks that they created lose their idempotency keys.
            if_match: The ETag that the task must have.

        Raises:
            NotFound: The task or a step does not exist.
            WrongStatus: The task was cancelled, or a step did not fail.
            TaskExists: Its idempotency key now belongs to another open task.
        """
        ...

    async def resolve_step(
        self,
        task_id: TaskId,
        no: int,
        result: JsonText | None,
        act: AuditNote,
        *,
        action: StepResolution = StepResolution.RESOLVE,
        if_match: str | None = None,
    ) -> Task:
        """Declare a step done, with `result`: it becomes complete or resolved_manually.

        Its children are freed as if it had run, a failed task is reopened, and a
        running attempt can no longer settle.

        Raises:
            NotFound: The task or the step does not exist.
            WrongStatus: It is done or cancelled, or waits for dependencies.
            TaskExists: The task's idempotency key now belongs to another open task.
        """
        ...

    async def resolve_task(
        self, task_id: TaskId, act: AuditNote, *, if_match: str | None = None
    ) -> Task:
        """Declare a failed task done: it ends as resolved_manually, its open steps as skipped.

        Raises: NotFound, WrongStatus (it did not fail).
        """
        ...

    async def list_audit_entries(self, task_id: TaskId) -> list[AuditEntry]:
        """List operator actions on a task, oldest first. Raises NotFound."""
        ...

    async def worker_steps(self, worker: WorkerId, *, limit: int = 200) -> list[RunningStep]:
        """List the steps that a worker runs, most recently claimed first."""
        ...

    async def worker_attempts(
        self,
        worker: WorkerId,
        *,
        namespaces: Collection[str] | None = None,
        limit: int = MOST_WORKER_ATTEMPTS,
    ) -> list[WorkerAttempt]:
        """List a worker's ended attempts, newest first.

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
        """List workers whose lease is valid or expired less than a day ago, newest first."""
        ...

    async def prune_tasks(self, *, ended_before: datetime | None = None, limit: int = 1000) -> int:
        """Delete up to `limit` ended tasks with all their rows; return how many.

        Tasks of a template with a `retention` are deleted when that time has passed since their
        end, other tasks if they ended before `ended_before`; None: other tasks are kept. Workers
        without claims are also deleted if their lease expired before that instant or more than 30
        days ago.
        """
        ...

    async def count_prunable_tasks(self, *, ended_before: datetime | None = None) -> int:
        """Count the tasks that `prune_tasks` would delete."""
        ...


class BulkStore(Protocol):
    """Operations on many tasks at once."""

    async def add_bulk_operation(self, new: NewBulkOperation, act: AuditNote) -> BulkOperation:
        """Store an operation, or return the one that is stored with its id."""
        ...

    async def get_bulk_operation(self, bulk_id: str) -> StoredBulkOperation:
        """Read an operation. Raises NotFound."""
        ...

    async def list_bulk_operations(
        self, *, after: str | None = None, limit: int = 100
    ) -> list[StoredBulkOperation]:
        """List operations older than `after`, newest first."""
        ...

    async def stop_bulk_operation(self, bulk_id: str, act: AuditNote) -> BulkOperation:
        """Stop an operation: once this returns, it changes no further tasks.

        Raises: NotFound, WrongStatus (it has ended).
        """
        ...

    async def claim_bulk_operation(self) -> StoredBulkOperation | None:
        """Take the operation that has waited longest for its next batch of tasks, or return None.

        Others may take it if it makes no progress for `tasker.store.operations.bulk.LEASE`
        seconds.
        """
        ...

    async def seconds_until_bulk_batch(self) -> float | None:
        """Return the seconds until an operation may be taken, or None if none runs."""
        ...

    async def apply_bulk_action(
        self,
        stored: StoredBulkOperation,
        task_id: TaskId,
        *,
        steps: Collection[int] | None = None,
        counted_attempts: Mapping[int, int] | None = None,
    ) -> StoredBulkOperation | None:
        """Apply the action of an operation to its next task and store the progress.

        Args:
            stored: The operation, with the task that it handled last.
            task_id: The next task.
            steps: See `OperatorStore.retry_steps`.
            counted_attempts: See `OperatorStore.retry_steps`.

        Returns:
            The operation after this task, or None if it was stopped or other processes continue it.

        Raises:
            Rejected: The task cannot be changed; nothing is stored.
        """
        ...

    async def skip_bulk_task(
        self, stored: StoredBulkOperation, task_id: TaskId, rejection: BulkRejection | None
    ) -> StoredBulkOperation | None:
        """Store that an operation skipped a task without changing it. Otherwise like
        `apply_bulk_action`.

        Without a `rejection`, the operation may not change the task, and the task is not counted.
        """
        ...

    async def schedule_bulk_batch(
        self, stored: StoredBulkOperation, delay: float, *, ended: bool = False
    ) -> None:
        """Schedule the next batch in `delay` seconds, or end the operation.

        This changes nothing if it was stopped or other processes continue it.
        """
        ...

    async def prune_bulk_operations(self, before: datetime) -> None:
        """Delete operations that ended before a given time."""
        ...

    async def count_tasks_by_template(self, filter: TaskFilter, *, most: int) -> dict[str, int]:
        """Count the newest matching tasks, up to `most` in total, by `namespace.name`."""
        ...


class SignalStore(Protocol):
    """Signals to tasks, and broadcasts."""

    async def send_signal(self, signal: NewSignal, act: AuditNote) -> SignalSent:
        """Store a signal to a task, and wake the first of its steps that waits for it.

        The signal is kept until a step waits for it. Sending a signal with the same name and id
        again changes nothing.

        Raises:
            NotFound: The task does not exist.
            WrongStatus: The task has ended.
            TooManySignals: The task has 1,000 signals that no step has received.
        """
        ...

    async def send_broadcast(self, broadcast: NewBroadcast, sent_by: str) -> BroadcastSent:
        """Store a broadcast, and wake all steps that wait for it, 100 in each transaction.

        Sending a broadcast with the same id again only completes its delivery.

        Raises:
            TooManyBroadcasts: 1,000 broadcasts with the same name and key were sent within a week.
        """
        ...


class ApprovalStore(Protocol):
    """Approvals: decisions that steps wait for."""

    async def list_open_approvals(
        self,
        *,
        assignee: Collection[str] | None = None,
        namespace: str | None = None,
        task_id: TaskId | None = None,
        visible: Collection[str] | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        """List approvals that steps wait for, oldest first.

        Args:
            assignee: Only approvals assigned to one of these (`user:ana`, `role:support`), or
                without assignees.
            namespace: Only approvals of tasks in this namespace.
            task_id: Only approvals of this task.
            visible: Only approvals of tasks in these namespaces.
            after: Only approvals after the one with this id: the next page.
            limit: Maximum number.
        """
        ...

    async def list_decided_approvals(
        self,
        *,
        namespace: str | None = None,
        task_id: TaskId | None = None,
        visible: Collection[str] | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        """List decided approvals, latest first."""
        ...

    async def get_approval(self, approval_id: str) -> Approval:
        """Return an approval. Raises NotFound."""
        ...

    async def decide_approval(
        self, approval_id: str, form: JsonText, *, groups: Collection[str], act: AuditNote
    ) -> Approval:
        """Store the decision of an approval, which matches its form, and wake its step.

        Args:
            approval_id: The approval.
            form: The filled-in form.
            groups: The groups of the actor, for assignees of the form `role:NAME`.
            act: The actor, who must be an assignee, and the reason, for the audit log.

        Raises:
            NotFound: The approval does not exist.
            NotAnAssignee: It is assigned to others.
            WrongStatus: It was already decided, or its step no longer waits.
        """
        ...


class CompletionStore(Protocol):
    """Completions of external steps by other systems."""

    async def complete_external_step(self, digest: str, value: JsonText) -> bool:
        """Complete the step of a token with `{"result": ...}` or `{"error": ...}`.

        If its handler still runs or another attempt is due, the completion is kept. Returns False
        if the token does not exist, or its step was completed or has ended.
        """
        ...


class HookStore(Protocol):
    """Provider hooks of namespaces."""

    async def put_hook(self, hook: ProviderHook, secret: str, act: AuditNote) -> ProviderHook:
        """Insert or replace a hook. Raises InvalidInput."""
        ...

    async def delete_hook(self, namespace: str, name: str, act: AuditNote) -> None:
        """Delete a hook. Raises NotFound."""
        ...

    async def list_hooks(
        self, *, namespace: str | None = None, visible: Collection[str] | None = None
    ) -> list[ProviderHook]:
        """List the hooks of the `visible` namespaces by namespace and name."""
        ...

    async def find_hook_with_secret(self, namespace: str, name: str) -> HookWithSecret | None:
        """Return a hook with its secret, or None if it does not exist."""
        ...


class PauseStore(Protocol):
    """Pauses of tasks, templates, queues and namespaces, and the weights of queues.

    While something is paused, none of its steps is claimed. Running attempts continue and
    settle; steps that they free wait. Deadlines keep running; a `queue_timeout` starts over at the
    end of the pause.
    """

    async def pause(
        self, target: PauseTarget, act: AuditNote, *, if_match: str | None = None
    ) -> Pause:
        """Pause a target; return its pause, or the existing one if it is already paused.

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

    async def list_pauses(self, *, namespace: str | None = None) -> list[Pause]:
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

    With `if_match`, the ETag from an earlier read of the schedule, an action raises ScheduleChanged
    if it was changed since.
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
        """Replace a schedule that an operator created.

        Its next tick stays the same unless its times change; then it is the first one after now.

        Raises: NotFound, ScheduleChanged, Rejected (a template declares it).
        """
        ...

    async def set_schedule_paused(
        self,
        namespace: str,
        name: str,
        act: AuditNote,
        *,
        paused: bool,
        if_match: str | None = None,
    ) -> StoredSchedule:
        """Pause or resume a schedule; nothing changes if it is already paused or not paused.

        Ticks during a pause never get a task: resuming records them, and continues with the
        first tick after now.

        Raises: NotFound, ScheduleChanged.
        """
        ...

    async def delete_schedule(
        self, namespace: str, name: str, act: AuditNote, *, if_match: str | None = None
    ) -> StoredSchedule:
        """Delete and return a schedule that an operator created; its tasks remain.

        Raises: NotFound, ScheduleChanged, Rejected (a template declares it).
        """
        ...

    async def get_schedule(self, namespace: str, name: str) -> StoredSchedule:
        """Return a schedule. Raises NotFound."""
        ...

    async def list_schedules(
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
            template: Only schedules of templates with this name; None: all.
            visible: Only schedules of these namespaces; None: all.
            after: Only schedules with greater ids.
            limit: Maximum number.
        """
        ...

    async def list_ticks_without_task(
        self, namespace: str, name: str, *, limit: int = 100
    ) -> list[TicksWithoutTask]:
        """List the recorded ticks without a task, latest first. Raises NotFound."""
        ...

    async def list_due_schedules(self, limit: int) -> list[DueSchedule]:
        """List schedules that have a tick to handle, longest waiting first."""
        ...

    async def advance_schedule(
        self, due: DueSchedule, advance: ScheduleAdvance, act: AuditNote
    ) -> ScheduleAdvanceResult | None:
        """Handle the ticks of a due schedule, in one transaction: create tasks, record other ticks,
        and move on to the next tick.

        A tick whose idempotency key already has a task gets no other.

        Args:
            due: The schedule as it was read.
            advance: What happens. `look_at` is after `due.now`.
            act: The actor and the reason of a cancellation.

        Returns:
            The created tasks; None, without any change, if another process has changed or handled
            the schedule since it was read, or is handling it.

        Raises: IdempotencyConflict, Rejected (a template accepts no new tasks).
        """
        ...

    async def create_scheduled_tasks(
        self, stored: StoredSchedule, tasks: Sequence[ScheduledTask]
    ) -> ScheduleAdvanceResult:
        """Create tasks for ticks without changing the schedule.

        Raises: IdempotencyConflict, Rejected (a template accepts no new tasks).
        """
        ...


class TeamStore(Protocol):
    """Namespaces and their policies, decisions about template versions, API keys, audit log."""

    async def list_namespaces(self) -> list[NamespaceInfo]:
        """List namespaces that have a policy or a template, and `default`, by name."""
        ...

    async def get_policy(self, namespace: str) -> NamespacePolicy | None:
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

    async def review_template(
        self, name: TemplateName, *, approve: bool, act: AuditNote
    ) -> TemplateVersion:
        """Approve or reject the version that is pending review.

        Once approved, it accepts new tasks in place of the version's previous content. Nobody
        approves their own registration; rejecting it withdraws it. If the namespace's policy no
        longer requires reviews, anyone may decide.

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

    async def list_template_versions(
        self, *, namespace: str | None = None, name: str | None = None
    ) -> list[TemplateVersion]:
        """List template versions of every status by (namespace, name, registration).

        A version appears several times if it has rejected content or, besides its current content,
        pending content.
        """
        ...

    async def list_team_audit(
        self,
        *,
        namespace: str | None = None,
        visible: Collection[str] | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[TeamAuditEntry]:
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

    async def find_api_key(self, prefix: str) -> ApiKeyWithDigest | None:
        """Return the key with a prefix and its digest, even if revoked or expired."""
        ...

    async def list_api_keys(self) -> list[ApiKey]:
        """List all keys, including revoked ones, newest first."""
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

    async def list_failed_steps(
        self, window: AnalysisWindow, *, limit: int = 1000
    ) -> list[FailedStep]:
        """List permanently failed steps in those tasks of the window that nobody has continued
        since.

        At most the newest `limit` failed and the newest `limit` open tasks are read.

        Returns:
            The newest failure first.
        """
        ...

    async def usual_durations(self, stored: StoredTemplate) -> UsualDurations:
        """Return how long a template version and its steps usually take.

        Measured over its newest complete tasks, at most 50 tasks and 5,000 steps, regardless of the
        total number of tasks.
        """
        ...

    async def list_failure_triage(self, fingerprints: Sequence[str]) -> list[FailureTriage]:
        """Return the assignees, notes and mutes of causes of failures."""
        ...

    async def change_failure_triage(
        self, namespace: str, fingerprint: str, change: FailureTriageChange, act: AuditNote
    ) -> FailureTriage:
        """Assign, note or mute a cause of failures; recorded in the audit log of its namespace."""
        ...

    async def performance(self, window: AnalysisWindow) -> Performance:
        """Return durations, rates and outcomes of the tasks of a window.

        At most the newest tasks and attempts within the bounds of `tasker.analytics.model` are
        read. It never blocks workers: one analysis at a time reads from a snapshot, with a
        time limit.

        Raises:
            StoreUnavailable: The time limit was exceeded.
        """
        ...

    async def bottlenecks(
        self, window: AnalysisWindow, *, limit: int = 10, min_executions: int = 1
    ) -> Bottlenecks:
        """Return the bottlenecks of a window's tasks, with the same bounds as `performance`.

        Args:
            window: The tasks to analyse.
            limit: Maximum number of entries per list.
            min_executions: Steps and templates with fewer executions are omitted.
        """
        ...

    async def count_backlog(self) -> StoreLoad:
        """Count the steps that are due now, due later, and running."""
        ...

    async def count_backlog_by_queue(self) -> Sequence[HandlerBacklog]:
        """Count the steps of each namespace and handler that are due, due later, and running."""
        ...

    async def insert_minute_figures(self, figures: Sequence[MinuteFigures]) -> None:
        """Add the figures that a worker has counted."""
        ...

    async def maintain_minute_figures(self) -> None:
        """Count the tasks created in the minutes that have passed, merge rows, delete old ones.

        Each minute is counted once, regardless of the caller. After an outage of all workers, only
        the last hour is counted.
        """
        ...

    async def list_minute_figures(
        self, window: AnalysisWindow, *, step_seconds: int
    ) -> list[IntervalFigures]:
        """Return the figures of a window, added up over points of `step_seconds`."""
        ...

    async def find_oldest_database_snapshot(self) -> OldestSnapshot | None:
        """Return the oldest open database snapshot other than that of this call, or None.

        SQLite does not show its readers: it always returns None.
        """
        ...


class EventStore(Protocol):
    """Domain events, their subscriptions and their deliveries."""

    async def list_events(
        self, filter: EventFilter, *, after: EventNo | None = None, limit: int = 100
    ) -> list[Event]:
        """List events older than `after`, newest first, without context and result."""
        ...

    async def list_recent_events(self, after: EventNo, since: datetime, limit: int) -> list[Event]:
        """List the newest `limit` events that are beyond `after` or younger than `since`,
        oldest first.

        Events become visible out of order: `since` should be some seconds in the past, and the
        caller must drop events that it has already seen.
        """
        ...

    async def subscribe(
        self, subscriptions: Sequence[NewSubscription], actor: str
    ) -> list[SubscriptionId]:
        """Store subscriptions of code in workers, or record that they are still served.

        A new subscription gets events from now on. Repeat the call regularly: a subscription that
        no worker has served for the retention time of events is deleted.

        Raises:
            Misuse: A webhook has the name of one of them.
        """
        ...

    async def list_subscriptions(self) -> list[Subscription]:
        """List all subscriptions, including webhooks, by namespace and name."""
        ...

    async def distribute_events(self, limit: int = 1000) -> int:
        """Create the deliveries of up to `limit` new events, oldest first; return the number of
        events.

        Each event is distributed once, to the subscriptions that existed when it was published.
        One process does it at a time; for others it returns 0.
        """
        ...

    async def claim_deliveries(
        self, subscriptions: Sequence[SubscriptionId], limit: int, *, lease: timedelta
    ) -> list[ClaimedDelivery]:
        """Claim due deliveries, about `limit` of each subscription.

        Deliveries of one task to one subscription are made in the order of its events: none is
        claimed before the earlier ones have ended. After `lease`, other processes may claim
        deliveries that are not settled.
        """
        ...

    async def settle_deliveries(self, outcomes: Sequence[DeliveryOutcome]) -> None:
        """Record attempts to deliver; those of deliveries that others have claimed are ignored.

        A webhook whose endpoint fails gets no further deliveries for a while, up to 5 minutes.
        """
        ...

    async def list_deliveries(
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

    async def resend_delivery(
        self, namespace: str, name: str, delivery: DeliveryId, act: AuditNote
    ) -> None:
        """Make a delivery due again, whatever its status. Raises NotFound."""
        ...

    async def list_webhook_endpoints(self) -> list[WebhookEndpoint]:
        """List the webhooks that are not paused, with their secrets."""
        ...

    async def list_webhooks(
        self, *, namespace: str | None = None, visible: Collection[str] | None = None
    ) -> list[Webhook]:
        """List webhooks, ordered by namespace and name."""
        ...

    async def get_webhook(self, namespace: str, name: str) -> Webhook:
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

    async def prune_events_and_deliveries(self, before: datetime, *, dead_before: datetime) -> int:
        """Delete old events with their deliveries; return the number of events.

        Args:
            before: Events published and deliveries created before this time are deleted, except
                events with pending or dead deliveries. Subscriptions of code that no worker has
                served since are deleted too.
            dead_before: Dead deliveries whose last attempt was before this time are deleted.
        """


class LogStore(Protocol):
    """The log and output of handlers."""

    async def append_logs(self, records: Sequence[NewLogRecord]) -> None:
        """Store log records of attempts.

        A record is identified by (task, step, attempt, number), so repeating a call is harmless.
        Long messages are truncated, and records beyond an attempt's limit are omitted (see
        `tasker.step_logs.storable`). The caller must ensure that the attempts exist.
        """
        ...

    async def list_logs(
        self,
        task_id: TaskId,
        filter: LogFilter = EVERY_RECORD,
        *,
        after: LogPosition | None = None,
        newest_first: bool = False,
        limit: int = 1000,
    ) -> list[LogRecord]:
        """List the log records of a task by time, starting after `after`.

        Raises:
            NotFound: The task does not exist.
        """
        ...

    async def prune_logs(self, before: datetime, *, limit: int = 1000) -> int:
        """Delete up to `limit` records older than an instant; return how many were deleted."""
        ...


class LimitStore(Protocol):
    """Limits on the steps that share a key.

    A key belongs to a namespace or, with the namespace '', to all. Templates declare limits. A
    limit set by operators for a key or a pattern of keys takes precedence: each of its bounds that
    is not None replaces the template's. The limit set for the key itself applies or, without one,
    the one with the longest pattern.
    """

    async def set_limit(self, key: LimitKey, values: LimitValues, act: AuditNote) -> None:
        """Set the bounds of a key or, with `*` for any text, of all keys that match."""
        ...

    async def unset_limit(self, key: LimitKey, act: AuditNote) -> None:
        """Remove the limit that was set for a key or a pattern. Raises NotFound."""
        ...

    async def list_limit_settings(self, namespace: str) -> list[LimitSetting]:
        """List the limits that operators set in a namespace, by pattern."""
        ...

    async def list_limits(
        self, namespace: str, *, after: str = "", limit: int = 100
    ) -> list[LimitInfo]:
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
    PauseStore,
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

    async def upgrade_schema(self) -> SchemaStatus:
        """Apply missing migrations, each in a transaction. Safe to repeat."""
        ...
