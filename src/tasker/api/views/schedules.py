"""Schedules in responses."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.model import OverlapPolicy
from tasker.schedules.document import stored_schedule_to_json
from tasker.schedules.model import StoredSchedule, TicksWithoutTask


@documented
class ScheduleView(TypedDict):
    """A schedule, which creates a task at each of its ticks."""

    id: int
    namespace: str
    name: str
    template: str
    """Name of the template, in the schedule's namespace."""
    version: str
    """Template version, or range of versions, that the tasks use; "" means the latest release."""
    cron: str | None
    """A cron expression with five fields, in the local time of `timezone`."""
    every: str | None
    """The time between two ticks, such as `15m`."""
    anchor: datetime | None
    """The time of one tick, from which `every` is counted; null means 1970-01-01T00:00:00Z."""
    timezone: str
    overlap: OverlapPolicy
    """What happens at a tick if the task of the previous tick is still open."""
    catch_up: str
    """Maximum age of a tick that still gets a task; older ticks are recorded as missed."""
    jitter: str
    """Maximum time by which a task's start is delayed."""
    priority: int | None
    """Priority of the tasks; null means the template's priority."""
    context: dict[str, Any]
    """Inputs of the tasks; `{tick.start}`, `{tick.end}` and `{tick.date}` in strings are replaced
    by the tick's times."""
    declared_by: str | None
    """The template version that declares the schedule; null if an operator created the
    schedule."""
    paused: bool
    etag: str
    """A string that changes whenever the schedule is changed, but not at its ticks."""
    next_at: datetime
    """The next tick."""
    last_at: datetime | None
    """The last tick for which a task was created."""
    last_task: str | None
    """The task that was created for the last tick."""
    buffered: int
    """Number of ticks that wait until the last tick's task ends."""
    created_by: str
    created_at: datetime
    updated_at: datetime


@documented
class ScheduleList(TypedDict):
    """Schedules, oldest first."""

    schedules: list[ScheduleView]
    next_cursor: int | None
    """The `cursor` of the next page; null on the last one."""


class TriggerResponse(TypedDict):
    """The task that was created."""

    task_id: str


@documented
class TicksWithoutTaskList(TypedDict):
    """Ticks that have no task, latest first."""

    ticks: list[TicksWithoutTask]


@documented
class SchedulePreview(TypedDict):
    """The first ticks of a schedule, in UTC."""

    ticks: Sequence[datetime]


def schedule_view(stored: StoredSchedule) -> ScheduleView:
    """Return a schedule for a response."""
    return cast(ScheduleView, stored_schedule_to_json(stored))
