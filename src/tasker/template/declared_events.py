"""Reads the events that a step publishes."""

import re
from collections.abc import Mapping

from tasker import limits
from tasker.model import EventCondition, EventSpec, TaskEndEvent
from tasker.template import parts
from tasker.template.reading import AllowedKeys, LocatedValue, read_choice, read_name, read_text
from tasker.template.schema_bounds import is_quick_for_every_value
from tasker.template.source import MappingNode

NAMES = ("result", "error", "input")  #: names in the expression of a payload
RESERVED_PREFIX = "tasker."  #: names of events that Tasker itself may publish

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
_NAME_RULE = "use letters, digits, _, - and single dots, starting with a letter or _"
_EVENT = AllowedKeys(
    what="an event",
    allowed=("name", "on", "payload", "schema", "description", "delivery_mode", "publisher"),
    aliases={"condition": "on"},
)
_DELIVERY_MODES = ("durable", "fast", "broadcast")  #: of Tasker Core; here all are durable


def read_step_events(values: list[LocatedValue]) -> tuple[EventSpec, ...]:
    """Read the events of a step, each a mapping or only a name."""
    events: dict[tuple[str, str], EventSpec] = {}
    for value in values:
        event = _read_event(value)
        if event is None:
            continue
        if (key := (event.name, event.on)) in events:
            value.report_problem(f"the event {event.name!r} on {event.on.value!r} is listed twice")
        events[key] = event
    if len(values) > limits.EVENTS:
        values[limits.EVENTS].report_problem(
            f"a step may publish at most {limits.EVENTS} events, found {len(values)}"
        )
    return tuple(events.values())


def _read_event(value: LocatedValue) -> EventSpec | None:
    if not isinstance(value.node, MappingNode):
        name = _read_event_name(value)
        return None if name is None else EventSpec(name)
    fields = value.read_fields(_EVENT)
    named = fields.get_required("name")
    name = None if named is None else _read_event_name(named)
    on = fields.read("on", read_choice, tuple(EventCondition))
    written = fields.get("payload")
    payload = None if written is None else _read_payload_expressions(written)
    schema = fields.read("schema", parts.read_schema)
    fields.read("delivery_mode", read_choice, _DELIVERY_MODES)
    fields.read("publisher", read_text)  # of Tasker Core; the payload is an expression here
    if schema is not None and not is_quick_for_every_value(schema):
        value.report_problem("the schema of an event is too complex; simplify it")
    if name is None:
        return None
    return EventSpec(
        name,
        EventCondition(on) if on else EventCondition.SUCCESS,
        "" if payload is None else payload,
        schema=schema,
        description=fields.read("description", read_text) or "",
    )


def _read_event_name(value: LocatedValue) -> str | None:
    name = read_name(value, _NAME, _NAME_RULE)
    if name is None:
        return None
    if len(name) > limits.EVENT_NAME_CHARACTERS:
        value.report_problem(
            f"the name of an event may have at most {limits.EVENT_NAME_CHARACTERS} characters,"
            f" found {len(name)}"
        )
    if name.startswith(RESERVED_PREFIX):
        value.report_problem(f"names that begin with {RESERVED_PREFIX!r} are reserved")
    return name


def _read_payload_expressions(value: LocatedValue) -> str | Mapping[str, str] | None:
    """Read an expression, or a mapping of keys to expressions."""
    if not isinstance(value.node, MappingNode):
        return parts.read_expression(value, NAMES)
    written = {
        key: parts.read_expression(part, NAMES)
        for key, part in value.mapping_values("a mapping of expressions").items()
    }
    return {key: text for key, text in written.items() if text is not None}


def read_task_events(value: LocatedValue) -> tuple[TaskEndEvent, ...]:
    """Read the events that tasks publish when they end."""
    names = tuple(map(str, TaskEndEvent))
    read = [read_choice(item, names) for item in value.list_items("a list of task events")]
    return tuple(event for event in TaskEndEvent if event in read)
