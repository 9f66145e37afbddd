"""Outcomes of waiting for a task."""

from datetime import timedelta

from tasker.errors import StepParked, TaskFailed, WaitCycle, WaitTimeout
from tasker.model import Task, TaskId, TaskStatus


def require_success(task: Task) -> Task:
    """Return an ended task. Raises TaskFailed if it failed or was cancelled."""
    if task.status in (TaskStatus.ERROR, TaskStatus.CANCELLED):
        raise TaskFailed(task)
    return task


def wait_timeout(task: Task, timeout: timedelta) -> WaitTimeout:
    """Return the error for a task that did not end in time."""
    return WaitTimeout(f"task {task.id} is still {task.status} after {timeout}")


def parked_step(task: Task, waiting: TaskId) -> BaseException:
    """Return the exception that parks an attempt of the task `waiting` until another task ends."""
    if task.id == waiting:
        return WaitCycle(waiting, waiting, waiting)
    return StepParked(task.id)
