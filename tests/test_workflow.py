"""Templates written in Python."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from tests.template.problems import prepared
from typing_extensions import TypedDict

from tasker.errors import InvalidTemplate, Misuse
from tasker.handlers import Config, Context, Handlers, Input, Result
from tasker.model import Retry
from tasker.template.load import parse_template
from tasker.testing import run_workflow_sync
from tasker.workflow import Workflow


class Refund(BaseModel):
    payment_id: str
    cents: int = Field(ge=1)
    partial: bool = False


@dataclass
class Payment:
    id: str
    cents: int


class Receipt(TypedDict):
    number: int


def refund() -> tuple[Workflow[Refund], list[Callable[..., Any]]]:
    """Build the workflow that most tests are about."""
    workflow = Workflow(
        "payments.process_refund",
        version="2.1.0",
        description="Refunds a payment",
        input=Refund,
        deadline=3600,
    )

    @workflow.step
    def validate(payment_id: str, cents: int, context: Context) -> Payment:
        return Payment(payment_id, cents)

    @workflow.step(retry=Retry(max_attempts=5), timeout=30, config={"url": "http://x"})
    async def charge(validate: Payment, url: Annotated[str, Config("url")]) -> Receipt:
        return {"number": validate.cents}

    @workflow.step(name="tell", after=[validate], timeout=timedelta(minutes=1), description="Tells")
    def notify(
        receipt: Annotated[Receipt, Result("charge")], to: Annotated[str, Input("payment_id")]
    ) -> None: ...

    return workflow, [validate, charge, notify]


def test_a_workflow_is_the_template_that_yaml_would_be() -> None:
    """The same value, so that either may be registered."""
    workflow, _ = refund()
    written = """
name: process_refund
namespace_name: payments
version: 2.1.0
description: Refunds a payment
deadline_seconds: 3600
input_schema:
  type: object
  title: Refund
  required: [payment_id, cents]
  properties:
    payment_id: {type: string, title: Payment Id}
    cents: {type: integer, minimum: 1, title: Cents}
    partial: {type: boolean, default: false, title: Partial}
steps:
  - name: validate
    handler: {callable: payments.process_refund.validate, version: 2.1.0}
    result_schema:
      type: object
      title: Payment
      required: [id, cents]
      properties:
        id: {type: string, title: Id}
        cents: {type: integer, title: Cents}
  - name: charge
    handler:
      callable: payments.process_refund.charge
      version: 2.1.0
      initialization: {url: 'http://x'}
    dependencies: [validate]
    retry: {max_attempts: 5}
    timeout_seconds: 30
    result_schema:
      type: object
      title: Receipt
      required: [number]
      properties:
        number: {type: integer, title: Number}
  - name: tell
    description: Tells
    handler: {callable: payments.process_refund.tell, version: 2.1.0}
    dependencies: [charge, validate]
    timeout_seconds: 60
"""
    assert workflow.template == parse_template(written)


def test_functions_stay_as_they_are() -> None:
    """They can be called directly, and are found by their handlers' names."""
    workflow, [validate, charge, notify] = refund()

    assert validate("p", 5, None) == Payment("p", 5)
    assert workflow.functions == {
        "payments.process_refund.validate": validate,
        "payments.process_refund.charge": charge,
        "payments.process_refund.tell": notify,
    }
    assert Handlers.of(workflow).names() == (
        "payments.process_refund.charge",
        "payments.process_refund.tell",
        "payments.process_refund.validate",
    )


def test_a_model_gives_the_context_its_defaults() -> None:
    """By way of its JSON Schema."""
    workflow, _ = refund()

    assert prepared(workflow.template, {"payment_id": "p", "cents": 5}) == {
        "payment_id": "p",
        "cents": 5,
        "partial": False,
    }


def test_a_name_alone_is_in_the_default_namespace() -> None:
    """With the default version."""
    workflow = Workflow("tiny")

    @workflow.step
    def only() -> None: ...

    assert workflow.template.full_name == "default.tiny@0.1.0"
    assert workflow.template.input_schema is None


def test_a_parameter_named_like_a_later_step_is_an_input() -> None:
    """Only steps that are there already can be awaited."""
    workflow = Workflow("order")

    @workflow.step
    def first(second: str) -> str:
        return second

    @workflow.step
    def second(first: str) -> str:
        return first

    assert [step.dependencies for step in workflow.template.steps] == [(), ("first",)]


