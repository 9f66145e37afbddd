"""Explains why a task or a step does not run.

The HTTP API, the command line and the web UI show the same sentences.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tasker.model import (
    CompensationStatus,
    Pause,
    PauseKind,
    Step,
    StepStatus,
    StepWait,
    Task,
    TaskId,
    TaskStatus,
    WaitKind,
)
from tasker.plurals import format_count

MOST_REASONS = 50  #: of one answer
_MOST_NAMES = 3  #: names in one sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason why a task or step does not run, or what it does instead."""

    code: str
    """The kind of reason: `compensating`, `failed`, `paused`, `limit`, `no_worker`, `retry_due`,
    `scheduled`, `ready`, `running`, `sleeping`, `waits_for_task`, `waits_for_signal`,
    `waits_for_steps`, `waiting`, `ended` or `deadline`."""

    blocking: bool
    """Whether the reason prevents the step or task from continuing now."""

    text: str
    """A sentence for people."""

    step: str | None = None
    until: datetime | None = None
    """The time at which the reason stops applying by itself, or the task's deadline."""

    task: TaskId | None = None
    """The task that the step waits for."""

    worker: str | None = None
    """The worker that runs the step."""

    actor: str | None = None
    """The person or program that paused the step or task."""


def task_reasons(task: Task, steps: Sequence[Step], now: datetime) -> list[Reason]:
    """Return why a task does not run or what it does, most important reason first; at most 50.

    Args:
        task: The task.
        steps: Its steps, described by their template, as clients return them.
        now: The current time.
    """
    if task.status not in (TaskStatus.PENDING, TaskStatus.IN_PROGRESS, TaskStatus.ERROR):
        return [_ended_reason(task)]
    reasons = [*map(_pause_reason, task.pauses), *_compensation_reasons(task)]
    of_steps = (reason for step in steps for reason in step_reasons(step, now))
    reasons += sorted(
        (reason for reason in of_steps if reason.code not in _OF_OTHERS),
        key=lambda reason: _ORDER.index(reason.code),
    )
    if not task.has_ended and task.deadline is not None:
        reasons.append(
            Reason(
                code="deadline",
                blocking=False,
                text="The task fails if it has not ended by its deadline.",
                until=task.deadline,
            )
        )
    return reasons[:MOST_REASONS]


_ORDER = (
    "failed",
    "no_worker",
    "limit",
    "retry_due",
    "running",
    "ready",
    "sleeping",
    "waits_for_task",
    "waits_for_signal",
    "scheduled",
    "waiting",
)
"""Codes of steps' reasons, in the order in which they are listed for a task."""

_OF_OTHERS = ("waits_for_steps", "paused")
"""Codes of steps' reasons that are not listed for a task, because they follow from other steps or
already apply to the task itself."""


def step_reasons(step: Step, now: datetime) -> list[Reason]:
    """Return why a step does not run, or what it does; empty once the step is done."""
    return list(_step_reasons(step, now))


def _step_reasons(step: Step, now: datetime) -> Iterator[Reason]:
    name, status = step.name, step.status
    if status is StepStatus.ERROR:
        yield Reason(code="failed", blocking=True, text=_describe_failure(step), step=name)
    elif status is StepStatus.IN_PROGRESS:
        yield Reason(
            code="running",
            blocking=False,
            text=f"{name} runs, attempt {step.attempts}.",
            step=name,
            worker=step.worker,
        )
    elif status is StepStatus.PENDING:
        yield Reason(
            code="waits_for_steps",
            blocking=True,
            text=f"{name} waits for {_describe_pending_dependencies(step)}.",
            step=name,
        )
    elif status is StepStatus.WAITING:
        yield _parked_reason(step)
    elif status in (StepStatus.ENQUEUED, StepStatus.WAITING_FOR_RETRY):
        if step.pause is not None:
            yield _pause_reason(step.pause, name)
        yield _enqueued_reason(step, now)


def _enqueued_reason(step: Step, now: datetime) -> Reason:
    """Return the reason for an enqueued step."""
    name = step.name
    if step.run_at is not None and step.run_at > now:
        if step.status is StepStatus.WAITING_FOR_RETRY:
            of = f"attempt {step.counted_attempts + 1} of {step.max_attempts}"
            text = f"{name} waits for {of}. {_describe_last_error(step)}".strip()
            return Reason(code="retry_due", blocking=True, text=text, step=name, until=step.run_at)
        text = f"{name} is scheduled to start later."
        return Reason(code="scheduled", blocking=True, text=text, step=name, until=step.run_at)
    if step.no_worker:
        lacks = step.no_worker_reason or f"no live worker serves the handler {step.handler}"
        return Reason(
            code="no_worker", blocking=True, text=f"{name} is ready, but {lacks}.", step=name
        )
    if step.limit_reason:
        text = f"{name} waits for a limit: {step.limit_reason}."
        return Reason(code="limit", blocking=True, text=text, step=name)
    text = f"{name} is ready and waits for a free worker slot."
    return Reason(code="ready", blocking=step.pause is not None, text=text, step=name)


