"""Type checks of expressions against JSON Schemas."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from tasker.model import Json
from tasker.suggest import suggest_allowed
from tasker.template.expressions import (
    Comparison,
    Expression,
    ListLiteral,
    Literal,
    LogicalOperation,
    Node,
    Not,
    Path,
    TextTemplate,
    json_type_name,
)

Schemas: TypeAlias = Mapping[str, Any]
"""JSON Schemas of the names in an expression; True allows any value."""

KINDS = frozenset({"null", "boolean", "number", "string", "array", "object"})
_NULL = frozenset({"null"})  #: a path of any type may be null if it finds no value
_CONDITION = frozenset({"boolean", "null"})
_ORDERED = (frozenset({"number"}), frozenset({"string"}))
_MOST_REFERENCES = 50  #: followed for one schema


def find_condition_type_errors(expression: Expression, schemas: Schemas) -> list[str]:
    """List the type errors of an expression that must be true or false."""
    return find_expression_type_errors(expression, schemas, _CONDITION, "true or false")


def find_expression_type_errors(
    expression: Expression, schemas: Schemas, expected: frozenset[str] = KINDS, what: str = ""
) -> list[str]:
    """List the type errors of an expression, as messages.

    Args:
        expression: The expression.
        schemas: The JSON Schemas of its names.
        expected: The kinds of values that are accepted.
        what: Those kinds in words, for messages.
    """
    problems: list[str] = []
    kinds = _infer_kinds(expression.node, schemas, problems)
    if kinds.isdisjoint(expected):
        problems.append(f"it is {_kinds_in_words(kinds)}, not {what}")
    return problems


def find_invalid_placeholder_paths(text: TextTemplate, schemas: Schemas) -> list[str]:
    """List, as messages, the paths in a text's placeholders that the schemas exclude."""
    problems: list[str] = []
    for path in text.paths:
        _infer_kinds(path, schemas, problems)
    return problems


def element_schema(expression: Expression, schemas: Schemas) -> Any:
    """Return the JSON Schema of the elements of a list; True: any value."""
    if not isinstance(expression.node, Path):
        return True
    keys = expression.node.keys
    here = [(schemas.get(str(keys[0]), True), schemas.get(str(keys[0]), True))]
    for key in keys[1:]:
        here, _ = _schemas_below_key(here, key)
    parts = []
    for schema, root in _schemas_below_key(here, 0)[0]:
        defined = root if isinstance(root, Mapping) else {}
        kept = {key: defined[key] for key in ("$defs", "definitions") if key in defined}
        parts.append({**kept, **schema} if isinstance(schema, Mapping) else schema)
    return parts[0] if len(parts) == 1 else True


def property_kinds(schema: Mapping[str, Any], key: str) -> frozenset[str]:
    """Return the kinds of values that an object's schema accepts for a property."""
    below, _ = _schemas_below_key([(schema, schema)], key)
    kinds = (_schema_kinds(part) for part, _ in _resolve_alternatives(below))
    return frozenset[str]().union(*kinds) or KINDS


def _infer_kinds(node: Node, schemas: Schemas, problems: list[str]) -> frozenset[str]:
    """Return the kinds of a node's values; append its problems to `problems`."""
    match node:
        case Literal(value):
            return frozenset({json_type_name(value)})
        case Path():
            return _infer_path_kinds(node, schemas, problems)
        case ListLiteral(items):
            for item in items:
                _infer_kinds(item, schemas, problems)
            return frozenset({"array"})
        case Not(operand):
            _check_condition_node(operand, schemas, problems)
        case LogicalOperation(_, operands):
            for operand in operands:
                _check_condition_node(operand, schemas, problems)
        case Comparison():
            _check_comparison(node, schemas, problems)
    return frozenset({"boolean"})


def _check_condition_node(node: Node, schemas: Schemas, problems: list[str]) -> None:
    kinds = _infer_kinds(node, schemas, problems)
    if kinds.isdisjoint(_CONDITION):
        problems.append(f"{node} is {_kinds_in_words(kinds)}, not true or false")


def _check_comparison(node: Comparison, schemas: Schemas, problems: list[str]) -> None:
    left = _infer_kinds(node.left, schemas, problems)
    right = _infer_kinds(node.right, schemas, problems)
    if node.operator in ("==", "!="):
        if left.isdisjoint(right) and _NULL not in (left, right):
            problems.append(
                f"{node} is always {str(node.operator == '!=').lower()}, because it compares"
                f" {_kinds_in_words(left)} with {_kinds_in_words(right)}"
            )
    elif node.operator in ("in", "not in"):
        if right.isdisjoint({"array", "string", "object"}):
            problems.append(
                f"{node.right} is {_kinds_in_words(right)}, not a list, string or object"
            )
        elif "array" not in right and "string" not in left:
            problems.append(f"{node.left} is {_kinds_in_words(left)}, not a string")
    elif not any(left & ordered and right & ordered for ordered in _ORDERED):
        problems.append(
            f"{node} compares {_kinds_in_words(left)} with {_kinds_in_words(right)};"
            " only two numbers or two strings can be ordered"
        )


