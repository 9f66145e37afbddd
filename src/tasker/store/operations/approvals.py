"""Approvals with their decisions and escalations, and completions of external steps."""

from collections.abc import Collection, Sequence
from uuid import UUID

from tasker.approvals import (
    Approval,
    ApprovalStatus,
    NotAnAssignee,
    encode_decision,
    may_decide,
)
from tasker.completions import CALL
from tasker.durable import DurableCall, DurableCallKind
from tasker.errors import NotFound, WrongStatus
from tasker.model import (
    STEP_STATUSES,
    Claim,
    JsonText,
    NewEvent,
    Outcome,
    SettleResult,
    StepStatus,
    TaskId,
)
from tasker.store.operations.auditing import add_audit_entry
from tasker.store.operations.waits import WaitingStep, wake_step
from tasker.store.protocol import AuditNote
from tasker.store.session import Session, TransactionalStore

EXTERNAL = AuditNote(actor="external")
_UNENDED = (StepStatus.ENQUEUED, StepStatus.IN_PROGRESS, StepStatus.WAITING)
ESCALATES = AuditNote(actor="tasker", reason="not decided in time")


class Approvals(TransactionalStore):
    """Approvals: the inbox, decisions and escalations."""

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
        async def read_open_approvals(tx: Session) -> list[Approval]:
            rows = await tx.fetch_all(
                "list_open_approvals",
                names=_to_list_or_none(assignee),
                namespace=namespace,
                task_id=task_id,
                visible=_to_list_or_none(visible),
                after=after,
                limit=limit,
            )
            return [tx.read.parse_approval(row) for row in rows]

        return await self._in_read_transaction(read_open_approvals)

    async def list_decided_approvals(
        self,
        *,
        namespace: str | None = None,
        task_id: TaskId | None = None,
        visible: Collection[str] | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        async def read_decided_approvals(tx: Session) -> list[Approval]:
            rows = await tx.fetch_all(
                "list_decided_approvals",
                namespace=namespace,
                task_id=task_id,
                visible=_to_list_or_none(visible),
                limit=limit,
            )
            return [tx.read.parse_approval(row) for row in rows]

        return await self._in_read_transaction(read_decided_approvals)

    async def get_approval(self, approval_id: str) -> Approval:
        return await self._in_read_transaction(lambda tx: _read_approval(tx, approval_id))

    async def decide_approval(
        self, approval_id: str, form: JsonText, *, groups: Collection[str], act: AuditNote
    ) -> Approval:
        async def decide_and_wake_step(tx: Session) -> Approval:
            no = await _lock_step_of_approval(tx, await _read_approval(tx, approval_id))
            approval = await _read_approval(tx, approval_id)
            task_id = approval.task_id
            if not may_decide(approval.assignees, act.actor, groups):
                raise NotAnAssignee(act.actor, approval.assignees)
            if approval.status is not ApprovalStatus.OPEN:
                what = f"approval {approval.id} of step {approval.step!r}"
                raise WrongStatus(what, approval.status, "decide", {ApprovalStatus.OPEN})
            (decided,) = await tx.fetch_all(
                "decide_approval", id=approval_id, decided_by=act.actor, decision=form
            )
            at = tx.read.instant(decided["decided_at"])
            text = encode_decision(form, decided_by=act.actor, decided_at=at)
            await wake_step(
                tx, WaitingStep(task_id, no, approval.call, DurableCallKind.WAIT_APPROVAL), text
            )
            waiting, enqueued = StepStatus.WAITING, StepStatus.ENQUEUED
            await add_audit_entry(tx, task_id, no, "decide", act, waiting, enqueued)
            return await _read_approval(tx, approval_id)

        return await self._in_yielding_transaction(decide_and_wake_step)

    async def add_token_and_find_completion(self, claim: Claim, digest: str) -> DurableCall | None:
        async def add_token_and_find_completion(tx: Session) -> DurableCall | None:
            await tx.fetch_all(
                "add_completion_token", digest=digest, task_id=claim.task_id, no=claim.no
            )
            row = await tx.fetch_one(
                "find_external_completion", task_id=claim.task_id, no=claim.no, name=CALL
            )
            return (
                None if row is None else DurableCall(CALL, DurableCallKind.EXTERNAL, row["value"])
            )

        return await self._in_yielding_transaction(add_token_and_find_completion)

    async def complete_external_step(self, digest: str, value: JsonText) -> bool:
        return await self._in_yielding_transaction(
            lambda tx: _complete_external_step(tx, digest, value)
        )

    async def fail_external_step_unless_completed(
        self, outcome: Outcome, events: Sequence[NewEvent] = ()
    ) -> SettleResult | None:
        task_id, no, attempt = outcome.attempt_key

        async def fail_unless_completed(tx: Session) -> SettleResult | None:
            held = await tx.fetch_all("lock_running_step", task_id=task_id, no=no, attempt=attempt)
            if held and await tx.fetch_one(
                "find_external_completion", task_id=task_id, no=no, name=CALL
            ):
                return None
            return await tx.settle([outcome], events)

        return await self._in_yielding_transaction(fail_unless_completed)

    async def escalate_approvals(self, limit: int) -> int:
        async def escalate_and_audit(tx: Session) -> int:
            rows = await tx.fetch_all("escalate_approvals", limit=limit)
            for row in rows:
                if row["waits"]:
                    to = ", ".join(tx.read.strings(row["escalate_to"]))
                    note = AuditNote(actor=ESCALATES.actor, reason=f"{ESCALATES.reason}: {to}")
                    status = StepStatus.WAITING
                    await add_audit_entry(
                        tx, TaskId(row["task_id"]), row["no"], "escalate", note, status, status
                    )
            return len(rows)

        return await self._in_yielding_transaction(escalate_and_audit)


async def _complete_external_step(tx: Session, digest: str, value: JsonText) -> bool:
    """Store the completion of a step, or end its wait; return False if it cannot be completed."""
    await tx.lock_rows("lock_step_of_completion_token", digest=digest)
    row = await tx.fetch_one("step_of_completion_token", digest=digest, name=CALL)
    if row is None or row["used"]:
        return False
    task_id, no, kind = TaskId(row["task_id"]), row["no"], DurableCallKind.EXTERNAL
    before = STEP_STATUSES[row["state"]]
    if row["waits"]:
        if await wake_step(tx, WaitingStep(task_id, no, CALL, kind), value) is None:
            return False
    elif before in _UNENDED:
        await tx.fetch_all(
            "record_durable_call", task_id=task_id, no=no, name=CALL, kind=kind.value, content=value
        )
    else:
        return False
    await add_audit_entry(tx, task_id, no, "complete_external", EXTERNAL, before, before)
    return True


async def _read_approval(tx: Session, approval_id: str) -> Approval:
    """Return an approval. Raises NotFound."""
    row = (
        await tx.fetch_one("get_approval", id=approval_id) if _is_approval_id(approval_id) else None
    )
    if row is None:
        raise NotFound(f"approval {approval_id[:100]} not found")
    return tx.read.parse_approval(row)


async def _lock_step_of_approval(tx: Session, approval: Approval) -> int:
    """Lock the step of an approval, and return its number."""
    rows = await tx.lock_rows("lock_step_of_approval", id=approval.id)
    return int(rows[0]["no"])


def _is_approval_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _to_list_or_none(names: Collection[str] | None) -> list[str] | None:
    return None if names is None else list(names)
