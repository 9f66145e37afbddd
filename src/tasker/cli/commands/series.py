"""`tasker series`: what happened over time."""

from typing import Annotated

import typer
from rich.text import Text

from tasker.analytics.figures import Metric, SeriesGrouping
from tasker.cli.app import Invocation, register_command
from tasker.cli.options import Last, WindowNamespace, WindowTemplate, make_analysis_window
from tasker.cli.render.style import (
    draw_sparkline,
    format_local_time,
    is_ascii_only,
    print_table,
    to_printable_line,
)
from tasker.cli.render.tables import make_table
from tasker.durations import human_duration

app = typer.Typer(add_completion=False)

_SHOWN = 48  #: points of a line, at most
_STYLES = {"complete": "green", "error": "red", "cancelled": "yellow"}


@register_command(app, "series")
async def show_series(
    invocation: Invocation,
    metric: Annotated[Metric, typer.Argument(help="Figure to show.")] = Metric.ENDED,
    by: Annotated[
        SeriesGrouping,
        typer.Option(
            "--by", help="Show one line per namespace or workflow or, for ended tasks, per status."
        ),
    ] = SeriesGrouping.NONE,
    last: Last = "24h",
    template: WindowTemplate = None,
    namespace: WindowNamespace = None,
    step: Annotated[
        int | None,
        typer.Option(
            "--step", min=60, max=86_400, metavar="N", help="Seconds per point, a multiple of 60."
        ),
    ] = None,
) -> None:
    """Show figures over time: created, ended and failed tasks, steps, retries and durations."""
    window = make_analysis_window(last, template, namespace)
    async with invocation.open_client() as client:
        chart = await client.series(metric, window, by=by, step_seconds=step)
    if invocation.as_json:
        invocation.print_json(chart)
        return
    if not chart.series:
        invocation.stderr_console.print("no figures in this period")
        return
    plain = is_ascii_only(invocation.stdout_console)
    averages = metric is Metric.DURATION
    per = -(-chart.points // _SHOWN)
    table = make_table("", "sum", "most", "", right=("sum", "most"))
    table.show_header = False
    for line in chart.series:
        parts = [line.values[at : at + per] for at in range(0, chart.points, per)]
        heights = [max(part) if averages else sum(part) for part in parts]
        most = max(line.values)
        table.add_row(
            Text(to_printable_line(line.key or metric.value), style="bold"),
            "" if averages else f"{sum(line.values):,.0f}",
            f"at most {human_duration(most) if averages else f'{most:,.0f}'}",
            Text(draw_sparkline(heights, plain=plain), style=_STYLES.get(line.key, "cyan")),
        )
    print_table(invocation.stdout_console, table)
    width = human_duration(chart.step_seconds)
    invocation.stdout_console.print(
        Text(
            f"since {format_local_time(chart.start)}; 'at most' is the maximum per {width}",
            style="dim",
        ),
        soft_wrap=True,
    )
