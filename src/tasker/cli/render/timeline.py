"""Renders the times of a task: queued, ran, backoff, parked."""

import math
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from tasker.cli.render.tables import make_table
from tasker.durations import human_duration
from tasker.model import PhaseDurations
from tasker.times import TaskTimes


def make_timeline_table(timeline: TaskTimes) -> Table:
    """Return a table of the steps' times, and of the task's in its last row."""
    columns = ("started after", "queued", "ran", "backoff", "parked")
    rows = make_table("step", *columns, right=columns, flexible=())
    for name, times in _sort_by_start(timeline):
        rows.add_row(Text(name), *_time_cells(times))
    rows.add_section()
    rows.add_row(Text("task", style="bold"), *_time_cells(timeline.task))
    return rows


def _sort_by_start(timeline: TaskTimes) -> list[tuple[str, PhaseDurations]]:
    """Return the steps' times in the order in which they started; others follow."""
    return sorted(
        timeline.steps.items(),
        key=lambda one: math.inf if one[1].started_after is None else one[1].started_after,
    )


def _time_cells(times: PhaseDurations) -> list[str]:
    started = "" if times.started_after is None else f"+{human_duration(times.started_after)}"
    seconds = (times.queued, times.ran, times.backoff, times.parked)
    return [started, *(human_duration(each) if each else "" for each in seconds)]


def timeline_to_document(timeline: TaskTimes) -> dict[str, Any]:
    """Write the timeline for programs; all times are seconds."""
    steps = [{"step": name, **asdict(times)} for name, times in _sort_by_start(timeline)]
    return {"task": asdict(timeline.task), "steps": steps}
