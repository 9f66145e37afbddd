"""The handlers of both teams."""

from typing import Any

from tasker import AsyncContext, PermanentError, handler

MOST = 500_000  #: cents


@handler("validate_refund_request")
def validate_refund_request(refund_amount: int) -> dict[str, Any]:
    """Refuse what a manager has to decide."""
    if refund_amount > MOST:
        message = f"a manager decides about {refund_amount} cents"
        raise PermanentError(message, code="NEEDS_MANAGER")
    return {"approved_amount": refund_amount}


@handler("execute_refund_workflow")
async def execute_refund_workflow(
    payment_id: str, validate_refund_request: dict[str, Any], context: AsyncContext
) -> Any:
    """Run the payments team's task: another namespace, and perhaps another language."""
    refund = {
        "payment_id": payment_id,
        "refund_amount": validate_refund_request["approved_amount"],
    }
    return await context.run_task("payments.process_refund", refund)


@handler("update_ticket_status")
def update_ticket_status(ticket_id: str, execute_refund_workflow: dict[str, Any]) -> dict[str, Any]:
    """Close the ticket."""
    return {
        "ticket_id": ticket_id,
        "ticket_status": "resolved",
        "refund_id": execute_refund_workflow["refund_id"],
    }


@handler("validate_payment_eligibility")
def validate_payment_eligibility(payment_id: str) -> dict[str, Any]:
    """Refuse closed payments."""
    if payment_id.startswith("closed_"):
        raise PermanentError(f"payment {payment_id} is closed", code="PAYMENT_CLOSED")
    return {"payment_id": payment_id, "eligible": True}


@handler("process_gateway_refund")
def process_gateway_refund(
    refund_amount: int, validate_payment_eligibility: dict[str, Any]
) -> dict[str, Any]:
    """Move the money; a real gateway gets `context.idempotency_key` and does so once."""
    payment = validate_payment_eligibility["payment_id"]
    return {"refund_id": f"refund_of_{payment}", "amount": refund_amount}
