"""Reads what steps without a handler wait for: times, signals and tasks."""

from collections.abc import Collection
from datetime import timedelta

from tasker.limits import ARRIVAL_NAME, AWAITED
from tasker.model import AwaitedSignal, ChildTaskSpec, TimeoutAction, WaitSpec
from tasker.template import parts
from tasker.template.reading import (
    YEARS_10,
    AllowedKeys,
    LocatedValue,
    read_boolean,
    read_choice,
    read_duration,
    read_json_object,
    read_text,
)
from tasker.template.source import MappingNode

_WAIT = AllowedKeys(
    what="a wait",
    allowed=("for", "until", "signal", "key", "any", "timeout", "on_timeout"),
    aliases={"delay": "for"},
    rejected={"event": "write 'signal'", "approval": "write 'approval' in the step"},
)
_ONE = AllowedKeys(what="one of several signals", allowed=("signal", "key", "for"))
_TASK = AllowedKeys(
    what="a task",
    allowed=("template", "context", "detached", "retry"),
    rejected={"input": "write 'context'", "name": "write 'template'"},
)
_FORMS = ("for", "until", "signal", "any")


def read_wait(value: LocatedValue, names: Collection[str]) -> WaitSpec | None:
    """Read the `wait` of a step, whose expressions may use `names`."""
    fields = value.read_fields(_WAIT)
    if not isinstance(value.node, MappingNode):
        return None
    given = [form for form in _FORMS if form in fields]
    if len(given) != 1:
        value.report_problem("a wait needs exactly one of 'for', 'until', 'signal' and 'any'")
        return None
    timeout = fields.read("timeout", read_duration, YEARS_10)
    action = fields.read("on_timeout", read_choice, tuple(map(str, TimeoutAction)))
    signals: tuple[AwaitedSignal, ...] = ()
    key = fields.get("key")
    if given[0] in ("for", "until"):
        for name in ("key", "timeout", "on_timeout"):
            if (other := fields.get(name)) is not None:
                other.report_problem(f"{name!r} is allowed only in a wait for signals")
        delay = fields.read("for", read_duration, YEARS_10, zero=True)
        return WaitSpec(delay=delay, until=fields.read("until", parts.read_expression, names))
    if given[0] == "signal":
        signals = _read_signal(fields.get("signal"), key, names)
    elif (several := fields.get("any")) is not None:
        if key is not None:
            key.report_problem("write a 'key' next to each 'signal' in 'any'")
        signals, after = _read_any_signal(several, names)
        if after is not None:
            if timeout is not None or action is not None:
                value.report_problem(
                    "a wait with 'for' in 'any' cannot have 'timeout' or 'on_timeout'"
                )
            timeout, action = after, TimeoutAction.CONTINUE.value
    if action is not None and timeout is None and (given_action := fields.get("on_timeout")):
        given_action.report_problem("'on_timeout' needs 'timeout'")
    return WaitSpec(
        signals=signals,
        any_of=given[0] == "any",
        timeout=timeout,
        on_timeout=TimeoutAction(action or TimeoutAction.FAIL),
    )


def _read_signal(
    named: LocatedValue | None, key: LocatedValue | None, names: Collection[str]
) -> tuple[AwaitedSignal, ...]:
    name = None if named is None else read_text(named)
    if named is None or name is None:
        return ()
    if not 0 < len(name) <= ARRIVAL_NAME:
        named.report_problem(f"the name of a signal must have 1 to {ARRIVAL_NAME} characters")
        return ()
    return (AwaitedSignal(name, None if key is None else parts.read_expression(key, names)),)


def _read_any_signal(
    value: LocatedValue, names: Collection[str]
) -> tuple[tuple[AwaitedSignal, ...], timedelta | None]:
    """Read several signals, and the time after which the wait ends without one of them."""
    signals: list[AwaitedSignal] = []
    after: timedelta | None = None
    for item in value.list_items("a list of signals"):
        fields = item.read_fields(_ONE)
        timer = fields.get("for")
        if timer is not None:
            if after is not None or "signal" in fields:
                item.report_problem("'any' may have only one 'for', as a separate item")
            after = read_duration(timer, YEARS_10)
        else:
            signals += _read_signal(fields.get_required("signal"), fields.get("key"), names)
    if not 0 < len(signals) <= AWAITED:
        value.report_problem(f"'any' needs 1 to {AWAITED} signals, found {len(signals)}")
    return tuple(signals), after


def read_child_task(value: LocatedValue, names: Collection[str]) -> ChildTaskSpec | None:
    """Read the `task` of a step, whose placeholders may use `names`."""
    fields = value.read_fields(_TASK)
    named = fields.get_required("template", ": a template such as payments.refund@^2")
    template = None if named is None else read_text(named)
    context = fields.get("context")
    if context is not None:
        for text in parts.strings_with_placeholders(context):
            parts.read_text_template(text, names)
    retry = fields.read("retry", read_choice, ("child", "never"))
    if not template:
        return None
    return ChildTaskSpec(
        template=template,
        context=(read_json_object(context) if context is not None else None) or {},
        detached=fields.read("detached", read_boolean) or False,
        retry_child=retry == "child",
    )
