"""Short descriptions of the steps of a template."""

from collections.abc import Iterator

from tasker.cli.render.style import to_printable_line
from tasker.durations import human_duration
from tasker.layout import EngineStepKind
from tasker.model import (
    ENGINE,
    ApprovalSpec,
    Batch,
    LimitValues,
    Map,
    Repeat,
    StepSpec,
    Template,
    WaitSpec,
)


def describe_step_work(spec: StepSpec) -> str:
    """Return what a step does: its handler, or what it waits for, asks, runs, sends or repeats."""
    if spec.wait is not None:
        return _describe_wait(spec.wait)
    if spec.approval is not None:
        return _describe_approval(spec.approval)
    if spec.task is not None:
        return f"task {to_printable_line(spec.task.template)}"
    if spec.http is not None:
        return f"{spec.http.method} {to_printable_line(spec.http.url)}"
    if spec.handler == ENGINE and spec.method == EngineStepKind.JOIN:
        return "joins the instances"
    match spec.spawning:
        case Map(over=over):
            return f"for each of {to_printable_line(over)}"
        case Batch(total=total, size=size):
            return f"batches of {size:,}, total {to_printable_line(total)}"
        case Repeat(until=until):
            return f"until {to_printable_line(until)}"
    return "" if spec.handler == spec.name else spec.handler


def _describe_wait(wait: WaitSpec) -> str:
    if wait.delay is not None:
        return f"waits {human_duration(wait.delay.total_seconds())}"
    if wait.until is not None:
        return f"waits until {to_printable_line(wait.until)}"
    signals = " or ".join(to_printable_line(signal.name) for signal in wait.signals)
    return f"waits for {signals}{_timeout_text(wait)}"


def _describe_approval(approval: ApprovalSpec) -> str:
    by = " or ".join(map(to_printable_line, approval.assignees)) or "anybody"
    return f"approval by {by}{_timeout_text(approval)}"


def _timeout_text(waiting: WaitSpec | ApprovalSpec) -> str:
    if waiting.timeout is None:
        return ""
    return f", up to {human_duration(waiting.timeout.total_seconds())}"


def describe_limits_and_events(spec: StepSpec) -> Iterator[str]:
    """Yield the limits and events of a step, and whether another system completes it."""
    for limit in spec.limits or ():
        yield f"limit {to_printable_line(limit.key)}: {describe_limit(limit)}"
    if isinstance(spec.spawning, Map) and spec.spawning.max_concurrency:
        yield f"limit: {spec.spawning.max_concurrency:,} running"
    for event in spec.events:
        yield f"event {event.name}"
    if spec.external is not None:
        yield "completed by another system"


def describe_limits_and_schedules(template: Template) -> Iterator[str]:
    """Yield the limits and schedules of a template."""
    for limit in template.limits:
        yield f"limit {to_printable_line(limit.key)}: {describe_limit(limit)}"
    if (bound := template.concurrency) is not None:
        tasks = f"at most {bound.tasks:,} open tasks; when full: {bound.when_full}"
        yield f"concurrency {to_printable_line(bound.key)}: {tasks}"
    for schedule in template.schedules:
        every = human_duration(schedule.every.total_seconds()) if schedule.every else ""
        times = f"{schedule.cron} {schedule.timezone}" if schedule.cron else f"every {every}"
        yield f"schedule {schedule.name}: {times}"


def describe_limit(values: LimitValues) -> str:
    """Return the bounds of a limit in words."""
    parts = []
    if values.concurrency is not None:
        parts.append(f"{values.concurrency:,} running")
    if values.rate is not None:
        parts.append(str(values.rate))
    if values.burst is not None:
        parts.append(f"burst {values.burst:,}")
    return ", ".join(parts) or "none"
