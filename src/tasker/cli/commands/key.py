"""`tasker key ...`: API keys."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.text import Text

from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.config import load_config
from tasker.cli.namespaces import warn_of_unknown_namespaces
from tasker.cli.options import Reason, parse_duration_option
from tasker.cli.render.style import format_relative_time, print_table, to_printable_line
from tasker.cli.render.tables import make_table
from tasker.store.protocol import AuditNote
from tasker.suggest import did_you_mean
from tasker.teams.api_keys import generate_key, parse_key
from tasker.teams.model import NewApiKey
from tasker.teams.permissions import ROLES

app = make_command_group("Create, list and revoke API keys.")


@register_command(app, "create", acts=True)
async def create_api_key(
    invocation: Invocation,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Purpose of the key, such as the name of a program."),
    ],
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            "--permission",
            "-s",
            metavar="PERMISSION",
            help="Permission such as tasks:create or tasks:*. Repeatable.",
        ),
    ] = None,
    roles: Annotated[
        list[str] | None,
        typer.Option(
            "--role", metavar="ROLE", help="Role, a named set of permissions. Repeatable."
        ),
    ] = None,
    namespaces: Annotated[
        list[str] | None,
        typer.Option(
            "--namespace",
            "-n",
            metavar="NAME",
            help="Namespace in which the key is valid; '*' for all. Repeatable.",
        ),
    ] = None,
    handlers: Annotated[
        list[str] | None,
        typer.Option(
            "--handler",
            metavar="NAME",
            help="Handler that workers with the key may serve, such as payments.charge or"
            " 'payments.*'; default: all handlers of the namespaces. Repeatable.",
        ),
    ] = None,
    groups: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="NAME",
            help="Group of the key's holder, who may decide approvals that are assigned to"
            " role:NAME. Repeatable.",
        ),
    ] = None,
    expires: Annotated[
        Any,
        typer.Option(
            "--expires",
            parser=parse_duration_option,
            metavar="SPAN",
            help="Time until the key expires, such as 90d; by default, it never expires.",
        ),
    ] = None,
    reason: Reason = "",
) -> None:
    """Create an API key and print it. Because only its hash is stored, it is shown only once."""
    if not (scopes or roles) or not namespaces:
        raise typer.BadParameter("a key needs a --scope or --role, and a --namespace")
    _require_known_roles(roles or ())
    key = generate_key()
    span: timedelta | None = expires
    new = NewApiKey(
        name=name,
        prefix=key.prefix,
        digest=key.digest,
        scopes=tuple(scopes or ()),
        roles=tuple(roles or ()),
        namespaces=tuple(namespaces),
        groups=tuple(groups or ()),
        handlers=tuple(handlers or ()),
        expires_at=None if span is None else datetime.now(UTC) + span,
    )
    async with invocation.open_local_client(create=True) as client:
        act = AuditNote(actor=client.actor, reason=reason, via=client.via)
        stored = await client.store.add_api_key(new, act)
        await warn_of_unknown_namespaces(invocation, client, new.namespaces)
    if invocation.as_json:
        invocation.print_json({"key": stored, "text": key.text})
        return
    invocation.stdout_console.print(key.text, soft_wrap=True)
    invocation.stderr_console.print(
        "Store it with your other secrets: it is not shown again."
        f" To revoke it, run `tasker key revoke {key.prefix}`.",
        style="dim",
        soft_wrap=True,
    )


def _require_known_roles(roles: Sequence[str]) -> None:
    """Raise BadParameter for a role that is neither built in nor in the settings file."""
    if set(roles) <= set(ROLES):
        return
    known = sorted({*ROLES, *load_config(None, {}).auth.roles})
    for role in roles:
        if role not in known:
            raise typer.BadParameter(
                f"unknown role {role!r}{did_you_mean(role, known)}; known: {', '.join(known)}."
                " Define your own roles in [auth.roles] of tasker.toml",
                param_hint="--role",
            )


@register_command(app, "list")
async def list_api_keys(
    invocation: Invocation,
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="Include revoked and expired keys.")
    ] = False,
) -> None:
    """List API keys, newest first."""
    now = datetime.now(UTC)
    async with invocation.open_store() as store:
        keys = [key for key in await store.list_api_keys() if everything or key.is_active(now)]
    if invocation.as_json:
        invocation.print_json({"keys": keys})
        return
    if not keys:
        invocation.stderr_console.print("no keys")
        return
    rows = make_table(
        "prefix",
        "name",
        "scopes",
        "roles",
        "namespaces",
        "groups",
        "handlers",
        "created",
        "by",
        "used",
        "ends",
    )
    for key in keys:
        ends = (
            f"revoked {format_relative_time(key.revoked_at, now)}"
            if key.revoked_at
            else format_relative_time(key.expires_at, now)
        )
        rows.add_row(
            Text(key.prefix, style="bold"),
            to_printable_line(key.name),
            " ".join(key.scopes),
            " ".join(key.roles),
            " ".join(key.namespaces),
            " ".join(key.groups),
            " ".join(key.handlers) or "*",
            Text(format_relative_time(key.created_at, now), style="dim"),
            Text(to_printable_line(key.created_by), style="dim"),
            Text(format_relative_time(key.last_used_at, now) or "never", style="dim"),
            ends or "never",
        )
    print_table(invocation.stdout_console, rows)


@register_command(app, "revoke", acts=True)
async def revoke_api_key(
    invocation: Invocation,
    prefix: Annotated[
        str, typer.Argument(metavar="PREFIX", help="Prefix of the key, or the whole key.")
    ],
    reason: Reason = "",
) -> None:
    """Revoke an API key immediately. This cannot be undone."""
    parts = parse_key(prefix)
    async with invocation.open_local_client() as client:
        act = AuditNote(actor=client.actor, reason=reason, via=client.via)
        key = await client.store.revoke_api_key(parts.prefix if parts else prefix, act)
    if invocation.as_json:
        invocation.print_json(key)
    else:
        invocation.stdout_console.print(f"revoked: {key.prefix} ({key.name})")
