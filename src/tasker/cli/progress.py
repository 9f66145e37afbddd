"""Progress of tasks, followed from the events of a worker in this process.

`Progress` is the entrance: it keeps what is known of each task and its steps, and shows
it: on a terminal as a table that changes in place, elsewhere as a line per event.

    with Progress(console, templates=templates) as progress:
        async with Worker(store, handlers, observers=[progress.observe]) as worker:
            task = await worker.client.create_task(...)
            progress.add(task)
            await worker.client.wait(task.id)
"""

import threading
import time
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from tasker import codec
from tasker.cli.style import error_line, shown_state
from tasker.events import (
    Event,
    LoopBlocked,
    SettleRefused,
    StepSettled,
    StepStarted,
    StepWaiting,
    TaskEnded,
)
from tasker.model import AttemptOutcome, Step, Task, TaskId, Template, TemplateName

if TYPE_CHECKING:
    from rich.console import Console

_KEPT = 10_000  #: events of tasks that may be added yet


class StepProgress:
    """What is known of one step."""

    def __init__(self, name: str, max_attempts: int | None = None) -> None:
        self.name = name
        self.max_attempts = max_attempts  #: None: the template is not known here
        self.state = "pending"
        self.attempt = 0  #: those that count against `max_attempts`
        self.spent = 0.0  #: seconds inside the handler, of attempts that ended
        self.since: float | None = None  #: when the attempt that runs began
        self.due: float | None = None  #: when the next attempt may begin
        self.error = ""  #: of the last attempt that failed
        self.awaits: TaskId | None = None  #: the task that it waits for
        self._free = 0  #: attempts that did not count

    def started(self, event: StepStarted, now: float) -> None:
        self.state, self.since, self.due, self.awaits = "in_progress", now, None, None
        self.attempt = max(event.attempt - self._free, 1)

    def waits(self, event: StepWaiting, now: float) -> None:
        self._ended(now)
        self.state, self.awaits = "waiting", event.awaits
        self._free += 1

    def settled(self, event: StepSettled, now: float) -> None:
        self._ended(now)
        self.error = error_of(event) or self.error
        match event.outcome:
            case AttemptOutcome.COMPLETE:
                self.state, self.error = "complete", ""
            case AttemptOutcome.RETRY | AttemptOutcome.LOST:
                self.state = "waiting_for_retry"
                self.due = now + event.delay.total_seconds()
            case AttemptOutcome.RELEASED:
                self.state = "enqueued"
                self._free += 1
            case _:
                self.state = event.outcome.value

    def refused(self, now: float) -> None:
        """It belongs to others now, or its task was cancelled."""
        self._ended(now)
        if self.state == "in_progress":
            self.state = "pending"

    def read(self, step: Step, now: float, clock: datetime) -> None:
        """Take over what a store tells."""
        self.state, self.attempt = shown_state(step, clock), step.attempts
        self.error = error_line(step.error)
        self.since = self.due = None
        if step.claimed_at is not None:
            began = now - (clock - step.claimed_at).total_seconds()
            if self.state == "in_progress":
                self.since = began
            elif step.settled_at is not None and step.settled_at > step.claimed_at:
                self.spent = (step.settled_at - step.claimed_at).total_seconds()
        if self.state == "waiting_for_retry" and step.run_at is not None:
            self.due = now + (step.run_at - clock).total_seconds()

    def running_for(self, now: float) -> float:
        """Tell the seconds spent in the handler, those of the attempt that runs included."""
        return self.spent + (now - self.since if self.since is not None else 0.0)

    def _ended(self, now: float) -> None:
        if self.since is not None:
            self.spent += now - self.since
        self.since = None


class TaskProgress:
    """What is known of one task."""

    def __init__(self, id: TaskId, template: TemplateName, correlation_id: str, now: float) -> None:
        self.id = id
        self.template = template
        self.correlation_id = correlation_id
        self.label = ""
        self.state = "pending"
        self.began = now
        self.ended: float | None = None
        self.steps: dict[str, StepProgress] = {}

    def know(self, template: Template) -> None:
        """Learn the steps that are to come, in the template's order."""
        self.steps = {
            spec.name: StepProgress(
                spec.name, spec.retry.max_attempts if spec.retry.retryable else 1
            )
            for spec in template.steps
        }

    def step(self, name: str) -> StepProgress:
        return self.steps.setdefault(name, StepProgress(name))

    def start(self, now: float) -> None:
        self.state, self.ended = "in_progress", None
        self.began = min(self.began, now)

    def end(self, state: str, now: float) -> None:
        self.state, self.ended = state, now
        for step in self.steps.values():
            if step.state in ("pending", "enqueued", "in_progress", "waiting_for_retry"):
                step.state = "cancelled" if state == "cancelled" else step.state

    def read(self, task: Task, now: float, clock: datetime) -> None:
        """Take over what a store tells."""
        self.state = task.status.value
        self.began = now - (clock - task.created_at).total_seconds()
        if task.ended_at is not None:
            self.ended = now - (clock - task.ended_at).total_seconds()

    def took(self, now: float) -> float:
        """Tell the seconds since it was created, or those it took."""
        return (now if self.ended is None else self.ended) - self.began

    @property
    def done(self) -> int:
        """Tell how many steps are complete."""
        return sum(step.state == "complete" for step in self.steps.values())


