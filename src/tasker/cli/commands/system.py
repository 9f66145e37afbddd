"""`tasker system`: the state of the store, its workers and its steps."""

import typer
from rich.text import Text

from tasker.cli.app import Invocation, register_command
from tasker.cli.render.style import print_table, to_printable_line
from tasker.cli.render.tables import make_table
from tasker.durations import human_duration
from tasker.plurals import format_count

app = typer.Typer(add_completion=False)


@register_command(app, "system")
async def show_system_status(invocation: Invocation) -> None:
    """Show the state of the store, its workers and its steps."""
    async with invocation.open_client() as client:
        status = await client.system()
    if invocation.as_json:
        invocation.print_json(status)
        return
    facts = [
        ("store", f"{status.store}, schema {status.schema_version}"),
        ("workers", f"{status.workers:,} alive, {format_count('slot', status.slots)}"),
    ]
    if status.running is not None:
        facts.append(("held", f"{format_count('step', status.running)} of these slots"))
    if (load := status.utilization) is not None:
        facts.append(
            (
                "steps",
                f"{load.due_steps:,} due, {load.scheduled_steps:,} scheduled,"
                f" {load.running_steps:,} running",
            )
        )
        facts.append(("without worker", f"{load.steps_without_worker:,} due steps"))
        facts.append(("connections", f"{load.database_pool_utilization:.0%} in use"))
    if (oldest := status.oldest_snapshot) is not None:
        age = "unknown age" if oldest.age_seconds is None else human_duration(oldest.age_seconds)
        facts.append(("oldest snapshot", to_printable_line(f"{oldest.kind} {oldest.name}, {age}")))
    table = make_table("", "")
    table.show_header = False
    for name, value in facts:
        table.add_row(Text(name, style="dim"), value)
    print_table(invocation.stdout_console, table)
