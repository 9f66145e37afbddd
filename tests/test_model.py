"""The values that everything else speaks of."""

from datetime import UTC, datetime, timedelta

import pytest

from tasker.model import (
    ATTEMPT_OUTCOMES,
    STEP_DONE,
    STEP_ENDED,
    STEP_STATUSES,
    TASK_ENDED,
    AttemptOutcome,
    Claim,
    JsonText,
    Retry,
    SchemaStatus,
    StatusCode,
    Step,
    StepCounts,
    StepOverride,
    StepSpec,
    StepStatus,
    TaskId,
    TaskStatus,
    Template,
    completed_outcome,
    failed_outcome,
    lost_outcome,
    released_outcome,
    retry_outcome,
    task_status_from_code,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CLAIM = Claim(TaskId("t"), 3, 5, 2)
ERROR = JsonText('{"message":"x"}')


def template(**fields: object) -> Template:
    steps = (StepSpec(name="a", config={"url": "x", "n": 1}), StepSpec(name="b", callable="B.c"))
    return Template(namespace="n", name="t", version="1.0.0", steps=steps, **fields)  # type: ignore[arg-type]


def step(**fields: object) -> Step:
    values: dict[str, object] = {
        "task_id": "t",
        "no": 1,
        "name": "a",
        "status": StepStatus.ENQUEUED,
        "attempts": 1,
        "run_at": NOW,
        "pending_parents": 0,
        **dict.fromkeys(("claimed_at", "settled_at", "worker", "result", "error", "checkpoint")),
        **fields,
    }
    return Step(**values)  # type: ignore[arg-type]


def test_a_template_has_three_forms_of_its_name() -> None:
    """
    Namespace, name and version, in one text.
    """
    assert ("n", "t", "1.0.0") == template().key
    assert "n.t@1.0.0" == template().full_name == str(template().key)


def test_a_step_is_found_by_its_name() -> None:
    """Its handler is its callable, or the handler with its name."""
    assert ["a", "B.c"] == [template().step(name).handler for name in ("a", "b")]
    with pytest.raises(KeyError):
        template().step("c")


def test_an_environment_overrides_only_the_named_fields() -> None:
    """Configuration key by key, retry and timeout as a whole; other fields are unchanged."""
    slow = Retry(max_attempts=9)
    override = StepOverride(config={"url": "y", "m": 2}, retry=slow, timeout=timedelta(seconds=5))
    given = template(environments={"test": {"a": override, "b": StepOverride()}})

    tested = given.for_environment("test")

    changed = tested.step("a")
    assert ({"url": "y", "n": 1, "m": 2}, slow, timedelta(seconds=5)) == (
        changed.config,
        changed.retry,
        changed.timeout,
    )
    assert given.step("b") == tested.step("b")
    assert given.key == tested.key
    assert {"url": "x", "n": 1} == given.step("a").config


@pytest.mark.parametrize("environment", [None, "", "production"])
def test_an_empty_environment_changes_nothing(environment: str | None) -> None:
    """
    The template itself is returned.
    """
    given = template(environments={"test": {"a": StepOverride(config={})}})

    assert given.for_environment(environment) is given


def test_codes_are_the_numbers_of_the_statuses() -> None:
    """Stores keep these numbers; they never change."""
    assert list(range(9)) == [code.value for code in StatusCode]
    assert [code.name for code in StatusCode] == [state.name for state in STEP_STATUSES]
    assert [
        "complete",
        "retry",
        "error",
        "lost",
        "released",
        "cancelled",
        "resolved_manually",
        "parked",
        "skipped",
    ] == [outcome.value for outcome in ATTEMPT_OUTCOMES]


def test_an_open_task_is_pending_until_its_first_attempt() -> None:
    """Other states are shown as stored."""
    assert TaskStatus.PENDING == task_status_from_code(0, started=False)
    assert TaskStatus.IN_PROGRESS == task_status_from_code(0, started=True)
    for code in (
        StatusCode.COMPLETE,
        StatusCode.ERROR,
        StatusCode.CANCELLED,
        StatusCode.RESOLVED_MANUALLY,
    ):
        assert (
            code.name.lower()
            == task_status_from_code(code, started=True)
            == task_status_from_code(code, started=False)
        )


def test_statuses_are_classified_as_done_and_ended() -> None:
    """Done steps free their children; ended tasks change only by operators."""
    assert {"complete", "resolved_manually", "skipped"} == STEP_DONE
    assert STEP_DONE | {"error", "cancelled"} == STEP_ENDED
    assert set(TaskStatus) - {"pending", "in_progress"} == TASK_ENDED


def test_counts_of_steps_add_up() -> None:
    counts = StepCounts(
        pending=1,
        enqueued=2,
        waiting_for_retry=4,
        in_progress=8,
        waiting=16,
        complete=32,
        error=64,
        cancelled=128,
        skipped=256,
        resolved_manually=512,
    )

    assert (1023, 32 + 256 + 512) == (counts.total, counts.done)
    assert (0, 0) == (StepCounts().total, StepCounts().done)


def test_a_step_with_a_scheduled_retry_waits_for_it() -> None:
    """
    Enqueued, failed before, and not due yet. Without a failure it sleeps.
    """
    later = NOW + timedelta(seconds=1)
    error = {"type": "ValueError"}

    assert step(run_at=later, error=error).is_waiting_for_retry(NOW)
    assert not step(run_at=later).is_waiting_for_retry(NOW)
    assert step(run_at=later).is_sleeping(NOW)
    assert not step(run_at=NOW, error=error).is_waiting_for_retry(NOW)
    assert not step(run_at=later, error=error, attempts=0).is_waiting_for_retry(NOW)
    running = step(run_at=later, error=error, status=StepStatus.IN_PROGRESS)
    assert not running.is_waiting_for_retry(NOW)
    assert not step(run_at=None, error=error).is_waiting_for_retry(NOW)


def test_outcomes_contain_the_fence() -> None:
    """With the fields that their constructors set."""
    outcomes = {
        AttemptOutcome.COMPLETE: completed_outcome(CLAIM, JsonText("1")),
        AttemptOutcome.RETRY: retry_outcome(CLAIM, ERROR, timedelta(minutes=1)),
        AttemptOutcome.ERROR: failed_outcome(CLAIM, ERROR),
        AttemptOutcome.LOST: lost_outcome(CLAIM, ERROR, timedelta(seconds=0.5)),
        AttemptOutcome.RELEASED: released_outcome(CLAIM),
    }

    for kind, outcome in outcomes.items():
        assert CLAIM[:3] == outcome[:3]
        assert kind == ATTEMPT_OUTCOMES[outcome.outcome]
    assert [0, 60, 0, 0.5, 0] == [outcome.delay for outcome in outcomes.values()]
    assert ["1", None, None, None, None] == [outcome.result for outcome in outcomes.values()]
    assert [None, ERROR, ERROR, ERROR, None] == [outcome.error for outcome in outcomes.values()]


def test_a_schema_is_ready_when_no_migration_is_missing() -> None:
    """Older and newer schemas are not ready."""
    assert [True, False, False] == [SchemaStatus(current, 2).is_ready for current in (2, 1, 3)]
