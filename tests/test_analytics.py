"""What figures say, and what follows from them."""

from datetime import UTC, datetime, timedelta

import pytest

from tasker.analytics.model import (
    BlockingStep,
    ErrorPattern,
    RetryStatistics,
    StepFigures,
    StoreLoad,
    make_recommendations,
    rate_per_hour,
    rounded_share,
    top_steps_by,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
IDLE = StoreLoad(database_pool_utilization=0.0, due_steps=0, scheduled_steps=0, running_steps=0)


def step(
    name: str, *, seconds: float = 1.0, runs: int = 10, errors: int = 0, retries: int = 0
) -> StepFigures:
    return StepFigures(
        average_parked_seconds=0.0,
        namespace="payments",
        name="refund",
        version="1.0.0",
        step=name,
        average_duration_seconds=seconds,
        max_duration_seconds=seconds,
        execution_count=runs,
        error_count=errors,
        retry_count=retries,
        error_rate=rounded_share(errors, runs),
        last_executed_at=NOW,
    )


def pattern(name: str, count: int) -> ErrorPattern:
    return ErrorPattern(
        error_type=name, error_code=None, count=count, final_count=0, last_seen_at=NOW
    )


def advice(
    *steps: StepFigures,
    patterns: tuple[ErrorPattern, ...] = (),
    retries: RetryStatistics | None = None,
    blocking_steps: tuple[BlockingStep, ...] = (),
    utilization: StoreLoad = IDLE,
) -> list[str]:
    return list(
        make_recommendations(
            steps=steps,
            patterns=patterns,
            total_errors=sum(each.count for each in patterns),
            retries=retries or RetryStatistics(),
            blocking_steps=blocking_steps,
            utilization=utilization,
        )
    )


@pytest.mark.parametrize(
    ("part", "whole", "expected"), [(1, 3, 0.3333), (0, 5, 0.0), (5, 5, 1.0), (0, 0, 0.0)]
)
def test_a_share_is_between_0_and_1(part: int, whole: int, expected: float) -> None:
    assert expected == rounded_share(part, whole)
    assert 1.0 == rounded_share(0, 0, nothing=1.0)


def test_hourly_figures_are_divided_by_hours() -> None:
    """For any period; an empty period counts as a second."""
    assert 2.0 == rate_per_hour(48, NOW - timedelta(hours=24), NOW)
    assert 240.0 == rate_per_hour(4, NOW - timedelta(minutes=1), NOW)
    assert 3600.0 == rate_per_hour(1, NOW, NOW)


def test_only_problems_are_listed_with_the_worst_first() -> None:
    """
    Of equals, by name.
    """
    steps = [step("b", errors=3), step("a", errors=3), step("c", errors=5), step("fine")]

    assert ["c", "a"] == [each.step for each in top_steps_by(steps, "error_rate", 2)]
    assert 3 == len(top_steps_by(steps, "error_rate", 10))


def test_there_is_no_advice_without_problems() -> None:
    """Too few attempts give no advice either."""
    assert [] == advice()
    assert [] == advice(
        step("a", errors=2, seconds=30),
        patterns=(pattern("E", 4),),
        retries=RetryStatistics(retried_steps=9, succeeded=1, failed=3),
        utilization=StoreLoad(
            database_pool_utilization=0.8, due_steps=1000, scheduled_steps=0, running_steps=0
        ),
    )


def test_failing_and_slow_steps_are_named() -> None:
    """At most three of each are named."""
    failing = advice(*(step(f"s{n}", errors=n) for n in range(3, 8)))
    slow = advice(step("crawl", seconds=31))

    assert [
        f"step s{n} of payments.refund@1.0.0 fails in {n}0% of its attempts ({n} of 10):"
        " check its errors first"
        for n in (7, 6, 5)
    ] == failing
    assert ["step crawl of payments.refund@1.0.0 takes 31 s on average:"] == [
        each.split(" split it")[0] for each in slow
    ]


def test_an_error_behind_most_failures_is_named() -> None:
    """There is no recommendation unless one kind causes more than half."""
    assert [
        "GatewayError accounts for 75% of all 8 errors: one cause may be behind most of them"
    ] == (advice(patterns=(pattern("GatewayError", 6), pattern("E", 2))))
    assert [] == advice(patterns=(pattern("A", 4), pattern("B", 4)))


def test_retries_that_do_not_help_are_reported() -> None:
    """The advice names an alternative."""
    assert [
        "only 25% of the 8 steps that were tried again succeeded:"
        " raise PermanentError for errors that a retry cannot fix"
    ] == advice(retries=RetryStatistics(retried_steps=9, succeeded=2, failed=6))


def test_a_failed_step_with_waiting_children_is_reported() -> None:
    """A step that is only slow is not."""

    def blocked(name: str, failed: int) -> BlockingStep:
        return BlockingStep(
            namespace="payments",
            name="refund",
            version="1.0.0",
            step=name,
            tasks=5,
            failed_tasks=failed,
            waiting_steps=9,
            average_wait_seconds=1.0,
        )

    assert [
        "b of payments.refund@1.0.0 failed in 2 open tasks, and other steps wait for it: retry or "
        "resolve this step"
    ] == advice(blocking_steps=(blocked("a", 0), blocked("b", 2)))


def test_a_shortage_of_workers_or_connections_is_reported() -> None:
    """The advice contains the figure."""
    busy = StoreLoad(
        database_pool_utilization=0.9, due_steps=25_000, scheduled_steps=0, running_steps=80
    )

    assert [
        "25,000 steps are due and wait for a worker: start more workers, or give them more slots",
        "90% of the store's connections are in use:"
        " allow more connections, or spread the load over more processes",
    ] == advice(utilization=busy)
