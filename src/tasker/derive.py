"""Derives statuses from a task's step counts, for the API and the UI. Pure."""

from dataclasses import dataclass

from tasker.model import StepCounts, Task, TaskStatus


@dataclass(frozen=True, kw_only=True)
class DerivedStatuses:
    """The statuses of a task that are computed from its own status and its steps' statuses."""

    execution_status: str
    """The task's status: `blocked_by_failures`, `paused`, `no_worker`, `has_ready_steps`,
    `processing`, `all_complete`, `waiting_for_retry`, `waiting_for_dependencies` or `cancelled`."""

    recommended_action: str
    """The engine's next action, or the action that an operator should take (`handle_failures`,
    `resume`, `start_worker`)."""

    health_status: str
    """The task's health: `healthy`, `recovering` (a step waits for a retry), `blocked` or
    `unknown`."""

    completion_percentage: float
    """Percentage of the steps that are done, rounded to 2 decimal places."""


_ACTIONS = {
    "blocked_by_failures": "handle_failures",
    "paused": "resume",
    "no_worker": "start_worker",
    "has_ready_steps": "execute_ready_steps",
    "processing": "wait_for_completion",
    "all_complete": "finalize_task",
    "waiting_for_retry": "wait_for_retry",
    "waiting_for_dependencies": "wait_for_dependencies",
    "cancelled": "none",
}
_SETTLED = frozenset({TaskStatus.COMPLETE, TaskStatus.RESOLVED_MANUALLY})


def derive_statuses(task: Task) -> DerivedStatuses:
    """Return the statuses that a task's own status and its steps' statuses imply."""
    status = execution_status(task.counts, task.status, paused=bool(task.pauses))
    return DerivedStatuses(
        execution_status=status,
        recommended_action=recommended_action(status, task.status),
        health_status=health_status(task.counts, task.status),
        completion_percentage=completion_percentage(task.counts),
    )


def execution_status(counts: StepCounts, state: TaskStatus, *, paused: bool = False) -> str:
    """Return the execution status of a task: the first one that applies."""
    if state in _SETTLED:
        return "all_complete"
    if state is TaskStatus.CANCELLED:
        return "cancelled"
    if counts.error:
        return "blocked_by_failures"
    if paused:
        return "paused"
    if counts.no_worker:
        return "no_worker"
    if counts.enqueued:
        return "has_ready_steps"
    if counts.in_progress:
        return "processing"
    if counts.total and counts.done == counts.total:
        return "all_complete"
    if counts.waiting_for_retry:
        return "waiting_for_retry"
    return "waiting_for_dependencies"


def recommended_action(status: str, state: TaskStatus) -> str:
    """Return the recommended action, or `none` if the task needs none."""
    return "none" if state in _SETTLED else _ACTIONS[status]


def health_status(counts: StepCounts, state: TaskStatus) -> str:
    """Return the health status, which says whether a task needs attention."""
    if state in _SETTLED:
        return "healthy"
    if state is TaskStatus.CANCELLED or not counts.total:
        return "unknown"
    if counts.error or counts.no_worker or state is TaskStatus.ERROR:
        return "blocked"
    return "recovering" if counts.waiting_for_retry else "healthy"


def completion_percentage(counts: StepCounts) -> float:
    """Return the percentage of steps that are done, or 0 for a task without steps."""
    total = counts.total
    return round(100 * counts.done / total, 2) if total else 0.0
