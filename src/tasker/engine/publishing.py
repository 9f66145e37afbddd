"""Adds the events that a step publishes to the outcome of its attempt."""

import logging
from collections.abc import Sequence

from tasker.engine.failure import serialize_exception
from tasker.engine.running import FinishedAttempt, RunningAttempt
from tasker.model import Claim, JsonText, Outcome, OutcomeCode, StepSpec, failed_outcome
from tasker.template.published_events import PublishedEvent, build_published_events

log = logging.getLogger("tasker.worker")


def build_finished_attempt(
    running: RunningAttempt, outcome: Outcome, ran_for: float
) -> FinishedAttempt:
    """Return an ended attempt with the events that its step publishes.

    An invalid event fails the step permanently, which may publish other events.
    """
    if not running.spec.events:
        return FinishedAttempt(running, outcome, ran_for)
    context = running.task.input.context
    outcome, events = compute_outcome_and_events(running.claim, running.spec, outcome, context)
    return FinishedAttempt(running, outcome, ran_for, events)


def compute_outcome_and_events(
    claim: Claim, spec: StepSpec, outcome: Outcome, context: JsonText
) -> tuple[Outcome, Sequence[PublishedEvent]]:
    """Return the outcome of an attempt and the events of its step.

    An invalid event fails the step permanently, which may publish other events.
    """
    events, invalid = build_published_events(spec, outcome, context)
    if invalid is not None and outcome.outcome is not OutcomeCode.ERROR:
        outcome = failed_outcome(claim, serialize_exception(invalid, retryable=False))
        return compute_outcome_and_events(claim, spec, outcome, context)
    if invalid is not None:
        facts = {"task_id": claim.task_id, "step": spec.name, "error": str(invalid)}
        log.error("event_invalid", extra=facts)
    return outcome, events


def compute_failure_events(
    spec: StepSpec, outcome: Outcome, context: JsonText
) -> Sequence[PublishedEvent]:
    """Return the valid events of an attempt whose failure another process settles; log an invalid
    one."""
    events, invalid = build_published_events(spec, outcome, context)
    if invalid is not None:
        facts = {"task_id": outcome.task_id, "step": spec.name, "error": str(invalid)}
        log.error("event_invalid", extra=facts)
    return events
