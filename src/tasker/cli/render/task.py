"""Renders one task or one template: its fields and its graph."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from tasker.cli.pausing import describe_pause
from tasker.cli.render import graphs
from tasker.cli.render.specs import (
    describe_limits_and_events,
    describe_limits_and_schedules,
    describe_step_work,
)
from tasker.cli.render.style import (
    LOOKS,
    find_error_location,
    format_error_line,
    format_local_time,
    format_relative_time,
    format_short_json,
    is_ascii_only,
    outcome_text,
    print_table,
    status_symbol,
    status_text,
    to_printable_line,
)
from tasker.cli.render.tables import is_narrow_terminal, make_table, tasks_table
from tasker.cli.render.timeline import make_timeline_table
from tasker.durations import human_duration
from tasker.graph import Graph
from tasker.model import (
    DEFAULT_PRIORITY,
    ENGINE,
    Attempt,
    AttemptOutcome,
    AuditEntry,
    Step,
    StepSpec,
    StepStatus,
    StepType,
    Task,
    TaskStatus,
    Template,
    TriggerRule,
)
from tasker.plurals import format_count
from tasker.redact import redact_passwords
from tasker.step_logs import LogRecord
from tasker.times import TaskTimes
from tasker.why import Reason, describe_waits

MOST = 50  #: maximum rows of a table

_PLAIN_STORY = (AttemptOutcome.COMPLETE,)
_UNREMARKABLE = ("complete", "pending", "skipped", "cancelled", "resolved_manually")


# ---------------------------------------------------------------------------- tasks


StepsByStatus: TypeAlias = Counter[tuple[int, StepStatus]]
"""Number of steps, by the number of their spec in the template and by status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDetail:
    """A task with its template, steps, attempts and audit log."""

    task: Task
    template: Template
    steps: Sequence[Step]
    """All steps of the template and some of each step's instances."""

    counts: StepsByStatus
    attempts: Sequence[Attempt]
    audit: Sequence[AuditEntry]
    children: Sequence[Task] = ()


def render_task(
    console: Console, detail: TaskDetail, *, full: bool, timeline: TaskTimes | None = None
) -> None:
    """Show a task: its fields, its graph with statuses, its attempts and its audit log.

    Args:
        console: The console to print on.
        detail: The task to show.
        full: Whether to show all fields in full.
        timeline: The times per step to show as well, if any.
    """
    console.print(_task_headline(console, detail.task))
    print_table(console, _fields_table(detail))
    _print_json_field(console, "context", detail.task.context, full=full)
    console.print()
    _print_steps(console, detail, full=full)
    if timeline is not None:
        console.print()
        console.print(Text("Times", style="bold"))
        print_table(console, make_timeline_table(timeline))
    if detail.children:
        console.print()
        console.print(Text("Child tasks", style="bold"))
        print_table(console, tasks_table(console, detail.children))
    if full or any(attempt.outcome not in _PLAIN_STORY for attempt in detail.attempts):
        _print_attempts(console, detail.attempts, full=full)
    if detail.audit:
        console.print()
        console.print(Text("Operator actions", style="bold"))
        print_table(console, _audit_table(detail.audit))
    if full:
        _print_results_and_errors(console, detail)


def _task_headline(console: Console, task: Task) -> Text:
    line = status_text(task.status.value, plain=is_ascii_only(console))
    return line.append(f"  {task.template}", style="bold")


