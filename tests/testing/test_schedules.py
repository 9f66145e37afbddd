"""`run_schedules`: days of schedules in milliseconds."""

from datetime import UTC, datetime

from tasker import Workflow
from tasker.clock import ManualClock
from tasker.model import Schedule, TaskStatus
from tasker.testing import run_schedules_sync, run_workflow_sync

NIGHTLY = Schedule(
    name="nightly",
    cron="30 2 * * *",
    timezone="Europe/Berlin",
    context={"day": "{tick.date}"},
)


def reports() -> Workflow:
    workflow: Workflow = Workflow("reports.daily", version="1.0.0", schedules=[NIGHTLY])

    @workflow.step
    def collect(day: str) -> str:
        return f"report of {day}"

    return workflow


def test_a_week_of_ticks_runs_in_virtual_time() -> None:
    clock = ManualClock(datetime(2026, 3, 27, tzinfo=UTC))

    run = run_schedules_sync(reports(), lasting="4d", clock=clock)

    assert ["27 01:30", "28 01:30", "29 01:00", "30 00:30"] == [
        f"{task.scheduled_for:%d %H:%M}" for task in run.tasks
    ]
    assert {TaskStatus.COMPLETE} == {task.status for task in run.tasks}
    assert "report of 2026-03-27" == run.tasks[0].result
    assert {"reports.daily.nightly": []} == run.records


def test_running_one_task_starts_no_schedule() -> None:
    run = run_workflow_sync(reports(), {"day": "2026-01-01"})

    assert "report of 2026-01-01" == run.result


def test_a_workflow_declares_its_schedules() -> None:
    assert (NIGHTLY,) == reports().template.schedules
