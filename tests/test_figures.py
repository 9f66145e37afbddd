"""Charts of figures, and the worker that counts them."""

from datetime import UTC, datetime, timedelta

import pytest

from tasker import PermanentError, Worker, WorkerSettings, open_store
from tasker.analytics.figures import (
    Chart,
    IntervalFigures,
    Metric,
    SeriesGrouping,
    make_chart,
    resolve_point_interval,
)
from tasker.analytics.model import AnalysisWindow
from tasker.errors import InvalidInput, TaskFailed
from tasker.model import StepSpec, Template

NOW = datetime(2026, 5, 1, 12, 0, 30, tzinfo=UTC)
LAST = int(NOW.timestamp()) // 60
ROWS = [
    IntervalFigures(LAST, "shop", "order", 4, 2, 1, 0, 9, 1, 6.0),
    IntervalFigures(LAST - 1, "shop", "order", 1, 1, 0, 0, 3, 0, 1.0),
    IntervalFigures(LAST - 1, "bank", "pay", 5, 0, 0, 2, 0, 0, 0.0),
    IntervalFigures(LAST - 2, "bank", "old", 9, 9, 9, 9, 9, 9, 9.0),
]


def chart(metric: Metric, by: SeriesGrouping = SeriesGrouping.NONE) -> Chart:
    """Return a chart of the last two minutes."""
    return make_chart(ROWS, metric, by, now=NOW, hours=2 / 60, step_seconds=60)


@pytest.mark.parametrize(
    ("metric", "by", "expected"),
    [
        (Metric.CREATED, SeriesGrouping.NONE, {"": (6, 4)}),
        (Metric.ENDED, SeriesGrouping.NONE, {"": (3, 3)}),
        (
            Metric.ENDED,
            SeriesGrouping.STATUS,
            {"complete": (1, 2), "error": (0, 1), "cancelled": (2, 0)},
        ),
        (Metric.STEPS, SeriesGrouping.WORKFLOW, {"shop.order": (3, 9)}),
        (Metric.CREATED, SeriesGrouping.NAMESPACE, {"bank": (5, 0), "shop": (1, 4)}),
        (Metric.DURATION, SeriesGrouping.WORKFLOW, {"shop.order": (1.0, 2.0)}),
    ],
)
def test_a_chart_has_a_line_for_each_key(
    metric: Metric, by: SeriesGrouping, expected: dict[str, tuple[float, ...]]
) -> None:
    """The largest first; durations are averages of the tasks that ended."""
    made = chart(metric, by)

    assert expected == {line.key: line.values for line in made.series}
    assert (NOW.replace(second=0) - timedelta(minutes=1), 2) == (made.start, made.points)
    sums = [sum(line.values) for line in made.series]
    assert sums == sorted(sums, reverse=True)


def test_the_resolution_is_a_multiple_of_a_minute() -> None:
    assert (900, 60) == (resolve_point_interval(24, None), resolve_point_interval(1, 60))
    for hours, step in ((1, 90), (1, 0), (336, 60)):
        with pytest.raises(InvalidInput):
            resolve_point_interval(hours, step)


@pytest.mark.anyio
async def test_a_worker_counts_its_settlements() -> None:
    """It writes the counts when it stops, at the latest."""

    def fail() -> None:
        raise PermanentError("broken")

    templates = [
        Template(namespace="shop", name=name, version="1.0.0", steps=(StepSpec(name=name),))
        for name in ("go", "fail")
    ]
    handlers = {"go": lambda: 1, "fail": fail}
    async with open_store("sqlite::memory:") as store:
        for template in templates:
            await store.register_template(template, registered_by="tests")
        settings = WorkerSettings(poll=timedelta(seconds=0.05))
        async with Worker(store, [handlers], namespaces="*", settings=settings) as worker:
            await worker.client.run("shop.go", timeout=60)
            with pytest.raises(TaskFailed):
                await worker.client.run("shop.fail", timeout=60)
        figures = await store.list_minute_figures(AnalysisWindow(hours=1), step_seconds=86_400)

    counted = {row.name: (row.completed, row.failed, row.steps) for row in figures}
    assert {"go": (1, 0, 1), "fail": (0, 1, 1)} == counted
