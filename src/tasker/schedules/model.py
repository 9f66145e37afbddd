"""Schedules in the form in which stores keep them, and the results of their ticks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from tasker.errors import Rejected
from tasker.model import NewTask, Schedule, TaskId

SHORTEST_INTERVAL = timedelta(seconds=10)
LONGEST_INTERVAL = timedelta(days=366)
LEAST_CATCH_UP = timedelta(minutes=1)
MOST_CATCH_UP = timedelta(days=30)
MOST_JITTER = timedelta(days=1)
CAUGHT_UP_AT_ONCE = 100  #: ticks of a schedule that one transaction handles


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """A schedule to store."""

    namespace: str
    template: str
    """Name of the template, in the schedule's namespace."""

    version: str
    """Template version, or range of versions, that the tasks use; "" means the latest release."""

    schedule: Schedule
    declared_by: str | None = None
    """The template version that declares the schedule; None if an operator created the schedule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSchedule(NewSchedule):
    """A schedule as a store holds it."""

    id: int
    paused: bool
    etag: str
    """A string that changes whenever an operator or a new template version changes the schedule."""

    next_at: datetime
    """The next tick."""

    last_at: datetime | None
    """The last tick for which a task was created."""

    last_task: TaskId | None
    """The task that was created for the last tick."""

    buffered: int
    """Number of ticks that wait until the last tick's task ends."""

    created_by: str
    created_at: datetime
    updated_at: datetime

    @property
    def name(self) -> str:
        """Its name within the namespace."""
        return self.schedule.name

    @property
    def full_name(self) -> str:
        """`namespace.name`."""
        return f"{self.namespace}.{self.schedule.name}"


def declared_schedule_change_error(stored: StoredSchedule) -> Rejected:
    """Return the error for changing a schedule that a template declares."""
    return Rejected(
        f"schedule {stored.full_name} is declared by template {stored.declared_by}: change the"
        " template and register a new version, or pause the schedule"
    )


class NoTaskReason(StrEnum):
    """Why a tick has no task."""

    BUFFERED = "buffered"  #: it waits for the end of an earlier task
    SKIPPED = "skipped"  #: an earlier task was open
    MISSED = "missed"  #: it was noticed later than `catch_up` allows
    PAUSED = "paused"  #: the schedule was paused
    FAILED = "failed"  #: the task could not be created


@dataclass(frozen=True, slots=True, kw_only=True)
class TicksWithoutTask:
    """Successive ticks that have no task, for the same reason."""

    first: datetime
    last: datetime
    outcome: NoTaskReason
    detail: str = ""


class DueSchedule(NamedTuple):
    """A schedule with a tick to handle."""

    stored: StoredSchedule
    now: datetime  #: by the store's clock
    look_at: datetime  #: with `stored.etag`, the fence of `Store.advance_schedule`
    is_running: bool  #: whether the task of the last tick is open
    waiting: Sequence[datetime]  #: buffered ticks, oldest first


class ScheduledTask(NamedTuple):
    """A task to create for a tick."""

    tick: datetime
    task: NewTask


class ScheduleAdvance(NamedTuple):
    """The effect of handling a due schedule."""

    tasks: Sequence[ScheduledTask]  #: to create, oldest first
    cancel: bool  #: whether the task of the last tick is cancelled before
    taken: Sequence[datetime]  #: ticks that no longer wait
    records: Sequence[TicksWithoutTask]  #: buffered ones among them
    next_at: datetime
    look_at: datetime


class ScheduleAdvanceResult(NamedTuple):
    """The result of `Store.advance_schedule`."""

    created: Sequence[tuple[TaskId, bool]]  #: the id, and whether the task is new


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillResult:
    """The result of a backfill."""

    ticks: Sequence[datetime]
    created: int
    """Number of tasks that were created."""

    existing: int
    """Number of ticks for which an earlier backfill already created a task."""
