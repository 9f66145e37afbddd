"""`tasker namespace ...`: owners of namespaces and their review policies."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.commands.template import print_version_table
from tasker.cli.options import Reason
from tasker.cli.pausing import pause_target, resume_target
from tasker.cli.render.style import (
    format_local_time,
    format_short_json,
    print_table,
    to_printable_line,
)
from tasker.cli.render.tables import make_table
from tasker.client import Client
from tasker.errors import NotFound
from tasker.model import PauseTarget
from tasker.teams.model import NamespaceInfo, NamespacePolicy
from tasker.teams.policies import load_policies

Name = Annotated[str, typer.Argument(metavar="NAMESPACE", help="Name of the namespace.")]
_COUNTS = ("approved", "pending_review", "rejected", "retired")

app = make_command_group(
    "List, show and pause namespaces, and set their owners and review policies."
)


@register_command(app, "list")
async def list_namespaces(invocation: Invocation) -> None:
    """List namespaces that have a policy or a template."""
    async with invocation.open_client() as client:
        namespaces = await client.namespaces()
    if invocation.as_json:
        invocation.print_json({"namespaces": namespaces})
        return
    rows = make_table(
        *("namespace", "owner", "contact", "versions", "waiting", "approval", "description"),
        right=("versions", "waiting"),
    )
    for one in namespaces:
        policy = one.policy
        rows.add_row(
            Text(one.name, style="bold"),
            to_printable_line(policy.owner_team) if policy else "",
            Text(to_printable_line(policy.contact_email) if policy else "", style="dim"),
            str(one.approved),
            Text(str(one.pending_review or ""), style="yellow"),
            "required" if policy and policy.requires_approval else "",
            Text(format_short_json(policy.description, 60) if policy else "", style="dim"),
        )
    print_table(invocation.stdout_console, rows)


@register_command(app, "show")
async def show_namespace(invocation: Invocation, namespace: Name) -> None:
    """Show a namespace: its policy and its template versions in all statuses."""
    async with invocation.open_client() as client:
        matches = [one for one in await client.namespaces() if one.name == namespace]
        if not matches:
            raise NotFound(
                f"namespace {namespace} not found: it has neither a policy nor a template"
            )
        versions = await client.template_versions(namespace)
    if invocation.as_json:
        invocation.print_json(matches[0])
        return
    _print_namespace(invocation, matches[0])
    if versions:
        invocation.stdout_console.print()
        print_version_table(invocation.stdout_console, versions)


@register_command(app, "put", acts=True)
async def declare_or_change_policy(
    invocation: Invocation,
    namespace: Name,
    owner_team: Annotated[
        str | None, typer.Option(metavar="TEAM", help="Team that owns the namespace.")
    ] = None,
    contact_email: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Email address of the owner.")
    ] = None,
    description: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Description of the namespace.")
    ] = None,
    requires_approval: Annotated[
        bool | None,
        typer.Option(
            "--requires-approval/--no-requires-approval",
            help="Whether an approver must approve new template versions.",
        ),
    ] = None,
    approvers: Annotated[
        list[str] | None,
        typer.Option(
            "--approver",
            metavar="ADDRESS",
            help="Approver's email address. Repeatable; replaces all previous approvers.",
        ),
    ] = None,
    http_hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--http-host",
            metavar="HOST",
            help="Host that http: steps may call. Repeatable; replaces all previous hosts.",
        ),
    ] = None,
    reason: Reason = "",
) -> None:
    """Declare the policy of a namespace. Values whose options are omitted stay unchanged."""
    given = {
        "owner_team": owner_team,
        "contact_email": contact_email,
        "description": description,
        "requires_approval": requires_approval,
        "approvers": tuple(approvers) if approvers else None,
        "http_hosts": tuple(http_hosts) if http_hosts else None,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    async with invocation.open_client(create=True) as client:
        before = await client.policy(namespace) or NamespacePolicy(namespace=namespace)
        policy = replace(before, **changes)  # type: ignore[arg-type]
        stored = await client.put_policy(policy, reason=reason)
    if invocation.as_json:
        invocation.print_json(stored)
    else:
        invocation.stdout_console.print(f"{_describe_policy_change(before, stored)}: {namespace}")


@register_command(app, "apply", acts=True)
async def apply_policy_file(
    invocation: Invocation,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="YAML or TOML file with a section `namespaces`.")
    ],
    reason: Reason = "",
) -> None:
    """Declare the policies in a file. The policies of other namespaces stay unchanged."""
    policies = load_policies(file)
    async with invocation.open_client(create=True) as client:
        outcomes = [await _apply_policy(client, policy, reason) for policy in policies]
    if invocation.as_json:
        invocation.print_json(
            {"namespaces": [{"namespace": name, "outcome": outcome} for name, outcome in outcomes]}
        )
    else:
        for name, outcome in outcomes:
            invocation.stdout_console.print(f"{outcome}: {name}")


@register_command(app, "pause", acts=True)
async def pause_namespace(invocation: Invocation, namespace: Name, reason: Reason = "") -> None:
    """Pause a namespace: no new steps start; running attempts continue."""
    async with invocation.open_client(operates=True) as client:
        await pause_target(invocation, client, PauseTarget.of_namespace(namespace), reason)


@register_command(app, "resume", acts=True)
async def resume_namespace(invocation: Invocation, namespace: Name, reason: Reason = "") -> None:
    """Resume a paused namespace."""
    async with invocation.open_client(operates=True) as client:
        await resume_target(invocation, client, PauseTarget.of_namespace(namespace), reason)


@register_command(app, "audit")
async def show_audit_log(
    invocation: Invocation,
    namespace: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAMESPACE]",
            help="Namespace; if omitted, changes to all namespaces and API keys are listed.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of entries.")] = 50,
    before: Annotated[
        int | None,
        typer.Option(
            metavar="ID",
            help="List only entries older than the entry with this id, for the next page.",
        ),
    ] = None,
) -> None:
    """List changes to policies, template versions and API keys, newest first."""
    async with invocation.open_client() as client:
        events = await client.namespace_audit(namespace, after=before, limit=limit)
    if invocation.as_json:
        invocation.print_json({"events": events})
        return
    if not events:
        invocation.stderr_console.print("no changes recorded")
        return
    rows = make_table(
        "id", "at", "who", "via", "action", "subject", "before", "after", "reason", right=("id",)
    )
    for one in events:
        rows.add_row(
            str(one.id),
            Text(format_local_time(one.at), style="dim"),
            Text(to_printable_line(one.actor)),
            Text(one.via or "", style="dim"),
            Text(one.action, style="bold"),
            Text(to_printable_line(one.subject)),
            Text(format_short_json(one.before, 60) if one.before is not None else "", style="dim"),
            Text(format_short_json(one.after, 60) if one.after is not None else ""),
            Text(to_printable_line(one.reason)),
        )
    print_table(invocation.stdout_console, rows)


async def _apply_policy(client: Client, policy: NamespacePolicy, reason: str) -> tuple[str, str]:
    before = await client.policy(policy.namespace)
    stored = await client.put_policy(policy, reason=reason)
    return policy.namespace, _describe_policy_change(before, stored)


def _describe_policy_change(before: NamespacePolicy | None, stored: NamespacePolicy) -> str:
    if before == stored:
        return "unchanged"
    return "declared" if before is None or before.updated_at is None else "changed"


def _print_namespace(invocation: Invocation, info: NamespaceInfo) -> None:

    policy = info.policy
    facts = make_table("", "")
    facts.show_header = False
    rows = [("versions", ", ".join(f"{getattr(info, name)} {name}" for name in _COUNTS))]
    if policy is not None:
        rows += [
            ("owner", policy.owner_team),
            ("contact", policy.contact_email),
            ("description", policy.description),
            ("approval", "required" if policy.requires_approval else "not required"),
            ("approvers", ", ".join(policy.approvers)),
            ("http hosts", ", ".join(policy.http_hosts)),
            ("declared", f"{format_local_time(policy.updated_at)} by {policy.updated_by}"),
        ]
    else:
        rows.append(("policy", "none: declare one with `tasker namespace put`"))
    invocation.stdout_console.print(Text(info.name, style="bold"))
    for name, value in rows:
        if value:
            facts.add_row(Text(f"  {name}", style="dim"), Text(to_printable_line(value)))
    print_table(invocation.stdout_console, facts)
