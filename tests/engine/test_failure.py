"""What a failed attempt leads to."""

from dataclasses import replace
from datetime import timedelta
from random import Random

from tasker import PermanentError, Retry
from tasker.codec import loads
from tasker.engine.failure import AttemptTimeout, outcome_of_exception
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
    outcome = outcome_of_exception(
        ValueError("x"), claim, StepSpec(name="only", retry=DOUBLING), Random(1)
    )
    return outcome.outcome, outcome.delay


def test_delays_grow_with_counted_attempts_only() -> None:
    """
    Attempts that were released or lost do not make a step wait longer.
    """
    assert (OutcomeCode.RETRY, 2) == failure(attempt=4, counted=2)


def test_only_counted_attempts_are_bounded() -> None:
    assert OutcomeCode.RETRY == failure(attempt=9, counted=4)[0]
    assert OutcomeCode.ERROR == failure(attempt=5, counted=5)[0]


def test_a_retry_policy_makes_errors_final_or_retried() -> None:
    """The stored error says which."""
    retry = replace(DOUBLING, retry_on=("HTTP_404",), give_up_on=("ValueError", "timeout"))
    spec = StepSpec(name="only", retry=retry)
    for error, outcome in (
        (PermanentError("x", code="HTTP_404"), OutcomeCode.RETRY),
        (PermanentError("x", code="HTTP_400"), OutcomeCode.ERROR),
        (ValueError("x"), OutcomeCode.ERROR),
        (AttemptTimeout("x", code="timeout"), OutcomeCode.ERROR),
        (KeyError("x"), OutcomeCode.RETRY),
    ):
        settled = outcome_of_exception(error, Claim(TaskId("t"), 1, 1, 1), spec, Random(1))
        assert outcome == settled.outcome
        assert settled.error is not None
        assert (outcome is OutcomeCode.RETRY) == loads(settled.error)["retryable"]


def test_attempts_are_bounded_for_errors_that_are_retried_by_name() -> None:
    retry = Retry(max_attempts=2, retry_on=("PermanentError",))
    spec, error = StepSpec(name="only", retry=retry), PermanentError("x")
    first = outcome_of_exception(error, Claim(TaskId("t"), 1, 1, 1), spec, Random(1))
    second = outcome_of_exception(error, Claim(TaskId("t"), 1, 2, 2), spec, Random(1))

    assert [OutcomeCode.RETRY, OutcomeCode.ERROR] == [first.outcome, second.outcome]


def test_a_long_stack_trace_keeps_whole_lines() -> None:
    """Otherwise the end of a sensitive value could be left at its begin, where nothing masks it."""
    error = ValueError("\n".join(f"line {number} of the message" for number in range(1_000)))
    stored = outcome_of_exception(
        error, Claim(TaskId("t"), 1, 1, 1), StepSpec(name="only"), Random(1)
    ).error
    assert stored is not None

    first, *_, last = loads(stored)["trace"].splitlines()

    assert first.startswith("line ")
    assert "line 999 of the message" == last
