"""Statistics on recent work, computed by stores, and recommendations derived from them.

A window is bounded both by hours and by the number of rows. If it has more tasks, only the newest
are counted, and the result reports the start of the covered period. So the statistics are always
correct, and a query takes at most a few seconds.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from tasker.durations import human_duration
from tasker.errors import InvalidInput, StoreUnavailable
from tasker.plurals import format_count

MOST_HOURS = 8_760
MOST_TASKS = 100_000  #: tasks examined, the newest of a window
MOST_ATTEMPTS = 100_000  #: attempts examined, likewise
MOST_STEP_KINDS = 5_000  #: distinct steps of templates
TIMEOUT = timedelta(seconds=5)  #: of one statement


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisWindow:
    """The tasks that statistics cover: those created in the last `hours`.

    Raises:
        InvalidInput: `hours` is not greater than 0 and at most a year.
    """

    hours: float = 24
    namespace: str | None = None  #: None: all
    name: str | None = None
    version: str | None = None
    visible: frozenset[str] | None = None
    """Namespaces that the caller may see; None means all. Only servers set this field."""

    def __post_init__(self) -> None:
        if not 0 < self.hours <= MOST_HOURS:
            raise InvalidInput(
                f"hours must be greater than 0 and at most {MOST_HOURS:,}, not {self.hours}",
                path="$.hours",
            )

    @property
    def is_unfiltered(self) -> bool:
        """Whether the window covers all templates, without a filter or a restriction of access."""
        named = (self.namespace, self.name, self.version, self.visible)
        return all(part is None for part in named)


USUAL_TASKS = 50  #: complete tasks from which the usual durations of a version are taken
USUAL_SEEN = 500  #: tasks among which these are looked for, the newest
USUAL_STEPS = 5_000  #: steps that are read for it, of all of these tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualDuration:
    """How long something usually takes, in seconds."""

    runs: int
    """Number of measured durations."""

    median: float
    p95: float
    """The 95th percentile: 95% of the measured durations are at most this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualDurations:
    """How long a template version and its steps usually take."""

    task: UsualDuration | None
    """Durations of tasks from creation to end; null if none of the version's newest 500 tasks is
    complete."""

    steps: Mapping[str, UsualDuration]
    """Durations of the last attempts of complete steps, from claim to end, by step name."""


def make_usual_durations(rows: Iterable[tuple[int, float]], names: Sequence[str]) -> UsualDurations:
    """Return the usual durations, given measured ones by step number, with 0 for the task."""
    measured: dict[int, list[float]] = {}
    for node, seconds in rows:
        measured.setdefault(node, []).append(max(seconds, 0.0))
    usual = {node: _make_usual_duration(sorted(seconds)) for node, seconds in measured.items()}
    steps = {name: usual[no] for no, name in enumerate(names, start=1) if no in usual}
    return UsualDurations(task=usual.get(0), steps=steps)


