"""The expression language: its values, its errors, its bounds, its types."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker import Workflow, limits
from tasker.errors import InvalidExpression, InvalidInput
from tasker.model import Json
from tasker.template.expression_types import (
    find_condition_type_errors,
    find_expression_type_errors,
    find_invalid_placeholder_paths,
)
from tasker.template.expressions import compile_expression, compile_path, compile_text

NAMES: Mapping[str, Json] = {
    "input": {
        "amount": 5_000,
        "region": "EU",
        "vip": True,
        "tags": ["new", "big"],
        "lines": [{"sku": "mug"}, {"sku": "cup"}],
        "coupon": None,
        "odd key": 1,
    },
    "results": {"list-files": {"files": ["a", "b"]}, "route": None},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("input.amount > 4999.5", True),
        ("input.amount >= 5000 and input.region != 'EU'", False),
        ("input.amount < 1 or input.vip", True),
        ("not input.vip", False),
        ("not input.coupon", True),
        ("not input.amount == 5000", False),
        ("true or input.amount", True),
        ("input.region in ['EU', \"US\"]", True),
        ("input.region not in ['EU']", False),
        ("'new' in input.tags", True),
        ("'vip' in input", True),
        ("'E' in input.region", True),
        ("input.lines[1].sku", "cup"),
        ("input.lines[-1].sku", "cup"),
        ("input.lines[2].sku", None),
        ('input["odd key"]', 1),
        ("results.list-files.files", ["a", "b"]),
        ("results.route.region", None),
        ("results.route.region == null", True),
        ("input.vip == 1", False),
        ("[1, true] == [true, 1]", False),
        ("1 == 1.0", True),
        ("'it\\'s\\n' == \"it's\\n\"", True),
        ("'\\u' == 'u'", True),
        ("[]", []),
        ("-1.5e1", -15.0),
        ("'b' > 'a'", True),
        ("(true or false) and false", False),
        ("true or false and false", True),
        ("None == null and True and not False", True),
    ],
)
def test_an_expression_has_a_value(text: str, value: Json) -> None:
    assert compile_expression(text).evaluate(NAMES) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it ends too early; expected a value"),
        ("input.amount >", "it ends too early; expected a value"),
        ("input.amount = 3", "'=' at character 14: write =="),
        ("a && b", "'&' at character 3: write 'and'"),
        ("a || b", "'|' at character 3: write 'or'"),
        ("!a", "'!' at character 1: write 'not' or !="),
        ("1 < a < 3", "a second comparison at character 7: join comparisons with 'and' or 'or'"),
        ("len(a)", "unexpected '(' at character 4"),
        ("a + 1", "'+' at character 3: it is not part of the expression language"),
        ("a.b c", "unexpected 'c' at character 5"),
        ("a[b]", "unexpected 'b' at character 3; expected an integer or a string"),
        ("a[1.5]", "unexpected '1.5' at character 3; expected an integer or a string"),
        ("a.[1]", "unexpected '[' at character 3; expected a name"),
        ("(a", "it ends too early; expected ')'"),
        ("[a b]", "unexpected 'b' at character 4; expected ']'"),
        ("'a", '"\'" at character 1: it is not part of the expression language'),
        ("01", "01 at character 1 is not a number"),
        ("lambda: 1", "':' at character 7: it is not part of the expression language"),
        ("a if b else c", "unexpected 'if' at character 3"),
        ("and", "unexpected 'and' at character 1; expected a value"),
    ],
)
def test_invalid_expressions_are_refused_with_their_position(text: str, message: str) -> None:
    with pytest.raises(InvalidExpression) as raised:
        compile_expression(text)
    assert raised.value.message == message


@pytest.mark.parametrize(
    ("text", "message", "path"),
    [
        ("input.coupon > 3", "input.coupon is null, which cannot be ordered", "$.input.coupon"),
        (
            "input.amount < input.region",
            "cannot compare input.amount (number) with input.region (string) using <",
            "$.input.amount",
        ),
        (
            "input.amount and true",
            "input.amount is 5000, not true or false",
            "$.input.amount",
        ),
        ("not input.tags", "input.tags is a list, not true or false", "$.input.tags"),
        ("1 in input.region", "1 is 1; a string can contain only strings", "$"),
        (
            "1 in input.amount",
            "input.amount is 5000, not a list, string or object",
            "$.input.amount",
        ),
        ("item.id == 3", "unknown name 'item'; allowed: input, results", "$.item.id"),
    ],
)
def test_invalid_operands_are_refused_with_their_path(text: str, message: str, path: str) -> None:
    with pytest.raises(InvalidExpression) as raised:
        compile_expression(text).evaluate(NAMES)
    assert (raised.value.message, raised.value.path) == (message, path)
    assert str(raised.value) == f"invalid expression {text!r}: {message}"


def test_a_condition_is_true_or_false_or_null() -> None:
    assert compile_expression("input.vip").is_true(NAMES) is True
    assert compile_expression("input.absent").is_true(NAMES) is False
    with pytest.raises(InvalidExpression, match="it is 5000, not true or false"):
        compile_expression("input.amount").is_true(NAMES)


def test_the_size_of_an_expression_is_bounded() -> None:
    names, depth = limits.EXPRESSION_NODES, limits.EXPRESSION_DEPTH
    compile_expression(f"[{','.join('1' for _ in range(names - 1))}]")
    with pytest.raises(InvalidExpression, match="more than 200 operators"):
        compile_expression(f"[{','.join('1' for _ in range(names))}]")
    compile_expression("(" * depth + "1" + ")" * depth)
    for nested in ("(" * (depth + 1) + "1" + ")" * (depth + 1), "not " * (depth + 1) + "a"):
        with pytest.raises(InvalidExpression, match="nested more than 20 levels"):
            compile_expression(nested)
    compile_expression("a" * limits.EXPRESSION_CHARACTERS)
    with pytest.raises(InvalidExpression, match="1,001 characters; the limit is 1,000"):
        compile_expression("a" * (limits.EXPRESSION_CHARACTERS + 1))


@given(st.text(max_size=60) | st.text("ab.()[]'\"<>=! \\notid1-,", max_size=60))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    try:
        expression = compile_expression(text)
    except InvalidExpression:
        return
    assert compile_expression(str(expression.node)).node == expression.node


def test_the_paths_of_an_expression_are_listed() -> None:
    expression = compile_expression("input.a > 1 and ('x' in results.b[0] or not [item.c] == [])")
    assert list(map(str, expression.paths)) == ["input.a", "results.b[0]", "item.c"]


def test_a_text_may_contain_placeholders() -> None:
    text = compile_text("{{{input.region}}}:{ input.amount } {input.tags}{input.coupon}")
    assert text.render(NAMES) == '{EU}:5000 ["new","big"]'
    assert list(map(str, text.paths)) == [
        "input.region",
        "input.amount",
        "input.tags",
        "input.coupon",
    ]


@pytest.mark.parametrize(
    ("number", "shown"), [(7.0, "7"), (0.5, "0.5"), (-(2.0**52), "-4503599627370496")]
)
def test_numbers_in_a_text_are_those_of_json(number: float, shown: str) -> None:
    text = compile_text("{input.n}")
    assert shown == text.render_key({"input": {"n": number}})
    assert 1e300 == float(text.render_key({"input": {"n": 1e300}}))  # no integer of JSON


def test_a_key_with_a_missing_value_is_refused() -> None:
    assert compile_text("customer:{input.region}").render_key(NAMES) == "customer:EU"
    with pytest.raises(InvalidExpression, match=r"input\.coupon is null, not a string"):
        compile_text("customer:{input.coupon}").render_key(NAMES)
    with pytest.raises(InvalidExpression, match=r"input\.tags is a list, not a string"):
        compile_text("customer:{input.tags}").render_key(NAMES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {b", "'{' at character 3 is unmatched; write '{{' for a literal brace"),
        ("a } b", "'}' at character 3 is unmatched; write '}}' for a literal brace"),
        ("{}", "the placeholder {}: it ends too early; expected a value"),
        ("{a > 1}", "the placeholder {a > 1}: it must be a path, such as input.order_id"),
        ("{a}" * 21, "it has 21 placeholders; the limit is 20"),
        ("a" * 1001, "it has 1,001 characters; the limit is 1,000"),
    ],
)
def test_unbalanced_braces_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidExpression) as raised:
        compile_text(text)
    assert raised.value.message == message


SCHEMAS: Mapping[str, Any] = {
    "input": {
        "type": "object",
        "properties": {
            "amount": {"type": "integer"},
            "region": {"enum": ["EU", "US"]},
            "vip": {"type": "boolean"},
            "coupon": {"type": ["string", "null"]},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
            "choice": {"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}}]},
            "extra": {"type": "object", "additionalProperties": {"type": "number"}},
        },
        "$defs": {"line": {"type": "object", "properties": {"sku": {"type": "string"}}}},
    },
    "results": {"properties": {"free": True}, "additionalProperties": False},
}


@pytest.mark.parametrize(
    "text",
    [
        "input.amount > 5 and input.region == 'EU' or not input.vip",
        "input.coupon == null or input.coupon > 'a'",
        "input.amount == null",
        "input.lines[0].sku == 'mug'",
        "input.choice.a == 'x'",
        "input.extra.any > 3",
        "results.free.anything.at[3]",
        "input.region in ['EU']",
    ],
)
def test_an_expression_that_matches_the_schemas_has_no_type_errors(text: str) -> None:
    assert find_condition_type_errors(compile_expression(text), SCHEMAS) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "input.amont > 5",
            "input has no property 'amont'; did you mean 'amount'? Allowed: amount, region, vip,"
            " coupon, lines, choice, extra",
        ),
        (
            "input.amount > 'a'",
            'input.amount > "a" compares a number with a string;'
            " only two numbers or two strings can be ordered",
        ),
        (
            "input.region == 3",
            "input.region == 3 is always false, because it compares a string with a number",
        ),
        ("input.vip and input.amount", "input.amount is a number, not true or false"),
        ("input.amount", "it is a number, not true or false"),
        ("3 in input.amount", "input.amount is a number, not a list, string or object"),
        ("3 in input.region", "3 is a number, not a string"),
        (
            "input.lines[0].name == 'a'",
            "input.lines[0] has no property 'name'; allowed: sku",
        ),
        ("input.lines.sku == 'a'", "input.lines has no property 'sku'"),
        ("input.amount[0] == 'a'", "input.amount has no item 0"),
        ("results.other == 3", "results has no property 'other'; allowed: free"),
    ],
)
def test_an_expression_that_contradicts_the_schemas_is_reported(text: str, problem: str) -> None:
    assert find_condition_type_errors(compile_expression(text), SCHEMAS) == [problem]


def test_a_type_error_names_the_expected_types() -> None:
    expression = compile_expression("input.amount")
    assert find_expression_type_errors(expression, SCHEMAS, frozenset({"array"}), "a list") == [
        "it is a number, not a list"
    ]
    assert find_invalid_placeholder_paths(compile_text("{input.sku}"), SCHEMAS)[0].startswith(
        "input has no property 'sku'"
    )


def test_a_path_consists_only_of_names() -> None:
    assert compile_path("input.a.b").keys == ("input", "a", "b")
    with pytest.raises(InvalidExpression, match="it must be a path"):
        compile_path("not input.a")


FLOW = Workflow("built")


@pytest.mark.parametrize(
    ("built", "text"),
    [
        (FLOW.input.amount > 500, "input.amount > 500"),
        ((FLOW.input.a == "x") & ~FLOW.input.vip, 'input.a == "x" and not input.vip'),
        (
            ((FLOW.input.a != 1) | (FLOW.input.b <= 2)) & (FLOW.input.c >= 3),
            "(input.a != 1 or input.b <= 2) and input.c >= 3",
        ),
        (~(FLOW.input.a < FLOW.results.quote.cents), "not input.a < results.quote.cents"),
        (FLOW.input.path == "a", 'input.path == "a"'),
        (FLOW.input.region.is_in(["DE", "FR"]), 'input.region in ["DE","FR"]'),
        (FLOW.input.tags.contains("new"), '"new" in input.tags'),
        (FLOW.input["odd key"][0] == None, 'input["odd key"][0] == null'),  # noqa: E711
        ((FLOW.input.a == 1) == FLOW.input.b, "(input.a == 1) == input.b"),
    ],
)
def test_an_expression_can_be_built_in_python(built: object, text: str) -> None:
    assert text == str(built)
    compile_expression(text)


def test_a_built_expression_has_no_truth_value() -> None:
    with pytest.raises(InvalidInput, match=r"join expressions with &, \| and ~"):
        bool(FLOW.input.a)
    with pytest.raises(InvalidInput, match="is not a path"):
        (FLOW.input.a > 1)["b"]


def test_a_function_is_refused_as_a_condition() -> None:
    with pytest.raises(InvalidInput, match="when takes an expression"):
        FLOW.step(when=lambda order: True)  # type: ignore[call-overload]


def test_control_characters_are_escaped_as_in_json() -> None:
    assert compile_expression('"\\u0001\\r"').evaluate({}) == "\u0001\r"
