"""JSON text and task ids."""

import json
import math
import threading
from collections import namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tasker import codec
from tasker.errors import InvalidInput, TooLarge
from tasker.model import TaskId

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=30
)


class Colour(StrEnum):
    RED = "red"


class Odd(Enum):
    NAN = math.nan
    NUL = "\0"
    LIST = (1, 2)


class Model(BaseModel):
    n: float = 1
    inner: dict[str, Any] = {}


@dataclass
class Data:
    x: Any = None
    inner: list[Any] = field(default_factory=list)


Pair = namedtuple("Pair", "a b")


@given(JSON)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    """
    Every value, to the type and the last bit.
    """
    text = codec.dumps(value, limit=1 << 30)

    assert value == codec.loads(text)
    assert json.loads(text) == codec.loads(text)
    assert codec.dumps(codec.loads(text), limit=1 << 30) == text


@given(JSON)
def test_json_from_other_encoders_is_read(value: Any) -> None:
    """
    With any spaces and escapes that JSON allows.
    """
    assert value == codec.parse_untrusted(json.dumps(value, indent=2))
    assert value == codec.parse_untrusted(json.dumps(value, ensure_ascii=False).encode())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), '"2030-01-02T03:04:05+00:00"'),
        (date(2030, 1, 2), '"2030-01-02"'),
        (UUID(int=7), '"00000000-0000-0000-0000-000000000007"'),
        (Colour.RED, '"red"'),
        (Odd.LIST, "[1,2]"),
        (Decimal("12.50"), '"12.50"'),
        (Path("a/b"), '"a/b"'),
        (Pair(1, [2]), "[1,[2]]"),
        ({3, 1, 2}, "[1,2,3]"),
        (frozenset("ba"), '["a","b"]'),
        (Model(n=2), '{"n":2.0,"inner":{}}'),
        (Data(1, [Data(2)]), '{"x":1,"inner":[{"x":2,"inner":[]}]}'),
        ({1: "a", None: "b", Colour.RED: "c"}, '{"1":"a","null":"b","red":"c"}'),
    ],
)
def test_results_of_handlers_are_converted_to_json(value: object, text: str) -> None:
    """
    Beyond JSON's own types.
    """
    assert text == codec.dumps(value)


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        (math.nan, "$", "nan is not a valid JSON number"),
        ({"a": [1, math.inf]}, "$.a[1]", "inf is not a valid JSON number"),
        ({"a": {"b": "x\0y"}}, "$.a.b", "NUL"),
        ({"a": {"x\0y": 1}}, "$.a", "of a key, it contains a NUL"),
        ({"a": ["\ud800"]}, "$.a[0]", "an unpaired surrogate"),
        ({"a": {"\udfff": 1}}, "$.a", "of a key, it contains an unpaired surrogate"),
        ({"a": {(1, 2): 3}}, "$.a", "a key of type tuple cannot be"),
        ({"a": {1: 2, "1": 3}}, "$.a", "the keys 1 and '1' are both '1' in JSON"),
        ([{None: 3, "null": 4}], "$[0]", "the keys None and 'null' are both 'null' in JSON"),
        ({True: 1, "true": 2}, "$", "the keys True and 'true' are both 'true' in JSON"),
        ({"a": [{"$tasker": 1}]}, "$.a[0]", "an object whose only key is $tasker is reserved"),
        ({"a": {math.nan: 3}}, "$.a", "nan"),
        ([0, {"lock": threading.Lock()}], "$[1].lock", "type lock cannot be represented as JSON"),
        ({"f": print}, "$.f", "type builtin_function_or_method cannot be represented as JSON"),
        ({"n": 2**64}, "$.n", "64-bit"),
        ({"c": 1j}, "$.c", "type complex cannot be represented as JSON"),
        ({"b": b"bytes"}, "$.b", "type bytes cannot be represented as JSON"),
        ({"d": timedelta(1)}, "$.d", "type timedelta cannot be represented as JSON"),
        ({"d": Data(x=[math.nan])}, "$.d.x[0]", "nan is not a valid JSON number"),
        ({"d": Data(x=Data(object()))}, "$.d.x.x", "type object cannot be represented as JSON"),
        ({"m": Model(n=math.nan)}, "$.m.n", "nan is not a valid JSON number"),
        ({"s": {math.inf}}, "$.s[0]", "inf is not a valid JSON number"),
        ({"p": Pair(1, math.nan)}, "$.p[1]", "nan is not a valid JSON number"),
        ({"e": Odd.NAN}, "$.e", "nan is not a valid JSON number"),
        ({"e": Odd.NUL}, "$.e", "NUL"),
    ],
)
def test_a_value_that_is_not_json_is_reported_with_its_path(
    value: object, path: str, message: str
) -> None:
    """The first invalid part, at any depth."""
    with pytest.raises(InvalidInput) as refusal:
        codec.dumps(value, what="the result")

    assert path == refusal.value.path
    assert f"the result is not valid JSON at {path}: " in str(refusal.value)
    assert message in str(refusal.value)


