"""Pausing and resuming, for the commands of tasks, templates, queues and namespaces."""

from datetime import UTC, datetime

from tasker.cli.app import Invocation
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.style import format_relative_time, to_printable_line
from tasker.client import Client
from tasker.model import Pause, PauseKind, PauseTarget


async def pause_target(
    invocation: Invocation, client: Client, target: PauseTarget, reason: str
) -> None:
    """Pause a target and print its pause."""
    paused = await client.pause(target, reason=reason)
    if invocation.as_json:
        invocation.print_json(to_plain_json(paused))
    else:
        invocation.stdout_console.print(
            f"paused: {describe_pause(paused)}", soft_wrap=True, highlight=False
        )


async def resume_target(
    invocation: Invocation, client: Client, target: PauseTarget, reason: str
) -> None:
    """Resume a target and print whether it was paused."""
    resumed = await client.resume(target, reason=reason)
    if invocation.as_json:
        invocation.print_json({"resumed": resumed})
    else:
        word = "resumed" if resumed else "not paused"
        text = f"{word}: {describe_pause_target(target.kind, target.namespace, target.name)}"
        invocation.stdout_console.print(text, soft_wrap=True, highlight=False)


def describe_pause(paused: Pause) -> str:
    """Return what is paused, by whom, when and why, on one line."""
    name = describe_pause_target(paused.kind, paused.namespace, paused.name)
    when = format_relative_time(paused.paused_at, datetime.now(UTC))
    why = f": {to_printable_line(paused.reason)}" if paused.reason else ""
    return f"{name}, by {to_printable_line(paused.paused_by)} {when}{why}"


def describe_pause_target(kind: PauseKind, namespace: str, name: str) -> str:
    """Return the name of what is paused or resumed."""
    if kind is PauseKind.TEMPLATE:
        return f"template {namespace}.{name}"
    if kind is PauseKind.QUEUE:
        return f"queue {to_printable_line(name)} of namespace {namespace}"
    return f"{kind} {name or namespace}"
