"""The statuses in which operator actions are allowed."""

from collections.abc import Collection
from uuid import UUID

from tasker import codec
from tasker.durations import human_duration
from tasker.errors import NotFound, WrongStatus
from tasker.model import (
    STEP_STATUSES,
    JsonText,
    OutcomeCode,
    StepStatus,
    TaskId,
    TaskStatus,
    task_status_from_code,
)
from tasker.store.protocol import StepResolution
from tasker.store.rows import Row

OVERDUE = codec.dumps(
    {"message": "the task did not end before its deadline", "code": "deadline_exceeded"}
)
OPEN = frozenset({TaskStatus.PENDING, TaskStatus.IN_PROGRESS})
FAILED_TASK = frozenset({TaskStatus.ERROR})
RETRYABLE = OPEN | FAILED_TASK
FAILED = frozenset({StepStatus.ERROR})
RESOLVABLE = frozenset(
    {StepStatus.ENQUEUED, StepStatus.IN_PROGRESS, StepStatus.WAITING, StepStatus.ERROR}
)


def queue_timeout_error(seconds: float) -> JsonText:
    """Return the error for a step that was not claimed within its `queue_timeout`."""
    return codec.dumps(
        {
            "type": "QueueTimeout",
            "message": f"no worker claimed the step within {human_duration(seconds)}",
            "code": "queue_timeout",
            "retryable": False,
        }
    )


def canonical_task_id(task_id: str) -> TaskId:
    """Return an id in the form in which stores keep it. Raises NotFound for a malformed one."""
    try:
        return TaskId(str(UUID(task_id)))
    except ValueError:
        raise unknown_task_error(task_id) from None


def unknown_task_error(task_id: str) -> NotFound:
    return NotFound(f"task {task_id} not found")


def require_task_status(
    task_id: TaskId, row: Row | None, action: str, allowed: frozenset[TaskStatus]
) -> TaskStatus:
    """Return the status of a locked task, or raise if the status does not allow the action."""
    if row is None:
        raise unknown_task_error(task_id)
    state = task_status_from_code(row["state"], started=bool(row["started"]))
    if state not in allowed:
        raise WrongStatus(f"task {task_id}", state, action, allowed)
    return state


def require_step_status(
    name: str, code: int, action: str, allowed: frozenset[StepStatus]
) -> StepStatus:
    """Return the status of a locked step, or raise if the status does not allow the action."""
    state = STEP_STATUSES[code]
    if state not in allowed:
        raise WrongStatus(f"step {name}", state, action, allowed)
    return state


def require_any_step_revived(task_id: TaskId, state: TaskStatus, *, revived: bool) -> None:
    """Raise unless a retry of all failed steps revives any."""
    if not revived:
        raise WrongStatus(f"task {task_id}", state, "retry", FAILED_TASK)


def require_steps_exist(
    task_id: TaskId, wanted: Collection[int] | None, present: Collection[int]
) -> None:
    """Raise unless all wanted steps are present."""
    missing = set(wanted or ()) - set(present)
    if missing:
        raise NotFound(f"task {task_id} has no step {', '.join(map(str, sorted(missing)))}")


def resolution_outcome(action: StepResolution) -> tuple[StepStatus, OutcomeCode]:
    """Return the new status and the outcome of a resolution."""
    if action is StepResolution.COMPLETE:
        return StepStatus.COMPLETE, OutcomeCode.COMPLETE
    return StepStatus.RESOLVED_MANUALLY, OutcomeCode.RESOLVED_MANUALLY
