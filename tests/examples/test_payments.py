"""The payments team: what its handlers accept, refuse, and do once."""

from typing import Any

import pytest
from examples.growthcorp.gateways import Trouble
from tests.examples.company import Company, seed
from tests.examples.conftest import Opening

pytestmark = pytest.mark.anyio

REFUND = "payments.process_refund@2.1.0"
CHECKS = "validate_payment_eligibility"


def payment(**more: object) -> dict[str, Any]:
    return {"payment_id": "pay_xyz789", "refund_amount": 49.99, **more}


async def test_a_refund_runs_all_steps_and_names_its_payment(company: Company) -> None:
    """Version 2.1.0 checks for fraud before the refund, and notifies customer and teams."""
    ended = await company.run(
        REFUND,
        payment(
            refund_reason="fraud",
            customer_email="customer@example.com",
            initiated_by="customer_success",
        ),
    )

    assert "complete" == ended.state
    assert [
        "validate_payment_eligibility",
        "check_fraud_indicators",
        "process_gateway_refund",
        "update_payment_records",
        "notify_stakeholders",
    ] == list(ended.steps)
    assert {"payments"} == {step.result["namespace"] for step in ended.steps.values()}
    notified = ended.result("notify_stakeholders")["notified"]
    assert ["customer@example.com", "finance", "customer_success"] == notified


async def test_eligibility_reports_the_checks(company: Company) -> None:
    """
    The first step's result has the fields that the team's contract names.
    """
    ended = await company.run(REFUND, payment())

    result = ended.result(CHECKS)
    assert result.pop("validation_timestamp")
    assert {
        "payment_validated": True,
        "payment_id": "pay_xyz789",
        "refund_amount": 49.99,
        "payment_method": "credit_card",
        "eligibility_status": "eligible",
        "namespace": "payments",
    } == result


@pytest.mark.parametrize(
    ("method", "amount", "ends"),
    [
        ("credit_card", 49.99, "complete"),
        ("debit_card", 49.99, "complete"),
        ("bank_transfer", 49.99, "complete"),
        ("store_credit", 49.99, "complete"),
        ("gift_card", 500.0, "complete"),
        ("gift_card", 500.01, "error"),
        ("crypto", 1, "error"),
    ],
)
async def test_some_payment_methods_cannot_be_refunded(
    company: Company, method: str, amount: float, ends: str
) -> None:
    """
    Cards and transfers can, gift cards up to 500, crypto never, unknown methods may.
    """
    ended = await company.run(REFUND, payment(payment_method=method, refund_amount=amount))

    assert ends == ended.state
    if ends == "error":
        assert {
            "type": "PermanentError",
            "message": f"Payment method '{method}' does not support automated refunds",
            "code": "METHOD_NOT_REFUNDABLE",
            "retryable": False,
        } == ended.error(CHECKS)


@pytest.mark.parametrize(
    ("context", "message", "code"),
    [
        (payment(refund_amount=0), "Refund amount must be positive", "INVALID_AMOUNT"),
        (
            payment(refund_amount=100_001),
            "100000 of pay_xyz789 can be refunded, not 100001",
            "AMOUNT_TOO_HIGH",
        ),
        (payment(payment_id="order_7"), "payment gateway: no payment order_7", "REFUSED"),
    ],
)
async def test_an_invalid_payment_fails_permanently(
    company: Company, context: dict[str, Any], message: str, code: str
) -> None:
    """A refused payment takes one attempt, and no later step runs."""
    ended = await company.run(REFUND, context)

    assert {
        "type": "PermanentError",
        "message": message,
        "code": code,
        "retryable": False,
    } == ended.error(CHECKS)
    assert ["error"] == ended.outcomes(CHECKS)
    assert ["error", "pending", "pending", "pending", "pending"] == list(ended.states.values())
    assert {} == company.gateways.effects()


async def test_a_missing_payment_id_is_refused_where_no_schema_does(company_with: Opening) -> None:
    """The template of the third seed has no schema; its first step reports the missing field."""
    async with company_with(templates=[seed("payments_process_refund_1.0.0")]) as company:
        ended = await company.run("payments.process_refund", {"refund_amount": 5})

    assert "MISSING_INPUT" == ended.error(CHECKS)["code"]
    assert "payment_id" in str(ended.error(CHECKS)["message"])
    assert ["error"] == ended.outcomes(CHECKS)


async def test_a_suspected_fraud_is_not_refunded(company: Company) -> None:
    """Version 2.1.0 stops before the refund; the error has the score."""
    ended = await company.run(REFUND, payment(payment_id="pay_stolen_1"))

    assert "FRAUD_SUSPECTED" == ended.error("check_fraud_indicators")["code"]
    error = ended.steps["check_fraud_indicators"].error or {}
    assert {"score": 91, "refused_from": 80} == error["details"]
    assert "pending" == ended.states["process_gateway_refund"]
    assert 0 == company.gateways.effects()["refunds"]


