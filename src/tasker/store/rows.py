"""Converts rows to values; the statements of both stores return the same columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

from tasker import codec
from tasker.analytics.failures import FailedStep, FailureTriage
from tasker.approvals import Approval, ApprovalStatus
from tasker.layout import fill_step_name_pattern
from tasker.model import (
    ATTEMPT_OUTCOMES,
    STEP_STATUSES,
    AccessChannel,
    Attempt,
    AuditEntry,
    Claim,
    CompensationStatus,
    CurrentStep,
    Pause,
    PauseKind,
    RenewedLease,
    StatusCode,
    Step,
    StepCounts,
    StepStatus,
    StepWait,
    StoredTemplate,
    Task,
    TaskFailure,
    TaskId,
    TaskStatus,
    TemplateId,
    TemplateName,
    TemplateStatus,
    TemplateVersion,
    WaitKind,
    WorkerAttempt,
    WorkerId,
    WorkerInfo,
    WorkerRegistration,
    task_status_from_code,
)
from tasker.schedules.document import schedule_from_document as schedule_of_document
from tasker.schedules.model import NoTaskReason, StoredSchedule, TicksWithoutTask
from tasker.teams.model import (
    ApiKey,
    ApiKeyId,
    NamespaceInfo,
    NamespacePolicy,
    TeamAuditEntry,
    UserSession,
)
from tasker.template.stored import template_from_stored_document

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Row(Protocol):
    """A row as both drivers return it."""

    def __getitem__(self, column: str, /) -> Any: ...


class RowReader(NamedTuple):
    """Reads the columns of one driver."""

    instant: Callable[[Any], datetime]
    strings: Callable[[Any], tuple[str, ...]]

    def _instant_or_none(self, value: Any) -> datetime | None:
        return None if value is None else self.instant(value)

    def parse_task(self, row: Row, *, created: bool = True) -> Task:
        return Task(
            id=row["id"],
            namespace=row["namespace"],
            name=row["name"],
            version=row["version"],
            status=task_status_from_code(row["state"], started=bool(row["started"])),
            context=codec.loads(row["context"]),
            correlation_id=row["correlation_id"],
            parent_id=row["parent_id"],
            schedule_id=row["schedule_id"],
            scheduled_for=self._instant_or_none(row["scheduled_for"]),
            idempotency_key=row["idempotency_key"],
            created_by=row["created_by"],
            reason=row["reason"],
            tags=self.strings(row["tags"]),
            created_at=self.instant(row["created_at"]),
            ended_at=self._instant_or_none(row["ended_at"]),
            deadline=self._instant_or_none(row["deadline"]),
            error=_parse_json_or_none(row["error"]),
            counts=StepCounts(
                pending=row["pending_steps"],
                enqueued=row["enqueued_steps"],
                waiting_for_retry=row["steps_waiting_for_retry"],
                no_worker=row["steps_without_worker"],
                in_progress=row["steps_in_progress"],
                waiting=row["waiting_steps"],
                complete=row["complete_steps"],
                error=row["failed_steps"],
                cancelled=row["cancelled_steps"],
                skipped=row["skipped_steps"],
                resolved_manually=row["resolved_steps"],
                uncounted=row["uncounted_steps"],
            ),
            compensation=None
            if row["compensation"] is None
            else CompensationStatus(row["compensation"]),
            pauses=tuple(_parse_pause(pause) for pause in _parse_json_or_none(row["pauses"]) or ()),
            title=row["title"],
            priority=row["priority"],
            attributes=codec.loads(row["attributes"]),
            updated_at=self.instant(row["updated_at"]),
            etag=compute_etag(row),
            created=created,
        )

    def task_with_outcome(self, task: Task, rows: Sequence[Row]) -> Task:
        """Return a task with its result or failure, read from its last and failed steps."""
        if task.status in (TaskStatus.COMPLETE, TaskStatus.RESOLVED_MANUALLY):
            results = {
                row["name"]: _parse_json_or_none(row["result"]) for row in rows if row["is_last"]
            }
            [result] = results.values() if len(results) == 1 else [results]
            return replace(task, result=result)
        failed = [row for row in rows if STEP_STATUSES[row["state"]] is StepStatus.ERROR]
        if not failed:
            return task
        first = min(failed, key=lambda row: self.instant(row["settled_at"]))
        error = _parse_json_or_none(first["error"]) or {}
        return replace(task, failure=TaskFailure.from_error(step_name(first), error))

    def parse_step(self, row: Row) -> Step:
        return Step(
            task_id=row["task_id"],
            no=row["no"],
            name=step_name(row),
            template_node=row["template_node"] or row["no"],
            spawned_by=row["spawned_by"],
            instance=row["instance"],
            undoes=row["undoes"],
            status=STEP_STATUSES[row["state"]],
            attempts=row["attempt"],
            run_at=self._instant_or_none(row["run_at"]),
            claimed_at=self._instant_or_none(row["claimed_at"]),
            settled_at=self._instant_or_none(row["settled_at"]),
            worker=row["worker"],
            result=_parse_json_or_none(row["result"]),
            error=None if row["state"] == StatusCode.SKIPPED else _parse_json_or_none(row["error"]),
            skip_reason=_parse_skip_reason(row),
            checkpoint=_parse_json_or_none(row["checkpoint"]),
            pending_parents=max(row["pending_parents"], 0),  # an eager rule frees with more
            waits_for=row["waits_for"],
            waits=tuple(
                StepWait(
                    kind=WaitKind(one["kind"]),
                    name=one["name"],
                    key=one["key"],
                    approval=one["approval"],
                    assignees=tuple(one["assignees"] or ()),
                )
                for one in _parse_json_or_none(row["waits"]) or ()
            ),
            waits_until=self._instant_or_none(row["waits_until"]),
            enqueued_at=self._instant_or_none(row["enqueued_at"]),
            counted_attempts=row["counted_attempts"],
            lost_attempts=row["lost_attempts"],
            no_worker=bool(row["no_worker"]),
            pause=None if row["pause"] is None else _parse_pause(_parse_json_or_none(row["pause"])),
        )

    def parse_attempt(self, row: Row) -> Attempt:
        return Attempt(
            task_id=row["task_id"],
            no=row["no"],
            step=step_name(row, "step"),
            attempt=row["attempt"],
            outcome=ATTEMPT_OUTCOMES[row["outcome"]],
            worker=row["worker"],
            enqueued_at=self._instant_or_none(row["enqueued_at"]),
            claimed_at=self._instant_or_none(row["claimed_at"]),
            settled_at=self.instant(row["settled_at"]),
            error=_parse_json_or_none(row["error"]),
        )

    def parse_worker_attempt(self, row: Row) -> WorkerAttempt:
        return WorkerAttempt(
            task_id=TaskId(row["task_id"]),
            namespace=row["namespace"],
            name=row["template"],
            version=row["version"],
            step=step_name(row),
            attempt=row["attempt"],
            outcome=ATTEMPT_OUTCOMES[row["outcome"]],
            claimed_at=self._instant_or_none(row["claimed_at"]),
            settled_at=self.instant(row["settled_at"]),
            error=row["error"],
        )

    def parse_failure_triage(self, row: Row) -> FailureTriage:
        return FailureTriage(
            fingerprint=row["fingerprint"],
            namespace=row["namespace"],
            assignee=row["assignee"],
            note=row["note"],
            muted_until=self._instant_or_none(row["muted_until"]),
            muted_below=row["muted_below"],
            updated_by=row["updated_by"],
            updated_at=self.instant(row["updated_at"]),
        )

    def parse_audit_entry(self, row: Row) -> AuditEntry:
        return AuditEntry(
            task_id=row["task_id"],
            step=step_name(row, "step"),
            at=self.instant(row["at"]),
            actor=row["actor"],
            action=row["action"],
            reason=row["reason"],
            before=row["before"],
            after=row["after"],
            via=_parse_access_channel(row),
            bulk_id=row["bulk_id"],
        )

    def parse_pause(self, row: Row) -> Pause:
        return Pause(
            kind=PauseKind(row["kind"]),
            namespace=row["namespace"],
            name=row["name"],
            paused_at=self.instant(row["paused_at"]),
            paused_by=row["paused_by"],
            reason=row["reason"],
        )

    def parse_schedule(self, row: Row) -> StoredSchedule:
        return StoredSchedule(
            id=row["id"],
            namespace=row["namespace"],
            template=row["template"],
            version=row["version"],
            schedule=schedule_of_document(codec.loads(row["spec"]), name=row["name"]),
            declared_by=row["declared_by"],
            paused=bool(row["paused"]),
            etag=f"{row['id']}-{row['revision']}",
            next_at=self.instant(row["next_at"]),
            last_at=self._instant_or_none(row["last_tick"]),
            last_task=row["last_task"],
            buffered=row["buffered"],
            created_by=row["created_by"],
            created_at=self.instant(row["created_at"]),
            updated_at=self.instant(row["updated_at"]),
        )

    def parse_ticks_without_task(self, row: Row) -> TicksWithoutTask:
        return TicksWithoutTask(
            first=self.instant(row["first_tick"]),
            last=self.instant(row["last_tick"]),
            outcome=NoTaskReason(row["outcome"]),
            detail=row["detail"],
        )

    def parse_template(self, row: Row) -> StoredTemplate:
        return StoredTemplate(
            id=TemplateId(row["id"]),
            template=template_from_stored_document(codec.loads(row["document"])),
            registered_by=row["registered_by"],
            registered_at=self.instant(row["registered_at"]),
            status=TemplateStatus(row["status"]),
        )

    def parse_template_version(self, row: Row) -> TemplateVersion:
        return TemplateVersion(
            id=TemplateId(row["id"]),
            namespace=row["namespace"],
            name=row["name"],
            version=row["version"],
            status=TemplateStatus(row["status"]),
            registered_by=row["registered_by"],
            registered_at=self.instant(row["registered_at"]),
            decided_by=row["decided_by"],
            decided_at=self._instant_or_none(row["decided_at"]),
            reason=row["reason"],
        )

    def parse_policy(self, row: Row) -> NamespacePolicy:
        return NamespacePolicy(
            namespace=row["namespace"],
            owner_team=row["owner_team"],
            contact_email=row["contact_email"],
            description=row["description"],
            requires_approval=bool(row["requires_approval"]),
            approvers=self.strings(row["approvers"]),
            http_hosts=self.strings(row["http_hosts"]),
            updated_by=row["updated_by"],
            updated_at=self.instant(row["updated_at"]),
        )

    def parse_approval(self, row: Row) -> Approval:
        decided = row["decided_at"] is not None
        status = ApprovalStatus.OPEN if row["waits"] else ApprovalStatus.CLOSED
        return Approval(
            id=row["id"],
            status=ApprovalStatus.DECIDED if decided else status,
            task_id=row["task_id"],
            step=row["step"],
            call=row["call"],
            namespace=row["namespace"],
            template=str(TemplateName(row["namespace"], row["name"], row["version"])),
            title=row["title"] or "",
            form=codec.loads(row["form"]),
            assignees=self.strings(row["assignees"]),
            opened_at=self.instant(row["opened_at"]),
            due_at=self._instant_or_none(row["due_at"]),
            escalate_at=self._instant_or_none(row["escalate_at"]),
            escalated_at=self._instant_or_none(row["escalated_at"]),
            decided_by=row["decided_by"],
            decided_at=self._instant_or_none(row["decided_at"]),
            decision=_parse_json_or_none(row["decision"]),
        )

    def parse_namespace(self, row: Row) -> NamespaceInfo:
        return NamespaceInfo(
            name=row["namespace"],
            templates=row["templates"],
            approved=row["approved"],
            pending_review=row["pending_review"],
            rejected=row["rejected"],
            retired=row["retired"],
            policy=None if row["updated_at"] is None else self.parse_policy(row),
        )

    def parse_team_audit_entry(self, row: Row) -> TeamAuditEntry:
        return TeamAuditEntry(
            id=row["id"],
            at=self.instant(row["at"]),
            namespace=row["namespace"],
            subject=row["subject"],
            actor=row["actor"],
            action=row["action"],
            reason=row["reason"],
            before=_parse_json_or_none(row["before"]),
            after=_parse_json_or_none(row["after"]),
            via=_parse_access_channel(row),
        )

    def parse_api_key(self, row: Row) -> ApiKey:
        return ApiKey(
            id=ApiKeyId(row["id"]),
            name=row["name"],
            prefix=row["prefix"],
            scopes=self.strings(row["scopes"]),
            namespaces=self.strings(row["namespaces"]),
            roles=self.strings(row["roles"]),
            groups=self.strings(row["groups"]),
            handlers=self.strings(row["handlers"]),
            created_by=row["created_by"],
            created_at=self.instant(row["created_at"]),
            expires_at=self._instant_or_none(row["expires_at"]),
            revoked_at=self._instant_or_none(row["revoked_at"]),
            last_used_at=self._instant_or_none(row["last_used_at"]),
        )

    def parse_current_step(self, row: Row) -> CurrentStep:
        error = _parse_json_or_none(row["error"]) or {}
        status = STEP_STATUSES[row["state"]]
        if status is StepStatus.ENQUEUED and error:
            status = StepStatus.WAITING_FOR_RETRY
        return CurrentStep(
            step=row["name"],
            status=status,
            attempts=row["attempt"],
            run_at=self._instant_or_none(row["run_at"]),
            type=error.get("type"),
            code=error.get("code"),
        )

    def parse_failed_step(self, row: Row) -> FailedStep:
        return FailedStep(
            task_id=TaskId(row["task_id"]),
            namespace=row["namespace"],
            name=row["name"],
            version=row["version"],
            no=row["no"],
            step=row["step"],
            attempts=row["attempt"],
            error=codec.loads(row["error"]),
            settled_at=self.instant(row["settled_at"]),
        )

    def parse_session(self, row: Row) -> UserSession:
        return UserSession(
            key_prefix=row["key_prefix"],
            claims=_parse_json_or_none(row["claims"]),
            created_at=self.instant(row["created_at"]),
            expires_at=self.instant(row["expires_at"]),
        )

    def parse_worker(self, row: Row) -> WorkerInfo:
        return WorkerInfo(
            id=WorkerId(row["id"]),
            name=row["name"],
            started_at=self.instant(row["started_at"]),
            lease_until=self.instant(row["lease_until"]),
            alive=bool(row["alive"]),
            running=row["running"],
            slots=row["slots"],
            handlers=self.strings(row["handlers"]),
            process=WorkerRegistration(
                labels=_parse_json_or_none(row["labels"]),
                build=row["build"],
                sdk=row["sdk"],
                principal=row["principal"],
                host=row["host"],
                machine=row["machine"],
                pid=row["pid"],
                pid_started=row["pid_started"],
            ),
        )


def stored_state_of_status(state: TaskStatus | None) -> tuple[int | None, bool | None]:
    """Return (stored code, whether a step must have been claimed) for a shown status."""
    if state is None:
        return None, None
    if state in (TaskStatus.PENDING, TaskStatus.IN_PROGRESS):
        return 0, state is TaskStatus.IN_PROGRESS
    return [shown.value for shown in STEP_STATUSES].index(state.value), None


def step_name(row: Row, column: str = "name") -> str:
    """Return the name of a step, with the numbers of the instances that it is part of."""
    return fill_step_name_pattern(row[column], _parse_json_or_none(row["instances"]) or ())


def compute_etag(row: Row) -> str:
    """Return a string that changes whenever a task, its steps or their displayed data change.

    An attempt raises the sum of attempts, its end moves a step to another count, and each
    action of an operator moves `updated_at` forward: no two states of a task have the same string.
    """
    facts = (
        row["id"],
        row["state"],
        str(row["updated_at"]),
        row["pauses"],
        *(row[count] for count in _COUNTS),
    )
    return sha256(repr(facts).encode()).hexdigest()[:20]


_COUNTS = (
    "uncounted_steps",
    "parents_to_come",
    "attempts",
    "due_steps",
    "pending_steps",
    "enqueued_steps",
    "steps_waiting_for_retry",
    "steps_without_worker",
    "steps_in_progress",
    "waiting_steps",
    "complete_steps",
    "failed_steps",
    "cancelled_steps",
    "skipped_steps",
    "resolved_steps",
)


def build_renewed_leases(
    rows: Iterable[tuple[int, object]], lost: Iterable[tuple[WorkerId, Claim]]
) -> dict[WorkerId, RenewedLease]:
    """Return the leases that renew_leases.sql extended, given the claims that workers have lost."""
    revoked: dict[WorkerId, list[Claim]] = {}
    for worker, claim in lost:
        revoked.setdefault(worker, []).append(claim)
    return {
        WorkerId(worker): RenewedLease(revoked.get(WorkerId(worker), ()), bool(quiet))
        for worker, quiet in rows
    }


def _parse_pause(document: Mapping[str, Any]) -> Pause:
    """Read a pause from the JSON of pause_json.sql."""
    at = _EPOCH + timedelta(microseconds=document["paused_at"])
    return Pause(**{**document, "kind": PauseKind(document["kind"]), "paused_at": at})


def _parse_skip_reason(row: Row) -> str | None:
    """Return why a step was skipped; the reason is stored as its error."""
    if row["state"] != StatusCode.SKIPPED or row["error"] is None:
        return None
    return str(codec.loads(row["error"]).get("message", ""))


def _parse_json_or_none(text: str | None) -> Any:
    return None if text is None else codec.loads(text)


def _parse_access_channel(row: Row) -> AccessChannel | None:
    return None if row["via"] is None else AccessChannel(row["via"])
