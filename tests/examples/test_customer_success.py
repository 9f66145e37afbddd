"""The customer success team: what a request must say, what its ticket must be, who decides."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from examples.growthcorp.gateways import Trouble
from tests.examples.company import Company, company_templates, seed
from tests.examples.conftest import Opening

from tasker import InvalidInput, Template
from tasker.model import TaskFilter

pytestmark = pytest.mark.anyio

REFUND = "customer_success.process_refund@1.3.0"
VALIDATES = "validate_refund_request"


def request(**more: object) -> dict[str, Any]:
    return {
        "ticket_id": "TICKET-1234",
        "customer_id": "cust_abc123",
        "refund_amount": 49.99,
        "refund_reason": "defective",
        "customer_email": "customer@example.com",
        **more,
    }


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in request().items() if key not in keys}


async def test_a_request_ends_with_the_refund(company: Company) -> None:
    """
    Five steps; the fourth has payments refund it; the ticket is closed.
    """
    ended = await company.run(REFUND, request())

    assert "complete" == ended.state
    assert [
        "validate_refund_request",
        "check_refund_policy",
        "get_manager_approval",
        "execute_refund_workflow",
        "update_ticket_status",
    ] == list(ended.steps)
    assert {"customer_success"} == {step.result["namespace"] for step in ended.steps.values()}
    assert "closed" == ended.result("update_ticket_status")["new_status"]
    assert 1 == company.gateways.effects()["refunds"]


async def test_a_ticket_gets_one_refund(company: Company) -> None:
    """
    The first request closes the ticket; the same request again is refused.
    """
    await company.run(REFUND, request())
    again = await company.run(REFUND, request())

    assert "Cannot process refund for closed ticket" == again.error(VALIDATES)["message"]
    assert 1 == company.gateways.effects()["refunds"]


async def test_validation_returns_the_request_and_the_ticket(company: Company) -> None:
    """The result has the customer's request and the platform's ticket."""
    ended = await company.run(REFUND, request())

    result = ended.result(VALIDATES)
    for stamp in ("original_purchase_date", "validated_at", "validation_timestamp"):
        assert result.pop(stamp)
    assert {
        "request_validated": True,
        "ticket_id": "TICKET-1234",
        "customer_id": "cust_abc123",
        "ticket_status": "open",
        "customer_tier": "gold",
        "payment_id": "pay_1234",
        "refund_amount": 49.99,
        "reason": "defective",
        "namespace": "customer_success",
    } == result


# ------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("context", "missing"),
    [
        (without("refund_reason"), "refund_reason"),
        (request(ticket_id=""), "ticket_id"),
        (request(refund_reason="", customer_id=""), "customer_id, refund_reason"),
    ],
)
async def test_missing_fields_are_named(
    company: Company, context: dict[str, Any], missing: str
) -> None:
    """Absent and empty fields are equal: one permanent error names all of them."""
    ended = await company.run(REFUND, context)

    assert {
        "type": "PermanentError",
        "message": f"Missing required fields: {missing}",
        "code": "MISSING_FIELDS",
        "retryable": False,
    } == ended.error(VALIDATES)
    assert ["error"] == ended.outcomes(VALIDATES)


async def test_without_a_schema_the_handler_names_all_missing_fields(
    company_with: Opening,
) -> None:
    """The template of the third seed has no schema, so the handler checks its inputs."""
    async with company_with(templates=[seed("customer_success_process_refund_1.0.0")]) as company:
        ended = await company.run("customer_success.process_refund", {})

    message = "Missing required fields: ticket_id, customer_id, refund_amount, refund_reason"
    assert message == ended.error(VALIDATES)["message"]


async def test_a_context_that_does_not_match_the_schema_is_refused(company: Company) -> None:
    """No task is created."""
    with pytest.raises(InvalidInput, match="ticket_id"):
        await company.client.create_task(REFUND, without("ticket_id"))
    with pytest.raises(InvalidInput, match="refund_amount"):
        await company.client.create_task(REFUND, request(refund_amount=-1))

    assert [] == await company.client.tasks(TaskFilter())


@pytest.mark.parametrize(
    "reason",
    ["defective", "not_as_described", "changed_mind", "late_delivery", "duplicate_charge"],
)
async def test_five_reasons_are_accepted(company: Company, reason: str) -> None:
    ended = await company.run(REFUND, request(refund_reason=reason))

    assert "complete" == ended.states[VALIDATES]


async def test_any_other_reason_is_refused_with_the_accepted_ones(company: Company) -> None:
    ended = await company.run(REFUND, request(refund_reason="bored"))

    assert {
        "type": "PermanentError",
        "message": (
            "Invalid reason: bored. Must be one of: defective, not_as_described, changed_mind,"
            " late_delivery, duplicate_charge"
        ),
        "code": "INVALID_REASON",
        "retryable": False,
    } == ended.error(VALIDATES)


@pytest.mark.parametrize(
    ("ticket", "status"),
    [("TICKET-2001", "closed"), ("TICKET-2002", "cancelled"), ("TICKET-2003", "duplicate")],
)
async def test_a_closed_ticket_gets_no_refund(company: Company, ticket: str, status: str) -> None:
    """
    Closed, cancelled and duplicate tickets: one attempt, then the end.
    """
    ended = await company.run(REFUND, request(ticket_id=ticket))

    assert f"Cannot process refund for {status} ticket" == ended.error(VALIDATES)["message"]
    assert ["error"] == ended.outcomes(VALIDATES)


async def test_an_unknown_ticket_status_is_retried(company: Company) -> None:
    """
    It is asked for again, as often as the template allows.
    """
    ended = await company.run(REFUND, request(ticket_id="TICKET-2004"))

    assert ["retry", "retry", "error"] == ended.outcomes(VALIDATES)
    assert "Unknown ticket status: being_migrated" == ended.error(VALIDATES)["message"]


async def test_a_ticket_in_progress_counts_as_open(company: Company) -> None:
    """Its validation passes; the request fails later because the order is too old."""
    ended = await company.run(REFUND, request(ticket_id="TICKET-2005"))

    assert "in_progress" == ended.result(VALIDATES)["ticket_status"]
    assert "REFUND_WINDOW_CLOSED" == ended.error("check_refund_policy")["code"]


@pytest.mark.parametrize(
    ("context", "code"),
    [
        (request(ticket_id="TICKET-2006"), "REFUND_WINDOW_CLOSED"),
        (request(refund_amount=50_001), "AMOUNT_OVER_POLICY"),
    ],
)
async def test_the_policy_depends_on_the_tier(
    company: Company, context: dict[str, Any], code: str
) -> None:
    """Beyond the limits of time or amount, no approval is requested."""
    ended = await company.run(REFUND, context)

    assert code == ended.error("check_refund_policy")["code"]
    assert ["error"] == ended.outcomes("check_refund_policy")
    assert 0 == company.gateways.effects()["approvals"]


# ------------------------------------------------------------- what the platform answers


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "Customer service platform authentication failed"),
        (403, "Customer service platform authentication failed"),
        (404, "Ticket or customer not found in customer service system"),
    ],
)
async def test_permanent_answers_of_the_platform_fail_the_step(
    company_with: Opening, status: int, message: str
) -> None:
    """Missing permissions and missing objects are permanent."""
    async with company_with(Trouble(calls="GET /tickets", status=status)) as company:
        ended = await company.run(REFUND, request())

    assert message == ended.error(VALIDATES)["message"]
    assert ["error"] == ended.outcomes(VALIDATES)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (503, "Customer service platform unavailable, will retry"),
        (500, "Customer service system error: Internal Server Error"),
        (418, "Customer service system error: I'm a Teapot"),
    ],
)
async def test_temporary_answers_of_the_platform_are_retried(
    company_with: Opening, status: int, message: str
) -> None:
    """This includes unavailability and unknown errors."""
    async with company_with(Trouble(calls="GET /tickets", status=status)) as company:
        ended = await company.run(REFUND, request())

    assert ["retry", "complete"] == ended.outcomes(VALIDATES)
    error = next(entry.error for entry in ended.history if entry.outcome == "retry")
    assert error is not None
    assert message == error["message"]


async def test_an_unreachable_platform_is_retried(
    company_with: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing connection is a temporary error."""
    async with company_with() as company:
        monkeypatch.setenv("GROWTHCORP_GATEWAYS", "http://127.0.0.1:9")
        ended = await company.run(REFUND, request())

    assert ["retry", "retry", "error"] == ended.outcomes(VALIDATES)
    message = "Customer service platform connection failed, will retry"
    assert message == ended.error(VALIDATES)["message"]


