"""What is reported before anything runs."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from tasker.handlers import Config, Context, Handlers, Input, Result, StepHandler, handler
from tasker.handlers.check import find_template_problems, find_unused_handlers
from tasker.model import JsonObject, StepOverride, StepSpec, Template

SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "order_id": {"type": "string"},
        "cents": {"$ref": "#/$defs/money"},
        "odd": True,
    },
    "$defs": {"money": {"type": "integer"}},
}


class Hold(BaseModel):
    id: str
    cents: int


def template(
    *steps: StepSpec, schema: JsonObject | None = SCHEMA, **environments: StepOverride
) -> Template:
    return Template(
        namespace="payments",
        name="checkout",
        version="1.0.0",
        steps=steps,
        input_schema=schema,
        environments={name: {"charge": override} for name, override in environments.items()},
    )


def step(name: str, *dependencies: str, **rest: Any) -> StepSpec:
    return StepSpec(name=name, dependencies=dependencies, **rest)


def problems_of(
    charge: Callable[..., Any],
    *,
    schema: JsonObject | None = SCHEMA,
    reserve: Callable[..., Any] | None = None,
    reserve_schema: JsonObject | None = None,
    environments: dict[str, StepOverride] | None = None,
    **spec: Any,
) -> list[str]:
    """Check `charge`, which comes after `reserve` and before `ship`; return messages only."""
    handlers = Handlers.collect({"reserve": reserve or _reserve, "charge": charge, "ship": _ship})
    checked = template(
        step("reserve", result_schema=reserve_schema),
        step("charge", "reserve", **spec),
        step("ship", "charge"),
        schema=schema,
        **(environments or {}),
    )
    problems = find_template_problems(checked, handlers)
    for problem in problems:
        assert ("steps[1]", __file__) == (problem.path, problem.file)
        assert problem.line
    return [problem.message.removeprefix("step 'charge': ") for problem in problems]


def _reserve(): ...  # type: ignore[no-untyped-def]
def _ship() -> None: ...


def test_matching_handlers_are_not_reported() -> None:
    def charge(
        reserve: Hold,
        order_id: str,
        cents: int,
        odd: list[int],
        again: Annotated[Hold, Result("reserve")],
        everything: Annotated[dict[str, Any], Input()],
        fee: Annotated[int, Config("fee")],
        ctx: Context,
        note: str = "default",
        rate: Annotated[float, Config("rate")] = 1.0,
    ) -> Hold:
        return reserve

    def reserve() -> Hold:
        return Hold(id="h", cents=1)

    assert [] == problems_of(
        charge,
        reserve=reserve,
        reserve_schema={"type": "object"},
        config={"fee": 1},
        result_schema={"type": "object", "properties": {"id": {"type": "string"}}},
    )


def test_a_step_without_a_handler_is_reported_with_a_suggestion() -> None:
    (problem,) = find_template_problems(
        template(step("charg")), Handlers.collect({"charge": _ship})
    )
    assert (
        "step 'charg': handler 'charg' (namespace payments) not found; did you mean 'charge'?"
        " (at steps[0])"
    ) == str(problem)


def test_an_undeclared_input_is_reported() -> None:
    def charge(order: str, cent: int) -> None: ...

    assert [
        "parameter 'order': input_schema declares no 'order'; did you mean 'order_id'?",
        "parameter 'cent': input_schema declares no 'cent'; did you mean 'cents'?",
    ] == problems_of(charge)


@pytest.mark.parametrize("schema", [None, {}, {"type": "object"}, {"properties": {}}])
def test_without_declared_properties_every_input_is_accepted(schema: JsonObject | None) -> None:
    def charge(order: str) -> None: ...

    assert [] == problems_of(charge, schema=schema)


@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_a_step_that_is_no_ancestor_is_reported(schema: JsonObject | None) -> None:
    def named(ship: dict[str, Any]) -> None: ...
    def marked(it: Annotated[Any, Result("ship")]) -> None: ...

    assert [
        "parameter 'ship': step 'ship' is not an ancestor; add it to the dependencies"
    ] == problems_of(named, schema=schema)
    (message,) = problems_of(marked, schema=schema)
    assert 'asks for Result("ship"), but that step is not an ancestor' in message


def test_types_that_contradict_the_schemas_are_reported() -> None:
    def charge(
        cents: str, reserve: Hold, everything: Annotated[list[int], Input()]
    ) -> dict[str, Any]:
        return {}

    assert [
        "parameter 'cents': its type does not match input 'cents': $ is integer, not string",
        "parameter 'reserve': its type does not match the result_schema of 'reserve':"
        " $ has no 'cents', which is required",
        "parameter 'everything': its type does not match the input: $ is object, not array",
        "its return type does not match result_schema: $ is object, not string",
    ] == problems_of(
        charge,
        reserve_schema={"type": "object", "properties": {"id": {}}},
        result_schema={"type": "string"},
    )


def test_the_result_of_a_parent_must_match_the_parameter() -> None:
    async def reserve() -> str:
        return "held"

    def charge(reserve: Hold) -> None: ...

    assert [
        "parameter 'reserve': its type does not match the return type of step 'reserve':"
        " $ is string, not object"
    ] == problems_of(charge, reserve=reserve)


def test_configuration_missing_in_every_environment_is_reported() -> None:
    def charge(fee: Annotated[int, Config("fee")]) -> None: ...

    assert [
        "parameter 'fee': the step's configuration has no 'fee'; did you mean 'fees'?"
    ] == problems_of(charge, config={"fees": 1})
    assert [] == problems_of(charge, environments={"production": StepOverride(config={"fee": 1})})
    assert 1 == len(problems_of(charge, environments={"production": StepOverride()}))


def test_signatures_and_methods_that_cannot_be_called_are_reported() -> None:
    class Charge(StepHandler):
        def call(self, *everything: Any) -> None: ...

    @handler(process=True)
    def local() -> None: ...

    (message,) = problems_of(Charge)
    assert "'everything' takes variadic arguments" in message
    (message,) = problems_of(Charge, method="refund")
    assert "has no method 'refund'" in message
    (message,) = problems_of(local)
    assert "define it at the top level of a module" in message


def test_a_broken_ancestor_is_reported_once_where_it_is() -> None:
    class Reserve:
        def other(self) -> str:
            return ""

    def charge(reserve: Hold) -> None: ...

    handlers = Handlers.collect({"reserve": Reserve, "charge": charge})
    problems = find_template_problems(
        template(step("reserve"), step("charge", "reserve")), handlers
    )
    assert ["steps[0]"] == [problem.path for problem in problems]


def test_handlers_that_no_template_uses_are_reported_once() -> None:
    @handler("used::elsewhere")
    @handler("used")
    def used() -> None: ...

    @handler("idle")
    @handler("idle::too")
    def idle() -> None: ...

    (problem,) = find_unused_handlers([template(step("used"))], Handlers.collect(used, idle))
    assert "no step uses the handler 'idle'" == problem.message
    assert idle.__code__.co_firstlineno == problem.line
    assert [] == find_unused_handlers(
        [template(step("used"), step("idle"))], Handlers.collect(used, idle)
    )
