"""How a task stands, without its context and results: safe to show to anybody who may look."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.api.views.steps import step_readiness
from tasker.api.views.tasks import TaskHead, task_head
from tasker.client.templates import LoadedTemplate
from tasker.model import STEP_ENDED, Step, StepSpec, Task


@documented
class SummaryError(TypedDict):
    """What kind of error a step ended with; without its message, which may quote data."""

    error_type: str | None
    code: str | None
    retryable: bool
    """Whether another attempt follows by itself."""
    status_code: int | None
    """Always null."""


class SummaryStep(TypedDict):
    step_uuid: str
    no: int
    name: str
    current_state: str
    created_at: datetime
    completed_at: datetime | None
    last_attempted_at: datetime | None
    attempts: int
    max_attempts: int
    dependencies_satisfied: bool
    retry_eligible: bool
    error: SummaryError | None


class SummarySpec(TypedDict):
    name: str
    step_type: str
    handler: str
    dependencies: list[str]
    retryable: bool
    max_attempts: int


class SummaryTemplate(TypedDict):
    steps: list[SummarySpec]


class SummaryLinks(TypedDict):
    task: str
    steps: str


class SummaryAnswer(TypedDict):
    """How a task stands."""

    task: TaskHead
    template: SummaryTemplate
    steps: list[SummaryStep]
    links: SummaryLinks


def summary_answer(
    task: Task, shape: LoadedTemplate, steps: Sequence[Step], now: datetime
) -> SummaryAnswer:
    """Write how a task stands."""
    return {
        "task": task_head(task),
        "template": {"steps": [_spec(spec) for spec in shape.stored.template.steps]},
        "steps": [_step(task, shape, step, now) for step in steps],
        "links": {"task": f"/v1/tasks/{task.id}", "steps": f"/v1/tasks/{task.id}/steps"},
    }


def _spec(spec: StepSpec) -> SummarySpec:
    return {
        "name": spec.name,
        "step_type": "standard",
        "handler": spec.handler,
        "dependencies": list(spec.dependencies),
        "retryable": spec.retry.retryable,
        "max_attempts": spec.retry.max_attempts,
    }


def _step(task: Task, shape: LoadedTemplate, step: Step, now: datetime) -> SummaryStep:
    ready = step_readiness(task, shape, step, now)
    return {
        "step_uuid": ready["workflow_step_uuid"],
        "no": step.no,
        "name": step.name,
        "current_state": ready["current_state"],
        "created_at": task.created_at,
        "completed_at": step.settled_at if step.status in STEP_ENDED else None,
        "last_attempted_at": step.claimed_at,
        "attempts": step.attempts,
        "max_attempts": ready["max_attempts"],
        "dependencies_satisfied": ready["dependencies_satisfied"],
        "retry_eligible": ready["retry_eligible"],
        "error": None if step.error is None else _error(step.error, step),
    }


def _error(error: Mapping[str, Any], step: Step) -> SummaryError:
    return {
        "error_type": error.get("type"),
        "code": error.get("code"),
        "retryable": step.status not in STEP_ENDED,
        "status_code": None,
    }
