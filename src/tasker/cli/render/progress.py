"""Shows the progress of tasks from the notices of a worker in this process.

`TaskProgressDisplay` is the entry point. It keeps the known state of each task and its
steps, and shows it as a table that is updated in place on a terminal, and as one line per notice
elsewhere.

    with Progress(console, templates=templates) as progress:
        async with Worker(store, handlers, observers=[progress.observe]) as worker:
            task = await worker.client.create_task(...)
            progress.follow_task(task)
            await worker.client.wait(task.id)
"""

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live as Display
from rich.table import Table
from rich.text import Text

from tasker import codec
from tasker.cli.render.style import (
    LOOKS,
    SPINNER,
    format_error_line,
    is_ascii_only,
    status_symbol,
    to_printable_line,
)
from tasker.durations import human_duration
from tasker.model import AttemptOutcome, Step, Task, TaskId, Template, TemplateName
from tasker.notices import (
    AttemptLost,
    EventLoopBlocked,
    Notice,
    SettlementRejected,
    StepSettled,
    StepStarted,
    StepWaiting,
    TaskEnded,
    TickHandled,
)
from tasker.why import describe_waits

PROGRESS_EVENTS = frozenset({"attempt_failed", "step_skipped", "task_failed"})
"""Log events that only repeat what `TaskProgressDisplay` shows."""

_KEPT = 10_000  #: notices kept for tasks that may still be added


class DisplayedStep:
    """The known state of one step, for display."""

    def __init__(self, name: str, max_attempts: int | None = None) -> None:
        self.name = name
        self.max_attempts = max_attempts  #: None: the template is unknown here
        self.status = "pending"
        self.attempt = 0  #: number of the last attempt, parked and lost ones included
        self.spent = 0.0  #: seconds spent in the handler by attempts that ended
        self.since: float | None = None  #: start of the running attempt
        self.due: float | None = None  #: earliest start of the next attempt
        self.error = ""  #: error of the last failed attempt
        self.waits_for = ""  #: what it waits for, as text

    def on_start(self, notice: StepStarted, now: float) -> None:
        self.status, self.since, self.due, self.waits_for = "in_progress", now, None, ""
        self.attempt = notice.attempt

    def on_wait(self, notice: StepWaiting, now: float) -> None:
        self._add_running_time(now)
        self.status = "waiting"
        if notice.awaits is not None:
            self.waits_for = f"task {notice.awaits}"
        else:
            self.waits_for = describe_waits(notice.waits) if notice.waits else ""

    def on_settled(self, notice: StepSettled, now: float) -> None:
        self._add_running_time(now)
        self.error = failure_reason(notice) or self.error
        match notice.outcome:
            case AttemptOutcome.COMPLETE:
                self.status, self.error = "complete", ""
            case AttemptOutcome.RETRY | AttemptOutcome.LOST:
                self.status = "waiting_for_retry"
                self.due = now + notice.delay.total_seconds()
            case AttemptOutcome.RELEASED:
                self.status = "enqueued"
            case _:
                self.status = notice.outcome.value

    def on_settlement_rejected(self, now: float) -> None:
        """Record a rejected settlement: another worker holds the step, or its task is cancelled."""
        self._add_running_time(now)
        if self.status == "in_progress":
            self.status = "pending"

    def update_from_stored_state(self, step: Step, now: float, clock: datetime) -> None:
        """Replace the known state by the state that was read from the store."""
        self.status, self.attempt = step.status.value, step.attempts
        self.error = format_error_line(step.error)
        self.waits_for = describe_waits(step.waits) if step.waits else ""
        if step.waits_for is not None:
            self.waits_for = f"task {step.waits_for}"
        self.since = self.due = None
        if step.claimed_at is not None:
            began = now - (clock - step.claimed_at).total_seconds()
            if self.status == "in_progress":
                self.since = began
            elif step.settled_at is not None and step.settled_at > step.claimed_at:
                self.spent = (step.settled_at - step.claimed_at).total_seconds()
        if self.status == "waiting_for_retry" and step.run_at is not None:
            self.due = now + (step.run_at - clock).total_seconds()

    def total_running_seconds(self, now: float) -> float:
        """Return the seconds spent in the handler, including those of the running attempt."""
        return self.spent + (now - self.since if self.since is not None else 0.0)

    def _add_running_time(self, now: float) -> None:
        if self.since is not None:
            self.spent += now - self.since
        self.since = None


