"""Idempotency keys that new tasks take over from existing tasks."""

from collections.abc import Sequence

from tasker.errors import Misuse
from tasker.model import CreateTasksResult, ExistingTaskAction, NewTask, TaskId
from tasker.store.operations.operators import cancel_task_if_open
from tasker.store.protocol import AuditNote
from tasker.store.session import Session


async def free_idempotency_keys_and_cancel_holders(tx: Session, tasks: Sequence[NewTask]) -> None:
    """Free the keys of tasks that replace others, and cancel open holders of these keys."""
    replacing = [task for task in tasks if task.if_exists is ExistingTaskAction.REPLACE]
    held = await tx.fetch_all(
        "lock_idempotency_key_holders",
        templates=[task.template_id for task in replacing],
        keys=[task.idempotency_key for task in replacing],
    )
    for row in held:
        new = replacing[row["place"]]
        note = AuditNote(actor=new.created_by, reason=f"replaced by task {new.id}")
        await cancel_task_if_open(tx, TaskId(row["task_id"]), note)
        await tx.fetch_all("free_idempotency_key", namespace=row["namespace"], key=row["key"])


def has_lost_idempotency_keys(tasks: Sequence[NewTask], created: CreateTasksResult) -> bool:
    """Return whether other tasks took the keys again, so that the creation must be retried.

    Raises:
        Misuse: One creation uses a key twice with `if_exists` replace.
    """
    new = {task_id for task_id, is_new in created.tasks if is_new}
    lost = False
    for task, (task_id, is_new) in zip(tasks, created.tasks, strict=True):
        if task.if_exists is not ExistingTaskAction.REPLACE or is_new:
            continue
        if task_id in new:
            raise Misuse(
                f"two of the tasks have the idempotency key {task.idempotency_key!r};"
                " with if_exists='replace', only one task may have it"
            )
        lost = True
    return lost