def _fields_table(detail: TaskDetail) -> Table:
    """Return a table of the fields of a task that are set."""
    task = detail.task
    facts = make_table("", "")
    facts.show_header = False
    took = human_duration((task.ended_at or datetime.now(UTC)) - task.created_at)
    created_ago = format_relative_time(task.created_at)
    by = f" by {to_printable_line(task.created_by)}" if task.created_by else ""
    why = f": {to_printable_line(task.reason)}" if task.reason else ""
    for name, value in (
        ("id", task.id),
        ("title", to_printable_line(task.title or "")),
        (
            "created",
            f"{format_local_time(task.created_at)}, {created_ago}{by}{why}",
        ),
        ("paused", "; ".join(describe_pause(pause) for pause in task.pauses)),
        ("ended", f"{format_local_time(task.ended_at)}, took {took}" if task.ended_at else ""),
        ("compensation", task.compensation or ""),
        ("deadline", f"{format_local_time(task.deadline)}" if task.deadline else ""),
        ("priority", "" if task.priority == DEFAULT_PRIORITY else str(task.priority)),
        ("parent", task.parent_id or ""),
        ("scheduled for", format_local_time(task.scheduled_for) if task.scheduled_for else ""),
        (
            "correlation",
            "" if task.correlation_id == task.id else to_printable_line(task.correlation_id),
        ),
        ("idempotency key", to_printable_line(task.idempotency_key or "")),
        ("tags", to_printable_line(", ".join(task.tags))),
        (
            "attributes",
            to_printable_line(", ".join(f"{k}={v}" for k, v in task.attributes.items())),
        ),
        ("error", failure_summary(detail) or format_error_line(task.error)),
    ):
        if value:
            facts.add_row(Text(f"  {name}", style="dim"), Text(value))
    return facts


def failure_summary(detail: TaskDetail) -> str:
    """Return the failed step and its error on one line, with the number of other failed steps."""
    first = next((step for step in detail.steps if step.status is StepStatus.ERROR), None)
    if first is None:
        return ""
    others = sum(detail.counts[place] for place in detail.counts if place[1] is first.status) - 1
    code = (first.error or {}).get("code")
    reason = f"step {first.name!r} failed: {format_error_line(first.error)}"
    reason += f" ({to_printable_line(code)})" if code else ""
    place = find_error_location(first.error)
    reason += f" (at {place})" if place else ""
    return reason + (f", and {format_count('other step', others)}" if others else "")


def _print_json_field(console: Console, name: str, value: object, *, full: bool) -> None:
    if full:
        console.print(Text(f"  {name}", style="dim"))
        print_json(console, value, indent=4)
    else:
        most = max(console.width - len(name) - 6, 20) if console.is_terminal else 1000
        console.print(
            Text(f"  {name}  ", style="dim").append(format_short_json(value, most), style="none")
        )


