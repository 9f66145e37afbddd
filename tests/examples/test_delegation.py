"""One team's workflow has another team's do the work: whose task it is, how often it is
made, what ties both together, and what happens when it fails.
"""

import re
from dataclasses import replace
from typing import Any

import pytest
from examples.growthcorp import payments
from examples.growthcorp.customer_success import (
    CheckRefundPolicyHandler,
    ExecutePaymentRefundHandler,
    GetManagerApprovalHandler,
    UpdateTicketStatusHandler,
    ValidateRefundRequestHandler,
)
from examples.growthcorp.gateways import Trouble
from tests.examples.company import Company, Ended, company_of, company_templates, seed
from tests.examples.conftest import Opening, Troubled
from tests.examples.test_customer_success import request

from tasker import AsyncContext, RetryableError, Task, Template
from tasker.model import TaskFilter

pytestmark = pytest.mark.anyio

REFUND = "customer_success.process_refund"
DELEGATES = "execute_refund_workflow"
WAITING = "CustomerSuccess::StepHandlers::ExecutePaymentRefundHandler"
OTHERS = (
    payments,
    ValidateRefundRequestHandler,
    CheckRefundPolicyHandler,
    GetManagerApprovalHandler,
    UpdateTicketStatusHandler,
)


async def children(company: Company, parent: Ended) -> list[Task]:
    return await company.client.tasks(TaskFilter(parent_id=parent.task.id))


async def test_the_other_teams_task_is_a_child_with_the_same_correlation_id(
    company: Company,
) -> None:
    """Both tasks have the correlation id of the caller."""
    ended = await company.run(REFUND, request(), correlation_id="cs-0123456789abcdef")

    (child,) = await children(company, ended)
    assert "payments.process_refund@2.1.0" == str(child.template)
    assert "complete" == child.status
    assert "cs-0123456789abcdef" == ended.task.correlation_id == child.correlation_id
    matches = await company.client.tasks(TaskFilter(correlation_id="cs-0123456789abcdef"))
    assert {ended.task.id, child.id} == {task.id for task in matches}


async def test_the_default_correlation_id_is_the_id_of_the_creating_task(company: Company) -> None:
    """
    The link leads back to the task that began it.
    """
    ended = await company.run(REFUND, request())

    (child,) = await children(company, ended)
    assert ended.task.id == child.correlation_id
    assert ended.task.id == ended.result(DELEGATES)["correlation_id"]


async def test_the_request_uses_the_fields_of_the_other_team(company: Company) -> None:
    """A ticket becomes a payment, and reasons are mapped to those of payments."""
    ended = await company.run(REFUND, request())

    (child,) = await children(company, ended)
    assert {
        "payment_id": "pay_1234",
        "refund_amount": 49.99,
        "refund_reason": "customer_request",
        "partial_refund": False,
        "payment_method": "credit_card",
        "initiated_by": "customer_success",
        "approval_id": "appr_00000001",
        "ticket_id": "TICKET-1234",
        "correlation_id": ended.task.id,
        "customer_email": "customer@example.com",
    } == child.context


async def test_the_step_waits_and_returns_the_result_of_payments(company: Company) -> None:
    """
    It is parked meanwhile, which costs no attempt.
    """
    ended = await company.run(REFUND, request())

    (child,) = await children(company, ended)
    refund = (await company.ended(child.id)).result("process_gateway_refund")
    assert {
        "payment_refund_id": refund["refund_id"],
        "refund_amount": refund["amount"],
        "refunded_at": refund["processed_at"],
        "payment_task_id": child.id,
        "payments_task_id": child.id,
        "correlation_id": ended.task.id,
        "namespace": "customer_success",
    } == ended.result(DELEGATES)
    assert ["parked", "complete"] == ended.outcomes(DELEGATES)


# ------------------------------------------------------------- once, however often tried


