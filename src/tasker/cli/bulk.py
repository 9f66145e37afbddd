"""Operations on many tasks, for commands with filters."""

import asyncio
import sys
from contextlib import nullcontext
from datetime import UTC, datetime

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tasker.bulk import BulkAction, BulkOperation, BulkPreview, BulkRequest, BulkStatus
from tasker.cli.app import Invocation
from tasker.cli.exits import ExitCode
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.style import format_relative_time, print_table, to_printable_line
from tasker.cli.render.tables import make_table
from tasker.client import Client
from tasker.client.bulk import POLL, LocalBulk
from tasker.plurals import format_count

DONE = {BulkAction.CANCEL: "cancelled", BulkAction.RETRY: "retried", BulkAction.RESOLVE: "resolved"}
_SHOWN = 10  #: rejected tasks that are printed


async def confirm_and_run_bulk(
    invocation: Invocation,
    client: Client,
    request: BulkRequest,
    *,
    per_second: float,
    reason: str,
    dry_run: bool,
    yes: bool,
    detach: bool,
) -> ExitCode:
    """Show what an operation would change, then start it and show its progress until it ends."""
    options = {
        "steps": request.steps,
        "reset_attempts": request.reset_attempts,
        "fresh": request.fresh,
    }
    preview = await client.bulk.preview(request.action, request.filter, **options)  # type: ignore[arg-type]  # by name
    if dry_run and invocation.as_json:
        invocation.print_json(to_plain_json(preview))
        return ExitCode.DONE
    asks = sys.stdin.isatty() and invocation.text_console.is_terminal and not yes
    if dry_run or asks:
        _print_preview(invocation, preview)
    if dry_run:
        verb = f"would {request.action} {_match_count_text(preview)}"
        invocation.stdout_console.print(verb, highlight=False)
        return ExitCode.DONE
    if (
        asks
        and preview.matches
        and not typer.confirm(f"{request.action} {_match_count_text(preview)}?")
    ):
        return ExitCode.DONE
    operation = await client.bulk.start(
        request.action,
        request.filter,
        **options,  # type: ignore[arg-type]  # by name
        per_second=per_second,
        reason=reason,
        token=preview.token,
    )
    if detach:
        print_operation(invocation, operation)
        return ExitCode.DONE
    return await show_bulk_progress(invocation, client, operation)


async def show_bulk_progress(
    invocation: Invocation, client: Client, operation: BulkOperation
) -> ExitCode:
    """Show the progress of an operation until it has ended, and print its outcome.

    If the store is open in this process, this process executes the operation too.
    """
    display = invocation.text_console
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with (
        Progress(*columns, console=display, transient=True)
        if display.is_terminal
        else (nullcontext()) as progress
    ):
        bar = None if progress is None else progress.add_task(str(operation.action))
        try:
            while operation.status is BulkStatus.RUNNING:
                delay = await _execute_batch_if_local(client)
                operation = await client.bulk.get(operation.id)
                if progress is not None and bar is not None:
                    total = max(operation.matches, operation.handled_count)
                    progress.update(bar, completed=operation.handled_count, total=total)
                if operation.status is BulkStatus.RUNNING:
                    await asyncio.sleep(delay)
        except asyncio.CancelledError:
            hint = f"the operation continues; to stop it: tasker bulk stop {operation.id}"
            invocation.stderr_console.print(hint, highlight=False, soft_wrap=True)
            raise
    print_operation(invocation, operation)
    return ExitCode.REJECTED if operation.rejected else ExitCode.DONE


async def _execute_batch_if_local(client: Client) -> float:
    """Execute the next batch of a bulk operation's tasks if the store is open in this process.

    Returns:
        The seconds until the progress should be read again.
    """
    if not isinstance(client.bulk, LocalBulk):
        return POLL
    delay = await client.bulk.execute_batch_if_due()
    return POLL if delay is None else min(delay, POLL)


def print_operation(invocation: Invocation, operation: BulkOperation) -> None:
    """Print the outcome of an operation, or its progress."""
    if invocation.as_json:
        invocation.print_json(to_plain_json(operation))
        return
    for one in operation.rejections[:_SHOWN]:
        invocation.stderr_console.print(f"rejected: {one.message}", style="red", soft_wrap=True)
    rejected = sum(operation.rejected.values())
    if rejected > _SHOWN:
        invocation.stderr_console.print(f"rejected: {rejected - _SHOWN:,} more", style="red")
    if operation.status is BulkStatus.RUNNING:
        invocation.stdout_console.print(
            f"{operation.id}  {_progress_text(operation)}", highlight=False
        )
        return
    stopped = f"; stopped by {operation.stopped_by}" if operation.stopped_by else ""
    done = f"{DONE[operation.action]} {format_count('task', operation.changed)}"
    invocation.stdout_console.print(
        f"{done} of {_at_least_prefix(operation)}{operation.matches:,}{stopped}", highlight=False
    )


def print_operations(invocation: Invocation, operations: list[BulkOperation]) -> None:
    """Print a table of operations."""
    now = datetime.now(UTC)
    rows = make_table("operation", "action", "status", "tasks", "by", "started", "reason")
    for one in operations:
        rows.add_row(
            one.id,
            one.action.value,
            one.status.value,
            _progress_text(one),
            to_printable_line(one.created_by),
            format_relative_time(one.created_at, now),
            to_printable_line(one.reason),
        )
    print_table(invocation.stdout_console, rows)


def _print_preview(invocation: Invocation, preview: BulkPreview) -> None:
    rows = make_table("template", "tasks", right=("tasks",))
    for name, count in preview.by_template.items():
        rows.add_row(name, f"{count:,}")
    if preview.by_template:
        print_table(invocation.text_console, rows)
    for code, count in preview.rejected.items():
        text = f"{format_count('task', count)} would be rejected: {code}"
        invocation.stderr_console.print(text, style="yellow", highlight=False)


def _match_count_text(preview: BulkPreview) -> str:
    more = "" if preview.exact else "at least "
    return more + format_count("task", preview.matches)


def _progress_text(operation: BulkOperation) -> str:
    rejected = sum(operation.rejected.values())
    text = f"{operation.handled_count:,} of {_at_least_prefix(operation)}{operation.matches:,}"
    return f"{text}, {rejected:,} rejected" if rejected else text


def _at_least_prefix(operation: BulkOperation) -> str:
    return "" if operation.exact else "at least "
