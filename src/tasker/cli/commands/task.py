"""`tasker task ...`: lists and shows tasks, and acts on them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from tasker.cli.app import Session, command, group
from tasker.cli.completion import complete_status, complete_task, complete_template
from tasker.cli.exits import Exit
from tasker.cli.loading import explain_context, name_and_files
from tasker.cli.options import (
    Context,
    Namespace,
    Reason,
    parse_instant,
    parse_json,
    parse_span,
    parse_status,
)
from tasker.cli.reading import find_task, follow, read_detail
from tasker.cli.render.json import plain, task_document
from tasker.cli.render.style import is_plain, print_table, status_text
from tasker.cli.render.tables import tasks_table
from tasker.cli.render.task import render_task
from tasker.model import Task, TaskFilter, TaskStatus
from tasker.template import load_templates

TaskRef = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help='A task: its id, a unique prefix, or "last".',
        autocompletion=complete_task,
    ),
]
Result = Annotated[
    Any,
    typer.Option(
        "--result", parser=parse_json, metavar="JSON|@FILE", help="Its result, for later steps."
    ),
]

app = group("List tasks, show them, and act on them.")


@command(app, "list")
async def list_tasks(
    session: Session,
    template: Annotated[
        str | None,
        typer.Option(
            "--template",
            "-t",
            metavar="NAME",
            help="name, namespace.name, either with @version.",
            autocompletion=complete_template,
        ),
    ] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", metavar="NAME")] = None,
    status: Annotated[
        Any,
        typer.Option(
            "--status", "-s", parser=parse_status, metavar="STATUS", autocompletion=complete_status
        ),
    ] = None,
    correlation_id: Annotated[str | None, typer.Option(metavar="ID")] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="ID", help="Tasks that this task created.")
    ] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG")] = None,
    created_by: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    since: Annotated[
        Any,
        typer.Option(parser=parse_instant, metavar="TIME", help='"2h" ago, or "2026-01-31".'),
    ] = None,
    until: Annotated[Any, typer.Option(parser=parse_instant, metavar="TIME")] = None,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Tasks older than this one: the next page.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, max=1000, metavar="N")] = 25,
) -> None:
    """List tasks, newest first."""
    name, version = None, None
    if template is not None:
        name, _, version = template.partition("@")
        space, _, name = name.rpartition(".")
        namespace = namespace or space or None
    task_filter = TaskFilter(
        namespace=namespace,
        name=name,
        version=version or None,
        status=status,
        correlation_id=correlation_id,
        tag=tag,
        created_by=created_by,
        created_after=since,
        created_before=until,
    )
    async with session.client() as client:
        if parent is not None:
            task_filter = replace(task_filter, parent_id=await find_task(client, parent))
        start = await find_task(client, after) if after is not None else None
        tasks = await client.tasks(task_filter, after=start, limit=limit + 1)
    following = tasks[limit - 1].id if len(tasks) > limit else None
    tasks = tasks[:limit]
    if session.as_json:
        session.document({"tasks": [task_document(task) for task in tasks], "next": following})
        return
    if tasks:
        print_table(session.out, tasks_table(session.out, tasks))
    else:
        session.err.print("no tasks match")
    if following:
        session.err.print(f"more: --after {following}", style="dim")


@command(app, "show")
async def show(
    session: Session,
    task: TaskRef,
    full: Annotated[
        bool,
        typer.Option("--full", metavar="", help="Contexts, results, errors and attempts, uncut."),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", metavar="", help="Follow the task until it ends.")
    ] = False,
) -> Exit:
    """Show a task: its steps and their graph, attempts, errors, what operators did.

    With --watch, the exit code is by the outcome: 0 complete, 1 failed or cancelled.
    """
    async with session.client() as client:
        task_id = await find_task(client, task)
        if watch:
            await follow(client, task_id, session.display)
        detail = await read_detail(client, task_id)
    if session.as_json:
        session.document(
            {
                **task_document(detail.task),
                "steps": plain(detail.steps),
                "attempts": plain(detail.history),
                "audit": plain(detail.audit),
            }
        )
    else:
        render_task(session.out, detail, full=full)
    failed = watch and detail.task.status in (TaskStatus.ERROR, TaskStatus.CANCELLED)
    return Exit.FAILED if failed else Exit.DONE


@command(app, "create", acts=True)
async def create(
    session: Session,
    template: Annotated[
        str,
        typer.Argument(
            metavar="TEMPLATE",
            help="A registered name, as payments.process_refund@^2.1, or a YAML file.",
            autocompletion=complete_template,
        ),
    ],
    context: Context = None,
    namespace: Namespace = None,
    version: Annotated[
        str | None, typer.Option(metavar="RANGE", help="Exact, or a range as ^2.1.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key gives the same task.")
    ] = None,
    correlation_id: Annotated[str | None, typer.Option(metavar="ID")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Repeatable.")] = None,
    delay: Annotated[
        Any, typer.Option(parser=parse_span, metavar="TIME", help="Start after this time.")
    ] = None,
    deadline: Annotated[
        Any,
        typer.Option(parser=parse_span, metavar="TIME", help="Longest time from creation to end."),
    ] = None,
    reason: Reason = "",
) -> None:
    """Create a task, for workers to run."""
    name, files = name_and_files(template)
    async with session.client(create=bool(files)) as client:
        for one in load_templates(files):
            await client.register(one)
        with explain_context(name):
            task = await client.create_task(
                name,
                context or {},
                namespace=namespace,
                version=version,
                idempotency_key=idempotency_key,
                correlation_id=correlation_id,
                tags=tuple(tag or ()),
                run_at=datetime.now(UTC) + delay if delay else None,
                deadline=deadline,
                reason=reason,
            )
    if session.as_json:
        session.document({**task_document(task), "created": task.created})
        return
    session.out.print(task.id)
    if not task.created:
        session.err.print("the idempotency key belongs to this existing task", style="dim")


@command(app, "cancel", acts=True)
async def cancel(session: Session, task: TaskRef, reason: Reason = "") -> None:
    """Cancel an open task: no further step starts; running attempts are discarded."""
    async with session.client() as client:
        changed = await client.cancel(await find_task(client, task), reason=reason)
    _print(session, changed)


@command(app, "retry", acts=True)
async def retry(
    session: Session,
    task: TaskRef,
    step: Annotated[
        list[str] | None,
        typer.Option("--step", metavar="NAME", help="Only this step; repeatable. Default: all."),
    ] = None,
    reset_attempts: Annotated[
        bool,
        typer.Option(
            "--reset-attempts", metavar="", help="All attempts of the policy again, not just one."
        ),
    ] = False,
    reason: Reason = "",
) -> None:
    """Try the failed steps of a task again, one more attempt each."""
    async with session.client() as client:
        changed = await client.retry(
            await find_task(client, task), steps=step, reset_attempts=reset_attempts, reason=reason
        )
    _print(session, changed)


@command(app, "resolve", acts=True)
async def resolve(
    session: Session,
    task: TaskRef,
    step: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="Default: the task as a whole.")
    ] = None,
    result: Result = None,
    reason: Reason = "",
) -> None:
    """Mark a failed step as done by other means and continue; or the whole task."""
    if step is None and result is not None:
        raise typer.BadParameter(
            "a task has no result of its own; name a step", param_hint="--result"
        )
    async with session.client() as client:
        changed = await client.resolve(await find_task(client, task), step, result, reason=reason)
    _print(session, changed)


@command(app, "complete", acts=True)
async def complete(
    session: Session,
    task: TaskRef,
    step: Annotated[str, typer.Argument(metavar="STEP")],
    result: Annotated[
        Any, typer.Option(parser=parse_json, metavar="JSON|@FILE", help="The step's result.")
    ],
    reason: Reason = "",
) -> None:
    """Complete a step with a result, as if its handler had returned it."""
    async with session.client() as client:
        changed = await client.complete(await find_task(client, task), step, result, reason=reason)
    _print(session, changed)


def _print(session: Session, task: Task) -> None:
    """Print a task's new status."""
    if session.as_json:
        session.document(task_document(task))
        return
    line = status_text(task.status.value, plain=is_plain(session.out))
    session.out.print(line.append(f"  {task.template}  {task.id}", style="none"))
