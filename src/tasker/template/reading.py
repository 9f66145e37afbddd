"""Reads Python values from nodes and reports problems with their positions.

A reader that cannot read its value reports the problem and returns None (or its default), so one
pass finds all problems.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Concatenate, ParamSpec, TypeVar

from tasker.durations import TEXT_EXAMPLES, parse_duration
from tasker.model import Json, JsonObject
from tasker.suggest import suggest_allowed
from tasker.template.source import (
    FileProblems,
    ListNode,
    MappingNode,
    Node,
    ScalarNode,
    SourcePosition,
)

P = ParamSpec("P")
T = TypeVar("T")

_SHOWN = 60  #: characters of a wrong value shown in a message
_SECOND = timedelta(seconds=1)
DAYS_30 = timedelta(days=30)
YEARS_10 = timedelta(days=3_650)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedKeys:
    """The keys that a mapping in a document may have."""

    what: str  #: whose keys they are, as "a step"
    allowed: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)  #: keys by their other spellings
    rejected: Mapping[str, str] = field(default_factory=dict)  #: hints by rejected keys


@dataclass(frozen=True, slots=True)
class LocatedValue:
    """One value of a document: its node and its path."""

    node: Node
    path: str  #: as `steps[2].retry`
    problems: FileProblems

    def report_problem(self, message: str, mark: SourcePosition | None = None) -> None:
        """Report that this value is wrong, unless that was reported when the text was read."""
        if isinstance(self.node, ScalarNode) and self.node.rejected and mark is None:
            return
        self.problems.add(message, mark or self.node.mark, self.path)

    def report_wrong_type(self, what: str) -> None:
        """Report that the value has the wrong type."""
        self.report_problem(f"must be {what}, found {_describe_node(self.node)}")

    @property
    def is_missing(self) -> bool:
        """Whether the value is absent or `null`."""
        return isinstance(self.node, ScalarNode) and self.node.value is None

    def list_items(self, what: str = "a list") -> list["LocatedValue"]:
        """Return the items of a list; report a problem if the value is not a list."""
        if isinstance(self.node, ListNode):
            return [
                LocatedValue(node, f"{self.path}[{index}]", self.problems)
                for index, node in enumerate(self.node.nodes)
            ]
        if not self.is_missing:
            self.report_wrong_type(what)
        return []

    def mapping_values(self, what: str = "a mapping") -> dict[str, "LocatedValue"]:
        """Return the values of a mapping with arbitrary keys; report a problem if it is not one."""
        if isinstance(self.node, MappingNode):
            return {
                key: LocatedValue(entry.node, join_path(self.path, key), self.problems)
                for key, entry in self.node.entries.items()
            }
        if not self.is_missing:
            self.report_wrong_type(what)
        return {}

    def read_fields(self, keys: AllowedKeys) -> "MappingFields":
        """Read a mapping with known keys; report all other keys as problems."""
        return MappingFields(self, keys)


class MappingFields:
    """The known keys of one mapping; keys without a value count as absent."""

    def __init__(self, value: LocatedValue, keys: AllowedKeys) -> None:
        self.value = value
        self._values: dict[str, LocatedValue] = {}
        self._written: dict[str, str] = {}
        if not isinstance(value.node, MappingNode):
            value.report_wrong_type(f"a mapping with the keys of {keys.what}")
            return
        for written, entry in value.node.entries.items():
            key = keys.aliases.get(written, written)
            value_read = LocatedValue(entry.node, join_path(value.path, written), value.problems)
            if key not in keys.allowed:
                value_read.report_problem(
                    _unknown_key_message(written, keys, guess=not value.problems.omits_suggestions),
                    entry.mark,
                )
            elif key in self._written:
                value_read.report_problem(
                    f"{written!r} and {self._written[key]!r} are the same key; remove one of them",
                    entry.mark,
                )
            else:
                self._written[key] = written
                if not value_read.is_missing:
                    self._values[key] = value_read

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str) -> LocatedValue | None:
        """Return the value of `key`, or None if absent."""
        return self._values.get(key)

    def get_required(self, key: str, hint: str = "") -> LocatedValue | None:
        """Return the value of `key`; report a problem if it is absent."""
        value = self._values.get(key)
        if value is None and isinstance(self.value.node, MappingNode):
            self.value.report_problem(f"{key!r} is missing{hint}")
        return value

    def read(
        self,
        key: str,
        reader: Callable[Concatenate[LocatedValue, P], T | None],
        *args: P.args,
        **options: P.kwargs,
    ) -> T | None:
        """Return the value of `key` as read by `reader`, or None if it is absent."""
        return read_optional(self._values.get(key), reader, *args, **options)

    def list_items(self, key: str, what: str = "a list") -> list[LocatedValue]:
        """Return the items of the list at `key`; none if it is absent."""
        value = self._values.get(key)
        return [] if value is None else value.list_items(what)


def read_optional(
    value: LocatedValue | None,
    reader: Callable[Concatenate[LocatedValue, P], T | None],
    *args: P.args,
    **options: P.kwargs,
) -> T | None:
    """Return a value as read by `reader`, or None if there is no value."""
    return None if value is None else reader(value, *args, **options)


def read_text(value: LocatedValue) -> str | None:
    """Read a string; what YAML reads as a number or a boolean needs quotes."""
    node = value.node
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        return node.value
    hint = ""
    if isinstance(node, ScalarNode) and node.value is not None:
        hint = f', in quotes: "{_excerpt(node.text)}"'
    value.report_wrong_type(f"a string{hint}")
    return None


def read_name(value: LocatedValue, pattern: re.Pattern[str], rule: str) -> str | None:
    """Read a string that must match `pattern`; `rule` describes it in words."""
    written = read_text(value)
    if written is not None and not pattern.fullmatch(written):
        value.report_problem(f"{_excerpt(written)!r} is not a valid name: {rule}")
        return None
    return written


def read_boolean(value: LocatedValue) -> bool | None:
    """Read true or false."""
    if isinstance(value.node, ScalarNode) and isinstance(value.node.value, bool):
        return value.node.value
    value.report_wrong_type("true or false")
    return None


def read_integer(value: LocatedValue, low: int, high: int) -> int | None:
    """Read an integer within bounds."""
    given = value.node.value if isinstance(value.node, ScalarNode) else None
    what = f"an integer from {low:,} to {high:,}"
    if isinstance(given, bool) or not isinstance(given, int):
        value.report_wrong_type(what)
    elif low <= given <= high:
        return given
    else:
        value.report_problem(f"must be {what}, found {given}")
    return None


def read_number(value: LocatedValue, low: float, high: float) -> float | None:
    """Read a number within bounds."""
    given = value.node.value if isinstance(value.node, ScalarNode) else None
    if isinstance(given, bool) or not isinstance(given, int | float):
        value.report_wrong_type(f"a number from {low:g} to {high:g}")
    elif low <= given <= high:
        return float(given)
    else:
        value.report_problem(f"must be from {low:g} to {high:g}, found {given}")
    return None


def read_duration(
    value: LocatedValue, most: timedelta, *, unit: timedelta = _SECOND, zero: bool = False
) -> timedelta | None:
    """Read a duration: a number of `unit`s, or text with units such as `1h30m`."""
    content = value.node.value if isinstance(value.node, ScalarNode) else None
    names = {_SECOND: "seconds", timedelta(milliseconds=1): "milliseconds"}
    name = names.get(unit, "minutes")
    length: timedelta | None = None
    if isinstance(content, str) and (unit == _SECOND or not content.isdecimal()):
        with suppress(ValueError):
            length = parse_duration(content)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        length = content * unit if 0 <= content <= most / unit else -unit
    if length is None:
        value.report_wrong_type(f"a number of {name}, or {TEXT_EXAMPLES}")
        return None
    if timedelta(0) <= length <= most and (length or zero):
        return length
    least = "from 0" if zero else "greater than 0"
    high = f"{most / unit:,.0f} {name} ({most.days:,} days)"
    value.report_problem(f"must be {least} and at most {high}, found {content}")
    return None


def read_choice(value: LocatedValue, allowed: tuple[str, ...]) -> str | None:
    """Read one of the `allowed` strings."""
    written = read_text(value)
    if written is None or written in allowed:
        return written
    value.report_problem(f"unknown value {_excerpt(written)!r}{suggest_allowed(written, allowed)}")
    return None


def read_json_object(value: LocatedValue) -> JsonObject | None:
    """Return a mapping with arbitrary keys."""
    if isinstance(value.node, MappingNode):
        return {key: node_to_json(entry.node) for key, entry in value.node.entries.items()}
    value.report_wrong_type("a mapping")
    return None


def node_to_json(node: Node) -> Json:
    """Return the JSON value of a node."""
    if isinstance(node, MappingNode):
        return {key: node_to_json(entry.node) for key, entry in node.entries.items()}
    if isinstance(node, ListNode):
        return [node_to_json(item) for item in node.nodes]
    return node.value


def join_path(path: str, key: str) -> str:
    """Return the path of a key below `path`."""
    shown = key if key.isidentifier() else f"[{_excerpt(key)!r}]"
    return f"{path}.{shown}" if path and shown == key else f"{path}{shown}"


def follow_path(value: LocatedValue, path: Iterator[str | int]) -> LocatedValue:
    """Return the value at a path of keys and indexes, or the last value on the path that exists."""
    for step in path:
        if isinstance(step, int):
            items = value.list_items()
            if step >= len(items):
                break
            value = items[step]
        else:
            table = value.mapping_values()
            if step not in table:
                break
            value = table[step]
    return value


def _unknown_key_message(written: str, keys: AllowedKeys, *, guess: bool) -> str:
    if written in keys.rejected:
        return f"the key {written!r} is not allowed in {keys.what}: {keys.rejected[written]}"
    near = suggest_allowed(written if guess else "", keys.allowed)
    return f"unknown key {_excerpt(written)!r} in {keys.what}{near}"


def _describe_node(node: Node) -> str:
    """Describe a node, for a message."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, ListNode):
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, str):
        return f"the string {_excerpt(node.value)!r}"
    if isinstance(node.value, bool):
        return str(node.value).lower()
    return f"the number {_excerpt(node.text)}"


def _excerpt(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
