"""Reads the fields of requests. Unknown fields are ignored, invalid ones are rejected."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from tasker.codec import UNSTORABLE
from tasker.remote.errors import InvalidRequest

JsonBody = Mapping[str, Any]
NAME = 255  #: characters of names


def read_text(body: JsonBody, field: str, default: str | None = None, *, most: int = NAME) -> str:
    """Return a string of up to `most` characters. Raises InvalidRequest."""
    value = body.get(field, default)
    if not isinstance(value, str) or not (value or default == "") or len(value) > most:
        raise _invalid_field_error(field, f"must be a string of 1 to {most:,} characters")
    if UNSTORABLE.search(value):
        raise _invalid_field_error(field, "contains a NUL character or an unpaired surrogate")
    return value


def read_texts(body: JsonBody, field: str, *, most: int = 1_000) -> tuple[str, ...]:
    """Return a list of strings; empty if it is absent. Raises InvalidRequest."""
    values = read_list(body, field, str, most=most)
    if any(not 0 < len(value) <= NAME or UNSTORABLE.search(value) for value in values):
        raise _invalid_field_error(field, f"must contain strings of 1 to {NAME} characters")
    return tuple(values)


def read_list(body: JsonBody, field: str, kind: type, *, most: int) -> Sequence[Any]:
    """Return a list of values of a kind; empty if it is absent. Raises InvalidRequest."""
    values = body.get(field, ())
    if not isinstance(values, list | tuple) or len(values) > most:
        raise _invalid_field_error(field, f"must be a list of at most {most:,} items")
    for value in values:
        if not isinstance(value, kind):
            raise _invalid_field_error(field, f"must contain only values of type {_KINDS[kind]}")
    return values


def read_integer(
    body: JsonBody, field: str, least: int, most: int, default: int | None = None
) -> int:
    """Return an integer within bounds. Raises InvalidRequest."""
    value = body.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _invalid_field_error(field, f"must be an integer from {least:,} to {most:,}")
    return value


def read_seconds(body: JsonBody, field: str, most: float, default: float | None = None) -> float:
    """Return a number of seconds up to `most`. Raises InvalidRequest."""
    value = body.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise _invalid_field_error(field, f"must be a number of seconds from 0 to {most:,.0f}")
    return float(value)


def read_number(body: JsonBody, field: str, least: float, most: float) -> float:
    """Return a number within bounds. Raises InvalidRequest."""
    value = body.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise _invalid_field_error(field, f"must be a number from {least:g} to {most:g}")
    return float(value)


def read_instant(body: JsonBody, field: str) -> datetime:
    """Return a time with a time zone. Raises InvalidRequest."""
    try:
        read = datetime.fromisoformat(read_text(body, field))
        year = read.astimezone(UTC).year
    except (ValueError, OverflowError):
        read, year = None, 0
    if read is None or read.tzinfo is None or not 1970 <= year <= 9000:
        raise _invalid_field_error(
            field, "must be a time with a time zone, such as 2030-01-31T12:00:00Z"
        )
    return read


def read_object(body: JsonBody, field: str) -> JsonBody:
    """Return an object; empty if it is absent. Raises InvalidRequest."""
    value = body.get(field, {})
    if not isinstance(value, dict):
        raise _invalid_field_error(field, "must be an object")
    return value


def json_fragment(text: str) -> orjson.Fragment:
    """Return stored JSON text as a value of a response, without parsing it."""
    return orjson.Fragment(text)


def _invalid_field_error(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {message}", path=f"$.{field}")


_KINDS: dict[type, str] = {str: "text", dict: "object"}
