"""Claiming and settling: what runs for every step."""

import sqlite3
from collections.abc import Collection, Sequence

from tasker.model import (
    Claim,
    Claimed,
    Code,
    JsonText,
    Outcome,
    QueueId,
    Settled,
    TaskEnd,
    TaskId,
    TaskState,
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
        served = json_text(list(queues))
        settled, left = await self._write(
            lambda on: settle_within(
                on, worker, given, len(outcomes), served, claim_up_to, self._now()
            )
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
    given: JsonText,
    many: int,
    queues: JsonText | str,
    claim_up_to: int,
    now: float,
) -> tuple[Settled, bool]:
    """Settle; tell also whether freed steps are left for others."""
    on.execute("delete from temp.settled")
    on.execute("delete from temp.child")
    execute(on, "settle", outcomes=given)
    execute(on, "settle_history", now=now)
    execute(on, "settle_steps", now=now)
    execute(on, "settle_children")
    freed = fetch(on, "settle_free", worker=worker, queues=queues, claim_up_to=claim_up_to, now=now)
    ends = [row[0] for row in fetch(on, "settle_ends", now=now) if row[1] == Code.COMPLETE]
    ended = [TaskEnd(task_id, TaskState.COMPLETE) for task_id in ends]
    left = False
    accepted = fetch(on, "settle_accepted")
    if any(row[1] == _FAILED for row in accepted):
        execute(on, "settle_failures")
    if failing := [row[0] for row in fetch(on, "settle_failing")]:
        closed = fetch(on, "end_failed", tasks=json_text(failing), now=now)
        ended += (TaskEnd(row[0], TaskState.ERROR) for row in closed)
    if ended:
        waiting = json_text([end.task_id for end in ended])
        left = execute(on, "wake_parents", ended=waiting, now=now).rowcount > 0
    refused: Sequence[int] = ()
    if len(accepted) < many:
        refused = sorted(set(range(many)) - {row[0] for row in accepted})
    claims = [Claim(row[0], row[1], 1, 1) for row in freed if row[2] == Code.IN_PROGRESS]
    left = left or any(row[2] == Code.ENQUEUED for row in freed)
    left = left or any(row[1] in _FOR_OTHERS for row in accepted)
    return Settled(refused, claims, ended), left


_FAILED, _FOR_OTHERS = 2, (3, 4)  # indexes in ATTEMPT_OUTCOMES; lost and released
