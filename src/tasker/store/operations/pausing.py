"""Taking the steps of tasks out of their queues, and putting them back.

A few steps change in the transaction that pauses or resumes their tasks; if there are many, the
rest follow in pages. Until its page has changed it, a step of a paused task may still be claimed,
and a step of a resumed task cannot be claimed.
"""

from collections.abc import Sequence

from tasker import codec
from tasker.model import TaskId
from tasker.store.operations.paging import (
    READ,
    PagedAction,
    PagedActionKind,
    drop_remaining_actions,
    greatest_step_numbers,
    lock_next_step_page,
    store_remaining_action,
)
from tasker.store.rows import Row
from tasker.store.session import Session

PAGE = 250  #: steps that one transaction takes out of their queues, or puts back


async def set_tasks_paused(tx: Session, tasks: Sequence[str], *, paused: bool) -> None:
    """Take the first page of steps of locked tasks out of their queues, or put them back."""
    if not tasks:
        return
    await tx.fetch_all("mark_tasks_paused", tasks=list(tasks), paused=paused)
    await drop_remaining_actions(tx, tasks, PagedActionKind.PAUSE)
    steps = await tx.lock_rows(
        "steps_to_pause", tasks=list(tasks), last_no=0, until=READ, limit=PAGE, paused=paused
    )
    await _set_steps_paused(tx, steps, paused=paused)
    left = {}
    if len(steps) == PAGE:
        last = steps[-1]
        left = {task_id: 0 for task_id in tasks if task_id > last["task_id"]}
        left[last["task_id"]] = last["no"]
    for task_id, greatest in (await greatest_step_numbers(tx, tasks)).items():
        if greatest > READ:
            left.setdefault(task_id, READ)
    for task_id, last_no in left.items():
        rest = PagedAction(TaskId(task_id), PagedActionKind.PAUSE, last_no, {"paused": paused})
        await store_remaining_action(tx, rest)


async def pause_or_resume_next_page(tx: Session, action: PagedAction) -> None:
    """Change the next page of the steps of a locked task."""
    task_id, kind, last_no, details = action
    paused = details["paused"]
    page = await lock_next_step_page(
        tx, "steps_to_pause", task_id, last_no, PAGE, tasks=[task_id], paused=paused
    )
    await _set_steps_paused(tx, page.steps, paused=paused)
    if page.last_no is None:
        await drop_remaining_actions(tx, [task_id], kind)
    else:
        await store_remaining_action(tx, action._replace(last_no=page.last_no))


async def _set_steps_paused(tx: Session, steps: Sequence[Row], *, paused: bool) -> None:
    if not steps:
        return
    await tx.fetch_all(
        "pause_steps" if paused else "resume_steps",
        steps=codec.dump_rows([[row["task_id"], row["no"]] for row in steps]),
    )
    if not paused:
        await tx.call_function("wake_workers")
