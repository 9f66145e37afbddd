"""Templates written in Python."""

import dataclasses
import inspect
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
from tasker.handlers.instances import Item
from tasker.model import ExternalSpec, Retry, StepOverride, Template
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


def test_a_workflow_equals_its_template_in_yaml() -> None:
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


def test_decorated_functions_stay_unchanged() -> None:
    """They can be called directly, and are found by their handlers' names."""
    workflow, [validate, charge, notify] = refund()

    assert validate("p", 5, None) == Payment("p", 5)
    assert workflow.functions == {
        "payments.process_refund.validate": validate,
        "payments.process_refund.charge": charge,
        "payments.process_refund.tell": notify,
    }
    assert Handlers.collect(workflow).registered_names() == (
        "payments.process_refund.charge",
        "payments.process_refund.tell",
        "payments.process_refund.validate",
    )


def test_a_model_gives_the_context_its_defaults() -> None:
    """The defaults come from its JSON Schema."""
    workflow, _ = refund()

    assert prepared(workflow.template, {"payment_id": "p", "cents": 5}) == {
        "payment_id": "p",
        "cents": 5,
        "partial": False,
    }


def test_a_name_without_a_namespace_is_in_the_default_namespace() -> None:
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


def test_steps_may_name_handlers_elsewhere() -> None:
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


def test_a_step_can_be_added_after_the_template_was_read() -> None:
    """The template may be read in between."""
    workflow = Workflow("growing")
    workflow.add("a")
    before = workflow.template
    workflow.add("b", after="a")

    assert [step.name for step in before.steps] == ["a"]
    assert [step.name for step in workflow.template.steps] == ["a", "b"]


def test_schemas_may_be_given_as_json() -> None:
    """JSON Schema replaces the model."""
    workflow = Workflow("plain", input={"type": "object", "required": ["id"]})
    workflow.add("a")

    assert workflow.template.input_schema == {"type": "object", "required": ["id"]}


def test_results_have_schemas_if_their_type_is_annotated() -> None:
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


def test_an_error_is_reported_with_its_function() -> None:
    """All errors are reported when the template is read."""
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


def test_a_step_name_is_unique() -> None:
    """The second step of a name raises at its declaration."""
    workflow = Workflow("twice")
    workflow.add("a")

    with pytest.raises(InvalidTemplate, match="the step 'a' is duplicated"):

        @workflow.step
        def a() -> None: ...


def test_a_function_that_is_not_a_step_is_refused_as_a_dependency() -> None:
    """A step that is declared later is refused too."""
    workflow = Workflow("w")

    def stranger() -> None: ...

    with pytest.raises(Misuse, match="after=stranger: this function is not a step of 'w' yet"):
        workflow.add("a", after=stranger)


def test_an_input_without_schema_is_refused() -> None:
    """It is refused at its declaration."""
    with pytest.raises(Misuse, match="the input of 'w' has no JSON Schema"):
        Workflow("w", input=Context)


def test_an_empty_workflow_has_no_template() -> None:
    """A template needs a step."""
    with pytest.raises(InvalidTemplate, match="needs at least one step"):
        _ = Workflow("w").template


def test_a_problem_of_a_step_without_a_function_names_the_workflow() -> None:
    workflow = Workflow("shop.x", version="1.0.0")
    workflow.step(name="first")(lambda: 1)
    workflow.approval("agree", "managers")

    with pytest.raises(InvalidTemplate) as refused:
        _ = workflow.template
    (problem,) = refused.value.problems
    assert "shop.x@1.0.0" == problem.file
    assert "an assignee must be user:NAME or role:NAME, not 'managers'" in problem.message


# ------------------------------------------------------------------------------ result


def test_the_last_step_must_return_the_result_type_of_the_workflow() -> None:
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


def test_the_result_of_several_last_steps_is_a_mapping() -> None:
    class Both(TypedDict):
        first: int
        second: str

    workflow = Workflow("shop.x", result=Both)
    workflow.step(name="first")(lambda: 1)
    workflow.step(name="second")(lambda: "b")

    assert {"first": 1, "second": "b"} == run_workflow_sync(workflow).result


# ------------------------------------------------------------------------------ bodies


def billing() -> Workflow[Any, Any]:
    """Build a workflow whose body has a map of its own, and uses a result from outside."""
    flow = Workflow("shop.billing", version="1.0.0")

    @flow.step
    def rate() -> int:
        return 2

    per_customer = flow.map_body("per_customer", over="input.customers", item="customer")

    @per_customer.step(when=per_customer.item.active)
    def fetch(customer: Item[dict[str, Any]]) -> list[int]:
        return list(customer["lines"])

    @per_customer.map(over=fetch, item="line")
    def bill(line: Item[int], rate: int) -> int:
        return line * rate

    @per_customer.step
    def close(bill: list[int]) -> int:
        return sum(bill)

    @flow.step
    def total(per_customer: list[int | None]) -> int:
        return sum(value or 0 for value in per_customer)

    return flow


