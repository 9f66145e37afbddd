"""`tasker task ...`: lists and shows tasks, and acts on them."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import wraps
from typing import Annotated, Any, TypeVar

import typer

from tasker.bulk import DEFAULT_RATE, LEAST_RATE, BulkAction, BulkRequest
from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.bulk import confirm_and_run_bulk
from tasker.cli.completion import suggest_statuses, suggest_task_ids, suggest_templates
from tasker.cli.exits import ExitCode
from tasker.cli.loading import explain_invalid_context, resolve_template_argument
from tasker.cli.options import (
    Context,
    Namespace,
    Reason,
    parse_attribute,
    parse_duration_option,
    parse_json_or_file,
    parse_status,
    parse_template_reference,
    parse_time,
)
from tasker.cli.pausing import pause_target, resume_target
from tasker.cli.reading import (
    read_task_detail,
    read_task_logs,
    resolve_task_id,
    show_task_until_ended,
)
from tasker.cli.render.json import task_to_document, to_plain_json
from tasker.cli.render.style import is_ascii_only, print_table, status_text
from tasker.cli.render.tables import make_table, tasks_table
from tasker.cli.render.task import format_blocking_reason, format_log_record, render_task
from tasker.cli.render.timeline import timeline_to_document
from tasker.client import Client
from tasker.client.templates import DEFAULT_NAMESPACE
from tasker.errors import NotFound, Rejected, TaskerError
from tasker.limits import BULK_RATE
from tasker.model import (
    MOST_COUNTED,
    CompensationStatus,
    ExistingTaskAction,
    IdempotencyKeyLifetime,
    PauseTarget,
    Task,
    TaskFilter,
    TaskId,
    TaskStatus,
)
from tasker.template.load import load_templates
from tasker.why import describe_waits

_MOST_STEPS = 1_000  #: whose waits a signal that no step receives is compared with

TaskRef = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help='A task: its id, a unique prefix, or "last".',
        autocompletion=suggest_task_ids,
    ),
]
OptionalTaskRef = Annotated[
    str | None,
    typer.Argument(
        metavar="ID",
        help='A task: its id, a unique prefix, or "last". If omitted, the filters select tasks.',
        autocompletion=suggest_task_ids,
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
            autocompletion=suggest_templates,
        ),
    ],
    "namespace": Annotated[
        str | None,
        typer.Option("--namespace", "-n", metavar="NAME", help="Select tasks of this namespace."),
    ],
    "tag": Annotated[
        str | None, typer.Option("--tag", metavar="TAG", help="Select tasks with this tag.")
    ],
    "correlation_id": Annotated[
        str | None,
        typer.Option(
            "--correlation-id", metavar="ID", help="Select tasks with this correlation id."
        ),
    ],
    "idempotency_key": Annotated[
        str | None,
        typer.Option(
            "--idempotency-key", metavar="KEY", help="Select tasks with this idempotency key."
        ),
    ],
    "created_by": Annotated[
        str | None,
        typer.Option("--created-by", metavar="NAME", help="Select tasks created by this actor."),
    ],
    "failed_step": Annotated[
        str | None,
        typer.Option(
            "--failed-step",
            metavar="STEP",
            help="Select tasks in which this step failed permanently.",
        ),
    ],
    "error_code": Annotated[
        str | None,
        typer.Option(
            "--error-code",
            metavar="CODE",
            help="Select tasks in which a step failed permanently with this error code.",
        ),
    ],
    "compensation": Annotated[
        CompensationStatus | None,
        typer.Option(
            "--compensation",
            help="Select failed or cancelled tasks whose compensation has this status.",
        ),
    ],
    "attribute": Annotated[
        list[Any] | None,
        typer.Option(
            "--attribute",
            parser=parse_attribute,
            metavar="NAME=VALUE",
            help="Select tasks with this attribute. Repeatable.",
        ),
    ],
    "since": Annotated[
        Any,
        typer.Option(
            "--since",
            parser=parse_time,
            metavar="TIME",
            help='Select tasks created since this time, such as "2h" (ago) or "2026-01-31".',
        ),
    ],
    "until": Annotated[
        Any,
        typer.Option(
            "--until",
            parser=parse_time,
            metavar="TIME",
            help="Select tasks created before this time.",
        ),
    ],
}
"""The options that select tasks, by name; all default to None."""

DryRun = Annotated[
    bool,
    typer.Option("--dry-run", metavar="", help="Only count the tasks that match; change nothing."),
]
PerSecond = Annotated[
    float,
    typer.Option(
        "--per-second",
        metavar="N",
        min=LEAST_RATE,
        max=BULK_RATE,
        help="With filters: maximum number of tasks per second.",
    ),
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes", "-y", metavar="", help="Act on many tasks without asking for confirmation."
    ),
]
Detach = Annotated[
    bool,
    typer.Option(
        "--detach",
        metavar="",
        help="With filters: start the operation and exit; workers and servers execute it.",
    ),
]
Result = Annotated[
    Any,
    typer.Option(
        "--result",
        parser=parse_json_or_file,
        metavar="JSON|@FILE",
        help="Result of the step, which later steps receive.",
    ),
]

IfMatch = Annotated[
    str | None,
    typer.Option(
        "--if-match",
        metavar="ETAG",
        help="Reject the action unless the task still has this ETag, which `show --json` prints.",
    ),
]

app = make_command_group("List, show, create, cancel, retry, resolve, pause and signal tasks.")

Function = TypeVar("Function", bound=Callable[..., Any])


def add_filter_options(function: Function) -> Callable[..., Any]:
    """Replace a command's parameter `matching`, a `TaskFilter`, by the options in `FILTERS`."""

    @wraps(function)
    def run_with_filter(invocation: Invocation, **given: Any) -> Any:
        options = {name: given.pop(name) for name in FILTERS}
        return function(invocation, matching=_make_filter(**options), **given)

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
    run_with_filter.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run_with_filter