async def test_an_unreadable_answer_of_the_platform_is_permanent(company_with: Opening) -> None:
    """An unreadable response is permanent, since the effect has happened."""
    async with company_with(
        Trouble(calls="GET /tickets", status=200, answer={"status": "open"})
    ) as company:
        ended = await company.run(REFUND, request())

    assert ["error"] == ended.outcomes(VALIDATES)
    assert "ODD_ANSWER" == ended.error(VALIDATES)["code"]


# ------------------------------------------------------------------------- approval


def impatient() -> list[Template]:
    """Return the templates with an approval that is looked at without delay."""
    return [
        replace(
            template,
            steps=tuple(
                replace(spec, config={**spec.config, "look_every_seconds": 0.001})
                if spec.name == "get_manager_approval"
                else spec
                for spec in template.steps
            ),
        )
        for template in company_templates()
    ]


async def test_a_refund_needs_an_approval(company_with: Opening) -> None:
    """The step waits for the decision and returns the approval."""
    async with company_with(templates=impatient(), looks=3) as company:
        ended = await company.run(REFUND, request())

    approval = ended.result("get_manager_approval")
    assert approval.pop("approved_at")
    assert {
        "approval_obtained": True,
        "approval_required": True,
        "approval_id": "appr_00000001",
        "approved_amount": 49.99,
        "payment_id": "pay_1234",
        "namespace": "customer_success",
    } == approval
    assert 3 == company.gateways.calls("GET /approvals")