def print_json(console: Console, value: object, *, indent: int = 0) -> None:
    """Print JSON, coloured on a terminal."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    text = "\n".join(" " * indent + line for line in text.splitlines())
    _print_highlighted(console, text, "json")


def _print_highlighted(console: Console, text: str, language: str) -> None:
    if console.is_terminal and not console.no_color:
        console.print(Syntax(text, language, theme="ansi_dark", background_color="default"))
    else:
        console.print(Text(text), soft_wrap=True)


# ---------------------------------------------------------------------------- steps


def _print_steps(console: Console, detail: TaskDetail, *, full: bool) -> None:
    now, plain = datetime.now(UTC), is_ascii_only(console)
    graph = Graph(detail.template)
    steps: dict[str, list[Step]] = {spec.name: [] for spec in graph.specs}
    undoing = [step for step in detail.steps if step.undoes is not None]
    for step in detail.steps:
        steps[graph.names[step.template_node - 1]].append(step)
    bodies = {graph.names[no - 1] for no in graph.layout.scopes}
    single = [
        step
        for name, group in steps.items()
        if name not in bodies
        for step in group
        if step.undoes is None
    ]
    left_out: Sequence[Step] = ()
    only: set[str] | None = None
    if len(graph.forward_nodes) > MOST and not full:
        chosen = _choose_steps_to_show(single)
        left_out = [step for step in single if step not in chosen]
        only = {step.name for step in chosen} | bodies

    def count_by_status(name: str) -> dict[StepStatus, int]:
        node = graph.numbers[name]
        return {status: n for (of, status), n in detail.counts.items() if of == node}

    def make_row(spec: StepSpec) -> list[Text | str]:
        if spec.name in bodies:
            return _instances_row(steps[spec.name], count_by_status(spec.name))
        return _step_row(steps[spec.name][0], now, plain=plain)

    def step_symbol(spec: StepSpec) -> Text:
        group = steps[spec.name]
        return status_symbol(_most_urgent_status(group), plain=plain) if group else Text(" ")

    columns = make_table("", "step", "status", "counted", "took", "", right=("counted", "took"))
    print_table(
        console,
        _add_graph_rows(columns, detail.template, make_row, step_symbol, plain=plain, only=only),
    )
    _print_omitted_attempt_count(console, len(left_out))
    if undoing:
        _print_compensation(console, undoing, now, full=full)


def _print_compensation(
    console: Console, steps: Sequence[Step], now: datetime, *, full: bool
) -> None:
    """Show the steps that undo others, in the order in which they run."""
    plain = is_ascii_only(console)
    shown = steps if full else _choose_steps_to_show(steps)
    columns = make_table("", "step", "status", "counted", "took", "", right=("counted", "took"))
    for step in sorted(shown, key=lambda step: (step.undoes != 0, -step.no)):
        columns.add_row(
            status_symbol(step.status, plain=plain),
            Text(step.name),
            *_step_row(step, now, plain=plain),
        )
    console.print()
    console.print(Text("Compensation", style="bold"))
    print_table(console, columns)
    _print_omitted_attempt_count(console, len(steps) - len(shown))


def _step_row(step: Step, now: datetime, *, plain: bool) -> list[Text | str]:
    return [
        status_text(step.status, plain=plain)[2:],
        _attempt_count_text(step),
        Text(human_duration(_attempt_duration(step, now)), style="dim"),
        _describe_step_status(step, now),
    ]


def _most_urgent_status(group: Sequence[Step]) -> StepStatus:
    """Return the status by which several steps are shown: that of a failed or unfinished one."""
    statuses = {step.status for step in group}
    order = (StepStatus.ERROR, StepStatus.IN_PROGRESS, StepStatus.ENQUEUED, StepStatus.PENDING)
    return next((status for status in order if status in statuses), group[0].status)


def _instances_row(group: Sequence[Step], counts: Mapping[StepStatus, int]) -> list[Text | str]:
    """Return the cells of all instances of a step: their counts, and the first failure."""
    shown = ", ".join(f"{count:,} {status.value}" for status, count in counts.items())
    failed = next((step for step in group if step.status is StepStatus.ERROR), None)
    details = "" if failed is None else f"{failed.name}: {format_error_line(failed.error)}"
    return [
        Text(format_count("instance", sum(counts.values()))),
        Text(),
        Text(),
        Text("; ".join(filter(None, (shown, details)))),
    ]


def _add_graph_rows(
    rows: Table,
    template: Template,
    row: Callable[[StepSpec], list[Text | str]],
    symbol_of: Callable[[StepSpec], Text],
    *,
    plain: bool,
    only: set[str] | None = None,
) -> Table:
    """Fill a table with a template's steps, with the graph in the first column."""
    graph = Graph(template)
    lines = graphs.draw_graph(graph) if only is None else None
    if lines is None:
        for spec in graph.specs[: len(graph.forward_nodes)]:
            if only is None or spec.name in only:
                label = graph.layout.step_name_pattern(graph.numbers[spec.name])
                rows.add_row(symbol_of(spec), Text(label), *row(spec))
        return rows
    for line in lines:
        if line.no is None:
            rows.add_row(
                Text(graphs.lanes_to_ascii(line.lanes) if plain else line.lanes, style="dim")
            )
            continue
        spec = graph.specs[line.no - 1]
        lanes = Text(graphs.lanes_to_ascii(line.lanes) if plain else line.lanes, style="dim")
        lanes.pad_right(max(line.at + 1 - len(lanes), 0))
        cell = lanes[: line.at].append_text(symbol_of(spec)).append_text(lanes[line.at + 1 :])
        rows.add_row(cell, Text(graph.layout.step_name_pattern(line.no)), *row(spec))
    return rows


def _choose_steps_to_show(steps: Sequence[Step]) -> list[Step]:
    """Return the steps to show, preferring running and failed ones."""
    ranked = sorted(steps, key=lambda step: (step.status.value in _UNREMARKABLE, step.no))
    return sorted(ranked[:MOST], key=lambda step: step.no)


def _attempt_count_text(step: Step) -> Text:
    """Return the number of counted attempts, out of those allowed."""
    attempts = step.counted_attempts
    if not attempts:
        return Text()
    most = step.max_attempts
    text = f"{attempts}/{most}" if attempts <= most else str(attempts)
    return Text(text, style="yellow" if attempts > 1 else "dim")


