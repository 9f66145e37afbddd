"""Progress, from events to what is shown."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console
from tests.cli.conftest import uncoded

from tasker import codec
from tasker.approvals import NewApproval
from tasker.cli.render.progress import TaskProgressDisplay
from tasker.cli.render.style import make_console
from tasker.durable import DurableCallKind
from tasker.model import (
    AttemptOutcome,
    JsonText,
    Retry,
    Step,
    StepCounts,
    StepSpec,
    StepStatus,
    Task,
    TaskId,
    TaskStatus,
    Template,
    WaitKind,
)
from tasker.notices import (
    EventLoopBlocked,
    Notice,
    SettlementRejected,
    StepSettled,
    StepStarted,
    StepWaiting,
    TaskEnded,
)
from tasker.waits import AwaitedArrival, NewWait, ParkedForArrival, make_step_waits

TEMPLATE = Template(
    namespace="shop",
    name="sell",
    version="1.0.0",
    steps=(
        StepSpec(name="pay", retry=Retry(max_attempts=4)),
        StepSpec(name="ship", dependencies=("pay",), retry=Retry(retryable=False)),
    ),
)
ID = TaskId("01900000-0000-7000-8000-00000000abcd")
TASK = Task(
    id=ID,
    **TEMPLATE.key._asdict(),
    status=TaskStatus.PENDING,
    context={},
    correlation_id="order-7",
    parent_id=None,
    idempotency_key=None,
    created_by="",
    reason="",
    tags=(),
    created_at=datetime.now(UTC),
    ended_at=None,
    deadline=None,
    error=None,
    counts=StepCounts(enqueued=1, pending=1),
    updated_at=datetime.now(UTC),
)


NO_TIME = timedelta(0)


def _facts(step: str, attempt: int, task_id: str = ID, correlation: str = "order-7") -> Any:
    return {
        "task_id": TaskId(task_id),
        "template": TEMPLATE.key,
        "step": step,
        "attempt": attempt,
        "correlation_id": correlation,
    }


def started(step: str, attempt: int = 1, **other: str) -> StepStarted:
    return StepStarted(**_facts(step, attempt, **other), queued_for=NO_TIME, parked_for=NO_TIME)


def settled(
    step: str, outcome: str, attempt: int = 1, *, error: str = "", delay: float = 0
) -> StepSettled:
    text = codec.dumps({"type": "ValueError", "message": error}) if error else None
    return StepSettled(
        **_facts(step, attempt),
        outcome=AttemptOutcome(outcome),
        ran_for=timedelta(seconds=2),
        error=text,
        delay=timedelta(seconds=delay),
    )


def printed(*events: Notice, add: bool = True, **options: Any) -> list[str]:
    """Show events line by line; return the lines without the symbol and name before them."""
    file = io.StringIO()
    with TaskProgressDisplay(make_console(file=file), templates=[TEMPLATE], **options) as progress:
        if add:
            progress.follow_task(TASK)
        for event in events:
            progress.observe(event)
    return [line.split(" ", 2)[2] for line in file.getvalue().splitlines()][add:]


def test_attempts_and_retries_are_reported_line_by_line() -> None:
    assert [
        "pay started (attempt 1)",
        "pay failed after 2 s (attempt 1), retrying in 1 min 30 s: ValueError: no money",
        "pay started again (attempt 2)",
        "pay complete in 2 s (attempt 2)",
        "ship started",
        "ship failed permanently after 2 s: ValueError: no lorry",
    ] == printed(
        started("pay"),
        settled("pay", "retry", error="no money", delay=90),
        started("pay", 2),
        settled("pay", "complete", 2),
        started("ship"),
        settled("ship", "error", error="no lorry"),
    )


def test_every_attempt_has_its_own_number() -> None:
    """
    Those that were parked or released too, as in the list of attempts.
    """
    waiting = StepWaiting(**_facts("pay", 1), awaits=TaskId("the-child"), ran_for=NO_TIME)

    assert [
        "pay started (attempt 1)",
        "pay waits for task the-child",
        "pay started again (attempt 2)",
        "pay released at shutdown",
        "pay started again (attempt 3)",
        "pay was no longer held by this worker; the outcome was discarded",
    ] == printed(
        started("pay"),
        waiting,
        started("pay", 2),
        settled("pay", "released", 2),
        started("pay", 3),
        SettlementRejected(**_facts("pay", 3)),
    )


def test_a_wait_for_an_approval_names_its_assignees_and_the_command() -> None:
    approval = NewApproval("0199", JsonText("{}"), ["role:managers"])
    awaited = [AwaitedArrival(WaitKind.APPROVAL, "approval")]
    wait = NewWait("approval", DurableCallKind.WAIT_APPROVAL, awaited, approval=approval)
    waits = make_step_waits(ParkedForArrival(wait))

    assert [
        "pay waits for an approval by role:managers (`tasker approval decide 0199 JSON`)"
    ] == printed(StepWaiting(**_facts("pay", 1), awaits=None, ran_for=NO_TIME, waits=waits))


def test_events_that_arrive_before_their_task_are_kept() -> None:
    file = io.StringIO()
    with TaskProgressDisplay(make_console(file=file), templates=[TEMPLATE]) as progress:
        progress.observe(started("pay"))
        progress.observe(settled("pay", "complete"))
        before = file.getvalue()
        progress.follow_task(TASK, label="the order")

    assert "" == before
    assert ["○ the order shop.sell@1.0.0 is task " + ID, "● the order pay started (attempt 1)"
            ] == file.getvalue().splitlines()[:2]  # fmt: skip


def test_tasks_of_the_same_correlation_are_followed_and_others_are_not() -> None:
    lines = printed(
        started("pay", task_id="a-child"),
        started("pay", task_id="a-stranger", correlation="order-8"),
    )

    assert ["shop.sell@1.0.0 is task a-child", "pay started (attempt 1)"] == lines


def test_all_tasks_can_be_followed_until_they_end() -> None:
    progress = TaskProgressDisplay(make_console(file=io.StringIO()), everything=True)
    for task in ("a", "b"):
        progress.observe(started("pay", task_id=task, correlation=task))
    assert {"a", "b"} == set(progress.tasks)

    progress.observe(TaskEnded(TaskId("a"), TaskStatus.COMPLETE))
    assert {"b"} == set(progress.tasks)


def test_a_blocked_loop_is_reported() -> None:
    file = io.StringIO()
    with TaskProgressDisplay(make_console(file=file)) as progress:
        progress.observe(EventLoopBlocked(ID, "pay", timedelta(seconds=3)))

    assert "the handler of step pay has blocked the event loop for 3 s so far\n" == file.getvalue()


def _step(name: str, state: StepStatus, **more: Any) -> Step:
    now = datetime.now(UTC)
    empty = dict.fromkeys(("run_at", "claimed_at", "settled_at", "worker", "result", "error"))
    values = {
        "task_id": ID,
        "no": 1,
        "name": name,
        "status": state,
        "attempts": 1,
        "counted_attempts": 1,
        "pending_parents": 0,
    }
    return Step(**{**values, **empty, "checkpoint": None, "claimed_at": now, **more})


def test_progress_shows_each_change_in_the_store() -> None:
    file = io.StringIO()
    with TaskProgressDisplay(make_console(file=file), templates=[TEMPLATE]) as progress:
        progress.follow_task(TASK)
        running = [_step("pay", StepStatus.IN_PROGRESS)]
        progress.update_from_stored_state(replace(TASK, status=TaskStatus.IN_PROGRESS), running)
        progress.update_from_stored_state(replace(TASK, status=TaskStatus.IN_PROGRESS), running)
        failed = [_step("pay", StepStatus.ERROR, error={"type": "ValueError", "message": "no"})]
        now = datetime.now(UTC)
        progress.update_from_stored_state(
            replace(TASK, status=TaskStatus.ERROR, ended_at=now), failed
        )

    lines = file.getvalue().splitlines()
    assert ["in_progress (attempt 1)", "error (attempt 1): ValueError: no"] == [
        line.partition(" pay ")[2] for line in lines[1:3]
    ]
    assert "error after" in lines[3]


def _pictured(progress: TaskProgressDisplay, console: Console, file: io.StringIO) -> str:
    with progress:
        pass
    assert console.is_terminal
    return uncoded(file.getvalue())


@pytest.fixture
def screen() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=True, no_color=True, width=100, height=12), file


def test_a_terminal_shows_all_steps_with_their_state(
    screen: tuple[Console, io.StringIO],
) -> None:
    console, file = screen
    progress = TaskProgressDisplay(console, templates=[TEMPLATE])
    progress.follow_task(TASK)
    progress.observe(started("pay"))
    progress.observe(settled("pay", "retry", error="no money", delay=600))
    picture = _pictured(progress, console, file)

    assert "shop.sell 1.0.0  0/2" in picture
    assert "↻  pay" in picture
    assert "retries in 10 min: ValueError: no money" in picture or "retries in 9 min" in picture
    assert "○  ship" in picture


def test_a_task_with_many_steps_shows_the_significant_ones(
    screen: tuple[Console, io.StringIO],
) -> None:
    many = replace(TEMPLATE, steps=tuple(StepSpec(name=f"step_{no}") for no in range(5000)))
    console, file = screen
    progress = TaskProgressDisplay(console, templates=[many])
    progress.follow_task(TASK)
    progress.observe(started("step_4321"))
    progress.observe(settled("step_4321", "error", error="lost"))
    picture = _pictured(progress, console, file)

    assert "✗  step_4321" in picture
    assert "pending" in picture
    assert len(picture.splitlines()) < 300
