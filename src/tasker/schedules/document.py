"""Schedules as JSON documents: the form in which templates and stores keep them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tasker.model import EPOCH, Json, JsonObject, Overlap, Schedule

_DEFAULTS = Schedule(name="")


def to_document(schedule: Schedule) -> JsonObject:
    """Return a schedule with the keys that templates use; defaults are left out."""
    written: dict[str, Json] = {"name": schedule.name}
    if schedule.cron:
        written["cron"] = schedule.cron
    if schedule.every is not None:
        written["every"] = _seconds(schedule.every)
    if schedule.anchor != EPOCH:
        written["anchor"] = schedule.anchor.isoformat()
    if schedule.timezone != _DEFAULTS.timezone:
        written["timezone"] = schedule.timezone
    if schedule.overlap is not _DEFAULTS.overlap:
        written["overlap"] = schedule.overlap.value
    if schedule.catch_up != _DEFAULTS.catch_up:
        written["catch_up"] = _seconds(schedule.catch_up)
    if schedule.jitter:
        written["jitter"] = _seconds(schedule.jitter)
    if schedule.priority is not None:
        written["priority"] = schedule.priority
    if schedule.context:
        written["context"] = schedule.context
    return written


def from_document(document: Mapping[str, Any], *, name: str | None = None) -> Schedule:
    """Read what `to_document` wrote of a valid schedule; `name` replaces its name."""
    read = dict(document)
    if "anchor" in read:
        read["anchor"] = datetime.fromisoformat(read["anchor"])
    if "overlap" in read:
        read["overlap"] = Overlap(read["overlap"])
    if name is not None:
        read["name"] = name
    return Schedule(**read)


def _seconds(length: timedelta) -> int | float:
    seconds = length.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds
