"""Claiming and settling: the statements that run for every step."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import asyncpg

from tasker import limits
from tasker.durable import NewDurableCall
from tasker.errors import TooManyInstances
from tasker.model import (
    Claim,
    ClaimResult,
    GroupClaimResult,
    JsonText,
    NewEvent,
    NewInstances,
    Outcome,
    OutcomeCode,
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
from tasker.store.gate_cursor import GateCursor, GatePosition
from tasker.store.postgres.claim_cursor import QueuePosition
from tasker.store.postgres.driver import Driver
from tasker.store.postgres.session import (
    event_parameters,
    first_enqueued_steps,
    group_settlement_parameters,
    parse_group_settle_results,
    parse_settle_result,
    settlement_parameters,
)
from tasker.store.rows import Row, build_renewed_leases


class HotPath(Driver):
    """Claiming and settling: the statements that run for every step."""

    async def claim(self, worker: WorkerId, limit: int) -> ClaimResult:
        claims, next_due = await self._run_claim("claim_steps", worker, limit)
        return ClaimResult([Claim(*row[:7]) for row in claims], next_due)

    async def claim_for_workers(self, rooms: Mapping[WorkerId, int]) -> GroupClaimResult:
        workers = list(rooms)
        rows, next_due = await self._run_claim(
            "claim_for_workers",
            workers[0],
            sum(rooms.values()),
            workers=workers,
            rooms=list(rooms.values()),
        )
        claims: dict[WorkerId, list[Claim]] = {}
        for row in rows:
            claims.setdefault(workers[int(row[7]) - 1], []).append(Claim(*row[:7]))
        return GroupClaimResult(claims, next_due)

    async def _run_claim(
        self, statement: str, worker: WorkerId, limit: int, **group: Sequence[int]
    ) -> tuple[list[Any], float | None]:
        """Return the rows of a claim, and the seconds until the next step is due."""
        cursor = self._claim_cursor_for(worker)
        positions = cursor.start_positions()
        began = time.monotonic()
        rows = await self._fetch_dedicated(
            statement,
            worker=worker,
            limit=limit,
            after=cursor.after,
            from_queues=list(positions),
            from_run_at=[position.run_at for position in positions.values()],
            from_tasks=[position.task_id for position in positions.values()],
            from_nos=[position.no for position in positions.values()],
            **group,
        )
        if not positions:
            cursor.note_restart(time.monotonic() - began)
        next_due = None
        if rows and rows[-1][0] is rows[-1][1] is None:
            next_due = rows.pop()[7]
            if positions:
                next_due = (
                    cursor.seconds_until_restart()
                    if next_due is None
                    else min(next_due, cursor.seconds_until_restart())
                )
        if rows and rows[-1][0] is None:
            cursor.after = rows.pop()[1]
        claims = []
        for row in rows:
            if row[2] is None:
                cursor.note_claimed(row[3], QueuePosition(row[7], row[0], row[1]))
            else:
                claims.append(row)
        return claims, next_due

    async def claim_limited_steps(self, worker: WorkerId, limit: int) -> ClaimResult:
        cursor = self._gate_cursors.setdefault(worker, GateCursor())
        after = cursor.after
        *rows, last = await self._fetch_dedicated(
            "claim_limited_steps",
            worker=worker,
            limit=limit,
            after_outer=after.outer_gate,
            after=after.gate,
        )
        place = GatePosition(last[3], last[1])
        again = cursor.advance(place, cut=bool(last[2]), claimed=bool(rows))
        claims = [Claim(*row[:8]) for row in rows]
        return ClaimResult(claims, 0.0 if again else last[8])

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
        if not outcomes:
            return SettleResult((), (), ())
        if events:
            given = settlement_parameters(worker, outcomes, claim_up_to=claim_up_to)
            given |= event_parameters(events)
            settled = self._parse_settle_result_and_move_cursors(
                await self._fetch_dedicated("settle_with_events", **given)
            )
            if gated:
                await self._fetch_dedicated("wake_workers")
            return settled
        scalar = self.SCALAR and not gated and len(outcomes) == 1
        if scalar and _is_success_for_all_children(outcomes[0]):
            try:
                return await self._settle_success(worker, outcomes[0], claim_up_to, relaxed=relaxed)
            except asyncpg.PostgresError as error:
                if error.sqlstate != "TK007":  # the step has an eager child
                    raise
        given = settlement_parameters(worker, outcomes, claim_up_to=claim_up_to)
        statement = (
            "settle_and_wake_workers"
            if gated
            else _settle_statement_name("settle_outcomes", relaxed=relaxed)
        )
        return self._parse_settle_result_and_move_cursors(
            await self._fetch_dedicated(statement, **given)
        )

    async def _settle_success(
        self,
        worker: WorkerId,
        success: Outcome,
        claim_up_to: int,
        *,
        relaxed: bool,
    ) -> SettleResult:
        task_id, no, attempt, _, result, *_ = success
        rows = await self._fetch_dedicated(
            _settle_statement_name("settle_success", relaxed=relaxed),
            worker=worker,
            task=task_id,
            no=no,
            attempt=attempt,
            result=result,
            claim_up_to=claim_up_to,
        )
        return self._parse_settle_result_and_move_cursors(rows)

    async def settle_for_workers(self, settlements: Sequence[Settlement]) -> list[SettleResult]:
        rows = await self._fetch_dedicated(
            "settle_for_workers", **group_settlement_parameters(settlements)
        )
        self._move_cursors_back(first_enqueued_steps(rows))
        return parse_group_settle_results(rows, settlements)

    def _parse_settle_result_and_move_cursors(self, rows: Sequence[Any]) -> SettleResult:
        self._move_cursors_back(first_enqueued_steps(rows))
        return parse_settle_result(rows)

    async def spawn_instances(self, claim: Claim, new: NewInstances) -> SpawnedStepNumbers | None:
        task_id, no, attempt = claim.attempt_key
        try:
            rows = await self._fetch_pooled(
                "spawn_instances",
                task_id=task_id,
                no=no,
                attempt=attempt,
                most=limits.INSTANCES,
                **new._asdict(),
            )
        except asyncpg.PostgresError as error:
            if error.sqlstate != "TK006":
                raise
            raise TooManyInstances(int(str(error)), limits.INSTANCES) from None
        return SpawnedStepNumbers(*rows[0]) if rows else None

    async def load_runtime_steps(self, steps: Mapping[TaskId, Sequence[int]]) -> list[RuntimeStep]:
        pairs = [(task_id, no) for task_id, nos in steps.items() for no in nos]
        rows = await self._look_up_by_key(
            "load_runtime_steps",
            tasks=[task_id for task_id, _ in pairs],
            nos=[no for _, no in pairs],
        )
        return [RuntimeStep(*row) for row in rows]

    async def store_checkpoint(self, claim: Claim, value: JsonText) -> bool:
        task_id, no, attempt = claim.attempt_key
        kept = await self._execute_in_transaction(
            "store_checkpoint", task_id=task_id, no=no, attempt=attempt, value=value
        )
        return bool(kept)

    async def record_durable_calls(self, calls: Sequence[NewDurableCall]) -> dict[int, float]:
        tasks, nos, attempts, names, kinds, contents, delays, untils = zip(*calls, strict=True)
        rows = await self._fetch_dedicated(
            "record_durable_calls",
            tasks=tasks,
            nos=nos,
            attempts=attempts,
            names=names,
            kinds=kinds,
            contents=contents,
            delays=delays,
            untils=untils,
        )
        return {row["ord"] - 1: row["remaining"] for row in rows}

    async def load_task_inputs(self, ids: Sequence[TaskId]) -> list[TaskInput]:
        return [TaskInput(*row) for row in await self._look_up_by_key("load_task_inputs", ids=ids)]

    async def load_step_results(self, steps: Mapping[TaskId, Sequence[int]]) -> list[StepResult]:
        pairs = [(task_id, no) for task_id, nos in steps.items() for no in nos]
        rows = await self._look_up_by_key(
            "load_step_results",
            tasks=[task_id for task_id, _ in pairs],
            nos=[no for _, no in pairs],
        )
        return [StepResult(*row) for row in rows]

    async def renew_leases(
        self, held: Mapping[WorkerId, Sequence[Claim]], *, lease: timedelta
    ) -> Mapping[WorkerId, RenewedLease]:
        async with self._urgent_session() as tx:
            renewed = await tx.fetch_all(
                "renew_leases", workers=list(held), lease=lease.total_seconds()
            )
            claims = [(row["id"], claim) for row in renewed for claim in held[row["id"]]]
            lost: Sequence[Row] = ()
            if claims:
                lost = await tx.fetch_all(
                    "lost_claims",
                    workers=[worker for worker, _ in claims],
                    tasks=[claim.task_id for _, claim in claims],
                    nos=[claim.no for _, claim in claims],
                    attempts=[claim.attempt for _, claim in claims],
                )
        leases = [(row["id"], row["quiet"]) for row in renewed]
        return build_renewed_leases(leases, [claims[row["ord"] - 1] for row in lost])

    async def wait_for_work(self, timeout: float) -> None:
        await self._listener.wait(self._listener.work, timeout)

    async def wait_for_revocation(self, timeout: float) -> None:
        await self._listener.wait(self._listener.revocation, timeout)


def _is_success_for_all_children(outcome: Outcome) -> bool:
    """Return whether an outcome arrives at all children with success."""
    return outcome.outcome is OutcomeCode.COMPLETE and outcome.choice is None


def _settle_statement_name(name: str, *, relaxed: bool) -> str:
    return f"{name}_without_fsync" if relaxed else name
