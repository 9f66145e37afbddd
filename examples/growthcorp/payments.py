"""The payments team: plain functions that refund a payment through the gateway.

Both versions of `payments.process_refund` use them: 2.0.0 validates, refunds, records and
tells the customer; 2.1.0 looks for fraud first, and tells more people in the end.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from tasker import Config, Context, PermanentError, handler

from .services import accepted, ask, ask_async, now

NAMESPACE = "payments"
GIFT_CARD_LIMIT = 500.0

Amount = int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """The result of `validate_payment_eligibility`."""

    payment_id: str
    refund_amount: Amount
    payment_method: str
    payment_validated: bool = True
    eligibility_status: str = "eligible"
    namespace: str = NAMESPACE
    validation_timestamp: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """The action of the gateway."""

    refund_id: str
    amount: Amount
    processed_at: datetime
    refund_status: str = "processed"
    namespace: str = NAMESPACE


def refundable(method: str, amount: Amount) -> bool:
    """Whether a payment made by `method` can be refunded without a person."""
    match method:
        case "gift_card":
            return amount <= GIFT_CARD_LIMIT
        case "crypto":
            return False
        case _:
            return True


@handler("team_scaling_payments_validate_eligibility")
@handler("Payments::StepHandlers::ValidatePaymentEligibilityHandler")
def validate_payment_eligibility(
    payment_id: str, refund_amount: Amount, payment_method: str = "credit_card"
) -> Eligibility:
    """Check that the gateway can refund the payment."""
    if refund_amount <= 0:
        raise PermanentError("Refund amount must be positive", code="INVALID_AMOUNT")
    if not refundable(payment_method, refund_amount):
        raise PermanentError(
            f"Payment method '{payment_method}' does not support automated refunds",
            code="METHOD_NOT_REFUNDABLE",
        )
    payment = accepted(ask("GET", f"/payments/{payment_id}"), "payment gateway")
    if payment["refundable"] < refund_amount:
        raise PermanentError(
            f"{payment['refundable']} of {payment_id} can be refunded, not {refund_amount}",
            code="AMOUNT_TOO_HIGH",
        )
    return Eligibility(
        payment_id=payment_id, refund_amount=refund_amount, payment_method=payment_method
    )


@handler("Payments::StepHandlers::CheckFraudIndicatorsHandler")
async def check_fraud_indicators(
    validate_payment_eligibility: Eligibility,
    ctx: Context,
    refuse_from: Annotated[int, Config("refuse_from")] = 80,
) -> dict[str, object]:
    """Have the refund screened; new in 2.1.0."""
    payment = validate_payment_eligibility
    reply = await ask_async(
        "POST",
        f"/payments/{payment.payment_id}/screenings",
        {"amount": payment.refund_amount},
        key=ctx.idempotency_key,
    )
    score = accepted(reply, "fraud screening")["score"]
    if score >= refuse_from:
        raise PermanentError(
            f"the refund looks like fraud: score {score}",
            code="FRAUD_SUSPECTED",
            details={"score": score, "refused_from": refuse_from},
        )
    return {"fraud_checked": True, "score": score, "namespace": NAMESPACE}


@handler("team_scaling_payments_process_gateway_refund")
@handler("Payments::StepHandlers::ProcessGatewayRefundHandler")
def process_gateway_refund(
    validate_payment_eligibility: Eligibility, ctx: Context, refund_reason: str = "customer_request"
) -> Refund:
    """Move the money, once, in four phases."""
    payment = validate_payment_eligibility  # 1. extract and validate: the types did
    reply = ask(  # 2. execute: one effect, under one key in all attempts
        "POST",
        f"/payments/{payment.payment_id}/refunds",
        {"amount": payment.refund_amount, "reason": refund_reason},
        key=ctx.idempotency_key,
    )
    done = accepted(reply, "payment gateway")  # 3. validate the answer
    try:  # 4. process the result: the money has moved, so nothing here may ask for a retry
        return Refund(
            refund_id=done["refund_id"],
            amount=done["amount"],
            processed_at=datetime.fromisoformat(done["processed_at"]),
        )
    except (KeyError, ValueError) as error:
        raise PermanentError(
            f"the gateway's answer cannot be read: {error!r}", code="ODD_ANSWER", details=done
        ) from error


@handler("team_scaling_payments_update_records")
@handler("Payments::StepHandlers::UpdatePaymentRecordsHandler")
def update_payment_records(
    validate_payment_eligibility: Eligibility, process_gateway_refund: Refund, ctx: Context
) -> dict[str, object]:
    """Write the refund into the ledger; to write it twice is to write it once."""
    refund = process_gateway_refund
    entry = {
        "payment_id": validate_payment_eligibility.payment_id,
        "amount": refund.amount,
        "correlation_id": ctx.correlation_id,
    }
    reply = ask("PUT", f"/ledger/{refund.refund_id}", entry, key=ctx.idempotency_key)
    record = accepted(reply, "ledger")
    return {"records_updated": True, "record_id": record["record_id"], "namespace": NAMESPACE}


@handler("team_scaling_payments_notify_customer")
@handler("Payments::StepHandlers::NotifyCustomerHandler")
async def notify_customer(
    process_gateway_refund: Refund, ctx: Context, customer_email: str | None = None
) -> dict[str, object]:
    """Confirm the refund to the customer."""
    to = customer_email or "the address on file"
    return await _notify([to], process_gateway_refund, ctx)


@handler("Payments::StepHandlers::NotifyStakeholdersHandler")
async def notify_stakeholders(
    process_gateway_refund: Refund,
    ctx: Context,
    customer_email: str | None = None,
    initiated_by: str | None = None,
) -> dict[str, object]:
    """Confirm the refund to the customer, to finance, and to the team that asked for it."""
    teams = ["finance", *([initiated_by] if initiated_by else [])]
    return await _notify(
        [customer_email or "the address on file", *teams], process_gateway_refund, ctx
    )


async def _notify(recipients: list[str], refund: Refund, ctx: Context) -> dict[str, object]:
    """Send all messages in one call: one effect."""
    messages = [
        {"to": to, "text": f"refund {refund.refund_id} of {refund.amount}"} for to in recipients
    ]
    reply = await ask_async(
        "POST", "/notifications", {"messages": messages}, key=ctx.idempotency_key
    )
    sent = accepted(reply, "notification service")
    return {
        "notified": recipients,
        "message_ids": sent["message_ids"],
        "sent_at": now(),
        "namespace": NAMESPACE,
    }
