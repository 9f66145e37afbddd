"""`tasker search`: finds tasks, workflows, namespaces and workers."""

from typing import Annotated

import typer
from rich.text import Text

from tasker.cli.app import Invocation, command
from tasker.cli.render.json import to_plain
from tasker.cli.render.style import one_line, print_table
from tasker.cli.render.tables import make_table

app = typer.Typer(add_completion=False)


@command(app, "search")
async def search(
    invocation: Invocation,
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT",
            help="Prefix of a task's id, its correlation id, or part of a name.",
        ),
    ],
) -> None:
    """Search tasks by id or correlation id, and workflows, namespaces and workers by name."""
    async with invocation.client() as client:
        matches = await client.search(text)
    if invocation.as_json:
        invocation.print_document({"matches": to_plain(matches)})
        return
    if not matches:
        invocation.err.print("nothing matches")
        return
    table = make_table("kind", "name", "id", "detail", "title")
    for one in matches:
        detail = one.detail.partition(",")[0] if one.kind == "task" else one.detail
        table.add_row(
            Text(one.kind, style="dim"),
            Text(one_line(one.name), style="bold"),
            "" if one.id == one.name else one.id,
            one_line(detail),
            one_line(one.title or ""),
        )
    print_table(invocation.out, table)