def test_a_body_may_have_several_steps_and_nested_maps() -> None:
    customers = [
        {"active": True, "lines": [1, 2]},
        {"active": True, "lines": []},
        {"active": False, "lines": [9]},
    ]

    run = run_workflow_sync(billing(), {"customers": customers})

    assert (6, [6, 0, None]) == (run.result, run.steps["per_customer"].result)
    assert "skipped" == run.steps["per_customer[2].close"].status


def test_a_body_in_python_equals_one_in_yaml() -> None:
    """The step that has it depends on what its steps use from outside."""
    written = parse_template(
        """
name: billing
namespace_name: shop
version: 1.0.0
steps:
  - name: rate
    handler: {callable: shop.billing.rate, version: 1.0.0}
  - name: per_customer
    dependencies: [rate]
    map: {over: input.customers, as: customer}
    steps:
      - name: fetch
        when: customer.active
        handler: {callable: shop.billing.fetch, version: 1.0.0}
      - name: bill
        dependencies: [fetch]
        map: {over: results.fetch, as: line}
        handler: {callable: shop.billing.bill, version: 1.0.0}
      - name: close
        dependencies: [bill]
        handler: {callable: shop.billing.close, version: 1.0.0}
  - name: total
    dependencies: [per_customer]
    handler: {callable: shop.billing.total, version: 1.0.0}
"""
    )

    assert written == billing().template


def test_batches_and_loops_may_have_bodies() -> None:
    flow = Workflow("shop.import")
    part = flow.batch_body("parts", total="input.rows", size=4)
    part.step(name="size")(lambda cursor: cursor["end"] - cursor["start"])
    part.step(name="doubled")(lambda size: 2 * size)
    poll = flow.repeat_body(
        "poll", until=flow.results.status.done, max=5, every="1h", after="parts"
    )
    poll.step(name="ask")(lambda iteration, parts: iteration + len(parts))
    poll.step(name="status")(lambda ask: {"done": ask == 5, "asked": ask})

    run = run_workflow_sync(flow, {"rows": 10})

    assert [8, 8, 4] == run.steps["parts"].result
    assert {"done": True, "asked": 5} == run.result
    assert timedelta(hours=2) == run.slept


def test_problems_in_a_body_name_the_function() -> None:
    flow = Workflow("shop.billing")
    body = flow.map_body("each", over="input.items")

    @body.step(when="nothing.there")
    def work() -> None: ...

    with pytest.raises(InvalidTemplate) as raised:
        _ = flow.template

    (problem,) = raised.value.problems
    assert (__file__, work.__code__.co_firstlineno) == (problem.file, problem.line)
    assert "steps[0].steps[0].when" == problem.path

    flow.map_body("empty", over="input.items")
    with pytest.raises(InvalidTemplate, match="the body of 'empty' has no steps"):
        _ = flow.template


def test_an_external_step_is_declared_in_python() -> None:
    flow = Workflow("shop.parcel", version="1.0.0")

    @flow.step(external=ExternalSpec(timeout="1h", on_timeout="continue"))
    def label(context: Context) -> str:
        return "ordered"

    flow.wait("paid", signal="paid", key=flow.input.order, when=flow.results.label.ok)

    written = parse_template(
        """
name: parcel
namespace_name: shop
version: 1.0.0
steps:
  - name: label
    handler: {callable: shop.parcel.label, version: 1.0.0}
    external: {timeout: 1h, on_timeout: continue}
  - name: paid
    when: results.label.ok
    dependencies: [label]
    wait: {signal: paid, key: input.order}
"""
    )
    assert written == flow.template


def test_an_unknown_option_is_refused() -> None:
    flow = Workflow("shop.parcel")

    with pytest.raises(TypeError, match="unknown step option 'tiemout'; did you mean 'timeo"):
        flow.step(tiemout=3)  # type: ignore[call-overload]


def test_a_workflow_can_declare_whatever_a_template_has() -> None:
    """An argument for each field, but for the steps and the parts of its name."""
    fields = {field.name for field in dataclasses.fields(Template)}
    arguments = set(inspect.signature(Workflow).parameters)

    assert {"namespace", "steps", "input_schema"} == fields - arguments
    assert {"input", "result", "serves"} == arguments - fields


def test_a_workflow_has_the_title_attributes_retention_and_environments_of_yaml() -> None:
    workflow = Workflow(
        "shop.order",
        title="Order {input.id}",
        attributes={"order": "input.id"},
        retention="30d",
        environments={"test": {"pay": StepOverride(retry=Retry(max_attempts=1))}},
    )

    @workflow.step
    def pay(id: str) -> str:
        return id

    read = parse_template("""
name: order
namespace: shop
title: Order {input.id}
attributes: {order: input.id}
retention: 30d
steps: [{name: pay}]
environments: {test: {steps: [{name: pay, retry: {max_attempts: 1}}]}}
""")
    declared = workflow.template
    for name in ("title", "attributes", "retention", "environments"):
        assert getattr(read, name) == getattr(declared, name)
