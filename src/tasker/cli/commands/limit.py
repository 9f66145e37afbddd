"""`tasker limit ...`: lists and sets limits on the steps that share a key."""

from typing import Annotated

import typer
from rich.text import Text

from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.namespaces import (
    join_names_shortened,
    list_known_namespaces,
    warn_of_unknown_namespaces,
)
from tasker.cli.options import Reason
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.specs import describe_limit
from tasker.cli.render.style import print_table, to_printable_line
from tasker.cli.render.tables import make_table
from tasker.client import Client
from tasker.client.templates import DEFAULT_NAMESPACE
from tasker.limits import LIMIT_CONCURRENCY
from tasker.model import LimitInfo
from tasker.template.step_limits import SHARED

Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY", help="Key of the limit; '*' stands for any text, as in 'customer:*'."
    ),
]
Space = Annotated[
    str, typer.Option("--namespace", "-n", metavar="NAME", help="Namespace of the key.")
]

app = make_command_group("List and set limits on the steps that share a key.")


@register_command(app, "list")
async def list_limits(
    invocation: Invocation,
    namespace: Space = DEFAULT_NAMESPACE,
    shared: Annotated[
        bool, typer.Option("--shared", help="List the keys that all namespaces share.")
    ] = False,
    after: Annotated[str, typer.Option(metavar="KEY", help="Continue after this key.")] = "",
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Maximum number of limits.")
    ] = 100,
) -> None:
    """List limits, with the numbers of running and waiting steps."""
    space = "" if shared else namespace
    async with invocation.open_client() as client:
        limits = await client.limits(space, after=after, limit=limit)
        settings = await client.limit_settings(space)
        known = [] if limits or settings else await list_known_namespaces(client)
    if invocation.as_json:
        invocation.print_json(
            {"limits": to_plain_json(limits), "settings": to_plain_json(settings)}
        )
        return
    rows = make_table("key", "limit", "running", "waiting", "set by", right=("running", "waiting"))
    for one in limits:
        rows.add_row(
            Text(to_printable_line(one.key), style="bold"),
            describe_limit(one.values),
            f"{one.running:,}",
            f"{one.waiting:,}",
            Text(_limit_origin_text(one), style="dim"),
        )
    unused = [each for each in settings if all(one.set_by != each.pattern for one in limits)]
    for each in unused:
        rows.add_row(
            to_printable_line(each.pattern), describe_limit(each.values), "", "", each.updated_by
        )
    if limits or unused:
        print_table(invocation.stdout_console, rows)
    else:
        others = [one for one in known if one != space]
        hint = f"; other namespaces (--namespace): {join_names_shortened(others)}" if others else ""
        where = f" in namespace {space}" if space else ""
        invocation.stderr_console.print(f"no limits{where}{hint}", soft_wrap=True, highlight=False)


def _limit_origin_text(limit: LimitInfo) -> str:
    return "template" if limit.set_by is None else to_printable_line(limit.set_by)


@register_command(app, "set", acts=True)
async def set_limit(
    invocation: Invocation,
    key: Key,
    namespace: Space = DEFAULT_NAMESPACE,
    concurrency: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=LIMIT_CONCURRENCY,
            help="Maximum number of steps in progress; with 0, no step starts.",
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Maximum rate at which steps start, such as 100/s, 5/m, 1000/h or 10/d.",
        ),
    ] = None,
    burst: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=LIMIT_CONCURRENCY,
            help="Maximum number of steps that start at once after a period without starts.",
        ),
    ] = None,
    reason: Reason = "",
) -> None:
    """Set the limit of a key or a pattern of keys; it overrides the limits of templates."""
    async with invocation.open_client(operates=True) as client:
        await client.set_limit(
            key,
            namespace=namespace,
            concurrency=concurrency,
            rate=rate,
            burst=burst,
            reason=reason,
        )
        await _warn_of_unknown_namespace(invocation, client, key, namespace)
    if invocation.as_json:
        invocation.print_json(
            {"key": key, "concurrency": concurrency, "rate": rate, "burst": burst}
        )
    else:
        invocation.stdout_console.print(f"limit set: {key}", soft_wrap=True, highlight=False)


async def _warn_of_unknown_namespace(
    invocation: Invocation, client: Client, key: str, namespace: str
) -> None:
    if not key.startswith(SHARED):
        await warn_of_unknown_namespaces(invocation, client, [namespace])


@register_command(app, "unset", acts=True)
async def unset_limit(
    invocation: Invocation, key: Key, namespace: Space = DEFAULT_NAMESPACE, reason: Reason = ""
) -> None:
    """Remove the limit that was set for a key or a pattern; the templates' limits apply again."""
    async with invocation.open_client(operates=True) as client:
        await client.unset_limit(key, namespace=namespace, reason=reason)
    if invocation.as_json:
        invocation.print_json({"key": key})
    else:
        invocation.stdout_console.print(f"limit removed: {key}", soft_wrap=True, highlight=False)
