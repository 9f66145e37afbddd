"""Responses that are not dataclasses of the model."""

from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ConfigDict, with_config

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

D = TypeVar("D", bound="DataclassInstance")

documented = with_config(ConfigDict(use_attribute_docstrings=True))
"""Adds the docstrings of a view's attributes to the OpenAPI description."""


def convert_to_view(value: "DataclassInstance", kind: type[D], **more: Any) -> D:
    """Return a view with the fields of a value of a base or derived class, and `more` fields.

    Its constructor is not called, because that would take most of the time of a small response.
    """
    view = object.__new__(kind)
    if issubclass(kind, type(value)):
        vars(view).update(vars(value), **more)
    else:
        known = {**vars(value), **more}
        vars(view).update({name: known[name] for name in _field_names(kind)})
    return view


@cache
def _field_names(kind: "type[DataclassInstance]") -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
