"""`tasker approval ...`: lists and decides approvals."""

from typing import Annotated, Any

import typer
from rich.text import Text

from tasker.approvals import Approval, ApprovalStatus
from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.options import Reason, parse_json_or_file
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.style import (
    format_local_time,
    format_short_json,
    print_table,
    to_printable_line,
)
from tasker.cli.render.tables import make_table

Id = Annotated[str, typer.Argument(metavar="APPROVAL", help="The id of the approval.")]
Groups = Annotated[
    list[str] | None,
    typer.Option(
        "--group",
        metavar="NAME",
        help="Group that you belong to, for approvals that are assigned to role:NAME. A server"
        " uses your key's groups instead. Repeatable.",
    ),
]

app = make_command_group("List and decide approvals that steps wait for.")


@register_command(app, "list", acts=True)
async def list_approvals(
    invocation: Invocation,
    mine: Annotated[
        bool,
        typer.Option("--mine", metavar="", help="List only approvals that are assigned to you."),
    ] = False,
    decided: Annotated[
        bool, typer.Option("--decided", metavar="", help="List decided approvals.")
    ] = False,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="Show only approvals of this namespace."
        ),
    ] = None,
    groups: Groups = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of approvals.")] = 100,
) -> None:
    """List open approvals, oldest first, or decided ones, latest first."""
    async with invocation.open_client() as client:
        listed = await client.approvals(
            mine=mine,
            status=(ApprovalStatus.DECIDED if decided else ApprovalStatus.OPEN).value,
            namespace=namespace,
            groups=groups or (),
            limit=limit,
        )
    if invocation.as_json:
        invocation.print_json({"approvals": to_plain_json(listed)})
        return
    if not listed:
        invocation.stderr_console.print("no approvals")
        return
    last = ("decided by", "decision") if decided else ("due", "assignees")
    rows = make_table("approval", "template", "step", "title", "opened", *last)
    for one in listed:
        facts = (
            (to_printable_line(one.decided_by or ""), format_short_json(one.decision, 60))
            if decided
            else (
                format_local_time(one.due_at) if one.due_at else "",
                to_printable_line(_assignees_text(one)),
            )
        )
        rows.add_row(
            Text(one.id, style="bold"),
            to_printable_line(one.template),
            to_printable_line(one.step),
            to_printable_line(one.title),
            Text(format_local_time(one.opened_at), style="dim"),
            *map(Text, facts),
        )
    print_table(invocation.stdout_console, rows)


@register_command(app, "show")
async def show_approval(invocation: Invocation, approval: Id) -> None:
    """Show an approval with its form."""
    async with invocation.open_client() as client:
        one = await client.approval(approval)
    _print_approval(invocation, one)


@register_command(app, "decide", acts=True)
async def decide_approval(
    invocation: Invocation,
    approval: Id,
    form: Annotated[
        Any,
        typer.Argument(
            parser=parse_json_or_file,
            metavar="JSON|@FILE",
            help='The filled-in form, such as {"approved": true}.',
        ),
    ],
    groups: Groups = None,
    reason: Reason = "",
) -> None:
    """Decide an approval and let its step continue."""
    async with invocation.open_client(operates=True) as client:
        one = await client.decide(approval, form, reason=reason, groups=groups or ())
    if invocation.as_json:
        invocation.print_json(to_plain_json(one))
    else:
        invocation.stdout_console.print(f"decided: step {one.step} of task {one.task_id} continues")


def _print_approval(invocation: Invocation, one: Approval) -> None:
    if invocation.as_json:
        invocation.print_json(to_plain_json(one))
        return
    facts = make_table("", "")
    facts.show_header = False
    rows = [
        ("status", one.status.value),
        ("task", one.task_id),
        ("template", one.template),
        ("title", one.title),
        ("step", one.step),
        ("assignees", _assignees_text(one)),
        ("opened", format_local_time(one.opened_at)),
        ("due", format_local_time(one.due_at) if one.due_at else ""),
        ("escalates", format_local_time(one.escalate_at) if one.escalate_at else ""),
        ("escalated", format_local_time(one.escalated_at) if one.escalated_at else ""),
        ("form", format_short_json(one.form, 2_000)),
        (
            "decided",
            f"{format_local_time(one.decided_at)} by {one.decided_by}" if one.decided_at else "",
        ),
        ("decision", format_short_json(one.decision, 2_000) if one.decided_at else ""),
    ]
    for name, value in rows:
        if value:
            facts.add_row(Text(f"  {name}", style="dim"), Text(to_printable_line(value)))
    invocation.stdout_console.print(Text(one.id, style="bold"))
    print_table(invocation.stdout_console, facts)


def _assignees_text(one: Approval) -> str:
    return ", ".join(one.assignees) or "anyone"
