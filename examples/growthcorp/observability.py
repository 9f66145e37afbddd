"""Observability of checkouts: business figures, slow steps and failures, from events.

The workflow knows nothing of this module. Its steps declare events, and the subscribers below turn
them into counters, histograms and alerts. Their failures do not affect a checkout.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from tasker import Event, EventSpec, PermanentError, RetryableError, SyncContext, Workflow, on_event

THRESHOLDS = {
    "validate_cart": 2.0,
    "process_payment": 5.0,
    "update_inventory": 3.0,
    "create_order": 2.0,
    "send_confirmation": 4.0,
}  #: seconds after which a step counts as slow
LARGE_ORDER = 500.0  #: a failed order of this value is reported at once
STEP = EventSpec("step.completed", payload={})
FAILED = EventSpec("step.failed", "failure", {"error": "error", "value": "input.order_value"})

checkout = Workflow("ecommerce.checkout", version="1.0.0")


@checkout.step(events=[STEP, FAILED])
def validate_cart(order_value: float) -> dict[str, float]:
    """Check the cart."""
    return {"total": order_value}


@checkout.step(
    events=[
        EventSpec(
            "payment.processed",
            payload={"value": "result.charged", "tier": "input.customer_tier"},
            schema={"type": "object", "properties": {"value": {"type": "number"}}},
        ),
        STEP,
        FAILED,
    ]
)
def process_payment(
    validate_cart: dict[str, float], context: SyncContext, card: str = "good"
) -> dict[str, float]:
    """Charge the customer; the bank is busy now and then."""
    if card == "expired":
        raise PermanentError("the card is expired", code="CARD_EXPIRED")
    if card == "busy" and context.attempt == 1:
        raise RetryableError("the bank is busy", code="BANK_BUSY", retry_after=0.01)
    return {"charged": validate_cart["total"]}


@checkout.step(events=[STEP, FAILED])
def update_inventory(process_payment: dict[str, float], stock: int = 10) -> int:
    """Take the items out of stock."""
    if stock < 1:
        raise PermanentError("out of stock", code="OUT_OF_STOCK")
    return stock - 1


@checkout.step(events=[STEP, FAILED, EventSpec("order.created", payload="input.order_value")])
def create_order(process_payment: dict[str, float], update_inventory: int) -> str:
    """Store the order."""
    return "order-1"


class Alert(NamedTuple):
    """A finding for a person."""

    kind: str
    facts: Mapping[str, Any]


class Figures:
    """Counters, durations and alerts, as a metrics library would keep them.

    A delivery may be repeated, so events that were counted before are left out.
    """

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.revenue: Counter[str] = Counter()  #: by the customer's tier
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)  #: by step
        self.alerts: list[Alert] = []
        self._seen: set[tuple[str, str]] = set()

    def is_new(self, subscriber: str, event: Event) -> bool:
        """Return whether a subscriber has not seen an event yet."""
        is_new = (subscriber, event.id) not in self._seen
        self._seen.add((subscriber, event.id))
        return is_new

    def alert(self, kind: str, event: Event, **facts: Any) -> None:
        """Report something, with what leads to the task."""
        known = {
            "task_id": event.task_id,
            "step": event.step,
            "correlation_id": event.correlation_id,
        }
        self.alerts.append(Alert(kind, {**known, **facts}))


figures = Figures()


@on_event("payment.*", "order.*", "step.failed", namespace="ecommerce")
def business_metrics(event: Event) -> None:
    """Count conversions, revenue and losses."""
    if not figures.is_new("business", event):
        return
    if event.name == "payment.processed":
        figures.counters["payments_processed_total"] += 1
        figures.revenue[event.payload["tier"] or "standard"] += event.payload["value"]
    elif event.name == "order.created":
        figures.counters["checkout_conversions_total"] += 1
    elif event.name == "step.failed" and event.outcome == "error":
        figures.counters["checkout_failures_total"] += 1
        if (event.payload["value"] or 0) > LARGE_ORDER:
            figures.alert("revenue_loss", event, value=event.payload["value"])
        if event.step == "update_inventory":
            figures.alert("oversell_risk", event)


@on_event("step.*", namespace="ecommerce")
def performance(event: Event) -> None:
    """Measure steps, and report slow ones and exhausted retries."""
    if not figures.is_new("performance", event):
        return
    if event.duration is not None:
        figures.seconds[event.step].append(event.duration)
        limit = THRESHOLDS.get(event.step, 5.0)
        if event.duration > limit:
            figures.alert("bottleneck", event, factor=round(event.duration / limit, 1))
    if event.name == "step.failed":
        code = event.payload["error"].get("code", "unknown")
        figures.counters[f"step_failures_total{{{event.step},{code}}}"] += 1
        if event.outcome == "error" and event.attempt > 1:
            figures.alert("retries_exhausted", event, attempts=event.attempt)
