"""Log records of failures that repeat themselves."""

import logging
import time
from collections.abc import Callable

_FIRST_PAUSE = 10.0  #: seconds
_LONGEST_PAUSE = 600.0  #: seconds


class RepeatedWarning:
    """Logs a failure that is tried again: at once, then at growing intervals.

    Args:
        log: The logger.
        event: The name of the records.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self, log: logging.Logger, event: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._event = event
        self._clock = clock
        self._pause = _FIRST_PAUSE
        self._next = float("-inf")

    def log_failure_if_due(self, **facts: object) -> None:
        """Log a failure, unless one was logged shortly before."""
        now = self._clock()
        if now >= self._next:
            self._log.warning(self._event, extra=facts)
            self._next = now + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def note_success(self) -> None:
        """Note a success: the next failure is logged at once."""
        self._pause, self._next = _FIRST_PAUSE, float("-inf")