def _count_attempts_made(step: Step) -> int:
    """Return the number of attempts that failed, completed or were lost, but were not parked."""
    return step.counted_attempts + step.lost_attempts


def _attempt_duration(step: Step, now: datetime) -> timedelta | None:
    """Return the duration of the last attempt, finished or running."""
    if step.claimed_at is None:
        return None
    return max((step.settled_at or now) - step.claimed_at, timedelta(0))


def _describe_step_status(step: Step, now: datetime) -> Text:
    """Return a step's result, its error, or when it runs next."""
    style = LOOKS[step.status].style
    if step.status is StepStatus.WAITING_FOR_RETRY:
        return Text(
            f"retries {format_relative_time(step.run_at, now)}: {format_error_line(step.error)}",
            style=style,
        )
    if step.error:
        return Text(format_error_line(step.error), style=style)
    if step.skip_reason:
        return Text(to_printable_line(step.skip_reason), style=style)
    if step.status is StepStatus.WAITING:
        return Text(describe_step_wait(step, now), style=style)
    if step.status is StepStatus.IN_PROGRESS:
        return Text(f"on {to_printable_line(step.worker)}" if step.worker else "", style="dim")
    if step.pause is not None:
        return Text(f"paused: {describe_pause(step.pause)}", style="yellow")
    if step.no_worker:
        return Text(step.no_worker_reason or "no live worker can run this step", style="yellow")
    if step.limit_reason:
        return Text(to_printable_line(f"limit: {step.limit_reason}"), style="yellow")
    if step.run_at is not None and step.run_at > now:
        return Text(f"starts {format_relative_time(step.run_at, now)}", style=style)
    return Text("" if step.result is None else format_short_json(step.result), style="dim")


def describe_step_wait(step: Step, now: datetime) -> str:
    """Return what a waiting step waits for, and until when."""
    if step.waits_for is not None:
        return f"waits for task {step.waits_for}"
    limit = "" if step.waits_until is None else format_relative_time(step.waits_until, now)
    if not step.waits:
        return f"sleeps, due {limit}" if limit else "waits"
    timeout = f", times out {limit}" if limit else ""
    return to_printable_line(f"waits for {describe_waits(step.waits)}{timeout}")


def _print_attempts(console: Console, attempts: Sequence[Attempt], *, full: bool) -> None:
    shown = attempts
    if len(attempts) > MOST and not full:
        shown = [one for one in attempts if one.outcome not in _PLAIN_STORY][-MOST:]
    console.print()
    console.print(Text("Attempts", style="bold"))
    print_table(console, _attempts_table(console, shown))
    _print_omitted_attempt_count(console, len(attempts) - len(shown))


def _print_omitted_attempt_count(console: Console, count: int) -> None:
    if count:
        console.print(Text(f"and {count:,} more; --full shows all", style="dim"))


def _attempts_table(console: Console, attempts: Sequence[Attempt]) -> Table:
    plain, narrow = is_ascii_only(console), is_narrow_terminal(console)
    columns = ["ended", "step", "attempt", "outcome", "waited", "took", "worker", "error"]
    if narrow:
        columns.remove("worker")
    rows = make_table(*columns, right=("attempt", "waited", "took"), flexible=("worker", "error"))
    for one in attempts:
        waited = one.claimed_at and one.enqueued_at and one.claimed_at - one.enqueued_at
        rows.add_row(
            Text(one.settled_at.astimezone().strftime("%H:%M:%S.%f")[:-3], style="dim"),
            Text(one.step),
            str(one.attempt),
            outcome_text(one.outcome.value, plain=plain),
            Text(human_duration(waited) if waited else "", style="dim"),
            human_duration(one.settled_at - one.claimed_at) if one.claimed_at else "",
            *([] if narrow else [Text(to_printable_line(one.worker or ""), style="dim")]),
            Text(format_error_line(one.error), style="red"),
        )
    return rows


def _audit_table(entries: Sequence[AuditEntry]) -> Table:
    rows = make_table("at", "who", "via", "action", "step", "before", "after", "reason")
    for entry in entries:
        rows.add_row(
            Text(format_local_time(entry.at), style="dim"),
            Text(to_printable_line(entry.actor)),
            Text(entry.via or "", style="dim"),
            Text(entry.action, style="bold"),
            Text(entry.step or ""),
            entry.before,
            entry.after,
            Text(to_printable_line(entry.reason)),
        )
    return rows