@register_command(app, "list")
@add_filter_options
async def list_tasks(
    invocation: Invocation,
    matching: TaskFilter,
    status: Annotated[
        Any,
        typer.Option(
            "--status",
            "-s",
            parser=parse_status,
            metavar="STATUS",
            help="Select tasks with this status, such as error.",
            autocompletion=suggest_statuses,
        ),
    ] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="ID", help="List the child tasks of this task.")
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="List tasks older than this one. For the next page, give the last id shown.",
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-l", min=1, max=1000, metavar="N", help="Maximum number of tasks."
        ),
    ] = 25,
) -> None:
    """List tasks, newest first."""
    matching = replace(matching, status=status)
    async with invocation.open_client() as client:
        if parent is not None:
            matching = replace(matching, parent_id=await resolve_task_id(client, parent))
        start = await resolve_task_id(client, after) if after is not None else None
        tasks = await client.tasks(matching, after=start, limit=limit + 1)
        reason = "" if tasks else await _unknown_template_message(client, matching)
    following = tasks[limit - 1].id if len(tasks) > limit else None
    tasks = tasks[:limit]
    if invocation.as_json:
        invocation.print_json(
            {"tasks": [task_to_document(task) for task in tasks], "next": following}
        )
        return
    if tasks:
        print_table(invocation.stdout_console, tasks_table(invocation.stdout_console, tasks))
    else:
        invocation.stderr_console.print(f"no tasks match{reason}")
    if following:
        invocation.stderr_console.print(f"more: --after {following}", style="dim")


@register_command(app, "count")
@add_filter_options
async def count_tasks(invocation: Invocation, matching: TaskFilter) -> None:
    """Count tasks by status, up to 10,000 of each."""
    async with invocation.open_client() as client:
        counts = await client.count_tasks(matching)
        reason = (
            ""
            if any(counts.by_status.values())
            else await _unknown_template_message(client, matching)
        )
    if invocation.as_json:
        invocation.print_json(counts)
        return
    plain = is_ascii_only(invocation.stdout_console)
    table = make_table("status", "tasks", right=("tasks",))
    for status in TaskStatus:
        if number := counts.by_status.get(status.value, 0):
            most = "+" if number >= MOST_COUNTED and not counts.exact else ""
            table.add_row(status_text(status.value, plain=plain), f"{number:,}{most}")
    if table.row_count:
        print_table(invocation.stdout_console, table)
    else:
        invocation.stderr_console.print(f"no tasks match{reason}")


async def _unknown_template_message(client: Client, matching: TaskFilter) -> str:
    """Return `: template ... not found` if the filter names an unknown template, else ""."""
    if matching.name is None:
        return ""
    if matching.namespace is None and await client.templates(name=matching.name):
        return ""  # in another namespace than the default one
    name = f"{matching.namespace or DEFAULT_NAMESPACE}.{matching.name}"
    try:
        await client.template(name, matching.version)
    except NotFound as error:
        return f": {error}"
    except TaskerError:  # it is not approved, or may not be read
        pass
    return ""


