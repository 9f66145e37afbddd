"""Actions on tasks with many steps, performed in pages.

The first transaction of an action changes the task and the first page of its steps. If there are
more steps, it stores its progress. Each further page has its own transaction, in the operator's
call or, if that process dies, in the janitor.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from tasker import codec
from tasker.model import TaskId
from tasker.store.rows import Row
from tasker.store.session import Session

READ = 10_000  #: numbers of steps among which one transaction looks for those to change
BEFORE_ALL_TASKS = "00000000-0000-0000-0000-000000000000"  #: not above the id of any task


class PagedActionKind(StrEnum):
    """The effect of an action on the steps of a task. A task has at most one of each kind."""

    END = "end"
    PAUSE = "pause"  #: takes them out of their queues, or puts them back
    RETRY = "retry"


class PagedAction(NamedTuple):
    """An action that has steps left to change."""

    task_id: TaskId
    kind: PagedActionKind
    last_no: int  #: the greatest number of a step that was looked at
    details: Mapping[str, Any]


class StepPage(NamedTuple):
    """Steps to change in one transaction."""

    steps: Sequence[Row]
    last_no: int | None  #: the number after which the next page begins; None: this is the last


async def lock_next_step_page(
    tx: Session, statement: str, task_id: TaskId, last_no: int, size: int, **values: object
) -> StepPage:
    """Lock the next steps of a locked task to change, `size` at most.

    Args:
        tx: The transaction.
        statement: Which steps are to be changed.
        task_id: The task.
        last_no: The number after which the page begins.
        size: Maximum number of steps to change.
        values: Further parameters of the statement.
    """
    until = last_no + READ
    steps = await tx.lock_rows(
        statement, task_id=task_id, last_no=last_no, until=until, limit=size, **values
    )
    if len(steps) == size:
        return StepPage(steps, steps[-1]["no"])
    more = until < (await greatest_step_numbers(tx, [task_id]))[task_id]
    return StepPage(steps, until if more else None)


async def greatest_step_numbers(tx: Session, tasks: Sequence[str]) -> dict[str, int]:
    """Return the greatest number of a step of each task."""
    rows = await tx.fetch_all("greatest_step_numbers", tasks=list(tasks))
    return {row["task_id"]: row["no"] for row in rows}


async def store_remaining_action(tx: Session, action: PagedAction) -> None:
    """Store the rest of an action on a locked task, replacing one of the same kind."""
    task_id, kind, last_no, details = action
    await tx.fetch_all(
        "store_paged_action",
        task_id=task_id,
        kind=str(kind),
        last_no=last_no,
        details=codec.dump_rows(details),
    )


async def drop_remaining_actions(tx: Session, tasks: Sequence[str], kind: PagedActionKind) -> None:
    """Stop an action from changing further steps of locked tasks."""
    await tx.fetch_all("delete_paged_actions", tasks=list(tasks), kind=str(kind))


async def list_paged_actions(tx: Session, task_id: TaskId) -> Sequence[PagedAction]:
    """Return the actions on a task that have steps left to change, in the order to continue."""
    return [
        PagedAction(
            task_id, PagedActionKind(row["kind"]), row["last_no"], codec.loads(row["details"])
        )
        for row in await tx.fetch_all("paged_actions_of_task", task_id=task_id)
    ]
