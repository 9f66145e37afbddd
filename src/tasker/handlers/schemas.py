"""Checks whether two JSON Schemas contradict each other. The check is deliberately approximate.

It only detects contradictions: types that have nothing in common, and properties that one side
requires but that the other does not list although it lists its properties. Undecidable cases count
as compatible.
"""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic.errors import (
    PydanticInvalidForJsonSchema,
    PydanticUndefinedAnnotation,
    PydanticUserError,
)

from tasker.handlers.signature import build_type_adapter
from tasker.template.expressions import json_type_name

Schema = Mapping[str, Any]

_KINDS = frozenset({"null", "boolean", "number", "string", "array", "object"})
_DEEPEST = 8


def json_schema_of_type(annotation: Any, mode: Literal["validation", "serialization"]) -> Schema:
    """Return the JSON Schema of a type, for validation or serialization; {} if it has none."""
    if annotation is Any or annotation is object:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build_type_adapter(annotation).json_schema(mode=mode)
    except (PydanticUserError, PydanticUndefinedAnnotation, PydanticInvalidForJsonSchema):
        return {}


def find_schema_contradiction(given: Schema, wanted: Schema) -> str | None:
    """Return the reason why a value that matches `given` cannot match `wanted`.

    Returns:
        The first contradiction, such as "$.cents is string, not integer"; None if none is found.
    """
    return _find_difference(_SchemaPart(given, given), _SchemaPart(wanted, wanted), "$", 0)


class _SchemaPart:
    """A part of a schema, and the whole schema that its references point into."""

    def __init__(self, whole: Schema, part: Any) -> None:
        self.whole = whole
        self.part: Schema = part if isinstance(part, Mapping) else {}
        for _ in range(_DEEPEST):
            reference = self.part.get("$ref")
            if not isinstance(reference, str):
                break
            self.part = _resolve_reference(whole, reference)

    def make_subschema_part(self, part: Any) -> "_SchemaPart":
        return _SchemaPart(self.whole, part)

    def allowed_types(self) -> frozenset[str]:
        """Return the types that the schema allows; integers count as numbers."""
        part = self.part
        named = part.get("type")
        if named is not None:
            names: Iterable[str] = [named] if isinstance(named, str) else named
            return frozenset("number" if name == "integer" else name for name in names)
        if "const" in part:
            return frozenset({json_type_name(part["const"])})
        if "enum" in part:
            return frozenset(json_type_name(value) for value in part["enum"])
        for key in ("anyOf", "oneOf"):
            if key in part:
                return frozenset().union(
                    *(self.make_subschema_part(each).allowed_types() for each in part[key])
                )
        return _KINDS

    def describe_types(self) -> str:
        """Return the types as text: "integer", "string or null"."""
        named = self.part.get("type")
        if isinstance(named, str):
            return named
        return " or ".join(sorted(self.allowed_types(), key=lambda kind: (kind == "null", kind)))

    @property
    def properties(self) -> Schema:
        properties = self.part.get("properties")
        return properties if isinstance(properties, Mapping) else {}

    @property
    def lists_all_properties(self) -> bool:
        """Return whether the schema lists all properties that a value may have."""
        return bool(self.properties) and not (
            self.part.get("additionalProperties") or self.part.get("patternProperties")
        )


def _find_difference(given: _SchemaPart, wanted: _SchemaPart, path: str, depth: int) -> str | None:
    if not given.allowed_types() & wanted.allowed_types():
        return f"{path} is {given.describe_types()}, not {wanted.describe_types()}"
    if depth == _DEEPEST:
        return None
    return _find_object_difference(given, wanted, path, depth) or _find_array_difference(
        given, wanted, path, depth
    )


def _find_object_difference(
    given: _SchemaPart, wanted: _SchemaPart, path: str, depth: int
) -> str | None:
    for name in wanted.part.get("required", ()):
        if given.lists_all_properties and name not in given.properties:
            return f"{path} has no {name!r}, which is required"
    for name, part in wanted.properties.items():
        if name in given.properties:
            difference = _find_difference(
                given.make_subschema_part(given.properties[name]),
                wanted.make_subschema_part(part),
                f"{path}.{name}",
                depth + 1,
            )
            if difference is not None:
                return difference
    return None


def _find_array_difference(
    given: _SchemaPart, wanted: _SchemaPart, path: str, depth: int
) -> str | None:
    if "items" not in given.part or "items" not in wanted.part:
        return None
    return _find_difference(
        given.make_subschema_part(given.part["items"]),
        wanted.make_subschema_part(wanted.part["items"]),
        f"{path}[]",
        depth + 1,
    )


def _resolve_reference(whole: Schema, reference: str) -> Schema:
    """Return the target of a reference `#/$defs/Name`, or {} for other references."""
    place: Any = whole
    for part in reference.removeprefix("#/").split("/"):
        place = place.get(part) if isinstance(place, Mapping) else None
    return place if isinstance(place, Mapping) else {}
