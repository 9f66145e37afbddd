"""`tasker schedule ...`: schedules, which create tasks at their ticks."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.text import Text

from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.options import Context, Reason, parse_duration_option, parse_time
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.style import format_local_time, print_table, to_printable_line
from tasker.cli.render.tables import make_table
from tasker.durations import format_duration
from tasker.model import EPOCH, PRIORITIES, OverlapPolicy, Schedule
from tasker.plurals import format_count
from tasker.schedules.document import stored_schedule_to_json
from tasker.schedules.model import StoredSchedule, TicksWithoutTask

_RECORDS = 20  #: records of ticks that `show` prints

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The schedule: namespace.name, or namespace.template.name if a template declares it.",
    ),
]

app = make_command_group(
    "Create, list, show, pause, resume, trigger, delete and backfill schedules."
)


@register_command(app, "create", acts=True)
async def create_schedule(
    invocation: Invocation,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.")],
    template: Annotated[
        str,
        typer.Option(
            "--template",
            "-t",
            metavar="NAME",
            help="Template of the tasks: namespace.name, optionally with @VERSION or @RANGE.",
        ),
    ],
    cron: Annotated[
        str,
        typer.Option(metavar="LINE", help='Cron expression: five fields, such as "30 2 * * *".'),
    ] = "",
    every: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration_option,
            metavar="DURATION",
            help="Time between two ticks, such as 15m.",
        ),
    ] = None,
    anchor: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_time,
            metavar="TIME",
            help=(
                "Time of one tick, from which the others follow at intervals of --every; default: "
                "1970-01-01."
            ),
        ),
    ] = None,
    timezone: Annotated[
        str,
        typer.Option(
            metavar="ZONE", help="Time zone of the cron expression, such as Europe/Berlin."
        ),
    ] = "UTC",
    overlap: Annotated[
        OverlapPolicy,
        typer.Option(help="What to do at a tick while the previous tick's task is open."),
    ] = OverlapPolicy.SKIP,
    catch_up: Annotated[
        timedelta,
        typer.Option(
            parser=parse_duration_option,
            metavar="DURATION",
            help="Maximum age at which a missed tick still creates a task.",
            show_default="6h",
        ),
    ] = timedelta(hours=6),
    jitter: Annotated[
        timedelta,
        typer.Option(
            parser=parse_duration_option,
            metavar="DURATION",
            help="Maximum random delay before a task starts.",
            show_default="none",
        ),
    ] = timedelta(0),
    priority: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=PRIORITIES - 1,
            metavar="0..4",
            help="Priority of the tasks; default: the template's priority.",
        ),
    ] = None,
    context: Context = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the schedule if it exists.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the next ten ticks.")
    ] = False,
    reason: Reason = "",
) -> None:
    """Create a schedule and print its next ten ticks."""
    schedule = Schedule(
        name=name,
        cron=cron,
        every=every,
        anchor=anchor or EPOCH,
        timezone=timezone,
        overlap=overlap,
        catch_up=catch_up,
        jitter=jitter,
        priority=priority,
        context=context,
    )
    async with invocation.open_client(operates=True) as client:
        ticks = await client.schedules.preview(schedule)
        if not invocation.as_json:
            _print_ticks(invocation, ticks, timezone)
        if dry_run:
            if invocation.as_json:
                invocation.print_json({"ticks": to_plain_json(ticks)})
            return
        save = client.schedules.update if replace else client.schedules.create
        stored = await save(template, schedule, reason=reason)
    if invocation.as_json:
        invocation.print_json(
            {**to_plain_json(stored_schedule_to_json(stored)), "ticks": to_plain_json(ticks)}
        )
    else:
        verb = "replaced" if replace else "created"
        invocation.stdout_console.print(f"{verb}: schedule {stored.full_name}", highlight=False)


@register_command(app, "list")
async def list_schedules(
    invocation: Invocation,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="Show only schedules of this namespace."
        ),
    ] = None,
) -> None:
    """List schedules by name, with their next ticks."""
    async with invocation.open_client() as client:
        listed = await client.schedules.list(namespace)
    listed = sorted(listed, key=lambda stored: stored.full_name)
    if invocation.as_json:
        invocation.print_json(
            {"schedules": [to_plain_json(stored_schedule_to_json(one)) for one in listed]}
        )
        return
    rows = make_table("schedule", "template", "ticks", "overlap", "last", "next")
    for stored in listed:
        rows.add_row(
            Text(to_printable_line(stored.full_name), style="bold"),
            _template_reference_text(stored),
            _schedule_times_text(stored.schedule),
            stored.schedule.overlap.value,
            format_local_time(stored.last_at),
            Text("paused", style="yellow") if stored.paused else format_local_time(stored.next_at),
        )
    if listed:
        print_table(invocation.stdout_console, rows)
    else:
        invocation.stderr_console.print("no schedules")


@register_command(app, "show")
async def show_schedule(invocation: Invocation, name: Name) -> None:
    """Show a schedule, its next ten ticks, and the latest ticks without a task."""
    async with invocation.open_client() as client:
        stored = await client.schedules.get(name)
        records = await client.schedules.ticks_without_task(name, limit=_RECORDS)
        ticks: Sequence[datetime] = []
        if not stored.paused:
            ticks = await client.schedules.preview(
                _schedule_for_preview(stored), after=_time_before_next_tick(stored)
            )
    if invocation.as_json:
        invocation.print_json(
            {
                **to_plain_json(stored_schedule_to_json(stored)),
                "ticks": to_plain_json(ticks),
                "ticks_without_task": to_plain_json(records),
            }
        )
        return
    facts: Mapping[str, object] = {
        "schedule": stored.full_name,
        "id": stored.id,
        "template": _template_reference_text(stored),
        "declared by": stored.declared_by,
        "ticks": _schedule_times_text(stored.schedule),
        "overlap": stored.schedule.overlap.value,
        "catch up": format_duration(stored.schedule.catch_up),
        "jitter": format_duration(stored.schedule.jitter) if stored.schedule.jitter else None,
        "priority": stored.schedule.priority,
        "context": stored.schedule.context or None,
        "paused": "yes" if stored.paused else None,
        "last": stored.last_at and f"{format_local_time(stored.last_at)}  task {stored.last_task}",
        "waiting": stored.buffered or None,
    }
    for label, value in facts.items():
        if value is not None:
            invocation.stdout_console.print(
                f"{label:12} {value}", highlight=False, soft_wrap=True, markup=False
            )
    _print_ticks(invocation, ticks, stored.schedule.timezone)
    for record in records:
        invocation.stdout_console.print(
            _describe_ticks_without_task(record), highlight=False, soft_wrap=True, markup=False
        )


@register_command(app, "pause", acts=True)
async def pause_schedule(invocation: Invocation, name: Name, reason: Reason = "") -> None:
    """Pause a schedule: its ticks create no tasks."""
    async with invocation.open_client(operates=True) as client:
        _print_action_result(
            invocation, await client.schedules.pause(name, reason=reason), "paused"
        )


@register_command(app, "resume", acts=True)
async def resume_schedule(invocation: Invocation, name: Name, reason: Reason = "") -> None:
    """Resume a schedule, starting with its next tick."""
    async with invocation.open_client(operates=True) as client:
        _print_action_result(
            invocation, await client.schedules.resume(name, reason=reason), "resumed"
        )


@register_command(app, "delete", acts=True)
async def delete_schedule(invocation: Invocation, name: Name, reason: Reason = "") -> None:
    """Delete a schedule that no template declares; its tasks are kept."""
    async with invocation.open_client(operates=True) as client:
        await client.schedules.delete(name, reason=reason)
    if invocation.as_json:
        invocation.print_json({"deleted": name})
    else:
        invocation.stdout_console.print(f"deleted: schedule {name}", highlight=False)


@register_command(app, "backfill", acts=True)
async def backfill_schedule(
    invocation: Invocation,
    name: Name,
    start: Annotated[
        datetime,
        typer.Option("--from", parser=parse_time, metavar="TIME", help="Start of the range."),
    ],
    end: Annotated[
        datetime,
        typer.Option(
            "--to",
            parser=parse_time,
            metavar="TIME",
            help="End of the range; a tick at this time is not included.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the ticks.")] = False,
) -> None:
    """Create a task with priority 0 for each tick in a range in the past, at most 1,000 ticks."""
    async with invocation.open_client(operates=True) as client:
        stored = await client.schedules.get(name)
        result = await client.schedules.backfill(name, start, end, dry_run=dry_run)
    if invocation.as_json:
        invocation.print_json(to_plain_json(result))
        return
    if dry_run:
        _print_ticks(invocation, result.ticks, stored.schedule.timezone)
        return
    existing = f", {result.existing:,} existed" if result.existing else ""
    invocation.stdout_console.print(
        f"{format_count('task', result.created)} created{existing}", highlight=False
    )


@register_command(app, "trigger", acts=True)
async def trigger_schedule(invocation: Invocation, name: Name) -> None:
    """Create a task of a schedule now, in addition to the tasks of its ticks."""
    async with invocation.open_client(operates=True) as client:
        task_id = await client.schedules.trigger(name)
    if invocation.as_json:
        invocation.print_json({"task_id": task_id})
    else:
        invocation.stdout_console.print(f"created task {task_id}", highlight=False)


def _print_action_result(invocation: Invocation, stored: StoredSchedule, verb: str) -> None:
    if invocation.as_json:
        invocation.print_json(to_plain_json(stored_schedule_to_json(stored)))
    else:
        invocation.stdout_console.print(f"{verb}: schedule {stored.full_name}", highlight=False)


def _print_ticks(invocation: Invocation, ticks: Sequence[datetime], timezone: str) -> None:
    """Print ticks in the time zone of their schedule."""
    zone = ZoneInfo(timezone)
    for tick in ticks:
        line = f"{tick.astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}"
        invocation.stdout_console.print(f"  {line}", highlight=False, markup=False)


def _describe_ticks_without_task(record: TicksWithoutTask) -> str:
    last = "" if record.first == record.last else f" to {format_local_time(record.last)}"
    detail = f": {record.detail}" if record.detail else ""
    return f"{record.outcome.value:12} {format_local_time(record.first)}{last}{detail}"


def _template_reference_text(stored: StoredSchedule) -> str:
    version = f"@{stored.version}" if stored.version else ""
    return f"{stored.namespace}.{stored.template}{version}"


def _schedule_times_text(schedule: Schedule) -> str:
    if schedule.every is not None:
        return f"every {format_duration(schedule.every)}"
    return f"{schedule.cron} {schedule.timezone}"


def _time_before_next_tick(stored: StoredSchedule) -> datetime:
    return stored.next_at - timedelta(microseconds=1)


def _schedule_for_preview(stored: StoredSchedule) -> Schedule:
    """Return a schedule for a preview; names of declared schedules contain a dot."""
    spec: Any = {field: getattr(stored.schedule, field) for field in Schedule.__slots__}
    return Schedule(**{**spec, "name": "preview"})