def _parked_reason(step: Step) -> Reason:
    """Return the reason for a parked step."""
    if step.waits_for is not None:
        text = f"{step.name} waits for the task {step.waits_for}."
        return Reason(
            code="waits_for_task", blocking=True, text=text, step=step.name, task=step.waits_for
        )
    if step.waits:
        text = f"{step.name} waits for {describe_waits(step.waits)}."
        return Reason(
            code="waits_for_signal",
            blocking=True,
            text=text,
            step=step.name,
            until=step.waits_until,
        )
    until = step.waits_until or step.run_at
    if until is not None:
        text = f"{step.name} sleeps."
        return Reason(code="sleeping", blocking=True, text=text, step=step.name, until=until)
    return Reason(code="waiting", blocking=True, text=f"{step.name} is parked.", step=step.name)


def describe_waits(waits: Sequence[StepWait]) -> str:
    """Return what a parked step waits for, such as `the signal paid or the signal cancelled`."""
    for wait in waits:
        if wait.kind is WaitKind.APPROVAL:
            return _describe_approval(wait)
        if wait.kind is WaitKind.EXTERNAL:
            return "its completion by another system"
    broadcast = {wait.name for wait in waits if wait.kind is WaitKind.BROADCAST}
    names = [
        wait.name if wait.key is None else f"{wait.name} with the key {wait.key}"
        for wait in waits
        if wait.kind is not WaitKind.SIGNAL or wait.name not in broadcast
    ]
    return f"the signal {' or '.join(names)}"


def _describe_approval(wait: StepWait) -> str:
    """Return who may decide an approval, and the command to do so."""
    if wait.approval is None:
        return "an approval"
    names = list(wait.assignees[:_MOST_NAMES])
    if (others := len(wait.assignees) - len(names)) > 0:
        names.append(format_count("other", others))
    by = f" by {' or '.join(names)}" if names else ""
    return f"an approval{by} (`tasker approval decide {wait.approval} JSON`)"


def _compensation_reasons(task: Task) -> Iterator[Reason]:
    """Yield the state of a task's compensation, unless it is complete."""
    if task.compensation is CompensationStatus.RUNNING:
        text = "The task ends when its completed steps have been undone."
        yield Reason(code="compensating", blocking=False, text=text)
    elif task.compensation is CompensationStatus.INCOMPLETE:
        text = "The task's compensation is incomplete: some completed steps have not been undone."
        yield Reason(code="compensating", blocking=True, text=text)


def _pause_reason(pause: Pause, step: str | None = None) -> Reason:
    paused = {
        PauseKind.NAMESPACE: f"The namespace {pause.namespace}",
        PauseKind.QUEUE: f"The queue of {pause.name}",
        PauseKind.TASK: "The task",
        PauseKind.TEMPLATE: f"The workflow {pause.namespace}.{pause.name}",
    }[pause.kind]
    why = f": {pause.reason}" if pause.reason else ""
    text = f"{paused} is paused by {pause.paused_by}{why}."
    return Reason(code="paused", blocking=True, text=text, step=step, actor=pause.paused_by)


def _ended_reason(task: Task) -> Reason:
    ended = task.status.value.replace("_", " ")
    return Reason(code="ended", blocking=False, text=f"The task has ended: {ended}.")


def _describe_failure(step: Step) -> str:
    attempts = format_count("attempt", step.attempts)
    return f"{step.name} failed permanently after {attempts}. {_describe_last_error(step)}".strip()


def _describe_last_error(step: Step) -> str:
    error = step.error or {}
    kind = error.get("code") or error.get("type")
    message = str(error.get("message") or "")[:300]
    return f"{kind}: {message}" if kind and message else str(kind or message or "")


def _describe_pending_dependencies(step: Step) -> str:
    """Return what a pending step waits for: few dependencies by name, otherwise their number."""
    if step.undoes is not None:
        return "later steps to be undone first"
    if step.pending_parents == len(step.dependencies):
        return _join_names_or_count(step.dependencies)
    return f"{step.pending_parents} of {format_count('step', len(step.dependencies))}"


def _join_names_or_count(names: Iterable[str]) -> str:
    names = list(names)
    if len(names) > _MOST_NAMES:
        return format_count("step", len(names))
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
