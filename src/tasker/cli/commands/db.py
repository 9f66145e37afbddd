"""`tasker db ...`: the store's schema and contents."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from tasker.analytics.model import OldestSnapshot
from tasker.cli.app import Invocation, make_command_group, register_command, require_existing_store
from tasker.cli.exits import ExitCode
from tasker.cli.options import parse_duration_option
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.style import print_table
from tasker.cli.render.tables import workers_table
from tasker.durations import human_duration
from tasker.errors import StoreUnavailable
from tasker.plurals import format_count
from tasker.store.open import make_store

log = logging.getLogger("tasker.cli")

_RETRY_S = 1.0  #: seconds between attempts to reach the database
_BATCH = 1000  #: tasks deleted per transaction

app = make_command_group("Upgrade and inspect the store, and delete old tasks.")


@register_command(app, "upgrade")
async def upgrade_schema(
    invocation: Invocation,
    wait: Annotated[
        Any,
        typer.Option(
            "--wait",
            parser=parse_duration_option,
            metavar="TIME",
            help="How long to keep retrying while the database is unreachable, such as 60s.",
        ),
    ] = None,
) -> None:
    """Upgrade the schema to this release. Safe to repeat while workers of this release run."""
    deadline = time.monotonic() + (wait.total_seconds() if wait else 0)
    while True:
        try:
            await _upgrade_store(invocation)
        except StoreUnavailable as error:
            if time.monotonic() + _RETRY_S > deadline:
                raise
            log.warning("store_unavailable", extra={"error": str(error)})
            await asyncio.sleep(_RETRY_S)
        else:
            return


async def _upgrade_store(invocation: Invocation) -> None:
    async with make_store(invocation.store_url) as store:
        before = await store.schema_status()
        after = before if before.is_ready else await store.upgrade_schema()
        url = store.url
    if invocation.as_json:
        invocation.print_json({"store": url, "before": before.current, "current": after.current})
    elif before.current == after.current:
        invocation.stdout_console.print(f"{url} is up to date: schema {after.current}")
    else:
        invocation.stdout_console.print(
            f"{url}: schema upgraded from {before.current} to {after.current}"
        )


@register_command(app, "status")
async def show_store_status(invocation: Invocation) -> ExitCode:
    """Show the schema version, the workers and, on PostgreSQL, the oldest open snapshot.

    Exit code: 0 if the schema matches this release, otherwise 3.
    """
    require_existing_store(invocation.store_url)
    async with make_store(invocation.store_url) as store:
        schema = await store.schema_status()
        workers = await store.list_workers() if schema.is_ready else []
        templates = await store.list_approved_templates() if schema.is_ready else []
        oldest = await store.find_oldest_database_snapshot()
        url = store.url
    alive = [worker for worker in workers if worker.alive]
    if invocation.as_json:
        invocation.print_json(
            {
                "store": url,
                "schema": {**schema._asdict(), "ready": schema.is_ready},
                "templates": len(templates),
                "workers": [to_plain_json(worker) for worker in workers],
                "oldest_snapshot": None if oldest is None else to_plain_json(oldest),
            }
        )
        return ExitCode.DONE if schema.is_ready else ExitCode.STORE
    invocation.stdout_console.print(f"store      {url}", soft_wrap=True)
    hint = (
        "up to date"
        if schema.is_ready
        else f"this release needs {schema.wanted}: run `tasker db upgrade`"
    )
    invocation.stdout_console.print(f"schema     {schema.current}, {hint}")
    if schema.is_ready:
        invocation.stdout_console.print(f"templates  {len(templates)}")
        invocation.stdout_console.print(f"workers    {len(alive)}")
    if oldest is not None:
        invocation.stdout_console.print(
            f"snapshot   {_describe_oldest_database_snapshot(oldest)}", markup=False, soft_wrap=True
        )
    if alive:
        invocation.stdout_console.print()
        print_table(invocation.stdout_console, workers_table(alive))
    return ExitCode.DONE if schema.is_ready else ExitCode.STORE


def _describe_oldest_database_snapshot(oldest: OldestSnapshot) -> str:
    seconds = oldest.age_seconds
    age = "for an unknown time" if seconds is None else f"for {human_duration(seconds)}"
    facts = [
        oldest.name,
        f"user {oldest.user}" if oldest.user else "",
        f"pid {oldest.pid}" if oldest.pid else "",
        oldest.state,
    ]
    return f"open {age} by {oldest.kind} {', '.join(filter(None, facts))}"


@register_command(app, "prune")
async def prune_tasks(
    invocation: Invocation,
    older_than: Annotated[
        Any,
        typer.Option(
            "--older-than",
            parser=parse_duration_option,
            metavar="TIME",
            help="Also delete tasks whose template sets no retention, if they ended more than this"
            " long ago, such as 30d. If omitted, these tasks are kept.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Only count the tasks; delete nothing.")
    ] = False,
) -> None:
    """Delete tasks that ended long ago, with all their steps, attempts and audit logs.

    If a task's template sets a `retention`, the task is deleted once this time has passed since its
    end.
    """
    before = (
        None if older_than is None else datetime.now(UTC) - _require_positive_duration(older_than)
    )
    async with invocation.open_store() as store:
        if dry_run:
            count = await store.count_prunable_tasks(ended_before=before)
        else:
            count = 0
            while deleted := await store.prune_tasks(ended_before=before, limit=_BATCH):
                count += deleted
    if invocation.as_json:
        invocation.print_json({"ended_before": before, "tasks": count, "deleted": not dry_run})
        return
    outcome = "would be deleted" if dry_run else "deleted"
    invocation.stdout_console.print(f"{format_count('task', count)} {outcome}")


def _require_positive_duration(span: timedelta) -> timedelta:
    if span > timedelta(0):
        return span
    raise typer.BadParameter("must be greater than 0", param_hint="--older-than")
