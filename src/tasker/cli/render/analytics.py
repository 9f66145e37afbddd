"""Renders analytics: totals and tables of bottlenecks."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasker.analytics.model import (
    BlockingStep,
    Bottlenecks,
    DurationStatistics,
    ErrorPattern,
    Performance,
    StepFigures,
)
from tasker.cli.render.style import format_relative_time, print_table, to_printable_line
from tasker.cli.render.tables import make_table
from tasker.durations import human_duration
from tasker.plurals import format_count


def render_analytics(console: Console, performance: Performance, bottlenecks: Bottlenecks) -> None:
    """Show totals, and all tables that are not empty.

    Args:
        console: The console to print on.
        performance: Totals of a window.
        bottlenecks: Bottlenecks of the same window.
    """
    print_table(console, _totals_table(performance, bottlenecks))
    for title, rows in (
        ("Slowest steps", _steps_table(bottlenecks.slow_steps)),
        ("Failing steps", _steps_table(bottlenecks.failing_steps)),
        ("Most frequent errors", _errors_table(bottlenecks.error_patterns)),
        ("Steps that others wait for", _blocking_steps_table(bottlenecks.blocking_steps)),
    ):
        if rows.row_count:
            console.print()
            console.print(Text(title, style="bold"))
            print_table(console, rows)
    if bottlenecks.recommendations:
        console.print()
        for recommendation in bottlenecks.recommendations:
            console.print(Text(to_printable_line(recommendation)), soft_wrap=True)


def _totals_table(performance: Performance, bottlenecks: Bottlenecks) -> Table:
    facts = make_table("", "")
    facts.show_header = False
    busy = bottlenecks.utilization
    ended = (
        f"{performance.completed_tasks:,} complete, {performance.failed_tasks:,} failed"
        f" ({performance.error_rate:.1f}%), {performance.cancelled_tasks:,} cancelled"
    )
    for name, value in (
        ("since", format_relative_time(performance.analysis_period_start)),
        ("tasks", f"{performance.total_tasks:,}: {ended}, {performance.active_tasks:,} open"),
        ("per hour", f"{performance.tasks_per_hour:,.1f} tasks, "
                     f"{performance.steps_per_hour:,.1f} steps"),
        ("tasks took", _format_duration_spread(performance.task_duration)),
        ("steps took", _format_duration_spread(performance.step_duration)),
        ("now", f"{format_count('step', busy.running_steps)} running, {busy.due_steps:,} due,"
                f" {busy.scheduled_steps:,} due later"),
    ):  # fmt: skip
        facts.add_row(Text(name, style="dim"), Text(value))
    return facts


def _format_duration_spread(spread: DurationStatistics) -> str:
    parts = (("average", spread.average), ("p50", spread.p50), ("p95", spread.p95),
             ("p99", spread.p99))  # fmt: skip
    return ", ".join(f"{name} {human_duration(seconds)}" for name, seconds in parts)


def _steps_table(steps: Sequence[StepFigures]) -> Table:
    numbers = ("average", "longest", "parked", "attempts", "failed", "retried")
    rows = make_table("step", *numbers, right=numbers, flexible=("step",))
    for one in steps:
        rows.add_row(
            Text(to_printable_line(one)),
            human_duration(one.average_duration_seconds),
            human_duration(one.max_duration_seconds),
            human_duration(one.average_parked_seconds) if one.average_parked_seconds else "",
            f"{one.execution_count:,}",
            f"{one.error_count:,} ({100 * one.error_rate:.0f} %)",
            f"{one.retry_count:,}",
        )
    return rows


def _errors_table(patterns: Sequence[ErrorPattern]) -> Table:
    rows = make_table("error", "code", "attempts", "final", "last", right=("attempts", "final"))
    for one in patterns:
        rows.add_row(
            Text(to_printable_line(one.error_type)),
            Text(to_printable_line(one.error_code or "")),
            f"{one.count:,}",
            f"{one.final_count:,}",
            Text(format_relative_time(one.last_seen_at), style="dim"),
        )
    return rows


def _blocking_steps_table(steps: Sequence[BlockingStep]) -> Table:
    numbers = ("tasks", "failed in", "waiting steps", "average wait")
    rows = make_table("step", *numbers, right=numbers, flexible=("step",))
    for one in steps:
        rows.add_row(
            Text(to_printable_line(one)),
            f"{one.tasks:,}",
            f"{one.failed_tasks:,}",
            f"{one.waiting_steps:,}",
            human_duration(one.average_wait_seconds),
        )
    return rows
