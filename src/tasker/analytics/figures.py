"""Figures per minute and template, as counted by workers, and the series computed from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from tasker.errors import InvalidInput

FIGURES_KEPT = timedelta(days=14)
"""How long figures are kept."""

MERGED_AFTER = 2  #: minutes after which the rows of several workers become one
MOST_POINTS = 2_000  #: of one series
MOST_SERIES = 50  #: of one answer; the others are left out


class MinuteFigures(NamedTuple):
    """The activity of a template's tasks in a minute."""

    minute: int
    """Minutes since 1970."""

    template_id: int
    created: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    steps: int = 0
    """Steps that ended."""

    retries: int = 0
    """Number of attempts that failed and were retried."""

    seconds: float = 0.0
    """Total duration of the tasks that ended."""


class Metric(StrEnum):
    """The quantity that a series shows."""

    CREATED = "created"
    ENDED = "ended"
    FAILED = "failed"
    STEPS = "steps"
    RETRIES = "retries"
    DURATION = "duration"


class SeriesGrouping(StrEnum):
    """What each series of a chart stands for: a status, a namespace, a workflow, or all tasks."""

    NONE = "none"
    STATUS = "status"
    NAMESPACE = "namespace"
    WORKFLOW = "workflow"


class IntervalFigures(NamedTuple):
    """Figures of a template, added up over the minutes of one point."""

    point: int
    """Number of whole intervals from 1970-01-01T00:00:00Z to the start of the point."""

    namespace: str
    name: str
    created: int
    completed: int
    failed: int
    cancelled: int
    steps: int
    retries: int
    seconds: float

    @property
    def ended_tasks(self) -> int:
        """Tasks that ended."""
        return self.completed + self.failed + self.cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Values of one line of a chart."""

    key: str
    """The status, namespace or workflow that the line shows; "" if there is only one line."""

    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Series over the same points in time."""

    start: datetime
    """Time of the first point."""

    step_seconds: int
    points: int
    series: tuple[Series, ...]
    """The lines of the chart, at most 50; those with the largest sums of values come first."""

    as_of: datetime
    """Time of the response. The figures of a minute may be incomplete until about one minute after
    its end."""


def resolve_point_interval(hours: float, step_seconds: int | None) -> int:
    """Return the seconds between two points, whole minutes; None chooses about 100 points.

    Raises:
        InvalidInput: The step is not a multiple of 60 or gives more than 2,000 points, or the hours
            exceed the time for which figures are kept.
    """
    most_hours = FIGURES_KEPT / timedelta(hours=1)
    if hours > most_hours:
        raise InvalidInput(f"must be at most {most_hours:g}, not {hours:g}", path="$.hours")
    if step_seconds is None:
        return max(1, round(hours * 60 / 96)) * 60
    if step_seconds % 60 or step_seconds <= 0:
        raise InvalidInput(f"must be a positive multiple of 60, not {step_seconds}", path="$.step")
    if hours * 3600 / step_seconds > MOST_POINTS:
        raise InvalidInput(
            f"must be larger: the chart would have more than {MOST_POINTS:,} points", path="$.step"
        )
    return step_seconds


def make_chart(
    rows: Iterable[IntervalFigures],
    metric: Metric,
    by: SeriesGrouping,
    *,
    now: datetime,
    hours: float,
    step_seconds: int,
) -> Chart:
    """Return the series of rows whose points are `step_seconds` long."""
    last = int(now.timestamp()) // step_seconds
    points = max(1, round(hours * 3600 / step_seconds))
    first = last - points + 1
    values: dict[str, list[float]] = {}
    counts: dict[str, list[int]] = {}
    for row in rows:
        at = row.point - first
        if not 0 <= at < points:
            continue
        for key, value in _values_by_series(row, metric, by).items():
            values.setdefault(key, [0.0] * points)[at] += value
            if metric is Metric.DURATION:
                counts.setdefault(key, [0] * points)[at] += row.ended_tasks
    series = [
        Series(key=key, values=tuple(_divide_sums_by_counts(line, counts[key]) if counts else line))
        for key, line in values.items()
        if any(line)
    ]
    series.sort(key=lambda one: (-sum(one.values), one.key))
    return Chart(
        start=datetime.fromtimestamp(first * step_seconds, UTC),
        step_seconds=step_seconds,
        points=points,
        series=tuple(series[:MOST_SERIES]),
        as_of=now,
    )


def _values_by_series(
    row: IntervalFigures, metric: Metric, by: SeriesGrouping
) -> Mapping[str, float]:
    """Return the values that a row adds to series, by the key of the series."""
    if by is SeriesGrouping.STATUS and metric is Metric.ENDED:
        return {"complete": row.completed, "error": row.failed, "cancelled": row.cancelled}
    values = {
        Metric.CREATED: row.created,
        Metric.ENDED: row.ended_tasks,
        Metric.FAILED: row.failed,
        Metric.STEPS: row.steps,
        Metric.RETRIES: row.retries,
        Metric.DURATION: row.seconds,
    }
    value = values[metric]
    if by is SeriesGrouping.NAMESPACE:
        return {row.namespace: value}
    if by is SeriesGrouping.WORKFLOW:
        return {f"{row.namespace}.{row.name}": value}
    return {"": value}


def _divide_sums_by_counts(sums: Sequence[float], counts: Sequence[int]) -> list[float]:
    return [total / count if count else 0.0 for total, count in zip(sums, counts, strict=True)]
