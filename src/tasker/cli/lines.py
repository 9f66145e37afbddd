"""Progress as a line per event: for files, pipes, and terminals that cannot move their cursor."""

from typing import TYPE_CHECKING

from rich.text import Text

from tasker.cli.progress import StepProgress, TaskProgress
from tasker.cli.style import LOOKS, duration, is_plain
from tasker.events import (
    Event,
    LoopBlocked,
    SettleRefused,
    StepSettled,
    StepStarted,
    StepWaiting,
    TaskEnded,
)

if TYPE_CHECKING:
    from rich.console import Console


class Lines:
    """Implements `Renderer`. Each line tells the task, the step, and what happened."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._plain = is_plain(console)

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def added(self, task: TaskProgress) -> None:
        name = f"{task.template}"
        self._line(task, "pending", f"{name} is task {task.id}")

    def happened(self, task: TaskProgress | None, event: Event) -> None:
        if isinstance(event, LoopBlocked):
            self._write(Text(blocked_line(event), style="yellow"))
            return
        if task is None:
            return
        if isinstance(event, TaskEnded):
            self._line(
                task, task.state, f"{task.state} after {duration(task.took(task.ended or 0))}"
            )
            return
        step = task.step(event.step)
        told = _told(step, event)
        if told:
            self._line(task, step.state, told, step=step.name)

    def changed(self, task: TaskProgress, step: StepProgress) -> None:
        told = step.state + (_which(step) if step.attempt else "")
        self._line(
            task, step.state, f"{told}: {step.error}" if step.error else told, step=step.name
        )

    def _line(self, task: TaskProgress, state: str, told: str, *, step: str = "") -> None:
        look = LOOKS[state]
        line = Text()
        line.append(look.plain if self._plain else look.symbol, style=look.style)
        line.append(f" {name_of(task)} ", style="dim")
        if step:
            line.append(f"{step} ")
        line.append(told, style="" if state in ("pending", "in_progress") else look.style)
        self._write(line)

    def _write(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


def name_of(task: TaskProgress) -> str:
    """Tell what to call a task: its label, or its template's name and the end of its id."""
    return task.label or f"{task.template.name}/{task.id[-6:]}"


def blocked_line(event: LoopBlocked) -> str:
    who = f"the handler of step {event.step}" if event.step else "something"
    return f"{who} blocks the event loop, for {duration(event.blocked_for)} so far"


def _told(step: StepProgress, event: Event) -> str:
    """Say what happened to a step."""
    match event:
        case StepStarted():
            return f"started{_which(step)}" if step.attempt == 1 else f"started again{_which(step)}"
        case StepWaiting():
            return f"waits for task {event.awaits}"
        case SettleRefused():
            return "was not this worker's any more: its outcome was dropped"
        case StepSettled():
            return _outcome(step, event)
    return ""


def _outcome(step: StepProgress, event: StepSettled) -> str:
    took = duration(event.ran_for)
    match step.state:
        case "complete":
            return f"complete in {took}{_which(step) if step.attempt > 1 else ''}"
        case "waiting_for_retry":
            again = duration(event.delay)
            return f"failed after {took}{_which(step)}, again in {again}: {step.error}"
        case "error":
            return f"failed for good after {took}{_which(step)}: {step.error}"
        case "enqueued":
            return "handed back at shutdown"
    return step.state


def _which(step: StepProgress) -> str:
    """Tell the attempt, where there may be several."""
    if step.max_attempts is None:
        return f" (attempt {step.attempt})"
    return f" (attempt {step.attempt} of {step.max_attempts})" if step.max_attempts > 1 else ""
