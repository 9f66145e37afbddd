"""The sales team: an order from its reservation to the survey two weeks later.

The special parts of an order are in its template: one reservation for each line, a person's
approval above a limit, the payment that arrives by a webhook, a task for each parcel, and the
wait before the survey. The handlers only call the services.
"""

from datetime import timedelta
from typing import Annotated, Any

from tasker import Config, Context, Item, PermanentError, handler

from .services import accepted, ask, ask_async

CURRENCY = "USD"


@handler("Sales::PriceOrder")
def price_order(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up the lines."""
    return {"cents": sum(line["quantity"] * line["cents"] for line in lines), "currency": CURRENCY}


@handler("Sales::ReserveLine")
async def reserve_line(line: Item[dict[str, Any]], ctx: Context) -> dict[str, Any]:
    """Reserve the goods of one line; without enough stock, nothing else of the order happens."""
    wanted = {"sku": line["sku"], "quantity": line["quantity"]}
    reply = await ask_async("POST", "/warehouse/reservations", wanted, key=ctx.idempotency_key)
    if reply.status == 409:
        raise PermanentError(f"not enough {line['sku']} in stock", code="OUT_OF_STOCK")
    return accepted(reply, "warehouse")


@handler("Sales::ReleaseLine")
async def release_line(reserve: Any, ctx: Context) -> None:
    """Give the goods of one line back, when the order fails later."""
    path = f"/warehouse/reservations/{reserve['reservation_id']}"
    accepted(await ask_async("PUT", path, {}, key=ctx.idempotency_key), "warehouse")


@handler("Sales::RequestPayment")
async def request_payment(order_id: str, price: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Open a checkout at the payment provider, once."""
    wanted = {"order_id": order_id, "cents": price["cents"], "currency": price["currency"]}
    reply = await ask_async("POST", "/checkouts", wanted, key=ctx.idempotency_key)
    return accepted(reply, "payment provider")


@handler("Sales::CheckPayment")
def check_payment(payment: dict[str, Any], price: dict[str, Any]) -> dict[str, Any]:
    """Compare what was paid with what the order costs."""
    if payment["cents"] != price["cents"]:
        raise PermanentError(
            f"paid {payment['cents']} instead of {price['cents']} cents", code="WRONG_AMOUNT"
        )
    return {"payment_id": payment["id"], "cents": payment["cents"]}


@handler("Sales::CloseCheckout")
async def close_checkout(request_payment: dict[str, Any], ctx: Context) -> None:
    """Close a checkout, so that nobody pays an order that failed."""
    path = f"/checkouts/{request_payment['checkout_id']}"
    accepted(await ask_async("PUT", path, {}, key=ctx.idempotency_key), "payment provider")


@handler("Sales::RefundPayment")
async def refund_payment(check_payment: dict[str, Any], ctx: Context) -> None:
    """Pay the customer back."""
    path = f"/payments/{check_payment['payment_id']}/refunds"
    wanted = {"amount": check_payment["cents"]}
    accepted(await ask_async("POST", path, wanted, key=ctx.idempotency_key), "payment provider")


@handler("Sales::PackLine")
def pack_line(order_id: str, sku: str, quantity: int, ctx: Context) -> dict[str, Any]:
    """Have the warehouse pack a parcel."""
    wanted = {"order_id": order_id, "sku": sku, "quantity": quantity}
    reply = ask("POST", "/warehouse/parcels", wanted, key=ctx.idempotency_key)
    return accepted(reply, "warehouse")


@handler("Sales::HandOver")
def hand_over(pack: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Hand the parcel over to the carrier."""
    reply = ask("PUT", f"/parcels/{pack['parcel_id']}", {}, key=ctx.idempotency_key)
    return accepted(reply, "carrier")


@handler("Sales::CloseOrder")
def close_order(
    ship: list[dict[str, Any]],
    survey_after_hours: Annotated[float, Config("survey_after_hours")],
    ctx: Context,
) -> dict[str, Any]:
    """Close the order, and choose when the customer is asked."""
    return {
        "tracking": [parcel["tracking"] for parcel in ship],
        "survey_at": (ctx.now() + timedelta(hours=survey_after_hours)).isoformat(),
    }


@handler("Sales::AskCustomer")
def ask_customer(order_id: str, customer_id: str, ctx: Context) -> dict[str, Any]:
    """Ask the customer how it was."""
    message = {"to": customer_id, "template": "survey", "order_id": order_id}
    reply = ask("POST", "/notifications", {"messages": [message]}, key=ctx.idempotency_key)
    return accepted(reply, "notification service")
