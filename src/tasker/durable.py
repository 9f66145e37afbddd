"""Durable calls of handlers: their kinds, records and errors."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from tasker.errors import Misuse
from tasker.limits import DURABLE_CALLS
from tasker.model import JsonText, TaskId


class DurableCallKind(StrEnum):
    """The durable calls of a step context."""

    ONCE = "once"
    SLEEP = "sleep"
    WAIT_SIGNAL = "wait_signal"
    WAIT_ANY = "wait_any"
    WAIT_APPROVAL = "wait_approval"
    EXTERNAL = "external"
    RUN_TASK = "run_task"
    SPAWN = "spawn"


class DurableCall(NamedTuple):
    """The record of a durable call, as a later attempt reads it."""

    name: str
    kind: DurableCallKind
    value: JsonText | None
    remaining: float = 0.0
    """Seconds until the end of a sleep, by the store's clock; 0 or less if the sleep is over."""


class NewDurableCall(NamedTuple):
    """A durable call to record for the attempt that makes it."""

    task_id: TaskId
    no: int
    attempt: int
    name: str
    kind: DurableCallKind
    value: JsonText | None = None
    delay: float | None = None
    """Seconds from now to the end of a sleep."""

    until: datetime | None = None
    """The time at which a sleep ends, as an alternative to `delay`."""


class DurableCallConflict(Misuse):
    """The name of a durable call is used by another call of the step."""

    code = "durable_call_conflict"


class TooManyDurableCalls(Misuse):
    """A step has made the maximum number of durable calls."""

    code = "too_many_durable_calls"

    def __init__(self, step: str) -> None:
        super().__init__(
            f"step {step!r} has made {DURABLE_CALLS:,} durable calls, the maximum for a step; "
            "combine several calls into one, or create a task for each part of the work"
        )
