"""Where the time of a task and of its steps went, computed from its history."""

from datetime import UTC, datetime, timedelta

import pytest

from tasker.model import (
    Attempt,
    AttemptOutcome,
    PhaseDurations,
    Step,
    StepCounts,
    StepStatus,
    Task,
    TaskId,
    TaskStatus,
)
from tasker.times import TaskTimes, compute_task_times

START = datetime(2026, 1, 1, tzinfo=UTC)
ID = TaskId("00000000-0000-7000-8000-000000000000")


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


TASK = Task(
    id=ID,
    namespace="shop",
    name="sell",
    version="1.0.0",
    status=TaskStatus.IN_PROGRESS,
    context={},
    correlation_id=ID,
    parent_id=None,
    idempotency_key=None,
    created_by="",
    reason="",
    tags=(),
    created_at=START,
    ended_at=None,
    deadline=None,
    error=None,
    counts=StepCounts(),
    updated_at=START,
)


def _step(
    status: StepStatus,
    *,
    no: int = 1,
    enqueued: float | None = None,
    run_at: float | None = None,
    claimed: float | None = None,
) -> Step:
    enqueued_at, due, claimed_at = (
        None if seconds is None else _at(seconds) for seconds in (enqueued, run_at, claimed)
    )
    return Step(
        task_id=ID,
        no=no,
        name=f"s{no}",
        status=status,
        attempts=0,
        run_at=due,
        claimed_at=claimed_at,
        settled_at=None,
        worker=None,
        result=None,
        error=None,
        checkpoint=None,
        pending_parents=0,
        enqueued_at=enqueued_at,
    )


def _attempt(
    number: int,
    outcome: AttemptOutcome,
    enqueued: float,
    claimed: float,
    settled: float,
    no: int = 1,
) -> Attempt:
    return Attempt(
        task_id=ID,
        no=no,
        step=f"s{no}",
        attempt=number,
        outcome=outcome,
        worker="w",
        enqueued_at=_at(enqueued),
        claimed_at=_at(claimed),
        settled_at=_at(settled),
        error=None,
    )


def _times(
    started: float | None, queued: float, ran: float, backoff: float, parked: float
) -> PhaseDurations:
    return PhaseDurations(
        started_after=started, queued=queued, ran=ran, backoff=backoff, parked=parked
    )


HISTORY = [
    _attempt(1, AttemptOutcome.PARKED, 1, 3, 4),
    _attempt(2, AttemptOutcome.RETRY, 104, 105, 107),
]
DONE = [*HISTORY, _attempt(3, AttemptOutcome.COMPLETE, 112, 112, 113)]


def one(step: Step, history: list[Attempt], now: float) -> TaskTimes:
    return compute_task_times(TASK, [step], history, _at(now))


def test_each_second_of_a_step_is_counted_once() -> None:
    """For attempts that parked, failed and completed, in any order of the history."""
    expected = _times(3, queued=2 + 1, ran=1 + 2 + 1, backoff=5, parked=100)

    for history in (DONE, DONE[::-1]):
        assert TaskTimes(expected, {"s1": expected}) == one(
            _step(StepStatus.COMPLETE, claimed=112), history, 500
        )


def test_the_time_of_an_open_task_counts_until_now() -> None:
    running = _step(StepStatus.IN_PROGRESS, enqueued=112, run_at=112, claimed=120)
    waiting = _step(StepStatus.WAITING, enqueued=4, run_at=4, claimed=3)
    failed = _step(StepStatus.ENQUEUED, enqueued=104, run_at=200, claimed=105)
    due = _step(StepStatus.ENQUEUED, enqueued=104, run_at=110, claimed=105)

    assert _times(3, 3 + 8, 3 + 10, 5, 100) == one(running, HISTORY, 130).task
    assert _times(3, 2, 1, 0, 60) == one(waiting, HISTORY[:1], 64).task
    assert _times(3, 3, 3, 43, 100) == one(failed, HISTORY, 150).task
    assert _times(3, 3 + 40, 3, 3, 100) == one(due, HISTORY, 150).task


def test_queued_time_of_a_step_starts_when_it_is_freed() -> None:
    """
    Its `run_at`, its place in the queue, is that of its parent.
    """
    freed = _step(StepStatus.ENQUEUED, enqueued=90, run_at=0)

    assert _times(None, 10, 0, 0, 0) == one(freed, [], 100).task


@pytest.mark.parametrize("status", [StepStatus.PENDING, StepStatus.SKIPPED, StepStatus.CANCELLED])
def test_a_step_that_was_never_due_took_no_time(status: StepStatus) -> None:
    assert _times(None, 0, 0, 0, 0) == one(_step(status), [], 100).task


def test_the_time_until_a_manual_retry_is_not_backoff() -> None:
    history = [
        _attempt(1, AttemptOutcome.ERROR, 0, 0, 2),
        _attempt(2, AttemptOutcome.COMPLETE, 900, 901, 903),
    ]
    assert _times(0, 1, 4, 0, 0) == one(_step(StepStatus.COMPLETE), history, 999).task


def test_concurrent_steps_count_once_in_the_time_of_a_task() -> None:
    """It counts as the first of: ran, queued, backoff, parked."""
    history = [
        _attempt(1, AttemptOutcome.COMPLETE, 0, 10, 30, no=1),
        _attempt(1, AttemptOutcome.COMPLETE, 0, 20, 40, no=2),
        _attempt(1, AttemptOutcome.PARKED, 0, 5, 6, no=3),
        _attempt(2, AttemptOutcome.COMPLETE, 100, 101, 103, no=3),
    ]
    steps = [_step(StepStatus.COMPLETE, no=no) for no in (1, 2, 3)]
    times = compute_task_times(TASK, steps, history, _at(500))

    assert {
        "s1": _times(10, 10, 20, 0, 0),
        "s2": _times(20, 20, 20, 0, 0),
        "s3": _times(5, 6, 3, 0, 94),
    } == times.steps
    # queued 0-5, ran 5-6, queued 6-10, ran 10-40, parked 40-100, queued 100-101, ran 101-103
    assert _times(5, 10, 33, 0, 60) == times.task


def test_an_attempt_has_its_queued_and_running_time() -> None:
    assert (2, 1) == (HISTORY[0].queued, HISTORY[0].ran)
