"""Claiming and settling: what runs for every step."""

import sqlite3
from collections.abc import Collection, Sequence

from tasker.model import (
    TASK_NODE,
    Claim,
    Claimed,
    Code,
    JsonText,
    Outcome,
    QueueId,
    Settled,
    TaskEnd,
    TaskId,
    TaskStatus,
    WorkerId,
)
from tasker.store.sqlite.driver import Driver, execute, fetch, fetch_one, json_text


class HotPath(Driver):
    """Claiming and settling: what runs for every step."""

    async def claim(self, worker: WorkerId, queues: Collection[QueueId], limit: int) -> Claimed:
        served = json_text(list(queues))

        def claim(on: sqlite3.Connection) -> Claimed:
            now = self._now()
            claims: list[Claim] = []
            for queue, _ in fetch(on, "claim_heads", queues=served, now=now):
                left = limit - len(claims)
                found = fetch(on, "claim", worker=worker, queue=queue, limit=left, now=now)
                claims += (Claim(*row) for row in found)
                if len(claims) == limit:
                    return Claimed(claims, None)
            return Claimed(claims, fetch(on, "next_due", queues=served, now=now)[0][0])

        return await self._write(claim)

    async def settle(
        self,
        worker: WorkerId,
        outcomes: Sequence[Outcome],
        *,
        queues: Collection[QueueId] = (),
        claim_up_to: int = 0,
    ) -> Settled:
        given = json_text(outcomes)
        settled, left = await self._write(
            lambda on: settle_within(on, worker, outcomes, given, queues, claim_up_to, self._now())
        )
        if left:
            self._work.set()
        return settled

    async def park(self, claim: Claim, waits_for: TaskId) -> bool:
        def park(on: sqlite3.Connection) -> bool:
            now = self._now()
            child = fetch_one(on, "lock_child", task_id=waits_for)
            fence = {"task_id": claim.task_id, "no": claim.no, "attempt": claim.attempt}
            execute(on, "park_history", **fence, now=now)
            over = child is None or child[0]
            return bool(fetch(on, "park", **fence, waits_for=waits_for, over=over, now=now))

        parked = await self._write(park)
        self._work.set()
        return parked

    async def checkpoint(self, claim: Claim, value: JsonText) -> bool:
        kept = await self._change(
            "checkpoint", task_id=claim.task_id, no=claim.no, attempt=claim.attempt, value=value
        )
        return bool(kept)


def settle_within(
    on: sqlite3.Connection,
    worker: WorkerId | None,
    outcomes: Sequence[Outcome],
    given: JsonText,
    queues: Collection[QueueId],
    claim_up_to: int,
    now: float,
) -> tuple[Settled, bool]:
    """Settle `outcomes`, which are also `given` as text; tell whether steps are left for others."""
    on.execute("delete from temp.settled")
    on.execute("delete from temp.child")
    accepted = execute(on, "settle", outcomes=given).rowcount
    execute(on, "settle_history", now=now)
    execute(on, "settle_steps", now=now)
    execute(on, "settle_children")
    freed, ended = _follow(on, worker, queues, claim_up_to, now)
    kinds = {outcome.outcome for outcome in outcomes}
    if _FAILED in kinds:
        execute(on, "settle_failures")
    if fetch_one(on, "any_failed_task")[0]:
        failing = json_text([row[0] for row in fetch(on, "settle_failed_tasks")])
        closed = fetch(on, "end_failed", tasks=failing, now=now)
        ended += (TaskEnd(row[0], TaskStatus.ERROR) for row in closed)
    left = not kinds.isdisjoint(_FOR_OTHERS) or any(row[2] == Code.ENQUEUED for row in freed)
    if ended:
        waiting = json_text([end.task_id for end in ended])
        left = execute(on, "wake_parents", ended=waiting, now=now).rowcount > 0 or left
    refused: Sequence[int] = ()
    if accepted < len(outcomes):
        refused = sorted({*range(len(outcomes))} - {row[0] for row in fetch(on, "settle_accepted")})
    claims = [Claim(row[0], row[1], 1, 1) for row in freed if row[2] == Code.IN_PROGRESS]
    return Settled(refused, claims, ended), left


def _follow(
    on: sqlite3.Connection,
    worker: WorkerId | None,
    queues: Collection[QueueId],
    claim_up_to: int,
    now: float,
) -> tuple[list[tuple[TaskId, int, int]], list[TaskEnd]]:
    """Free the children of what was settled, and end tasks; tell (task, step, state), and ends."""
    least, greatest = fetch_one(on, "settle_nodes")
    freed, ended = [], []
    if greatest:
        served = f",{','.join(map(str, queues))},"
        freed = fetch(
            on, "settle_free", worker=worker, queues=served, claim_up_to=claim_up_to, now=now
        )
    if least == TASK_NODE:
        for task_id, state in fetch(on, "settle_ends", now=now):
            if state == Code.COMPLETE:
                ended.append(TaskEnd(task_id, TaskStatus.COMPLETE))
    return freed, ended


_FAILED, _FOR_OTHERS = 2, (3, 4)  # indexes in ATTEMPT_OUTCOMES; lost and released
