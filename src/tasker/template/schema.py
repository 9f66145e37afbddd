"""JSON Schema: is a schema one, and does a value fit it."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import jsonschema_rs

from tasker import codec
from tasker.errors import InvalidInput, Violation
from tasker.model import Json, JsonObject, StepSpec, Template
from tasker.suggest import or_else
from tasker.template.defaults import declares_defaults, fill_defaults

MAX_TOLD = 10  #: violations told of one value
_LONGEST = 300  #: characters of one violation
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_Kind = jsonschema_rs.ValidationErrorKind


class Fault(NamedTuple):
    """What is wrong with a schema, and the way to it."""

    way: Sequence[str | int]
    message: str


def prepare_input(template: Template, context: Json) -> JsonObject:
    """Fill the template's defaults into a context, and check it.

    Args:
        template: Whose `input_schema` counts; without one, any object is right.
        context: The context of a task about to be created. It stays as it is.

    Returns:
        The context to store.

    Raises:
        InvalidInput: It is not an object, or not what the schema says. The message tells
            the first 10 violations, `path` where the first one is.
    """
    filled, found = examine_input(template, context)
    if found:
        message = "; ".join(map(str, found))
        raise InvalidInput(message, path=found[0].path, violations=found)
    return filled


def examine_input(template: Template, context: Json) -> tuple[JsonObject, list[Violation]]:
    """Fill the template's defaults into a context, and tell what is wrong with it.

    Where there is a schema, the context comes back as JSON reads it: a date as text, a
    model as an object.

    Raises:
        InvalidInput: The context is not an object, or not JSON, which no setting allows.
    """
    if not isinstance(context, Mapping):
        raise InvalidInput(f"a task's context must be an object, found {_found(context)}")
    if template.input_schema is None:
        return context, []
    plain = codec.loads(codec.dumps(context, what="the context", limit=sys.maxsize))
    schema = _compiled(_Same(template.input_schema))
    schema.fill(plain)
    return plain, schema.violations(plain)


def check_result(spec: StepSpec, result: Json) -> list[str]:
    """Tell what a step's result, as JSON reads it, does not fulfil of its `result_schema`.

    Returns:
        The first 10 violations, as text; none where it fits, or where there is no schema.
    """
    if spec.result_schema is None:
        return []
    return [str(found) for found in _compiled(_Same(spec.result_schema)).violations(result)]


def fault(schema: JsonObject) -> Fault | None:
    """Find what keeps `schema` from being a usable JSON Schema; None where it is one.

    Draft 2020-12 unless `$schema` names another. References lead only within the schema
    and to the published meta-schemas; nothing is ever fetched.
    """
    try:
        _validator(schema)
    except jsonschema_rs.ValidationError as error:
        way = list(error.instance_path)
        if isinstance(error.kind, _Kind.Referencing):
            return _broken_reference(schema, error.message)
        if way and way[-1] == "type" and isinstance(error.instance, str):
            return Fault(way, f"unknown type {error.instance!r}{or_else(error.instance, _TYPES)}")
        return Fault(way, _cut(error.message))
    except ValueError as error:
        return Fault((), _cut(str(error)))
    return None


def _validator(schema: JsonObject) -> Any:  # the library names no common base
    return jsonschema_rs.validator_for(dict(schema), offline=True)


def _broken_reference(schema: JsonObject, message: str) -> Fault:
    """Find the reference that `message` is about, or blame the schema as a whole."""
    for way, target in _references(schema, ()):
        if target.removeprefix("#") in message:
            outside = "" if target.startswith("#") else "; references must stay in the schema"
            return Fault((*way, "$ref"), f"the reference {target!r} leads nowhere{outside}")
    return Fault((), _cut(message))


def _references(
    node: Json, way: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Tell all references in a schema, each with the way to it."""
    if isinstance(node, dict):
        target = node.get("$ref")
        if isinstance(target, str):
            yield way, target
        for key, part in node.items():
            yield from _references(part, (*way, key))
    elif isinstance(node, list):
        for index, part in enumerate(node):
            yield from _references(part, (*way, index))


class Schema:
    """One JSON Schema, compiled. Threads may share it."""

    def __init__(self, schema: JsonObject) -> None:
        self._schema = schema
        self._compiled = _validator(schema)
        self._has_defaults = declares_defaults(schema)

    def fill(self, value: Json) -> None:
        """Fill the declared defaults into `value`, in place."""
        if self._has_defaults:
            fill_defaults(self._schema, value)

    def violations(self, value: Json) -> list[Violation]:
        """Tell what `value`, as `codec.loads` reads it, does not fulfil: the first 10."""
        if self._compiled.is_valid(value):
            return []
        errors = islice(self._compiled.iter_errors(value), MAX_TOLD)
        return [self._violation(error) for error in errors]

    def _violation(self, error: jsonschema_rs.ValidationError) -> Violation:
        """Say what is wrong, in our words where the library's leave out what is allowed."""
        way, kind, message = list(error.instance_path), error.kind, error.message
        if isinstance(kind, _Kind.Required):
            way, message = [*way, kind.property], "is required"
        elif isinstance(kind, _Kind.AdditionalProperties):
            message = self._unexpected(kind.unexpected, error.schema_path)
        elif isinstance(kind, _Kind.AnyOf | _Kind.OneOfNotValid):
            reasons = [branch[0].message for branch in kind.context if branch]
            message = f"fits none of the alternatives: {'; '.join(reasons)}"
        return Violation(json_path(way), _cut(message))

    def _unexpected(self, keys: Sequence[str], way: Sequence[str | int]) -> str:
        """Say which keys are not allowed, and which are."""
        holder: Any = self._schema
        for step in way[:-1]:
            known = isinstance(holder, dict) and step in holder
            holder = holder[step] if known or isinstance(holder, list) else None
        allowed = list(holder.get("properties", ())) if isinstance(holder, dict) else []
        told = or_else(keys[0] if len(keys) == 1 else "", allowed) if allowed else ""
        return f"{', '.join(map(repr, keys))} is not allowed{told}"


def json_path(way: Sequence[str | int]) -> str:
    """Write a way of keys and indexes as a JSON path: `$.lines[2].price`."""
    return "$" + "".join(map(_step, way))


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.isidentifier() else f"[{step!r}]"


class _Same:
    """Stands for one schema object, by identity: comparing schemas costs more than using them."""

    __slots__ = ("schema",)

    def __init__(self, schema: JsonObject) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.schema is other.schema


@lru_cache(maxsize=1024)
def _compiled(same: _Same) -> Schema:
    return Schema(same.schema)


def _cut(message: str) -> str:
    return message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."


def _found(value: Json) -> str:
    names = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")