def _print_results_and_errors(console: Console, detail: TaskDetail) -> None:
    """Show results, checkpoints and errors in full."""
    for step in detail.steps:
        for name in ("result", "checkpoint", "error"):
            value = getattr(step, name)
            if value is None:
                continue
            console.print()
            console.print(Text(f"{step.name}: {name}", style="bold"))
            trace = value.get("trace", "") if name == "error" else ""
            print_json(
                console,
                {key: value[key] for key in value if key != "trace"} if trace else value,
                indent=2,
            )
            for line in trace.splitlines():
                indent = " " * (len(line) - len(line.lstrip()) + 2)
                console.print(Text(indent + to_printable_line(line), style="dim"), soft_wrap=True)


# ------------------------------------------------------------------------ templates


def render_template_yaml(console: Console, text: str) -> None:
    """Show a template's YAML."""
    _print_highlighted(console, text.rstrip("\n"), "yaml")


def render_template_graph(console: Console, template: Template) -> None:
    """Draw a template: its graph and the settings of each step."""
    plain = is_ascii_only(console)
    console.print(Text(template.full_name, style="bold"))
    if template.description:
        console.print(Text(to_printable_line(template.description), style="dim"), soft_wrap=True)
    for line in describe_limits_and_schedules(template):
        console.print(Text(line, style="dim"), soft_wrap=True)
    console.print()
    wide = graphs.draw_graph(Graph(template)) is None

    def make_row(spec: StepSpec) -> list[Text | str]:
        before = ", ".join(spec.dependencies)
        after = f"after {format_short_json(before, 60)}" if wide and before else ""
        undone = f"undone by {spec.compensate.callable}" if spec.compensate else ""
        return [
            Text(describe_step_work(spec), style="dim"),
            Text("" if spec.handler == ENGINE else _retry_and_timeout_text(spec), style="dim"),
            Text(_condition_and_failure_text(spec), style="yellow"),
            Text(
                "; ".join(filter(None, (after, *describe_limits_and_events(spec), undone))),
                style="dim",
            ),
        ]

    rows = make_table("", "step", "handler", "attempts", "runs", "")
    rows.show_header = False
    print_table(
        console,
        _add_graph_rows(
            rows,
            template,
            make_row,
            lambda spec: Text(_node_symbol(spec, plain=plain), style="cyan"),
            plain=plain,
        ),
    )


def _node_symbol(spec: StepSpec, *, plain: bool) -> str:
    """Return the symbol of a step: a decision, a step that may be skipped, or any other."""
    if spec.type is StepType.DECISION:
        return "?" if plain else "◆"
    if spec.when is not None or spec.trigger is not TriggerRule.ALL_SUCCESS:
        return "." if plain else "○"
    return "o" if plain else "●"


def _condition_and_failure_text(spec: StepSpec) -> str:
    """Return what decides whether a step runs, and what its failure does."""
    parts = []
    if spec.type is StepType.DECISION:
        parts.append("decision")
    if spec.trigger is not TriggerRule.ALL_SUCCESS:
        parts.append(spec.trigger.value)
    if spec.when is not None:
        parts.append(f"when {to_printable_line(spec.when)}")
    if spec.allow_failure:
        parts.append("may fail")
    return ", ".join(parts)


def _retry_and_timeout_text(spec: StepSpec) -> str:
    """Return the number of attempts of a step, and the time limit of each."""
    retry = spec.retry
    parts = []
    if retry.retryable and retry.max_attempts > 1:
        delay = human_duration(retry.initial_delay)
        parts.append(f"{retry.max_attempts} attempts, {retry.backoff} from {delay}")
    if spec.timeout is not None:
        parts.append(f"timeout {human_duration(spec.timeout)}")
    return ", ".join(parts).replace(".0 s", " s")


_RESULTS = 5  #: maximum number of results shown
_FAILURES = 10


