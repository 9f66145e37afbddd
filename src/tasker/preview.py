"""Previews what an operator's action on a task would do.

The web UI shows the sentences in its dialogs; the names let programs check them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tasker.model import Step, StepStatus, Task, TaskId, TaskStatus
from tasker.plurals import format_count

MOST_NAMES = 100  #: of one list
_OPEN = frozenset({TaskStatus.PENDING, TaskStatus.IN_PROGRESS})
_ENDED = frozenset(
    {
        StepStatus.COMPLETE,
        StepStatus.CANCELLED,
        StepStatus.SKIPPED,
        StepStatus.RESOLVED_MANUALLY,
    }
)


class TaskAction(StrEnum):
    """An action on a task or one of its steps."""

    CANCEL = "cancel"
    RETRY = "retry"
    RESOLVE = "resolve"
    COMPLETE_STEP = "complete_step"
    SKIP_STEP = "skip_step"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewRejection:
    """Why a part of an action would be rejected."""

    step: str | None
    """The step that the action would not change; None if the whole action would be rejected."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionPreview:
    """What an action would do if nothing changes in the meantime; lists have at most 100 names."""

    action: TaskAction
    etag: str
    """The task's ETag. An action sent with it as `If-Match` is rejected if the task has changed."""

    rejected: tuple[PreviewRejection, ...]
    """The reasons for a rejection; if there are any, the action would change nothing."""

    runs_again: tuple[str, ...]
    """Steps that get another attempt."""

    continues: tuple[str, ...]
    """Dependent steps that can run when their other dependencies are done."""

    cancels: tuple[str, ...]
    """Steps that will no longer start."""

    discards: tuple[str, ...]
    """Running steps whose outcomes are discarded."""

    children: tuple[TaskId, ...]
    """Open child tasks that are cancelled too."""

    attempts_left: Mapping[str, int]
    """For each step that runs again, the number of attempts that it gets before it fails
    permanently."""

    effects: tuple[str, ...]
    """The effects as sentences."""

    command: str
    """The equivalent command."""


def make_action_preview(
    act: TaskAction,
    task: Task,
    steps: Sequence[Step],
    *,
    names: Sequence[str] | None = None,
    children: Sequence[TaskId] = (),
    reset_attempts: bool = False,
) -> ActionPreview:
    """Return what an action would do.

    Args:
        act: The action.
        task: The task.
        steps: Its steps, described by their template, as clients return them.
        names: Names of steps; None: all steps that the action applies to.
        children: Its open child tasks that are cancelled with it.
        reset_attempts: Whether retried steps get all their attempts again.
    """
    by_name = {step.name: step for step in steps}
    rejected = [*_find_rejections(act, task, by_name, names)]
    chosen = [] if rejected else _select_target_steps(act, steps, names)
    runs = [step.name for step in chosen] if act is TaskAction.RETRY else []
    behind = (
        []
        if act in (TaskAction.CANCEL, TaskAction.RESOLVE)
        else _unfinished_dependents(chosen, steps)
    )
    waiting = [step for step in steps if step.status not in _ENDED | {StepStatus.ERROR}]
    ends = not rejected and act in (TaskAction.CANCEL, TaskAction.RESOLVE)
    running = [step.name for step in waiting if step.status is StepStatus.IN_PROGRESS]
    rest = [step.name for step in waiting if step.status is not StepStatus.IN_PROGRESS]
    cancelled, discarded = (rest, running) if ends else ([], [])
    ending = tuple(children) if ends and act is TaskAction.CANCEL else ()
    return ActionPreview(
        action=act,
        etag=task.etag or "",
        rejected=tuple(rejected),
        runs_again=tuple(runs[:MOST_NAMES]),
        continues=tuple(behind[:MOST_NAMES]),
        cancels=tuple(cancelled[:MOST_NAMES]),
        discards=tuple(discarded[:MOST_NAMES]),
        children=ending[:MOST_NAMES],
        attempts_left={
            step.name: _attempts_after_retry(step, reset_attempts)
            for step in (chosen[:MOST_NAMES] if runs else [])
        },
        effects=tuple(
            _describe_effects(act, chosen, len(behind), len(cancelled), len(discarded), len(ending))
            if not rejected
            else [rejection.text for rejection in rejected]
        ),
        command=_cli_command(act, task, names, reset_attempts),
    )


