"""Queues and pauses in responses."""

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.model import Pause


@documented
class QueueView(TypedDict):
    """The steps of one handler in a namespace; at most 100,000 are counted."""

    namespace: str
    handler: str
    weight: float
    """Weight that determines the queue's share of claims relative to other queues."""
    due: int
    """Number of steps that a worker may claim now."""
    scheduled: int
    """Number of steps that are delayed or waiting for a retry."""
    running: int
    paused: int
    """Number of enqueued steps that are paused; `due` and `scheduled` do not include them."""
    pauses: list[Pause]
    """The pauses of the queue and its namespace."""


class QueueList(TypedDict):
    """Queues by namespace and handler."""

    queues: list[QueueView]


class PauseList(TypedDict):
    """The current pauses, newest first."""

    pauses: list[Pause]


@documented
class ResumeResponse(TypedDict):
    """The result of a resumption."""

    resumed: bool
    """Whether a pause was ended; false if there was none."""


class QueueWeightView(TypedDict):
    """The weight of a queue."""

    weight: float
