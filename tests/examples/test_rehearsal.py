"""How a team tests its workflow without any services: steps stubbed, failures injected."""

from datetime import timedelta
from typing import Any

import pytest
from examples.growthcorp import payments
from tests.examples.company import TEMPLATES

from tasker import PermanentError, RetryableError
from tasker.testing import run_step, run_workflow

pytestmark = pytest.mark.anyio

TEMPLATE = TEMPLATES / "payments_process_refund_2.1.0.yaml"
CONTEXT: dict[str, Any] = {"payment_id": "pay_1", "refund_amount": 10}
ELIGIBLE = {"payment_id": "pay_1", "refund_amount": 10, "payment_method": "credit_card"}
REFUND = {"refund_id": "re_1", "amount": 10, "processed_at": "2030-01-01T00:00:00Z"}


def test_a_rule_can_be_tested_without_an_engine() -> None:
    run = run_step(
        payments.validate_payment_eligibility,
        input={"payment_id": "pay_1", "refund_amount": 1, "payment_method": "crypto"},
    )

    assert ("error", "METHOD_NOT_REFUNDABLE") == (run.outcome, getattr(run.error, "code", None))


async def test_a_workflow_can_be_tested_with_stubs_and_failures() -> None:
    """
    The ledger is down for two attempts: two delays are skipped, and the refund completes.
    """
    run = await run_workflow(
        TEMPLATE,
        CONTEXT,
        handlers=payments,
        stubs={
            "validate_payment_eligibility": ELIGIBLE,
            "check_fraud_indicators": {"score": 1},
            "process_gateway_refund": REFUND,
            "update_payment_records": {"record_id": "led_1"},
            "notify_stakeholders": {"notified": []},
        },
        failures={"update_payment_records": [RetryableError("ledger is down")] * 2},
    )

    assert run.ok
    assert 3 == run.steps["update_payment_records"].attempts
    assert timedelta(seconds=2.7) <= run.slept <= timedelta(seconds=3.3)


async def test_a_permanent_error_ends_the_test_run() -> None:
    """No step after a permanent error runs."""
    run = await run_workflow(
        TEMPLATE,
        CONTEXT,
        handlers=payments,
        stubs={
            "validate_payment_eligibility": ELIGIBLE,
            "check_fraud_indicators": PermanentError("no", code="FRAUD_SUSPECTED"),
        },
    )

    assert "error" == run.task.status
    assert ("validate_payment_eligibility",) == run.order
