"""Writes TypeScript."""

import json
import re

from tasker.generate.names import camel_case, pascal_case
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
    definition_names_in,
)
from tasker.model import StepSpec

_SCALARS = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
    "any": "unknown",
}
_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*")


def render_types(types: TemplateTypes) -> str:
    """Return a TypeScript module that defines the types of a template."""
    blocks = [_format_definition(definition) for definition in types.definitions]
    name = pascal_case(types.template.name)
    results = [
        f"  {_format_key(step)}: {_format_type(shape)};" for step, shape in types.results.items()
    ]
    blocks.append(
        "\n".join(
            [
                "/** The results of the steps by name. */",
                f"export interface {name}Results {{",
                *results,
                "}",
            ]
        )
    )
    return "\n\n".join(blocks) + "\n"


def render_handlers(types: TemplateTypes, steps: list[StepSpec], module: str) -> str:
    """Return TypeScript code with a handler stub for each of some steps."""
    name = pascal_case(types.template.name)
    used = {f"{name}Results"} if types.results else set()
    if types.input is not None and steps:
        used |= definition_names_in(types.input)
    for spec in steps:
        if (item := types.innermost_map_item(spec)) is not None:
            used |= definition_names_in(item.shape)
        if declared_step_name(spec) != spec.name:
            used |= definition_names_in(types.returned.get(spec.name, ANY))
    body = "".join(f"\n{_format_handler(types, spec, name)}" for spec in steps)
    given = ["defineHandler", "PermanentError", *(["typed"] if " typed<" in body else [])]
    imports = f"import {{ {', '.join(given)} }} from 'tasker';\n"
    if used:
        imports += f"import type {{ {', '.join(sorted(used))} }} from './{module}.js';\n"
    return imports + body


def _format_handler(types: TemplateTypes, spec: StepSpec, name: str) -> str:
    def format_result_type(step: str) -> str:
        return f"{name}Results[{_quote_string(step)}]" if step in types.results else "unknown"

    item, plain = types.innermost_map_item(spec), declared_step_name(spec)
    read: dict[str, str] = {}
    if types.input is not None:
        read["input"] = f"context.input as unknown as {_format_type(types.input)}"
    if types.is_in_batch(spec):
        read["cursor"] = "context.cursor"
    if item is not None:
        read[camel_case(item.name)] = f"context.item as {_format_type(item.shape)}"
    results = {camel_case(step): step for step in spec.dependencies if camel_case(step) not in read}
    given = [*results, *(["context"] if read else [])]
    returned = (
        _format_type(types.returned.get(spec.name, ANY))
        if plain != spec.name
        else format_result_type(plain)
    )
    lines = [f"/** {spec.description} */"] if spec.description else []
    lines += [
        f"export const {camel_case(plain)} = defineHandler(",
        f"  {_quote_string(spec.handler)},",
    ]
    if results:
        lines += ["  {", "    depends: {"]
        lines += [
            f"      {key}: typed<{format_result_type(step)}>({_quote_string(step)}),"
            for key, step in results.items()
        ]
        lines += ["    },", "  },"]
    parameter = f"{{ {', '.join(given)} }}" if results else ", ".join(given)
    lines.append(f"  async ({parameter}): Promise<{returned}> => {{")
    lines += [f"    const {key} = {value};" for key, value in read.items()]
    used = ", ".join([*results, *read])
    details = f", {{ details: {{ {used} }} }}" if used else ""
    message = _quote_string(f"{plain} is not written yet")
    lines += [f"    throw new PermanentError({message}{details});", "  },", ");"]
    return "\n".join(lines) + "\n"


def _format_definition(definition: Record | Enumeration) -> str:
    lines = _format_comment(definition.description, "")
    if isinstance(definition, Enumeration):
        values = " | ".join(map(_quote_string, definition.values))
        return "\n".join([*lines, f"export type {definition.name} = {values};"])
    lines.append(f"export interface {definition.name} {{")
    for field in definition.fields:
        lines += _format_comment(field.description, "  ")
        optional = "" if field.required else "?"
        lines.append(f"  {_format_key(field.name)}{optional}: {_format_type(field.shape)};")
    return "\n".join([*lines, "}"])


def _format_type(shape: Shape) -> str:
    match shape:
        case ScalarShape(kind):
            return _SCALARS[kind]
        case NamedShape(name):
            return name
        case ListShape(items):
            inner = _format_type(items)
            return f"({inner})[]" if "|" in inner else f"{inner}[]"
        case MapShape(values):
            return f"Record<string, {_format_type(values)}>"
        case NullableShape(inner_shape):
            return f"{_format_type(inner_shape)} | null"


def _format_comment(text: str, indent: str) -> list[str]:
    return [f"{indent}/** {text.replace('*/', '* /')} */"] if text else []


def _format_key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else _quote_string(name)


def _quote_string(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")
    return f"'{quoted}'"
