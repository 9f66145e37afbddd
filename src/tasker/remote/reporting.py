"""Reports the attempts of remote workers to the observers of a server."""

from collections.abc import Collection, Mapping
from datetime import timedelta

from tasker.engine.reporting import Reporter
from tasker.engine.task_cache import CachedTask
from tasker.errors import ParkedForTask, StepParked
from tasker.model import (
    ATTEMPT_OUTCOMES,
    AttemptOutcome,
    Outcome,
    TaskEnd,
    TaskId,
    TemplateName,
)
from tasker.notices import StepSettled, StepStarted, StepWaiting
from tasker.remote.serving import ServedStep
from tasker.waits import step_waits

_NO_DELAY = timedelta(0)


class RemoteReporter:
    """Reports the attempts of remote workers in the way that a worker reports its own.

    Args:
        reporter: The reporter of the server's own worker, or one for the server's observers.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def report_start(self, step: ServedStep) -> None:
        """Report a step that is handed to a remote worker."""
        if self._reporter.observers:
            self._reporter.notify_observers(
                StepStarted(
                    *_attempt_notice_fields(step),
                    *step.claim.queued_and_parked_durations,
                    is_remote=True,
                )
            )

    def report_settlement(self, step: ServedStep, outcome: Outcome) -> None:
        """Report a stored outcome."""
        self._reporter.count_remote_outcome(step.task.input.template_id, outcome.outcome)
        kind = ATTEMPT_OUTCOMES[outcome.outcome]
        if kind is AttemptOutcome.PARKED:
            self.report_wait(step, None)
        elif self._reporter.observers:
            self._reporter.notify_observers(
                StepSettled(
                    *_attempt_notice_fields(step),
                    kind,
                    step.ran_for,
                    outcome.error,
                    timedelta(seconds=outcome.delay) if outcome.delay else _NO_DELAY,
                    is_remote=True,
                )
            )

    def report_wait(self, step: ServedStep, parked: StepParked | None) -> None:
        """Report a step that waits for `parked`; None: for a time or a completion."""
        if self._reporter.observers:
            self._reporter.notify_observers(
                StepWaiting(
                    *_attempt_notice_fields(step),
                    awaits=parked.task_id if isinstance(parked, ParkedForTask) else None,
                    ran_for=step.ran_for,
                    is_remote=True,
                    waits=step_waits(parked),
                )
            )

    def report_ended_tasks(
        self, ended: Collection[TaskEnd], tasks: Mapping[TaskId, CachedTask]
    ) -> None:
        """Report ended tasks, with their template and input if known."""
        self._reporter.report_ended_tasks(ended, tasks)


def _attempt_notice_fields(step: ServedStep) -> tuple[TaskId, TemplateName, str, int, str]:
    """Return the fields with which all notices of an attempt begin."""
    claim, task = step.claim, step.task
    name = task.compiled.key
    return claim.task_id, name, step.name, claim.attempt, task.input.correlation_id
