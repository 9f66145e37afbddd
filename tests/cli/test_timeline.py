"""Where a task's time went, computed from its history."""

from datetime import UTC, datetime, timedelta

from tasker.cli.render.timeline import StepTimes, counted_attempts, step_times
from tasker.model import (
    Attempt,
    AttemptOutcome,
    Step,
    StepCounts,
    StepStatus,
    Task,
    TaskId,
    TaskStatus,
    TemplateName,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
ID = TaskId("00000000-0000-7000-8000-000000000000")


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _task() -> Task:
    return Task(
        id=ID,
        template=TemplateName("shop", "sell", "1.0.0"),
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
    )


def _step(status: StepStatus, attempts: int, claimed_at: datetime | None) -> Step:
    return Step(
        task_id=ID,
        no=1,
        name="charge",
        status=status,
        attempts=attempts,
        run_at=None,
        claimed_at=claimed_at,
        settled_at=None,
        worker=None,
        result=None,
        error=None,
        checkpoint=None,
        pending_parents=0,
    )


def _attempt(number: int, outcome: AttemptOutcome, *, at: tuple[float, float, float]) -> Attempt:
    enqueued, claimed, settled = at
    return Attempt(
        task_id=ID,
        no=1,
        step="charge",
        attempt=number,
        outcome=outcome,
        worker="w",
        enqueued_at=_at(enqueued),
        claimed_at=_at(claimed),
        settled_at=_at(settled),
        error=None,
    )


HISTORY = [
    _attempt(1, AttemptOutcome.PARKED, at=(1, 3, 4)),
    _attempt(2, AttemptOutcome.RETRY, at=(104, 105, 107)),
]


def test_each_second_of_a_step_is_counted_once() -> None:
    third = _step(StepStatus.IN_PROGRESS, 3, _at(120))
    [times] = step_times(_task(), [third], HISTORY, _at(130))

    expected = StepTimes(
        step="charge", started_after=3, queued=3, ran=1 + 2 + 10, backoff=0, parked=100
    )
    assert expected == times


def test_the_gap_after_a_failed_attempt_is_backoff() -> None:
    history = [*HISTORY, _attempt(3, AttemptOutcome.COMPLETE, at=(112, 112, 113))]
    [times] = step_times(_task(), [_step(StepStatus.COMPLETE, 3, _at(112))], history, _at(500))

    assert (5, 100, 4) == (times.backoff, times.parked, times.ran)


def test_a_step_that_waits_is_parked_until_now() -> None:
    waiting = _step(StepStatus.WAITING, 1, None)
    [times] = step_times(_task(), [waiting], HISTORY[:1], _at(64))

    assert (60, 1, 2) == (times.parked, times.ran, times.queued)


def test_parked_attempts_do_not_count_as_attempts() -> None:
    assert 2 == counted_attempts(_step(StepStatus.IN_PROGRESS, 3, _at(120)), HISTORY)