async def test_version_2_0_0_does_not_check_for_fraud(company: Company) -> None:
    ended = await company.run(
        "payments.process_refund", payment(payment_id="pay_stolen_1"), version="2.0.0"
    )

    assert "complete" == ended.state
    assert "check_fraud_indicators" not in ended.steps


# ---------------------------------------------------------------- once, whatever happens


async def test_a_lost_response_does_not_refund_twice(company_with: Opening) -> None:
    """The gateway refunded but its response was lost; the second attempt finds the same refund."""
    lost = Trouble(calls="POST /payments/pay_xyz789/refunds", status=504, answer_lost=True)
    async with company_with(lost) as company:
        ended = await company.run(REFUND, payment())

    assert ["retry", "complete"] == ended.outcomes("process_gateway_refund")
    assert 1 == company.gateways.effects()["refunds"]
    assert 2 == company.gateways.asked()["refunds"]
    assert "re_00000001" == ended.result("process_gateway_refund")["refund_id"]


async def test_an_unexpected_response_does_not_repeat_a_refund(
    company_with: Opening,
) -> None:
    """Errors after the effect are permanent."""
    odd = Trouble(calls="POST /payments/pay_xyz789/refunds", status=201, answer_lost=True)
    async with company_with(odd) as company:
        ended = await company.run(REFUND, payment())

    assert "ODD_ANSWER" == ended.error("process_gateway_refund")["code"]
    assert ["error"] == ended.outcomes("process_gateway_refund")
    assert 1 == company.gateways.asked()["refunds"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 418])
async def test_temporary_answers_are_retried(company_with: Opening, status: int) -> None:
    """Rate limits, server errors and unknown errors are retried."""
    async with company_with(Trouble(calls="POST /payments", status=status)) as company:
        ended = await company.run(REFUND, payment())

    assert ["retry", "complete"] == ended.outcomes("check_fraud_indicators")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_refusals_are_final(company_with: Opening, status: int) -> None:
    """
    An answer that would be the same another time ends the step at once.
    """
    async with company_with(Trouble(calls="POST /payments", status=status)) as company:
        ended = await company.run(REFUND, payment())

    assert ["error"] == ended.outcomes("check_fraud_indicators")
    assert "REFUSED" == ended.error("check_fraud_indicators")["code"]


async def test_the_gateway_sets_the_delay_of_a_retry(company_with: Opening) -> None:
    """
    Retry-After decides the delay, not the template's backoff.
    """
    async with company_with(Trouble(calls="POST /payments", status=429, retry_after=7)) as company:
        ended = await company.run(REFUND, payment())

    assert "complete" == ended.state
    assert {"check_fraud_indicators": [7.0]} == company.delays


async def test_a_gateway_that_stays_unavailable_fails_the_step(company_with: Opening) -> None:
    """`max_attempts: 2` means two attempts in all; earlier steps stay complete."""
    async with company_with(Trouble(calls="POST /payments/pay_xyz789/refunds", times=9)) as company:
        ended = await company.run(REFUND, payment())

    assert "error" == ended.state
    assert ["retry", "error"] == ended.outcomes("process_gateway_refund")
    assert "complete" == ended.states["check_fraud_indicators"]
    assert "pending" == ended.states["update_payment_records"]
    assert {
        "type": "RetryableError",
        "message": "payment gateway: Service Unavailable",
        "code": "UNAVAILABLE",
        "retryable": True,
    } == ended.error("process_gateway_refund")


async def test_unreachable_services_are_retried(
    company_with: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with company_with() as company:
        monkeypatch.setenv("GROWTHCORP_GATEWAYS", "http://127.0.0.1:9")
        ended = await company.run(REFUND, payment())

    assert ["retry", "retry", "error"] == ended.outcomes(CHECKS)
    assert "UNREACHABLE" == ended.error(CHECKS)["code"]


async def test_an_operator_can_retry_a_refund(company_with: Opening) -> None:
    """Once the gateway is back, the retried step and its task complete."""
    async with company_with(Trouble(calls="POST /payments/pay_xyz789/refunds", times=2)) as company:
        failed = await company.run(REFUND, payment())
        await company.client.retry(failed.task.id, reason="the gateway is back")
        ended = await company.ended(failed.task.id)

    assert ("error", "complete") == (failed.state, ended.state)
    assert ["retry", "error", "complete"] == ended.outcomes("process_gateway_refund")
    assert 1 == company.gateways.effects()["refunds"]