class FailsAfterDelegating(ExecutePaymentRefundHandler):
    """Dies twice after it has created the other task."""

    async def call(self, context: AsyncContext) -> dict[str, object]:
        done = await super().call(context)
        if context.counted_attempts < 3:
            raise RetryableError("the worker was hit by lightning")
        return done


async def test_attempts_that_fail_after_delegating_create_one_task(troubled: Troubled) -> None:
    """Every attempt finds the task of the first."""
    handlers = [*OTHERS, {WAITING: FailsAfterDelegating}]
    async with company_of(troubled(), handlers, company_templates_of_refunds()) as company:
        ended = await company.run(REFUND, request())
        made = await children(company, ended)

    assert "complete" == ended.state
    assert ["parked", "retry", "retry", "complete"] == ended.outcomes(DELEGATES)
    assert 1 == len(made)
    assert 1 == company.gateways.effects()["refunds"]


def company_templates_of_refunds() -> list[Template]:
    return [template for template in company_templates() if template.name == "process_refund"]


async def test_a_failure_of_payments_is_retried_and_then_final(
    company_with: Opening,
) -> None:
    """
    The other team's failure is retryable here: its task may be repaired meanwhile.
    """
    down = Trouble(calls="POST /payments/pay_1234/refunds", times=99)
    async with company_with(down) as company:
        ended = await company.run(REFUND, request())
        (child,) = await children(company, ended)

    assert ("error", "error") == (ended.state, child.status)
    assert ["parked", "retry", "retry", "error"] == ended.outcomes(DELEGATES)
    assert "PAYMENT_FAILED" == ended.error(DELEGATES)["code"]
    assert str(ended.error(DELEGATES)["message"]).startswith("Payment refund failed: ")
    assert "pending" == ended.states["update_ticket_status"]


async def test_the_request_continues_once_payments_has_resolved_its_task(
    company_with: Opening,
) -> None:
    """
    Each team retries its own; the money moves once.
    """
    down = Trouble(calls="POST /payments/pay_1234/refunds", times=2)
    async with company_with(down) as company:
        failed = await company.run(REFUND, request())
        (child,) = await children(company, failed)
        await company.client.retry(child.id, reason="the gateway is back")
        await company.ended(child.id)
        await company.client.retry(failed.task.id, reason="payments has repaired it")
        ended = await company.ended(failed.task.id)

    assert ("error", "complete") == (failed.state, ended.state)
    assert 1 == company.gateways.effects()["refunds"]


async def test_a_refusal_of_payments_is_final(company_with: Opening) -> None:
    """
    A version that does not exist, or input that does not fit: no other attempt helps.
    """
    templates = [_pinned(template, "9.9.9") for template in company_templates()]
    async with company_with(templates=templates) as company:
        ended = await company.run(REFUND, request())

    assert ["error"] == ended.outcomes(DELEGATES)
    assert "not_found" == ended.error(DELEGATES)["code"]


def _pinned(template: Template, version: str) -> Template:
    """Return a template whose delegating step pins another version of payments."""
    return replace(
        template,
        steps=tuple(
            replace(spec, config={**spec.config, "target_version": version})
            if spec.name == DELEGATES
            else spec
            for spec in template.steps
        ),
    )


# ------------------------------------------------------------------- what comes before


