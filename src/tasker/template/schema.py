"""JSON Schemas: whether a schema is valid, and whether a value matches it."""

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import jsonschema_rs

from tasker import codec
from tasker.durations import human_duration
from tasker.errors import InvalidInput, Violation
from tasker.model import Json, JsonObject, JsonText, StepSpec, Template
from tasker.suggest import closest_match, suggest_allowed
from tasker.template import schema_process
from tasker.template.defaults import declares_defaults, fill_defaults
from tasker.template.schema_bounds import (
    ExceededLimit,
    is_quick_for_every_value,
    measure_schema_cost,
)
from tasker.template.schema_process import CheckTookTooLong

MAX_VIOLATIONS = 10  #: reported of one value
_LONGEST = 300  #: characters of one violation
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_QUICK_LENGTH = 128 << 10  #: characters of a value; longer ones are checked in a process
_Kind = jsonschema_rs.ValidationErrorKind
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=10_000, size_limit=1 << 20)


class SchemaFault(NamedTuple):
    """A problem of a schema, and the path to it."""

    path: Sequence[str | int]
    message: str


async def fill_and_check_input(template: Template, context: Json) -> JsonObject:
    """Fill the template's defaults into a context and check it.

    Args:
        template: Its `input_schema` applies; without one, any object is accepted.
        context: The context of a task about to be created. It is not changed.

    Returns:
        The context to store.

    Raises:
        InvalidInput: It is not an object, or does not match the schema. The message lists the first
            10 violations; `path` is the path of the first one.
    """
    filled, violations = await fill_input_and_list_violations(template, context)
    if violations:
        message = "; ".join(map(str, violations))
        raise InvalidInput(message, path=violations[0].path, violations=violations)
    return filled


async def fill_input_and_list_violations(
    template: Template, context: Json
) -> tuple[JsonObject, list[Violation]]:
    """Fill the template's defaults into a context and return it with its violations.

    With a schema, the context comes back as JSON reads it: a date as text, a model as an
    object. Slow checks run in another process, for at most 2 seconds.

    Raises:
        InvalidInput: The context is not an object, is not JSON, or takes too long to check.
    """
    if not isinstance(context, Mapping):
        raise InvalidInput(f"a task's context must be an object, found {_describe_type(context)}")
    if template.input_schema is None:
        return context, []
    text = codec.dumps(context, what="the context", limit=sys.maxsize)
    if is_quick_to_check(template.input_schema, text):
        filled, schema = (
            codec.loads(text),
            _compile_cached(_SchemaIdentityKey(template.input_schema)),
        )
        schema.fill_defaults(filled)
        return filled, schema.find_violations(filled)
    try:
        answer = await asyncio.wrap_future(
            schema_process.submit_check(
                {"schema": template.input_schema, "value": codec.loads(text), "fill": True}
            )
        )
    except CheckTookTooLong:
        raise InvalidInput(
            _slow_check_message(f"the context against the input_schema of {template.full_name}")
        ) from None
    if "rejected" in answer:
        raise InvalidInput(answer["rejected"])
    return answer["value"], [Violation(*violation) for violation in answer["violations"]]


def find_result_violations(template: str, spec: StepSpec, result: JsonText) -> list[str]:
    """List the violations of a step's `result_schema` in its result, as text: the first 10.

    Blocks for up to 2 seconds unless `is_quick_to_check`.

    Args:
        template: Full name of the step's template, for messages.
        spec: The step.
        result: Its result, as JSON text.
    """
    if spec.result_schema is None:
        return []
    what = f"the result of step {spec.name!r} of {template} against its result_schema"
    return find_violations(spec.result_schema, result, what)


