"""Writes TypeScript."""

import json
import re

from tasker.generate.names import camel, pascal
from tasker.generate.shapes import (
    ANY,
    Enumeration,
    ListOf,
    MapOf,
    Named,
    Nullable,
    Record,
    Scalar,
    Shape,
    Types,
    names_in,
    step_name,
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


def write_types(types: Types) -> str:
    """Return the types of a template."""
    blocks = [_definition(definition) for definition in types.definitions]
    name = pascal(types.template.name)
    results = [f"  {_key(step)}: {_type(shape)};" for step, shape in types.results.items()]
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


def write_handlers(types: Types, steps: list[StepSpec], module: str) -> str:
    """Return a handler for each of some steps."""
    name = pascal(types.template.name)
    used = {f"{name}Results"} if types.results else set()
    if types.input is not None and steps:
        used |= names_in(types.input)
    for spec in steps:
        if (item := types.item_of(spec)) is not None:
            used |= names_in(item.shape)
        if step_name(spec) != spec.name:
            used |= names_in(types.returned.get(spec.name, ANY))
    body = "".join(f"\n{_handler(types, spec, name)}" for spec in steps)
    given = ["defineHandler", "PermanentError", *(["typed"] if " typed<" in body else [])]
    imports = f"import {{ {', '.join(given)} }} from 'tasker';\n"
    if used:
        imports += f"import type {{ {', '.join(sorted(used))} }} from './{module}.js';\n"
    return imports + body


def _handler(types: Types, spec: StepSpec, name: str) -> str:
    def result_of(step: str) -> str:
        return f"{name}Results[{_quote(step)}]" if step in types.results else "unknown"

    item, plain = types.item_of(spec), step_name(spec)
    read: dict[str, str] = {}
    if types.input is not None:
        read["input"] = f"context.input as unknown as {_type(types.input)}"
    if types.in_batch(spec):
        read["cursor"] = "context.cursor"
    if item is not None:
        read[camel(item.name)] = f"context.item as {_type(item.shape)}"
    results = {camel(step): step for step in spec.dependencies if camel(step) not in read}
    given = [*results, *(["context"] if read else [])]
    returned = _type(types.returned.get(spec.name, ANY)) if plain != spec.name else result_of(plain)
    lines = [f"/** {spec.description} */"] if spec.description else []
    lines += [f"export const {camel(plain)} = defineHandler(", f"  {_quote(spec.handler)},"]
    if results:
        lines += ["  {", "    depends: {"]
        lines += [
            f"      {key}: typed<{result_of(step)}>({_quote(step)}),"
            for key, step in results.items()
        ]
        lines += ["    },", "  },"]
    parameter = f"{{ {', '.join(given)} }}" if results else ", ".join(given)
    lines.append(f"  async ({parameter}): Promise<{returned}> => {{")
    lines += [f"    const {key} = {value};" for key, value in read.items()]
    used = ", ".join([*results, *read])
    details = f", {{ details: {{ {used} }} }}" if used else ""
    message = _quote(f"{plain} is not written yet")
    lines += [f"    throw new PermanentError({message}{details});", "  },", ");"]
    return "\n".join(lines) + "\n"


def _definition(definition: Record | Enumeration) -> str:
    lines = _comment(definition.description, "")
    if isinstance(definition, Enumeration):
        values = " | ".join(map(_quote, definition.values))
        return "\n".join([*lines, f"export type {definition.name} = {values};"])
    lines.append(f"export interface {definition.name} {{")
    for field in definition.fields:
        lines += _comment(field.description, "  ")
        optional = "" if field.required else "?"
        lines.append(f"  {_key(field.name)}{optional}: {_type(field.shape)};")
    return "\n".join([*lines, "}"])


def _type(shape: Shape) -> str:
    match shape:
        case Scalar(kind):
            return _SCALARS[kind]
        case Named(name):
            return name
        case ListOf(items):
            inner = _type(items)
            return f"({inner})[]" if "|" in inner else f"{inner}[]"
        case MapOf(values):
            return f"Record<string, {_type(values)}>"
        case Nullable(inner_shape):
            return f"{_type(inner_shape)} | null"


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}/** {text.replace('*/', '* /')} */"] if text else []


def _key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else _quote(name)


def _quote(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")
    return f"'{quoted}'"
