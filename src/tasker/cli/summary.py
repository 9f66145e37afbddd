"""How a task is summed up when it has ended, or when nobody waits for it any more."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rich.text import Text

from tasker.cli.style import (
    ago,
    counted,
    duration,
    error_line,
    is_plain,
    short,
    state_text,
)
from tasker.graph import Graph
from tasker.model import Step, StepStatus, Task, TaskStatus, Template

if TYPE_CHECKING:
    from rich.console import Console

_RESULTS = 5  #: results of last steps that are shown
_FAILURES = 10


def tell_end(
    console: "Console", task: Task, steps: Sequence[Step], template: Template, *, store: str
) -> None:
    """Sum up a task.

    Args:
        console: Where to.
        task: As it is now.
        steps: All its steps.
        template: Its template.
        store: What to append to the commands that look closer, as ` --store sqlite:x.db`.
    """
    console.print()
    console.print(_headline(console, task, steps))
    for step in [step for step in steps if step.status is StepStatus.ERROR][:_FAILURES]:
        line = Text(f"  {step.name} ", style="bold").append(
            f"failed after {counted('attempt', step.attempts)}: ", style="none"
        )
        console.print(line.append(error_line(step.error), style="red"), soft_wrap=True)
    if task.status is TaskStatus.COMPLETE:
        _tell_results(console, steps, template)
    console.print()
    for command, what in _next(task):
        console.print(
            Text(f"  tasker task {command} {task.id}{store}").append(f"   {what}", style="dim"),
            soft_wrap=True,
        )


def _headline(console: "Console", task: Task, steps: Sequence[Step]) -> Text:
    attempts = sum(step.attempts for step in steps)
    line = state_text(task.status.value, plain=is_plain(console))
    line.append(f"  {task.template}", style="bold")
    facts = [f"{task.counts.done}/{counted('step', len(steps))}"]
    if attempts > task.counts.done:
        facts.append(counted("attempt", attempts))
    if task.ended_at is not None:
        facts.append(duration(task.ended_at - task.created_at))
    else:
        facts.append(f"created {ago(task.created_at)}")
    return line.append("  " + ", ".join(facts), style="none")


def _tell_results(console: "Console", steps: Sequence[Step], template: Template) -> None:
    """Show what the last steps returned: the task's result, as far as it has one."""
    by_no = {step.no: step for step in steps}
    last = [by_no[no] for no in Graph(template).sinks if no in by_no]
    told = [step for step in last if step.result is not None][:_RESULTS]
    for step in told:
        most = max((console.width if console.is_terminal else 200) - len(step.name) - 6, 20)
        line = Text(f"  {step.name} ", style="bold")
        console.print(line.append(short(step.result, most), style="none"), soft_wrap=True)


def _next(task: Task) -> list[tuple[str, str]]:
    """Tell the commands that make sense now."""
    show = ("show", "shows what happened")
    match task.status:
        case TaskStatus.COMPLETE | TaskStatus.CANCELLED | TaskStatus.RESOLVED_MANUALLY:
            return [show]
        case TaskStatus.ERROR:
            return [show, ("retry", "tries the failed steps again")]
        case _:
            return [show, ("cancel", "ends it")]


def store_flag(url: str) -> str:
    """Tell what commands must carry to mean the same store; a password is left out."""
    if url == "sqlite":
        return ""
    parts = urlsplit(url)
    if parts.password is None:
        return f" --store {url}"
    _, _, host = parts.netloc.rpartition("@")
    return f" --store {parts._replace(netloc=f'{parts.username}@{host}').geturl()}"
