"""Undoing the completed steps of tasks that fail or are cancelled."""

from collections.abc import Collection, Sequence

from tasker import codec
from tasker.errors import CompensationStarted
from tasker.model import (
    Claim,
    CompensatingStep,
    CompensationCandidate,
    JsonText,
    StatusCode,
    TaskId,
)
from tasker.store.operations.stopping import stop_steps
from tasker.store.protocol import COMPLETED_STEPS
from tasker.store.session import Session, TransactionalStore


class CompensationPlanning(TransactionalStore):
    """The rows that planning a compensation reads and inserts."""

    async def list_completed_steps_of_nodes(
        self, task_id: TaskId, nodes: Collection[int], *, after: int = 0
    ) -> list[CompensationCandidate]:
        rows = await self._fetch_all(
            "list_completed_steps_of_nodes",
            task_id=task_id,
            nodes=list(nodes),
            after=after,
            limit=COMPLETED_STEPS,
        )
        return [
            CompensationCandidate(row["no"], row["node"], row["spawned_by"], row["instance"])
            for row in rows
        ]

    async def add_compensating_steps(
        self, claim: Claim, steps: Sequence[CompensatingStep], total: int, *, keep_going: bool
    ) -> bool:
        task_id, no, attempt = claim.attempt_key

        async def add_steps_if_claim_held(tx: Session) -> bool:
            if not await tx.lock_rows(
                "lock_compensation_planner_if_claim_held", task_id=task_id, no=no, attempt=attempt
            ):
                return False
            numbers = await tx.fetch_one("first_compensating_step_no", task_id=task_id, no=no)
            if numbers is None:
                (numbers,) = await tx.fetch_all(
                    "reserve_compensating_step_numbers", task_id=task_id, no=no, steps=total
                )
                last_no = numbers["first_no"] + total - 1
                await tx.fetch_all("set_greatest_step_no", task_id=task_id, last_no=last_no)
            await tx.fetch_all(
                "add_compensating_steps",
                task_id=task_id,
                first_no=numbers["first_no"],
                keep_going=keep_going,
                steps=codec.dump_rows(list(steps)),
            )
            await tx.call_function("wake_workers")
            return True

        added = await self._in_write_transaction(add_steps_if_claim_held)
        if added:
            await self._try_admit_tasks_to_freed_places([task_id])
        return added


async def begin_compensation(
    tx: Session, task_id: TaskId, code: StatusCode, error: JsonText | None = None
) -> bool:
    """Start the compensation of a locked task instead of ending it.

    Steps that have not started are cancelled; the results of steps in progress still count.

    Returns:
        False if there is nothing to undo or the task is already being compensated.
    """
    if await tx.fetch_one("find_task_if_compensable", task_id=task_id, state=int(code)) is None:
        return False
    await stop_steps(tx, task_id, StatusCode.CANCELLED, compensated=True)
    await tx.fetch_all("mark_task_compensating", task_id=task_id, state=int(code), error=error)
    await tx.end_failed_tasks([task_id])
    return True


async def has_compensation_begun(tx: Session, task_id: TaskId) -> bool:
    """Return whether the compensation of a locked task has begun."""
    row = await tx.fetch_one("compensation_status", task_id=task_id)
    return row is not None and bool(row["begun"])


async def cancel_unbegun_compensation(tx: Session, task_id: TaskId) -> None:
    """Let a locked task continue if its compensation has not begun."""
    if await tx.fetch_one("compensation_status", task_id=task_id) is not None:
        await tx.fetch_all("delete_compensation_planner", task_id=task_id)
        await tx.fetch_all("unmark_task_compensating", task_id=task_id)


async def require_no_compensation(tx: Session, task_id: TaskId, action: str) -> None:
    """Raise CompensationStarted if a locked open task is being compensated."""
    if await tx.fetch_one("compensation_status", task_id=task_id) is not None:
        raise CompensationStarted(task_id, action)
