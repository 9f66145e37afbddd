"""`tasker bulk ...`: operations on many tasks, which `task cancel` and `task retry` start."""

from typing import Annotated

import typer

from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.bulk import print_operation, print_operations, show_bulk_progress
from tasker.cli.exits import ExitCode
from tasker.cli.options import Reason
from tasker.cli.render.json import to_plain_json

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the operation.")]

app = make_command_group("List, show, follow and stop bulk operations.")


@register_command(app, "list")
async def list_operations(
    invocation: Invocation,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-l", min=1, max=100, metavar="N", help="Maximum number of operations."
        ),
    ] = 25,
) -> None:
    """List bulk operations, newest first."""
    async with invocation.open_client() as client:
        operations = await client.bulk.list(limit=limit)
    if invocation.as_json:
        invocation.print_json({"operations": to_plain_json(operations)})
    elif operations:
        print_operations(invocation, operations)
    else:
        invocation.stderr_console.print("no bulk operations")


@register_command(app, "show")
async def show_operation(invocation: Invocation, operation: Id) -> None:
    """Show a bulk operation and its progress."""
    async with invocation.open_client() as client:
        print_operation(invocation, await client.bulk.get(operation))


@register_command(app, "watch", acts=True)
async def watch_operation(invocation: Invocation, operation: Id) -> ExitCode:
    """Show the progress of a bulk operation until it ends.

    If no worker or server is running, this command executes the operation itself. Exit code: 5 if a
    task could not be changed.
    """
    async with invocation.open_client(operates=True) as client:
        return await show_bulk_progress(invocation, client, await client.bulk.get(operation))


@register_command(app, "stop", acts=True)
async def stop_operation(invocation: Invocation, operation: Id, reason: Reason = "") -> None:
    """Stop a bulk operation. Tasks that it has changed stay changed."""
    async with invocation.open_client(operates=True) as client:
        print_operation(invocation, await client.bulk.stop(operation, reason=reason))
