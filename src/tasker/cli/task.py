"""`tasker task ...`: looking at tasks, and acting on them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasker.cli.complete import complete_state, complete_task, complete_template
from tasker.cli.exits import Exit
from tasker.cli.options import (
    Context,
    Namespace,
    Reason,
    parse_instant,
    parse_json,
    parse_span,
    parse_state,
)
from tasker.cli.session import Session, command

if TYPE_CHECKING:
    from tasker.client import Client
    from tasker.model import Task, TaskId

TaskRef = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help='A task: its id, the beginning of it, or "last".',
        autocompletion=complete_task,
    ),
]
Result = Annotated[
    Any,
    typer.Option(
        "--result", parser=parse_json, metavar="JSON|@FILE", help="What later steps get from it."
    ),
]


def add_to(app: typer.Typer) -> None:
    tasks = typer.Typer(no_args_is_help=True, help="Look at tasks, and act on them.")
    command(tasks, "list")(list_tasks)
    command(tasks, "show")(show)
    command(tasks, "create")(create)
    command(tasks, "cancel")(cancel)
    command(tasks, "retry")(retry)
    command(tasks, "resolve")(resolve)
    command(tasks, "complete")(complete)
    app.add_typer(tasks, name="task")


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
    state: Annotated[
        Any,
        typer.Option(
            "--state", "-s", parser=parse_state, metavar="STATE", autocompletion=complete_state
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
    from tasker.cli.output import task_document
    from tasker.cli.style import put
    from tasker.cli.tables import tasks_table
    from tasker.model import TaskFilter

    name, version = None, None
    if template is not None:
        name, _, version = template.partition("@")
        space, _, name = name.rpartition(".")
        namespace = namespace or space or None
    wanted = TaskFilter(
        namespace=namespace,
        name=name,
        version=version or None,
        status=state,
        correlation_id=correlation_id,
        tag=tag,
        created_by=created_by,
        created_after=since,
        created_before=until,
    )
    async with session.client() as client:
        if parent is not None:
            from dataclasses import replace

            wanted = replace(wanted, parent_id=await found(client, parent))
        start = await found(client, after) if after is not None else None
        tasks = await client.tasks(wanted, after=start, limit=limit + 1)
    following = tasks[limit - 1].id if len(tasks) > limit else None
    tasks = tasks[:limit]
    if session.as_json:
        session.document({"tasks": [task_document(task) for task in tasks], "next": following})
        return
    if tasks:
        put(session.out, tasks_table(session.out, tasks))
    else:
        session.err.print("no such tasks")
    if following:
        session.err.print(f"more: --after {following}", style="dim")


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
    from tasker.cli.output import plain, task_document
    from tasker.cli.shown import render_task
    from tasker.cli.watch import story_of, watched
    from tasker.model import TaskStatus

    async with session.client() as client:
        task_id = await found(client, task)
        if watch:
            await watched(client, task_id, session.told)
        story = await story_of(client, task_id)
    if session.as_json:
        session.document(
            {
                **task_document(story.task),
                "steps": plain(story.steps),
                "attempts": plain(story.history),
                "audit": plain(story.audit),
            }
        )
    else:
        render_task(session.out, story, full=full)
    failed = watch and story.task.status in (TaskStatus.ERROR, TaskStatus.CANCELLED)
    return Exit.FAILED if failed else Exit.DONE


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
        Any, typer.Option(parser=parse_span, metavar="TIME", help="Start that much later.")
    ] = None,
    deadline: Annotated[
        Any,
        typer.Option(parser=parse_span, metavar="TIME", help="Most time from creation to end."),
    ] = None,
    reason: Reason = "",
) -> None:
    """Create a task, for workers to run."""
    from tasker.cli.output import task_document
    from tasker.cli.serving import explain_context, named
    from tasker.template import load_templates

    name, files = named(template)
    async with session.client(make=bool(files)) as client:
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
        session.err.print("the idempotency key had made this task before", style="dim")


async def cancel(session: Session, task: TaskRef, reason: Reason = "") -> None:
    """Cancel an open task: nothing of it starts any more, and what runs may not settle."""
    async with session.client() as client:
        changed = await client.cancel(await found(client, task), reason=reason)
    _tell(session, changed)


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
    """Try the failed steps of a task again: one more attempt each."""
    async with session.client() as client:
        changed = await client.retry(
            await found(client, task), steps=step, reset_attempts=reset_attempts, reason=reason
        )
    _tell(session, changed)


async def resolve(
    session: Session,
    task: TaskRef,
    step: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="Default: the task as a whole.")
    ] = None,
    result: Result = None,
    reason: Reason = "",
) -> None:
    """Declare a failed step done by other means, and go on; or a failed task as a whole."""
    if step is None and result is not None:
        raise typer.BadParameter("a task as a whole has none; name a step", param_hint="--result")
    async with session.client() as client:
        changed = await client.resolve(await found(client, task), step, result, reason=reason)
    _tell(session, changed)


async def complete(
    session: Session,
    task: TaskRef,
    step: Annotated[str, typer.Argument(metavar="STEP")],
    result: Annotated[
        Any, typer.Option(parser=parse_json, metavar="JSON|@FILE", help="What it returned.")
    ],
    reason: Reason = "",
) -> None:
    """Complete a step with a result, as if its handler had returned it."""
    async with session.client() as client:
        changed = await client.complete(await found(client, task), step, result, reason=reason)
    _tell(session, changed)


async def found(client: "Client", reference: str) -> "TaskId":
    """Tell the task that a reference means.

    Raises:
        NotFound: There is none, or several begin so.
    """
    from tasker.cli.watch import find_task

    return await find_task(client, reference)


def _tell(session: Session, task: "Task") -> None:
    """Say what became of a task."""
    from tasker.cli.output import task_document
    from tasker.cli.style import is_plain, state_text

    if session.as_json:
        session.document(task_document(task))
        return
    line = state_text(task.status.value, plain=is_plain(session.out))
    session.out.print(line.append(f"  {task.template}  {task.id}", style="none"))
