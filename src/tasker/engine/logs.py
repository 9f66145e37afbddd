"""Adds the current attempt to log records."""

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasker.engine.running import Running

current_attempt: ContextVar["Running | None"] = ContextVar("tasker_attempt", default=None)
"""The attempt that the present code runs for: log records and spans are named after it."""


class AttemptFilter(logging.Filter):
    """Adds `task_id`, `template`, `step`, `attempt` and `correlation_id` to log records.

    Put it on a log handler, where the records of all loggers pass, those of libraries too:
    `handler.addFilter(AttemptFilter())`. It lets everything through, and leaves alone
    records that are not of an attempt, and what a record has already. A worker does not
    do it by itself: how a program logs is the program's.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        running = current_attempt.get()
        if running is not None:
            for name, value in running.facts().items():
                record.__dict__.setdefault(name, value)
        return True
