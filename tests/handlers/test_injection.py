"""What parameters get, and the error if they cannot get it."""

import enum
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Optional
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, model_validator
from tests.handlers.attempts import TEMPLATE, attempt, call, plan
from typing_extensions import TypedDict

from tasker.errors import Misuse, PermanentError
from tasker.handlers import Config, Context, Input, Result, StepHandler, handler
from tasker.handlers.attempt import UpstreamSteps
from tasker.handlers.binding import compile_call_plan
from tasker.handlers.instances import EnclosingInstances
from tasker.handlers.target import Handler
from tasker.model import Json, JsonObject, StepSpec


class Hold(BaseModel):
    id: str
    cents: int = 100


@dataclass
class Receipt:
    number: int
    at: datetime


class Colour(enum.Enum):
    RED = "red"


class Totals(TypedDict):
    total: int


json_values: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text('aé"\\ 0\n') | st.just([{}])
)


# ------------------------------------------------------------------------ by name


def test_a_parameter_receives_the_input_with_its_name() -> None:
    def charge(order_id: str, cents: int) -> tuple[str, int]:
        return order_id, cents

    assert ("o1", 5) == call(charge, {"order_id": "o1", "cents": 5, "more": None})


def test_an_async_handler_receives_the_same_arguments() -> None:
    async def charge(cents: int) -> int:
        return cents

    assert plan(charge).is_async
    assert 5 == call(charge, {"cents": 5})


def test_a_parameter_named_like_an_ancestor_receives_its_result() -> None:
    def charge(reserve: Hold, cents: int) -> tuple[Hold, int]:
        return reserve, cents

    assert (Hold(id="h"), 5) == call(
        charge, {"reserve": "not this", "cents": 5}, results={"reserve": {"id": "h"}}
    )


def test_the_context_is_injected_by_annotation_or_by_name() -> None:
    def annotated(whatever: Context) -> Any:
        return whatever

    def optional(ctx: Optional[Context] = None) -> Any:  # noqa: UP045 - people write it
        return ctx

    def union(it: Context | None) -> Any:
        return it

    def noted(it: Annotated[Context, "for the log"]) -> Any:
        return it

    def keyword(*, it: Context) -> Any:
        return it

    def unannotated(context) -> Any:  # type: ignore[no-untyped-def]
        return context

    def short(ctx) -> Any:  # type: ignore[no-untyped-def]
        return ctx

    for target in (annotated, optional, union, noted, keyword, unannotated, short):
        assert isinstance(call(target), Context)


def test_a_parameter_called_context_of_another_type_is_an_input() -> None:
    def charge(context: dict[str, int]) -> dict[str, int]:
        return context

    assert {"a": 1} == call(charge, {"context": {"a": 1}})


def test_a_parameter_without_annotation_is_not_checked() -> None:
    def charge(a, b: Any, c: object, d: Json, e: JsonObject) -> Any:  # type: ignore[no-untyped-def]
        return a, b, c, d, e

    given = {"a": 1, "b": [2], "c": None, "d": "4", "e": {"x": [None]}}
    assert tuple(given.values()) == call(charge, given)


@pytest.mark.parametrize("key", ["", "a b", "ünï", "class", "$.x"])
def test_markers_name_keys_that_are_not_identifiers(key: str) -> None:
    def charge(value: Annotated[int, Input(key)]) -> int:
        return value

    assert 3 == call(charge, {key: 3})


# ---------------------------------------------------------------------- by marker


def test_markers_determine_the_source_of_a_parameter() -> None:
    def charge(
        held: Annotated[Hold, Result("reserve")],
        reserve: Annotated[str, Input("reserve")],
        fee: Annotated[int, Config("fee")],
        everything: Annotated[dict[str, Any], Input()],
    ) -> Any:
        return held, reserve, fee, everything

    given = {"reserve": "input", "n": 1}
    assert (Hold(id="h"), "input", 7, given) == call(
        charge, given, results={"reserve": {"id": "h"}}, config={"fee": 7}
    )


def test_the_whole_context_can_become_a_model_with_defaults_and_aliases() -> None:
    class Order(BaseModel):
        number: int = Field(alias="orderNumber")
        cents: int = 100

    def charge(order: Annotated[Order, Input()]) -> tuple[int, int]:
        return order.number, order.cents

    assert (7, 100) == call(charge, {"orderNumber": 7})


def test_other_metadata_in_annotated_is_kept() -> None:
    def charge(cents: Annotated[int, Input("amount"), Field(gt=0)]) -> int:
        return cents

    assert 1 == call(charge, {"amount": 1})
    with pytest.raises(PermanentError, match=r"\$\.amount: must be greater than 0"):
        call(charge, {"amount": 0})


