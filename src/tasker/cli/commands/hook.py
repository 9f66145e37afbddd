"""`tasker hook ...`: addresses to which providers send signed requests."""

import sys
from typing import Annotated

import typer
from rich.text import Text

from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.options import Reason
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.style import print_table, to_printable_line
from tasker.cli.render.tables import make_table
from tasker.hooks import DEFAULT_HEADER, LONGEST_SECRET, HookMessageKind, SignatureScheme

Name = Annotated[str, typer.Argument(metavar="NAME", help="Provider hook, as namespace.name.")]

app = make_command_group(
    "Declare, list and delete provider hooks, which turn requests into broadcasts or signals."
)


@register_command(app, "declare", acts=True)
async def declare_hook(
    invocation: Invocation,
    name: Name,
    scheme: Annotated[
        SignatureScheme,
        typer.Option(metavar="SCHEME", help="How requests are signed: hmac, github or stripe."),
    ],
    sends: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the broadcast or signal that is sent.")
    ],
    key: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            help="Path to the broadcast's key or the signal's task id, such as body.order_id.",
        ),
    ],
    target: Annotated[
        HookMessageKind,
        typer.Option(metavar="TARGET", help="What each request becomes: a broadcast or a signal."),
    ] = HookMessageKind.BROADCAST,
    request_id: Annotated[
        str | None,
        typer.Option("--id", metavar="PATH", help="Path to the request's id, such as body.id."),
    ] = None,
    when: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION",
            help="Condition on body and headers; if it is false, the request is ignored.",
        ),
    ] = None,
    header: Annotated[
        str, typer.Option(metavar="NAME", help="Header that contains the signature; hmac only.")
    ] = DEFAULT_HEADER,
    reason: Reason = "",
) -> None:
    """Declare or replace a provider hook; its secret is read from stdin."""
    secret = sys.stdin.read(LONGEST_SECRET + 2).strip()
    async with invocation.open_client(create=True, operates=True) as client:
        hook = await client.hooks.declare(
            name,
            scheme=scheme,
            secret=secret,
            sends=sends,
            key=key,
            target=target,
            id=request_id,
            when=when,
            header=header,
            reason=reason,
        )
    if invocation.as_json:
        invocation.print_json(to_plain_json(hook))
    else:
        invocation.stdout_console.print(f"declared: POST /v1/hooks/{hook.namespace}/{hook.name}")


@register_command(app, "list")
async def list_hooks(
    invocation: Invocation,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="Show only hooks of this namespace."
        ),
    ] = None,
) -> None:
    """List provider hooks, without their secrets."""
    async with invocation.open_client() as client:
        hooks = await client.hooks.list(namespace)
    if invocation.as_json:
        invocation.print_json({"hooks": to_plain_json(hooks)})
        return
    if not hooks:
        invocation.stderr_console.print("no hooks")
        return
    rows = make_table("hook", "scheme", "sends", "key", "when")
    for hook in hooks:
        rows.add_row(
            Text(f"{hook.namespace}.{hook.name}", style="bold"),
            hook.scheme,
            to_printable_line(f"{hook.target} {hook.sends}"),
            to_printable_line(hook.key),
            to_printable_line(hook.when or ""),
        )
    print_table(invocation.stdout_console, rows)


@register_command(app, "delete", acts=True)
async def delete_hook(invocation: Invocation, name: Name, reason: Reason = "") -> None:
    """Delete a provider hook."""
    async with invocation.open_client(operates=True) as client:
        await client.hooks.delete(name, reason=reason)
    if invocation.as_json:
        invocation.print_json({"deleted": True})
    else:
        invocation.stdout_console.print(f"deleted: {name}")
