"""The customer success team: classes that see a customer's request through.

Its workflow has the payments team's name for it, `process_refund`, and hands the refund
itself to that team: a task in another namespace, tied to this one by a correlation id.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Annotated, Any, ClassVar

from tasker import (
    AsyncContext,
    Config,
    Context,
    InvalidInput,
    NotFound,
    PermanentError,
    RetryableError,
    StepHandler,
    Task,
    TaskFailed,
    handler,
)

from .services import Reply, Unreachable, accepted, ask, ask_async, now

NAMESPACE = "customer_success"

Amount = int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidRequest:
    """The result of `validate_refund_request`."""

    ticket_id: str
    customer_id: str
    ticket_status: str
    customer_tier: str
    original_purchase_date: date
    payment_id: str
    refund_amount: Amount
    reason: str | None
    request_validated: bool = True
    namespace: str = NAMESPACE
    validated_at: datetime = field(default_factory=now)
    validation_timestamp: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The result of `get_manager_approval`."""

    approval_obtained: bool
    approval_required: bool
    approval_id: str
    approved_amount: Amount
    payment_id: str
    approved_at: datetime = field(default_factory=now)
    namespace: str = NAMESPACE


# ------------------------------------------------------------------------ validation


@handler("CustomerSuccess::StepHandlers::ValidateRefundRequestHandler")
class ValidateRefundRequestHandler(StepHandler):
    """Checks a request from the customer's side: what is said, and the ticket it is about."""

    required: ClassVar[tuple[str, ...]] = (
        "ticket_id",
        "customer_id",
        "refund_amount",
        "refund_reason",
    )
    reasons: ClassVar[tuple[str, ...]] = (
        "defective",
        "not_as_described",
        "changed_mind",
        "late_delivery",
        "duplicate_charge",
    )

    def call(self, context: Context) -> ValidRequest:
        self._check_input(context)
        ticket_id, customer_id = context.get_input("ticket_id"), context.get_input("customer_id")
        try:
            reply = ask("GET", f"/tickets/{ticket_id}/of/{customer_id}")
        except Unreachable as error:
            raise RetryableError(
                "Customer service platform connection failed, will retry", code="UNREACHABLE"
            ) from error
        ticket = self._ticket(reply)
        self._check_status(ticket["status"])
        try:
            return ValidRequest(
                ticket_id=ticket["ticket_id"],
                customer_id=ticket["customer_id"],
                ticket_status=ticket["status"],
                customer_tier=ticket["customer_tier"],
                original_purchase_date=date.fromisoformat(ticket["purchase_date"]),
                payment_id=ticket["payment_id"],
                refund_amount=context.get_input("refund_amount"),
                reason=context.get_input("refund_reason"),
            )
        except (KeyError, ValueError) as error:
            raise PermanentError(
                f"Failed to process validation results: {error!r}", code="ODD_ANSWER"
            ) from error

    def _check_input(self, context: Context) -> None:
        missing = [key for key in self.required if context.get_input(key) in (None, "")]
        if missing:
            raise PermanentError(
                f"Missing required fields: {', '.join(missing)}", code="MISSING_FIELDS"
            )
        reason = context.get_input("refund_reason")
        if self.reasons and reason not in self.reasons:
            raise PermanentError(
                f"Invalid reason: {reason}. Must be one of: {', '.join(self.reasons)}",
                code="INVALID_REASON",
            )

    def _ticket(self, reply: Reply) -> dict[str, Any]:
        match reply.status:
            case 200:
                return reply.body
            case 401 | 403:
                raise PermanentError(
                    "Customer service platform authentication failed", code="NOT_AUTHORIZED"
                )
            case 404:
                raise PermanentError(
                    "Ticket or customer not found in customer service system", code="NOT_FOUND"
                )
            case 503:
                raise RetryableError(
                    "Customer service platform unavailable, will retry",
                    code="UNAVAILABLE",
                    retry_after=reply.retry_after,
                )
            case _:
                raise RetryableError(
                    f"Customer service system error: {reply.message}",
                    code="SYSTEM_ERROR",
                    retry_after=reply.retry_after,
                )

    def _check_status(self, status: str) -> None:
        match status:
            case "open" | "in_progress":
                return
            case "closed" | "cancelled" | "duplicate":
                raise PermanentError(
                    f"Cannot process refund for {status} ticket", code=f"TICKET_{status.upper()}"
                )
            case _:
                raise RetryableError(f"Unknown ticket status: {status}", code="UNKNOWN_STATUS")


