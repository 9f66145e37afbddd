"""`tasker template approve ...`: which versions take tasks."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from tasker.cli.acting import Actor
from tasker.cli.options import Reason
from tasker.cli.session import Session, command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from tasker.model import TemplateVersion

Version = Annotated[
    str,
    typer.Argument(metavar="TEMPLATE", help="With its version: payments.process_refund@2.1.0"),
]
_STYLES = {
    "approved": "green",
    "pending_review": "yellow",
    "rejected": "red",
    "retired": "dim",
}


def add_to(templates: typer.Typer) -> None:
    command(templates, "status")(status)
    command(templates, "approve")(approve)
    command(templates, "reject")(reject)
    command(templates, "retire")(retire)
    command(templates, "restore")(restore)


async def status(
    session: Session,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", metavar="NAME")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", metavar="", help="Only those that wait for approval.")
    ] = False,
) -> None:
    """List versions of every status: who registered them, who decided, and why."""
    async with session.client() as client:
        found = await client.template_statuses(namespace, name)
    found = [one for one in found if not waiting or one.status == "pending_review"]
    if session.as_json:
        session.document({"versions": [_document(one) for one in found]})
    elif found:
        tell_versions(session.out, found)
    else:
        session.err.print("no such versions")


async def approve(
    session: Session, template: Version, reason: Reason = "", actor: Actor = None
) -> None:
    """Let a version that waits for approval take tasks."""
    async with session.client(actor=actor) as client:
        _tell(session, await client.review(template, approve=True, reason=reason))


async def reject(
    session: Session,
    template: Version,
    reason: Annotated[
        str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; it is required.")
    ],
    actor: Actor = None,
) -> None:
    """Refuse a version that waits for approval. Changed, it may be registered again."""
    async with session.client(actor=actor) as client:
        _tell(session, await client.review(template, approve=False, reason=reason))


async def retire(
    session: Session, template: Version, reason: Reason = "", actor: Actor = None
) -> None:
    """Let a version take no new tasks. Those that it has run on."""
    async with session.client(actor=actor) as client:
        _tell(session, await client.retire(template, reason=reason))


async def restore(
    session: Session, template: Version, reason: Reason = "", actor: Actor = None
) -> None:
    """Let a version that was retired take tasks again."""
    async with session.client(actor=actor) as client:
        _tell(session, await client.restore(template, reason=reason))


def tell_versions(console: "Console", versions: "Sequence[TemplateVersion]") -> None:
    """Show versions as a table."""
    from rich.text import Text

    from tasker.cli.style import ago, clean, put
    from tasker.cli.tables import table

    now = datetime.now(UTC)
    made = table("template", "version", "status", "registered", "by", "decided", "by", "reason")
    for one in versions:
        made.add_row(
            Text(f"{one.name.namespace}.{one.name.name}", style="bold"),
            one.name.version,
            Text(one.status.value, style=_STYLES[one.status]),
            Text(ago(one.registered_at, now), style="dim"),
            Text(clean(one.registered_by)),
            Text(ago(one.decided_at, now), style="dim"),
            Text(clean(one.decided_by or "")),
            Text(clean(one.reason)),
        )
    put(console, made)


def _document(version: "TemplateVersion") -> dict[str, object]:
    from tasker.cli.output import plain

    document = plain(version)
    return {**document, **version.name._asdict(), "full_name": str(version.name)}


def _tell(session: Session, version: "TemplateVersion") -> None:
    if session.as_json:
        session.document(_document(version))
    else:
        session.out.print(f"{version.status}: {version.name}")