@pytest.mark.parametrize(
    ("approval", "validated", "message", "code"),
    [
        (
            {"approval_obtained": False},
            {"payment_id": "pay_1"},
            "Manager approval must be obtained before executing refund",
            "NOT_APPROVED",
        ),
        (
            None,
            {"payment_id": "pay_1"},
            "Manager approval must be obtained before executing refund",
            "NOT_APPROVED",
        ),
        (
            {"approval_obtained": True, "approval_id": "a"},
            {"ticket_id": "TICKET-1"},
            "Payment ID not found in validation results",
            "MISSING_PAYMENT_ID",
        ),
    ],
)
async def test_nothing_is_delegated_before_approval_and_payment(
    troubled: Troubled,
    approval: dict[str, Any] | None,
    validated: dict[str, Any],
    message: str,
    code: str,
) -> None:
    """The step checks the earlier results and fails if they are not sufficient."""
    handlers = [
        payments,
        ExecutePaymentRefundHandler,
        UpdateTicketStatusHandler,
        {
            "CustomerSuccess.StepHandlers.ValidateRefundRequestHandler": lambda: validated,
            "CustomerSuccess.StepHandlers.CheckRefundPolicyHandler": lambda: None,
            "CustomerSuccess.StepHandlers.GetManagerApprovalHandler": lambda: approval,
        },
    ]
    async with company_of(troubled(), handlers, company_templates_of_refunds()) as company:
        ended = await company.run(REFUND, request())
        made = await children(company, ended)

    assert {
        "type": "PermanentError",
        "message": message,
        "code": code,
        "retryable": False,
    } == ended.error(DELEGATES)
    assert [] == made


# ---------------------------------------------------------------------- other contracts


async def test_a_team_may_delegate_without_waiting(company_with: Opening) -> None:
    """The third document prints it: the step only creates the task."""
    templates = [
        seed("customer_success_process_refund_1.0.0"),
        seed("payments_process_refund_1.0.0"),
    ]
    async with company_with(templates=templates) as company:
        ended = await company.run(REFUND, request())
        (child,) = await children(company, ended)
        paid = await company.ended(child.id)

    delegated = ended.result(DELEGATES)
    assert delegated.pop("delegation_timestamp")
    assert {
        "task_delegated": True,
        "status": "delegated_to_payments",
        "target_namespace": "payments",
        "target_workflow": "process_refund",
        "target_version": "1.0.0",
        "payment_task_id": child.id,
        "delegated_task_id": child.id,
        "delegated_task_status": "created",
        "correlation_id": ended.task.id,
        "namespace": "customer_success",
    } == delegated
    assert ("complete", "complete") == (ended.state, paid.state)
    assert "in_progress" == ended.result("update_ticket_status")["new_status"]


@pytest.mark.parametrize("given", [None, "cs-of-the-caller"])
async def test_a_team_may_set_its_own_correlation_ids(
    company_with: Opening, given: str | None
) -> None:
    """The first document prints it: `cs-` and sixteen digits, unless the context has one."""
    templates = [
        seed("customer_success_process_refund_1.3.3"),
        seed("payments_process_refund_2.1.3"),
    ]
    context: dict[str, Any] = {
        "ticket_id": "cs_456",
        "customer_id": "cust_789",
        "refund_amount": 4999,
        "refund_reason": "Product defective",
        "agent_notes": "Customer very upset, expedite refund",
        "requires_approval": True,
        **({"correlation_id": given} if given else {}),
    }
    async with company_with(templates=templates) as company:
        ended = await company.run(REFUND, context)
        (child,) = await children(company, ended)

    carried = child.context["correlation_id"]
    assert carried == child.correlation_id == ended.result(DELEGATES)["correlation_id"]
    if given:
        assert given == carried
    else:
        assert re.fullmatch(r"cs-[0-9a-f]{16}", str(carried))


async def test_a_new_version_of_payments_does_not_affect_callers_of_the_old_one(
    company: Company,
) -> None:
    """Customer success pins 2.1.0, regardless of later releases."""
    payments_2_1 = (await company.client.template("payments.process_refund@2.1.0")).template
    await company.client.register(
        replace(payments_2_1, version="3.0.0", steps=payments_2_1.steps[:1], environments={})
    )

    ended = await company.run(REFUND, request())
    direct = await company.run(
        "payments.process_refund", {"payment_id": "pay_1", "refund_amount": 1}
    )

    (child,) = await children(company, ended)
    assert "2.1.0" == child.template.version
    assert "3.0.0" == direct.task.template.version
