"""`tasker webhook ...`: HTTP endpoints that receive events."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.options import Reason
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.style import format_relative_time, print_table, to_printable_line
from tasker.cli.render.tables import make_table
from tasker.events import DeliveryStatus, Webhook

Name = Annotated[str, typer.Argument(metavar="NAME", help="Webhook, as namespace.name.")]
Url = Annotated[str, typer.Argument(metavar="URL", help="URL to which events are sent.")]
NewUrl = Annotated[str | None, typer.Option("--url", metavar="URL", help="New URL.")]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        "-e",
        metavar="NAME",
        help="Name of an event, or a prefix such as 'payment.*'; '*' for all. Repeatable.",
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PART",
        help="Data that requests contain in addition to the event: context or result. Repeatable.",
    ),
]

app = make_command_group(
    "Create, list and change webhooks, which receive events, and inspect deliveries."
)


@register_command(app, "create", acts=True)
async def create_webhook(
    invocation: Invocation,
    name: Name,
    url: Url,
    events: Events = None,
    include: Include = None,
    reason: Reason = "",
) -> None:
    """Create a webhook and print its secret, which is shown only once."""
    async with invocation.open_client(create=True, operates=True) as client:
        webhook = await client.webhooks.create(
            name, url, events or "*", include=include or (), reason=reason
        )
    _print_secret(invocation, webhook)


@register_command(app, "secret", acts=True)
async def replace_secret(invocation: Invocation, name: Name, reason: Reason = "") -> None:
    """Replace a webhook's secret and print the new one, which is shown only once."""
    async with invocation.open_client(operates=True) as client:
        webhook = await client.webhooks.replace_secret(name, reason=reason)
    _print_secret(invocation, webhook)


@register_command(app, "list")
async def list_webhooks(
    invocation: Invocation,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="Show only webhooks of this namespace."
        ),
    ] = None,
) -> None:
    """List webhooks, with the numbers of their pending and dead deliveries."""
    async with invocation.open_client() as client:
        webhooks = await client.webhooks.list(namespace)
    if invocation.as_json:
        invocation.print_json({"webhooks": to_plain_json(webhooks)})
    elif webhooks:
        _print_webhooks(invocation, webhooks)
    else:
        invocation.stderr_console.print("no webhooks")


@register_command(app, "show")
async def show_webhook(invocation: Invocation, name: Name) -> None:
    """Show a webhook."""
    async with invocation.open_client() as client:
        webhook = await client.webhooks.get(name)
    if invocation.as_json:
        invocation.print_json(to_plain_json(webhook))
    else:
        _print_webhooks(invocation, [webhook])


@register_command(app, "update", acts=True)
async def update_webhook(
    invocation: Invocation,
    name: Name,
    url: NewUrl = None,
    events: Events = None,
    include: Include = None,
    paused: Annotated[
        bool | None,
        typer.Option(
            "--pause/--resume", metavar="", help="Suspend the webhook's deliveries, or resume them."
        ),
    ] = None,
    reason: Reason = "",
) -> None:
    """Change a webhook. Omitted options keep their values."""
    async with invocation.open_client(operates=True) as client:
        webhook = await client.webhooks.update(
            name, url=url, events=events, include=include, paused=paused, reason=reason
        )
    if invocation.as_json:
        invocation.print_json(to_plain_json(webhook))
    else:
        _print_webhooks(invocation, [webhook])


@register_command(app, "delete", acts=True)
async def delete_webhook(invocation: Invocation, name: Name, reason: Reason = "") -> None:
    """Delete a webhook with its deliveries."""
    async with invocation.open_client(operates=True) as client:
        await client.webhooks.delete(name, reason=reason)
    if invocation.as_json:
        invocation.print_json({"deleted": True})
    else:
        invocation.stdout_console.print(f"deleted: {name}")


@register_command(app, "deliveries")
async def list_deliveries(
    invocation: Invocation,
    name: Name,
    status: Annotated[
        DeliveryStatus | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="List deliveries with this status: pending, delivered or dead.",
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", metavar="N", min=1, max=1000, help="Maximum number of deliveries."),
    ] = 25,
) -> None:
    """List the deliveries of a webhook or subscriber, newest first."""
    async with invocation.open_client() as client:
        rows = await client.webhooks.deliveries(name, status=status, limit=limit)
    if invocation.as_json:
        invocation.print_json({"deliveries": to_plain_json(rows)})
        return
    if not rows:
        invocation.stderr_console.print("no deliveries")
        return
    now = datetime.now(UTC)
    table = make_table("id", "event", "task", "status", "attempts", "created", "last attempt")
    for row in rows:
        last = row.log[-1] if row.log else None
        answer = "" if last is None else last.error or f"status {last.response}"
        table.add_row(
            str(row.id),
            Text(row.event_name, style="bold"),
            row.task_id,
            row.status.value,
            str(row.attempts),
            Text(format_relative_time(row.created_at, now), style="dim"),
            to_printable_line(answer),
        )
    print_table(invocation.stdout_console, table)


@register_command(app, "send", acts=True)
async def resend_delivery(
    invocation: Invocation,
    name: Name,
    delivery: Annotated[int, typer.Argument(metavar="ID", help="Id of a delivery.")],
    reason: Reason = "",
) -> None:
    """Send an event again, even a delivered or dead one."""
    async with invocation.open_client(operates=True) as client:
        await client.webhooks.send_again(name, delivery, reason=reason)
    if invocation.as_json:
        invocation.print_json({"status": "pending"})
    else:
        invocation.stdout_console.print(f"delivery {delivery} is due again")


def _print_secret(invocation: Invocation, webhook: Webhook) -> None:
    if invocation.as_json:
        invocation.print_json(to_plain_json(webhook))
        return
    invocation.stdout_console.print(webhook.secret, soft_wrap=True, highlight=False)
    invocation.stderr_console.print(
        "Receivers verify signatures with this secret. It is not shown again;"
        f" `tasker webhook secret {webhook.namespace}.{webhook.name}` replaces it.",
        style="dim",
        soft_wrap=True,
    )


def _print_webhooks(invocation: Invocation, webhooks: Sequence[Webhook]) -> None:
    now = datetime.now(UTC)
    counts = ("pending", "dead")
    table = make_table("name", "events", "url", *counts, "created", "by", "", right=counts)
    for one in webhooks:
        table.add_row(
            Text(f"{one.namespace}.{one.name}", style="bold"),
            " ".join(one.events),
            to_printable_line(one.url),
            f"{one.pending:,}",
            f"{one.dead:,}",
            Text(format_relative_time(one.created_at, now), style="dim"),
            Text(to_printable_line(one.created_by), style="dim"),
            Text("paused" if one.paused else "", style="yellow"),
        )
    print_table(invocation.stdout_console, table)
