"""Schedules: declaring, changing and reading them, and creating the tasks of their ticks."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from tasker import limits
from tasker.model import TaskId
from tasker.schedules.model import (
    DueSchedule,
    NewSchedule,
    NoTaskReason,
    ScheduleAdvance,
    ScheduleAdvanceResult,
    ScheduledTask,
    StoredSchedule,
    TicksWithoutTask,
)
from tasker.schedules.planning import make_ticks_without_task
from tasker.schedules.ticks import next_tick
from tasker.store.operations.operators import cancel_task_if_open
from tasker.store.operations.schedule_rows import (
    add_schedule,
    audit_schedule_change,
    change_schedule,
    delete_schedule,
    lock_schedule,
    read_schedule,
    read_store_clock,
    record_ticks_without_task,
    require_undeclared_schedule,
)
from tasker.store.protocol import AuditNote
from tasker.store.session import Session, TransactionalStore

_INSTANT = timedelta(microseconds=1)  #: a tick at the end of a pause is part of it


class Schedules(TransactionalStore):
    """Implements `tasker.store.protocol.ScheduleStore`."""

    async def create_schedule(self, new: NewSchedule, act: AuditNote) -> StoredSchedule:
        return await self._in_write_transaction(lambda tx: add_schedule(tx, new, act))

    async def change_schedule(
        self, new: NewSchedule, act: AuditNote, *, if_match: str | None = None
    ) -> StoredSchedule:
        async def lock_and_change_schedule(tx: Session) -> StoredSchedule:
            before = await lock_schedule(tx, new.namespace, new.schedule.name, if_match)
            require_undeclared_schedule(before)
            return await change_schedule(tx, before, new, act)

        return await self._in_write_transaction(lock_and_change_schedule)

    async def set_schedule_paused(
        self,
        namespace: str,
        name: str,
        act: AuditNote,
        *,
        paused: bool,
        if_match: str | None = None,
    ) -> StoredSchedule:
        async def set_and_audit_paused(tx: Session) -> StoredSchedule:
            before = await lock_schedule(tx, namespace, name, if_match)
            if before.paused is paused:
                return before
            next_at = before.next_at
            if not paused:
                now = await read_store_clock(tx)
                while_paused = make_ticks_without_task(
                    before.schedule, next_at, now + _INSTANT, NoTaskReason.PAUSED
                )
                if while_paused is not None:
                    await record_ticks_without_task(tx, before, while_paused)
                next_at = max(next_at, next_tick(before.schedule, now))
            await tx.fetch_all("set_schedule_paused", id=before.id, paused=paused, next_at=next_at)
            action = "pause_schedule" if paused else "resume_schedule"
            words = ("running", "paused") if paused else ("paused", "running")
            await audit_schedule_change(tx, act, action, before, *words)
            return await read_schedule(tx, namespace, name)

        return await self._in_write_transaction(set_and_audit_paused)

    async def delete_schedule(
        self, namespace: str, name: str, act: AuditNote, *, if_match: str | None = None
    ) -> StoredSchedule:
        async def lock_and_delete_schedule(tx: Session) -> StoredSchedule:
            before = await lock_schedule(tx, namespace, name, if_match)
            require_undeclared_schedule(before)
            await delete_schedule(tx, before, act)
            return before

        return await self._in_write_transaction(lock_and_delete_schedule)

    async def get_schedule(self, namespace: str, name: str) -> StoredSchedule:
        return await self._in_read_transaction(lambda tx: read_schedule(tx, namespace, name))

    async def list_schedules(
        self,
        *,
        namespace: str | None = None,
        template: str | None = None,
        visible: Collection[str] | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[StoredSchedule]:
        async def read_schedules(tx: Session) -> list[StoredSchedule]:
            rows = await tx.fetch_all(
                "list_schedules",
                namespace=namespace,
                name=None,
                template=template,
                visible=None if visible is None else sorted(visible),
                after=after,
                limit=limit,
            )
            return [tx.read.parse_schedule(row) for row in rows]

        return await self._in_read_transaction(read_schedules)

    async def list_ticks_without_task(
        self, namespace: str, name: str, *, limit: int = 100
    ) -> list[TicksWithoutTask]:
        async def read_ticks_without_task(tx: Session) -> list[TicksWithoutTask]:
            stored = await read_schedule(tx, namespace, name)
            rows = await tx.fetch_all("ticks_without_task", id=stored.id, limit=limit)
            return [tx.read.parse_ticks_without_task(row) for row in rows]

        return await self._in_read_transaction(read_ticks_without_task)

    # -------------------------------------------------------------------- ticks

    async def list_due_schedules(self, limit: int) -> list[DueSchedule]:
        async def read_due_schedules(tx: Session) -> list[DueSchedule]:
            rows = await tx.fetch_all("list_due_schedules", limit=limit)
            waiting: dict[int, list[datetime]] = {}
            if ids := [row["id"] for row in rows if row["buffered"]]:
                for tick in await tx.fetch_all("buffered_ticks", ids=ids):
                    at = tx.read.instant(tick["first_tick"])
                    waiting.setdefault(tick["schedule_id"], []).append(at)
            return [
                DueSchedule(
                    tx.read.parse_schedule(row),
                    tx.read.instant(row["now"]),
                    tx.read.instant(row["look_at"]),
                    bool(row["is_running"]),
                    waiting.get(row["id"], ()),
                )
                for row in rows
            ]

        return await self._in_read_transaction(read_due_schedules)

    async def advance_schedule(
        self, due: DueSchedule, advance: ScheduleAdvance, act: AuditNote
    ) -> ScheduleAdvanceResult | None:
        stored = due.stored
        fence = {
            "id": stored.id,
            "revision": int(stored.etag.partition("-")[2]),
            "look_at": due.look_at,
        }

        async def create_tasks_and_advance(tx: Session) -> ScheduleAdvanceResult | None:
            if not await tx.fetch_all("lock_due_schedule", **fence):
                return None
            if advance.cancel and stored.last_task is not None:
                await cancel_task_if_open(tx, stored.last_task, act)
            created = await self._create_tasks_for_ticks(tx, stored, advance.tasks)
            if advance.taken:
                await tx.fetch_all("delete_buffered_ticks", id=stored.id, ticks=list(advance.taken))
            for record in advance.records:
                await record_ticks_without_task(tx, stored, record)
            if any(record.outcome is not NoTaskReason.BUFFERED for record in advance.records):
                await tx.fetch_all("trim_tick_records", id=stored.id, most=limits.TICKS_RECORDED)
            await tx.fetch_all(
                "advance_schedule",
                id=stored.id,
                next_at=advance.next_at,
                look_at=advance.look_at,
                last_tick=advance.tasks[-1].tick if advance.tasks else None,
                last_task=created[-1][0] if created else None,
            )
            return ScheduleAdvanceResult(created)

        return await self._in_yielding_transaction(create_tasks_and_advance)

    async def create_scheduled_tasks(
        self, stored: StoredSchedule, tasks: Sequence[ScheduledTask]
    ) -> ScheduleAdvanceResult:
        async def create_tasks(tx: Session) -> ScheduleAdvanceResult:
            return ScheduleAdvanceResult(await self._create_tasks_for_ticks(tx, stored, tasks))

        return await self._in_write_transaction(create_tasks)

    async def _create_tasks_for_ticks(
        self, tx: Session, stored: StoredSchedule, tasks: Sequence[ScheduledTask]
    ) -> list[tuple[TaskId, bool]]:
        """Create the tasks of ticks, except for ticks that have one."""
        if not tasks:
            return []
        keys = [scheduled.task.idempotency_key for scheduled in tasks]
        rows = await tx.fetch_all("tasks_by_idempotency_key", namespace=stored.namespace, keys=keys)
        holders = {row["key"]: TaskId(row["task_id"]) for row in rows}
        new = [each for each in tasks if each.task.idempotency_key not in holders]
        if new:
            await self._create_tasks_in_transaction(tx, [scheduled.task for scheduled in new])
            await tx.fetch_all(
                "set_schedule_of_tasks",
                id=stored.id,
                tasks=[scheduled.task.id for scheduled in new],
                ticks=[scheduled.tick for scheduled in new],
            )
        return [
            (holders.get(key or "", scheduled.task.id), key not in holders)
            for key, scheduled in zip(keys, tasks, strict=True)
        ]
