"""`tasker event list`: the domain events that steps have published."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from tasker import codec
from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.style import format_relative_time, print_table, to_printable_line
from tasker.cli.render.tables import make_table

app = make_command_group("List the published events of steps and tasks.")


@register_command(app, "list")
async def list_events(
    invocation: Invocation,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Name, or a prefix such as 'payment.*'."),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="Show only events of this namespace."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="ID", help="Show only events of this task.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=1000, help="Maximum number of events.")
    ] = 25,
) -> None:
    """List events, newest first."""
    async with invocation.open_client() as client:
        events = await client.events(name, namespace=namespace, task_id=task, limit=limit)
    if invocation.as_json:
        invocation.print_json({"events": to_plain_json(events)})
        return
    if not events:
        invocation.stderr_console.print("no events")
        return
    now = datetime.now(UTC)
    table = make_table("event", "namespace", "step", "attempt", "task", "at", "payload")
    for event in events:
        table.add_row(
            Text(event.name, style="bold"),
            Text(event.namespace, style="dim"),
            event.step,
            str(event.attempt),
            event.task_id,
            Text(format_relative_time(event.at, now), style="dim"),
            to_printable_line(codec.dumps(event.payload))[:200],
        )
    print_table(invocation.stdout_console, table)