def test_each_attempt_receives_its_own_copies_of_values() -> None:
    def spoil(items: list[int], rates: Annotated[list[int], Config("rates")]) -> Any:
        items.append(0)
        rates.append(0)
        return items, rates

    compiled = plan(spoil, config={"rates": [1]})
    live = attempt({"items": [1]})
    assert ([1, 0], [1, 0]) == compiled.call(live)
    assert ([1, 0], [1, 0]) == compiled.call(live)


# ------------------------------------------------------------------- types, defaults


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, "12", 12),
        (float, 3, 3.0),
        (datetime, "2030-01-02T03:04:05Z", datetime.fromisoformat("2030-01-02T03:04:05+00:00")),
        (UUID, str(UUID(int=1)), UUID(int=1)),
        (Decimal, "1.10", Decimal("1.10")),
        (Colour, "red", Colour.RED),
        (set[int], [1, 1], {1}),
        (tuple[int, str], [1, "a"], (1, "a")),
        (Totals, {"total": "3"}, {"total": 3}),
        (Receipt, {"number": 1, "at": 0}, Receipt(1, datetime.fromisoformat("1970-01-01T00:00Z"))),
        (list[Hold], [{"id": "a"}], [Hold(id="a")]),
        (int | None, None, None),
    ],
)
def test_json_is_converted_to_the_annotated_type(
    annotation: Any, value: Any, expected: Any
) -> None:
    def charge(it):  # type: ignore[no-untyped-def]
        return it

    charge.__annotations__["it"] = annotation
    assert expected == call(charge, {"it": value})
    assert expected == call(charge, results={"it": value})


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), json_values))
def test_unchecked_values_are_passed_unchanged(given: dict[str, Any]) -> None:
    def charge(a: Any = 1, b: Any = 2, c: Any = 3) -> dict[str, Any]:
        return {"a": a, "b": b, "c": c}

    assert {"a": 1, "b": 2, "c": 3, **given} == call(charge, given)
    assert {"a": 1, "b": 2, "c": 3, **given} == call(charge, results=given)


def test_a_default_replaces_an_absent_value_and_is_not_checked() -> None:
    sentinel: Any = object()

    def charge(
        note: str = sentinel,
        reserve: str = sentinel,
        fee: Annotated[str, Config("fee")] = sentinel,
    ) -> Any:
        return note is reserve is fee is sentinel

    assert call(charge, upstream=("reserve",))


def test_null_does_not_select_the_default() -> None:
    def charge(note: str | None = "default", reserve: str | None = "default") -> Any:
        return note, reserve

    assert (None, None) == call(charge, {"note": None}, results={"reserve": None})


def test_a_skipped_step_passes_none_to_optional_parameters() -> None:
    def charge(a: str | None, b: Any, c) -> Any:  # type: ignore[no-untyped-def]
        return a, b, c

    assert (None, None, None) == call(charge, upstream=("a", "b", "c"))


def test_annotations_may_be_strings_and_refer_to_closures() -> None:
    class Local(BaseModel):
        id: int

    def charge(local: "Local", cents: "list[Local] | None" = None) -> "Unknown":  # type: ignore[name-defined] # noqa: F821
        return local, Local(id=0), cents

    assert (Local(id=1), Local(id=0), [Local(id=2)]) == call(
        charge, {"local": {"id": 1}, "cents": [{"id": 2}]}
    )


# ------------------------------------------------------------------ what cannot be filled


def failure(target: Callable[..., Any], given: object = None, **how: Any) -> PermanentError:
    with pytest.raises(PermanentError) as caught:
        call(target, given, **how)
    return caught.value


def test_a_missing_input_is_a_permanent_error_that_names_it() -> None:
    def charge(order_id: str) -> None: ...

    error = failure(charge, {"orderid": 1})
    assert "MISSING_INPUT" == error.code
    assert (
        "parameter 'order_id' of step 'charge' cannot be filled: the task's input has no"
        " 'order_id'; did you mean 'orderid'?"
    ) == str(error)
    assert {"parameter": "order_id", "source": "input", "key": "order_id"} == error.details


def test_a_missing_input_of_an_instance_names_what_it_is_given() -> None:
    """A handler whose parameter is called otherwise than the element of its map."""

    def convert(files: str) -> None: ...

    compiled = compile_call_plan(
        Handler("convert", convert),
        StepSpec(name="convert"),
        upstream=UpstreamSteps.from_names(),
        template=TEMPLATE,
        around=EnclosingInstances(items=("file", "cursor")),
    )
    with pytest.raises(PermanentError) as caught:
        compiled.call(attempt({}))

    assert (
        "parameter 'files' of step 'convert' cannot be filled: the task's input has no 'files',"
        " and this instance has only the inputs file, cursor; did you mean 'file'?"
    ) == str(caught.value)


