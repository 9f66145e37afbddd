"""`tasker failure ...`: lists causes of failures, assigns, notes and mutes them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.text import Text

from tasker.analytics.failures import FailureCause, FailureTriage
from tasker.analytics.model import AnalysisWindow
from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.options import (
    Last,
    Reason,
    WindowNamespace,
    WindowTemplate,
    make_analysis_window,
    parse_duration_option,
    parse_time,
)
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.style import (
    draw_sparkline,
    format_relative_time,
    is_ascii_only,
    print_table,
    to_printable_line,
)
from tasker.cli.render.tables import make_table
from tasker.client import Client
from tasker.durations import human_duration
from tasker.errors import InvalidInput, NotFound

Cause = Annotated[
    str,
    typer.Argument(metavar="CAUSE", help="Fingerprint of the cause, or a unique prefix of it."),
]

app = make_command_group("List causes of failures, assign them, add notes and mute them.")


@register_command(app, "list")
async def list_failure_causes(
    invocation: Invocation,
    last: Last = "24h",
    template: WindowTemplate = None,
    namespace: WindowNamespace = None,
) -> None:
    """List causes of failures, sorted by the number of tasks that they stopped."""
    window = make_analysis_window(last, template, namespace)
    async with invocation.open_client() as client:
        causes = await client.failures.list(window)
    if invocation.as_json:
        invocation.print_json({"failures": to_plain_json(causes)})
        return
    if not causes:
        invocation.stderr_console.print(
            f"no task from the last {human_duration(last)} is stopped by a failure"
        )
        return
    table = make_table(
        *("cause", "tasks", "trend", "last", "step", "error", "assignee", "note"),
        right=("tasks",),
        flexible=("step", "error", "note"),
    )
    now, plain = datetime.now(UTC), is_ascii_only(invocation.stdout_console)
    for cause in causes:
        style = "dim" if cause.muted else ""
        triage = cause.triage
        table.add_row(
            Text(cause.fingerprint[:8], style="dim" if cause.muted else "bold"),
            Text(f"{cause.tasks:,}", style=style or "red"),
            Text(draw_sparkline(cause.trend, plain=plain), style=style or "red"),
            Text(format_relative_time(cause.last_at, now), style="dim"),
            Text(to_printable_line(f"{cause.step} of {cause.namespace}.{cause.name}"), style=style),
            Text(to_printable_line(f"{cause.code or cause.type}: {cause.message}"), style=style),
            Text(to_printable_line(triage.assignee if triage else ""), style=style),
            Text(to_printable_line(_mute_and_note_text(cause)), style="dim"),
        )
    print_table(invocation.stdout_console, table)


@register_command(app, "assign", acts=True)
async def assign_failure_cause(
    invocation: Invocation,
    cause: Cause,
    assignee: Annotated[
        str, typer.Argument(metavar="NAME", help="Person or team; '' removes the assignee.")
    ],
    last: Last = "24h",
    reason: Reason = "",
) -> None:
    """Set the person or team that looks after a cause."""
    async with invocation.open_client(operates=True) as client:
        one = await _find_cause(client, cause, make_analysis_window(last))
        triage = await client.failures.assign(
            one.fingerprint, assignee, namespace=one.namespace, reason=reason
        )
    _print_triage_change(
        invocation,
        triage,
        f"assigned to {to_printable_line(assignee)}" if assignee else "unassigned",
    )


@register_command(app, "note", acts=True)
async def set_failure_cause_note(
    invocation: Invocation,
    cause: Cause,
    text: Annotated[
        str,
        typer.Argument(metavar="TEXT", help="Text that replaces the existing note; '' deletes it."),
    ],
    last: Last = "24h",
    reason: Reason = "",
) -> None:
    """Write a note about a cause."""
    async with invocation.open_client(operates=True) as client:
        one = await _find_cause(client, cause, make_analysis_window(last))
        triage = await client.failures.set_note(
            one.fingerprint, text, namespace=one.namespace, reason=reason
        )
    _print_triage_change(invocation, triage, "note saved" if text else "note deleted")


@register_command(app, "mute", acts=True)
async def mute_failure_cause(
    invocation: Invocation,
    cause: Cause,
    span: Annotated[
        Any,
        typer.Option(
            "--for",
            parser=parse_duration_option,
            metavar="TIME",
            help="How long to mute the cause, such as 2d.",
        ),
    ] = None,
    until: Annotated[
        Any,
        typer.Option(
            "--until",
            parser=parse_time,
            metavar="TIME",
            help="Time at which muting ends, such as 2027-01-31T08:00Z.",
        ),
    ] = None,
    below: Annotated[
        str | None,
        typer.Option(
            "--below",
            metavar="VERSION",
            help="Mute the cause until it occurs in this version of the workflow or a later one.",
        ),
    ] = None,
    last: Last = "24h",
    reason: Reason = "",
) -> None:
    """Mute a cause, so that it no longer needs attention. Its tasks do not change."""
    if span is not None and until is not None:
        raise InvalidInput("give only one of --for and --until")
    if span is not None:
        until = datetime.now(UTC) + span
    if until is None and below is None:
        raise InvalidInput("give at least one of --for, --until and --below")
    async with invocation.open_client(operates=True) as client:
        one = await _find_cause(client, cause, make_analysis_window(last))
        triage = await client.failures.mute(
            one.fingerprint, until=until, below=below, namespace=one.namespace, reason=reason
        )
    _print_triage_change(invocation, triage, f"muted {_mute_conditions_text(triage)}")


@register_command(app, "unmute", acts=True)
async def unmute_failure_cause(
    invocation: Invocation, cause: Cause, last: Last = "24h", reason: Reason = ""
) -> None:
    """Unmute a cause, so that it needs attention again."""
    async with invocation.open_client(operates=True) as client:
        one = await _find_cause(client, cause, make_analysis_window(last))
        triage = await client.failures.unmute(
            one.fingerprint, namespace=one.namespace, reason=reason
        )
    _print_triage_change(invocation, triage, "not muted")


async def _find_cause(client: Client, start: str, window: AnalysisWindow) -> FailureCause:
    """Return the cause whose fingerprint starts with a text. Raises NotFound, InvalidInput."""
    causes = [
        one for one in await client.failures.list(window) if one.fingerprint.startswith(start)
    ]
    if not start or not causes:
        span = timedelta(hours=window.hours)
        raise NotFound(
            f"no cause of failures matches {start!r} among the tasks of the last {span};"
            " see 'tasker failure list', or search a longer period with --last"
        )
    if len(causes) > 1:
        raise InvalidInput(f"{start!r} matches {len(causes)} causes: give a longer prefix")
    return causes[0]


def _print_triage_change(invocation: Invocation, triage: FailureTriage, done: str) -> None:
    if invocation.as_json:
        invocation.print_json(triage)
    else:
        invocation.stdout_console.print(
            f"{triage.fingerprint}: {done}", highlight=False, soft_wrap=True
        )


def _mute_and_note_text(cause: FailureCause) -> str:
    triage = cause.triage
    if triage is None:
        return ""
    muted = f"muted {_mute_conditions_text(triage)}" if cause.muted else ""
    return ", ".join(part for part in (muted, triage.note) if part)


def _mute_conditions_text(triage: FailureTriage) -> str:
    until = (
        "" if triage.muted_until is None else f"for {format_relative_time(triage.muted_until)[3:]}"
    )
    below = "" if triage.muted_below is None else f"below {triage.muted_below}"
    return ", ".join(part for part in (until, below) if part)