class Renderer(Protocol):
    """Shows progress somewhere."""

    def start(self) -> None: ...

    def added(self, task: TaskProgress) -> None:
        """A task is followed from now on."""

    def happened(self, task: TaskProgress | None, event: Event) -> None:
        """An event was taken in; its task and step are as they are after it."""

    def changed(self, task: TaskProgress, step: StepProgress) -> None:
        """A store told that a step is in another state than before."""

    def stop(self) -> None: ...


class Progress:
    """Follows tasks, and shows how they come on.

    A task is followed when it was added, when its correlation id is that of one that was,
    or, with `everything`, whenever it is met. Events that come before their task is added
    are kept for it.

    Args:
        console: Where to show it.
        templates: Tell the steps of tasks that are to come; of others, steps are shown as
            they start.
        everything: Whether all tasks that are met are followed.
        live: Whether what was shown changes in place; None: on terminals that can.
    """

    def __init__(
        self,
        console: "Console",
        *,
        templates: Iterable[Template] = (),
        everything: bool = False,
        live: bool | None = None,
    ) -> None:
        self.tasks: dict[TaskId, TaskProgress] = {}
        self.lock = threading.Lock()  #: held while tasks are changed
        self._templates = {template.key: template for template in templates}
        self._everything = everything
        self._correlations: set[str] = set()
        self._early: deque[tuple[Event, float]] = deque(maxlen=_KEPT)
        self._renderer = _renderer(self, console, live)

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

    def know(self, template: Template) -> None:
        """Learn of a template that came later."""
        self._templates[template.key] = template

    def add(self, task: Task, template: Template | None = None, *, label: str = "") -> None:
        """Follow a task.

        Args:
            task: As it was created.
            template: Its template; None: one of those given before.
            label: What to call it; empty: its template's name.
        """
        if template is not None:
            self.know(template)
        now = time.monotonic()
        with self.lock:
            self._correlations.add(task.correlation_id)
            followed = self._follow(task.id, task.template, task.correlation_id, now, label)
            self._renderer.added(followed)
            early = list(self._early)
            self._early.clear()
        for event, at in early:
            self._take(event, at)

    def refresh(self, task: Task, steps: Iterable[Step]) -> None:
        """Take over what a store tells of a task, for one that is followed by asking."""
        now, clock = time.monotonic(), datetime.now(UTC)
        with self.lock:
            followed = self._follow(task.id, task.template, task.correlation_id, now, "")
            for step in steps:
                seen = followed.step(step.name)
                before = (seen.state, seen.attempt)
                seen.read(step, now, clock)
                if before != (seen.state, seen.attempt):
                    self._renderer.changed(followed, seen)
            before_end = followed.ended
            followed.read(task, now, clock)
            if before_end is None and followed.ended is not None:
                self._renderer.happened(followed, TaskEnded(task.id, task.status))

    def observe(self, event: Event) -> None:
        """Take in an event: an observer for `Worker`."""
        self._take(event, time.monotonic())

    def _take(self, event: Event, now: float) -> None:
        with self.lock:
            if isinstance(event, LoopBlocked):
                self._renderer.happened(None, event)
                return
            task = self.tasks.get(event.task_id) or self._met(event, now)
            if task is None:
                self._early.append((event, now))
                return
            _apply(task, event, now)
            self._renderer.happened(task, event)
            if self._everything and task.ended is not None:
                del self.tasks[task.id]

    def _met(self, event: Event, now: float) -> TaskProgress | None:
        """Follow the task of an event, if that is wanted."""
        if isinstance(event, TaskEnded | LoopBlocked):
            return None
        if not self._everything and event.correlation_id not in self._correlations:
            return None
        task = self._follow(event.task_id, event.template, event.correlation_id, now, "")
        self._renderer.added(task)
        return task

    def _follow(
        self, id: TaskId, template: TemplateName, correlation_id: str, now: float, label: str
    ) -> TaskProgress:
        task = self.tasks.get(id)
        if task is None:
            task = self.tasks[id] = TaskProgress(id, template, correlation_id, now)
            if (known := self._templates.get(template)) is not None:
                task.know(known)
        task.label = label or task.label
        return task


def error_of(event: StepSettled) -> str:
    """Tell why an attempt failed, in one line."""
    return error_line(codec.loads(event.error)) if event.error else ""


def _apply(task: TaskProgress, event: Event, now: float) -> None:
    """Change what is known of a task by what happened."""
    match event:
        case StepStarted():
            task.start(now)
            task.step(event.step).started(event, now)
        case StepSettled():
            task.step(event.step).settled(event, now)
        case StepWaiting():
            task.step(event.step).waits(event, now)
        case SettleRefused():
            task.step(event.step).refused(now)
        case TaskEnded():
            task.end(event.status.value, now)


def _renderer(progress: Progress, console: "Console", live: bool | None) -> Renderer:
    if live is None:
        live = console.is_terminal and not console.is_dumb_terminal
    if live:
        from tasker.cli.live import Live

        return Live(progress, console)
    from tasker.cli.lines import Lines

    return Lines(console)
