"""JSON text and task ids, in the forms that stores receive."""

import math
import os
import re
import time
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any

import orjson

from tasker.errors import InvalidInput, TooLarge
from tasker.model import Json, JsonText, TaskId

DEFAULT_LIMIT = 1 << 20  #: bytes, of a context, a result, a checkpoint

RESERVED = "$tasker"  #: reserved as the only key of an object, for future encodings

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""Characters that databases reject: NUL and unpaired surrogates."""

_RESERVED_TEXT = b'{"$tasker":'
_DEEPEST = 244
_ROOM = 8
"""Number of nesting levels that responses, events and lists may add around a value."""

_SHALLOW = 2 * _DEEPEST
"""Size in bytes. A smaller value cannot be nested too deeply, because each level takes two bytes.
"""

_SURROGATE = re.compile("[\ud800-\udfff]")
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_DATACLASS
_ANY_KEYS = _OPTIONS | orjson.OPT_NON_STR_KEYS


def _to_jsonable(value: object) -> object:
    dump = getattr(value, "model_dump", None)  # a pydantic model
    if callable(dump):
        return dump(mode="json")
    if isinstance(value, tuple):  # a named tuple
        return list(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(value, name) for name in fields}
    if isinstance(value, Decimal | PurePath):
        return str(value)
    raise TypeError(type(value).__name__)


def dumps(value: object, *, what: str = "value", limit: int = DEFAULT_LIMIT) -> JsonText:
    """Return `value` as JSON text.

    Besides JSON's own types, it accepts datetimes, dates, UUIDs, enums, dataclasses, named tuples,
    sets, Decimals and paths (as strings), and pydantic models.

    Args:
        value: The value.
        what: The name of the value in errors.
        limit: Maximum size of the text in bytes.

    Raises:
        InvalidInput: A part of the value is reserved or has no JSON form; `path` locates it.
        TooLarge: The text exceeds `limit`.
    """
    checked = True
    try:
        text = orjson.dumps(value, _to_jsonable, _OPTIONS)
        if len(text) > _SHALLOW and text.count(b"[") + text.count(b"{") > _DEEPEST:
            _dump_within_depth(value, _OPTIONS)
    except (TypeError, RecursionError):  # perhaps only because a key is not a string
        checked = False
        try:
            text = _dump_within_depth(value, _ANY_KEYS)
        except (TypeError, RecursionError) as error:
            path, fault = _find_invalid_part(value)
            raise InvalidInput(
                f"{what} is not valid JSON at {path}: {fault or error}", path=path
            ) from None
    if len(text) > limit:
        raise TooLarge(what, len(text), limit)
    if not checked or b"null" in text or b"\\u0000" in text or _RESERVED_TEXT in text:  # rarely
        path, fault = _find_invalid_part(value)
        if fault:
            raise InvalidInput(f"{what} is not valid JSON at {path}: {fault}", path=path)
    return JsonText(text.decode())


def _dump_within_depth(value: object, options: int) -> bytes:
    """Return a value's text; raise TypeError if it is nested so deeply that responses could not
    contain it."""
    return orjson.dumps([[[[[[[[value]]]]]]]], _to_jsonable, options)[_ROOM:-_ROOM]


def loads(text: str | bytes) -> Any:
    """Parse JSON text that a store or `dumps` wrote."""
    return orjson.loads(text)


def parse_untrusted(text: str | bytes, *, what: str = "value", limit: int = DEFAULT_LIMIT) -> Json:
    """Parse untrusted JSON text.

    Raises:
        InvalidInput: The text is not JSON; the message gives line and column.
        TooLarge: The text exceeds `limit` bytes.
    """
    size = len(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
    if size > limit:
        raise TooLarge(what, size, limit)
    try:
        value: Json = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(
            f"{what} is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    return value


def _find_invalid_part(value: object, path: str = "$", depth: int = 0) -> tuple[str, str]:
    """Return the first part of `value` that has no JSON form, as (path, description)."""
    if depth > _DEEPEST:
        return f"{path[:100]}...", "it is nested too deeply or contains itself"
    if isinstance(value, str | float):
        return path, _describe_invalid_scalar(value)
    if isinstance(value, dict):
        if list(value) == [RESERVED]:
            return path, f"an object whose only key is {RESERVED} is reserved"
        if fault := _describe_invalid_keys(value):
            return path, fault
        for key, item in value.items():
            culprit = _find_invalid_part(item, f"{path}.{key}", depth + 1)
            if culprit[1]:
                return culprit
        return path, ""
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            culprit = _find_invalid_part(item, f"{path}[{index}]", depth + 1)
            if culprit[1]:
                return culprit
        return path, ""
    return _find_invalid_part_after_conversion(value, path, depth)


def _find_invalid_part_after_conversion(value: object, path: str, depth: int) -> tuple[str, str]:
    """Like `_find_invalid_part`, for a value that JSON text contains in another form: a model, a
    set, an enum."""
    if isinstance(value, Enum):
        return _find_invalid_part(value.value, path, depth + 1)
    if callable(listed := getattr(value, "tolist", None)):  # numpy's
        return _find_invalid_part(listed(), path, depth + 1)
    try:
        made = _to_jsonable(value)
    except TypeError:
        return path, _describe_invalid_leaf(value)
    return _find_invalid_part(made, path, depth + 1)


def _describe_invalid_scalar(value: str | float) -> str:
    """Return the reason why a text or number cannot be stored, or "" if it can."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"{value} is not a valid JSON number"
    if "\0" in value:
        return "it contains a NUL character"
    return "it contains an unpaired surrogate" if _SURROGATE.search(value) else ""


