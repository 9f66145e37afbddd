"""Reports a worker's actions to the observers of this process and to the log."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from tasker.client.waiting import TaskEndWaiter
from tasker.engine.figures import OutcomeCounter
from tasker.engine.running import FinishedAttempt, RunningAttempt
from tasker.engine.step_logs import StepLogs
from tasker.engine.task_cache import CachedTask
from tasker.errors import ParkedForTask, StepParked
from tasker.model import (
    ATTEMPT_OUTCOMES,
    AttemptOutcome,
    Outcome,
    OutcomeCode,
    TaskEnd,
    TaskId,
    TaskStatus,
    Template,
)
from tasker.notices import (
    AttemptLost,
    AttemptStopped,
    LoopBlocked,
    Notice,
    Observer,
    SettlementRejected,
    StepSettled,
    StepStarted,
    StepWaiting,
    TaskEnded,
)
from tasker.waits import step_waits

log = logging.getLogger("tasker.worker")


class Reporter:
    """Reports a worker's actions as notices and log records.

    Args:
        worker: The worker's name, for the log.
        observers: Called with every notice.
        task_ends: Where callers in this process wait for tasks.
        figures: Counts outcomes and ended tasks; None counts nothing.
        logs: Keeps what attempts log, depending on their outcome; None: nothing is kept.
    """

    def __init__(
        self,
        worker: str,
        observers: Iterable[Observer],
        task_ends: TaskEndWaiter,
        figures: OutcomeCounter | None = None,
        logs: StepLogs | None = None,
    ) -> None:
        self._worker = worker
        self._task_ends = task_ends
        self._figures = figures
        self._logs = logs
        self.observers: list[Observer] = list(observers)
        self.freed: asyncio.Queue[TaskId] | None = None
        """Ended tasks, whose places can be given to waiting tasks; None if this process admits no
        waiting tasks."""

    def report_start(self, running: RunningAttempt) -> None:
        """Report the start of an attempt."""
        if self.observers:
            queued, parked = running.claim.queued_and_parked_durations
            self.notify_observers(
                StepStarted(**running.log_fields(), queued_for=queued, parked_for=parked)
            )

    def report_settlements(
        self, batch: Sequence[FinishedAttempt], rejected: Collection[int]
    ) -> None:
        """Report a settlement; `rejected` contains the indexes of late outcomes."""
        if self._figures is not None:
            self._figures.count_settlement(batch, rejected)
        if self._logs is not None and self._logs.held:
            self._logs.keep_records_of_failures(batch, rejected)
        if not (self.observers or rejected or log.isEnabledFor(logging.WARNING)):
            return
        for index, finished in enumerate(batch):
            if index in rejected:
                self.report_rejected_settlement(finished.running)
            elif self.observers or finished.outcome.error is not None:
                self._report_outcome(finished)

    def _report_outcome(self, finished: FinishedAttempt) -> None:
        outcome = ATTEMPT_OUTCOMES[finished.outcome.outcome]
        if outcome is AttemptOutcome.PARKED:
            self.report_wait(finished.running, None, timedelta(seconds=finished.ran_for))
            return
        if finished.outcome.error is not None:
            self._log_event(
                logging.WARNING if outcome is AttemptOutcome.ERROR else logging.INFO,
                "step_skipped" if outcome is AttemptOutcome.SKIPPED else "attempt_failed",
                **finished.running.log_fields(),
                outcome=outcome.value,
                delay_s=finished.outcome.delay,
                error=finished.outcome.error,
            )
        if self.observers:
            self.notify_observers(
                StepSettled(
                    **finished.running.log_fields(),
                    outcome=outcome,
                    ran_for=timedelta(seconds=finished.ran_for),
                    error=finished.outcome.error,
                    delay=timedelta(seconds=finished.outcome.delay),
                )
            )

    def count_remote_outcome(self, template: int, outcome: OutcomeCode) -> None:
        """Count an outcome of a remote worker."""
        if self._figures is not None:
            self._figures.count_remote_outcome(template, outcome)

    def report_rejected_settlement(self, running: RunningAttempt) -> None:
        """Report an attempt whose settlement was rejected."""
        self._log_event(logging.WARNING, "settlement_rejected", **running.log_fields())
        self.notify_observers(SettlementRejected(**running.log_fields()))

    def report_stopped_attempt(self, running: RunningAttempt, ran_for: timedelta) -> None:
        """Report an attempt that ended without an outcome from this worker."""
        if self._logs is not None and self._logs.held:
            self._logs.keep_or_drop_records(running.attempt, failed=True)
        if self.observers:
            self.notify_observers(AttemptStopped(**running.log_fields(), ran_for=ran_for))

    def report_unconfirmed_attempt(self, finished: FinishedAttempt) -> None:
        """Report an attempt whose settlement received no reply and is not repeated."""
        self.report_stopped_attempt(finished.running, timedelta(seconds=finished.ran_for))

    def report_wait(
        self, running: RunningAttempt, parked: StepParked | None, ran_for: timedelta
    ) -> None:
        """Report a step that waits for `parked`; None: for a time or a completion."""
        awaits = parked.task_id if isinstance(parked, ParkedForTask) else None
        waits = step_waits(parked)
        self.notify_observers(
            StepWaiting(**running.log_fields(), awaits=awaits, ran_for=ran_for, waits=waits)
        )

    def report_lost_attempt(self, outcome: Outcome, template: Template, step: str) -> None:
        """Report an attempt whose worker's lease has expired."""
        if self.observers:
            self.notify_observers(
                AttemptLost(
                    outcome.task_id,
                    template.key,
                    step,
                    outcome.attempt,
                    ATTEMPT_OUTCOMES[outcome.outcome],
                    timedelta(seconds=outcome.delay),
                )
            )

    def report_ended_tasks(
        self, ended: Collection[TaskEnd], tasks: Mapping[TaskId, CachedTask]
    ) -> None:
        """Report ended tasks, with their template and input if known."""
        if self._figures is not None:
            self._figures.count_ended_tasks(ended, tasks)
        for task_id, status in ended:
            self._task_ends.wake_callers_of(task_id)
            task = tasks.get(task_id)
            template = None if task is None else task.compiled.key
            if self.freed is not None and task is not None and task.compiled.bounds_open_tasks:
                self.freed.put_nowait(task_id)
            if status is TaskStatus.ERROR:
                self._log_event(logging.WARNING, "task_failed", task_id=task_id, template=template)
            if self.observers:
                task_input = None if task is None else task.input
                self.notify_observers(TaskEnded.for_end_now(task_id, status, template, task_input))

    def report_blocked_loop(
        self, running: RunningAttempt | None, blocked_for: timedelta
    ) -> LoopBlocked:
        """Log the handler that blocks the loop, and return the notice. Callable from any thread."""
        which = running.log_fields() if running else {}
        seconds = round(blocked_for.total_seconds(), 1)
        self._log_event(logging.WARNING, "loop_blocked", **which, blocked_for_s=seconds)
        return LoopBlocked(which.get("task_id"), which.get("step"), blocked_for)

    def notify_observers(self, notice: Notice) -> None:
        """Call the observers; an error in one affects neither the worker nor other observers."""
        for observer in self.observers:
            try:
                observer(notice)
            except Exception:  # observers may raise anything
                log.exception("observer_failed", extra={"notice": type(notice).__name__})

    def _log_event(self, level: int, event: str, **extra: Any) -> None:
        log.log(level, event, extra={**extra, "worker": self._worker})
