"""`tasker analytics`: recent durations, error rates and bottlenecks."""

from typing import Annotated

import typer

from tasker.cli.app import Invocation, register_command
from tasker.cli.options import Last, WindowNamespace, WindowTemplate, make_analysis_window
from tasker.cli.render.analytics import render_analytics

app = typer.Typer(add_completion=False)


@register_command(app, "analytics")
async def show_analytics(
    invocation: Invocation,
    last: Last = "24h",
    template: WindowTemplate = None,
    namespace: WindowNamespace = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-l", min=1, max=100, metavar="N", help="Maximum number of rows per table."
        ),
    ] = 5,
    min_executions: Annotated[
        int,
        typer.Option(
            "--min-executions", min=1, metavar="N", help="Omit steps that ran fewer than N times."
        ),
    ] = 1,
) -> None:
    """Show durations, error rates, slow and failing steps, and frequent errors."""
    window = make_analysis_window(last, template, namespace)
    async with invocation.open_client() as client:
        performance = await client.performance(window)
        bottlenecks = await client.bottlenecks(window, limit=limit, min_executions=min_executions)
    if invocation.as_json:
        invocation.print_json({"performance": performance, "bottlenecks": bottlenecks})
    else:
        render_analytics(invocation.stdout_console, performance, bottlenecks)
