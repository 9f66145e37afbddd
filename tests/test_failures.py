"""Causes of failures: what counts as one, and how they are counted."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tasker.analytics.failures import (
    BINS,
    FailedStep,
    FailureTriage,
    attach_triage_to_causes,
    failure_fingerprint,
    group_failures,
)
from tasker.model import TaskId

NOW = datetime(2026, 11, 29, 1, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def failure(
    message: str = "billing: down",
    *,
    task: int = 1,
    code: str | None = "DOWN",
    step: str = "pay",
    version: str = "1.0.0",
    ago: timedelta = timedelta(0),
    attempts: int = 1,
) -> FailedStep:
    return FailedStep(
        task_id=TaskId(f"00000000-0000-7000-8000-{task:012}"),
        namespace="payments",
        name="refund",
        version=version,
        no=1,
        step=step,
        attempts=attempts,
        error={"type": "RetryableError", "code": code, "message": message},
        settled_at=NOW - ago,
    )


def test_messages_that_differ_in_numbers_ids_and_quoted_parts_have_the_same_cause() -> None:
    """Versions may differ too, but not steps or codes."""
    same = [
        failure("payment 17 of 'ann' not found"),
        failure("payment 18 of 'bob' not found", version="2.0.0"),
        failure('payment 01a224d1-6510-7000-8000-000000000001 of "eve" not found'),
    ]
    assert 1 == len({failure_fingerprint(one) for one in same})

    base = failure()
    others = [failure("billing: slow"), failure(code="SLOW"), failure(step="ship")]
    assert 4 == len({failure_fingerprint(one) for one in (base, *others)})


def test_a_cause_counts_its_failed_tasks() -> None:
    """The greatest cause first, with its newest message and task."""
    steps = [
        failure("no card 3", task=9, code="CARD"),
        failure("down 2", task=2, attempts=3),
        failure("down 1", task=1, attempts=2, ago=DAY / 2),
        failure("down 0", task=1, ago=DAY),
    ]
    first, second = group_failures(steps, NOW - DAY, NOW)

    assert (2, 6, "down 2", steps[1].task_id) == (
        first.tasks,
        first.attempts,
        first.message,
        first.sample,
    )
    assert (NOW - DAY, NOW) == (first.first_at, first.last_at)
    assert ("CARD", 1) == (second.code, second.tasks)
    assert [1, 1, 1] == [first.trend[0], first.trend[BINS // 2], first.trend[-1]]
    assert (BINS, 3) == (len(first.trend), sum(first.trend))


def test_errors_without_type_and_code_are_grouped_too() -> None:
    """Errors from outside may lack them."""
    bare = failure(code=None)
    (cause,) = group_failures([bare], NOW - DAY, NOW)

    assert (None, "RetryableError") == (cause.code, cause.type)


def test_a_muted_cause_comes_last_until_its_time_or_version() -> None:
    """One failure in the version, or after the time, ends it."""
    steps = [failure(task=1), failure(task=2), failure(task=3, code="CARD")]
    causes = group_failures(steps, NOW - DAY, NOW)
    key = causes[0].fingerprint

    def muted(**fields: Any) -> bool:
        triage = FailureTriage(fingerprint=key, namespace="payments", **fields)
        cause = {one.fingerprint: one for one in attach_triage_to_causes(causes, [triage], NOW)}[
            key
        ]
        assert triage == cause.triage
        return cause.muted

    assert [False, True, False] == [
        muted(assignee="ann"),
        muted(muted_until=NOW + DAY),
        muted(muted_until=NOW),
    ]
    assert [True, False] == [muted(muted_below="1.0.1"), muted(muted_below="1.0.0")]
    until = FailureTriage(fingerprint=key, namespace="payments", muted_until=NOW + DAY)
    assert key == attach_triage_to_causes(causes, [until], NOW)[-1].fingerprint