def _describe_invalid_keys(value: dict[object, object]) -> str:
    """Return the problem of a key that JSON does not allow or that occurs twice, or "" if all are
    valid.
    """
    if fault := next(filter(None, map(_describe_invalid_key, value)), ""):
        return fault
    written: dict[str, object] = {}
    for key in value:
        [text] = orjson.loads(orjson.dumps({key: 0}, None, _ANY_KEYS))
        if text in written:
            return f"the keys {written[text]!r} and {key!r} are both {text!r} in JSON"
        written[text] = key
    return ""


def _describe_invalid_key(key: object) -> str:
    if isinstance(key, str | float):
        fault = _describe_invalid_scalar(key)
        return f"of a key, {fault}" if fault else ""
    if _describe_invalid_leaf({key: 0}):
        return f"a key of type {type(key).__name__} cannot be represented as JSON"
    return ""


def _describe_invalid_leaf(value: object) -> str:
    """Return the reason why a leaf cannot be written, or "" if it can."""
    try:
        orjson.dumps(value, _to_jsonable, _ANY_KEYS)
    except (TypeError, RecursionError) as error:
        if isinstance(value, int):
            return f"int: {error}"
        return f"type {type(value).__name__} cannot be represented as JSON"
    return ""


def new_task_id() -> TaskId:
    """Create a UUID version 7 (RFC 9562): 48 bits of milliseconds, 12 of their fraction, 62 random.

    The fraction makes ids created by one process sort by creation time.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = (nanoseconds << 12) // 1_000_000
    return _make_task_id(milliseconds, fraction << 64 | int.from_bytes(os.urandom(8)))


def lowest_task_id_at(since: datetime) -> TaskId:
    """Return the lowest id that `new_task_id` can create at a given time."""
    return _make_task_id(max(int(since.timestamp() * 1000), 0), 0)


def task_id_time(task_id: TaskId) -> datetime:
    """Return the time at which an id was created, to the millisecond."""
    return datetime.fromtimestamp(task_id_timestamp(task_id), UTC)


def task_id_timestamp(task_id: TaskId) -> float:
    """Return the creation time of an id in seconds since 1970."""
    return int(task_id[:8] + task_id[9:13], 16) / 1000


def _make_task_id(milliseconds: int, random: int) -> TaskId:
    number = milliseconds << 80 | random
    number = number & ~(0xF << 76) | 7 << 76
    number = number & ~(0b11 << 62) | 0b10 << 62
    text = f"{number:032x}"
    return TaskId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")


def dump_rows(value: object) -> JsonText:
    """Return rows of plain values as JSON text for statements, without checks."""
    return JsonText(orjson.dumps(value, tuple).decode())
