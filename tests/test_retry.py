"""When a failed step is tried again."""

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker.errors import PermanentError, RetryableError
from tasker.model import Backoff, Retry
from tasker.retry import (
    LONGEST_REQUEST,
    allows_another_attempt,
    error_names,
    is_permanent_error,
    next_attempt_delay,
)

SECOND = timedelta(seconds=1)
ANY_POLICY = st.builds(
    Retry,
    retryable=st.booleans(),
    max_attempts=st.integers(1, 10_000),
    backoff=st.sampled_from(Backoff),
    initial_delay=st.timedeltas(timedelta(0), timedelta(days=30)),
    max_delay=st.timedeltas(timedelta(0), timedelta(days=30)),
    jitter=st.floats(0, 1),
)
MICROSECOND = timedelta(microseconds=1)


def delays(backoff: Backoff, many: int, *, initial: float = 1, cap: float = 1e6) -> list[float]:
    policy = Retry(
        backoff=backoff, initial_delay=initial * SECOND, max_delay=cap * SECOND, jitter=0
    )
    return [
        next_attempt_delay(counted_attempts, policy, Random(0)).total_seconds()
        for counted_attempts in range(1, many + 1)
    ]


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (Backoff.NONE, [0, 0, 0, 0, 0, 0]),
        (Backoff.FIXED, [1, 1, 1, 1, 1, 1]),
        (Backoff.LINEAR, [1, 2, 3, 4, 5, 6]),
        (Backoff.EXPONENTIAL, [1, 2, 4, 8, 16, 32]),
        (Backoff.FIBONACCI, [1, 1, 2, 3, 5, 8]),
    ],
)
def test_delays_grow_by_the_policy(backoff: Backoff, expected: list[float]) -> None:
    """Delays are compared in units of the initial delay."""
    assert expected == delays(backoff, 6)
    assert [0.25 * each for each in expected] == delays(backoff, 6, initial=0.25)


def test_delays_are_capped() -> None:
    """
    At `max_delay`, also where the first would exceed it.
    """
    assert [1, 2, 4, 5, 5] == delays(Backoff.EXPONENTIAL, 5, cap=5)
    assert [3, 3, 3] == delays(Backoff.FIXED, 3, initial=10, cap=3)


def test_the_first_attempt_counts() -> None:
    """Three attempts mean two retries; without `retryable`, none follows."""
    three, never = Retry(max_attempts=3), Retry(max_attempts=3, retryable=False)

    assert [True, True, False, False] == [
        allows_another_attempt(three, counted_attempts) for counted_attempts in (1, 2, 3, 4)
    ]
    assert [False, False] == [
        allows_another_attempt(never, counted_attempts) for counted_attempts in (1, 2)
    ]
    assert not allows_another_attempt(Retry(max_attempts=1), 1)


def test_jitter_varies_in_both_directions() -> None:
    """
    Evenly around the delay, so that steps that failed together do not return together.
    """
    policy = Retry(
        backoff=Backoff.FIXED, initial_delay=100 * SECOND, max_delay=100 * SECOND, jitter=0.2
    )
    rng = Random(7)

    delays = [next_attempt_delay(1, policy, rng).total_seconds() for _ in range(2000)]

    assert 80 <= min(delays) < 81
    assert 119 < max(delays) <= 120
    assert 99 < sum(delays) / len(delays) < 101


def test_the_same_seed_gives_the_same_delays() -> None:
    """Tests can then be repeated."""
    policy = Retry(jitter=0.5)

    first, second = (
        [
            next_attempt_delay(counted_attempts, policy, Random(3))
            for counted_attempts in range(1, 9)
        ]
        for _ in range(2)
    )

    assert first == second


def test_a_requested_delay_overrides_the_policy() -> None:
    """
    Longer than its cap, or shorter than its backoff: the server knows when it will be ready.
    """
    policy = Retry(backoff=Backoff.EXPONENTIAL, max_delay=60 * SECOND, jitter=0.5)

    assert 300 * SECOND == next_attempt_delay(1, policy, Random(0), requested=300 * SECOND)
    assert 2 * SECOND == next_attempt_delay(4, policy, Random(0), requested=2 * SECOND)
    assert 0 * SECOND == next_attempt_delay(4, policy, Random(0), requested=0 * SECOND)
    assert 0 * SECOND == next_attempt_delay(4, policy, Random(0), requested=-5 * SECOND)


