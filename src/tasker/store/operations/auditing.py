"""Recording what operators do with tasks."""

from collections.abc import Sequence

from tasker.model import TaskId
from tasker.store.protocol import AuditNote
from tasker.store.session import Session


async def add_audit_entry(
    tx: Session,
    task_id: TaskId,
    no: int | None,
    action: str,
    act: AuditNote,
    before: str,
    after: str,
) -> None:
    """Add an entry to the audit of a task."""
    await tx.fetch_all(
        "add_audit_entry",
        task_id=task_id,
        no=no,
        **_audit_parameters(action, act, before, after),
    )


async def add_step_audit_entries(
    tx: Session,
    task_id: TaskId,
    nos: Sequence[int],
    action: str,
    act: AuditNote,
    before: str,
    after: str,
) -> None:
    """Add an entry for each of some steps to the audit of a task."""
    await tx.fetch_all(
        "add_step_audit_entries",
        task_id=task_id,
        nos=nos,
        **_audit_parameters(action, act, before, after),
    )


def _audit_parameters(action: str, act: AuditNote, before: str, after: str) -> dict[str, object]:
    """Return the parameters of an entry that do not depend on what it is about."""
    return {
        "actor": act.actor,
        "action": action,
        "reason": act.reason,
        "before": before,
        "after": after,
        "via": act.via,
        "bulk_id": act.bulk_id,
    }