@register_command(app, "show")
async def show_task(
    invocation: Invocation,
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
) -> ExitCode:
    """Show a task: its steps and their graph, attempts, errors and operator actions.

    With --watch, the exit code shows the outcome: 0 complete, 1 failed or cancelled.
    """
    async with invocation.open_client() as client:
        task_id = await resolve_task_id(client, task)
        if watch:
            await show_task_until_ended(client, task_id, invocation.text_console)
        detail = await read_task_detail(client, task_id, full=full or invocation.as_json)
        times = await client.task_times(task_id) if timeline else None
    if invocation.as_json:
        invocation.print_json(
            {
                **task_to_document(detail.task),
                "steps": to_plain_json(detail.steps),
                "attempts": to_plain_json(detail.attempts),
                "audit": to_plain_json(detail.audit),
                "children": [task_to_document(child) for child in detail.children],
                **({"timeline": timeline_to_document(times)} if times else {}),
            }
        )
    else:
        render_task(invocation.stdout_console, detail, full=full, timeline=times)
    failed = watch and detail.task.status in (TaskStatus.ERROR, TaskStatus.CANCELLED)
    return ExitCode.FAILED if failed else ExitCode.DONE


@register_command(app, "why")
async def explain_status(
    invocation: Invocation,
    task: TaskRef,
    step: Annotated[
        str | None, typer.Option(metavar="STEP", help="Explain this step instead of the task.")
    ] = None,
) -> None:
    """Explain why a task or one of its steps does not run, most important reason first."""
    async with invocation.open_client() as client:
        reasons = await client.why(await resolve_task_id(client, task), step=step)
    if invocation.as_json:
        invocation.print_json(to_plain_json(reasons))
        return
    for reason in reasons:
        invocation.stdout_console.print(format_blocking_reason(reason), soft_wrap=True)
    if not reasons:
        invocation.stderr_console.print("nothing is blocking it")


@register_command(app, "logs")
async def show_logs(
    invocation: Invocation,
    task: TaskRef,
    step: Annotated[
        str | None, typer.Option(metavar="STEP", help="Show only records of this step.")
    ] = None,
    attempt: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Show only the records of the attempt with this number."
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL", help="Minimum level: debug, info, warning, error or critical."
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Show only messages that contain this text.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print new records until the task ends.")
    ] = False,
) -> None:
    """Show what a task's handlers logged and printed, oldest first.

    With --follow and --json, prints one JSON document for each record.
    """
    filters = {"step": step, "attempt": attempt, "level": level, "text": text}
    async with invocation.open_client() as client:
        task_id = await resolve_task_id(client, task)
        read = read_task_logs(client, task_id, follow=follow, **filters)
        if invocation.as_json and not follow:
            invocation.print_json([to_plain_json(record) async for record in read])
            return
        async for record in read:
            if invocation.as_json:
                invocation.print_json(to_plain_json(record))
            else:
                invocation.stdout_console.print(format_log_record(record), soft_wrap=True)


@register_command(app, "create", acts=True)
async def create_task(
    invocation: Invocation,
    template: Annotated[
        str,
        typer.Argument(
            metavar="TEMPLATE",
            help="A registered template such as payments.process_refund@^2.1, or a YAML file.",
            autocompletion=suggest_templates,
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
        IdempotencyKeyLifetime | None,
        typer.Option(help="How long the task keeps the key: until it is pruned, or until it ends."),
    ] = None,
    if_exists: Annotated[
        ExistingTaskAction | None,
        typer.Option(
            help="If another task has the key: return it, reject the new one, or replace it."
        ),
    ] = None,
    correlation_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Correlation id of the task and its child tasks."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Tag of the task. Repeatable.")
    ] = None,
    delay: Annotated[
        Any,
        typer.Option(
            parser=parse_duration_option, metavar="TIME", help="Delay before the first step starts."
        ),
    ] = None,
    deadline: Annotated[
        Any,
        typer.Option(
            parser=parse_duration_option,
            metavar="TIME",
            help="Time limit from the task's creation to its end.",
        ),
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=4,
            metavar="0-4",
            help="Priority; 4 is the most urgent. Each level counts as one minute of waiting in a"
            " queue. Default: the template's priority.",
        ),
    ] = None,
    reason: Reason = "",
) -> None:
    """Create a task for workers to run."""
    name, files = resolve_template_argument(template)
    async with invocation.open_client(create=bool(files)) as client:
        for one in load_templates(files):
            await client.register(one)
        with explain_invalid_context(name):
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
    if invocation.as_json:
        invocation.print_json({**task_to_document(task), "created": task.created})
        return
    invocation.stdout_console.print(task.id)
    if not task.created:
        invocation.stderr_console.print(
            "the idempotency key belongs to this existing task", style="dim"
        )


