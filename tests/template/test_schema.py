"""Contexts and results against their schemas."""

import asyncio
import copy
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from tests.template.problems import prepared

from tasker.errors import InvalidInput, Violation
from tasker.model import Json, JsonObject, JsonText, StepSpec, Template
from tasker.template.schema import fill_input_and_list_violations, find_result_violations

ORDER: JsonObject = {
    "type": "object",
    "required": ["customer", "lines"],
    "additionalProperties": False,
    "properties": {
        "customer": {
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "string"}, "tier": {"default": "free"}},
        },
        "lines": {
            "type": "array",
            "minItems": 1,
            "items": {"$ref": "#/$defs/line"},
        },
        "currency": {"enum": ["EUR", "USD"], "default": "EUR"},
        "delivery": {
            "type": "object",
            "properties": {"express": {"type": "boolean", "default": False}},
        },
        "options": {
            "type": "object",
            "default": {"gift": True},
            "properties": {"gift": {"default": False}, "note": {"default": ""}},
        },
        "coupon": {"anyOf": [{"type": "string", "maxLength": 8}, {"type": "null"}]},
    },
    "$defs": {
        "line": {
            "type": "object",
            "required": ["cents"],
            "properties": {
                "cents": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
                "count": {"type": "integer", "default": 1},
            },
        }
    },
}


def template(schema: JsonObject | None) -> Template:
    return Template(
        namespace="tests",
        name="order",
        version="1.0.0",
        steps=(StepSpec(name="only"),),
        input_schema=schema,
    )


def refusal(context: Json, schema: JsonObject = ORDER) -> InvalidInput:
    with pytest.raises(InvalidInput) as raised:
        prepared(template(schema), context)
    return raised.value


def test_defaults_fill_missing_properties() -> None:
    """In objects that are there, in lists of them, and in objects that are defaults."""
    context: JsonObject = {
        "customer": {"id": "c"},
        "lines": [{"cents": 5}, {"cents": 7, "count": 3}],
    }
    before = copy.deepcopy(context)

    assert prepared(template(ORDER), context) == {
        "customer": {"id": "c", "tier": "free"},
        "lines": [{"cents": 5, "count": 1}, {"cents": 7, "count": 3}],
        "currency": "EUR",
        "options": {"gift": True, "note": ""},
    }
    assert context == before


def test_defaults_do_not_create_missing_objects() -> None:
    """`delivery` has defaults inside, but none itself."""
    context: JsonObject = {"customer": {"id": "c"}, "lines": [{"cents": 5}]}

    assert "delivery" not in prepared(template(ORDER), context)
    assert prepared(template(ORDER), {**context, "delivery": {}})["delivery"] == {"express": False}


def test_defaults_are_copied() -> None:
    """Changes of a context do not affect other tasks."""
    schema: JsonObject = {"properties": {"tags": {"default": ["new"]}}}
    first: Any = prepared(template(schema), {})
    first["tags"].append("changed")

    assert prepared(template(schema), {}) == {"tags": ["new"]}


def test_a_default_must_match_the_schema() -> None:
    """It must fit the schema like any other value."""
    assert str(refusal({}, {"properties": {"a": {"type": "string", "default": 5}}})) == (
        '$.a: 5 is not of type "string"'
    )


def test_without_a_schema_any_object_is_valid() -> None:
    """Other values are refused."""
    assert prepared(template(None), {"any": ["thing"]}) == {"any": ["thing"]}
    others: list[tuple[Json, str]] = [
        (None, "null"),
        ([], "a list"),
        ("text", "a string"),
        (5, "a number"),
        (True, "a boolean"),
    ]
    for context, kind in others:
        with pytest.raises(InvalidInput) as raised:
            prepared(template(None), context)
        assert str(raised.value) == f"a task's context must be an object, found {kind}"


@pytest.mark.parametrize(
    ("changed", "path", "message"),
    [
        ({"lines": []}, "$.lines", "[] has less than 1 item"),
        ({"lines": [{"cents": 0}]}, "$.lines[0].cents", "0 is less than the minimum of 1"),
        ({"lines": [{"cents": 5}, {}]}, "$.lines[1].cents", "is required"),
        ({"customer": {}}, "$.customer.id", "is required"),
        ({"customer": {"id": 5}}, "$.customer.id", '5 is not of type "string"'),
        ({"currency": "GBP"}, "$.currency", '"GBP" is not one of "EUR" or "USD"'),
        (
            {"curency": "EUR"},
            "$",
            "'curency' is not allowed; did you mean 'currency'? Allowed: customer, lines,"
            " currency, delivery, options, coupon",
        ),
        (
            {"coupon": 5},
            "$.coupon",
            'matches none of the alternatives: 5 is not of type "string"; 5 is not of type "null"',
        ),
    ],
)
def test_violations_have_a_path_and_the_allowed_values(
    changed: dict[str, Json], path: str, message: str
) -> None:
    """The path is a JSON path."""
    error = refusal({"customer": {"id": "c"}, "lines": [{"cents": 5}], **changed})

    assert error.path == path
    assert str(error) == f"{path}: {message}"


