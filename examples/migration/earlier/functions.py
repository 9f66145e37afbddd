"""Handlers as functions with decorators."""

from typing import Any

from pydantic import BaseModel

from tasker_core.errors import PermanentError
from tasker_core.step_handler import (
    BatchConfig,
    Decision,
    batch_analyzer,
    batch_worker,
    decision_handler,
    depends_on,
    inputs,
    step_handler,
)
from tasker_core.types import BatchWorkerContext


class Cart(BaseModel):
    """A valid cart."""

    cents: int


@step_handler("validate_cart")
@inputs("items")
def validate_cart(items: list[dict[str, int]] | None) -> Cart:
    """Add up the items."""
    if not items:
        raise PermanentError("the cart is empty", error_code="EMPTY_CART")
    return Cart(cents=sum(item["cents"] for item in items))


@step_handler("charge")
@depends_on(cart=("validate_cart", Cart))
async def charge(cart: Cart) -> dict[str, Any]:
    """Charge the total."""
    return {"charged": cart.cents}


@step_handler("reserve")
@inputs("items")
def reserve(items: list[dict[str, int]]) -> dict[str, Any]:
    """Reserve the items."""
    return {"reserved": len(items)}


@step_handler("confirm")
@depends_on(charge="charge", reserve="reserve")
def confirm(charge: dict[str, Any], reserve: dict[str, Any]) -> dict[str, Any]:
    """Confirm the order."""
    return {"confirmed": f"{reserve['reserved']} items for {charge['charged']}"}


@decision_handler("decide_refund")
@inputs("cents")
def decide_refund(cents: int) -> Decision:
    """Ask for large amounts."""
    return Decision.route(["refund_at_once" if cents < 10_000 else "ask_manager"], cents=cents)


@step_handler("refund_at_once")
def refund_at_once() -> dict[str, Any]:
    """Refund."""
    return {"by": "rule"}


@step_handler("ask_manager")
def ask_manager() -> dict[str, Any]:
    """Ask."""
    return {"by": "manager"}


@step_handler("tell_customer")
@depends_on(small="refund_at_once", large="ask_manager")
def tell_customer(small: dict[str, Any] | None, large: dict[str, Any] | None) -> dict[str, Any]:
    """Send the answer of the branch that ran."""
    return {"answered_by": (small or large or {})["by"]}


@batch_analyzer("split_rows", worker_template="add")
@inputs("rows")
def split_rows(rows: int) -> BatchConfig:
    """Make batches of four rows."""
    return BatchConfig(total_items=rows, batch_size=4)


@batch_worker("add_rows")
def add_rows(batch_context: BatchWorkerContext) -> dict[str, Any]:
    """Add the rows of a batch."""
    return {"sum": sum(range(batch_context.start_cursor, batch_context.end_cursor))}
