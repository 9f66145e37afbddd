"""Tells what happens: to the observers of this process, and to the log."""

import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any

from tasker.engine.executor import Finished, Running
from tasker.events import (
    Event,
    LoopBlocked,
    Observer,
    SettleRefused,
    StepSettled,
    StepStarted,
    StepWaiting,
    TaskEnded,
)
from tasker.model import ATTEMPT_OUTCOMES, TaskEnd, TaskId

log = logging.getLogger("tasker.worker")


class Reporter:
    """Turns what a worker does into events and log records.

    Args:
        worker: The worker's name, for the log.
        observers: Told of every event.
    """

    def __init__(self, worker: str, observers: Iterable[Observer]) -> None:
        self._worker = worker
        self.observers: list[Observer] = list(observers)

    def started(self, running: Running) -> None:
        if self.observers:
            self.emit(StepStarted(**running.facts()))

    def settled(self, batch: Sequence[Finished], refused: Collection[int]) -> None:
        """Tell of a settlement; `refused` are the indexes of what came too late."""
        if not (self.observers or refused or log.isEnabledFor(logging.INFO)):
            return
        for index, finished in enumerate(batch):
            if index in refused:
                self.refused(finished.running)
            elif self.observers or finished.outcome.error is not None:
                self._settled(finished)

    def _settled(self, finished: Finished) -> None:
        outcome = ATTEMPT_OUTCOMES[finished.outcome.outcome]
        if finished.outcome.error is not None:
            self._log(
                logging.INFO,
                "attempt_failed",
                **finished.running.facts(),
                outcome=outcome.value,
                delay_s=finished.outcome.delay,
                error=finished.outcome.error,
            )
        if self.observers:
            self.emit(
                StepSettled(
                    **finished.running.facts(),
                    outcome=outcome,
                    ran_for=timedelta(seconds=finished.ran_for),
                    error=finished.outcome.error,
                    delay=timedelta(seconds=finished.outcome.delay),
                )
            )

    def refused(self, running: Running) -> None:
        """Tell of an attempt that was no longer this worker's to settle."""
        self._log(logging.WARNING, "settle_refused", **running.facts())
        self.emit(SettleRefused(**running.facts()))

    def parked(self, running: Running, awaits: TaskId) -> None:
        self.emit(StepWaiting(**running.facts(), awaits=awaits))

    def ended(self, ended: Iterable[TaskEnd]) -> None:
        if self.observers:
            for end in ended:
                self.emit(TaskEnded(*end))

    def blocked(self, running: Running | None, blocked_for: timedelta) -> LoopBlocked:
        """Log the handler that holds up the loop, from any thread; tell the event to emit."""
        which = running.facts() if running else {}
        seconds = round(blocked_for.total_seconds(), 1)
        self._log(logging.WARNING, "loop_blocked", **which, blocked_for_s=seconds)
        return LoopBlocked(which.get("task_id"), which.get("step"), blocked_for)

    def emit(self, event: Event) -> None:
        """Tell the observers; one that raises harms neither the work nor the others."""
        for observer in self.observers:
            try:
                observer(event)
            except Exception:  # whatever an observer does
                log.exception("observer_failed", extra={"event": type(event).__name__})

    def _log(self, level: int, event: str, **extra: Any) -> None:
        log.log(level, event, extra={**extra, "worker": self._worker})
