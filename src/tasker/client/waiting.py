"""What waiting for a task leads to, wherever it runs."""

from datetime import timedelta

from tasker.errors import Misuse, StepParked, TaskFailed, WaitTimeout
from tasker.model import Task, TaskId, TaskStatus


def require_success(task: Task) -> Task:
    """Tell a task that ended; raise TaskFailed where it failed or was cancelled."""
    if task.status in (TaskStatus.ERROR, TaskStatus.CANCELLED):
        why = (task.error or {}).get("message", "")
        raise TaskFailed(f"task {task.id} ended as {task.status}: {why}".rstrip(": "), task)
    return task


def still_open(task: Task, timeout: timedelta) -> WaitTimeout:
    """Make the error for a task that did not end in time."""
    return WaitTimeout(f"task {task.id} is still {task.status} after {timeout}")


def parked(task: Task, waiting: TaskId) -> BaseException:
    """Tell how an attempt of the task `waiting` waits for one that is open: for its own, never."""
    if task.id == waiting:
        return Misuse(f"a step of task {waiting} cannot wait for its own task to end")
    return StepParked(task.id)
