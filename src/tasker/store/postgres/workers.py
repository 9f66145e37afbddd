"""Leases, wake-ups, and the janitor's duties."""

from collections.abc import Sequence
from datetime import timedelta

from tasker import codec
from tasker.errors import (
    LeaseLost,
)
from tasker.model import (
    Claim,
    Code,
    ExpiredAttempt,
    TaskEnd,
    TaskId,
    TaskStatus,
    WorkerId,
    WorkerInfo,
    WorkerProcess,
)
from tasker.store import operator_rules
from tasker.store.postgres.address import Connection
from tasker.store.postgres.driver import (
    READ,
    Driver,
    execute,
    fetch,
    fetch_one,
    stop_task,
)
from tasker.store.protocol import UNKNOWN_PROCESS


class Workers(Driver):
    """Leases, wake-ups, and the janitor's duties."""

    async def register_worker(
        self,
        name: str,
        *,
        lease: timedelta,
        slots: int,
        handlers: Sequence[str],
        process: WorkerProcess = UNKNOWN_PROCESS,
    ) -> WorkerId:
        row = await self._one(
            "register_worker",
            name=name,
            lease=lease.total_seconds(),
            slots=slots,
            handlers=list(handlers),
            labels=codec.dumps(process.labels),
            build=process.build,
            sdk=process.sdk,
            principal=process.principal,
            host=process.host,
            pid=process.pid,
        )
        return WorkerId(row[0])

    async def renew(
        self, worker: WorkerId, held: Sequence[Claim], *, lease: timedelta
    ) -> list[Claim]:
        async with self._lifeline() as connection:
            kept = await fetch_one(connection, "renew", worker=worker, lease=lease.total_seconds())
            if kept is None:
                raise LeaseLost(f"the lease of worker {worker} had expired")
            if not held:
                return []
            gone = await fetch(
                connection,
                "lost_claims",
                worker=worker,
                tasks=[claim.task_id for claim in held],
                nos=[claim.no for claim in held],
                attempts=[claim.attempt for claim in held],
            )
        return [held[row[0] - 1] for row in gone]

    async def held(self, worker: WorkerId) -> list[Claim]:
        return [Claim(*row) for row in await self._all("held", worker=worker)]

    async def retire_worker(self, worker: WorkerId) -> None:
        await self._all("retire_worker", worker=worker)

    async def list_workers(self) -> list[WorkerInfo]:
        return [READ.worker(row) for row in await self._all("list_workers")]

    async def wait_for_work(self, timeout: float) -> None:
        await self._listener.wait(self._listener.work, timeout)

    async def wait_for_revocation(self, timeout: float) -> None:
        await self._listener.wait(self._listener.revocation, timeout)

    async def expired(self, limit: int) -> list[ExpiredAttempt]:
        rows = await self._all("expired", limit=limit)
        return [ExpiredAttempt(Claim(*row[:4]), *row[4:]) for row in rows]

    async def sweep(self) -> list[TaskEnd]:
        ended: list[TaskEnd] = []
        failing = [row[0] for row in await self._all("failed_tasks")]
        if failing:
            rows = await self._all("end_failed", tasks=failing)
            ended += (TaskEnd(TaskId(row[0]), TaskStatus.ERROR) for row in rows)
        return ended + await self._retry_on_lock(_end_overdue)


async def _end_overdue(on: Connection) -> list[TaskEnd]:
    overdue = [TaskId(row[0]) for row in await fetch(on, "overdue", limit=100)]
    for task_id in overdue:
        await stop_task(on, task_id, Code.ERROR, operator_rules.OVERDUE)
    if overdue:
        await execute(on, "revoke")
    return [TaskEnd(task_id, TaskStatus.ERROR) for task_id in overdue]
