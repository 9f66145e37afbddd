"""`tasker task ...`: lists and shows tasks, and acts on them."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import wraps
from typing import Annotated, Any, TypeVar

import typer

from tasker.cli.app import Session, command, group
from tasker.cli.completion import complete_status, complete_task, complete_template
from tasker.cli.exits import Exit
from tasker.cli.loading import explain_context, name_and_files
from tasker.cli.options import (
    Context,
    Namespace,
    Reason,
    parse_attribute,
    parse_duration_option,
    parse_json,
    parse_status,
    parse_template_reference,
    parse_time,
)
from tasker.cli.pausing import pause, resume
from tasker.cli.reading import find_task, follow_task, read_detail
from tasker.cli.render.json import task_document, to_plain
from tasker.cli.render.style import format_count, is_plain, print_table, status_text
from tasker.cli.render.tables import tasks_table
from tasker.cli.render.task import reason_text, render_task
from tasker.cli.render.timeline import timeline_document
from tasker.client import Client
from tasker.errors import Refused
from tasker.model import (
    MAX_BULK,
    IfExists,
    PauseTarget,
    Task,
    TaskFilter,
    TaskId,
    TaskStatus,
    UniqueWhile,
)
from tasker.template.load import load_templates

TaskRef = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help='A task: its id, a unique prefix, or "last".',
        autocompletion=complete_task,
    ),
]
OptionalTaskRef = Annotated[
    str | None,
    typer.Argument(
        metavar="ID",
        help='A task: its id, a unique prefix, or "last". If omitted, the filters select tasks.',
        autocompletion=complete_task,
    ),
]
FILTERS: Mapping[str, Any] = {
    "template": Annotated[
        str | None,
        typer.Option(
            "--template",
            "-t",
            metavar="NAME",
            help="Template: [NAMESPACE.]NAME[@VERSION].",
            autocompletion=complete_template,
        ),
    ],
    "namespace": Annotated[str | None, typer.Option("--namespace", "-n", metavar="NAME")],
    "tag": Annotated[str | None, typer.Option("--tag", metavar="TAG")],
    "correlation_id": Annotated[str | None, typer.Option("--correlation-id", metavar="ID")],
    "idempotency_key": Annotated[str | None, typer.Option("--idempotency-key", metavar="KEY")],
    "created_by": Annotated[str | None, typer.Option("--created-by", metavar="NAME")],
    "failed_step": Annotated[
        str | None,
        typer.Option(
            "--failed-step",
            metavar="STEP",
            help="Only tasks in which this step failed permanently.",
        ),
    ],
    "error_code": Annotated[
        str | None,
        typer.Option(
            "--error-code",
            metavar="CODE",
            help="Only tasks in which a step failed with this error code.",
        ),
    ],
    "attribute": Annotated[
        list[Any] | None,
        typer.Option(
            "--attribute",
            parser=parse_attribute,
            metavar="NAME=VALUE",
            help="Only tasks with this attribute. Repeatable.",
        ),
    ],
    "since": Annotated[
        Any,
        typer.Option(
            "--since",
            parser=parse_time,
            metavar="TIME",
            help='Only tasks created since this time, such as "2h" (ago) or "2026-01-31".',
        ),
    ],
    "until": Annotated[
        Any,
        typer.Option(
            "--until",
            parser=parse_time,
            metavar="TIME",
            help="Only tasks created before this time.",
        ),
    ],
}
"""The options that choose tasks, by name; all default to None."""

DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", metavar="", help="Only list and count the tasks that match; change nothing."
    ),
]
Result = Annotated[
    Any,
    typer.Option(
        "--result",
        parser=parse_json,
        metavar="JSON|@FILE",
        help="Result of the step, which later steps receive.",
    ),
]

IfMatch = Annotated[
    str | None,
    typer.Option(
        "--if-match",
        metavar="ETAG",
        help="Refuse the action unless the task still has this ETag, which `show --json` prints.",
    ),
]

app = group("List, show, create, cancel, retry, resolve, pause and signal tasks.")

Function = TypeVar("Function", bound=Callable[..., Any])


def with_filter_options(function: Function) -> Callable[..., Any]:
    """Replace a command's parameter `matching`, a `TaskFilter`, with the options in `FILTERS`."""

    @wraps(function)
    def run(session: Session, **given: Any) -> Any:
        options = {name: given.pop(name) for name in FILTERS}
        return function(session, matching=_make_filter(**options), **given)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name != "matching":
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        parameters += [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
            for name, annotation in FILTERS.items()
        ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


@command(app, "list")
@with_filter_options
async def list_tasks(
    session: Session,
    matching: TaskFilter,
    status: Annotated[
        Any,
        typer.Option(
            "--status", "-s", parser=parse_status, metavar="STATUS", autocompletion=complete_status
        ),
    ] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="ID", help="Only child tasks of this task.")
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Only tasks older than this one. For the next page, give the last ID shown.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, max=1000, metavar="N")] = 25,
) -> None:
    """List tasks, newest first."""
    matching = replace(matching, status=status)
    async with session.client() as client:
        if parent is not None:
            matching = replace(matching, parent_id=await find_task(client, parent))
        start = await find_task(client, after) if after is not None else None
        tasks = await client.tasks(matching, after=start, limit=limit + 1)
    following = tasks[limit - 1].id if len(tasks) > limit else None
    tasks = tasks[:limit]
    if session.as_json:
        session.print_document(
            {"tasks": [task_document(task) for task in tasks], "next": following}
        )
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
        typer.Option(
            "--full", metavar="", help="Show contexts, results, errors and attempts in full."
        ),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", metavar="", help="Follow the task until it ends.")
    ] = False,
    timeline: Annotated[
        bool,
        typer.Option(
            "--timeline",
            metavar="",
            help="Show how long each step was queued, running, in backoff and parked.",
        ),
    ] = False,
) -> Exit:
    """Show a task: its steps and their graph, attempts, errors and operator actions.

    With --watch, the exit code shows the outcome: 0 complete, 1 failed or cancelled.
    """
    async with session.client() as client:
        task_id = await find_task(client, task)
        if watch:
            await follow_task(client, task_id, session.display)
        detail = await read_detail(client, task_id)
        times = await client.timeline(task_id) if timeline else None
    if session.as_json:
        session.print_document(
            {
                **task_document(detail.task),
                "steps": to_plain(detail.steps),
                "attempts": to_plain(detail.attempts),
                "audit": to_plain(detail.audit),
                "children": [task_document(child) for child in detail.children],
                **({"timeline": timeline_document(times)} if times else {}),
            }
        )
    else:
        render_task(session.out, detail, full=full, timeline=times)
    failed = watch and detail.task.status in (TaskStatus.ERROR, TaskStatus.CANCELLED)
    return Exit.FAILED if failed else Exit.DONE