class DisplayedTask:
    """The known state of one task, for display."""

    def __init__(self, id: TaskId, template: TemplateName, correlation_id: str, now: float) -> None:
        self.id = id
        self.template = template
        self.correlation_id = correlation_id
        self.label = ""
        self.status = "pending"
        self.began = now
        self.ended: float | None = None
        self.steps: dict[str, DisplayedStep] = {}

    def add_template_steps(self, template: Template) -> None:
        """Add the template's steps, in order, before they start."""
        self.steps = {
            spec.name: DisplayedStep(spec.name, spec.retry.attempt_limit) for spec in template.steps
        }

    def get_or_add_step(self, name: str) -> DisplayedStep:
        return self.steps.setdefault(name, DisplayedStep(name))

    def start(self, now: float) -> None:
        self.status, self.ended = "in_progress", None
        self.began = min(self.began, now)

    def end(self, status: str, now: float) -> None:
        self.status, self.ended = status, now
        for step in self.steps.values():
            if step.status in ("pending", "enqueued", "in_progress", "waiting_for_retry"):
                step.status = "cancelled" if status == "cancelled" else step.status

    def update_from_stored_state(self, task: Task, now: float, clock: datetime) -> None:
        """Replace the known state by the state that was read from the store."""
        self.status = task.status.value
        self.began = now - (clock - task.created_at).total_seconds()
        if task.ended_at is not None:
            self.ended = now - (clock - task.ended_at).total_seconds()

    def elapsed_seconds(self, now: float) -> float:
        """Return the duration of the task, so far or in total, in seconds."""
        return (now if self.ended is None else self.ended) - self.began

    @property
    def complete_step_count(self) -> int:
        """Return the number of complete steps."""
        return sum(step.status == "complete" for step in self.steps.values())


class ProgressRenderer(Protocol):
    """Shows the progress of tasks: live, as lines, or once at the end."""

    def start(self) -> None: ...

    def on_task_added(self, task: DisplayedTask) -> None:
        """Called when a task begins to be followed."""

    def on_notice(self, task: DisplayedTask | None, notice: Notice) -> None:
        """Called after a notice was applied to its task and step."""

    def on_step_changed(self, task: DisplayedTask, step: DisplayedStep) -> None:
        """Called when a step's state in the store has changed."""

    def stop(self) -> None: ...


