"""Where the next claim of a worker begins."""

from time import monotonic
from typing import NamedTuple

from tasker.model import NO_QUEUE, QueueId, TaskId

RESTART_AFTER = 0.2  #: minimum seconds between claims from the beginning
RESTART_COST = 20  #: a restart waits for at least this many times the duration of the last one
MOST_POSITIONS = 100  #: maximum number of positions passed to one claim
RESTART_AT_MOST = 10.0  #: maximum seconds between claims from the beginning
UNUSED_AFTER = 60.0  #: seconds since a cursor was due to restart; its worker has probably ended


class QueuePosition(NamedTuple):
    """A position in the order of a queue's steps."""

    run_at: float  #: microseconds since 1970
    task_id: TaskId
    no: int


class ClaimCursor:
    """Lets the claims of one worker begin where the last one ended.

    Claimed steps leave dead rows at the head of their queue. They remain while any transaction of
    the database is older (a dump, a forgotten session), and a claim from the beginning of the queue
    reads all of them. So claims begin there only from time to time. Steps that other processes
    enqueue before the cursor wait until then, at most 10 s.
    """

    def __init__(self) -> None:
        self.after = NO_QUEUE
        """The next claim begins with the first queue whose id is greater than this one."""

        self._positions: dict[QueueId, QueuePosition] = {}
        self._restart_at = 0.0

    def start_positions(self) -> dict[QueueId, QueuePosition]:
        """Return where to begin in the next queues, by id; empty when it is time to start from the
        beginning."""
        if monotonic() >= self._restart_at:
            return {}
        following = sorted(queue for queue in self._positions if queue > self.after)
        return {queue: self._positions[queue] for queue in following[:MOST_POSITIONS]}

    def note_restart(self, seconds: float) -> None:
        """Record a claim from the beginning and its duration."""
        pause = min(max(RESTART_AFTER, RESTART_COST * seconds), RESTART_AT_MOST)
        self._restart_at = monotonic() + pause
        self._positions.clear()

    def note_claimed(self, queue: QueueId, last: QueuePosition) -> None:
        """Record the last step that was claimed from a queue."""
        self._positions[queue] = last

    def note_enqueued(self, queue: QueueId, first: QueuePosition) -> None:
        """Record the first step that this process enqueued in a queue."""
        if (position := self._positions.get(queue)) is not None:
            self._positions[queue] = min(position, first)

    def seconds_until_restart(self) -> float:
        """Return the seconds until the next claim from the beginning."""
        return max(self._restart_at - monotonic(), 0.0)

    @property
    def is_unused(self) -> bool:
        """Whether its worker has not claimed for so long that it may be dropped."""
        return monotonic() >= self._restart_at + UNUSED_AFTER
