"""Rows to values: both stores' statements return the same columns in the same order."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from tasker import codec
from tasker.model import (
    ATTEMPT_OUTCOMES,
    STEP_STATUSES,
    Attempt,
    AuditEntry,
    Step,
    StepCounts,
    StoredTemplate,
    Task,
    TaskStatus,
    TemplateId,
    TemplateName,
    TemplateStatus,
    TemplateVersion,
    WorkerId,
    WorkerInfo,
    WorkerProcess,
    task_status,
)
from tasker.teams.model import ApiKey, ApiKeyId, NamespaceInfo, NamespacePolicy, TeamEvent
from tasker.template import from_stored

Row = Sequence[Any]  # what a driver returns


class Reader(NamedTuple):
    """How one driver's columns are read."""

    instant: Callable[[Any], datetime]
    strings: Callable[[Any], tuple[str, ...]]

    def _maybe(self, value: Any) -> datetime | None:
        return None if value is None else self.instant(value)

    def task(self, row: Row, *, created: bool = True) -> Task:
        return Task(
            id=row[0],
            template=TemplateName(row[1], row[2], row[3]),
            status=task_status(row[4], started=bool(row[26])),
            context=codec.loads(row[5]),
            correlation_id=row[6],
            parent_id=row[7],
            idempotency_key=row[8],
            created_by=row[9],
            reason=row[10],
            tags=self.strings(row[11]),
            created_at=self.instant(row[12]),
            ended_at=self._maybe(row[13]),
            deadline=self._maybe(row[14]),
            error=_json(row[15]),
            counts=StepCounts(
                pending=row[16],
                enqueued=row[17],
                waiting_for_retry=row[18],
                in_progress=row[19],
                waiting=row[20],
                complete=row[21],
                error=row[22],
                cancelled=row[23],
                skipped=row[24],
                resolved_manually=row[25],
            ),
            created=created,
        )

    def step(self, row: Row) -> Step:
        return Step(
            task_id=row[0],
            no=row[1],
            name=row[2],
            status=STEP_STATUSES[row[3]],
            attempts=row[4],
            run_at=self._maybe(row[5]),
            claimed_at=self._maybe(row[6]),
            settled_at=self._maybe(row[7]),
            worker=row[8],
            result=_json(row[9]),
            error=_json(row[10]),
            checkpoint=_json(row[11]),
            pending_parents=row[12],
        )

    def attempt(self, row: Row) -> Attempt:
        return Attempt(
            task_id=row[0],
            no=row[1],
            step=row[2],
            attempt=row[3],
            outcome=ATTEMPT_OUTCOMES[row[4]],
            worker=row[5],
            enqueued_at=self._maybe(row[6]),
            claimed_at=self._maybe(row[7]),
            settled_at=self.instant(row[8]),
            error=_json(row[9]),
        )

    def audit(self, row: Row) -> AuditEntry:
        return AuditEntry(
            task_id=row[0],
            step=row[1],
            at=self.instant(row[2]),
            actor=row[3],
            action=row[4],
            reason=row[5],
            before=row[6],
            after=row[7],
        )

    def template(self, row: Row) -> StoredTemplate:
        return StoredTemplate(
            id=TemplateId(row[0]),
            template=from_stored(codec.loads(row[1])),
            registered_by=row[2],
            registered_at=self.instant(row[3]),
            status=TemplateStatus(row[5]),
        )

    def template_version(self, row: Row) -> TemplateVersion:
        return TemplateVersion(
            id=TemplateId(row[0]),
            name=TemplateName(row[1], row[2], row[3]),
            status=TemplateStatus(row[4]),
            registered_by=row[5],
            registered_at=self.instant(row[6]),
            decided_by=row[7],
            decided_at=self._maybe(row[8]),
            reason=row[9],
        )

    def policy(self, row: Row) -> NamespacePolicy:
        return NamespacePolicy(
            namespace=row[0],
            owner_team=row[1],
            contact_email=row[2],
            description=row[3],
            requires_approval=bool(row[4]),
            approvers=self.strings(row[5]),
            updated_by=row[6],
            updated_at=self.instant(row[7]),
        )

    def namespace(self, row: Row) -> NamespaceInfo:
        return NamespaceInfo(
            name=row[0],
            templates=row[1],
            approved=row[2],
            pending_review=row[3],
            rejected=row[4],
            retired=row[5],
            policy=None if row[6] is None else self.policy(row[6:]),
        )

    def team_event(self, row: Row) -> TeamEvent:
        return TeamEvent(
            id=row[0],
            at=self.instant(row[1]),
            namespace=row[2],
            subject=row[3],
            actor=row[4],
            action=row[5],
            reason=row[6],
            before=_json(row[7]),
            after=_json(row[8]),
        )

    def api_key(self, row: Row) -> ApiKey:
        return ApiKey(
            id=ApiKeyId(row[0]),
            name=row[1],
            prefix=row[2],
            scopes=self.strings(row[3]),
            namespaces=self.strings(row[4]),
            roles=self.strings(row[5]),
            groups=self.strings(row[6]),
            created_by=row[7],
            created_at=self.instant(row[8]),
            expires_at=self._maybe(row[9]),
            revoked_at=self._maybe(row[10]),
            last_used_at=self._maybe(row[11]),
        )

    def worker(self, row: Row) -> WorkerInfo:
        return WorkerInfo(
            id=WorkerId(row[0]),
            name=row[1],
            started_at=self.instant(row[2]),
            lease_until=self.instant(row[3]),
            alive=bool(row[4]),
            running=row[5],
            slots=row[6],
            handlers=self.strings(row[7]),
            process=WorkerProcess(
                labels=_json(row[8]),
                build=row[9],
                sdk=row[10],
                principal=row[11],
                host=row[12],
                pid=row[13],
            ),
        )


def state_filter(state: TaskStatus | None) -> tuple[int | None, bool | None]:
    """Tell (stored code, whether a step must have been claimed) for a shown state."""
    if state is None:
        return None, None
    if state in (TaskStatus.PENDING, TaskStatus.IN_PROGRESS):
        return 0, state is TaskStatus.IN_PROGRESS
    return [shown.value for shown in STEP_STATUSES].index(state.value), None


def _json(text: str | None) -> Any:
    return None if text is None else codec.loads(text)
