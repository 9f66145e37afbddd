"""`tasker search`: finds tasks, workflows, namespaces and workers."""

from typing import Annotated

import typer
from rich.text import Text

from tasker.cli.app import Invocation, register_command
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.style import print_table, to_printable_line
from tasker.cli.render.tables import make_table

app = typer.Typer(add_completion=False)


@register_command(app, "search")
async def search(
    invocation: Invocation,
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT",
            help="Prefix of a task's id, a correlation id, or part of a name.",
        ),
    ],
) -> None:
    """Search tasks by id or correlation id, and workflows, namespaces and workers by name."""
    async with invocation.open_client() as client:
        matches = await client.search(text)
    if invocation.as_json:
        invocation.print_json({"matches": to_plain_json(matches)})
        return
    if not matches:
        invocation.stderr_console.print("nothing matches")
        return
    table = make_table("kind", "name", "id", "detail", "title")
    for one in matches:
        detail = one.detail.partition(",")[0] if one.kind == "task" else one.detail
        table.add_row(
            Text(one.kind, style="dim"),
            Text(to_printable_line(one.name), style="bold"),
            "" if one.id == one.name else one.id,
            to_printable_line(detail),
            to_printable_line(one.title or ""),
        )
    print_table(invocation.stdout_console, table)
