"""Schedules in responses."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.model import OverlapPolicy
from tasker.schedules.document import describe
from tasker.schedules.model import StoredSchedule, TickRecord


@documented
class ScheduleView(TypedDict):
    """A schedule, which creates a task at each of its ticks."""

    id: int
    namespace: str
    name: str
    template: str
    """Name of the template of its tasks, in the same namespace."""
    version: str
    """The version of its tasks, or a range of versions; "": the latest release."""
    cron: str | None
    """A cron line of five fields, in local time of `timezone`."""
    every: str | None
    """The time between two ticks, such as `15m`."""
    anchor: datetime | None
    """A tick of an interval; null: 1970-01-01T00:00:00Z."""
    timezone: str
    overlap: OverlapPolicy
    """What happens at a tick while the task of the previous tick is open."""
    catch_up: str
    """How late a tick may be handled; later ticks are recorded as missed."""
    jitter: str
    """Maximum delay of a task's start."""
    priority: int | None
    """Priority of its tasks; null: the template's."""
    context: dict[str, Any]
    """Inputs of its tasks; `{tick.start}`, `{tick.end}` and `{tick.date}` in strings are replaced.
    """
    declared_by: str | None
    """The template version that declares it; null: it was created with this API."""
    paused: bool
    etag: str
    """Changes with each change of the schedule, but not with its ticks."""
    next_at: datetime
    """The next tick."""
    last_at: datetime | None
    """The last tick for which a task was created."""
    last_task: str | None
    """The task of that tick."""
    buffered: int
    """Number of ticks that wait for the end of that task."""
    created_by: str
    created_at: datetime
    updated_at: datetime


@documented
class ScheduleList(TypedDict):
    """Schedules, oldest first."""

    schedules: list[ScheduleView]
    next_cursor: int | None
    """The `cursor` of the next page; null on the last one."""


class Triggered(TypedDict):
    """The task that was created."""

    task_id: str


@documented
class TickList(TypedDict):
    """Ticks that have no task, latest first."""

    ticks: list[TickRecord]


@documented
class Preview(TypedDict):
    """The first ticks of a schedule, in UTC."""

    ticks: Sequence[datetime]


def schedule_view(stored: StoredSchedule) -> ScheduleView:
    """Return a schedule for a response."""
    return cast(ScheduleView, describe(stored))