def _make_usual_duration(seconds: Sequence[float]) -> UsualDuration:
    last = len(seconds) - 1
    return UsualDuration(
        runs=len(seconds), median=seconds[last // 2], p95=seconds[math.ceil(last * 0.95)]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationStatistics:
    """Durations in seconds, or zeros if nothing was measured."""

    average: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Counts, rates and durations of the tasks of a window."""

    total_tasks: int
    active_tasks: int
    completed_tasks: int  #: including those resolved manually
    failed_tasks: int
    cancelled_tasks: int
    completion_rate: float  #: percent of all tasks
    error_rate: float  #: percent of all tasks
    task_duration: DurationStatistics  #: from creation to completion, including waits
    step_duration: DurationStatistics  #: of attempts that completed, from claim to settlement
    tasks_per_hour: float  #: created
    steps_per_hour: float  #: completed
    system_health_score: float
    """Share of complete tasks among the complete and failed tasks created in the last hour; 1 if
    there are none."""

    total_namespaces: int  #: among the tasks
    unique_task_types: int  #: namespaces and names among the tasks
    analysis_period_start: datetime
    """Start of the covered period: the window's start, or a later time if the window contains more
    tasks than are analyzed."""

    step_period_start: datetime  #: likewise for attempts
    calculated_at: datetime

    @property
    def average_task_duration_seconds(self) -> float:
        """The average time from a task's creation to its end."""
        return self.task_duration.average

    @property
    def average_step_duration_seconds(self) -> float:
        """The average of `step_duration`."""
        return self.step_duration.average


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFigures:
    """Counts and durations of one step of a template, over all of its attempts."""

    namespace: str
    name: str
    version: str
    step: str
    average_duration_seconds: float
    max_duration_seconds: float
    average_parked_seconds: float  #: waiting for other tasks, per completed attempt
    execution_count: int  #: attempts that completed, failed, or were lost with their worker
    error_count: int  #: those of them that failed
    retry_count: int  #: those failures that were followed by another attempt
    error_rate: float  #: from 0 to 1
    last_executed_at: datetime

    @property
    def average_seconds(self) -> float:
        """Average duration of the step in seconds, including the time it was parked."""
        return self.average_duration_seconds + self.average_parked_seconds

    def __str__(self) -> str:
        return f"{self.step} of {self.namespace}.{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFigures:
    """Counts and durations of the ended tasks of one template."""

    namespace: str
    name: str
    version: str
    average_duration_seconds: float
    max_duration_seconds: float
    execution_count: int
    average_step_count: float
    error_count: int
    error_rate: float  #: from 0 to 1
    last_executed_at: datetime

    def __str__(self) -> str:
        return f"{self.namespace}.{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPattern:
    """Failed attempts of one kind of error."""

    error_type: str  #: name of the exception's class
    error_code: str | None
    count: int
    final_count: int  #: those of them that were not followed by another attempt
    last_seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockingStep:
    """An unfinished step that blocks other steps."""

    namespace: str
    name: str
    version: str
    step: str
    tasks: int  #: open tasks in which it blocks other steps
    failed_tasks: int  #: those of these tasks in which it failed
    waiting_steps: int  #: steps that depend on it directly
    average_wait_seconds: float  #: since the step became due

    def __str__(self) -> str:
        return f"{self.step} of {self.namespace}.{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryStatistics:
    """Outcomes of steps that were retried after a failure."""

    retried_steps: int = 0
    succeeded: int = 0
    failed: int = 0  #: failed permanently; the others are in progress

    @property
    def success_rate(self) -> float:
        """Share of the ended steps that succeeded, from 0 to 1; 1 if none has ended."""
        return rounded_share(self.succeeded, self.succeeded + self.failed, nothing=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLoad:
    """Current load of the store, independent of the window; steps are counted up to 100,000."""

    database_pool_utilization: float  #: from 0 to 1
    due_steps: int  #: enqueued, and waiting for a worker
    scheduled_steps: int  #: enqueued for later: retries and delays
    running_steps: int
    steps_without_worker: int = 0  #: due, but no live worker can run them


class HandlerBacklog(NamedTuple):
    """The steps of a handler in a namespace, counted up to 100,000 per queue."""

    namespace: str
    handler: str
    due: int  #: enqueued, and waiting for a worker
    scheduled: int  #: enqueued for later: retries and delays
    running: int
    paused: int  #: enqueued, in a paused queue or of a paused task; not in `due` or `scheduled`
    weight: float  #: relative to other queues


@dataclass(frozen=True, slots=True, kw_only=True)
class OldestSnapshot:
    """The oldest open snapshot of a PostgreSQL database, and its holder.

    VACUUM cannot remove rows that were deleted or updated after it was taken, so claims and
    settlements have to skip more and more of them.
    """

    kind: str  #: session, prepared transaction, replication slot
    name: str  #: the session's application name, the transaction's identifier, the slot's name
    user: str  #: the database role; "" for a replication slot
    pid: int | None  #: of the server's process; None for a prepared transaction
    state: str  #: of the session, such as `idle in transaction`; "" if it is unknown
    age_seconds: float | None
    """Seconds since the holder's transaction began. None if it is unknown, because a role
    without `pg_read_all_stats` cannot see the age and state of other roles' sessions."""

    transactions: int  #: transactions with an id that were begun since it was taken


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemStatus:
    """The state of the store: its kind, its schema's version, and its oldest open snapshot."""

    store: str
    """`postgresql` or `sqlite`."""

    schema_version: int
    oldest_snapshot: OldestSnapshot | None
    """The oldest open snapshot, which keeps PostgreSQL from removing old rows."""

    workers: int
    """Live workers."""

    slots: int
    """Number of steps that the workers can run at the same time."""

    running: int | None
    """Number of steps that the workers have claimed; null if the caller cannot see all
    namespaces."""

    utilization: StoreLoad | None
    """The store's figures; null if the caller cannot see all namespaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottlenecks:
    """Bottlenecks of the tasks of a window."""

    total_tasks: int
    unique_task_types: int
    tasks_by_status: dict[str, int]  #: `active`, or their final status
    task_duration: DurationStatistics
    distribution: dict[str, int]  #: completed tasks by `0-10s`, `10-30s`, `30s+`
    slow_steps: tuple[StepFigures, ...]  #: the highest averages first
    failing_steps: tuple[StepFigures, ...]  #: the highest error rates first
    retried_steps: tuple[StepFigures, ...]  #: the most retries first
    slow_tasks: tuple[TaskFigures, ...]  #: the highest averages first
    total_errors: int  #: failed attempts
    recent_error_rate: float  #: from 0 to 1, of attempts
    error_patterns: tuple[ErrorPattern, ...]  #: the most frequent first
    retries: RetryStatistics
    blocking_steps: tuple[BlockingStep, ...]  #: those that block the most steps first
    utilization: StoreLoad
    recommendations: tuple[str, ...]
    analysis_period_start: datetime
    step_period_start: datetime
    calculated_at: datetime


def analysis_timeout_error() -> StoreUnavailable:
    """Return the error for an analysis that exceeded its time limit."""
    return StoreUnavailable(
        f"the analysis took longer than {human_duration(TIMEOUT)}:"
        " choose a shorter time window or a single namespace"
    )


def rounded_share(part: float, whole: float, *, nothing: float = 0.0) -> float:
    """Return `part / whole` rounded to four decimals, or `nothing` if the whole is 0."""
    return round(part / whole, 4) if whole else nothing


def rate_per_hour(count: int, start: datetime, end: datetime) -> float:
    """Return the average number per hour, rounded to two decimals."""
    hours = max((end - start) / timedelta(hours=1), 1 / 3600)
    return round(count / hours, 2)


def top_steps_by(
    steps: Iterable[StepFigures], by: str, limit: int, *, least: float = 0.0
) -> tuple[StepFigures, ...]:
    """Return the steps with the highest values of `by`, among those above `least`."""
    above = [step for step in steps if getattr(step, by) > least]
    above.sort(key=lambda step: (-getattr(step, by), str(step)))
    return tuple(above[:limit])


def make_recommendations(
    *,
    steps: Sequence[StepFigures],
    patterns: Sequence[ErrorPattern],
    total_errors: int,
    retries: RetryStatistics,
    blocking_steps: Sequence[BlockingStep],
    utilization: StoreLoad,
) -> tuple[str, ...]:
    """List recommendations derived from the statistics."""
    return (
        *_advise_on_steps(steps),
        *_advise_on_errors(patterns, total_errors, retries),
        *_advise_on_blocking_steps(blocking_steps),
        *_advise_on_store(utilization),
    )


_MOST_STEPS = 3  #: steps named by one recommendation


def _advise_on_steps(steps: Sequence[StepFigures]) -> Iterator[str]:
    for step in top_steps_by(steps, "error_rate", _MOST_STEPS, least=0.2):
        yield (
            f"step {step} fails in {step.error_rate:.0%} of its attempts"
            f" ({step.error_count} of {step.execution_count}): check its errors first"
        )
    for step in top_steps_by(steps, "average_duration_seconds", _MOST_STEPS, least=30):
        yield (
            f"step {step} takes {human_duration(step.average_duration_seconds)} on average:"
            " split it into several steps, so that independent parts run in parallel"
        )


def _advise_on_errors(
    patterns: Sequence[ErrorPattern], total_errors: int, retries: RetryStatistics
) -> Iterator[str]:
    if total_errors >= 5:
        for pattern in patterns[:1]:
            if pattern.count * 2 > total_errors:
                share = rounded_share(pattern.count, total_errors)
                yield (
                    f"{pattern.error_type} accounts for {share:.0%} of all"
                    f" {total_errors} errors: one cause may be behind most of them"
                )
    ended = retries.succeeded + retries.failed
    if ended >= 5 and retries.success_rate < 0.5:
        yield (
            f"only {retries.success_rate:.0%} of the {ended} steps that were tried again"
            " succeeded: raise PermanentError for errors that a retry cannot fix"
        )


def _advise_on_blocking_steps(blocking_steps: Sequence[BlockingStep]) -> Iterator[str]:
    for step in [step for step in blocking_steps if step.failed_tasks][:_MOST_STEPS]:
        tasks = format_count("open task", step.failed_tasks)
        yield f"{step} failed in {tasks}, and other steps wait for it: retry or resolve this step"


def _advise_on_store(utilization: StoreLoad) -> Iterator[str]:
    if utilization.due_steps > 1_000:
        yield (
            f"{utilization.due_steps:,} steps are due and wait for a worker:"
            " start more workers, or give them more slots"
        )
    if utilization.database_pool_utilization > 0.8:
        yield (
            f"{utilization.database_pool_utilization:.0%} of the store's connections are in use:"
            " allow more connections, or spread the load over more processes"
        )