def render_task_summary(
    console: Console, task: Task, steps: Sequence[Step], template: Template, *, store: str | None
) -> None:
    """Show a summary of an ended task.

    Args:
        console: The console to print on.
        task: The task's current state.
        steps: All its steps.
        template: Its template.
        store: The option to append to suggested commands, such as ` --store sqlite:x.db`; None if
            no other process can open the store.
    """
    console.print()
    console.print(_summary_line(console, task, steps))
    for step in [step for step in steps if step.status is StepStatus.ERROR][:_FAILURES]:
        line = Text(f"  {step.name} ", style="bold").append(
            f"failed after {format_count('attempt', _count_attempts_made(step))}: ", style="none"
        )
        line.append(format_error_line(step.error), style="red")
        if place := find_error_location(step.error):
            line.append(f" (at {place})", style="dim")
        console.print(line, soft_wrap=True)
    if task.status is TaskStatus.COMPLETE:
        _print_results(console, steps, template)
    if store is None:
        return
    console.print()
    for command, what in _suggested_commands(task):
        console.print(
            Text(f"  tasker task {command} {task.id}{store}").append(f"   {what}", style="dim"),
            soft_wrap=True,
        )


def _summary_line(console: Console, task: Task, steps: Sequence[Step]) -> Text:
    attempts = sum(map(_count_attempts_made, steps))
    line = status_text(task.status.value, plain=is_ascii_only(console))
    line.append(f"  {task.template}", style="bold")
    facts = [f"{task.counts.done}/{format_count('step', len(steps))}"]
    if attempts > task.counts.done:
        facts.append(format_count("attempt", attempts))
    if task.ended_at is not None:
        facts.append(human_duration(task.ended_at - task.created_at))
    else:
        facts.append(f"created {format_relative_time(task.created_at)}")
    return line.append("  " + ", ".join(facts), style="none")


def _print_results(console: Console, steps: Sequence[Step], template: Template) -> None:
    """Show the results of the steps without children, which form the task's result."""
    by_no = {step.no: step for step in steps}
    last = [by_no[no] for no in Graph(template).sinks if no in by_no]
    results = [step for step in last if step.result is not None][:_RESULTS]
    for step in results:
        most = max((console.width if console.is_terminal else 200) - len(step.name) - 6, 20)
        line = Text(f"  {step.name} ", style="bold")
        console.print(
            line.append(format_short_json(step.result, most), style="none"), soft_wrap=True
        )


def _suggested_commands(task: Task) -> list[tuple[str, str]]:
    """Return suggestions for the next command."""
    show = ("show", "show what happened")
    match task.status:
        case TaskStatus.COMPLETE | TaskStatus.CANCELLED | TaskStatus.RESOLVED_MANUALLY:
            return [show]
        case TaskStatus.ERROR:
            return [show, ("retry", "retry the failed steps")]
        case _ if task.compensation is not None:
            return [show]
        case _:
            return [show, ("cancel", "cancel the task")]


def store_option_for(url: str) -> str | None:
    """Return the `--store` option for commands on the same store, with any password removed.

    Empty for the default store; None for a store in memory, which other processes cannot open.
    """
    if ":memory:" in url:
        return None
    if url == "sqlite":
        return ""
    return f" --store {shlex.quote(redact_passwords(url, mask=''))}"


def format_blocking_reason(reason: Reason) -> Text:
    """Return one line on why a task or step does not run, with the time until that ends."""
    text = Text(reason.text, style="" if reason.blocking else "dim")
    if reason.until is not None:
        text.append(f" ({format_relative_time(reason.until)})", style="bold")
    return text


def format_log_record(record: LogRecord) -> Text:
    """Return a log record: its time, step, attempt and level, its message, its fields."""
    step = f"{record.step or record.no}#{record.attempt}"
    text = Text(f"{format_local_time(record.at)}  {step}  ", style="dim")
    if record.level != "info":
        text.append(f"{record.level}  ", style=_LEVEL_STYLES.get(record.level, ""))
    text.append("\n".join(map(to_printable_line, record.message.split("\n"))), style="")
    for name, value in record.fields.items():
        text.append(f"  {name}={format_short_json(value)}", style="dim")
    return text


_LEVEL_STYLES = {"warning": "yellow", "error": "red", "critical": "bold red"}
