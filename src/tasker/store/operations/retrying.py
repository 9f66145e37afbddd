"""Retrying the failed steps of a task, and reviving those that its deadline cancelled.

A few steps are enqueued in one transaction. If there are many, each page resets some of them
outside their queues, because a step that ran before its child's page would not free the child.
After the last page, all of them are enqueued, also in pages.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from tasker.errors import ChildrenAlreadyRan, CompensationStarted
from tasker.model import StatusCode, StepStatus, TaskId
from tasker.store import operator_rules
from tasker.store.operations.auditing import add_step_audit_entries
from tasker.store.operations.paging import (
    READ,
    PagedAction,
    PagedActionKind,
    StepPage,
    drop_remaining_actions,
    greatest_step_numbers,
    list_paged_actions,
    lock_next_step_page,
    store_remaining_action,
)
from tasker.store.protocol import AuditNote
from tasker.store.rows import Row, step_name
from tasker.store.session import Session

PAGE = 500  #: steps that one transaction retries, or revives


class TaskRetry(NamedTuple):
    """A retry of a locked task."""

    task_id: TaskId
    act: AuditNote
    counted_attempts: Mapping[int, int]  #: see `OperatorStore.retry_steps`
    fresh: bool
    undoing: bool  #: whether the steps undo others
    nos: Sequence[int] | None  #: of the steps left to retry, in order; None: all failed ones

    async def require_retryable(self, tx: Session) -> None:
        """Raise unless all given steps can be retried.

        Raises: NotFound, CompensationStarted, WrongStatus, ChildrenAlreadyRan.
        """
        for first in range(0, len(self.nos or ()), PAGE):
            nos = (self.nos or ())[first : first + PAGE]
            steps = await tx.fetch_all("steps_by_number", task_id=self.task_id, nos=nos)
            operator_rules.require_steps_exist(self.task_id, nos, [row["no"] for row in steps])
            if self.undoing:
                require_only_compensating_steps(self.task_id, steps, "retry")
            for row in steps:
                operator_rules.require_step_status(
                    step_name(row), row["state"], "retry", operator_rules.FAILED
                )
            self.require_waiting_children(
                steps, await self._find_steps_without_waiting_children(tx, steps)
            )

    def require_waiting_children(
        self, failed: Sequence[Row], started_without: Collection[int]
    ) -> None:
        """Raise ChildrenAlreadyRan if children of a failed step have started without it."""
        for row in failed:
            if row["no"] in started_without:
                raise ChildrenAlreadyRan(row["name"])

    async def lock_next_failed(self, tx: Session, last_no: int) -> StepPage:
        """Lock the next steps to retry."""
        if self.nos is None:
            return await lock_next_step_page(
                tx, "steps_to_retry", self.task_id, last_no, PAGE, undoing=self.undoing
            )
        left = [no for no in self.nos if no > last_no]
        nos = left[:PAGE]
        steps = await tx.lock_rows("steps_by_number", task_id=self.task_id, nos=nos)
        failed = [row for row in steps if row["state"] == StatusCode.ERROR]
        return StepPage(failed, nos[-1] if len(left) > PAGE else None)

    async def lock_next_cancelled(self, tx: Session, last_no: int) -> StepPage:
        """Lock the next steps that the deadline of the task cancelled."""
        if self.undoing:
            return StepPage((), None)
        return await lock_next_step_page(
            tx, "cancelled_steps_to_revive", self.task_id, last_no, PAGE
        )

    async def has_steps_to_retry(self, tx: Session) -> bool:
        """Return whether any step of the task must be retried or revived."""
        greatest = (await greatest_step_numbers(tx, [self.task_id]))[self.task_id]
        for last_no in range(0, greatest, READ):
            some = {"task_id": self.task_id, "last_no": last_no, "until": last_no + READ}
            failed = await tx.fetch_all("steps_to_retry", **some, undoing=self.undoing, limit=1)
            if failed or (
                not self.undoing
                and await tx.fetch_all("cancelled_steps_to_revive", **some, limit=1)
            ):
                return True
        return False

    async def revert_failures(self, tx: Session, failed: Sequence[Row]) -> Collection[int]:
        """Let the pending children of failed steps wait for them again.

        Returns:
            The numbers of those whose children have all started without them.
        """
        if not failed:
            return ()
        await revert_failures(tx, self.task_id, [row["no"] for row in failed])
        return await self._find_steps_without_waiting_children(tx, failed)

    async def enqueue_failed(self, tx: Session, failed: Sequence[Row], *, held: bool) -> None:
        """Enqueue failed steps or, with `held`, let them wait outside their queues."""
        if not failed:
            return
        nos = [row["no"] for row in failed]
        if self.fresh:
            for statement in (
                "delete_durable_calls_of_steps",
                "free_idempotency_keys_of_child_tasks",
                "reset_received_signals",
            ):
                await tx.fetch_all(statement, task_id=self.task_id, nos=nos)
        by_used = defaultdict(list)
        for row in failed:
            used = self.counted_attempts.get(row["template_node"] or row["no"], 0)
            by_used[used].append(row["no"])
        for used, some in by_used.items():
            await tx.fetch_all(
                "retry_steps", task_id=self.task_id, nos=some, counted_attempts=used, held=held
            )
        action = "retry_fresh" if self.fresh else "retry"
        await add_step_audit_entries(
            tx, self.task_id, nos, action, self.act, StepStatus.ERROR, StepStatus.ENQUEUED
        )

    async def store_remaining_steps(self, tx: Session, stage: str, last_no: int) -> None:
        """Leave the steps of a stage, `failed` or `cancelled`, to the pages that follow."""
        details = {
            "stage": stage,
            "actor": self.act.actor,
            "reason": self.act.reason,
            "via": self.act.via,
            "bulk_id": self.act.bulk_id,
            "counted_attempts": list(self.counted_attempts.items()),
            "fresh": self.fresh,
            "undoing": self.undoing,
            "nos": self.nos and [no for no in self.nos if no > last_no],
        }
        await store_remaining_action(
            tx, PagedAction(self.task_id, PagedActionKind.RETRY, last_no, details)
        )

    async def _find_steps_without_waiting_children(
        self, tx: Session, failed: Sequence[Row]
    ) -> Collection[int]:
        handled = [row["no"] for row in failed if row["is_handled"] and not row["ends_task"]]
        if not handled or self.undoing:
            return ()
        rows = await tx.fetch_all(
            "failed_steps_without_waiting_children", task_id=self.task_id, nos=handled
        )
        return {row["no"] for row in rows}


async def retry_next_page(tx: Session, action: PagedAction) -> None:
    """Retry the next page of the steps of a locked task, or revive them."""
    details = action.details
    retrying = TaskRetry(
        action.task_id,
        AuditNote(
            actor=details["actor"],
            reason=details["reason"],
            via=details["via"],
            bulk_id=details["bulk_id"],
        ),
        dict(details["counted_attempts"]),
        details["fresh"],
        details["undoing"],
        details["nos"],
    )
    if details["stage"] == "failed":
        failed, last_no = await retrying.lock_next_failed(tx, action.last_no)
        started_without = await retrying.revert_failures(tx, failed)
        waiting = [row for row in failed if row["no"] not in started_without]
        await retrying.enqueue_failed(tx, waiting, held=True)
        if last_no is None:
            await retrying.store_remaining_steps(tx, "cancelled", 0)
        else:
            await retrying.store_remaining_steps(tx, "failed", last_no)
        return
    cancelled, last_no = await retrying.lock_next_cancelled(tx, action.last_no)
    await revive_cancelled_steps(tx, action.task_id, cancelled, held=True)
    if last_no is not None:
        await retrying.store_remaining_steps(tx, "cancelled", last_no)
        return
    await drop_remaining_actions(tx, [action.task_id], PagedActionKind.RETRY)
    await tx.fetch_all("reopen_task", task_id=action.task_id)
    (task,) = await tx.fetch_all("template_and_pauses_of_task", task_id=action.task_id)
    if not task["paused"]:
        await store_remaining_action(
            tx, PagedAction(action.task_id, PagedActionKind.PAUSE, 0, {"paused": False})
        )


async def has_unfinished_retry(tx: Session, task_id: TaskId) -> bool:
    """Return whether a retry of a locked task has pages left."""
    return any(
        action.kind is PagedActionKind.RETRY for action in await list_paged_actions(tx, task_id)
    )


async def revive_all_cancelled_steps(tx: Session, task_id: TaskId, no: int, act: AuditNote) -> None:
    """Let all steps that a locked task's deadline cancelled run or wait.

    Args:
        tx: The transaction.
        task_id: The task.
        no: The step that is resolved next. If the steps are many, its children come first, as its
            success arrives at them, and the others follow in pages.
        act: The actor and the reason.
    """
    retrying = TaskRetry(task_id, act, {}, fresh=False, undoing=False, nos=None)
    cancelled, last_no = await retrying.lock_next_cancelled(tx, 0)
    others = await has_unfinished_retry(tx, task_id)
    held = others or last_no is not None
    await revive_cancelled_steps(tx, task_id, cancelled, held=held)
    if held:
        children = await tx.lock_rows("cancelled_children_of_step", task_id=task_id, no=no)
        await revive_cancelled_steps(tx, task_id, children, held=True)
    if last_no is not None and not others:
        await retrying.store_remaining_steps(tx, "cancelled", last_no)


async def revive_cancelled_steps(
    tx: Session, task_id: TaskId, steps: Sequence[Row], *, held: bool
) -> None:
    """Let cancelled steps run or wait; with `held`, outside their queues."""
    if steps:
        nos = [row["no"] for row in steps]
        await tx.fetch_all("revive_cancelled_steps", task_id=task_id, nos=nos, held=held)


async def revert_failures(tx: Session, task_id: TaskId, nos: Collection[int]) -> None:
    """Let the pending children of failed steps wait for them again, and the task for its sinks."""
    await tx.fetch_all("revert_failures_at_children", task_id=task_id, nos=list(nos))
    await tx.fetch_all("revert_failed_sinks", task_id=task_id, nos=list(nos))


def require_only_compensating_steps(task_id: TaskId, steps: Sequence[Row], action: str) -> None:
    """Raise CompensationStarted unless there are steps and all of them are compensating steps."""
    if not steps or any(row["undoes"] is None for row in steps):
        raise CompensationStarted(task_id, action)
