"""The handlers of four teams: what `--handlers examples/growthcorp/handlers.py` finds.

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
from .sales import (
    ask_customer,
    check_payment,
    close_checkout,
    close_order,
    hand_over,
    pack_line,
    price_order,
    refund_payment,
    release_line,
    request_payment,
    reserve_line,
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
    "ask_customer",
    "check_fraud_indicators",
    "check_payment",
    "close_checkout",
    "close_order",
    "hand_over",
    "initialize_preferences",
    "notify_customer",
    "notify_stakeholders",
    "pack_line",
    "price_order",
    "process_gateway_refund",
    "refund_payment",
    "release_line",
    "request_payment",
    "reserve_line",
    "setup_billing_profile",
    "update_payment_records",
    "update_user_status",
    "validate_payment_eligibility",
]
