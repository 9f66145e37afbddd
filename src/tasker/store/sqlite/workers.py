"""Leases, wake-ups, and the janitor's duties."""

import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tasker import codec
from tasker.errors import LeaseLost
from tasker.model import (
    Claim,
    Code,
    ExpiredAttempt,
    TaskEnd,
    TaskStatus,
    WorkerId,
    WorkerInfo,
    WorkerProcess,
)
from tasker.store import operator_rules
from tasker.store.protocol import UNKNOWN_PROCESS
from tasker.store.sqlite.driver import READ, Driver, execute, fetch, json_text, stop_task


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
        rows = await self._change(
            "register_worker",
            name=name,
            lease=lease.total_seconds(),
            slots=slots,
            handlers=json_text(list(handlers)),
            labels=codec.dumps(process.labels),
            build=process.build,
            sdk=process.sdk,
            principal=process.principal,
            host=process.host,
            pid=process.pid,
            now=self._now(),
        )
        return WorkerId(rows[0][0])

    async def renew(
        self, worker: WorkerId, held: Sequence[Claim], *, lease: timedelta
    ) -> list[Claim]:
        claims = json_text([claim[:3] for claim in held])

        def renew(on: sqlite3.Connection) -> list[Any] | None:
            seconds = lease.total_seconds()
            if not fetch(on, "renew", worker=worker, lease=seconds, now=self._now()):
                return None
            return fetch(on, "lost_claims", worker=worker, claims=claims)

        gone = await self._write(renew)
        if gone is None:
            raise LeaseLost(f"the lease of worker {worker} had expired")
        return [held[row[0] - 1] for row in gone]

    async def held(self, worker: WorkerId) -> list[Claim]:
        return [Claim(*row) for row in await self._all("held", worker=worker)]

    async def retire_worker(self, worker: WorkerId) -> None:
        await self._change("retire_worker", worker=worker, now=self._now())

    async def list_workers(self) -> list[WorkerInfo]:
        return [READ.worker(row) for row in await self._all("list_workers", now=self._now())]

    async def wait_for_work(self, timeout: float) -> None:
        await self._wait(self._work, timeout)

    async def wait_for_revocation(self, timeout: float) -> None:
        await self._wait(self._revocation, timeout)

    async def expired(self, limit: int) -> list[ExpiredAttempt]:
        rows = await self._all("expired", now=self._now(), limit=limit)
        return [ExpiredAttempt(Claim(*row[:4]), *row[4:]) for row in rows]

    async def sweep(self) -> list[TaskEnd]:
        def look(on: sqlite3.Connection) -> bool:
            return bool(fetch(on, "failed_tasks") or fetch(on, "overdue", now=self._now(), limit=1))

        def sweep(on: sqlite3.Connection) -> list[TaskEnd]:
            now = self._now()
            failing = json_text([row[0] for row in fetch(on, "failed_tasks")])
            ended = [row[0] for row in fetch(on, "end_failed", tasks=failing, now=now)]
            for (task_id,) in fetch(on, "overdue", now=now, limit=100):
                stop_task(on, task_id, Code.ERROR, operator_rules.OVERDUE, now)
                ended.append(task_id)
            execute(on, "wake_parents", ended=json_text(ended), now=now)
            return [TaskEnd(task_id, TaskStatus.ERROR) for task_id in ended]

        if not await self._read(look):
            return []
        ended = await self._write(sweep)
        self._revocation.set()
        return ended
