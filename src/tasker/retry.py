"""Decides when a failed step is retried."""

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta
from random import Random

from tasker.model import Backoff, Retry

LONGEST_REQUEST = timedelta(days=1)
"""Maximum delay that a failed attempt may request, for example with a service's `Retry-After`."""


def allows_another_attempt(policy: Retry, counted_attempts: int) -> bool:
    """Return whether another attempt follows after `counted_attempts` failed ones."""
    return policy.retryable and counted_attempts < policy.max_attempts


def is_permanent_error(
    names: Iterable[Collection[str]], policy: Retry, *, by_default: bool
) -> bool:
    """Return whether a policy makes an error permanent: attempts that fail with it are not retried.

    A code in `give_up_on` or `retry_on` takes precedence over a class, and a class over its base
    classes.

    Args:
        names: The names of the error, most specific first: see `error_names`.
        policy: The step's retry policy.
        by_default: The result if the policy does not mention the error.
    """
    if not policy.retry_on and not policy.give_up_on:
        return by_default
    for alike in names:
        if any(name in policy.give_up_on for name in alike):
            return True
        if any(name in policy.retry_on for name in alike):
            return False
    return by_default


def error_names(error: BaseException) -> Iterator[set[str]]:
    """Yield the names of an error, most specific first: its code, its class, the base classes."""
    if code := getattr(error, "code", None):
        yield {str(code)}
    for kind in type(error).__mro__:
        path = f"{kind.__module__}.{kind.__qualname__}".replace("<locals>.", "")
        yield {kind.__name__, path}


def next_attempt_delay(
    counted_attempts: int, policy: Retry, rng: Random, *, requested: timedelta | None = None
) -> timedelta:
    """Return the delay before the attempt that follows a failed one.

    The delay starts at `policy.initial_delay`, grows according to `policy.backoff`, is capped at
    `policy.max_delay`, and is then varied by ±`policy.jitter`, so steps that failed together are
    not retried together. A delay requested by the attempt, such as a server's `Retry-After`,
    replaces this delay, up to `LONGEST_REQUEST`.

    Args:
        counted_attempts: Number of failed attempts, >= 1.
        policy: The step's retry policy.
        rng: Source of randomness; a seeded one makes the delay reproducible.
        requested: The delay that the failed attempt asked for, >= 0.

    Returns:
        A delay in [0, max_delay * (1 + jitter)], or the requested one.

    Raises:
        ValueError: `counted_attempts` is below 1.
    """
    if counted_attempts < 1:
        raise ValueError(f"counted_attempts must be at least 1, not {counted_attempts}")
    if requested is not None:
        return min(max(requested, timedelta(0)), LONGEST_REQUEST)
    delay = min(
        policy.initial_delay.total_seconds() * _growth_factor(policy.backoff, counted_attempts),
        _max_delay_seconds(policy),
    )
    spread = delay * (1 + policy.jitter * (2 * rng.random() - 1))
    return timedelta(seconds=spread)


def _max_delay_seconds(policy: Retry) -> float:
    return policy.max_delay.total_seconds()


def _growth_factor(backoff: Backoff, counted_attempts: int) -> float:
    match backoff:
        case Backoff.NONE:
            return 0
        case Backoff.FIXED:
            return 1
        case Backoff.LINEAR:
            return counted_attempts
        case Backoff.EXPONENTIAL:
            return 2.0 ** min(counted_attempts - 1, 64)
        case Backoff.FIBONACCI:
            before, now = 0.0, 1.0
            for _ in range(min(counted_attempts - 1, 128)):
                before, now = now, before + now
            return now