class TaskProgressDisplay:
    """Follows tasks, and shows their progress.

    A task is followed if it was added, if it shares the correlation id of an added task, or, with
    `everything`, as soon as a notice names it. Notices that arrive before their task is added are
    kept.

    Args:
        console: The console to show progress on.
        templates: Templates whose steps are shown before they start; steps of other templates are
            shown once they start.
        everything: Whether all tasks are followed.
        live: Whether the display is updated in place; None means on terminals that support it.
    """

    def __init__(
        self,
        console: Console,
        *,
        templates: Iterable[Template] = (),
        everything: bool = False,
        live: bool | None = None,
    ) -> None:
        self.tasks: dict[TaskId, DisplayedTask] = {}
        self.lock = threading.Lock()  #: held while tasks are changed
        self._templates = {template.key: template for template in templates}
        self._everything = everything
        self._correlations: set[str] = set()
        self._early: deque[tuple[Notice, float]] = deque(maxlen=_KEPT)
        self._renderer = _choose_renderer(self, console, live)

    def __enter__(self) -> Self:
        self._renderer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._renderer.stop()

    def add_template(self, template: Template) -> None:
        """Add a template, whose steps are shown as soon as a task of it is followed."""
        self._templates[template.key] = template

    def follow_task(self, task: Task, template: Template | None = None, *, label: str = "") -> None:
        """Follow a task.

        Args:
            task: The new task.
            template: The task's template; None means one of those given before.
            label: Display name of the task; empty means the template's name.
        """
        if template is not None:
            self.add_template(template)
        now = time.monotonic()
        with self.lock:
            self._correlations.add(task.correlation_id)
            followed = self._get_or_add_task(
                task.id, task.template, task.correlation_id, now, label
            )
            self._renderer.on_task_added(followed)
            early = list(self._early)
            self._early.clear()
        for notice, at in early:
            self._apply_notice_at(notice, at)

    def update_from_stored_state(self, task: Task, steps: Iterable[Step]) -> None:
        """Update a polled task from its state in the store."""
        now, clock = time.monotonic(), datetime.now(UTC)
        with self.lock:
            followed = self._get_or_add_task(task.id, task.template, task.correlation_id, now, "")
            for step in steps:
                seen = followed.get_or_add_step(step.name)
                before = (seen.status, seen.attempt)
                seen.update_from_stored_state(step, now, clock)
                if before != (seen.status, seen.attempt):
                    self._renderer.on_step_changed(followed, seen)
            before_end = followed.ended
            followed.update_from_stored_state(task, now, clock)
            if before_end is None and followed.ended is not None:
                self._renderer.on_notice(followed, TaskEnded(task.id, task.status))

    def observe(self, notice: Notice) -> None:
        """Apply a notice to the task that it names; this method is an observer for `Worker`."""
        self._apply_notice_at(notice, time.monotonic())

    def _apply_notice_at(self, notice: Notice, now: float) -> None:
        with self.lock:
            if isinstance(notice, EventLoopBlocked):
                self._renderer.on_notice(None, notice)
                return
            if isinstance(notice, TickHandled):
                return
            task = self.tasks.get(notice.task_id) or self._follow_task_of_notice(notice, now)
            if task is None:
                self._early.append((notice, now))
                return
            _apply_notice_to_task(task, notice, now)
            self._renderer.on_notice(task, notice)
            if self._everything and task.ended is not None:
                del self.tasks[task.id]

    def _follow_task_of_notice(self, notice: Notice, now: float) -> DisplayedTask | None:
        """Return the task of a notice, and start to follow it if it should be shown."""
        if isinstance(notice, TaskEnded | EventLoopBlocked | AttemptLost | TickHandled):
            return None
        if not self._everything and notice.correlation_id not in self._correlations:
            return None
        task = self._get_or_add_task(
            notice.task_id, notice.template, notice.correlation_id, now, ""
        )
        self._renderer.on_task_added(task)
        return task

    def _get_or_add_task(
        self, id: TaskId, template: TemplateName, correlation_id: str, now: float, label: str
    ) -> DisplayedTask:
        task = self.tasks.get(id)
        if task is None:
            task = self.tasks[id] = DisplayedTask(id, template, correlation_id, now)
            if (known := self._templates.get(template)) is not None:
                task.add_template_steps(known)
        task.label = label or task.label
        return task


def failure_reason(notice: StepSettled) -> str:
    """Return the reason why an attempt failed, on one line."""
    return format_error_line(codec.loads(notice.error)) if notice.error else ""


def _apply_notice_to_task(task: DisplayedTask, notice: Notice, now: float) -> None:
    """Update the progress of a task from a notice."""
    match notice:
        case StepStarted():
            task.start(now)
            task.get_or_add_step(notice.step).on_start(notice, now)
        case StepSettled():
            task.get_or_add_step(notice.step).on_settled(notice, now)
        case StepWaiting():
            task.get_or_add_step(notice.step).on_wait(notice, now)
        case SettlementRejected():
            task.get_or_add_step(notice.step).on_settlement_rejected(now)
        case TaskEnded():
            task.end(notice.status.value, now)


def _choose_renderer(
    progress: TaskProgressDisplay, console: Console, live: bool | None
) -> ProgressRenderer:
    if live is None:
        live = console.is_terminal and not console.is_dumb_terminal
    if console.record:
        return FinalStateRenderer(progress, console)
    if live:
        return LiveRenderer(progress, console)

    return LineRenderer(console)


