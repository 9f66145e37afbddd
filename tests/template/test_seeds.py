"""The templates of the founding stories, as they were printed."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.template.problems import prepared

from tasker.errors import InvalidTemplate
from tasker.graph import Graph
from tasker.model import Backoff, Retry, Template
from tasker.template.load import load_template

SEEDS = Path(__file__).parent.parent / "seeds"


def seed(name: str) -> Template:
    return load_template(SEEDS / f"{name}.yaml")


def seconds(template: Template) -> list[float | None]:
    return [step.timeout.total_seconds() if step.timeout else None for step in template.steps]


def test_the_older_payments_refund_has_the_printed_fields() -> None:
    """All keys of the rails dialect reach the model."""
    template = seed("payments_process_refund_2.1.3")

    assert template.full_name == "payments.process_refund@2.1.3"
    assert template.description == "Process payment gateway refunds"
    assert [step.name for step in template.steps] == [
        "validate_payment_eligibility",
        "process_gateway_refund",
        "update_payment_records",
        "notify_customer",
    ]
    assert [step.dependencies for step in template.steps] == [
        (),
        ("validate_payment_eligibility",),
        ("process_gateway_refund",),
        ("update_payment_records",),
    ]
    assert [step.retry.max_attempts for step in template.steps] == [3, 2, 3, 5]
    assert seconds(template) == [15, 30, 20, 10]
    assert {step.dependent_system for step in template.steps} == {"payment_gateway"}
    assert template.steps[0].handler == "Payments.StepHandlers.ValidatePaymentEligibilityHandler"
    assert template.steps[0].config == {"timeout_seconds": 15}
    assert template.metadata == {"task_handler_class": "Payments::ProcessRefundHandler"}


def test_the_older_customer_refund_keeps_the_connection_settings_of_its_handler() -> None:
    """Keys of `handler_config` that the engine reads stay there for the handler."""
    template = seed("customer_success_process_refund_1.3.3")
    delegating = template.step("execute_refund_workflow")

    assert template.full_name == "customer_success.process_refund@1.3.3"
    assert [step.retry.max_attempts for step in template.steps] == [3, 2, 1, 3, 3]
    assert seconds(template) == [15, 10, 300, None, 15]
    assert delegating.retry == Retry(
        max_attempts=3,
        backoff=Backoff.EXPONENTIAL,
        initial_delay=timedelta(seconds=2),
        max_delay=timedelta(seconds=60),
        jitter=0.1,
    )
    assert delegating.config == {
        "url": "http://payments-service.example.com",
        "retry_delay": 2.0,
        "enable_exponential_backoff": True,
        "jitter_factor": 0.1,
        "target_namespace": "payments",
        "target_workflow": "process_refund",
    }


def test_the_older_schemas_fill_their_defaults() -> None:
    """`partial_refund` and `requires_approval` have a default."""
    payments = seed("payments_process_refund_2.1.3")
    customers = seed("customer_success_process_refund_1.3.3")

    assert prepared(payments, {"payment_id": "pay_123", "refund_amount": 4999}) == {
        "payment_id": "pay_123",
        "refund_amount": 4999,
        "partial_refund": False,
    }
    assert prepared(customers, {"ticket_id": "T-1", "customer_id": "c", "refund_amount": 1}) == {
        "ticket_id": "T-1",
        "customer_id": "c",
        "refund_amount": 1,
        "requires_approval": True,
    }


def test_the_newer_refunds_share_a_name_in_two_namespaces() -> None:
    """`payments.process_refund` and `customer_success.process_refund` are two workflows."""
    payments = seed("payments_process_refund_1.0.0")
    customers = seed("customer_success_process_refund_1.0.0")

    assert [payments.full_name, customers.full_name] == [
        "payments.process_refund@1.0.0",
        "customer_success.process_refund@1.0.0",
    ]
    assert [step.handler for step in payments.steps] == [
        "team_scaling_payments_validate_eligibility",
        "team_scaling_payments_process_gateway_refund",
        "team_scaling_payments_update_records",
        "team_scaling_payments_notify_customer",
    ]
    assert customers.step("execute_refund_workflow").retry == Retry(
        max_attempts=3, initial_delay=timedelta(seconds=5), max_delay=timedelta(seconds=60)
    )
    assert customers.step("check_refund_policy").retry == Retry()
    assert [step.retry.max_attempts for step in payments.steps] == [3, 2, 3, 5]


def test_the_registration_is_a_diamond() -> None:
    """Billing and preferences run side by side; the welcome waits for both."""
    template = seed("user_registration_1.0.0")
    graph = Graph(template)

    assert template.full_name == "microservices.user_registration@1.0.0"
    assert graph.levels[1:] == [0, 1, 1, 2, 3]
    assert template.step("send_welcome_sequence").dependencies == (
        "setup_billing_profile",
        "initialize_preferences",
    )
    assert template.steps[0].handler == "Microservices.StepHandlers.CreateUserAccountHandler"
    assert [
        (step.retry.max_attempts, step.retry.initial_delay.seconds, step.retry.max_delay.seconds)
        for step in template.steps
    ] == [(3, 2, 30), (3, 2, 30), (3, 2, 30), (2, 2, 20), (2, 1, 60)]


@pytest.mark.parametrize("name", ["payments_collision", "customer_success_collision"])
def test_the_colliding_blocks_have_no_steps(name: str) -> None:
    """The stories print the heads of two templates to show their names; no steps, no template."""
    with pytest.raises(InvalidTemplate) as raised:
        seed(name)

    assert [(problem.line, problem.message) for problem in raised.value.problems] == [
        (2, "'step_templates' is missing: a template needs at least one step")
    ]


def test_the_block_on_configuration_is_an_incomplete_template() -> None:
    """It shows where settings go, and has no name; its step is read all the same."""
    path = SEEDS / "fragment_execute_refund_workflow.yaml"
    with pytest.raises(InvalidTemplate) as raised:
        load_template(path)

    assert str(raised.value) == f"{path}:1:1: 'name' is missing"