@handler("BlogExamples::Post04::StepHandlers::ValidateRefundRequestHandler")
class ValidateFreelyGivenReasonHandler(ValidateRefundRequestHandler):
    """The same for requests whose reason, if there is one, is free text."""

    required = ("ticket_id", "customer_id", "refund_amount")
    reasons = ()


# ---------------------------------------------------------------------------- policy


@dataclass(frozen=True, slots=True)
class Policy:
    """How long after a purchase, and up to what amount, a tier gets its money back."""

    window: timedelta
    most: Amount


POLICIES = {
    "standard": Policy(timedelta(days=30), 10_000),
    "gold": Policy(timedelta(days=60), 50_000),
    "premium": Policy(timedelta(days=90), 100_000),
}


@handler("BlogExamples::Post04::StepHandlers::CheckRefundPolicyHandler")
@handler("CustomerSuccess::StepHandlers::CheckRefundPolicyHandler")
class CheckRefundPolicyHandler(StepHandler):
    """Holds the request against the policy of the customer's tier."""

    def call(self, validate_refund_request: ValidRequest) -> dict[str, object]:
        request = validate_refund_request
        policy = POLICIES.get(request.customer_tier, POLICIES["standard"])
        age = now().date() - request.original_purchase_date
        if age > policy.window:
            raise PermanentError(
                f"bought {age.days} days ago; {request.customer_tier} customers have"
                f" {policy.window.days}",
                code="REFUND_WINDOW_CLOSED",
            )
        if request.refund_amount > policy.most:
            raise PermanentError(
                f"{request.refund_amount} is more than {policy.most}, the most for"
                f" {request.customer_tier} customers",
                code="AMOUNT_OVER_POLICY",
            )
        return {
            "policy_checked": True,
            "policy_compliant": True,
            "customer_tier": request.customer_tier,
            "days_left": (policy.window - age).days,
            "namespace": NAMESPACE,
        }


# -------------------------------------------------------------------------- approval


@handler("BlogExamples::Post04::StepHandlers::GetManagerApprovalHandler")
@handler("CustomerSuccess::StepHandlers::GetManagerApprovalHandler")
class GetManagerApprovalHandler(StepHandler):
    """Asks for approval where it is wanted, and waits until somebody has decided.

    It waits in the event loop, where waiting costs nothing, until the step's own timeout.
    """

    async def call(
        self,
        context: Context,
        validate_refund_request: ValidRequest,
        requires_approval: bool = True,
        agent_notes: str = "",
        look_every: Annotated[float, Config("look_every_seconds")] = 1.0,
    ) -> Approval:
        request = validate_refund_request
        if not requires_approval:
            return self._approval(request, "not-required", required=False)
        wanted = {
            "ticket_id": request.ticket_id,
            "amount": request.refund_amount,
            "notes": agent_notes,
        }
        reply = await ask_async("POST", "/approvals", wanted, key=context.idempotency_key)
        asked = accepted(reply, "approvals")
        approval_id, decision = asked["approval_id"], asked["decision"]
        while decision == "pending":
            await asyncio.sleep(look_every)
            reply = await ask_async("GET", f"/approvals/{approval_id}")
            decision = accepted(reply, "approvals")["decision"]
        if decision != "approved":
            raise PermanentError(f"approval {approval_id} was {decision}", code="NOT_APPROVED")
        return self._approval(request, approval_id, required=True)

    def _approval(self, request: ValidRequest, approval_id: str, *, required: bool) -> Approval:
        return Approval(
            approval_obtained=True,
            approval_required=required,
            approval_id=approval_id,
            approved_amount=request.refund_amount,
            payment_id=request.payment_id,
        )


# ------------------------------------------------------------------------ delegation


