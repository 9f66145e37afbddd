"""What both dialects are made of: names, versions, retries, schemas, dependencies."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import timedelta

from tasker import versions
from tasker.errors import InvalidInput
from tasker.model import Backoff, JsonObject, Retry, StepSpec
from tasker.template.reading import Fields, Keys, Value, json_object, name, text, within
from tasker.template.schema import fault
from tasker.template.source import Mark, Scalar

DEFAULT_NAMESPACE = "default"
DEFAULT_VERSION = "0.1.0"
ALL = "ALL"  #: what an environment calls every step
MAX_ATTEMPTS = 1_000

NAMESPACE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
NAMESPACE_RULE = "letters, digits and _, no digit first, at most 63 characters"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")
_NAME_RULE = "letters, digits, _ and -, a letter or _ first, at most 128 characters"
_METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_METHOD_RULE = "letters, digits and _, no digit first"
_HANDLER = re.compile(r"[^\s\x00-\x1f\x7f.]+(\.[^\s\x00-\x1f\x7f.]+)*")
_LONGEST_HANDLER = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryChange:
    """The retry settings that somebody wrote; None: not written."""

    retryable: bool | None = None
    max_attempts: int | None = None
    backoff: Backoff | None = None
    initial_delay: timedelta | None = None
    max_delay: timedelta | None = None
    jitter: float | None = None

    def applied_to(self, base: Retry) -> Retry:
        """Tell `base` with what was written put over it.

        The first delay is never above the cap: of the two, the one that was not written
        follows the one that was.
        """
        written = {
            part.name: getattr(self, part.name)
            for part in fields(self)
            if getattr(self, part.name) is not None
        }
        retry = replace(base, **written)
        if retry.initial_delay <= retry.max_delay:
            return retry
        if self.max_delay is None:
            return replace(retry, max_delay=retry.initial_delay)
        return replace(retry, initial_delay=retry.max_delay)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStep:
    """A step as read, with the places that later checks complain about."""

    spec: StepSpec
    name: Value
    dependencies: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an environment writes about one step, or about all of them."""

    name: Value
    step: str
    config: JsonObject | None = None
    retry: RetryChange | None = None
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one dialect writes a template."""

    steps: str  #: the key of the steps, of an environment's too
    schema: str  #: the key of the schema of contexts
    top: Keys
    environment: Keys
    metadata: Callable[[Fields], JsonObject]
    deadline: Callable[[Fields], timedelta | None]
    step: Callable[[Value], ReadStep | None]  #: None: it has no name to speak of
    change: Callable[[Value], Change | None]  #: None: it names no step
    finish: Callable[[Fields, list[ReadStep]], list[ReadStep]]
    """Applies to all steps what the template says of them."""


def namespace(value: Value) -> str | None:
    """Read the name of a namespace."""
    return name(value, NAMESPACE, NAMESPACE_RULE)


def plain_name(value: Value) -> str | None:
    """Read the name of a template, an environment or a dependency."""
    return name(value, _NAME, _NAME_RULE)


def step_name(value: Value) -> str | None:
    """Read the name of a step."""
    found = plain_name(value)
    if found == ALL:
        value.refuse(f"no step can be named {ALL!r}: environments mean every step by it")
        return None
    return found


def check_environment_name(found: str, value: Value, mark: Mark | None) -> None:
    """Note a problem where an environment has no proper name."""
    if not _NAME.fullmatch(found):
        value.refuse(f"{found[:60]!r} is not the name of an environment: {_NAME_RULE}", mark)


def method(value: Value) -> str | None:
    """Read the name of a handler's method."""
    return name(value, _METHOD, _METHOD_RULE)


def version(value: Value) -> str | None:
    """Read a version."""
    node = value.node
    if isinstance(node, Scalar) and type(node.value) in (int, float):
        parts = [part for part in node.text.split(".") if part.isdigit()] or ["1"]
        whole = ".".join([*parts, "0", "0"][:3])
        value.refuse(
            f"{node.text} without quotes is a number, not a version;"
            f' write three parts, in quotes: "{whole}"'
        )
        return None
    found = text(value)
    try:
        return found and str(versions.parse(found))
    except InvalidInput as error:
        value.refuse(str(error))
        return None


def handler(value: Value) -> str | None:
    """Read the name of a handler; `A::B` and `::A::B` are other spellings of `A.B`."""
    found = text(value)
    if found is None:
        return None
    normal = found.replace("::", ".").removeprefix("." if found.startswith("::") else "")
    if len(normal) > _LONGEST_HANDLER or not _HANDLER.fullmatch(normal):
        value.refuse(
            f"{found[:60]!r} is not the name of a handler:"
            " names joined by '.' or '::', without spaces, at most 500 characters"
        )
        return None
    return normal


def dependencies(values: list[Value]) -> tuple[tuple[str, Value], ...]:
    """Read the names of the steps that one waits for."""
    found: dict[str, Value] = {}
    for value in values:
        step = plain_name(value)
        if step in found:
            value.refuse(f"{step!r} is listed twice")
        elif step is not None:
            found[step] = value
    return tuple(found.items())


def delays_in_order(value: Value, change: RetryChange) -> RetryChange:
    """Note a problem where the first delay that was written exceeds the written cap."""
    first, cap = change.initial_delay, change.max_delay
    if first is not None and cap is not None and first > cap:
        value.refuse(
            f"the first delay ({first.total_seconds():g} s) exceeds"
            f" the longest delay ({cap.total_seconds():g} s)"
        )
    return change


def schema(value: Value | None) -> JsonObject | None:
    """Read a JSON Schema; where it is wrong, the problem is noted at the wrong part."""
    if value is None:
        return None
    found = json_object(value)
    wrong = None if found is None else fault(found)
    if wrong is not None:
        within(value, iter(wrong.way)).refuse(f"not a JSON Schema: {wrong.message}")
        return None
    return found


def input_schema(value: Value | None) -> JsonObject | None:
    """Read the schema of a task's context, which is always an object."""
    found = schema(value)
    types = found.get("type") if found else None
    allowed = [types] if isinstance(types, str) else types
    if value is not None and isinstance(allowed, list) and "object" not in allowed:
        within(value, iter(["type"])).refuse("a task's context is an object: its type is 'object'")
    return found
