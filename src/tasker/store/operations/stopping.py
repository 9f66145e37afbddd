"""Ending the steps of tasks that are ended early.

A task with few steps ends with all of them in one transaction. If it has many steps, that
transaction ends the steps in progress and the first page of the others. A step of a later page may
still be claimed until its page ends it.
"""

from collections.abc import Sequence

from tasker.model import StatusCode, TaskId
from tasker.store.operations.paging import (
    PagedAction,
    PagedActionKind,
    drop_remaining_actions,
    lock_next_step_page,
    store_remaining_action,
)
from tasker.store.session import Session

PAGE = 500  #: steps that one transaction ends


async def stop_steps(tx: Session, task_id: TaskId, code: StatusCode, *, compensated: bool) -> None:
    """End the steps of a locked task that have not ended, or the first page of them.

    Args:
        tx: The transaction.
        task_id: The task.
        code: The new state of the steps.
        compensated: Whether steps in progress are not ended, because the task will be compensated.
    """
    await drop_remaining_actions(tx, [task_id], PagedActionKind.RETRY)
    last_no = await _stop_next_steps(tx, task_id, 0, code, compensated=compensated)
    if last_no is None:
        return
    if not compensated:
        running = [
            row["no"] for row in await tx.lock_rows("running_steps_of_task", task_id=task_id)
        ]
        await _stop_given_steps(tx, task_id, running, code)
    details = {"state": int(code), "compensated": compensated}
    await store_remaining_action(tx, PagedAction(task_id, PagedActionKind.END, last_no, details))


async def stop_next_page(tx: Session, action: PagedAction) -> None:
    """End the next page of the steps of a locked task."""
    task_id, kind, last_no, details = action
    code, compensated = StatusCode(details["state"]), details["compensated"]
    next_no = await _stop_next_steps(tx, task_id, last_no, code, compensated=compensated)
    await tx.call_function("notify_revocation")
    if next_no is not None:
        await store_remaining_action(tx, action._replace(last_no=next_no))
        return
    await drop_remaining_actions(tx, [task_id], kind)
    if compensated:
        await tx.end_failed_tasks([task_id])


async def _stop_next_steps(
    tx: Session, task_id: TaskId, last_no: int, code: StatusCode, *, compensated: bool
) -> int | None:
    """End the next page of steps; return the number after which the following page begins."""
    page = await lock_next_step_page(
        tx, "steps_to_stop", task_id, last_no, PAGE, running=not compensated
    )
    await _stop_given_steps(tx, task_id, [row["no"] for row in page.steps], code)
    return page.last_no


async def _stop_given_steps(
    tx: Session, task_id: TaskId, nos: Sequence[int], code: StatusCode
) -> None:
    if nos:
        await tx.fetch_all("store_stopped_attempts", task_id=task_id, nos=nos)
        await tx.fetch_all("stop_steps", task_id=task_id, nos=nos, state=int(code))
        await tx.fetch_all("delete_waits_of_steps", task_id=task_id, nos=nos)
