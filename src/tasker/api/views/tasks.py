"""Tasks and steps in responses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import TypedDict

from tasker.api.views import convert_to_view, documented
from tasker.derive import DerivedStatuses, derive_statuses
from tasker.model import (
    CurrentStep,
    PhaseDurations,
    Step,
    StepOverview,
    StepSummary,
    Task,
    TaskSummary,
)


@dataclass(frozen=True, kw_only=True)
class TaskSummaryView(DerivedStatuses, TaskSummary):
    """A task without its data: context, result and errors."""


@dataclass(frozen=True, kw_only=True)
class TaskView(DerivedStatuses, Task):
    """A task with its times and steps."""

    times: PhaseDurations | None
    """How long the task was in each phase. Each moment counts once: as `ran` if any step ran then,
    otherwise as `queued`, `backoff` or `parked`, in this order. Null in lists and in responses to
    creation requests."""

    steps: Sequence[StepOverview]
    """The steps in the template's order; empty in lists and in responses to creation requests."""

    current: CurrentStep | None
    """The step that best describes the task's state; null unless a list was requested with
    `current=true`."""


@documented
class Pagination(TypedDict):
    """The position of the next page of a list."""

    next_cursor: str | None
    """The `cursor` of the next page; null on the last one."""
    has_next: bool
    limit: int


@documented
class TaskList(TypedDict):
    """Tasks, newest first."""

    tasks: list[TaskView]
    pagination: Pagination


@documented
class TasksCreated(TypedDict):
    """Tasks created in bulk, in request order."""

    tasks: list[TaskView]
    created: int
    """Number of new tasks; the other tasks already existed under their idempotency keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepErrorSummary:
    """The kind of a step's error, without the message, which may quote data."""

    type: str | None
    code: str | None


@dataclass(frozen=True, kw_only=True)
class SummaryStep(StepSummary):
    """A step in a task's summary."""

    error: StepErrorSummary | None


class TaskWithStepsSummaryView(TypedDict):
    """The statuses of a task and its steps, without their data."""

    task: TaskSummaryView
    steps: list[SummaryStep]


def task_view(
    task: Task,
    steps: Iterable[Step] = (),
    times: PhaseDurations | None = None,
    current: CurrentStep | None = None,
) -> TaskView:
    """Return a task in full, with its steps if they are given."""
    overviews = [convert_to_view(step, StepOverview) for step in steps]
    return convert_to_view(
        task, TaskView, **vars(derive_statuses(task)), steps=overviews, times=times, current=current
    )


def task_summary_view(task: Task) -> TaskSummaryView:
    """Return a task without its data."""
    return convert_to_view(task, TaskSummaryView, **vars(derive_statuses(task)))


def task_and_step_summaries_view(task: Task, steps: Iterable[Step]) -> TaskWithStepsSummaryView:
    """Return the status of a task and its steps."""
    return {"task": task_summary_view(task), "steps": [_summary_step(step) for step in steps]}


def _summary_step(step: Step) -> SummaryStep:
    kind: Mapping[str, Any] | None = step.error
    error = kind and StepErrorSummary(type=kind.get("type"), code=kind.get("code"))
    return convert_to_view(step, SummaryStep, error=error)
