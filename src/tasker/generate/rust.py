"""Writes Rust."""

import json
import re

from tasker.generate.names import pascal_case, snake_case
from tasker.generate.shapes import (
    ANY,
    Enumeration,
    ListShape,
    MapShape,
    NamedShape,
    NullableShape,
    Record,
    RecordField,
    ScalarShape,
    Shape,
    TemplateTypes,
    declared_step_name,
)
from tasker.model import StepSpec

_SCALARS = {
    "string": "String",
    "integer": "i64",
    "number": "f64",
    "boolean": "bool",
    "null": "()",
    "any": "Value",
}
_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """
        abstract as async await become box break const continue crate do dyn else enum extern
        false final fn for gen if impl in let loop macro match mod move mut override priv pub ref
        return self static struct super trait true try type typeof unsafe unsized use virtual
        where while yield
        """,
    )
)
_CODE = re.compile(r"\\u([0-9a-f]{4})")
_DERIVES = "#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]"
_OPTIONAL = '#[serde(default, skip_serializing_if = "Option::is_none")]'


def render_types(types: TemplateTypes) -> str:
    """Return a Rust module that defines the types of a template."""
    body = "\n\n".join(_format_definition(definition) for definition in types.definitions)
    imports = ["use serde::{Deserialize, Serialize};"] if "Serialize" in body else []
    if re.search(r"\bValue\b", body):
        imports.append("use serde_json::Value;")
    if "BTreeMap<" in body:
        imports.insert(0, "use std::collections::BTreeMap;\n")
    return "\n".join(imports) + ("\n\n" if imports else "") + body + "\n"


def render_handlers(types: TemplateTypes, steps: list[StepSpec], module: str) -> str:
    """Return Rust code with a handler stub for each of some steps, and a function that adds the
    handlers to a worker."""
    shapes = [types.results.get(name, ANY) for spec in steps for name in spec.dependencies]
    shapes += [types.returned.get(spec.name, ANY) for spec in steps]
    shapes += [item.shape for spec in steps if (item := types.innermost_map_item(spec))]
    lines = (
        ["use serde_json::Value;"]
        if any("Value" in _format_type(shape) for shape in shapes)
        else []
    )
    lines.append("use tasker::{Context, Error, Worker};")
    lines += ["", f"use super::{module}::*;"] if types.definitions else []
    lines += [
        "",
        "/// Add the handlers to a worker.",
        "pub fn add_handlers(worker: Worker) -> Worker {",
    ]
    lines.append("    worker")
    for spec in steps:
        function = _safe_identifier(declared_step_name(spec))
        lines.append(f"        .handler({_quote_string(spec.handler)}, {function})")
    lines.append("}")
    for spec in steps:
        lines += ["", *_format_handler(types, spec)]
    return "\n".join(lines) + "\n"


def _format_handler(types: TemplateTypes, spec: StepSpec) -> list[str]:
    def format_result_type(step: str) -> str:
        return _format_type(types.results.get(step, ANY))

    lines = [f"/// {spec.description}"] if spec.description else []
    name, result = (
        _safe_identifier(declared_step_name(spec)),
        _format_type(types.returned.get(spec.name, ANY)),
    )
    reads = types.input is not None or spec.dependencies or types.given.get(spec.name)
    context = "ctx" if reads else "_ctx"
    lines.append(f"async fn {name}({context}: Context) -> Result<{result}, Error> {{")
    if types.input is not None:
        lines.append(f"    let _input: {_format_type(types.input)} = ctx.context()?;")
    if item := types.innermost_map_item(spec):
        lines.append(f"    let _{snake_case(item.name)}: {_format_type(item.shape)} = ctx.item()?;")
    if types.is_in_batch(spec):
        lines.append("    let _cursor = ctx.cursor()?;")
    for step in spec.dependencies:
        kind = format_result_type(step)
        lines.append(f"    let _{snake_case(step)}: {kind} = ctx.result({json.dumps(step)})?;")
    return [
        *lines,
        f'    Err(Error::permanent("{declared_step_name(spec)} is not written yet"))',
        "}",
    ]


def _format_definition(definition: Record | Enumeration) -> str:
    lines = [f"/// {definition.description}"] if definition.description else []
    lines.append(_DERIVES)
    if isinstance(definition, Enumeration):
        lines.append(f"pub enum {definition.name} {{")
        for value, variant in zip(definition.values, _format_variants(definition), strict=True):
            lines += [f"    #[serde(rename = {_quote_string(value)})]", f"    {variant},"]
    else:
        lines.append(f"pub struct {definition.name} {{")
        for field in definition.fields:
            lines += [f"    {line}" for line in _format_field(field)]
    return "\n".join([*lines, "}"])


def _format_field(field: RecordField) -> list[str]:
    lines = [f"/// {field.description}"] if field.description else []
    name = _safe_identifier(field.name)
    if name != field.name:
        lines.append(f"#[serde(rename = {_quote_string(field.name)})]")
    shape = field.shape
    if not field.required and shape != ANY:
        shape = shape if isinstance(shape, NullableShape) else NullableShape(shape)
        lines.append(_OPTIONAL)
    elif not field.required:
        lines.append("#[serde(default)]")
    return [*lines, f"pub {name}: {_format_type(shape)},"]


def _format_variants(definition: Enumeration) -> list[str]:
    """Return a variant for each value, numbered if two values would have the same name."""
    variants: list[str] = []
    for value in definition.values:
        variant = pascal_case(value)
        variants.append(f"{variant}{len(variants)}" if variant in variants else variant)
    return variants


def _format_type(shape: Shape) -> str:
    match shape:
        case ScalarShape(kind):
            return _SCALARS[kind]
        case NamedShape(name):
            return name
        case ListShape(items):
            return f"Vec<{_format_type(items)}>"
        case MapShape(values):
            return f"BTreeMap<String, {_format_type(values)}>"
        case NullableShape(inner):
            return f"Option<{_format_type(inner)}>"


def _safe_identifier(name: str) -> str:
    plain = (
        name
        if name.isidentifier() and name.isascii() and name == name.lower()
        else snake_case(name)
    )
    return f"{plain}_" if plain in _KEYWORDS else plain


def _quote_string(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _CODE.sub(lambda match: f"\\u{{{match[1]}}}", quoted)
