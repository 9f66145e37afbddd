"""Reports a worker's actions to the observers of this process and to the log."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

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
    EventLoopBlocked,
    GroupObserver,
    Notice,
    Observer,
    SettlementRejected,
    StepSettled,
    StepStarted,
    StepWaiting,
    TaskEnded,
)
from tasker.waits import make_step_waits

log = logging.getLogger("tasker.worker")

T = TypeVar("T")


class Reporter:
    """Reports a worker's actions as notices and log records.

    Args:
        worker: The worker's name, for the log.
        observers: Called with every notice.
        task_ends: Where callers in this process wait for tasks.
        figures: Counts outcomes and ended tasks; None counts nothing.
        logs: Keeps what attempts log, depending on their outcome; None: nothing is kept.
        group_observers: Called with groups of notices.
    """

    def __init__(
        self,
        worker: str,
        observers: Iterable[Observer],
        task_ends: TaskEndWaiter,
        figures: OutcomeCounter | None = None,
        logs: StepLogs | None = None,
        group_observers: Iterable[GroupObserver] = (),
    ) -> None:
        self._worker = worker
        self._task_ends = task_ends
        self._figures = figures
        self._logs = logs
        self.observers: list[Observer] = list(observers)
        self.group_observers: list[GroupObserver] = list(group_observers)
        self.freed: asyncio.Queue[TaskId] | None = None
        """Ended tasks, whose places can be given to waiting tasks; None if this process admits no
        waiting tasks."""

    @property
    def is_observed(self) -> bool:
        """Whether there are observers."""
        return bool(self.observers or self.group_observers)

    def report_start(self, running: RunningAttempt) -> None:
        """Report the start of an attempt."""
        if self.is_observed:
            queued, parked = running.claim.queued_and_parked_durations
            self.notify_observers(
                StepStarted(**running.log_fields(), queued_for=queued, parked_for=parked)
            )

    def report_settlements(
        self, batch: Sequence[FinishedAttempt], rejected: Collection[int]
    ) -> None:
        """Count, log and report the outcomes of a settlement.

        `rejected` contains the indexes of outcomes of attempts that no longer held their step.
        """
        if self._figures is not None:
            self._figures.count_settlement(batch, rejected)
        if self._logs is not None and self._logs.held:
            self._logs.keep_or_drop_settled_records(batch, rejected)
        is_observed = self.is_observed
        if not (is_observed or rejected or log.isEnabledFor(logging.WARNING)):
            return
        notices: list[Notice] = []
        for index, finished in enumerate(batch):
            if index in rejected:
                self.report_rejected_settlement(finished.running)
                continue
            outcome = ATTEMPT_OUTCOMES[finished.outcome.outcome]
            if finished.outcome.error is not None and outcome is not AttemptOutcome.PARKED:
                self._log_failure(finished, outcome)
            if is_observed:
                notices.append(_outcome_notice(finished, outcome))
        if notices:
            self.notify_observers(*notices)

    def _log_failure(self, finished: FinishedAttempt, outcome: AttemptOutcome) -> None:
        self._log_event(
            logging.WARNING if outcome is AttemptOutcome.ERROR else logging.INFO,
            "step_skipped" if outcome is AttemptOutcome.SKIPPED else "attempt_failed",
            **finished.running.log_fields(),
            outcome=outcome.value,
            delay_s=finished.outcome.delay,
            error=finished.outcome.error,
        )

    def count_remote_outcomes(self, outcomes: Iterable[tuple[int, OutcomeCode]]) -> None:
        """Count outcomes of remote workers, given with their template."""
        if self._figures is not None:
            self._figures.count_remote_outcomes(outcomes)

    def report_rejected_settlement(self, running: RunningAttempt) -> None:
        """Report an attempt whose settlement was rejected."""
        self._log_event(logging.WARNING, "settlement_rejected", **running.log_fields())
        self.notify_observers(SettlementRejected(**running.log_fields()))

    def report_stopped_attempt(self, running: RunningAttempt, ran_for: timedelta) -> None:
        """Report an attempt that ended without an outcome from this worker."""
        if self._logs is not None and self._logs.held:
            self._logs.keep_or_drop_records(running.attempt, failed=True)
        if self.is_observed:
            self.notify_observers(AttemptStopped(**running.log_fields(), ran_for=ran_for))

    def report_unconfirmed_attempt(self, finished: FinishedAttempt) -> None:
        """Report an attempt whose settlement received no reply and is not repeated."""
        self.report_stopped_attempt(finished.running, timedelta(seconds=finished.ran_for))

    def report_wait(
        self, running: RunningAttempt, parked: StepParked | None, ran_for: timedelta
    ) -> None:
        """Report a step that waits for `parked`; None: for a time or a completion."""
        self.notify_observers(_wait_notice(running, parked, ran_for))

    def report_lost_attempt(self, outcome: Outcome, template: Template, step: str) -> None:
        """Report an attempt whose worker's lease has expired."""
        if self.is_observed:
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
        is_observed, notices = self.is_observed, []
        for task_id, status in ended:
            self._task_ends.wake_callers_of(task_id)
            task = tasks.get(task_id)
            template = None if task is None else task.compiled.key
            if self.freed is not None and task is not None and task.compiled.bounds_open_tasks:
                self.freed.put_nowait(task_id)
            if status is TaskStatus.ERROR:
                self._log_event(logging.WARNING, "task_failed", task_id=task_id, template=template)
            if is_observed:
                task_input = None if task is None else task.input
                notices.append(TaskEnded.for_just_ended_task(task_id, status, template, task_input))
        if notices:
            self.notify_observers(*notices)

    def log_blocked_loop_and_build_notice(
        self, running: RunningAttempt | None, blocked_for: timedelta
    ) -> EventLoopBlocked:
        """Log the handler that blocks the loop, and return the notice, without calling observers.

        Callable from any thread.
        """
        which = running.log_fields() if running else {}
        seconds = round(blocked_for.total_seconds(), 1)
        self._log_event(logging.WARNING, "loop_blocked", **which, blocked_for_s=seconds)
        return EventLoopBlocked(which.get("task_id"), which.get("step"), blocked_for)

    def notify_observers(self, *notices: Notice) -> None:
        """Call the observers with one or more notices.

        An error in an observer affects neither the worker nor other observers.
        """
        for group_observer in self.group_observers:
            _notify_observer(group_observer, notices, notices[0])
        for observer in self.observers:
            for notice in notices:
                _notify_observer(observer, notice, notice)

    def _log_event(self, level: int, event: str, **extra: Any) -> None:
        log.log(level, event, extra={**extra, "worker": self._worker})


def _notify_observer(observer: Callable[[T], None], given: T, first: Notice) -> None:
    try:
        observer(given)
    except Exception:  # observers may raise anything
        log.exception("observer_failed", extra={"notice": type(first).__name__})


def _outcome_notice(finished: FinishedAttempt, outcome: AttemptOutcome) -> Notice:
    """Return the notice of a stored outcome."""
    ran_for = timedelta(seconds=finished.ran_for)
    if outcome is AttemptOutcome.PARKED:
        return _wait_notice(finished.running, None, ran_for)
    return StepSettled(
        **finished.running.log_fields(),
        outcome=outcome,
        ran_for=ran_for,
        error=finished.outcome.error,
        delay=timedelta(seconds=finished.outcome.delay),
    )


def _wait_notice(
    running: RunningAttempt, parked: StepParked | None, ran_for: timedelta
) -> StepWaiting:
    """Return the notice of a step that waits for `parked`; None: for a time or a completion."""
    awaits = parked.task_id if isinstance(parked, ParkedForTask) else None
    waits = make_step_waits(parked)
    return StepWaiting(**running.log_fields(), awaits=awaits, ran_for=ran_for, waits=waits)