@command(app, "why")
async def why(
    session: Session,
    task: TaskRef,
    step: Annotated[
        str | None, typer.Option(metavar="STEP", help="Explain this step instead of the task.")
    ] = None,
) -> None:
    """Explain why a task, or one of its steps, does not run; the first reason matters most."""
    async with session.client() as client:
        reasons = await client.why(await find_task(client, task), step=step)
    if session.as_json:
        session.print_document(to_plain(reasons))
        return
    for reason in reasons:
        session.out.print(reason_text(reason), soft_wrap=True)
    if not reasons:
        session.err.print("nothing holds it up")


@command(app, "create", acts=True)
async def create(
    session: Session,
    template: Annotated[
        str,
        typer.Argument(
            metavar="TEMPLATE",
            help="A registered template such as payments.process_refund@^2.1, or a YAML file.",
            autocompletion=complete_template,
        ),
    ],
    context: Context = None,
    namespace: Namespace = None,
    version: Annotated[
        str | None, typer.Option(metavar="RANGE", help="Exact version or a range such as ^2.1.")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Idempotency key: a repeated key returns the existing task."
        ),
    ] = None,
    unique_while: Annotated[
        UniqueWhile | None,
        typer.Option(
            help="How long the key belongs to the task: until the task is pruned, or until it ends."
        ),
    ] = None,
    if_exists: Annotated[
        IfExists | None,
        typer.Option(
            help="If another task has the key: return it, reject the new one, or replace it."
        ),
    ] = None,
    correlation_id: Annotated[str | None, typer.Option(metavar="ID")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Repeatable.")] = None,
    delay: Annotated[
        Any,
        typer.Option(
            parser=parse_duration_option, metavar="TIME", help="Delay before the first step starts."
        ),
    ] = None,
    deadline: Annotated[
        Any,
        typer.Option(
            parser=parse_duration_option, metavar="TIME", help="Time limit from creation to end."
        ),
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=4,
            metavar="0-4",
            help="4 is the most urgent. Each level counts as one minute of waiting in a queue."
            " Without it, the template's.",
        ),
    ] = None,
    reason: Reason = "",
) -> None:
    """Create a task for workers to run."""
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
                unique_while=unique_while,
                if_exists=if_exists,
                correlation_id=correlation_id,
                tags=tuple(tag or ()),
                delay=delay,
                deadline=deadline,
                priority=priority,
                reason=reason,
            )
    if session.as_json:
        session.print_document({**task_document(task), "created": task.created})
        return
    session.out.print(task.id)
    if not task.created:
        session.err.print("the idempotency key belongs to this existing task", style="dim")