class LineRenderer:
    """Implements `ProgressRenderer`: one line per notice, with task and step."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._plain = is_ascii_only(console)

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def on_task_added(self, task: DisplayedTask) -> None:
        name = f"{task.template}"
        self._print_message(task, "pending", f"{name} is task {task.id}")

    def on_notice(self, task: DisplayedTask | None, notice: Notice) -> None:
        if isinstance(notice, EventLoopBlocked):
            self._print_line(Text(describe_blocked_loop(notice), style="yellow"))
            return
        if task is None or isinstance(notice, TickHandled):
            return
        if isinstance(notice, TaskEnded):
            self._print_message(
                task,
                task.status,
                f"{task.status} after {human_duration(task.elapsed_seconds(task.ended or 0))}",
            )
            return
        step = task.get_or_add_step(notice.step)
        message = _describe_notice(step, notice)
        if message:
            self._print_message(task, step.status, message, step=step.name)

    def on_step_changed(self, task: DisplayedTask, step: DisplayedStep) -> None:
        message = step.status + (_attempt_suffix(step) if step.attempt else "")
        self._print_message(
            task, step.status, f"{message}: {step.error}" if step.error else message, step=step.name
        )

    def _print_message(
        self, task: DisplayedTask, state: str, message: str, *, step: str = ""
    ) -> None:
        look = LOOKS[state]
        line = Text()
        line.append(look.plain if self._plain else look.symbol, style=look.style)
        line.append(f" {task_display_name(task)} ", style="dim")
        if step:
            line.append(f"{step} ")
        line.append(message, style="" if state in ("pending", "in_progress") else look.style)
        self._print_line(line)

    def _print_line(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


def task_display_name(task: DisplayedTask) -> str:
    """Return a task's display name: its label, or its template's name and the end of its id."""
    return task.label or f"{task.template.name}/{task.id[-6:]}"


def describe_blocked_loop(notice: EventLoopBlocked) -> str:
    who = f"the handler of step {notice.step}" if notice.step else "something"
    return f"{who} has blocked the event loop for {human_duration(notice.blocked_for)} so far"


def _describe_notice(step: DisplayedStep, notice: Notice) -> str:
    """Return a description of a notice of a step."""
    match notice:
        case StepStarted():
            return (
                f"started{_attempt_suffix(step)}"
                if step.attempt == 1
                else f"started again{_attempt_suffix(step)}"
            )
        case StepWaiting():
            return _describe_wait(step)
        case SettlementRejected():
            return "was no longer held by this worker; the outcome was discarded"
        case StepSettled():
            return _describe_outcome(step, notice)
    return ""


def _describe_wait(step: DisplayedStep) -> str:
    return to_printable_line(f"waits for {step.waits_for}") if step.waits_for else "waits"


def _describe_outcome(step: DisplayedStep, notice: StepSettled) -> str:
    took = human_duration(notice.ran_for)
    match step.status:
        case "complete":
            return f"complete in {took}{_attempt_suffix(step) if step.attempt > 1 else ''}"
        case "waiting_for_retry":
            delay = human_duration(notice.delay)
            return f"failed after {took}{_attempt_suffix(step)}, retrying in {delay}: {step.error}"
        case "error":
            return f"failed permanently after {took}{_attempt_suffix(step)}: {step.error}"
        case "enqueued":
            return "released at shutdown"
    return step.status


def _attempt_suffix(step: DisplayedStep) -> str:
    """Return the attempt's number, if there may be several attempts."""
    once = step.max_attempts == 1 and step.attempt == 1
    return "" if once else f" (attempt {step.attempt})"


_MOST = 40  #: rows of one task that stay on the screen at the end
_URGENT = ("error", "in_progress", "waiting_for_retry", "waiting", "enqueued")


