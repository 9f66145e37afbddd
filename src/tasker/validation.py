"""Describes values that pydantic rejected, in the words of Tasker's other errors."""

import re
from collections.abc import Mapping
from typing import Any

from tasker.plurals import format_count

_SENTENCES = {
    "missing": "is required",
    "union_tag_not_found": "is required",
    "none_required": "must be null",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}",
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_too_short": "must have at least {characters}",
    "string_too_long": "must have at most {characters}",
    "string_pattern_mismatch": "must match {pattern}",
    "string_unicode": "must be valid Unicode text",
    "too_short": "must have at least {items}",
    "too_long": "must have at most {items}",
    "int_parsing_size": "must be an integer with at most 4,300 digits",
    "int_from_float": "must be an integer, without a fraction",
    "timezone_aware": "must have a time zone, such as 2030-01-31T12:00:00Z",
    "timezone_naive": "must have no time zone",
    "date_from_datetime_inexact": "must be a date without a time of day",
    "uuid_version": "must be a UUID of version {expected_version}",
    "url_scheme": "must be a URL that begins with {expected_schemes}",
    "is_instance_of": "must be of the type {class}",
    "is_subclass_of": "must be a subclass of {class}",
    "recursion_loop": "must not contain itself",
}
"""Messages by error type, with placeholders for the error's context."""

_KINDS = {
    "string": "a string",
    "int": "an integer",
    "float": "a number",
    "decimal": "a decimal number",
    "bool": "true or false",
    "bytes": "bytes",
    "dict": "an object",
    "mapping": "an object",
    "model": "an object",
    "model_attributes": "an object",
    "dataclass": "an object",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "iterable": "a list",
    "date": "a date such as 2030-01-31",
    "date_from_datetime": "a date such as 2030-01-31",
    "time": "a time such as 12:00:00",
    "datetime": "a date and time such as 2030-01-31T12:00:00Z",
    "datetime_from_date": "a date and time such as 2030-01-31T12:00:00Z",
    "time_delta": "a duration",
    "uuid": "a UUID",
    "url": "a URL",
    "path": "a path",
    "json": "JSON text",
}
"""Descriptions of valid values, by the first part of the error's type: `int` for `int_type` and
`int_parsing`."""


def describe_validation_error(error: Mapping[str, Any]) -> str:
    """Return what is wrong with a value, as a sentence without its subject: `must be a string`.

    Args:
        error: One of the errors of a `pydantic.ValidationError`, with its context.
    """
    kind: str = error["type"]
    context = error.get("ctx") or {}
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error") or "is invalid")
    if kind in _SENTENCES:
        return _SENTENCES[kind].format_map(_lengths_in_words(context))
    for ending in ("_type", "_parsing"):
        if (expected := _KINDS.get(kind.removesuffix(ending))) is not None:
            return f"must be {expected}"
    message = re.sub(r"^\w+ should (?=be|have|match|contain)", "must ", str(error["msg"]))
    return message[:1].lower() + message[1:]


def _lengths_in_words(context: Mapping[str, Any]) -> dict[str, object]:
    """Return the context of an error with its lengths as text: `1 character`, `3 items`."""
    words: dict[str, object] = dict(context)
    length = context.get("min_length", context.get("max_length"))
    if length is not None:
        words["characters"] = format_count("character", length)
        words["items"] = format_count("item", length)
    return words
