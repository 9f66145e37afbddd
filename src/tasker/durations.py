"""Durations: a number of seconds, a timedelta, or text such as `"1h30m"`."""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeAlias

Duration: TypeAlias = timedelta | float | str
"""A number of seconds (`30`, `0.5`), a timedelta, or a string such as `"500ms"`, `"90s"`, `"5m"`,
`"1h30m"` or `"2d"`."""

TEXT_EXAMPLES = 'text such as "500ms", "90s", "5m", "1h30m" or "2d"'
EXAMPLES = f"a number of seconds, or {TEXT_EXAMPLES}"

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)", re.ASCII)
_TEXT = re.compile(rf"{_PART.pattern}(\s*{_PART.pattern})*", re.ASCII)
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)


def parse_duration(value: object) -> timedelta:
    """Return `value` as a timedelta.

    Args:
        value: A timedelta, a number of seconds (also as text), or text of numbers with the units
            ms, s, m (or min), h, d and w, in upper or lower case, each at most once.

    Raises:
        ValueError: `value` is not a duration, is negative, or exceeds the maximum of a timedelta.
            The message says what is allowed.
    """
    if isinstance(value, timedelta):
        length = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        length = _to_timedelta(value)
    elif isinstance(value, str) and (seconds := _parse_seconds(value.strip().lower())) is not None:
        length = _to_timedelta(seconds)
    else:
        raise ValueError(f"must be {EXAMPLES}, not {_quote_value(value)}")
    if length < timedelta(0):
        raise ValueError(f"must not be negative, but is {_quote_value(value)}")
    return length


def format_duration(length: timedelta) -> str:
    """Return a duration as text that `parse_duration` reads back: `1h30m`, `500ms`, `0s`."""
    milliseconds = round(length / timedelta(milliseconds=1))
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def human_duration(span: timedelta | float | None) -> str:
    """Return a duration for people: `41 ms`, `30 s`, `3.2 s`, `2 min 5 s`, `3 h 12 min`, `4 d 1 h`.

    Smaller units are omitted. For a value that a user may copy, use `format_duration`.
    """
    if span is None:
        return ""
    seconds = max(float(span.total_seconds() if isinstance(span, timedelta) else span), 0.0)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        rounded = f"{seconds:.1f}".removesuffix(".0")
        return f"{rounded} s"
    whole = round(seconds)
    for size, unit, smaller, name in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"


def parse_retry_after(
    value: object, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> timedelta | None:
    """Return the delay in a `Retry-After` header or requested by a handler; None for None.

    Args:
        value: Seconds as a number or as text, a timedelta, a duration such as `"5m"`, or an
            HTTP date. A past date or a negative number means no delay.
        now: The current time, with which an HTTP date is compared.

    Raises:
        ValueError: `value` has none of these forms.
    """
    if value is None:
        return None
    if isinstance(value, timedelta):
        return max(value, timedelta(0))
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return timedelta(0)
    try:
        return parse_duration(value)
    except ValueError:
        if not isinstance(value, str):
            raise _invalid_delay_error(value) from None
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        raise _invalid_delay_error(value) from None
    if until.tzinfo is None:  # "-0000": UTC, by RFC 5322
        until = until.replace(tzinfo=UTC)
    return max(until - now(), timedelta(0))


def _parse_seconds(text: str) -> float | None:
    """Return the seconds in a text such as `5m`, or None if it is not a duration."""
    if _NUMBER.fullmatch(text):
        return float(text)
    if not _TEXT.fullmatch(text):
        return None
    parts = _PART.findall(text)
    units = [_UNITS[unit] for _, unit in parts]
    if len(set(units)) < len(units):
        return None
    return math.fsum(float(number) * _UNITS[unit] for number, unit in parts)


def _to_timedelta(seconds: float) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except (OverflowError, ValueError):  # too large, infinite, not a number
        raise ValueError(f"must be {EXAMPLES}, not {seconds}") from None


def _invalid_delay_error(value: object) -> ValueError:
    return ValueError(
        "retry_after must be a number of seconds, a timedelta or an HTTP date, not"
        f" {_quote_value(value)}"
    )


def _quote_value(value: object) -> str:
    return str(value) if isinstance(value, timedelta) else f"{value!r:.100}"
