"""The title and the attributes of a task, from its template and its context."""

import re
from collections.abc import Mapping

from tasker.codec import UNSTORABLE
from tasker.errors import InvalidInput, TooLarge
from tasker.model import Json, Template
from tasker.template.expressions import compile_path, compile_text, value_to_text
from tasker.template.parts import LONGEST_TITLE

LONGEST_ATTRIBUTE = 1_000  #: bytes: the limit of an index

_CONTROLS = re.compile("[\0-\x1f\x7f\ud800-\udfff]+")


def render_task_title(template: Template, context: Json) -> str | None:
    """Return the title of a task, truncated to 200 characters; None if it has none."""
    if not template.title:
        return None

    rendered = compile_text(template.title).render({"input": context})
    title = _CONTROLS.sub(" ", rendered).strip()
    return title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…"


def compute_task_attributes(template: Template, context: Json) -> Mapping[str, str]:
    """Return the searchable attributes of a task, without absent, null or empty inputs.

    Raises:
        InvalidInput: An input is an object or a list, or has characters that no store can keep.
        TooLarge: A value has more than `LONGEST_ATTRIBUTE` bytes.
    """
    attributes = {}
    for name, path in template.attributes.items():
        value = compile_path(path).evaluate({"input": context})
        if value is None or value == "":
            continue
        attributes[name] = text = _to_search_text(value, name, path)
        if UNSTORABLE.search(text):
            raise _make_attribute_error(
                name, path, "contains a NUL character or an unpaired surrogate"
            )
        if (size := len(text.encode())) > LONGEST_ATTRIBUTE:
            raise TooLarge(f"the attribute {name!r}", size, LONGEST_ATTRIBUTE)
    return attributes


def _to_search_text(value: Json, name: str, path: str) -> str:
    """Return a value as text for search: numbers and booleans as in JSON."""
    if isinstance(value, Mapping | list | tuple):
        kind = "an object" if isinstance(value, Mapping) else "a list"
        raise _make_attribute_error(name, path, f"is {kind}, not a string, number or boolean")
    return value_to_text(value)


def _make_attribute_error(name: str, path: str, message: str) -> InvalidInput:
    return InvalidInput(
        f"the attribute {name!r}: {path} {message}", path="$" + path.removeprefix("input")
    )
