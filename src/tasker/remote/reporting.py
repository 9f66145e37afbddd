"""Reports the attempts of remote workers to the observers of a server."""

from collections.abc import Collection, Mapping, Sequence
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
from tasker.waits import make_step_waits

_NO_DELAY = timedelta(0)


class RemoteReporter:
    """Reports the attempts of remote workers in the way that a worker reports its own.

    Args:
        reporter: The reporter of the server's own worker, or one for the server's observers.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def report_starts(self, steps: Sequence[ServedStep]) -> None:
        """Report steps that are handed to a remote worker."""
        if steps and self._reporter.is_observed:
            self._reporter.notify_observers(
                *(
                    StepStarted(
                        *_attempt_notice_fields(step), *step.claim.queued_and_parked_durations, True
                    )
                    for step in steps
                )
            )

    def report_settlement(self, settled: Sequence[tuple[ServedStep, Outcome]]) -> None:
        """Count and report stored outcomes."""
        self._reporter.count_remote_outcomes(
            (step.task.input.template_id, outcome.outcome) for step, outcome in settled
        )
        if settled and self._reporter.is_observed:
            self._reporter.notify_observers(
                *(_settlement_notice(step, outcome) for step, outcome in settled)
            )

    def report_wait(self, step: ServedStep, parked: StepParked | None) -> None:
        """Report a step that waits for `parked`; None: for a time or a completion."""
        if self._reporter.is_observed:
            self._reporter.notify_observers(_wait_notice(step, parked))

    def report_ended_tasks(
        self, ended: Collection[TaskEnd], tasks: Mapping[TaskId, CachedTask]
    ) -> None:
        """Report ended tasks, with their template and input if known."""
        self._reporter.report_ended_tasks(ended, tasks)


def _settlement_notice(step: ServedStep, outcome: Outcome) -> StepSettled | StepWaiting:
    """Return the notice of a stored outcome."""
    kind = ATTEMPT_OUTCOMES[outcome.outcome]
    if kind is AttemptOutcome.PARKED:
        return _wait_notice(step, None)
    delay = timedelta(seconds=outcome.delay) if outcome.delay else _NO_DELAY
    ran_for = step.ran_for
    return StepSettled(*_attempt_notice_fields(step), kind, ran_for, outcome.error, delay, True)


def _wait_notice(step: ServedStep, parked: StepParked | None) -> StepWaiting:
    """Return the notice of a step that waits for `parked`; None: for a time or a completion."""
    awaits = parked.task_id if isinstance(parked, ParkedForTask) else None
    fields = _attempt_notice_fields(step)
    return StepWaiting(*fields, awaits, step.ran_for, True, make_step_waits(parked))


def _attempt_notice_fields(step: ServedStep) -> tuple[TaskId, TemplateName, str, int, str]:
    """Return the fields with which all notices of an attempt begin."""
    claim, task = step.claim, step.task
    name = task.compiled.key
    return claim.task_id, name, step.name, claim.attempt, task.input.correlation_id