def test_the_reserved_key_is_allowed_beside_other_keys() -> None:
    assert '{"$tasker":1,"b":2}' == codec.dumps({"$tasker": 1, "b": 2})


def test_null_is_encoded_as_null() -> None:
    """Texts that look like null or an escape are kept."""
    for value in (None, {"a": None}, "null", "\\u0000", {"null": "\\\\u0000"}, [float("1e308")]):
        assert value == codec.loads(codec.dumps(value))


def test_a_recursive_value_is_reported() -> None:
    """The error has the beginning of the path."""
    value: dict[str, Any] = {}
    value["me"] = [value]

    with pytest.raises(InvalidInput, match="contains itself") as refusal:
        codec.dumps(value)

    assert refusal.value.path.startswith("$.me[0].me[0]")
    assert len(str(refusal.value)) < 400


def test_the_depth_of_values_is_bounded() -> None:
    """
    Two hundred levels are fine, a thousand are not.
    """
    assert codec.dumps(codec.loads("[" * 200 + "]" * 200))
    with pytest.raises(InvalidInput):
        codec.dumps(codec.loads("[" * 1000 + "]" * 1000))


def test_a_value_that_is_too_large_is_refused_and_not_truncated() -> None:
    """The error has the name, size and limit of the value, in bytes."""
    assert codec.dumps("x" * 98, limit=100)
    with pytest.raises(TooLarge, match=r"^the context is 101 bytes; the limit is 100$") as refusal:
        codec.dumps("x" * 99, what="the context", limit=100)
    assert (101, 100) == (refusal.value.size, refusal.value.limit)
    with pytest.raises(TooLarge):
        codec.dumps("ü" * 50, limit=100)
    with pytest.raises(TooLarge):
        codec.parse_untrusted('"' + "ü" * 50 + '"', limit=100)


@pytest.mark.parametrize(
    "text", ["", "{", '{"a":1,}', "NaN", "'a'", '"\ud800"', '{"a": 01}', b"\xff"]
)
def test_invalid_json_is_reported_with_its_position(text: str | bytes) -> None:
    """
    Line and column.
    """
    with pytest.raises(InvalidInput, match=r"the context is not valid JSON: .*line 1, column \d+"):
        codec.parse_untrusted(text, what="the context")


def test_task_ids_are_uuids_that_sort_by_time() -> None:
    """
    Version 7 of RFC 9562.
    """
    ids = [codec.new_task_id() for _ in range(1000)]

    assert 1000 == len(set(ids))
    for task_id in ids:
        parsed = UUID(task_id)
        assert (7, "specified in RFC 4122", task_id) == (
            parsed.version,
            parsed.variant,
            str(parsed),
        )
    instants = [codec.task_id_time(task_id) for task_id in ids]
    assert instants == sorted(instants)
    assert abs(datetime.now(UTC) - instants[-1]) < timedelta(minutes=1)


@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC)))
def test_the_lowest_task_id_of_an_instant_contains_its_time(instant: datetime) -> None:
    """To the millisecond; no id of that millisecond is lower."""
    first = codec.lowest_task_id_at(instant)

    assert abs(instant - codec.task_id_time(first)) <= timedelta(milliseconds=1)
    assert first <= TaskId(first[:14] + "7fff-bfff-ffffffffffff")