def test_all_violations_are_reported_up_to_ten() -> None:
    """The path is that of the first."""
    error = refusal({})
    many = refusal({"lines": [{}] * 20, "customer": {"id": "c"}})

    assert str(error) == "$.customer: is required; $.lines: is required"
    assert error.path == "$.customer"
    assert str(many).count("is required") == 10


def test_keys_that_are_not_identifiers_are_quoted_in_paths() -> None:
    """Paths are then unambiguous."""
    schema: JsonObject = {"properties": {"a b": {"properties": {"c.d": {"type": "string"}}}}}

    assert refusal({"a b": {"c.d": 5}}, schema).path == "$['a b']['c.d']"


def test_long_values_are_shortened_in_messages() -> None:
    """An error is for people, and may be logged."""
    error = refusal({"a": "x" * 100_000}, {"properties": {"a": {"type": "integer"}}})

    assert len(str(error)) < 400


def test_a_check_returns_violations_without_raising() -> None:
    """A setting may say that violations are only warned of."""
    schema: JsonObject = {"required": ["b"], "properties": {"a": {"default": 1}}}
    filled, violations = asyncio.run(fill_input_and_list_violations(template(schema), {}))

    assert filled == {"a": 1}
    assert violations == [Violation("$.b", "is required")]


def test_violations_of_results_are_returned() -> None:
    """Results may be of any type."""
    step = StepSpec(name="b", result_schema={"type": "array", "items": {"type": "integer"}})

    assert find_result_violations("t.t@1.0.0", step, JsonText("[1, 2]")) == []
    assert find_result_violations("t.t@1.0.0", step, JsonText('[1, "x", null]')) == [
        '$[1]: "x" is not of type "integer"',
        '$[2]: null is not of type "integer"',
    ]
    assert find_result_violations("t.t@1.0.0", StepSpec(name="b"), JsonText("never read")) == []


@dataclass
class Line:
    cents: int
    on: date


def test_a_context_is_checked_in_its_stored_form() -> None:
    """What Python writes as JSON is JSON."""
    schema: JsonObject = {
        "properties": {"line": {"properties": {"on": {"type": "string"}, "n": {"default": 1}}}}
    }
    context: Any = {"line": Line(5, date(2024, 5, 1))}

    assert prepared(template(schema), context) == {"line": {"cents": 5, "on": "2024-05-01", "n": 1}}


@pytest.mark.parametrize(
    ("value", "path"),
    [(object(), "$.a"), (float("nan"), "$.a"), ("a\0b", "$.a"), ([1, {"b": object()}], "$.a[1].b")],
)
def test_a_value_that_is_not_json_is_reported_with_its_path(value: Any, path: str) -> None:
    """It is reported as an error of the input."""
    with pytest.raises(InvalidInput) as raised:
        prepared(template({}), {"a": value})

    assert raised.value.path == path


def test_values_nested_too_deeply_are_refused() -> None:
    deep: Json = "end"
    for _ in range(200_000):
        deep = {"a": deep}

    assert "nested too deeply" in str(refusal(deep, {"properties": {"a": {"$ref": "#"}}}))


def test_formats_are_not_checked() -> None:
    """JSON Schema defines it so, unless the draft of the schema differs."""
    schema: JsonObject = {"properties": {"at": {"type": "string", "format": "date-time"}}}

    assert prepared(template(schema), {"at": "soon"}) == {"at": "soon"}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "#", "default": {}}}},
        {
            "properties": {
                "a": {
                    "$ref": "#",
                    "default": {"a": {}},
                    "properties": {"a": {"$ref": "#", "default": {}}},
                }
            }
        },
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a", "default": {}}}},
        {"allOf": [{"$ref": "#"}], "properties": {"a": {"default": 1}}},
    ],
)
def test_recursive_schemas_are_checked_in_finite_time(schema: JsonObject) -> None:
    """A default is not filled in circles."""
    prepared(template(schema), {})


def test_defaults_cannot_grow_without_bound() -> None:
    """Each level doubles the last."""
    levels: dict[str, Json] = {
        f"l{no}": {
            "properties": {
                side: {"$ref": f"#/$defs/l{no + 1}", "default": {}} for side in ("left", "right")
            }
        }
        for no in range(40)
    }
    schema: JsonObject = {"$ref": "#/$defs/l0", "$defs": {**levels, "l40": {}}}
    large: JsonObject = {
        "properties": {"rows": {"items": {"properties": {"a": {"default": "x" * 100_000}}}}}
    }
    assert "too much" in str(refusal({}, schema))
    assert "bytes" in str(refusal({"rows": [{} for _ in range(1000)]}, large))


def test_patterns_cannot_hang() -> None:
    """A pattern that backtracks for too long is stopped."""
    schema: JsonObject = {"properties": {"a": {"pattern": "^(?=a)(a+)+$"}}}
    refusal({"a": "a" * 5000 + "b"}, schema)
