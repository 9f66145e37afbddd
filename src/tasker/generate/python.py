"""Writes Python."""

import json
import keyword
import re

from pydantic import BaseModel

from tasker.generate.names import snake_case
from tasker.generate.shapes import (
    ANY,
    Enumeration,
    InstanceInput,
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
    definition_names_in,
)
from tasker.model import Batch, StepSpec

_SCALARS = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
    "any": "Any",
}
_TAKEN = frozenset(name for name in dir(BaseModel) if not name.startswith("_"))


def render_types(types: TemplateTypes) -> str:
    """Return a Python module that defines the types of a template."""
    blocks = [_format_definition(definition) for definition in types.definitions]
    body = "\n\n\n".join(blocks)
    typing = [name for name in ("Any", "Literal") if re.search(rf"\b{name}\b", body)]
    uses = {"BaseModel": "(BaseModel):", "ConfigDict": " ConfigDict(", "Field": " Field("}
    pydantic = [name for name, use in uses.items() if use in body]
    imports = [f"from typing import {', '.join(typing)}\n"] if typing else []
    if pydantic:
        imports.append(f"from pydantic import {', '.join(pydantic)}\n")
    return "\n".join(imports) + ("\n\n" if imports else "") + body + "\n"


def render_handlers(types: TemplateTypes, steps: list[StepSpec], module: str) -> str:
    """Return Python code with a handler stub for each of some steps."""
    used: set[str] = set()
    blocks = [_format_handler(types, spec, used) for spec in steps]
    body = "".join(f"\n\n{block}" for block in blocks)
    typing = [name for name in ("Annotated", "Any") if re.search(rf"\b{name}\b", body)]
    tasker = [
        *(["Cursor"] if re.search(r"\bcursor: Cursor\b", body) else []),
        "PermanentError",
        *(["Result"] if "Annotated[" in body else []),
        "handler",
    ]
    imports = [f"from typing import {', '.join(typing)}\n"] if typing else []
    imports.append(f"from tasker import {', '.join(tasker)}\n")
    if used:
        imports.append(f"from {module} import {', '.join(sorted(used))}\n")
    return "\n".join(imports) + body


def _format_handler(types: TemplateTypes, spec: StepSpec, used: set[str]) -> str:
    def format_result_type(step: str) -> str:
        shape = types.results.get(step, ANY)
        used.update(definition_names_in(shape))
        return _format_type(shape)

    def format_result_parameter(step: str) -> str:
        name, kind = _safe_identifier(step), format_result_type(step)
        return f"{name}: {kind}" if name == step else f'{name}: Annotated[{kind}, Result("{step}")]'

    def format_instance_parameter(each: InstanceInput) -> str:
        used.update(definition_names_in(each.shape))
        kind = "Cursor" if isinstance(each.spawning, Batch) else _format_type(each.shape)
        return f"{each.name}: {kind}"

    around = [each for each in types.given[spec.name] if _safe_identifier(each.name) == each.name]
    names = {each.name for each in around}
    results = [step for step in spec.dependencies if _safe_identifier(step) not in names]
    parameters = [
        *map(format_instance_parameter, reversed(around)),
        *map(format_result_parameter, results),
    ]
    name, result = declared_step_name(spec), types.returned.get(spec.name, ANY)
    used.update(definition_names_in(result))
    documented = f'    """{spec.description}"""\n' if spec.description else ""
    return (
        f"@handler({_quote_string(spec.handler)})\n"
        f"def {snake_case(name)}({', '.join(parameters)}) -> {_format_type(result)}:\n"
        f"{documented}"
        f'    raise PermanentError("{name} is not written yet")\n'
    )


def _format_definition(definition: Record | Enumeration) -> str:
    if isinstance(definition, Enumeration):
        return f"{definition.name} = Literal[{', '.join(map(_quote_string, definition.values))}]"
    lines = [f"class {definition.name}(BaseModel):"]
    if definition.description:
        lines += [f'    """{definition.description}"""', ""]
    if any(_safe_identifier(field.name) != field.name for field in definition.fields):
        lines += ["    model_config = ConfigDict(populate_by_name=True)", ""]
    fields = [line for field in definition.fields for line in _format_field(field)]
    return "\n".join(lines + [f"    {line}".rstrip() for line in fields or ["pass"]]).rstrip()


def _format_field(field: RecordField) -> list[str]:
    shape, name = field.shape, _safe_identifier(field.name)
    if not field.required and shape != ANY and not isinstance(shape, NullableShape):
        shape = NullableShape(shape)
    default = "" if field.required else " = None"
    if name != field.name:
        inner = "" if field.required else "default=None, "
        default = f" = Field({inner}alias={_quote_string(field.name)})"
    line = f"{name}: {_format_type(shape)}{default}"
    return [line, f'"""{field.description}"""', ""] if field.description else [line]


def _format_type(shape: Shape) -> str:
    match shape:
        case ScalarShape(kind):
            return _SCALARS[kind]
        case NamedShape(name):
            return name
        case ListShape(items):
            return f"list[{_format_type(items)}]"
        case MapShape(values):
            return f"dict[str, {_format_type(values)}]"
        case NullableShape(inner):
            return f"{_format_type(inner)} | None"


def _safe_identifier(name: str) -> str:
    plain = name if name.isidentifier() and not name.startswith("_") else snake_case(name)
    taken = keyword.iskeyword(plain) or plain in _TAKEN or plain.startswith("model_")
    return f"{plain}_" if taken else plain


def _quote_string(text: str) -> str:
    return json.dumps(text)
