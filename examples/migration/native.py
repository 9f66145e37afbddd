"""The same handlers as functions of Tasker."""

from typing import Annotated, Any

from pydantic import BaseModel

from tasker import Config, Context, Decision, Input, PermanentError, Result, handler


class Cart(BaseModel):
    """A valid cart."""

    cents: int


@handler
def validate_cart(items: list[dict[str, int]]) -> Cart:
    """Add up the items."""
    if not items:
        raise PermanentError("the cart is empty", code="EMPTY_CART")
    return Cart(cents=sum(item["cents"] for item in items))


@handler
async def charge(validate_cart: Cart) -> dict[str, Any]:
    """Charge the total."""
    return {"charged": validate_cart.cents}


@handler
def reserve(items: list[dict[str, int]]) -> dict[str, Any]:
    """Reserve the items."""
    return {"reserved": len(items)}


@handler
def confirm(charge: dict[str, Any], reserve: dict[str, Any]) -> dict[str, Any]:
    """Confirm the order."""
    return {"confirmed": f"{reserve['reserved']} items for {charge['charged']}"}


@handler
def create_account(email: str) -> dict[str, Any]:
    """Create an account."""
    if "@" not in email:
        raise PermanentError("no address", code="NO_ADDRESS")
    return {"account": email.partition("@")[0]}


@handler
def set_preferences(
    create_account: dict[str, Any], newsletter: Annotated[bool, Config("newsletter")]
) -> dict[str, Any]:
    """Set what the template says."""
    return {"account": create_account["account"], "newsletter": newsletter}


@handler
async def welcome(create_account: dict[str, Any]) -> dict[str, Any]:
    """Welcome an account."""
    return {"sent": create_account["account"]}


@handler
def decide_refund(cents: int) -> Decision:
    """Ask for large amounts."""
    return Decision.choose("refund_at_once" if cents < 10_000 else "ask_manager")


@handler
def refund_at_once() -> dict[str, Any]:
    """Refund."""
    return {"by": "rule"}


@handler
def ask_manager() -> dict[str, Any]:
    """Ask."""
    return {"by": "manager"}


@handler
def tell_customer(
    refund_at_once: dict[str, Any] | None, ask_manager: dict[str, Any] | None
) -> dict[str, Any]:
    """Send the answer of the branch that ran."""
    return {"answered_by": (refund_at_once or ask_manager or {})["by"]}


@handler
def check_payee(payee: str) -> dict[str, Any]:
    """Refuse unknown payees."""
    if payee == "unknown":
        raise PermanentError("unknown payee", code="UNKNOWN_PAYEE")
    return {"payee": payee}


@handler
def transfer(check_payee: dict[str, Any], amount: Annotated[int, Input("cents")]) -> dict[str, Any]:
    """Transfer the amount."""
    return {check_payee["payee"]: amount}


@handler
def split_rows(rows: int) -> dict[str, Any]:
    """Make batches of four rows."""
    starts = range(0, rows, 4)
    cursors = [{"start_cursor": start, "end_cursor": min(start + 4, rows)} for start in starts]
    return {"batch_processing_outcome": {"cursor_configs": cursors}}


@handler
def add_rows(context: Context) -> dict[str, Any]:
    """Add the rows of a batch."""
    return {"sum": sum(range(context.item["start_cursor"], context.item["end_cursor"]))}


@handler
def total(sums: Annotated[list[dict[str, int]], Result("add")]) -> dict[str, Any]:
    """Add the sums of all batches."""
    return {"total": sum(each["sum"] for each in sums)}