def _find_rejections(
    act: TaskAction, task: Task, by_name: Mapping[str, Step], names: Sequence[str] | None
) -> Iterable[PreviewRejection]:
    status = task.status
    if act is TaskAction.CANCEL and status not in _OPEN:
        yield PreviewRejection(
            step=None, text=f"The task is {status.value}; only open tasks can be cancelled."
        )
    elif act is TaskAction.RESOLVE and status is not TaskStatus.ERROR:
        yield PreviewRejection(
            step=None, text=f"The task is {status.value}; only failed tasks can be resolved."
        )
    elif act not in (TaskAction.CANCEL, TaskAction.RESOLVE) and status not in _OPEN | {
        TaskStatus.ERROR
    }:
        yield PreviewRejection(step=None, text=f"The task is {status.value}: it has ended.")
    elif act is TaskAction.RETRY and names is None and not _failed_steps(by_name.values()):
        yield PreviewRejection(step=None, text="No step has failed.")
    for name in names or ():
        step = by_name.get(name)
        if step is None:
            yield PreviewRejection(step=name, text=f"The task has no step {name}.")
        elif act is TaskAction.RETRY and step.status is not StepStatus.ERROR:
            yield PreviewRejection(
                step=name, text=f"{name} is {step.status.value}: it has not failed."
            )
        elif act in (TaskAction.COMPLETE_STEP, TaskAction.SKIP_STEP) and step.status in _ENDED | {
            StepStatus.PENDING
        }:
            yield PreviewRejection(step=name, text=f"{name} is {step.status.value}.")


def _select_target_steps(
    act: TaskAction, steps: Sequence[Step], names: Sequence[str] | None
) -> list[Step]:
    if act in (TaskAction.CANCEL, TaskAction.RESOLVE):
        return []
    if names is None:
        return _failed_steps(steps)
    wanted = set(names)
    return [step for step in steps if step.name in wanted]


def _failed_steps(steps: Iterable[Step]) -> list[Step]:
    return [step for step in steps if step.status is StepStatus.ERROR]


def _unfinished_dependents(chosen: Sequence[Step], steps: Sequence[Step]) -> list[str]:
    """List the unfinished steps that depend on the given ones, directly or indirectly."""
    children: dict[str, list[Step]] = {}
    for step in steps:
        for parent in step.dependencies:
            children.setdefault(parent, []).append(step)
    followers: dict[str, Step] = {}
    stack = [step.name for step in chosen]
    while stack:
        for child in children.get(stack.pop(), ()):
            if child.name not in followers:
                followers[child.name] = child
                stack.append(child.name)
    own = {step.name for step in chosen}
    done = {StepStatus.COMPLETE, StepStatus.RESOLVED_MANUALLY}
    return [name for name, step in followers.items() if name not in own and step.status not in done]


def _attempts_after_retry(step: Step, reset: bool) -> int:
    return step.max_attempts if reset else 1  # an operator's retry gives one more


def _describe_effects(
    act: TaskAction,
    chosen: Sequence[Step],
    behind: int,
    cancelled: int,
    discarded: int,
    children: int,
) -> Iterable[str]:
    if act is TaskAction.CANCEL:
        if cancelled:
            yield f"{format_count('step', cancelled)} will not start."
        if discarded:
            yield f"Results of {format_count('running step', discarded)} are discarded."
        if children:
            tasks = format_count("open child task", children)
            yield f"{tasks} {_is_or_are(children)} cancelled too."
        yield "The results of completed steps are kept."
        yield "This cannot be undone."
        return
    if act is TaskAction.RESOLVE:
        yield "The task is marked as resolved."
        if cancelled + discarded:
            yield f"{format_count('step', cancelled + discarded)} will no longer run."
        yield "This cannot be undone."
        return
    if act is TaskAction.RETRY:
        names = ", ".join(step.name for step in chosen[:3]) + (", …" if len(chosen) > 3 else "")
        again = "gets another attempt" if len(chosen) == 1 else "get another attempt each"
        yield f"{format_count('step', len(chosen))} {again}: {names}."
    elif act is TaskAction.COMPLETE_STEP:
        yield f"{chosen[0].name} is complete with this result, as if its handler had returned it."
    else:
        yield f"{chosen[0].name} is marked as resolved; dependent steps receive null as its result."
    if behind:
        its = "its" if behind == 1 else "their"
        steps = format_count("step", behind)
        yield f"{steps} after it can run once {its} other dependencies are done."
    else:
        yield "No other step waits for it."


def _is_or_are(number: int) -> str:
    return "is" if number == 1 else "are"


def _cli_command(act: TaskAction, task: Task, names: Sequence[str] | None, reset: bool) -> str:
    task_id = task.id[:13]
    verb = {TaskAction.COMPLETE_STEP: "complete", TaskAction.SKIP_STEP: "skip"}.get(act, act.value)
    if act in (TaskAction.COMPLETE_STEP, TaskAction.SKIP_STEP):
        return f"tasker task {verb} {task_id} {(names or ['STEP'])[0]}"
    steps = "".join(f" --step {name}" for name in names or ())
    return f"tasker task {verb} {task_id}{steps}{' --reset-attempts' if reset else ''}"
