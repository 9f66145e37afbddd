"""What a failed attempt leads to."""

from datetime import timedelta
from random import Random

from tasker import Retry
from tasker.engine.failure import outcome_of
from tasker.model import Backoff, Claim, OutcomeCode, StepSpec, TaskId

DOUBLING = Retry(
    max_attempts=5,
    backoff=Backoff.EXPONENTIAL,
    initial_delay=timedelta(seconds=1),
    max_delay=timedelta(hours=1),
    jitter=0,
)


def failure(attempt: int, counted: int) -> tuple[int, float]:
    """Return the outcome and delay of an attempt of which `counted` count."""
    claim = Claim(TaskId("t"), 1, attempt, counted)
    outcome = outcome_of(ValueError("x"), claim, StepSpec(name="only", retry=DOUBLING), Random(1))
    return outcome.outcome, outcome.delay


def test_delays_grow_with_counted_attempts_only() -> None:
    """
    Attempts that were released or lost do not make a step wait longer.
    """
    assert (OutcomeCode.RETRY, 2) == failure(attempt=4, counted=2)


def test_only_counted_attempts_are_bounded() -> None:
    assert OutcomeCode.RETRY == failure(attempt=9, counted=4)[0]
    assert OutcomeCode.ERROR == failure(attempt=5, counted=5)[0]
