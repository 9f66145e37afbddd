"""Claiming and settling: what runs for every step."""

from collections.abc import Collection, Sequence
from typing import Any

from tasker.model import (
    STEP_STATUSES,
    Claim,
    Claimed,
    JsonText,
    Outcome,
    QueueId,
    Settled,
    TaskEnd,
    TaskId,
    TaskStatus,
    WorkerId,
)
from tasker.store.postgres.driver import Driver, fetch, fetch_one


class HotPath(Driver):
    """Claiming and settling: what runs for every step."""

    async def claim(self, worker: WorkerId, queues: Collection[QueueId], limit: int) -> Claimed:
        rows = await self._at_once("claim", worker=worker, queues=list(queues), limit=limit)
        next_due = None
        if rows and rows[-1][0] is None:
            next_due = rows.pop()[5]
        return Claimed([Claim(*row[:5]) for row in rows], next_due)

    async def settle(
        self,
        worker: WorkerId,
        outcomes: Sequence[Outcome],
        *,
        queues: Collection[QueueId] = (),
        claim_up_to: int = 0,
    ) -> Settled:
        if not outcomes:
            return Settled((), (), ())
        tasks, nos, attempts, kinds, results, errors, delays = zip(*outcomes, strict=True)
        rows = await self._at_once(
            "settle",
            worker=worker,
            tasks=tasks,
            nos=nos,
            attempts=attempts,
            outcomes=kinds,
            results=results,
            errors=errors,
            delays=delays,
            queues=list(queues),
            claim_up_to=claim_up_to,
        )
        return _settled(rows)

    async def park(self, claim: Claim, waits_for: TaskId) -> bool:
        async with self._transaction() as connection:
            child = await fetch_one(connection, "lock_child", task_id=waits_for)
            parked = await fetch(
                connection,
                "park",
                task_id=claim.task_id,
                no=claim.no,
                attempt=claim.attempt,
                waits_for=waits_for,
                over=child is None or child[0],
            )
            await fetch(connection, "wake")
        return bool(parked)

    async def checkpoint(self, claim: Claim, value: JsonText) -> bool:
        kept = await self._one(
            "checkpoint", task_id=claim.task_id, no=claim.no, attempt=claim.attempt, value=value
        )
        return kept is not None


def _settled(rows: Sequence[Any]) -> Settled:
    if len(rows) and rows[0][0] == rows[-1][0] == 1:  # nothing but claims, as nearly always
        return Settled((), [Claim(row[1], row[2], 1, 1) for row in rows], ())
    return Settled(
        [row[2] - 1 for row in rows if row[0] == 0],
        [Claim(row[1], row[2], 1, 1) for row in rows if row[0] == 1],
        [TaskEnd(row[1], TaskStatus(STEP_STATUSES[row[2]].value)) for row in rows if row[0] == 2],
    )
