"""`tasker analytics`: recent durations, error rates and bottlenecks."""

from datetime import timedelta
from typing import Annotated, Any

import typer

from tasker.analytics.model import Window
from tasker.cli.app import Session, command
from tasker.cli.completion import complete_template
from tasker.cli.options import parse_duration_option, parse_template_reference
from tasker.cli.render.analytics import render_analytics

app = typer.Typer(add_completion=False)


@command(app, "analytics")
async def analytics(
    session: Session,
    last: Annotated[
        Any,
        typer.Option(
            "--last",
            parser=parse_duration_option,
            metavar="TIME",
            help="Include tasks created within this time, such as 24h.",
        ),
    ] = "24h",
    template: Annotated[
        str | None,
        typer.Option(
            "--template",
            "-t",
            metavar="NAME",
            help="Template: [NAMESPACE.]NAME[@VERSION].",
            autocompletion=complete_template,
        ),
    ] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", metavar="NAME")] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-l", min=1, max=100, metavar="N", help="Maximum number of rows per table."
        ),
    ] = 5,
    min_executions: Annotated[
        int,
        typer.Option(
            "--min-executions", min=1, metavar="N", help="Omit steps with fewer executions."
        ),
    ] = 1,
) -> None:
    """Show durations, error rates, slow and failing steps, and frequent errors."""
    space, name, version = parse_template_reference(template)
    window = Window(
        hours=last / timedelta(hours=1),
        namespace=namespace or space,
        name=name,
        version=version,
    )
    async with session.client() as client:
        performance = await client.performance(window)
        bottlenecks = await client.bottlenecks(window, limit=limit, min_executions=min_executions)
    if session.as_json:
        session.print_document({"performance": performance, "bottlenecks": bottlenecks})
    else:
        render_analytics(session.out, performance, bottlenecks)