def test_an_optional_type_alone_does_not_make_an_input_optional() -> None:
    def charge(note: str | None) -> None: ...

    assert "MISSING_INPUT" == failure(charge).code


def test_an_invalid_input_is_reported_with_its_path_and_without_its_value() -> None:
    def charge(holds: list[Hold]) -> None: ...

    error = failure(charge, {"holds": [{"id": "a"}, {"id": "b", "cents": "secret"}]})
    assert "INVALID_INPUT" == error.code
    assert (
        "parameter 'holds' of step 'charge' does not accept the task's input: $.holds[1].cents:"
        " must be an integer"
    ) == str(error)
    assert isinstance(error.details, Mapping)
    assert [
        {
            "path": "$.holds[1].cents",
            "problem": "must be an integer",
        }
    ] == error.details["problems"]
    assert error.__cause__ is None


def test_only_the_message_shortens_many_problems() -> None:
    def charge(numbers: list[int]) -> None: ...

    error = failure(charge, {"numbers": ["x"] * 8})
    assert "; and 3 more" in str(error)
    assert isinstance(error.details, Mapping)
    problems = error.details["problems"]
    assert isinstance(problems, list)
    assert 8 == len(problems)


def test_an_error_in_a_result_names_the_step() -> None:
    def charge(reserve: Hold) -> None: ...

    error = failure(charge, results={"reserve": {"cents": 1}})
    assert "INVALID_RESULT" == error.code
    assert "does not accept the result of step 'reserve': $.id: is required" in str(error)


def test_an_absent_result_is_reported_as_missing() -> None:
    def charge(reserve: Hold) -> None: ...

    error = failure(charge, upstream=("reserve",))
    assert "MISSING_RESULT" == error.code
    assert "step 'reserve' has no result: it was skipped, or resolved without one" in str(error)


def test_configuration_is_checked_like_inputs() -> None:
    def charge(fee: Annotated[int, Config("fee")]) -> None: ...

    assert "MISSING_CONFIG" == failure(charge, config={"free": 1}).code
    error = failure(charge, config={"fee": "much"})
    assert "INVALID_CONFIG" == error.code
    assert "the step's configuration: $.fee: must be an integer" in str(error)


def test_a_value_that_is_not_an_object_has_no_keys() -> None:
    def charge(cents: int) -> None: ...

    assert "MISSING_INPUT" == failure(charge, [1, 2]).code


def test_a_permanent_error_raised_while_a_model_is_made_passes_through() -> None:
    class Order(BaseModel):
        cents: int

        @model_validator(mode="after")
        def _worth_it(self) -> "Order":
            if self.cents < 10:
                raise PermanentError("too little", code="TOO_LITTLE")
            return self

    def charge(order: Annotated[Order, Input()]) -> None: ...

    assert "TOO_LITTLE" == failure(charge, {"cents": 1}).code


def test_a_type_error_of_the_handler_is_not_reported_as_a_bad_parameter() -> None:
    def charge(cents: int) -> None:
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        call(charge, {"cents": 1})


# ------------------------------------------------------------ what no step could ever fill


def _var_positional(*args: int) -> None: ...
def _var_keyword(**kwargs: int) -> None: ...
def _positional(cents: int, /) -> None: ...
def _two_markers(cents: Annotated[int, Input("a"), Config("b")]) -> None: ...
def _bare_marker(cents: Annotated[int, Input]) -> None: ...
def _default_marker(cents: int = Input("a")) -> None: ...  # type: ignore[assignment]
def _not_upstream(held: Annotated[int, Result("resrve")]) -> None: ...
def _odd_type(lock: Callable[[], "Odd"]) -> None: ...
def _undefined(thing: "Undefined") -> None: ...  # type: ignore[name-defined] # noqa: F821
def _generator() -> Any:
    yield 1


async def _async_generator() -> Any:
    yield 1


class Odd:
    pass


def _odd(odd: Odd) -> None: ...


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (_var_positional, r"'args' takes variadic arguments .*functools\.wraps"),
        (_var_keyword, "'kwargs' takes variadic arguments"),
        (_positional, "'cents' is positional-only"),
        (_two_markers, "'cents' has 2 markers"),
        (_bare_marker, "marker that was not called"),
        (_default_marker, r"write `cents: Annotated\[type, Input\(key='a'\)\]`"),
        (_not_upstream, r'Result\("resrve"\).*is not an ancestor.*did you mean \'reserve\''),
        (_odd, "'odd' has a type to which no JSON value can be converted"),
        (_undefined, "'thing' has an annotation that cannot be evaluated .*'Undefined'"),
        (_generator, "is a generator"),
        (_async_generator, "is a generator"),
    ],
)
def test_signatures_that_cannot_be_bound_are_refused_before_any_attempt(
    target: Callable[..., Any], message: str
) -> None:
    with pytest.raises(Misuse, match=message) as caught:
        plan(target, upstream=("reserve",))
    assert "step 'charge' of payments.checkout@2.1.0" in str(caught.value)
    assert "test_injection.py:" in str(caught.value)


