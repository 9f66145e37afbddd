"""Claiming and settling: the statements that run for every step."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import timedelta

from tasker.durable import NewDurableCall
from tasker.model import (
    Claim,
    ClaimResult,
    GroupClaimResult,
    JsonText,
    NewEvent,
    NewInstances,
    Outcome,
    RenewedLease,
    RuntimeStep,
    Settlement,
    SettleResult,
    SpawnedStepNumbers,
    StepResult,
    TaskId,
    TaskInput,
    WorkerId,
)
from tasker.store.fair_share import DueQueue, assign_workers_round_robin, share_claim_among_queues
from tasker.store.gate_cursor import GateCursor
from tasker.store.rows import build_renewed_leases
from tasker.store.sqlite.driver import Driver
from tasker.store.sqlite.gated import claim_limited_steps
from tasker.store.sqlite.settlement import settle_outcomes
from tasker.store.sqlite.spawning import spawn_instances
from tasker.store.sqlite.statements import execute, fetch, json_text, to_epoch_seconds


class HotPath(Driver):
    """Claiming and settling: the statements that run for every step."""

    async def claim(self, worker: WorkerId, limit: int) -> ClaimResult:
        def claim_from_queues(on: sqlite3.Connection) -> ClaimResult:
            now = self._now()
            claims: list[Claim] = []
            due = [
                DueQueue(*row) for row in fetch(on, "queues_to_claim_from", worker=worker, now=now)
            ]
            for queue, share in share_claim_among_queues(due, limit):
                most = min(share, limit - len(claims))
                rows = fetch(on, "claim_steps", worker=worker, queue=queue, limit=most, now=now)
                claims += (Claim(*row) for row in rows)
                if len(claims) == limit:
                    return ClaimResult(claims, None)
            return ClaimResult(
                claims, fetch(on, "seconds_until_step_due", worker=worker, now=now)[0][0]
            )

        return await self._in_shared_transaction(claim_from_queues)

    async def claim_for_workers(self, rooms: Mapping[WorkerId, int]) -> GroupClaimResult:
        turns = assign_workers_round_robin(rooms)
        leader = turns[0]

        def claim_in_turns(on: sqlite3.Connection) -> GroupClaimResult:
            now = self._now()
            count = 0
            claims: dict[WorkerId, list[Claim]] = {}
            due = [
                DueQueue(*row) for row in fetch(on, "queues_to_claim_from", worker=leader, now=now)
            ]
            for queue, share in share_claim_among_queues(due, len(turns)):
                workers = turns[count : count + share]
                given = {"workers": json_text(workers), "limit": len(workers)}
                for *claimed, worker in fetch(
                    on, "claim_for_workers", queue=queue, now=now, **given
                ):
                    claims.setdefault(worker, []).append(Claim(*claimed))
                    count += 1
                if count == len(turns):
                    return GroupClaimResult(claims, None)
            next_due = fetch(on, "seconds_until_step_due", worker=leader, now=now)[0][0]
            return GroupClaimResult(claims, next_due)

        return await self._in_shared_transaction(claim_in_turns)

    async def claim_limited_steps(self, worker: WorkerId, limit: int) -> ClaimResult:
        cursor = self._gate_cursors.setdefault(worker, GateCursor())
        after = cursor.after
        claimed = await self._in_shared_transaction(
            lambda on: claim_limited_steps(on, worker, limit, after, self._now())
        )
        again = cursor.advance(claimed.after, cut=claimed.cut, claimed=bool(claimed.claims))
        return ClaimResult(claimed.claims, 0.0 if again else claimed.next_due)

    async def settle(
        self,
        worker: WorkerId,
        outcomes: Sequence[Outcome],
        *,
        claim_up_to: int = 0,
        relaxed: bool = False,
        events: Sequence[NewEvent] = (),
        gated: bool = False,
    ) -> SettleResult:
        given = json_text(outcomes)
        settled, left = await self._in_shared_transaction(
            lambda on: settle_outcomes(
                on, worker, outcomes, given, claim_up_to, self._now(), events
            )
        )
        if left or gated:
            self._work.set()
        return settled

    async def settle_for_workers(self, settlements: Sequence[Settlement]) -> list[SettleResult]:
        given = [json_text(each.outcomes) for each in settlements]

        def settle_all(
            on: sqlite3.Connection,
        ) -> list[tuple[SettleResult, bool]]:
            now = self._now()
            return [
                settle_outcomes(on, worker, outcomes, text, claim_up_to, now, events)
                for (worker, outcomes, claim_up_to, events, _), text in zip(
                    settlements, given, strict=True
                )
            ]

        settled = await self._in_shared_transaction(settle_all)
        if any(left for _, left in settled) or any(each.gated for each in settlements):
            self._work.set()
        return [each for each, _ in settled]

    async def spawn_instances(self, claim: Claim, new: NewInstances) -> SpawnedStepNumbers | None:
        spawned, enqueued = await self._in_shared_transaction(
            lambda on: spawn_instances(on, claim, new, self._now())
        )
        if enqueued:
            self._work.set()
        return spawned

    async def load_runtime_steps(self, steps: Mapping[TaskId, Sequence[int]]) -> list[RuntimeStep]:
        pairs = json_text([(task_id, no) for task_id, nos in steps.items() for no in nos])
        rows = await self._thread.run(
            lambda on: fetch(on, "load_runtime_steps", steps=pairs), writes=False
        )
        return [RuntimeStep(*row) for row in rows]

    async def store_checkpoint(self, claim: Claim, value: JsonText) -> bool:
        task_id, no, attempt = claim.attempt_key
        kept = await self._execute_in_transaction(
            "store_checkpoint", task_id=task_id, no=no, attempt=attempt, value=value
        )
        return bool(kept)

    async def record_durable_calls(self, calls: Sequence[NewDurableCall]) -> dict[int, float]:
        given = json_text([(*call[:7], to_epoch_seconds(call.until)) for call in calls])

        def record_and_list_calls(on: sqlite3.Connection) -> dict[int, float]:
            now = self._now()
            execute(on, "record_durable_calls", calls=given, now=now)
            return dict(fetch(on, "accepted_durable_calls", calls=given, now=now))

        return await self._in_shared_transaction(record_and_list_calls)

    async def load_task_inputs(self, ids: Sequence[TaskId]) -> list[TaskInput]:
        rows = await self._thread.run(
            lambda on: fetch(on, "load_task_inputs", ids=json_text(ids)), writes=False
        )
        return [TaskInput(*row) for row in rows]

    async def load_step_results(self, steps: Mapping[TaskId, Sequence[int]]) -> list[StepResult]:
        pairs = json_text([(task_id, no) for task_id, nos in steps.items() for no in nos])
        rows = await self._thread.run(
            lambda on: fetch(on, "load_step_results", steps=pairs), writes=False
        )
        return [StepResult(*row) for row in rows]

    async def renew_leases(
        self, held: Mapping[WorkerId, Sequence[Claim]], *, lease: timedelta
    ) -> Mapping[WorkerId, RenewedLease]:
        claims = [(worker, claim) for worker, each in held.items() for claim in each]
        given = {"workers": json_text(list(held)), "lease": lease.total_seconds()}
        keys = json_text([[*claim.attempt_key, worker] for worker, claim in claims])

        def renew_and_find_lost_claims(on: sqlite3.Connection) -> Mapping[WorkerId, RenewedLease]:
            renewed = fetch(on, "renew_leases", **given, now=self._now())
            lost = fetch(on, "lost_claims", claims=keys) if renewed and claims else ()
            return build_renewed_leases(renewed, [claims[row[0] - 1] for row in lost])

        return await self._in_shared_transaction(renew_and_find_lost_claims)

    async def wait_for_work(self, timeout: float) -> None:
        await self._wait_for_event(self._work, timeout)

    async def wait_for_revocation(self, timeout: float) -> None:
        await self._wait_for_event(self._revocation, timeout)