@command(app, "cancel", acts=True)
@with_filter_options
async def cancel(
    session: Session,
    matching: TaskFilter,
    task: OptionalTaskRef = None,
    dry_run: DryRun = False,
    reason: Reason = "",
    if_match: IfMatch = None,
) -> Exit:
    """Cancel an open task, or all open tasks that match filters.

    No further step starts, and the results of running attempts are discarded. With filters in
    place of an ID, the command cancels at most 1,000 tasks; --dry-run only counts them. Exit
    code: 5 if a task could not be cancelled.
    """
    statuses = (TaskStatus.PENDING, TaskStatus.IN_PROGRESS)
    async with session.client(operates=True) as client:
        if task is not None:
            _require_no_filter(matching)
            task_id = await find_task(client, task)
            _print_status(session, await client.cancel(task_id, reason=reason, if_match=if_match))
            return Exit.DONE
        _require_id(if_match)
        tasks = await _matching_tasks(client, matching, statuses)

        async def act(one: Task) -> Task:
            return await client.cancel(one.id, reason=reason)

        return await _act_on_each(session, "cancel", tasks, act, dry_run=dry_run)


@command(app, "retry", acts=True)
@with_filter_options
async def retry(
    session: Session,
    matching: TaskFilter,
    task: OptionalTaskRef = None,
    step: Annotated[
        list[str] | None,
        typer.Option(
            "--step",
            metavar="NAME",
            help="Retry only this step. Repeatable; default: all failed steps.",
        ),
    ] = None,
    reset_attempts: Annotated[
        bool,
        typer.Option(
            "--reset-attempts",
            metavar="",
            help="Allow as many attempts as the retry policy allows, instead of only one.",
        ),
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            metavar="",
            help="Forget the durable calls of the steps, so that they make them again.",
        ),
    ] = False,
    dry_run: DryRun = False,
    reason: Reason = "",
    if_match: IfMatch = None,
) -> Exit:
    """Retry the failed steps of a task, or of all failed tasks that match filters.

    Each step gets one more attempt. With filters in place of an ID, the command retries at most
    1,000 tasks; --dry-run only counts them. Exit code: 5 if a task could not be retried.
    """
    async with session.client(operates=True) as client:

        async def act(task_id: TaskId) -> Task:
            return await client.retry(
                task_id,
                steps=step,
                reset_attempts=reset_attempts,
                fresh=fresh,
                reason=reason,
                if_match=if_match,
            )

        if task is not None:
            _require_no_filter(matching)
            _print_status(session, await act(await find_task(client, task)))
            return Exit.DONE
        _require_id(if_match)
        tasks = await _matching_tasks(client, matching, (TaskStatus.ERROR,))
        return await _act_on_each(session, "retry", tasks, lambda one: act(one.id), dry_run=dry_run)


@command(app, "resolve", acts=True)
async def resolve(
    session: Session,
    task: TaskRef,
    step: Annotated[
        str | None,
        typer.Argument(metavar="[STEP]", help="Step to resolve; default: the whole task."),
    ] = None,
    result: Result = None,
    reason: Reason = "",
    if_match: IfMatch = None,
) -> None:
    """Mark a failed step, or the whole task, as done by other means."""
    if step is None and result is not None:
        raise typer.BadParameter(
            "a result can only be given for a step: name the step", param_hint="--result"
        )
    async with session.client(operates=True) as client:
        task_id = await find_task(client, task)
        changed = await client.resolve(task_id, step, result, reason=reason, if_match=if_match)
    _print_status(session, changed)


@command(app, "complete", acts=True)
async def complete(
    session: Session,
    task: TaskRef,
    step: Annotated[str, typer.Argument(metavar="STEP")],
    result: Annotated[
        Any, typer.Option(parser=parse_json, metavar="JSON|@FILE", help="The step's result.")
    ],
    reason: Reason = "",
    if_match: IfMatch = None,
) -> None:
    """Complete a step with a result, as if its handler had returned it."""
    async with session.client(operates=True) as client:
        task_id = await find_task(client, task)
        changed = await client.complete(task_id, step, result, reason=reason, if_match=if_match)
    _print_status(session, changed)


@command(app, "skip", acts=True)
async def skip(
    session: Session,
    task: TaskRef,
    step: Annotated[str, typer.Argument(metavar="STEP")],
    reason: Reason = "",
    if_match: IfMatch = None,
) -> None:
    """Skip a step that is not needed. Later steps then run without its result.

    The step ends as resolved_manually.
    """
    async with session.client(operates=True) as client:
        task_id = await find_task(client, task)
        changed = await client.skip(task_id, step, reason=reason, if_match=if_match)
    _print_status(session, changed)