def find_violations(schema: JsonObject, value: JsonText, what: str) -> list[str]:
    """List the violations of a schema in a value, as text: the first 10.

    Blocks for up to 2 seconds unless `is_quick_to_check`.

    Args:
        schema: The schema, which was accepted by `find_schema_fault`.
        value: The value, as JSON text.
        what: A name of the value, for the message if the check takes too long.
    """
    if is_quick_to_check(schema, value):
        violations = _compile_cached(_SchemaIdentityKey(schema)).find_violations(codec.loads(value))
        return [str(violation) for violation in violations]
    question = {"schema": schema, "value": codec.loads(value), "fill": False}
    try:
        answer = schema_process.submit_check(question).result()
    except CheckTookTooLong:
        return [_slow_check_message(what)]
    return [str(Violation(*violation)) for violation in answer["violations"]]


def is_quick_to_check(schema: JsonObject, value: JsonText) -> bool:
    """Return whether a value can be checked on an event loop, in well under 100 ms."""
    return len(value) <= _QUICK_LENGTH and _is_quick_for_every_value_cached(
        _SchemaIdentityKey(schema)
    )


def answer_check_request(question: JsonObject) -> JsonObject:
    """Check a value in the process for slow checks: see `schema_process`."""
    schema: Any = question["schema"]
    if "value" not in question:
        return {"fault": _find_compile_fault(schema)}
    value, compiled = question["value"], CompiledSchema(schema)
    try:
        if question["fill"]:
            compiled.fill_defaults(value)
    except InvalidInput as error:
        return {"rejected": str(error)}
    violations = [list(violation) for violation in compiled.find_violations(value)]
    return {"value": value if question["fill"] else None, "violations": violations}


def _slow_check_message(what: str) -> str:
    return (
        f"checking {what} took longer than {human_duration(schema_process.TIME_LIMIT)}"
        " or needed too much memory; make the schema simpler or the value smaller"
    )


def find_schema_fault(schema: JsonObject) -> SchemaFault | None:
    """Return the reason why `schema` is not a usable JSON Schema, or None.

    Draft 2020-12 unless `$schema` names another. References may only refer to parts of the schema
    and to the published meta-schemas; nothing is ever fetched. The work that references can cause
    for one value is limited: see `schema_bounds`.
    """
    weight = measure_schema_cost(schema)
    if isinstance(weight, ExceededLimit):
        return SchemaFault(*weight)
    if weight.light:
        return _find_compile_fault(schema)
    try:
        wrong = schema_process.submit_check({"schema": schema}).result()["fault"]
    except CheckTookTooLong:
        return SchemaFault(
            (), f"compiling it took longer than {human_duration(schema_process.TIME_LIMIT)}"
        )
    return wrong and SchemaFault(*wrong)


def _find_compile_fault(schema: JsonObject) -> SchemaFault | None:
    try:
        _make_validator(schema)
    except jsonschema_rs.ValidationError as error:
        path = list(error.instance_path)
        if isinstance(error.kind, _Kind.Referencing):
            return _find_broken_reference(schema, error.message)
        if path and path[-1] == "type" and isinstance(error.instance, str):
            return SchemaFault(
                path, f"unknown type {error.instance!r}{suggest_allowed(error.instance, _TYPES)}"
            )
        return SchemaFault(path, _shorten_message(error.message))
    except ValueError as error:
        return SchemaFault((), _shorten_message(str(error)))
    return None


def _make_validator(schema: JsonObject) -> Any:  # the library has no common base class
    return jsonschema_rs.validator_for(dict(schema), offline=True, pattern_options=_PATTERNS)


def _find_broken_reference(schema: JsonObject, message: str) -> SchemaFault:
    """Return the reference that `message` is about, or else the schema as a whole."""
    for path, target in _find_references(schema, ()):
        if target.removeprefix("#") in message:
            outside = (
                "" if target.startswith("#") else "; references must point into the same schema"
            )
            return SchemaFault(
                (*path, "$ref"), f"the reference {target!r} does not resolve{outside}"
            )
    return SchemaFault((), _shorten_message(message))


