"""`tasker broadcast`: sends a broadcast to all steps that wait for it."""

from typing import Annotated, Any

import typer

from tasker.cli.app import Invocation, register_command
from tasker.cli.options import parse_json_or_file
from tasker.cli.render.json import to_plain_json
from tasker.client.templates import DEFAULT_NAMESPACE
from tasker.plurals import format_count

app = typer.Typer(add_completion=False)


@register_command(app, "broadcast", acts=True)
async def send_broadcast(
    invocation: Invocation,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the signal that the steps wait for.")
    ],
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key that the steps wait for.")],
    payload: Annotated[
        Any,
        typer.Argument(
            parser=parse_json_or_file, metavar="[JSON|@FILE]", help="Payload; default: null."
        ),
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help=(
                "Id of the broadcast; a second broadcast with the same name, key and id is not "
                "sent."
            ),
        ),
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NAME", help="Namespace of the tasks.")
    ] = DEFAULT_NAMESPACE,
) -> None:
    """Send a broadcast to all steps of a namespace that wait for its name and key.

    Steps of existing tasks that begin to wait for it within a week also receive it.
    """
    async with invocation.open_client(operates=True) as client:
        sent = await client.broadcast(name, key, payload, id=id, namespace=namespace)
    if invocation.as_json:
        invocation.print_json(to_plain_json(sent))
    elif not sent.created:
        invocation.stdout_console.print("a broadcast with this id was already sent")
    else:
        steps = format_count("step", sent.steps)
        invocation.stdout_console.print(f"sent to namespace {sent.namespace}; {steps} received it")
