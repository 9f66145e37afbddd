"""Steps in responses."""

from datetime import datetime
from typing import Any

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.client.templates import LoadedTemplate
from tasker.model import Pause, Step, StepStatus, TaskId
from tasker.times import Timeline, Times


@documented
class StepSummary(TypedDict):
    """A step without its data (result, checkpoint and error)."""

    task_id: str
    no: int
    """Its number in the template's order, from 1."""
    name: str
    handler: str
    status: str
    """`pending`, `enqueued`, `waiting_for_retry`, `in_progress`, `waiting`, `complete`, `error`,
    `cancelled`, `skipped` or `resolved_manually`."""
    ready: bool
    """Whether a worker may claim it now."""
    no_worker: bool
    """Whether it is due and no live worker can run it."""
    no_worker_reason: str | None
    """What live workers lack to run it: the handler, its version, a label, or the binding to the
    namespace; null unless `no_worker`."""
    pause: Pause | None
    """A pause that holds it up: of its namespace, its handler's queue, its task or its template."""
    dependencies: list[str]
    pending_parents: int
    """Dependencies that are not done yet."""
    waits_for: TaskId | None
    """The task whose end it awaits while `waiting`."""
    attempts: int
    """Attempts made, 0 before the first."""
    counted_attempts: int
    """Attempts that count against `max_attempts`: without those that were parked, handed back or
    lost, and those before a reset."""
    lost_attempts: int
    """Attempts that ended with their worker, since the last reset."""
    max_attempts: int
    enqueued_at: datetime | None
    """Since when all its dependencies are done; of an attempt that runs: when it was due."""
    run_at: datetime | None
    """Not claimable before then: a delay, or the next attempt."""
    claimed_at: datetime | None
    settled_at: datetime | None
    worker: str | None


@documented
class StepOverview(StepSummary):
    """A step in its task's list, with the error of its last attempt."""

    error: Any
    """Type, message, code and details; null unless the last attempt failed."""
    times: Times | None
    """Times by phase, in seconds; null in responses of earlier servers' routes."""


@documented
class StepView(StepOverview):
    """One step of one task."""

    result: Any
    checkpoint: Any


def step_summary(loaded: LoadedTemplate, step: Step, now: datetime) -> StepSummary:
    """Return a step without its data."""
    spec = loaded.stored.template.steps[step.no - 1]
    return {
        "task_id": step.task_id,
        "no": step.no,
        "name": step.name,
        "handler": spec.handler,
        "status": "waiting_for_retry" if step.waiting_for_retry(now) else step.status.value,
        "ready": is_ready(step, now),
        "no_worker": step.no_worker,
        "no_worker_reason": step.no_worker_reason,
        "pause": step.pause,
        "dependencies": list(spec.dependencies),
        "pending_parents": step.pending_parents,
        "waits_for": step.waits_for,
        "attempts": step.attempts,
        "counted_attempts": step.counted_attempts,
        "lost_attempts": step.lost_attempts,
        "max_attempts": max_attempts(loaded, step),
        "enqueued_at": step.enqueued_at,
        "run_at": step.run_at,
        "claimed_at": step.claimed_at,
        "settled_at": step.settled_at,
        "worker": step.worker,
    }


def step_overview(
    loaded: LoadedTemplate, step: Step, now: datetime, timeline: Timeline | None = None
) -> StepOverview:
    """Return a step for its task's list."""
    return {
        **step_summary(loaded, step, now),
        "error": step.error,
        "times": timeline and timeline.steps[step.name],
    }


def step_view(loaded: LoadedTemplate, step: Step, now: datetime, timeline: Timeline) -> StepView:
    """Return a step in full."""
    return {
        **step_overview(loaded, step, now, timeline),
        "result": step.result,
        "checkpoint": step.checkpoint,
    }


def is_ready(step: Step, now: datetime) -> bool:
    """Return whether a worker may claim a step."""
    due = step.run_at is None or step.run_at <= now
    return step.status is StepStatus.ENQUEUED and due and step.pause is None


def max_attempts(loaded: LoadedTemplate, step: Step) -> int:
    """Return how many attempts a step has."""
    retry = loaded.stored.template.steps[step.no - 1].retry
    return max(1, retry.max_attempts) if retry.retryable else 1