class LiveRenderer:
    """Implements `ProgressRenderer`. A thread redraws it, so elapsed times advance between notices.

    Args:
        progress: What to draw.
        console: A terminal.
    """

    def __init__(self, progress: TaskProgressDisplay, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._plain = is_ascii_only(console)
        self._over = False
        self._display = Display(
            console=console,
            get_renderable=self._render_frame,
            refresh_per_second=12,
            redirect_stderr=sys.stderr.isatty(),
        )

    def start(self) -> None:
        self._display.start()

    def stop(self) -> None:
        self._over = True
        self._display.stop()

    def on_task_added(self, task: DisplayedTask) -> None:
        pass  # it is drawn with the next frame

    def on_step_changed(self, task: DisplayedTask, step: DisplayedStep) -> None:
        pass

    def on_notice(self, task: DisplayedTask | None, notice: Notice) -> None:
        if isinstance(notice, EventLoopBlocked):
            self._console.print(Text(describe_blocked_loop(notice), style="yellow"))

    def _render_frame(self) -> RenderableType:
        with self._progress.lock:
            tasks = list(self._progress.tasks.values())
            return Group(*self._render_tasks(tasks, time.monotonic()))

    def _render_tasks(self, tasks: Sequence[DisplayedTask], now: float) -> list[RenderableType]:
        room = _MOST if self._over else _step_rows_per_task(self._console.height - 2, len(tasks))
        pictures: list[RenderableType] = []
        for task in tasks:
            if pictures:
                pictures.append(Text())
            pictures.append(self._render_task(task, room, now))
        return pictures

    def _render_task(self, task: DisplayedTask, room: int, now: float) -> RenderableType:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        for justify in ("left", "left", "right", "right"):
            table.add_column(justify=justify, no_wrap=True)
        table.add_column()  # the note, which is cut first on a narrow terminal
        steps, left_out = _choose_steps_to_show(list(task.steps.values()), room)
        for step in steps:
            self._add_step_row(table, step, now)
        parts: list[RenderableType] = [self._task_heading(task, now), table]
        if left_out:
            counts = ", ".join(f"{count:,} {state}" for state, count in left_out.items())
            parts.append(Text(f"   and {counts}", style="dim"))
        return Group(*parts)

    def _task_heading(self, task: DisplayedTask, now: float) -> Text:
        heading = self._status_symbol(task.status, now).append(" ")
        if task.label:
            heading.append(f"{task.label}  ", style="bold")
        name = task.template
        heading.append(f"{name.namespace}.{name.name}", style="bold" if not task.label else "none")
        heading.append(f" {name.version}", style="none")
        heading.append(
            f"  {task.complete_step_count}/{len(task.steps)}", style=LOOKS[task.status].style
        )
        return heading.append(
            f"  {human_duration(task.elapsed_seconds(now))}  {task.id}", style="dim"
        )

    def _add_step_row(self, table: Table, step: DisplayedStep, now: float) -> None:
        look = LOOKS[step.status]
        attempts = ""
        if step.attempt and (step.max_attempts != 1 or step.attempt > 1):
            attempts = f"attempt {step.attempt}"
        started = step.attempt > 0
        table.add_row(
            Text("  ").append_text(self._status_symbol(step.status, now)),
            Text(step.name, style="dim" if step.status == "pending" else "none"),
            Text(attempts, style="yellow" if step.attempt > 1 else "dim"),
            Text(human_duration(step.total_running_seconds(now)) if started else "", style="dim"),
            Text(
                _describe_step_status(step, now),
                style=look.style,
                no_wrap=True,
                overflow="ellipsis",
            ),
        )

    def _status_symbol(self, state: str, now: float) -> Text:
        if state == "in_progress" and not self._plain and not self._over:
            return Text(SPINNER[int(now * 12) % len(SPINNER)], style=LOOKS[state].style)
        return status_symbol(state, plain=self._plain)


class FinalStateRenderer(LiveRenderer):
    """Shows the final state of the tasks once, for a console that records an image."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self._over = True
        self._console.print(self._render_frame())


def _describe_step_status(step: DisplayedStep, now: float) -> str:
    """Return the details of a step that its symbol does not show."""
    match step.status:
        case "waiting_for_retry":
            left = (step.due or now) - now
            return f"retries {f'in {human_duration(left)}' if left > 0 else 'now'}: {step.error}"
        case "waiting":
            return _describe_wait(step)
        case "error":
            return step.error
        case "pending" | "complete" | "in_progress":
            return ""
    return step.status


def _step_rows_per_task(rows: int, tasks: int) -> int:
    """Return the number of rows for the steps of each task."""
    return max(rows // max(tasks, 1) - 3, 1)


def _choose_steps_to_show(
    steps: Sequence[DisplayedStep], room: int
) -> tuple[Sequence[DisplayedStep], Counter[str]]:
    """Choose the steps to show: running and failed ones first, then the others in order.

    Returns:
        The steps in the template's order, and the number of other steps by state.
    """
    if len(steps) <= room:
        return steps, Counter()
    ranked = sorted(range(len(steps)), key=lambda at: _urgency_rank(steps[at]))
    shown = sorted(ranked[: room - 1])
    rest = Counter(steps[at].status for at in ranked[room - 1 :])
    return [steps[at] for at in shown], rest


def _urgency_rank(step: DisplayedStep) -> int:
    return _URGENT.index(step.status) if step.status in _URGENT else len(_URGENT)
