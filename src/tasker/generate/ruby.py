"""Writes RBS, the language of Ruby's type signatures, and Ruby."""

import json

from tasker.generate.names import pascal_case, snake_case
from tasker.generate.shapes import (
    ANY,
    Enumeration,
    ListShape,
    MapShape,
    NamedShape,
    NullableShape,
    Record,
    ScalarShape,
    Shape,
    TemplateTypes,
    declared_step_name,
)
from tasker.model import StepSpec

_SCALARS = {
    "string": "String",
    "integer": "Integer",
    "number": "Numeric",
    "boolean": "bool",
    "null": "nil",
    "any": "untyped",
}


def render_types(types: TemplateTypes) -> str:
    """Return an RBS file that defines the types of a template.

    Handlers receive JSON objects as hashes with string keys.
    """
    module = pascal_case(types.template.name)
    blocks = [_format_definition(definition) for definition in types.definitions]
    lines = [f"  {line}" if line else "" for line in "\n\n".join(blocks).split("\n")]
    return "\n".join([f"module {module}", *lines, "end"]) + "\n"


def render_handlers(types: TemplateTypes, steps: list[StepSpec], module: str) -> str:
    """Return Ruby code with a handler stub for each of some steps; `module` names the RBS file."""
    blocks = [f'require "tasker"\n\n# Types: {module}.rbs\n']
    for spec in steps:
        documented = f"# {spec.description}\n" if spec.description else ""
        name = declared_step_name(spec)
        given = (
            f"  {snake_case(item.name)} = ctx.item\n"
            if (item := types.innermost_map_item(spec))
            else ""
        )
        given += "  cursor = ctx.cursor\n" if types.is_in_batch(spec) else ""
        results = "".join(
            f"  {snake_case(step)} = ctx.result({json.dumps(step)})\n" for step in spec.dependencies
        )
        blocks.append(
            f"{documented}Tasker.handler({_quote_string(spec.handler)}) do |ctx|\n{given}{results}"
            f'  raise Tasker::PermanentError, "{name} is not written yet"\nend\n'
        )
    return "\n".join(blocks)


def _quote_string(text: str) -> str:
    """Return a string without interpolation."""
    return json.dumps(text).replace("#", "\\#")


def _format_definition(definition: Record | Enumeration) -> str:
    lines = [f"# {definition.description}"] if definition.description else []
    name = snake_case(definition.name)
    if isinstance(definition, Enumeration):
        values = " | ".join(json.dumps(value, ensure_ascii=False) for value in definition.values)
        return "\n".join([*lines, f"type {name} = {values}"])
    if not definition.fields:
        return "\n".join([*lines, f"type {name} = Hash[String, untyped]"])
    lines.append(f"type {name} = {{")
    last = len(definition.fields) - 1
    for number, field in enumerate(definition.fields):
        if field.description:
            lines.append(f"  # {field.description}")
        shape = field.shape
        if not field.required and shape != ANY and not isinstance(shape, NullableShape):
            shape = NullableShape(shape)
        comma = "" if number == last else ","
        key = json.dumps(field.name, ensure_ascii=False)
        lines.append(f"  {key} => {_format_type(shape)}{comma}")
    return "\n".join([*lines, "}"])


def _format_type(shape: Shape) -> str:
    match shape:
        case ScalarShape(kind):
            return _SCALARS[kind]
        case NamedShape(name):
            return snake_case(name)
        case ListShape(items):
            return f"Array[{_format_type(items)}]"
        case MapShape(values):
            return f"Hash[String, {_format_type(values)}]"
        case NullableShape(inner):
            return f"{_format_type(inner)}?"