async def test_a_rejected_request_ends(company: Company) -> None:
    """Nothing is delegated."""
    ended = await company.run(REFUND, request(agent_notes="please reject this"))

    assert "NOT_APPROVED" == ended.error("get_manager_approval")["code"]
    assert "pending" == ended.states["execute_refund_workflow"]
    assert 0 == company.gateways.effects()["refunds"]


async def test_approval_is_required_by_default(company: Company) -> None:
    """The schema's default is true; if it is false, no approval is requested."""
    asked = await company.run(REFUND, request())
    not_asked = await company.run(REFUND, request(ticket_id="TICKET-1235", requires_approval=False))

    assert True is asked.task.context["requires_approval"]
    assert asked.result("get_manager_approval")["approval_required"]
    assert not not_asked.result("get_manager_approval")["approval_required"]
    assert 1 == company.gateways.effects()["approvals"]


async def test_an_approval_has_one_attempt(company_with: Opening) -> None:
    """
    The template allows one: people are not asked twice because a service was away.
    """
    async with company_with(Trouble(calls="POST /approvals")) as company:
        ended = await company.run(REFUND, request())

    assert ["error"] == ended.outcomes("get_manager_approval")


async def test_an_approval_without_a_decision_times_out(company_with: Opening) -> None:
    """
    The step's own timeout ends the wait; here it is set to a blink.
    """
    templates = [
        replace(
            template,
            steps=tuple(
                replace(spec, timeout=timedelta(milliseconds=50))
                if spec.name == "get_manager_approval"
                else spec
                for spec in template.steps
            ),
        )
        for template in impatient()
    ]
    async with company_with(templates=templates, looks=1_000_000) as company:
        ended = await company.run(REFUND, request())

    assert "timeout" == ended.error("get_manager_approval")["code"]
    assert ["error"] == ended.outcomes("get_manager_approval")
