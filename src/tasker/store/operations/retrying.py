"""Retrying the failed steps of a task, and reviving those that its deadline cancelled.

If they are few, they are enqueued in one transaction. If they are many, each page puts some of them
back, out of their queues: a step that ran before the page of its child would not free it. After the
last page all are put into their queues, in pages too.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from tasker.errors import FailureHandled
from tasker.model import StepStatus, TaskId
from tasker.store import operator_rules
from tasker.store.operations.paging import (
    ActionKind,
    Page,
    PagedAction,
    call_off,
    next_page,
    paged_actions,
    put_off,
)
from tasker.store.operations.recording import audit
from tasker.store.protocol import AuditNote
from tasker.store.rows import Row, step_name
from tasker.store.session import Session

PAGE = 100  #: steps that one transaction retries, or revives
ALL = 2**31 - 1  #: steps, if none are left to pages


class Retrying(NamedTuple):
    """A retry of a locked task."""

    task_id: TaskId
    act: AuditNote
    counted_attempts: Mapping[int, int]  #: see `OperatorStore.retry_steps`
    fresh: bool
    undoing: bool  #: whether the steps undo others

    async def given(self, tx: Session, nos: Collection[int]) -> Page:
        """Lock the steps that were given."""
        steps = await tx.lock(
            "chosen_steps",
            task_id=self.task_id,
            nos=list(nos),
            undoing=self.undoing,
            last_no=0,
            until=ALL,
            limit=ALL,
        )
        return Page(steps, None)

    async def next_failed(self, tx: Session, last_no: int) -> Page:
        """Lock the next failed steps."""
        return await next_page(
            tx, "chosen_steps", self.task_id, last_no, PAGE, nos=None, undoing=self.undoing
        )

    async def next_cancelled(self, tx: Session, last_no: int) -> Page:
        """Lock the next steps that the deadline of the task cancelled."""
        if self.undoing:
            return Page((), None)
        return await next_page(tx, "cancelled_steps", self.task_id, last_no, PAGE)

    async def has_more(self, tx: Session) -> bool:
        """Return whether any step of the task is to be retried or revived."""
        first = {"task_id": self.task_id, "last_no": 0, "until": ALL, "limit": 1}
        failed = await tx.all("chosen_steps", nos=None, undoing=self.undoing, **first)
        return bool(failed or (not self.undoing and await tx.all("cancelled_steps", **first)))

    async def retry(self, tx: Session, failed: Sequence[Row], *, held: bool) -> None:
        """Enqueue failed steps, or with `held` let them wait out of their queues."""
        for row in failed:
            await self._retry_step(tx, row, held=held)

    async def _retry_step(self, tx: Session, row: Row, *, held: bool) -> None:
        step = {"task_id": self.task_id, "no": row["no"]}
        before = operator_rules.require_step(
            step_name(row), row["state"], "retry", operator_rules.FAILED
        )
        if self.fresh:
            await tx.all("forget_calls", **step)
            await tx.all("free_child_keys", **step)
            await tx.all("return_signals", **step)
        waited_for = await take_back_failure(tx, self.task_id, row["no"])
        if row["is_handled"] and not (waited_for or row["ends_task"] or self.undoing):
            raise FailureHandled(row["name"])
        used = self.counted_attempts.get(row["template_node"] or row["no"], 0)
        await tx.all("retry_step", **step, counted_attempts=used, held=held)
        action = "retry_fresh" if self.fresh else "retry"
        await audit(tx, self.task_id, row["no"], action, self.act, before, StepStatus.ENQUEUED)

    async def put_off(self, tx: Session, stage: str, last_no: int) -> None:
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
        }
        await put_off(tx, PagedAction(self.task_id, ActionKind.RETRY, last_no, details))


async def retry_page(tx: Session, action: PagedAction) -> None:
    """Retry the next page of the steps of a locked task, or revive them."""
    details = action.details
    retrying = Retrying(
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
    )
    if details["stage"] == "failed":
        failed, last_no = await retrying.next_failed(tx, action.last_no)
        await retrying.retry(tx, failed, held=True)
        if last_no is None:
            await retrying.put_off(tx, "cancelled", 0)
        else:
            await retrying.put_off(tx, "failed", last_no)
        return
    cancelled, last_no = await retrying.next_cancelled(tx, action.last_no)
    await revive(tx, action.task_id, cancelled, held=True)
    if last_no is not None:
        await retrying.put_off(tx, "cancelled", last_no)
        return
    await call_off(tx, [action.task_id], ActionKind.RETRY)
    await tx.all("reopen_task", task_id=action.task_id)
    (task,) = await tx.all("template_of_task", task_id=action.task_id)
    if not task["paused"]:
        await put_off(tx, PagedAction(action.task_id, ActionKind.PAUSE, 0, {"paused": False}))


async def is_retried(tx: Session, task_id: TaskId) -> bool:
    """Return whether a retry of a locked task has pages left."""
    return any(action.kind is ActionKind.RETRY for action in await paged_actions(tx, task_id))


async def revive_all(tx: Session, task_id: TaskId) -> None:
    """Let all steps run or wait that the deadline of a locked task cancelled."""
    every = {"last_no": 0, "until": ALL, "limit": ALL}
    cancelled = await tx.lock("cancelled_steps", task_id=task_id, **every)
    await revive(tx, task_id, cancelled, held=False)


async def revive(tx: Session, task_id: TaskId, steps: Sequence[Row], *, held: bool) -> None:
    """Let cancelled steps run or wait; with `held`, out of their queues."""
    if steps:
        nos = [row["no"] for row in steps]
        await tx.all("revive_steps", task_id=task_id, nos=nos, held=held)


async def take_back_failure(tx: Session, task_id: TaskId, no: int) -> bool:
    """Let the pending children of a failed step wait for it again; return whether any do."""
    taken_back = await tx.all("take_back_failure", task_id=task_id, no=no)
    await tx.all("take_back_sink", task_id=task_id, no=no)
    return bool(taken_back)
