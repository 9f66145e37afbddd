"""Computes the times of a task and its steps by phase.

The API, the command line, metrics and analytics share these definitions:

- queued: due but not claimed by a worker: from its due time to its claim
- ran: in its handler: from claim to settlement
- backoff: between an attempt that failed, or was lost, and the due time of the next
- parked: waiting for a time, an arrival or another task, without occupying a worker

The time before a step is first due (because of its dependencies or a delay of the task) belongs to
none of these phases, nor does the time between a final failure and an operator's retry.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from tasker.model import (
    Attempt,
    AttemptOutcome,
    PhaseDurations,
    Step,
    StepStatus,
    Task,
    TemplateName,
)
from tasker.notices import (
    AttemptLost,
    AttemptStopped,
    Notice,
    StepSettled,
    StepStarted,
    StepWaiting,
)


class TaskTimes(NamedTuple):
    """Times of a task by phase, as a whole and by step."""

    task: PhaseDurations
    """How long the task was in each phase. Each moment from creation to end counts once: as `ran`
    if any step ran then, otherwise as `queued`, `backoff` or `parked`, in this order."""

    steps: Mapping[str, PhaseDurations]
    """The times of each step by name, in the order of the steps."""


class StepPhase(IntEnum):
    """The phase of a step at a time. A task is in the lowest phase of its steps."""

    RAN = 0
    QUEUED = 1
    BACKOFF = 2
    PARKED = 3


Interval: TypeAlias = tuple[StepPhase, datetime, datetime]

_GAPS = {
    AttemptOutcome.PARKED: StepPhase.PARKED,
    AttemptOutcome.RETRY: StepPhase.BACKOFF,
    AttemptOutcome.LOST: StepPhase.BACKOFF,
    AttemptOutcome.RELEASED: StepPhase.BACKOFF,
}
"""The phase of a step from the end of an attempt with this outcome until it is due again."""


def compute_task_times(
    task: Task, steps: Sequence[Step], history: Iterable[Attempt], now: datetime
) -> TaskTimes:
    """Return the times of a task; running phases count until `now`."""
    attempts: dict[int, list[Attempt]] = {step.no: [] for step in steps}
    for attempt in history:
        if attempt.claimed_at is not None and attempt.no in attempts:
            attempts[attempt.no].append(attempt)
    by_step: dict[str, PhaseDurations] = {}
    everything: list[Interval] = []
    started: list[float] = []
    for step in steps:
        own = sorted(attempts[step.no], key=lambda one: one.attempt)
        intervals = [each for each in _phase_intervals(step, own, now) if each[1] < each[2]]
        everything += intervals
        first = own[0].claimed_at if own else step.claimed_at
        after = None if first is None else max((first - task.created_at).total_seconds(), 0.0)
        if after is not None:
            started.append(after)
        by_step[step.name] = _make_phase_durations(after, _sum_seconds_by_phase(intervals))
    return TaskTimes(
        _make_phase_durations(min(started, default=None), _sum_seconds_without_overlap(everything)),
        by_step,
    )


def _phase_intervals(step: Step, attempts: Sequence[Attempt], now: datetime) -> Iterator[Interval]:
    for one in attempts:
        if one.claimed_at is not None:
            yield StepPhase.QUEUED, one.enqueued_at or one.claimed_at, one.claimed_at
            yield StepPhase.RAN, one.claimed_at, one.settled_at
    due = _due_time(step, now)
    dues = [*(each.enqueued_at for each in attempts[1:]), due]
    for no, one in enumerate(attempts):
        gap, following = _GAPS.get(one.outcome), dues[no]
        if gap is not None and following is not None:
            yield gap, one.settled_at, min(following, now)
    if due is None or step.status is StepStatus.WAITING:
        return
    claimed = step.claimed_at if step.status is StepStatus.IN_PROGRESS else None
    yield StepPhase.QUEUED, due, claimed or now
    if claimed is not None:
        yield StepPhase.RAN, claimed, now


def _due_time(step: Step, now: datetime) -> datetime | None:
    """Return the due time of the running or next attempt, or None without one."""
    if step.status is StepStatus.WAITING:
        return now
    if step.status is StepStatus.IN_PROGRESS:
        return step.enqueued_at
    if step.status in (StepStatus.ENQUEUED, StepStatus.WAITING_FOR_RETRY):
        return max(filter(None, (step.enqueued_at, step.run_at)), default=None)
    return None


def _sum_seconds_by_phase(intervals: Iterable[Interval]) -> list[float]:
    seconds = [0.0] * len(StepPhase)
    for kind, start, end in intervals:
        seconds[kind] += (end - start).total_seconds()
    return seconds


def _sum_seconds_without_overlap(intervals: Iterable[Interval]) -> list[float]:
    """Return the seconds of each kind; a time with several kinds counts as the first of them."""
    seconds = [0.0] * len(StepPhase)
    changes = [
        (at, kind, by) for kind, *ends in intervals for at, by in zip(ends, (1, -1), strict=True)
    ]
    under_way = [0] * len(StepPhase)
    before: datetime | None = None
    for at, kind, by in sorted(changes):
        if before is not None and at > before and any(under_way):
            first = next(each for each in StepPhase if under_way[each])
            seconds[first] += (at - before).total_seconds()
        under_way[kind] += by
        before = at
    return seconds


def _make_phase_durations(started_after: float | None, seconds: Sequence[float]) -> PhaseDurations:
    rounded = [round(each, 6) for each in seconds]
    return PhaseDurations(
        started_after=started_after,
        queued=rounded[StepPhase.QUEUED],
        ran=rounded[StepPhase.RAN],
        backoff=rounded[StepPhase.BACKOFF],
        parked=rounded[StepPhase.PARKED],
    )


def phase_durations_in_notice(notice: Notice) -> Iterator[tuple[StepPhase, TemplateName, float]]:
    """Yield the durations that a notice adds to the times of a step, with their kinds."""
    if isinstance(notice, StepStarted):
        yield StepPhase.QUEUED, notice.template, notice.queued_for.total_seconds()
        if notice.parked_for:
            yield StepPhase.PARKED, notice.template, notice.parked_for.total_seconds()
    elif isinstance(notice, StepSettled | StepWaiting | AttemptStopped):
        yield StepPhase.RAN, notice.template, notice.ran_for.total_seconds()
    if isinstance(notice, StepSettled | AttemptLost) and notice.delay:
        yield StepPhase.BACKOFF, notice.template, notice.delay.total_seconds()