@command(app, "signal", acts=True)
async def signal(
    session: Session,
    task: TaskRef,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the signal.")],
    payload: Annotated[
        Any, typer.Argument(parser=parse_json, metavar="[JSON|@FILE]", help="Default: null.")
    ] = None,
    id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="A signal with the same name and ID is sent once."),
    ] = None,
    reason: Reason = "",
) -> None:
    """Send a signal to a task. The first step that waits for it receives it.

    If no step waits for the signal yet, it is kept.
    """
    async with session.client(operates=True) as client:
        task_id = await find_task(client, task)
        sent = await client.signal(task_id, name, payload, id=id, reason=reason)
    if session.as_json:
        session.print_document(to_plain(sent))
    elif not sent.created:
        session.out.print("a signal with this id was sent before")
    elif sent.step is None:
        session.out.print("sent; no step waits for it yet")
    else:
        session.out.print(f"sent; step {sent.step} received it")


@command(app, "pause", acts=True)
async def pause_task(session: Session, task: TaskRef, reason: Reason = "") -> None:
    """Pause a task: none of its steps starts; running attempts end normally."""
    async with session.client(operates=True) as client:
        target = PauseTarget.of_task(await find_task(client, task))
        await pause(session, client, target, reason)


@command(app, "resume", acts=True)
async def resume_task(session: Session, task: TaskRef, reason: Reason = "") -> None:
    """Resume a paused task."""
    async with session.client(operates=True) as client:
        target = PauseTarget.of_task(await find_task(client, task))
        await resume(session, client, target, reason)


def _make_filter(
    *,
    template: str | None,
    namespace: str | None,
    since: datetime | None,
    until: datetime | None,
    attribute: Sequence[tuple[str, str]] | None,
    **equal: str | None,
) -> TaskFilter:
    """Create a filter from the options."""
    space, name, version = parse_template_reference(template)
    return TaskFilter(
        namespace=namespace or space,
        name=name,
        version=version,
        attributes=dict(attribute or ()),
        created_after=since,
        created_before=until,
        **equal,  # type: ignore[arg-type]  # the other fields are of the same names
    )


def _require_no_filter(matching: TaskFilter) -> None:
    if matching != TaskFilter():
        raise typer.BadParameter("give an ID or filters, not both", param_hint="ID")


def _require_id(if_match: str | None) -> None:
    if if_match is not None:
        raise typer.BadParameter("give the ID of the task with this ETag", param_hint="--if-match")


async def _matching_tasks(
    client: Client, matching: TaskFilter, statuses: Sequence[TaskStatus]
) -> list[Task]:
    """Return the matching tasks with one of these statuses.

    Raises:
        BadParameter: No filter is set, or more than 1,000 tasks match.
    """
    if matching == TaskFilter():
        raise typer.BadParameter("give an ID, or filters such as --template and --since")
    tasks: list[Task] = []
    for status in statuses:
        after: TaskId | None = None
        while len(tasks) <= MAX_BULK:
            page = await client.tasks(replace(matching, status=status), after=after, limit=500)
            tasks += page
            if len(page) < 500:
                break
            after = page[-1].id
    if len(tasks) > MAX_BULK:
        raise typer.BadParameter(f"more than {MAX_BULK:,} tasks match; narrow the filters")
    return tasks


async def _act_on_each(
    session: Session,
    verb: str,
    tasks: Sequence[Task],
    act: Callable[[Task], Awaitable[Task]],
    *,
    dry_run: bool,
) -> Exit:
    """Apply an action to each task, and report tasks whose status no longer allows it."""
    refused: list[dict[str, str]] = []
    changed: list[Task] = []
    for task in () if dry_run else tasks:
        try:
            changed.append(await act(task))
        except Refused as error:
            refused.append({"id": task.id, "error": str(error)})
    if session.as_json:
        session.print_document(
            {
                "matches": len(tasks),
                "dry_run": dry_run,
                "tasks": [task_document(one) for one in (tasks if dry_run else changed)],
                "refused": refused,
            }
        )
    elif dry_run:
        if tasks:
            print_table(session.out, tasks_table(session.out, tasks))
        session.out.print(f"would {verb} {format_count('task', len(tasks))}")
    else:
        for one in refused:
            session.err.print(f"refused: {one['error']}", style="red", soft_wrap=True)
        done = {"cancel": "cancelled", "retry": "retried"}[verb]
        session.out.print(f"{done} {format_count('task', len(changed))} of {len(tasks):,}")
    return Exit.REFUSED if refused else Exit.DONE


def _print_status(session: Session, task: Task) -> None:
    """Print a task's new status."""
    if session.as_json:
        session.print_document(task_document(task))
        return
    line = status_text(task.status.value, plain=is_plain(session.out))
    session.out.print(line.append(f"  {task.template}  {task.id}", style="none"))