def _infer_path_kinds(path: Path, schemas: Schemas, problems: list[str]) -> frozenset[str]:
    """Return the kinds of a path's values; record the first key that its schema excludes."""
    name = str(path.keys[0])
    here = [(schemas.get(name, True), schemas.get(name, True))]
    for depth, key in enumerate(path.keys[1:], 1):
        below, known = _schemas_below_key(here, key)
        if not below:
            hint = suggest_allowed(str(key), known) if known else ""
            what = "item" if isinstance(key, int) else "property"
            problems.append(f"{Path(path.keys[:depth])} has no {what} {key!r}{hint}")
            return KINDS
        here = below
    kinds = (_schema_kinds(schema) for schema, _ in _resolve_alternatives(here))
    return frozenset[str]().union(*kinds) or KINDS


def _schemas_below_key(
    here: Sequence[tuple[Any, Any]], key: str | int
) -> tuple[list[tuple[Any, Any]], list[str]]:
    """Return the schemas below `key` or, if there are none, the declared properties."""
    below: list[tuple[Any, Any]] = []
    known: dict[str, None] = {}
    for schema, root in _resolve_alternatives(here):
        if not isinstance(schema, Mapping):
            if schema is not False:
                below.append((True, True))
            continue
        kinds = _schema_kinds(schema)
        if isinstance(key, int):
            if "array" in kinds:
                below.append((_item_schema(schema, key), root))
            continue
        if "object" not in kinds:
            continue
        properties = schema.get("properties")
        if isinstance(properties, Mapping) and key in properties:
            part = properties[key]
            below.append((part, part if isinstance(part, Mapping) and "$defs" in part else root))
        elif isinstance(properties, Mapping) and not _explicitly_allows_other_properties(schema):
            known |= dict.fromkeys(map(str, properties))
        elif schema.get("additionalProperties") is not False:
            below.append((schema.get("additionalProperties", True), root))
    return below, list(known)


def _explicitly_allows_other_properties(schema: Mapping[str, Any]) -> bool:
    """Return whether a schema says that there may be other properties than the declared ones.

    A schema that says nothing also allows them, but then a path to one is probably misspelled.
    """
    return (
        schema.get("additionalProperties", False) is not False
        or schema.get("unevaluatedProperties", False) is not False
        or not {
            "patternProperties",
            "allOf",
            "anyOf",
            "oneOf",
            "if",
            "dependentSchemas",
            "$dynamicRef",
        }.isdisjoint(schema)
    )


def _item_schema(schema: Mapping[str, Any], index: int) -> Any:
    first = schema.get("prefixItems")
    if isinstance(first, Sequence) and 0 <= index < len(first):
        return first[index]
    items = schema.get("items", True)
    return True if isinstance(first, Sequence) and index < 0 else items


def _resolve_alternatives(here: Sequence[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """Yield the alternative schemas, with references, `anyOf` and `oneOf` resolved."""
    pending, steps = list(here), 0
    while pending and (steps := steps + 1) <= _MOST_REFERENCES:
        schema, root = pending.pop(0)
        if not isinstance(schema, Mapping):
            yield schema, root
        elif isinstance(schema.get("$ref"), str):
            pending.append((_resolve_reference(schema["$ref"], root), root))
        elif options := schema.get("anyOf") or schema.get("oneOf"):
            pending += [(option, root) for option in options]
            if "properties" in schema:
                pending.append(
                    ({k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}, root)
                )
        elif "allOf" in schema and "properties" not in schema:
            yield True, True
        else:
            yield schema, root
    if pending:
        yield True, True


def _resolve_reference(reference: str, root: Any) -> Any:
    """Return the schema of a reference within `root`; True if it leads elsewhere."""
    if not reference.startswith("#"):
        return True
    here = root
    for part in reference.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(here, Mapping) or key not in here:
            return True
        here = here[key]
    return here


def _schema_kinds(schema: Any) -> frozenset[str]:
    """Return the kinds of the values that a schema accepts, as far as it declares them directly."""
    if not isinstance(schema, Mapping):
        return KINDS
    if "const" in schema:
        return frozenset({json_type_name(schema["const"])})
    options: Json = schema.get("enum")
    if isinstance(options, list | tuple):
        return frozenset(map(json_type_name, options))
    types = schema.get("type")
    if isinstance(types, str):
        types = [types]
    if not isinstance(types, list | tuple):
        return KINDS
    return frozenset("number" if kind == "integer" else str(kind) for kind in types) & KINDS


def _kinds_in_words(kinds: frozenset[str]) -> str:
    words = {"array": "a list", "object": "an object", "null": "null"}
    return " or ".join(words.get(kind, f"a {kind}") for kind in sorted(kinds))
