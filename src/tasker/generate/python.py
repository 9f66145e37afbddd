"""Writes Python."""

import json
import keyword
import re

from pydantic import BaseModel

from tasker.generate.names import snake
from tasker.generate.shapes import (
    ANY,
    Enumeration,
    Field,
    Given,
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


def write_types(types: Types) -> str:
    """Return the types of a template."""
    blocks = [_definition(definition) for definition in types.definitions]
    body = "\n\n\n".join(blocks)
    typing = [name for name in ("Any", "Literal") if re.search(rf"\b{name}\b", body)]
    uses = {"BaseModel": "(BaseModel):", "ConfigDict": " ConfigDict(", "Field": " Field("}
    pydantic = [name for name, use in uses.items() if use in body]
    imports = [f"from typing import {', '.join(typing)}\n"] if typing else []
    if pydantic:
        imports.append(f"from pydantic import {', '.join(pydantic)}\n")
    return "\n".join(imports) + ("\n\n" if imports else "") + body + "\n"


def write_handlers(types: Types, steps: list[StepSpec], module: str) -> str:
    """Return a handler for each of some steps."""
    used: set[str] = set()
    blocks = [_handler(types, spec, used) for spec in steps]
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


def _handler(types: Types, spec: StepSpec, used: set[str]) -> str:
    def result_of(step: str) -> str:
        shape = types.results.get(step, ANY)
        used.update(names_in(shape))
        return _type(shape)

    def parameter(step: str) -> str:
        name, kind = _identifier(step), result_of(step)
        return f"{name}: {kind}" if name == step else f'{name}: Annotated[{kind}, Result("{step}")]'

    def given(each: Given) -> str:
        used.update(names_in(each.shape))
        kind = "Cursor" if isinstance(each.spawning, Batch) else _type(each.shape)
        return f"{each.name}: {kind}"

    around = [each for each in types.given[spec.name] if _identifier(each.name) == each.name]
    names = {each.name for each in around}
    results = [step for step in spec.dependencies if _identifier(step) not in names]
    parameters = [*map(given, reversed(around)), *map(parameter, results)]
    name, result = step_name(spec), types.returned.get(spec.name, ANY)
    used.update(names_in(result))
    documented = f'    """{spec.description}"""\n' if spec.description else ""
    return (
        f"@handler({_quote(spec.handler)})\n"
        f"def {snake(name)}({', '.join(parameters)}) -> {_type(result)}:\n"
        f"{documented}"
        f'    raise PermanentError("{name} is not written yet")\n'
    )


def _definition(definition: Record | Enumeration) -> str:
    if isinstance(definition, Enumeration):
        return f"{definition.name} = Literal[{', '.join(map(_quote, definition.values))}]"
    lines = [f"class {definition.name}(BaseModel):"]
    if definition.description:
        lines += [f'    """{definition.description}"""', ""]
    if any(_identifier(field.name) != field.name for field in definition.fields):
        lines += ["    model_config = ConfigDict(populate_by_name=True)", ""]
    fields = [line for field in definition.fields for line in _field(field)]
    return "\n".join(lines + [f"    {line}".rstrip() for line in fields or ["pass"]]).rstrip()


def _field(field: Field) -> list[str]:
    shape, name = field.shape, _identifier(field.name)
    if not field.required and shape != ANY and not isinstance(shape, Nullable):
        shape = Nullable(shape)
    default = "" if field.required else " = None"
    if name != field.name:
        inner = "" if field.required else "default=None, "
        default = f" = Field({inner}alias={_quote(field.name)})"
    line = f"{name}: {_type(shape)}{default}"
    return [line, f'"""{field.description}"""', ""] if field.description else [line]


def _type(shape: Shape) -> str:
    match shape:
        case Scalar(kind):
            return _SCALARS[kind]
        case Named(name):
            return name
        case ListOf(items):
            return f"list[{_type(items)}]"
        case MapOf(values):
            return f"dict[str, {_type(values)}]"
        case Nullable(inner):
            return f"{_type(inner)} | None"


def _identifier(name: str) -> str:
    plain = name if name.isidentifier() and not name.startswith("_") else snake(name)
    taken = keyword.iskeyword(plain) or plain in _TAKEN or plain.startswith("model_")
    return f"{plain}_" if taken else plain


def _quote(text: str) -> str:
    return json.dumps(text)
