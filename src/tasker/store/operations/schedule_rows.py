"""Rows of schedules, including schedules that templates declare."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tasker import codec, limits, versions
from tasker.errors import InvalidInput, NotFound, ScheduleChanged, ScheduleExists
from tasker.model import Schedule
from tasker.schedules.document import schedule_from_document, schedule_to_document
from tasker.schedules.model import (
    NewSchedule,
    NoTaskReason,
    StoredSchedule,
    TicksWithoutTask,
    declared_schedule_change_error,
)
from tasker.schedules.ticks import next_tick, previous_tick
from tasker.store.protocol import AuditNote
from tasker.store.session import Session

_ALL = 1_000_000


async def apply_declared_schedules(
    tx: Session, namespace: str, template: str, act: AuditNote
) -> None:
    """Replace a template's schedules by those that its latest approved version declares.

    Schedules keep their pauses and, if their times did not change, their next tick. Without an
    approved version, nothing changes.
    """
    rows = await tx.fetch_all("list_approved_versions", namespace=namespace, name=template)
    version = versions.highest_matching_version([row["version"] for row in rows])
    if version is None:
        return
    row = await tx.fetch_one(
        "get_approved_template", namespace=namespace, name=template, version=version
    )
    declared: Sequence[Mapping[str, Any]] = (
        () if row is None else codec.loads(row["document"]).get("schedules", ())
    )
    before = {
        stored.name: stored
        for stored in await _lock_schedules_of_template(tx, namespace, template)
        if stored.declared_by is not None
    }
    for document in declared:
        name = f"{template}.{document['name']}"
        new = NewSchedule(
            namespace=namespace,
            template=template,
            version=version,
            schedule=schedule_from_document(document, name=name),
            declared_by=f"{namespace}.{template}@{version}",
        )
        stored = before.pop(name, None)
        if stored is None:
            await add_schedule(tx, new, act)
        elif _has_schedule_changed(stored, new):
            await change_schedule(tx, stored, new, act)
    for stored in before.values():
        await delete_schedule(tx, stored, act)


async def add_schedule(tx: Session, new: NewSchedule, act: AuditNote) -> StoredSchedule:
    (row,) = await tx.fetch_all("count_schedules", namespace=new.namespace)
    if row["schedules"] >= limits.SCHEDULES:
        raise InvalidInput(
            f"namespace {new.namespace} already has the maximum of {limits.SCHEDULES:,} schedules"
        )
    added = await tx.fetch_all(
        "add_schedule",
        **_schedule_columns(new),
        namespace=new.namespace,
        name=new.schedule.name,
        next_at=next_tick(new.schedule, await read_store_clock(tx)),
        actor=act.actor,
    )
    if not added:
        raise ScheduleExists(f"schedule {new.namespace}.{new.schedule.name} already exists")
    stored = await read_schedule(tx, new.namespace, new.schedule.name)
    await audit_schedule_change(
        tx, act, "create_schedule", stored, None, _schedule_audit_document(stored)
    )
    return stored


async def change_schedule(
    tx: Session, before: StoredSchedule, new: NewSchedule, act: AuditNote
) -> StoredSchedule:
    same_times = _tick_rule(before.schedule) == _tick_rule(new.schedule)
    next_at = before.next_at if same_times else next_tick(new.schedule, await read_store_clock(tx))
    await tx.fetch_all("change_schedule", **_schedule_columns(new), id=before.id, next_at=next_at)
    after = await read_schedule(tx, before.namespace, before.name)
    await audit_schedule_change(
        tx,
        act,
        "change_schedule",
        after,
        _schedule_audit_document(before),
        _schedule_audit_document(after),
    )
    return after


async def delete_schedule(tx: Session, stored: StoredSchedule, act: AuditNote) -> None:
    await tx.fetch_all("delete_tick_records_of_schedule", id=stored.id)
    await tx.fetch_all("delete_schedule", id=stored.id)
    await audit_schedule_change(
        tx, act, "delete_schedule", stored, _schedule_audit_document(stored), None
    )


async def record_ticks_without_task(
    tx: Session, stored: StoredSchedule, record: TicksWithoutTask
) -> None:
    """Add a record, or extend that of the directly preceding ticks."""
    facts = {"outcome": record.outcome.value, "detail": record.detail}
    if record.outcome is not NoTaskReason.BUFFERED:
        previous = previous_tick(stored.schedule, record.first)
        if await tx.fetch_all(
            "extend_tick_record", id=stored.id, previous=previous, last_tick=record.last, **facts
        ):
            return
    await tx.fetch_all(
        "record_ticks_without_task",
        id=stored.id,
        first_tick=record.first,
        last_tick=record.last,
        **facts,
    )


async def lock_schedule(
    tx: Session, namespace: str, name: str, if_match: str | None
) -> StoredSchedule:
    """Lock and return a schedule. Raises NotFound, ScheduleChanged."""
    rows = await tx.lock_rows("list_schedules", **_schedule_lookup_parameters(namespace, name))
    stored = _parse_schedule_or_raise(tx, rows, namespace, name)
    if if_match is not None and stored.etag != if_match:
        raise ScheduleChanged(stored.full_name, stored.etag)
    return stored


async def read_schedule(tx: Session, namespace: str, name: str) -> StoredSchedule:
    return _parse_schedule_or_raise(
        tx,
        await tx.fetch_all("list_schedules", **_schedule_lookup_parameters(namespace, name)),
        namespace,
        name,
    )


def _parse_schedule_or_raise(
    tx: Session, rows: Sequence[Any], namespace: str, name: str
) -> StoredSchedule:
    if not rows:
        raise NotFound(f"schedule {namespace}.{name} not found")
    return tx.read.parse_schedule(rows[0])


def _schedule_lookup_parameters(namespace: str, name: str) -> dict[str, object]:
    others = dict.fromkeys(("template", "visible", "after"))
    return {**others, "namespace": namespace, "name": name, "limit": 1}


async def _lock_schedules_of_template(
    tx: Session, namespace: str, template: str
) -> list[StoredSchedule]:
    others = dict.fromkeys(("name", "visible", "after"))
    rows = await tx.lock_rows(
        "list_schedules", **others, namespace=namespace, template=template, limit=_ALL
    )
    return [tx.read.parse_schedule(row) for row in rows]


def require_undeclared_schedule(stored: StoredSchedule) -> None:
    if stored.declared_by is not None:
        raise declared_schedule_change_error(stored)


async def read_store_clock(tx: Session) -> datetime:
    (row,) = await tx.fetch_all("current_time")
    return tx.read.instant(row["now"])


def _schedule_columns(new: NewSchedule) -> dict[str, object]:
    return {
        "template": new.template,
        "version": new.version,
        "spec": codec.dumps(schedule_to_document(new.schedule)),
        "declared_by": new.declared_by,
    }


def _tick_rule(schedule: Schedule) -> tuple[object, ...]:
    """Return what determines the ticks of a schedule."""
    if schedule.every is not None:
        return (schedule.every, schedule.anchor)
    return (schedule.cron, schedule.timezone)


def _has_schedule_changed(stored: StoredSchedule, new: NewSchedule) -> bool:
    return _schedule_columns(stored) != _schedule_columns(new)


def _schedule_audit_document(stored: StoredSchedule) -> Mapping[str, Any]:
    """Return a schedule for the audit log."""
    version = f"@{stored.version}" if stored.version else ""
    return {**schedule_to_document(stored.schedule), "template": f"{stored.template}{version}"}


async def audit_schedule_change(
    tx: Session, act: AuditNote, action: str, stored: StoredSchedule, before: Any, after: Any
) -> None:
    """Add a change of a schedule to the team audit log."""
    await tx.fetch_all(
        "add_team_audit_entry",
        namespace=stored.namespace,
        subject=f"schedule {stored.full_name}",
        actor=act.actor,
        action=action,
        reason=act.reason,
        before=None if before is None else codec.dumps(before),
        after=None if after is None else codec.dumps(after),
        via=act.via,
    )