@register_command(app, "cancel", acts=True)
@add_filter_options
async def cancel_tasks(
    invocation: Invocation,
    matching: TaskFilter,
    task: OptionalTaskRef = None,
    dry_run: DryRun = False,
    per_second: PerSecond = DEFAULT_RATE,
    yes: Yes = False,
    detach: Detach = False,
    reason: Reason = "",
    if_match: IfMatch = None,
) -> ExitCode:
    """Cancel an open task, or all open tasks that match filters.

    No further step starts, and the results of running attempts are discarded unless the task is
    compensated. With filters in place of an ID, tasks are cancelled at a limited rate, newest
    first; --dry-run only counts them. Exit code: 5 if a task could not be cancelled.
    """
    async with invocation.open_client(operates=True) as client:
        if task is not None:
            _require_no_filter(matching)
            task_id = await resolve_task_id(client, task)
            _print_task_status(
                invocation, await client.cancel(task_id, reason=reason, if_match=if_match)
            )
            return ExitCode.DONE
        _reject_if_match_without_task_id(if_match)
        _require_some_filter(matching)
        return await confirm_and_run_bulk(
            invocation,
            client,
            BulkRequest(action=BulkAction.CANCEL, filter=matching),
            per_second=per_second,
            reason=reason,
            dry_run=dry_run,
            yes=yes,
            detach=detach,
        )


@register_command(app, "retry", acts=True)
@add_filter_options
async def retry_tasks(
    invocation: Invocation,
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
            help="Give each step as many attempts as the retry policy allows, not just one.",
        ),
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            metavar="",
            help="Delete the records of the steps' durable calls, so that the calls are repeated.",
        ),
    ] = False,
    dry_run: DryRun = False,
    per_second: PerSecond = DEFAULT_RATE,
    yes: Yes = False,
    detach: Detach = False,
    reason: Reason = "",
    if_match: IfMatch = None,
) -> ExitCode:
    """Retry the failed steps of a task, or of all failed tasks that match filters.

    Each step gets one more attempt. With filters in place of an ID, tasks are retried at a
    limited rate, newest first; --dry-run only counts them. Exit code: 5 if a task could not be
    retried.
    """
    async with invocation.open_client(operates=True) as client:

        async def retry_one_task(task_id: TaskId) -> Task:
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
            _print_task_status(
                invocation, await retry_one_task(await resolve_task_id(client, task))
            )
            return ExitCode.DONE
        _reject_if_match_without_task_id(if_match)
        _require_some_filter(matching)
        request = BulkRequest(
            action=BulkAction.RETRY,
            filter=matching,
            steps=tuple(step) if step else None,
            reset_attempts=reset_attempts,
            fresh=fresh,
        )
        return await confirm_and_run_bulk(
            invocation,
            client,
            request,
            per_second=per_second,
            reason=reason,
            dry_run=dry_run,
            yes=yes,
            detach=detach,
        )


@register_command(app, "resolve", acts=True)
async def resolve_step_or_task(
    invocation: Invocation,
    task: TaskRef,
    step: Annotated[
        str | None,
        typer.Argument(metavar="[STEP]", help="Step to resolve; default: the whole task."),
    ] = None,
    result: Result = None,
    reason: Reason = "",
    if_match: IfMatch = None,
) -> None:
    """Declare a failed step or the whole task done by other means."""
    if step is None and result is not None:
        raise typer.BadParameter(
            "a result can only be given for a step: name the step", param_hint="--result"
        )
    async with invocation.open_client(operates=True) as client:
        task_id = await resolve_task_id(client, task)
        changed = await client.resolve(task_id, step, result, reason=reason, if_match=if_match)
    _print_task_status(invocation, changed)


@register_command(app, "complete", acts=True)
async def complete_step(
    invocation: Invocation,
    task: TaskRef,
    step: Annotated[
        str, typer.Argument(metavar="STEP", help="Step to complete, such as convert[17].")
    ],
    result: Annotated[
        Any,
        typer.Option(parser=parse_json_or_file, metavar="JSON|@FILE", help="The step's result."),
    ],
    reason: Reason = "",
    if_match: IfMatch = None,
) -> None:
    """Complete a step with a result, as if its handler had returned it."""
    async with invocation.open_client(operates=True) as client:
        task_id = await resolve_task_id(client, task)
        changed = await client.complete_step(
            task_id, step, result, reason=reason, if_match=if_match
        )
    _print_task_status(invocation, changed)