def test_a_wrapped_function_is_bound_by_the_signature_that_it_wraps() -> None:
    def traced(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return "traced", function(*args, **kwargs)

        return wrapper

    @traced
    def charge(cents: int) -> int:
        return cents

    assert ("traced", 5) == call(charge, {"cents": "5"})


# -------------------------------------------------------------------- what may be a handler


class Charge(StepHandler):
    made = 0

    def __init__(self) -> None:
        type(self).made += 1

    def call(self, context: Context) -> Any:
        return self.label(), context.get_input("cents")

    @handler
    async def later(self, cents: int, reserve: Hold) -> Any:
        return cents, reserve.id

    @staticmethod
    @handler
    def static(cents: int) -> int:
        return cents

    @classmethod
    @handler
    def of_class(cls, cents: int) -> Any:
        return cls.__name__, cents

    def label(self) -> str:
        return "charged"


class Ducktyped:
    def call(self, context):  # type: ignore[no-untyped-def]
        return context.step


class Callable_:  # noqa: N801
    async def __call__(self, cents: "int") -> int:
        return cents


def test_a_class_is_instantiated_for_every_attempt() -> None:
    before = Charge.made
    compiled = plan(Charge)
    assert ("charged", 5) == compiled.call(attempt({"cents": 5}))
    assert ("charged", 6) == compiled.call(attempt({"cents": 6}))
    assert before + 2 == Charge.made


def test_a_template_may_name_another_method_of_a_class() -> None:
    given = {"cents": "5"}
    assert (5, "h") == call(Charge, given, results={"reserve": {"id": "h"}}, method="later")
    assert 5 == call(Charge, given, method="static")
    assert ("Charge", 5) == call(Charge, given, method="of_class")


def test_no_base_class_is_needed() -> None:
    assert "charge" == call(Ducktyped)


def test_objects_partials_and_bound_methods_are_handlers_too() -> None:
    def charge(fee: int, cents: int) -> int:
        return fee + cents

    assert ("charged", 5) == call(Charge(), {"cents": 5})  # type: ignore[arg-type]
    assert 5 == call(Callable_(), {"cents": "5"})
    assert 7 == call(functools.partial(charge, 2), {"cents": 5})
    assert "charged" == call(Charge().label)


class NeedsMore(StepHandler):
    def __init__(self, gateway: str) -> None: ...
    def call(self, context: Context) -> Any: ...


class WithoutCall(StepHandler):
    def other(self) -> None: ...


@pytest.mark.parametrize(
    ("target", "method", "message"),
    [
        (NeedsMore, None, "cannot be instantiated without arguments .*'gateway'"),
        (WithoutCall, None, r"does not define call\(self, context\)"),
        (Odd, None, "has no method 'call'"),
        (Charge, "refund", "has no method 'refund'"),
        (Charge, "__init__", "has no method '__init__'"),
        (Charge, "made", "has no method 'made'"),
        (Charge, "label", "'label', but steps cannot call it: mark it with @handler"),
        (_odd, "refund", "is a function and has no method 'refund'"),
    ],
)
def test_unusable_classes_and_methods_are_refused(target: Any, method: Any, message: str) -> None:
    with pytest.raises(Misuse, match=message):
        plan(target, method=method)


# ---------------------------------------------------------------- what the engine must fetch


def test_a_plan_reads_only_the_results_of_its_parameters() -> None:
    def none(cents: int) -> None: ...
    def one(b: int) -> None: ...
    def marked(x: Annotated[int, Result("c")], a: int) -> None: ...

    before = ("a", "b", "c")
    assert [0, 0b100, 0b1010] == [plan(each, upstream=before).needs for each in (none, one, marked)]


def test_a_plan_with_a_context_reads_the_results_of_all_ancestors() -> None:
    def charge(ctx: Context) -> None: ...

    assert 0b1110 == plan(charge, upstream=("a", "b", "c")).needs
    assert 0b1110 == plan(Charge, upstream=("a", "b", "c")).needs
    assert 0 == plan(charge).needs


def test_the_source_of_a_valid_handler_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Reading source files takes milliseconds for each class; only an error needs the place.
    """

    class Refund(StepHandler):
        def call(self, amount: int) -> int:
            return amount

    def refuse(_: object) -> None:
        raise AssertionError("the source was read")

    monkeypatch.setattr("inspect.getsourcelines", refuse)

    assert ("amount",) == tuple(each.name for each in Handler("refund", Refund).parameters())