def _find_references(
    node: Json, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield all references in a schema, each with its path."""
    if isinstance(node, dict):
        target = node.get("$ref")
        if isinstance(target, str):
            yield path, target
        for key, part in node.items():
            yield from _find_references(part, (*path, key))
    elif isinstance(node, list):
        for index, part in enumerate(node):
            yield from _find_references(part, (*path, index))


class CompiledSchema:
    """One JSON Schema, compiled. Threads may share it."""

    def __init__(self, schema: JsonObject) -> None:
        self._schema = schema
        self._validator = _make_validator(schema)
        self._has_defaults = declares_defaults(schema)

    def fill_defaults(self, value: Json) -> None:
        """Fill the declared defaults into `value`, in place."""
        if self._has_defaults:
            fill_defaults(self._schema, value)

    def find_violations(self, value: Json) -> list[Violation]:
        """List the first 10 violations in `value`, which `codec.loads` returned."""
        if self._validator.is_valid(value):
            return []
        errors = islice(self._validator.iter_errors(value), MAX_VIOLATIONS)
        return [self._make_violation(error) for error in errors]

    def _make_violation(self, error: jsonschema_rs.ValidationError) -> Violation:
        """Describe an error; replace library messages that omit the allowed values."""
        path, kind, message = list(error.instance_path), error.kind, error.message
        if isinstance(kind, _Kind.Required):
            instance = error.instance if isinstance(error.instance, dict) else {}
            undeclared = [
                key
                for key in instance
                if key not in self._list_declared_properties(error.schema_path)
            ]
            path, message = [*path, kind.property], "is required"
            if match := closest_match(kind.property, undeclared):
                message = f"is required; {match!r} may be a misspelling of it"
        elif isinstance(kind, _Kind.AdditionalProperties):
            message = self._describe_unexpected_keys(kind.unexpected, error.schema_path)
        elif isinstance(kind, _Kind.AnyOf | _Kind.OneOfNotValid):
            reasons = [branch[0].message for branch in kind.context if branch]
            message = f"matches none of the alternatives: {'; '.join(reasons)}"
        return Violation(format_json_path(path), _shorten_message(message))

    def _describe_unexpected_keys(self, keys: Sequence[str], path: Sequence[str | int]) -> str:
        """Describe unexpected keys and list the allowed ones."""
        allowed = self._list_declared_properties(path)
        hint = suggest_allowed(keys[0] if len(keys) == 1 else "", allowed) if allowed else ""
        return f"{', '.join(map(repr, keys))} is not allowed{hint}"

    def _list_declared_properties(self, path: Sequence[str | int]) -> list[str]:
        """List the properties declared beside the keyword at `path`."""
        holder: Any = self._schema
        for step in path[:-1]:
            known = isinstance(holder, dict) and step in holder
            holder = holder[step] if known or isinstance(holder, list) else None
        return list(holder.get("properties", ())) if isinstance(holder, dict) else []


def format_json_path(path: Sequence[str | int]) -> str:
    """Write a path of keys and indexes as a JSON path: `$.lines[2].price`."""
    return "$" + "".join(map(_format_path_part, path))


def _format_path_part(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.isidentifier() else f"[{step!r}]"


class _SchemaIdentityKey:
    """A cache key for a schema object by identity, because comparing schemas is expensive."""

    __slots__ = ("schema",)

    def __init__(self, schema: JsonObject) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SchemaIdentityKey) and self.schema is other.schema


@lru_cache(maxsize=1024)
def _is_quick_for_every_value_cached(same: _SchemaIdentityKey) -> bool:
    return is_quick_for_every_value(same.schema)


@lru_cache(maxsize=1024)
def _compile_cached(same: _SchemaIdentityKey) -> CompiledSchema:
    return CompiledSchema(same.schema)


def _shorten_message(message: str) -> str:
    return message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."


def _describe_type(value: Json) -> str:
    names = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")
