"""The title and the attributes of a task, from its template and its context. Pure."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from tasker.codec import UNSTORABLE
from tasker.errors import InvalidInput, TooLarge
from tasker.model import Json, Template
from tasker.template.parts import LONGEST_TITLE, PLACEHOLDER

LONGEST_ATTRIBUTE = 1_000  #: bytes: the limit of an index

_CONTROLS = re.compile("[\0-\x1f\x7f\ud800-\udfff]+")


def title_of(template: Template, context: Json) -> str | None:
    """Return the title of a task, cut to 200 characters; None if it has none."""
    if not template.title:
        return None

    def shown(placeholder: re.Match[str]) -> str:
        value = _find_input(context, placeholder[1])
        if value is None:
            return ""
        return value if isinstance(value, str) else orjson.dumps(value).decode()

    title = _CONTROLS.sub(" ", PLACEHOLDER.sub(shown, template.title)).strip()
    return title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…"


def attributes_of(template: Template, context: Json) -> Mapping[str, str]:
    """Return the searchable attributes of a task, without absent, null or empty inputs.

    Raises:
        InvalidInput: An input is an object or a list, or has characters that no store can keep.
        TooLarge: A value has more than `LONGEST_ATTRIBUTE` bytes.
    """
    attributes = {}
    for name, path in template.attributes.items():
        value = _find_input(context, path)
        if value is None or value == "":
            continue
        attributes[name] = text = _search_text(value, name, path)
        if UNSTORABLE.search(text):
            raise _attribute_error(name, path, "contains a NUL character or an unpaired surrogate")
        if (size := len(text.encode())) > LONGEST_ATTRIBUTE:
            raise TooLarge(f"the attribute {name!r}", size, LONGEST_ATTRIBUTE)
    return attributes


def _search_text(value: Any, name: str, path: str) -> str:
    """Return a value as text for search: numbers and booleans as in JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, dict | list):
        kind = "an object" if isinstance(value, dict) else "a list"
        raise _attribute_error(name, path, f"is {kind}, not a string, number or boolean")
    return orjson.dumps(value).decode()


def _find_input(context: Json, path: str) -> Any:
    """Return the input of a path `input.a.b`, or None if it is absent."""
    value: Any = context
    for name in path.split(".")[1:]:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _attribute_error(name: str, path: str, message: str) -> InvalidInput:
    return InvalidInput(
        f"the attribute {name!r}: {path} {message}", path="$" + path.removeprefix("input")
    )