def test_steps_may_have_their_handlers_elsewhere() -> None:
    """As in YAML."""
    workflow = Workflow("mixed", metadata={"owner": "us"})
    workflow.add(
        "begin", callable="::Elsewhere::Begin", method="run", version="^2", config={"a": 1}
    )
    workflow.add("next", after="begin", result_schema={"type": "string"})

    @workflow.step(after=["next"])
    def finish(begin: str) -> None: ...

    assert workflow.template == parse_template(
        """
name: mixed
metadata: {owner: us}
steps:
  - name: begin
    handler: {callable: Elsewhere.Begin, version: ^2, method: run, initialization: {a: 1}}
  - name: next
    dependencies: [begin]
    result_schema: {type: string}
  - name: finish
    handler: {callable: default.mixed.finish, version: 0.1.0}
    dependencies: [begin, next]
"""
    )
    assert list(workflow.functions) == ["default.mixed.finish"]


def test_a_template_grows_with_its_steps() -> None:
    """It may be looked at in between."""
    workflow = Workflow("growing")
    workflow.add("a")
    before = workflow.template
    workflow.add("b", after="a")

    assert [step.name for step in before.steps] == ["a"]
    assert [step.name for step in workflow.template.steps] == ["a", "b"]


def test_schemas_may_be_given_as_they_are() -> None:
    """Instead of a model."""
    workflow = Workflow("plain", input={"type": "object", "required": ["id"]})
    workflow.add("a")

    assert workflow.template.input_schema == {"type": "object", "required": ["id"]}


def test_results_have_schemas_where_their_shape_is_said() -> None:
    """Models, dataclasses and typed dicts say it; under the names in which they are stored."""

    class Named(BaseModel):
        number: int = Field(alias="no")

    workflow = Workflow("shapes")

    @workflow.step
    def model() -> Named:
        return Named(no=1)

    @workflow.step
    def loose() -> dict[str, Any]:
        return {}

    @workflow.step
    def unsaid():  # type: ignore[no-untyped-def]  # that is the point
        return 5

    shapes = [step.result_schema for step in workflow.template.steps]
    assert shapes[0] is not None
    assert shapes[0]["required"] == ["number"]
    assert shapes[1:] == [None, None]


def test_what_is_wrong_is_reported_with_the_function_it_is_about() -> None:
    """All of it, when the template is asked for."""
    workflow = Workflow("bad name", version="1")

    @workflow.step(after="nowhere", retry=Retry(max_attempts=-1))
    def lost() -> None: ...

    line = lost.__code__.co_firstlineno
    with pytest.raises(InvalidTemplate) as raised:
        _ = workflow.template

    places = [(problem.file, problem.line, problem.path) for problem in raised.value.problems]
    assert places == [
        (__file__, line, "steps[0].handler.callable"),
        (__file__, line, "steps[0].retry.max_attempts"),
        (__file__, line, "steps[0].dependencies[0]"),
        ("default.bad name@1", None, "name"),
        ("default.bad name@1", None, "version"),
    ]


def test_a_name_is_taken_once() -> None:
    """The second step of a name raises at its declaration."""
    workflow = Workflow("twice")
    workflow.add("a")

    with pytest.raises(InvalidTemplate, match="the step 'a' is duplicated"):

        @workflow.step
        def a() -> None: ...


def test_a_function_that_is_no_step_cannot_be_awaited() -> None:
    """Nor can a step that is declared later."""
    workflow = Workflow("w")

    def stranger() -> None: ...

    with pytest.raises(Misuse, match="after=stranger: this function is not a step of 'w' yet"):
        workflow.add("a", after=stranger)


def test_an_input_without_schema_is_refused() -> None:
    """At once."""
    with pytest.raises(Misuse, match="the input of 'w' has no JSON Schema"):
        Workflow("w", input=Context)


def test_an_empty_workflow_has_no_template() -> None:
    """A template needs a step."""
    with pytest.raises(InvalidTemplate, match="needs at least one step"):
        _ = Workflow("w").template


# ------------------------------------------------------------------------------ result


def test_the_last_step_must_return_the_workflows_result() -> None:
    workflow = Workflow("shop.x", result=int)
    workflow.step(name="first")(lambda: 1)

    @workflow.step
    def last(first: int) -> str:
        return str(first)

    with pytest.raises(InvalidTemplate) as refused:
        _ = workflow.template
    (problem,) = refused.value.problems
    assert (
        "the return type of the last step does not match the workflow's result: $ is string, not"
        " integer"
    ) == problem.message
    assert (__file__, last.__code__.co_firstlineno) == (problem.file, problem.line)


def test_several_last_steps_give_their_results_by_name() -> None:
    class Both(TypedDict):
        first: int
        second: str

    workflow = Workflow("shop.x", result=Both)
    workflow.step(name="first")(lambda: 1)
    workflow.step(name="second")(lambda: "b")

    assert {"first": 1, "second": "b"} == run_workflow_sync(workflow).result
