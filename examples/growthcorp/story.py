"""The story of `tasker demo`: scenes, failures of the services, and their effects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .gateways import Gateways, Trouble

PACE_S = 0.12
"""How long every service takes to answer, so that people can watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approves:
    """A person approves what a step asks."""

    step: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pays:
    """The payment provider reports the payment that a step waits for."""

    step: str
    order_id: str
    cents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One task that the demo creates."""

    label: str
    template: str
    context: Mapping[str, Any]
    ends: str = "complete"  #: the state it is expected to end in
    correlation_prefix: str = ""  #: of its correlation id; "": the task's own id is it
    about: str = ""  #: what to see in it afterwards; "": nothing special
    retried: str = ""  #: an operator's reason to retry it after its failure; "": nobody does
    acts: tuple[Approves | Pays, ...] = ()  #: what others do, each when its step waits for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Tasks that run at the same time, and what to see in them."""

    title: str
    notice: str
    submissions: tuple[Submission, ...]
    kill_at: str = ""  #: the call during which the worker process is killed, as "POST /billing"


SCENES = (
    Scene(
        title="Two versions of payments.process_refund, side by side",
        notice=(
            "2.0.0: the notification service is too slow for the first attempt."
            " 2.1.0: the gateway refunds, but its answer is lost; asked again under the same"
            " key, it does not refund twice."
        ),
        submissions=(
            Submission(
                label="refund 2.0.0",
                template="payments.process_refund@2.0.0",
                context={
                    "payment_id": "pay_legacy_456",
                    "refund_amount": 4999,
                    "refund_reason": "customer_request",
                },
            ),
            Submission(
                label="refund 2.1.0",
                template="payments.process_refund@2.1.0",
                context={"payment_id": "pay_new_123", "refund_amount": 12900},
            ),
        ),
    ),
    Scene(
        title="Another team, the same name: customer_success.process_refund",
        notice=(
            "Its execute_refund_workflow has payments do the refund, as a task of its own under"
            " the same correlation id, and holds no worker while it waits. The ticket system"
            " is down at first and says when to come back."
        ),
        submissions=(
            Submission(
                label="customer refund",
                template="customer_success.process_refund@1.3.0",
                context={
                    "ticket_id": "TICKET-1234",
                    "customer_id": "cust_abc123",
                    "refund_amount": 49.99,
                    "refund_reason": "defective",
                    "customer_email": "customer@example.com",
                },
                correlation_prefix="cs-",
            ),
        ),
    ),
    Scene(
        title="A diamond: microservices.user_registration",
        notice=(
            "Billing and preferences run at the same time. Billing fails twice; the welcome"
            " waits for both."
        ),
        submissions=(
            Submission(
                label="registration",
                template="microservices.user_registration",
                context={
                    "user_info": {
                        "email": "new.user@example.com",
                        "name": "New User",
                        "plan": "pro",
                        "source": "signup_form",
                    }
                },
            ),
        ),
    ),
    Scene(
        title="A worker process is killed: inventory.process_return",
        notice=(
            "kill -9 hits the inventory team's worker while the warehouse books the goods in."
            " Another worker takes the step over. Asked again under the same key, the"
            " warehouse does not book them twice."
        ),
        submissions=(
            Submission(
                label="return",
                template="inventory.process_return",
                context={"return_id": "RET-1007"},
                about="the attempt that was lost with its worker",
            ),
        ),
        kill_at="POST /warehouse/receipts",
    ),
    Scene(
        title="What fails says why, and an operator continues it",
        notice=(
            "A gift card over 500 is refused permanently: one attempt, nothing after it runs."
            " Billing stays down for three attempts, which ends that step; when it is back, an"
            " operator retries the task, and only what is missing runs."
        ),
        submissions=(
            Submission(
                label="gift card",
                template="payments.process_refund@2.1.0",
                context={
                    "payment_id": "pay_gift_789",
                    "refund_amount": 750,
                    "payment_method": "gift_card",
                },
                ends="error",
                about="why the gift card was refused",
            ),
            Submission(
                label="no billing",
                template="microservices.user_registration",
                context={
                    "user_info": {
                        "email": "second.user@example.com",
                        "name": "Second User",
                        "plan": "enterprise",
                    }
                },
                retried="billing is back",
                about="the failures, and the operator's retry",
            ),
        ),
    ),
    Scene(
        title="An order, from its reservation to the survey: sales.fulfil_order",
        notice=(
            "Each line is reserved by a step of its own; one of them is retried. The order is"
            " large, so a person approves it. The provider reports the payment by a webhook,"
            " each line becomes a parcel with a task of its own, and the survey follows after two"
            " weeks, which are two seconds here."
        ),
        submissions=(
            Submission(
                label="order",
                template="sales.fulfil_order",
                context={
                    "order_id": "A-1007",
                    "customer_id": "cust_abc123",
                    "lines": [
                        {"sku": "DESK-1", "quantity": 2, "cents": 45_000},
                        {"sku": "LAMP-2", "quantity": 4, "cents": 4_900},
                        {"sku": "CHAIR-3", "quantity": 2, "cents": 19_900},
                    ],
                },
                acts=(
                    Approves(step="approve", by="kim"),
                    Pays(step="payment", order_id="A-1007", cents=149_400),
                ),
                about="an approval, a payment, and parcels with tasks of their own",
            ),
        ),
    ),
)

TROUBLES = (
    Trouble(calls="POST /notifications", about="4999", status=0, slow_s=1.6),
    Trouble(calls="POST /payments/pay_new_123/refunds", status=504, answer_lost=True),
    Trouble(calls="GET /tickets/TICKET-1234", retry_after=1),
    Trouble(calls="POST /billing", about='"pro"', times=2),
    Trouble(calls="POST /billing", about='"enterprise"', times=3),
    Trouble(calls="POST /warehouse/receipts", status=0, slow_s=1.0),
    Trouble(calls="POST /warehouse/reservations", about="LAMP-2"),
)

EFFECTS = {
    "refunds": 3,
    "ledger entries": 3,
    "approvals": 1,
    "ticket updates": 1,
    "accounts": 2,
    "billing profiles": 2,
    "preferences": 2,
    "activations": 2,
    "notifications": 6,
    "goods receipts": 1,
    "stock updates": 1,
    "returns closed": 1,
    "reservations": 3,
    "checkouts": 1,
    "parcels": 3,
    "parcels handed over": 3,
}
"""What the services must have done in the end, each thing once, however often asked."""


def gateways() -> Gateways:
    """Start the services as this story needs them."""
    return Gateways(TROUBLES, pace_s=PACE_S)
