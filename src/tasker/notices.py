"""Notices of a worker, for observers in its process: progress, logs, metrics."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias

from tasker.codec import task_id_timestamp
from tasker.model import (
    AttemptOutcome,
    StepWait,
    TaskId,
    TaskInput,
    TaskStatus,
    TemplateName,
)


class StepStarted(NamedTuple):
    """An attempt started."""

    task_id: TaskId
    template: TemplateName
    step: str
    attempt: int
    correlation_id: str
    queued_for: timedelta  #: from its due time to its claim
    parked_for: timedelta  #: before that, while it waited for another task
    is_remote: bool = False  #: by a remote worker, for which this server reports


class StepSettled(NamedTuple):
    """An attempt ended, and its outcome is stored."""

    task_id: TaskId
    template: TemplateName
    step: str
    attempt: int
    correlation_id: str
    outcome: AttemptOutcome
    ran_for: timedelta
    error: str | None  #: type and message of the error, if any
    delay: timedelta  #: until the next attempt, if there is one
    is_remote: bool = False  #: in a remote worker, for which this server reports


class StepWaiting(NamedTuple):
    """An attempt was parked: its step waits, and then runs again."""

    task_id: TaskId
    template: TemplateName
    step: str
    attempt: int
    correlation_id: str
    awaits: TaskId | None  #: the task that it waits for; None: it waits for something else
    ran_for: timedelta
    is_remote: bool = False  #: in a remote worker, for which this server reports
    waits: tuple[StepWait, ...] = ()  #: what may arrive and end the wait


class SettlementRejected(NamedTuple):
    """The settlement of an attempt was rejected because it no longer held the step."""

    task_id: TaskId
    template: TemplateName
    step: str
    attempt: int
    correlation_id: str


class AttemptStopped(NamedTuple):
    """An attempt ended, and its outcome is unknown to this worker.

    Its task was cancelled, its step was settled by an operator, its lease was lost, or there was no
    reply to its settlement.
    """

    task_id: TaskId
    template: TemplateName
    step: str
    attempt: int
    correlation_id: str
    ran_for: timedelta


class AttemptLost(NamedTuple):
    """This worker settled an attempt whose own worker's lease had expired."""

    task_id: TaskId
    template: TemplateName
    step: str
    attempt: int
    outcome: AttemptOutcome  #: LOST: another attempt follows; ERROR: no other attempt follows
    delay: timedelta  #: until the next attempt


class TaskEnded(NamedTuple):
    """A task ended."""

    task_id: TaskId
    status: TaskStatus
    template: TemplateName | None = None  #: None: unknown to this process
    took: timedelta | None = None  #: since its creation, including delays and waits
    correlation_id: str = ""
    trace: str | None = None  #: W3C traceparent of its creator

    @classmethod
    def for_just_ended_task(
        cls,
        task_id: TaskId,
        status: TaskStatus,
        template: TemplateName | None,
        task_input: TaskInput | None,
    ) -> "TaskEnded":
        """Return the notice of a task that has just ended.

        Args:
            task_id: The task.
            status: Its final status.
            template: Its template, or None if this process does not know it.
            task_input: Its input, or None if this process has not read it.
        """
        took = timedelta(seconds=max(time.time() - task_id_timestamp(task_id), 0.0))
        if task_input is None:
            return cls(task_id, status, template, took)
        return cls(task_id, status, template, took, task_input.correlation_id, task_input.trace)


class EventLoopBlocked(NamedTuple):
    """A handler blocked the event loop, and with it all other handlers."""

    task_id: TaskId | None
    step: str | None  #: None: blocked by other code of this process
    blocked_for: timedelta


class TickHandled(NamedTuple):
    """This worker handled a tick of a schedule, or several missed ticks."""

    namespace: str
    schedule: str  #: its name in the namespace
    tick: datetime  #: the first of several
    outcome: str  #: `created`, or why it has no task: a `NoTaskReason`
    late_by: timedelta  #: from the tick to now


Notice: TypeAlias = (
    StepStarted
    | StepSettled
    | StepWaiting
    | SettlementRejected
    | AttemptStopped
    | AttemptLost
    | TaskEnded
    | EventLoopBlocked
    | TickHandled
)
Observer: TypeAlias = Callable[[Notice], None]
GroupObserver: TypeAlias = Callable[[Sequence[Notice]], None]
"""An observer that is called once for all notices of a settlement or a response."""


class AttemptTraceInfo(NamedTuple):
    """The properties of an attempt that is about to run, for traces."""

    task_id: TaskId
    template: TemplateName
    step: str
    attempt: int
    correlation_id: str
    trace: str | None  #: W3C traceparent of the task's creator
    queued_for: timedelta  #: from the attempt's due time to its claim
    parked_for: timedelta  #: before that, while its step waited for another task
    handler: str  #: the handler of its queue
    function: str | None  #: qualified name of the handler's function or class; None: built in


Around: TypeAlias = Callable[[AttemptTraceInfo], AbstractContextManager[object]]
"""Function that returns a context manager, which is entered before the handler is called and exited
after the call, in the same thread."""
