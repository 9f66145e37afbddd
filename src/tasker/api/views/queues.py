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
    """Determines the queue's share of claims relative to other queues."""
    due: int
    """Steps that a worker may claim now."""
    scheduled: int
    """Steps that wait for a delay or a retry."""
    running: int
    paused: int
    """Enqueued steps that are paused; not counted in `due` or `scheduled`."""
    pauses: list[Pause]
    """The pauses of the queue and its namespace."""


class QueueList(TypedDict):
    """Queues by namespace and handler."""

    queues: list[QueueView]


class PauseList(TypedDict):
    """The current pauses, newest first."""

    pauses: list[Pause]


@documented
class Resumed(TypedDict):
    """The result of a resumption."""

    resumed: bool
    """False if it was not paused."""


class WeightView(TypedDict):
    """The weight of a queue."""

    weight: float