@register_command(app, "skip", acts=True)
async def skip_step(
    invocation: Invocation,
    task: TaskRef,
    step: Annotated[str, typer.Argument(metavar="STEP", help="Step to skip, such as convert[17].")],
    reason: Reason = "",
    if_match: IfMatch = None,
) -> None:
    """Skip a step that is not needed. Later steps then run without its result.

    The step ends as resolved_manually.
    """
    async with invocation.open_client(operates=True) as client:
        task_id = await resolve_task_id(client, task)
        changed = await client.skip_step(task_id, step, reason=reason, if_match=if_match)
    _print_task_status(invocation, changed)


@register_command(app, "signal", acts=True)
async def send_signal(
    invocation: Invocation,
    task: TaskRef,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the signal.")],
    payload: Annotated[
        Any,
        typer.Argument(
            parser=parse_json_or_file, metavar="[JSON|@FILE]", help="Payload; default: null."
        ),
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="Id of the signal; a second signal with the same name and id is not sent.",
        ),
    ] = None,
    reason: Reason = "",
) -> None:
    """Send a signal to a task. The first step that waits for it receives it.

    If no step waits for the signal yet, the signal is kept.
    """
    async with invocation.open_client(operates=True) as client:
        task_id = await resolve_task_id(client, task)
        sent = await client.signal(task_id, name, payload, id=id, reason=reason)
        waits = (
            [] if sent.step or not sent.created else await _describe_current_waits(client, task_id)
        )
    if invocation.as_json:
        invocation.print_json(to_plain_json(sent))
    elif not sent.created:
        invocation.stdout_console.print("a signal with this id was already sent")
    elif sent.step is None:
        invocation.stdout_console.print("; ".join(["sent", "no step waits for it yet", *waits]))
    else:
        invocation.stdout_console.print(f"sent; step {sent.step} received it")


async def _describe_current_waits(client: Client, task_id: TaskId) -> list[str]:
    """Return what the steps of a task currently wait for, if the caller may read it."""
    try:
        steps = await client.steps(task_id, limit=_MOST_STEPS)
    except Rejected:
        return []
    return [f"{step.name} waits for {describe_waits(step.waits)}" for step in steps if step.waits]


@register_command(app, "reveal", acts=True)
async def reveal_sensitive_data(
    invocation: Invocation,
    task: TaskRef,
    reason: Annotated[str, typer.Option("--reason", help="Reason to record in the audit log.")],
    step: Annotated[
        str | None, typer.Option("--step", help="Show only this step, such as convert[17].")
    ] = None,
) -> None:
    """Show a task's data unmasked, as JSON; the audit log records who did so and why."""
    async with invocation.open_client(operates=True) as client:
        revealed = await client.reveal(
            await resolve_task_id(client, task), reason=reason, step=step
        )
    invocation.print_json(to_plain_json(revealed))


@register_command(app, "pause", acts=True)
async def pause_task(invocation: Invocation, task: TaskRef, reason: Reason = "") -> None:
    """Pause a task: no new steps start; running attempts continue."""
    async with invocation.open_client(operates=True) as client:
        target = PauseTarget.of_task(await resolve_task_id(client, task))
        await pause_target(invocation, client, target, reason)


@register_command(app, "resume", acts=True)
async def resume_task(invocation: Invocation, task: TaskRef, reason: Reason = "") -> None:
    """Resume a paused task."""
    async with invocation.open_client(operates=True) as client:
        target = PauseTarget.of_task(await resolve_task_id(client, task))
        await resume_target(invocation, client, target, reason)


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


def _reject_if_match_without_task_id(if_match: str | None) -> None:
    if if_match is not None:
        raise typer.BadParameter(
            "allowed only for a single task: give its ID", param_hint="--if-match"
        )


def _require_some_filter(matching: TaskFilter) -> None:
    if matching == TaskFilter():
        raise typer.BadParameter("give an ID, or filters such as --template and --since")


def _print_task_status(invocation: Invocation, task: Task) -> None:
    """Print a task's new status."""
    if invocation.as_json:
        invocation.print_json(task_to_document(task))
        return
    line = status_text(task.status.value, plain=is_ascii_only(invocation.stdout_console))
    invocation.stdout_console.print(line.append(f"  {task.template}  {task.id}", style="none"))
