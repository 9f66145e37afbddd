"""When two schemas contradict each other."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from tasker.handlers.schemas import find_schema_contradiction, json_schema_of_type


class Item(BaseModel):
    sku: str
    count: int = 1


class Order(BaseModel):
    id: str
    items: list[Item]
    child: Optional["Order"] = None


@dataclass
class Receipt:
    number: int
    at: datetime


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("given", "annotation"),
    [
        ({}, int),
        ({"type": "string"}, Any),
        ({"type": "number"}, int),
        ({"type": "integer"}, float),
        ({"type": ["string", "null"]}, str),
        ({"type": "string", "format": "date-time"}, datetime),
        ({"type": "string"}, Decimal),
        ({"type": "number"}, Decimal),
        ({"enum": ["a", "b"]}, Literal["a", "c"]),
        ({"const": 1}, int),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, str),
        ({"type": "array"}, list[int]),
        ({"type": "array", "items": {"type": "integer"}}, list[float]),
        ({"type": "object"}, Order),
        (obj(id={"type": "string"}, items={"type": "array"}, more={}), Order),
        ({**obj(a={}), "additionalProperties": True}, Order),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}, str),
        ({"$ref": "elsewhere"}, str),
        ({"type": "object"}, dict[str, Any]),
        ({"type": "string"}, complex),
    ],
)
def test_types_that_overlap_are_accepted(given: dict[str, Any], annotation: Any) -> None:
    assert find_schema_contradiction(given, json_schema_of_type(annotation, "validation")) is None


@pytest.mark.parametrize(
    ("given", "annotation", "message"),
    [
        ({"type": "string"}, int, "$ is string, not integer"),
        ({"type": "string"}, int | None, "$ is string, not number or null"),
        ({"type": ["string", "null"]}, int, "$ is string or null, not integer"),
        ({"type": "boolean"}, str, "$ is boolean, not string"),
        ({"enum": ["a", 1]}, bool, "$ is number or string, not boolean"),
        ({"const": None}, dict[str, int], "$ is null, not object"),
        ({"type": "array", "items": {"type": "string"}}, list[int], "$[] is string, not integer"),
        (obj(id={"type": "string"}), Order, "$ has no 'items', which is required"),
        (
            obj(id={}, items={"type": "array", "items": obj(sku={"type": "integer"})}),
            Order,
            "$.items[].sku is integer, not string",
        ),
        ({**obj(number={"$ref": "#/$defs/n"}), "$defs": {"n": {"type": "string"}}}, Receipt, None),
    ],
)
def test_types_without_overlap_are_reported_with_their_path(
    given: dict[str, Any], annotation: Any, message: str | None
) -> None:
    difference = find_schema_contradiction(given, json_schema_of_type(annotation, "validation"))
    assert (message or "$ has no 'at', which is required") == difference


def test_recursive_schemas_are_compared_in_finite_time() -> None:
    schema = json_schema_of_type(Order, "validation")
    assert find_schema_contradiction(schema, schema) is None
    circle = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert find_schema_contradiction(circle, schema) is None


def test_a_type_without_a_schema_is_compatible_with_every_schema() -> None:
    class Odd: ...

    assert {} == json_schema_of_type(Odd, "serialization")
    assert {} == json_schema_of_type(complex | Odd, "validation")


@pytest.mark.parametrize(
    "annotation", [int, str | None, Order, Receipt, list[Item], dict[str, int]]
)
def test_the_schema_of_a_type_accepts_its_values(annotation: Any) -> None:
    made, taken = (
        json_schema_of_type(annotation, "serialization"),
        json_schema_of_type(annotation, "validation"),
    )
    assert find_schema_contradiction(made, taken) is None


kinds = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])


@given(
    st.recursive(
        st.just({}) | kinds.map(lambda kind: {"type": kind}),
        lambda inner: st.dictionaries(st.sampled_from("ab"), inner).map(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": list(properties),
            }
        ),
        max_leaves=4,
    )
)
def test_a_schema_is_compatible_with_itself(schema: dict[str, Any]) -> None:
    assert find_schema_contradiction(schema, schema) is None


def test_defaults_that_json_cannot_hold_raise_no_warning() -> None:
    class Model(BaseModel):
        when: Any = Field(default=object())

    assert "object" == json_schema_of_type(Model, "validation")["type"]
