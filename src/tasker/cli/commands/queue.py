"""`tasker queue ...`: lists the queues of handlers, pauses and resumes them."""

from typing import Annotated

import typer
from rich.text import Text

from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.options import Reason
from tasker.cli.pausing import describe_pause, pause_target, resume_target
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.style import print_table, to_printable_line
from tasker.cli.render.tables import make_table
from tasker.client.templates import DEFAULT_NAMESPACE
from tasker.model import GREATEST_WEIGHT, LEAST_WEIGHT, PauseKind, PauseTarget

Handler = Annotated[
    str, typer.Argument(metavar="HANDLER", help="Name of the handler, as in templates.")
]
Space = Annotated[
    str, typer.Option("--namespace", "-n", metavar="NAME", help="Namespace of the queue.")
]
OnlySpace = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NAME", help="List only this namespace.")
]

app = make_command_group("List, pause and resume the queues of handlers, and set their weights.")


@register_command(app, "list")
async def list_queues(invocation: Invocation, namespace: OnlySpace = None) -> None:
    """List queues, with the numbers of due, scheduled, running and paused steps."""
    async with invocation.open_client() as client:
        queues = await client.queues(namespace)
        pauses = await client.pauses(namespace)
    if invocation.as_json:
        invocation.print_json(
            {"queues": [one._asdict() for one in queues], "pauses": to_plain_json(pauses)}
        )
        return
    counts = ("due", "scheduled", "running", "paused")
    rows = make_table("namespace", "handler", "weight", *counts, "", right=("weight", *counts))
    holding = {(one.kind, one.namespace, one.name): one for one in pauses}
    for one in queues:
        holder = holding.get((PauseKind.QUEUE, one.namespace, one.handler)) or holding.get(
            (PauseKind.NAMESPACE, one.namespace, "")
        )
        rows.add_row(
            Text(one.namespace, style="dim"),
            Text(to_printable_line(one.handler), style="bold"),
            f"{one.weight:g}",
            *(f"{getattr(one, count):,}" for count in counts),
            Text(f"paused: {describe_pause(holder)}" if holder else "", style="yellow"),
        )
    if queues:
        print_table(invocation.stdout_console, rows)
    else:
        invocation.stderr_console.print("no queues")


@register_command(app, "pauses")
async def list_pauses(invocation: Invocation, namespace: OnlySpace = None) -> None:
    """List the current pauses of tasks, templates, queues and namespaces, newest first."""
    async with invocation.open_client() as client:
        pauses = await client.pauses(namespace)
    if invocation.as_json:
        invocation.print_json({"pauses": to_plain_json(pauses)})
        return
    for one in pauses:
        invocation.stdout_console.print(describe_pause(one), soft_wrap=True, highlight=False)
    if not pauses:
        invocation.stderr_console.print("nothing is paused")


@register_command(app, "pause", acts=True)
async def pause_queue(
    invocation: Invocation,
    handler: Handler,
    namespace: Space = DEFAULT_NAMESPACE,
    reason: Reason = "",
) -> None:
    """Pause a handler's queue: no new steps start; running attempts continue."""
    async with invocation.open_client(operates=True) as client:
        await pause_target(invocation, client, PauseTarget.of_queue(namespace, handler), reason)


@register_command(app, "resume", acts=True)
async def resume_queue(
    invocation: Invocation,
    handler: Handler,
    namespace: Space = DEFAULT_NAMESPACE,
    reason: Reason = "",
) -> None:
    """Resume a handler's queue."""
    async with invocation.open_client(operates=True) as client:
        await resume_target(invocation, client, PauseTarget.of_queue(namespace, handler), reason)


@register_command(app, "weight", acts=True)
async def set_queue_weight(
    invocation: Invocation,
    handler: Handler,
    weight: Annotated[
        float,
        typer.Argument(
            metavar="WEIGHT",
            min=LEAST_WEIGHT,
            max=GREATEST_WEIGHT,
            help="Weight relative to other queues; default: 1.",
        ),
    ],
    namespace: Space = DEFAULT_NAMESPACE,
    reason: Reason = "",
) -> None:
    """Set the weight of a handler's queue, which determines its share of claims."""
    async with invocation.open_client(operates=True) as client:
        await client.set_queue_weight(namespace, handler, weight, reason=reason)
    if invocation.as_json:
        invocation.print_json({"weight": weight})
    else:
        invocation.stdout_console.print(
            f"queue {handler} of namespace {namespace} has weight {weight:g}"
        )
