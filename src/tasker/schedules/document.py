"""Schedules as JSON documents: the form in which templates and stores keep them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tasker.durations import format_duration
from tasker.model import EPOCH, Json, JsonObject, OverlapPolicy, Schedule
from tasker.schedules.model import StoredSchedule

_DEFAULTS = Schedule(name="")


def schedule_to_document(schedule: Schedule) -> JsonObject:
    """Return a schedule with the keys that templates use; defaults are omitted."""
    written: dict[str, Json] = {"name": schedule.name}
    if schedule.cron:
        written["cron"] = schedule.cron
    if schedule.every is not None:
        written["every"] = _to_seconds(schedule.every)
    if schedule.anchor != EPOCH:
        written["anchor"] = schedule.anchor.isoformat()
    if schedule.timezone != _DEFAULTS.timezone:
        written["timezone"] = schedule.timezone
    if schedule.overlap is not _DEFAULTS.overlap:
        written["overlap"] = schedule.overlap.value
    if schedule.catch_up != _DEFAULTS.catch_up:
        written["catch_up"] = _to_seconds(schedule.catch_up)
    if schedule.jitter:
        written["jitter"] = _to_seconds(schedule.jitter)
    if schedule.priority is not None:
        written["priority"] = schedule.priority
    if schedule.context:
        written["context"] = schedule.context
    return written


def schedule_from_document(document: Mapping[str, Any], *, name: str | None = None) -> Schedule:
    """Read a schedule written by `schedule_to_document`; `name` replaces its name."""
    read = dict(document)
    if "anchor" in read:
        read["anchor"] = datetime.fromisoformat(read["anchor"])
    if "overlap" in read:
        read["overlap"] = OverlapPolicy(read["overlap"])
    if name is not None:
        read["name"] = name
    return Schedule(**read)


def stored_schedule_to_json(stored: StoredSchedule) -> dict[str, Any]:
    """Return a stored schedule as the object that the API and the command line show."""
    spec = stored.schedule
    return {
        "id": stored.id,
        "namespace": stored.namespace,
        "name": stored.name,
        "template": stored.template,
        "version": stored.version,
        "cron": spec.cron or None,
        "every": None if spec.every is None else format_duration(spec.every),
        "anchor": None if spec.anchor == EPOCH else spec.anchor,
        "timezone": spec.timezone,
        "overlap": spec.overlap,
        "catch_up": format_duration(spec.catch_up),
        "jitter": format_duration(spec.jitter),
        "priority": spec.priority,
        "context": spec.context,
        "declared_by": stored.declared_by,
        "paused": stored.paused,
        "etag": stored.etag,
        "next_at": stored.next_at,
        "last_at": stored.last_at,
        "last_task": stored.last_task,
        "buffered": stored.buffered,
        "created_by": stored.created_by,
        "created_at": stored.created_at,
        "updated_at": stored.updated_at,
    }


def _to_seconds(length: timedelta) -> int | float:
    seconds = length.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds
