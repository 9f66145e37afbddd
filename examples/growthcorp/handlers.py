"""The handlers of three teams: what `--handlers examples/growthcorp/handlers.py` finds.

Each team keeps its own in its own module, and deploys them when it likes. The inventory team
has workers of its own: `--handlers examples/growthcorp/inventory.py`.
"""

from .customer_success import (
    CheckRefundPolicyHandler,
    ExecutePaymentRefundHandler,
    ExecuteRefundWorkflowHandler,
    ExecuteWithOwnCorrelationHandler,
    GetManagerApprovalHandler,
    UpdateTicketStatusHandler,
    ValidateFreelyGivenReasonHandler,
    ValidateRefundRequestHandler,
)
from .microservices import (
    CreateUserAccountHandler,
    SendWelcomeSequenceHandler,
    initialize_preferences,
    setup_billing_profile,
    update_user_status,
)
from .payments import (
    check_fraud_indicators,
    notify_customer,
    notify_stakeholders,
    process_gateway_refund,
    update_payment_records,
    validate_payment_eligibility,
)

__all__ = [
    "CheckRefundPolicyHandler",
    "CreateUserAccountHandler",
    "ExecutePaymentRefundHandler",
    "ExecuteRefundWorkflowHandler",
    "ExecuteWithOwnCorrelationHandler",
    "GetManagerApprovalHandler",
    "SendWelcomeSequenceHandler",
    "UpdateTicketStatusHandler",
    "ValidateFreelyGivenReasonHandler",
    "ValidateRefundRequestHandler",
    "check_fraud_indicators",
    "initialize_preferences",
    "notify_customer",
    "notify_stakeholders",
    "process_gateway_refund",
    "setup_billing_profile",
    "update_payment_records",
    "update_user_status",
    "validate_payment_eligibility",
]
