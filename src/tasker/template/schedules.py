"""Schedules in templates: reading and checking them, and building the context of a tick's task."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from tasker import codec, limits
from tasker.errors import InvalidInput, TaskerError, Violation
from tasker.model import PRIORITIES, JsonObject, OverlapPolicy, Schedule
from tasker.schedules.model import (
    LONGEST_INTERVAL,
    MOST_CATCH_UP,
    MOST_JITTER,
)
from tasker.schedules.ticks import find_timing_problems
from tasker.template.expressions import Names, Path, compile_text
from tasker.template.parts import read_identifier
from tasker.template.reading import (
    AllowedKeys,
    LocatedValue,
    read_choice,
    read_duration,
    read_integer,
    read_json_object,
    read_text,
)

NAMES = ("tick.start", "tick.end", "tick.date")  #: names that placeholders of a context may use
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")
NAME_RULE = "use letters, digits, _ and -, starting with a letter or _ (at most 128 characters)"

_KEYS = AllowedKeys(
    what="a schedule",
    allowed=(
        "name",
        "cron",
        "every",
        "anchor",
        "timezone",
        "overlap",
        "catch_up",
        "jitter",
        "priority",
        "context",
    ),
    aliases={"interval": "every", "tz": "timezone"},
    rejected={"template": "a schedule always creates tasks of the template that declares it"},
)


def read_schedules(value: LocatedValue) -> tuple[Schedule, ...]:
    """Read the schedules of a template."""
    items = value.list_items("a list of schedules")
    if len(items) > limits.SCHEDULES_OF_TEMPLATE:
        value.report_problem(
            f"a template may have at most {limits.SCHEDULES_OF_TEMPLATE} schedules,"
            f" found {len(items)}"
        )
        return ()
    schedules: dict[str, Schedule] = {}
    for item in items:
        schedule = _read_schedule(item)
        if schedule is not None and schedule.name in schedules:
            item.report_problem(f"the schedule {schedule.name!r} is duplicated")
        elif schedule is not None:
            schedules[schedule.name] = schedule
    return tuple(schedules.values())


def _read_schedule(value: LocatedValue) -> Schedule | None:
    fields = value.read_fields(_KEYS)
    name = fields.get_required("name")
    read: dict[str, Any] = {
        "name": None if name is None else read_identifier(name),
        "cron": fields.read("cron", read_text),
        "every": fields.read("every", read_duration, LONGEST_INTERVAL),
        "anchor": fields.read("anchor", _read_instant),
        "timezone": fields.read("timezone", read_text),
        "overlap": fields.read("overlap", read_choice, tuple(map(str, OverlapPolicy))),
        "catch_up": fields.read("catch_up", read_duration, MOST_CATCH_UP),
        "jitter": fields.read("jitter", read_duration, MOST_JITTER, zero=True),
        "priority": fields.read("priority", read_integer, 0, PRIORITIES - 1),
        "context": fields.read("context", read_json_object),
    }
    given = {key: part for key, part in read.items() if part is not None}
    if "name" not in given or any(key in fields and key not in given for key in read):
        return None  # that was reported
    schedule = Schedule(**given)
    for key, message in find_schedule_problems(schedule):
        (fields.get(key) or value).report_problem(message)
    return schedule


def _read_instant(value: LocatedValue) -> datetime | None:
    written = read_text(value)
    if written is None:
        return None
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        value.report_problem('must be a time such as "2026-01-01T09:00:00+01:00"')
        return None


def find_schedule_problems(schedule: Schedule) -> Iterator[tuple[str, str]]:
    """Yield the fields of a schedule that are invalid, each with a message."""
    yield from find_timing_problems(schedule)
    try:
        codec.dumps(schedule.context, what="the context", limit=limits.SCHEDULE_CONTEXT_BYTES)
        for path in _find_placeholders(schedule.context):
            if str(path) not in NAMES:
                allowed = ", ".join(f"{{{name}}}" for name in NAMES)
                yield "context", f"unknown placeholder {{{path}}}; allowed: {allowed}"
                break
    except TaskerError as error:
        yield "context", str(error)


def require_valid_schedule(schedule: Schedule) -> Schedule:
    """Return a schedule that was created in Python or read from a request.

    Raises:
        InvalidInput: The schedule is invalid; the error has all problems with their paths.
    """
    problems = list(find_schedule_problems(schedule))
    if not NAME.fullmatch(schedule.name):
        problems.insert(0, ("name", f"{schedule.name[:60]!r} is not a valid name: {NAME_RULE}"))
    if problems:
        violations = [Violation(f"$.{field}", message) for field, message in problems]
        message = "; ".join(f"{field}: {message}" for field, message in problems)
        raise InvalidInput(message, path=violations[0].path, violations=violations)
    return schedule


def render_tick_context(
    schedule: Schedule, tick: datetime, previous: datetime | None
) -> JsonObject:
    """Return the context of a tick's task, with the tick's values filled in.

    Args:
        schedule: The schedule.
        tick: `tick.end`, and the local date `tick.date`.
        previous: The previous tick, `tick.start`; None: the tick itself.
    """
    zone = ZoneInfo(schedule.timezone)
    end = tick.astimezone(zone)
    names: Names = {
        "tick": {
            "start": (previous or tick).astimezone(zone).isoformat(),
            "end": end.isoformat(),
            "date": end.date().isoformat(),
        }
    }
    rendered: JsonObject = _replace_strings_with_placeholders(
        schedule.context, lambda text: compile_text(text).render(names)
    )
    return rendered


def _find_placeholders(context: JsonObject) -> Sequence[Path]:
    """Return the placeholders of a context. Raises InvalidExpression."""
    paths: list[Path] = []

    def collect_paths(text: str) -> str:
        paths.extend(compile_text(text).paths)
        return text

    _replace_strings_with_placeholders(context, collect_paths)
    return paths


def _replace_strings_with_placeholders(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with each of its strings that has braces changed, except keys."""
    if isinstance(value, str):
        return change(value) if "{" in value or "}" in value else value
    if isinstance(value, dict):
        return {
            key: _replace_strings_with_placeholders(item, change) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_replace_strings_with_placeholders(item, change) for item in value]
    return value
