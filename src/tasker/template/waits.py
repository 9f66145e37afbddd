"""Writes what steps without a handler wait for: times, signals and tasks."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from tasker.model import (
    AwaitedSignal,
    ChildTaskSpec,
    Json,
    JsonObject,
    StepSpec,
    TimeoutAction,
    WaitSpec,
)
from tasker.template.approvals import approval_expressions
from tasker.template.expressions import TextTemplate, compile_expression, compile_text
from tasker.template.http import may_have_placeholders


def expressions_of_engine_step(spec: StepSpec) -> Iterator[str]:
    """Yield the expressions, and the paths of placeholders, of a wait, an approval or a task."""
    if spec.wait is not None:
        if spec.wait.until is not None:
            yield spec.wait.until
        yield from (signal.key for signal in spec.wait.signals if signal.key is not None)
    if spec.approval is not None:
        yield from approval_expressions(spec.approval)
    if spec.task is not None:
        yield from (
            str(path)
            for text in compile_texts_with_placeholders(spec.task.context)
            for path in text.paths
        )


def results_used_by_engine_step(spec: StepSpec) -> Iterator[str]:
    """Yield the names of the steps whose results a wait or a task uses."""
    for text in expressions_of_engine_step(spec):
        for path in compile_expression(text).paths:
            if path.keys[0] == "results" and len(path.keys) > 1:
                yield str(path.keys[1])


def compile_texts_with_placeholders(value: Json) -> Iterator[TextTemplate]:
    """Yield the strings with placeholders in a value."""
    if isinstance(value, str) and may_have_placeholders(value):
        yield compile_text(value)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from compile_texts_with_placeholders(part)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from compile_texts_with_placeholders(part)


def wait_to_document(wait: WaitSpec) -> JsonObject:
    """Write a wait in the form used in templates. Defaults are omitted."""
    document: dict[str, Json] = {}
    if wait.delay is not None:
        document["for"] = wait.delay.total_seconds()
    if wait.until is not None:
        document["until"] = wait.until
    signals: list[dict[str, Json]] = [
        {"signal": signal.name, **({} if signal.key is None else {"key": signal.key})}
        for signal in wait.signals
    ]
    if wait.any_of:
        document["any"] = signals
    elif signals:
        document |= signals[0]
    if wait.timeout is not None:
        document["timeout"] = wait.timeout.total_seconds()
    if wait.on_timeout is not TimeoutAction.FAIL:
        document["on_timeout"] = wait.on_timeout.value
    return document


def wait_from_document(document: Mapping[str, Any]) -> WaitSpec:
    """Read a wait written by `wait_to_document`."""
    several = document.get("any")
    signals = several if several is not None else [document] if "signal" in document else []
    timeout = document.get("timeout")
    return WaitSpec(
        delay=None if "for" not in document else timedelta(seconds=document["for"]),
        until=document.get("until"),
        signals=tuple(AwaitedSignal(each["signal"], each.get("key")) for each in signals),
        any_of=several is not None,
        timeout=None if timeout is None else timedelta(seconds=timeout),
        on_timeout=TimeoutAction(document.get("on_timeout", TimeoutAction.FAIL)),
    )


def child_task_to_document(task: ChildTaskSpec) -> JsonObject:
    """Write the task of a step in the form used in templates. Defaults are omitted."""
    document: dict[str, Json] = {"template": task.template}
    if task.context:
        document["context"] = task.context
    if task.detached:
        document["detached"] = True
    if task.retry_child:
        document["retry"] = "child"
    return document


def child_task_from_document(document: Mapping[str, Any]) -> ChildTaskSpec:
    """Read a task written by `child_task_to_document`."""
    return ChildTaskSpec(
        template=document["template"],
        context=document.get("context", {}),
        detached=document.get("detached", False),
        retry_child=document.get("retry") == "child",
    )