@handler("CustomerSuccess::StepHandlers::ExecuteRefundWorkflowHandler")
class ExecuteRefundWorkflowHandler(StepHandler):
    """Creates the payments team's task, and leaves the rest to that team.

    All it knows of payments is a name, a version and the inputs.
    A second attempt finds the task of the
    first, so that one request leads to one refund.
    """

    async def call(self, context: AsyncContext) -> dict[str, object]:
        task = await self.delegate(context)
        return {
            "task_delegated": True,
            "status": "delegated_to_payments",
            "target_namespace": task.template.namespace,
            "target_workflow": task.template.name,
            "target_version": task.template.version,
            "payment_task_id": task.id,
            "delegated_task_id": task.id,
            "delegated_task_status": "created",
            "delegation_timestamp": now(),
            "correlation_id": task.correlation_id,
            "namespace": NAMESPACE,
        }

    async def delegate(self, context: AsyncContext) -> Task:
        """Create the task, or come to the one that an attempt before created."""
        inputs = self.inputs(context)
        namespace = context.get_config("target_namespace") or "payments"
        workflow = context.get_config("target_workflow") or "process_refund"
        try:
            task = await context.client.create_task(
                f"{namespace}.{workflow}",
                inputs,
                version=context.get_config("target_version"),
                correlation_id=inputs["correlation_id"],
                reason=f"refund for ticket {inputs['ticket_id']}",
            )
        except (NotFound, InvalidInput) as error:
            raise PermanentError(f"payments refused the task: {error}", code=error.code) from error
        return task

    def inputs(self, context: Context) -> dict[str, Any]:
        """Return the inputs of the other team's task: a ticket becomes a payment."""
        approval = context.get_dependency_result("get_manager_approval") or {}
        if not approval.get("approval_obtained"):
            raise PermanentError(
                "Manager approval must be obtained before executing refund", code="NOT_APPROVED"
            )
        request = context.get_dependency_result("validate_refund_request") or {}
        if not request.get("payment_id"):
            raise PermanentError(
                "Payment ID not found in validation results", code="MISSING_PAYMENT_ID"
            )
        inputs = {
            "payment_id": request["payment_id"],
            "refund_amount": context.get_input("refund_amount"),
            "refund_reason": "customer_request",  # theirs is a list of four, ours is not
            "initiated_by": NAMESPACE,
            "approval_id": approval["approval_id"],
            "ticket_id": context.get_input("ticket_id"),
            "correlation_id": self.correlation_id(context),
        }
        email = context.get_input("customer_email")
        return inputs if email is None else {**inputs, "customer_email": email}

    def correlation_id(self, context: Context) -> str:
        """Return the correlation id of both tasks: the caller's, or this task's own."""
        return str(context.get_input_or("correlation_id", context.correlation_id))


@handler("BlogExamples::Post04::StepHandlers::ExecuteRefundWorkflowHandler")
class ExecuteWithOwnCorrelationHandler(ExecuteRefundWorkflowHandler):
    """The same, under a correlation id of the team's own: `cs-` and sixteen digits.

    It is made from the task's id, since every attempt must come to the same.
    """

    def correlation_id(self, context: Context) -> str:
        made = f"cs-{context.task_id.replace('-', '')[-16:]}"
        return str(context.get_input_or("correlation_id", made))


@handler("CustomerSuccess::StepHandlers::ExecutePaymentRefundHandler")
class ExecutePaymentRefundHandler(ExecuteRefundWorkflowHandler):
    """Creates the payments team's task, and waits until the money has moved.

    While it waits it holds no worker: the step is parked, and starts again when the other
    task has ended, be it in a minute or next week.
    """

    async def call(self, context: AsyncContext) -> dict[str, object]:
        task = await self.delegate(context)
        try:
            await context.client.wait(task.id)
        except TaskFailed as failure:
            raise RetryableError(
                f"Payment refund failed: {failure}",
                code="PAYMENT_FAILED",
                details={"payments_task_id": task.id},
            ) from failure
        steps = {step.name: step for step in await context.client.steps(task.id)}
        refund = steps["process_gateway_refund"].result
        return {
            "payment_refund_id": refund["refund_id"],
            "refund_amount": refund["amount"],
            "refunded_at": refund["processed_at"],
            "payment_task_id": task.id,
            "payments_task_id": task.id,
            "correlation_id": task.correlation_id,
            "namespace": NAMESPACE,
        }


# ---------------------------------------------------------------------------- ticket


@handler("BlogExamples::Post04::StepHandlers::UpdateTicketStatusHandler")
@handler("CustomerSuccess::StepHandlers::UpdateTicketStatusHandler")
class UpdateTicketStatusHandler(StepHandler):
    """Closes the ticket, or notes on it who has the refund in hand."""

    def call(
        self, context: Context, execute_refund_workflow: dict[str, Any], ticket_id: str
    ) -> dict[str, object]:
        refund_id = execute_refund_workflow.get("payment_refund_id")
        note = {
            "status": "closed" if refund_id else "in_progress",
            "refund_id": refund_id,
            "refund_task_id": execute_refund_workflow["payment_task_id"],
        }
        reply = ask("PUT", f"/tickets/{ticket_id}", note, key=context.idempotency_key)
        ticket = accepted(reply, "customer service platform")
        return {
            "ticket_updated": True,
            "ticket_id": ticket_id,
            "new_status": ticket["status"],
            "refund_task_id": note["refund_task_id"],
            "namespace": NAMESPACE,
        }
