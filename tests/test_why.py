"""Why a task or a step does not run, by what is known of its steps."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tasker.model import (
    Pause,
    PauseKind,
    Step,
    StepCounts,
    StepStatus,
    StepWait,
    Task,
    TaskId,
    TaskStatus,
    WaitKind,
)
from tasker.why import MOST_REASONS, step_reasons, task_reasons

NOW = datetime(2026, 11, 29, 1, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=34)
TASK = TaskId("00000000-0000-7000-8000-000000000001")
PAUSE = Pause(
    kind=PauseKind.QUEUE,
    namespace="payments",
    name="pay",
    paused_at=NOW,
    paused_by="kim",
    reason="bank closed",
)


def step(status: StepStatus, name: str = "pay", **fields: Any) -> Step:
    values: dict[str, Any] = {
        "task_id": TASK,
        "no": 1,
        "name": name,
        "handler": name,
        "status": status,
        "pending_parents": 0,
        "attempts": 0,
        "max_attempts": 3,
        "run_at": NOW,
        "claimed_at": None,
        "settled_at": None,
        "worker": None,
        "error": None,
        "result": None,
        "checkpoint": None,
        **fields,
    }
    return Step(**values)


def task(status: TaskStatus = TaskStatus.IN_PROGRESS, **fields: Any) -> Task:
    values: dict[str, Any] = {
        "id": TASK,
        "namespace": "payments",
        "name": "refund",
        "version": "1.0.0",
        "status": status,
        "correlation_id": "c",
        "parent_id": None,
        "idempotency_key": None,
        "created_by": "",
        "reason": "",
        "tags": (),
        "created_at": NOW,
        "updated_at": NOW,
        "ended_at": None,
        "deadline": None,
        "counts": StepCounts(),
        "context": {},
        "error": None,
        **fields,
    }
    return Task(**values)


def test_why_states_what_a_step_waits_for() -> None:
    """One sentence for each status; the time only where it ends by itself."""
    error = {"type": "RetryableError", "code": "UNAVAILABLE", "message": "Service Unavailable"}
    cases = [
        (step(StepStatus.COMPLETE), None, "", None),
        (
            step(StepStatus.PENDING, pending_parents=1, dependencies=("check",)),
            "waits_for_steps",
            "pay waits for check.",
            None,
        ),
        (
            step(StepStatus.PENDING, pending_parents=1, dependencies=("check", "open")),
            "waits_for_steps",
            "pay waits for 1 of 2 steps.",
            None,
        ),
        (
            step(
                StepStatus.WAITING_FOR_RETRY,
                attempts=5,  # three were parked
                counted_attempts=2,
                run_at=LATER,
                error=error,
            ),
            "retry_due",
            "pay waits for attempt 3 of 3. UNAVAILABLE: Service Unavailable",
            LATER,
        ),
        (
            step(StepStatus.ENQUEUED, run_at=LATER),
            "scheduled",
            "pay is scheduled to start later.",
            LATER,
        ),
        (
            step(StepStatus.ENQUEUED),
            "ready",
            "pay is ready and waits for a free worker slot.",
            None,
        ),
        (
            step(StepStatus.ENQUEUED, no_worker=True),
            "no_worker",
            "pay is ready, but no live worker serves the handler pay.",
            None,
        ),
        (
            step(StepStatus.IN_PROGRESS, attempts=1, worker="vm:1"),
            "running",
            "pay runs, attempt 1.",
            None,
        ),
        (
            step(StepStatus.WAITING, waits_for=TASK, run_at=None),
            "waits_for_task",
            f"pay waits for the task {TASK}.",
            None,
        ),
        (
            step(
                StepStatus.WAITING,
                run_at=None,
                waits=(
                    StepWait(
                        kind=WaitKind.APPROVAL,
                        name="approval",
                        approval="0199",
                        assignees=("user:ann", "role:managers"),
                    ),
                ),
            ),
            "waits_for_signal",
            "pay waits for an approval by user:ann or role:managers"
            " (`tasker approval decide 0199 JSON`).",
            None,
        ),
        (
            step(StepStatus.WAITING, run_at=None, waits_until=LATER),
            "sleeping",
            "pay sleeps.",
            LATER,
        ),
        (
            step(StepStatus.ERROR, attempts=3, error=error),
            "failed",
            "pay failed permanently after 3 attempts. UNAVAILABLE: Service Unavailable",
            None,
        ),
    ]
    for one, code, text, until in cases:
        reasons = step_reasons(one, NOW)
        expected = [] if code is None else [(code, text, until)]
        assert expected == [(each.code, each.text, each.until) for each in reasons]


def test_a_pause_is_listed_before_other_reasons() -> None:
    """It has the actor and the reason."""
    first, second = step_reasons(step(StepStatus.ENQUEUED, pause=PAUSE), NOW)

    assert "The queue of pay is paused by kim: bank closed." == first.text
    assert ("paused", "kim", "ready") == (first.code, first.actor, second.code)


def test_why_lists_first_what_needs_a_person() -> None:
    """Failures before retries before what runs; steps that only follow are left out."""
    steps = [
        step(StepStatus.IN_PROGRESS, "a", attempts=1),
        step(StepStatus.WAITING_FOR_RETRY, "b", attempts=1, run_at=LATER),
        step(StepStatus.ERROR, "c", attempts=1),
        step(StepStatus.PENDING, "d", pending_parents=1, dependencies=("c",)),
    ]
    reasons = task_reasons(task(deadline=LATER), steps, NOW)

    assert ["failed", "retry_due", "running", "deadline"] == [one.code for one in reasons]


def test_why_says_which_limit_holds_a_task_up() -> None:
    reason = "stripe has 5 of 5 steps running; steps ahead: 0"
    limited = step(StepStatus.ENQUEUED, limit_reason=reason)

    (only,) = task_reasons(task(), [limited], NOW)
    assert ("limit", f"pay waits for a limit: {reason}.") == (only.code, only.text)


def test_an_ended_task_has_one_reason() -> None:
    """Unless it failed: that is explained."""
    assert ["ended"] == [one.code for one in task_reasons(task(TaskStatus.COMPLETE), [], NOW)]
    failed = [step(StepStatus.ERROR, attempts=1)]
    assert ["failed"] == [one.code for one in task_reasons(task(TaskStatus.ERROR), failed, NOW)]


def test_the_number_of_reasons_is_bounded() -> None:
    """However many steps there are."""
    many = [step(StepStatus.ENQUEUED, f"s{no}") for no in range(10_000)]

    assert MOST_REASONS == len(task_reasons(task(), many, NOW))
