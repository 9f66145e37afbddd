"""Progress as a table that changes in place."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live as Display
from rich.table import Table
from rich.text import Text

from tasker.cli.lines import blocked_line
from tasker.cli.progress import Progress, StepProgress, TaskProgress
from tasker.cli.style import LOOKS, SPINNER, duration, is_plain, symbol
from tasker.events import Event, LoopBlocked

if TYPE_CHECKING:
    from rich.console import Console

_MOST = 40  #: rows of one task that stay on the screen at the end
_URGENT = ("error", "in_progress", "waiting_for_retry", "waiting", "enqueued")


class Live:
    """Implements `Renderer`. A thread draws, so that time passes while nothing happens.

    Args:
        progress: What to draw.
        console: A terminal.
    """

    def __init__(self, progress: Progress, console: "Console") -> None:
        self._progress = progress
        self._console = console
        self._plain = is_plain(console)
        self._over = False
        self._display = Display(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=12,
            redirect_stderr=sys.stderr.isatty(),
        )

    def start(self) -> None:
        self._display.start()

    def stop(self) -> None:
        self._over = True
        self._display.stop()

    def added(self, task: TaskProgress) -> None:
        pass  # it is drawn with the next picture

    def changed(self, task: TaskProgress, step: StepProgress) -> None:
        pass

    def happened(self, task: TaskProgress | None, event: Event) -> None:
        if isinstance(event, LoopBlocked):
            self._console.print(Text(blocked_line(event), style="yellow"))

    def _draw(self) -> RenderableType:
        with self._progress.lock:
            tasks = list(self._progress.tasks.values())
            return Group(*self._pictures(tasks, time.monotonic()))

    def _pictures(self, tasks: Sequence[TaskProgress], now: float) -> list[RenderableType]:
        room = _MOST if self._over else _share(self._console.height - 2, len(tasks))
        pictures: list[RenderableType] = []
        for task in tasks:
            if pictures:
                pictures.append(Text())
            pictures.append(self._picture(task, room, now))
        return pictures

    def _picture(self, task: TaskProgress, room: int, now: float) -> RenderableType:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        for justify in ("left", "left", "right", "right"):
            table.add_column(justify=justify, no_wrap=True)
        table.add_column()  # the note, which gives way where the terminal is narrow
        steps, left_out = _chosen(list(task.steps.values()), room)
        for step in steps:
            self._row(table, step, now)
        parts: list[RenderableType] = [self._heading(task, now), table]
        if left_out:
            counts = ", ".join(f"{count:,} {state}" for state, count in left_out.items())
            parts.append(Text(f"   and {counts}", style="dim"))
        return Group(*parts)

    def _heading(self, task: TaskProgress, now: float) -> Text:
        heading = self._symbol(task.state, now).append(" ")
        if task.label:
            heading.append(f"{task.label}  ", style="bold")
        name = task.template
        heading.append(f"{name.namespace}.{name.name}", style="bold" if not task.label else "none")
        heading.append(f" {name.version}", style="none")
        heading.append(f"  {task.done}/{len(task.steps)}", style=LOOKS[task.state].style)
        return heading.append(f"  {duration(task.took(now))}  {task.id}", style="dim")

    def _row(self, table: Table, step: StepProgress, now: float) -> None:
        look = LOOKS[step.state]
        attempts = ""
        if step.attempt and step.max_attempts != 1:
            attempts = f"{step.attempt}/{step.max_attempts or '?'}"
        started = step.attempt > 0
        table.add_row(
            Text("  ").append_text(self._symbol(step.state, now)),
            Text(step.name, style="dim" if step.state == "pending" else "none"),
            Text(attempts, style="yellow" if step.attempt > 1 else "dim"),
            Text(duration(step.running_for(now)) if started else "", style="dim"),
            Text(_note(step, now), style=look.style, no_wrap=True, overflow="ellipsis"),
        )

    def _symbol(self, state: str, now: float) -> Text:
        if state == "in_progress" and not self._plain and not self._over:
            return Text(SPINNER[int(now * 12) % len(SPINNER)], style=LOOKS[state].style)
        return symbol(state, plain=self._plain)


def _note(step: StepProgress, now: float) -> str:
    """Say what a step's symbol does not."""
    match step.state:
        case "waiting_for_retry":
            left = (step.due or now) - now
            return f"again {f'in {duration(left)}' if left > 0 else 'now'}: {step.error}"
        case "waiting":
            return f"waits for task {step.awaits}"
        case "error":
            return step.error
        case "pending" | "complete" | "in_progress":
            return ""
    return step.state


def _share(rows: int, tasks: int) -> int:
    """Tell how many rows each of several tasks gets for its steps."""
    return max(rows // max(tasks, 1) - 3, 1)


def _chosen(
    steps: Sequence[StepProgress], room: int
) -> tuple[Sequence[StepProgress], Counter[str]]:
    """Choose the steps to show: those that are under way or failed, then the others in order.

    Returns:
        The steps in the template's order, and by state how many others there are.
    """
    if len(steps) <= room:
        return steps, Counter()
    ranked = sorted(range(len(steps)), key=lambda at: _rank(steps[at]))
    shown = sorted(ranked[: room - 1])
    rest = Counter(steps[at].state for at in ranked[room - 1 :])
    return [steps[at] for at in shown], rest


def _rank(step: StepProgress) -> int:
    return _URGENT.index(step.state) if step.state in _URGENT else len(_URGENT)
