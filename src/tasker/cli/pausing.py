"""Pausing and resuming, for the commands of tasks, templates, queues and namespaces."""

from datetime import UTC, datetime

from tasker.cli.app import Invocation
from tasker.cli.render.json import to_plain
from tasker.cli.render.style import one_line, time_ago
from tasker.client import Client
from tasker.model import Pause, PauseKind, PauseTarget


async def pause(invocation: Invocation, client: Client, target: PauseTarget, reason: str) -> None:
    """Pause a target and print its pause."""
    paused = await client.pause(target, reason=reason)
    if invocation.as_json:
        invocation.print_document(to_plain(paused))
    else:
        invocation.out.print(f"paused: {describe(paused)}", soft_wrap=True, highlight=False)


async def resume(invocation: Invocation, client: Client, target: PauseTarget, reason: str) -> None:
    """Resume a target and print whether it was paused."""
    resumed = await client.resume(target, reason=reason)
    if invocation.as_json:
        invocation.print_document({"resumed": resumed})
    else:
        word = "resumed" if resumed else "not paused"
        text = f"{word}: {name_of(target.kind, target.namespace, target.name)}"
        invocation.out.print(text, soft_wrap=True, highlight=False)


def describe(paused: Pause) -> str:
    """Return what is paused, by whom, when and why, on one line."""
    name = name_of(paused.kind, paused.namespace, paused.name)
    when = time_ago(paused.paused_at, datetime.now(UTC))
    why = f": {one_line(paused.reason)}" if paused.reason else ""
    return f"{name}, by {one_line(paused.paused_by)} {when}{why}"


def name_of(kind: PauseKind, namespace: str, name: str) -> str:
    """Return the name of what is paused or resumed."""
    if kind is PauseKind.TEMPLATE:
        return f"template {namespace}.{name}"
    if kind is PauseKind.QUEUE:
        return f"queue {one_line(name)} of namespace {namespace}"
    return f"{kind} {name or namespace}"
