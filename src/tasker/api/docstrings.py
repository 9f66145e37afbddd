"""Reads the docstrings of attributes, which the OpenAPI description shows.

They are read from the source only when the description is requested. Pydantic's
`use_attribute_docstrings` reads them whenever a class is created, which took a tenth of a server's
startup time.
"""

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Any, cast


@cache
def attribute_docstrings(kind: type) -> Mapping[str, str]:
    """Return the docstrings of a class's annotated attributes, inherited ones included."""
    documented: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] == "tasker":
            documented |= _own_attribute_docstrings(base)
    return documented


def add_field_descriptions(schema: dict[str, Any], kind: type) -> None:
    """Describe the fields of a class's JSON Schema: `json_schema_extra` of models."""
    documented = attribute_docstrings(kind)
    for name, field in schema["properties"].items():
        if name in documented:  # a later release may have replaced the source since the start
            field.setdefault("description", documented[name])


def _own_attribute_docstrings(kind: type) -> Mapping[str, str]:
    try:
        source = inspect.getsource(kind)
    except OSError:
        return {}  # installed without sources
    (definition,) = ast.parse(dedent(source)).body
    documented = {}
    for attribute, following in pairwise(cast("ast.ClassDef", definition).body):
        match attribute, following:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                documented[name] = inspect.cleandoc(text)
    return documented