def test_a_requested_delay_is_capped() -> None:
    """
    A mistaken header does not park a step for a century.
    """
    asked = next_attempt_delay(1, Retry(), Random(0), requested=timedelta(days=36_500))

    assert LONGEST_REQUEST == asked


@given(ANY_POLICY, st.integers(1, 100_000), st.integers())
def test_a_delay_is_within_its_bounds(policy: Retry, counted_attempts: int, seed: int) -> None:
    """It lies in [0, max_delay * (1 + jitter)]."""
    delay = next_attempt_delay(counted_attempts, policy, Random(seed))

    assert timedelta(0) <= delay
    assert delay <= policy.max_delay * (1 + policy.jitter) + MICROSECOND


@given(ANY_POLICY, st.integers(1, 1000), st.timedeltas(timedelta(0), timedelta(days=100)))
def test_a_requested_delay_has_no_jitter(
    policy: Retry, counted_attempts: int, requested: timedelta
) -> None:
    """
    Up to a day.
    """
    delay = next_attempt_delay(counted_attempts, policy, Random(0), requested=requested)

    assert min(requested, LONGEST_REQUEST) == delay


@given(ANY_POLICY.filter(lambda policy: policy.max_delay > timedelta(0)), st.integers(1, 300))
def test_without_jitter_delays_never_shrink(policy: Retry, counted_attempts: int) -> None:
    steady = Retry(
        backoff=policy.backoff,
        initial_delay=policy.initial_delay,
        max_delay=policy.max_delay,
        jitter=0,
    )

    assert next_attempt_delay(counted_attempts, steady, Random(0)) <= next_attempt_delay(
        counted_attempts + 1, steady, Random(0)
    )


@pytest.mark.parametrize("counted_attempts", [0, -1])
def test_without_a_failure_there_is_no_delay(counted_attempts: int) -> None:
    """
    Asking is a mistake of the caller.
    """
    with pytest.raises(ValueError, match=str(counted_attempts)):
        next_attempt_delay(counted_attempts, Retry(), Random(0))


class Declined(ConnectionError):
    """An error of an application."""


@pytest.mark.parametrize(
    ("retry_on", "give_up_on", "error", "expected"),
    [
        ((), (), ValueError(), None),
        (("TimeoutError",), ("KeyError",), ValueError(), None),
        ((), ("ValueError",), ValueError(), True),
        ((), (ValueError,), UnicodeError(), True),  # a subclass
        ((), ("DECLINED",), RetryableError("x", code="DECLINED"), True),
        (("HTTP_404",), (), PermanentError("x", code="HTTP_404"), False),
        (("PermanentError",), (), PermanentError("x"), False),
        ((Declined,), (), Declined(), False),
        ((f"{__name__}.Declined",), (), Declined(), False),
        (("Declined",), (), Declined(), False),
        (("other.Declined",), (), Declined(), None),
        # the more specific one counts
        (("TimeoutError",), ("Exception",), TimeoutError(), False),
        (("TimeoutError",), ("Exception",), KeyError(), True),
        (("Exception",), (Declined,), Declined(), True),
        (("BUSY",), ("StepError",), RetryableError("x", code="BUSY"), False),
        (("StepError",), ("BUSY",), RetryableError("x", code="BUSY"), True),
        (("ValueError",), ("ValueError",), ValueError(), True),
    ],
)
@pytest.mark.parametrize("by_default", [True, False])
def test_a_policy_names_errors_by_class_or_code(
    retry_on: tuple[str | type[BaseException], ...],
    give_up_on: tuple[str | type[BaseException], ...],
    error: Exception,
    expected: bool | None,
    by_default: bool,
) -> None:
    """None: the policy does not mention it."""
    policy = Retry(retry_on=retry_on, give_up_on=give_up_on)

    final = is_permanent_error(error_names(error), policy, by_default=by_default)

    assert (by_default if expected is None else expected) is final
