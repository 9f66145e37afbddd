"""Where a task's time went, by step: queued, running, in backoff, parked."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from rich.table import Table
from rich.text import Text

from tasker.cli.render.style import duration
from tasker.cli.render.tables import table
from tasker.model import Attempt, AttemptOutcome, Step, StepStatus, Task

_UNCOUNTED = (AttemptOutcome.PARKED, AttemptOutcome.RELEASED)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """One step's time in seconds. What it did since its last attempt counts until `now`."""

    step: str
    started_after: float | None  #: from the task's creation to the first claim; None: not yet
    queued: float  #: runnable, and no worker had a free slot
    ran: float  #: in its handler
    backoff: float  #: between a failed attempt and the next one's due time
    parked: float  #: waiting for another task, without a worker


def step_times(
    task: Task, steps: Sequence[Step], history: Sequence[Attempt], now: datetime
) -> list[StepTimes]:
    """Compute where each step's time went, in the order of the steps."""
    by_step: dict[int, list[Attempt]] = {step.no: [] for step in steps}
    for attempt in sorted(history, key=lambda one: (one.attempt, one.settled_at)):
        if attempt.claimed_at is not None:
            by_step.setdefault(attempt.no, []).append(attempt)
    return [_times(task, step, by_step[step.no], now) for step in steps]


def counted_attempts(step: Step, history: Sequence[Attempt]) -> int:
    """Return a step's attempts without those that were parked or handed back."""
    free = sum(one.no == step.no and one.outcome in _UNCOUNTED for one in history)
    return max(step.attempts - free, 0)


def _times(task: Task, step: Step, attempts: Sequence[Attempt], now: datetime) -> StepTimes:
    queued = ran = backoff = parked = 0.0
    for one in attempts:
        queued += _between(one.enqueued_at, one.claimed_at)
        ran += _between(one.claimed_at, one.settled_at)
    for before, after in pairwise(attempts):
        gap = _between(before.settled_at, after.enqueued_at)
        if before.outcome is AttemptOutcome.PARKED:
            parked += gap
        else:
            backoff += gap
    last = attempts[-1] if attempts else None
    if step.status is StepStatus.IN_PROGRESS:
        ran += _between(step.claimed_at, now)
    elif last is not None and step.status is StepStatus.WAITING:
        parked += _between(last.settled_at, now)
    elif last is not None and step.waiting_for_retry(now):
        backoff += _between(last.settled_at, now)
    elif step.status is StepStatus.ENQUEUED:
        queued += _between(step.run_at, now)
    first = attempts[0].claimed_at if attempts else step.claimed_at
    return StepTimes(
        step=step.name,
        started_after=None if first is None else _between(task.created_at, first),
        queued=queued,
        ran=ran,
        backoff=backoff,
        parked=parked,
    )


def timeline_table(times: Sequence[StepTimes]) -> Table:
    """Return a table of the steps that have started or wait for a worker."""
    columns = ("started after", "queued", "ran", "backoff", "parked")
    rows = table("step", *columns, right=columns, flexible=())
    for one in times:
        started = "" if one.started_after is None else f"+{duration(one.started_after)}"
        spans = (one.queued, one.ran, one.backoff, one.parked)
        rows.add_row(Text(one.step), started, *(duration(span) if span else "" for span in spans))
    return rows


def timeline_document(times: Sequence[StepTimes]) -> list[dict[str, Any]]:
    """Write the timeline for programs; all times are seconds."""
    return [
        {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()}
        for row in map(asdict, times)
    ]


def _between(start: datetime | None, end: datetime | None) -> float:
    """Return the seconds from one instant to another, at least 0; 0 if one is not known."""
    return 0.0 if start is None or end is None else max((end - start).total_seconds(), 0.0)
