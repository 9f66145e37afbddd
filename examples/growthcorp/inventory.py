"""The inventory team: a workflow in Python, deployed by its own workers.

Its steps are functions; a parameter that has the name of a step gets that step's result.
"""

from datetime import timedelta
from typing import Any

from tasker import Context, PermanentError, Workflow

from .services import accepted, ask, ask_async

process_return = Workflow(
    "inventory.process_return",
    version="1.4.0",
    description="Take goods back: receive them, put them in stock, close the return",
)


@process_return.step(timeout=timedelta(seconds=15))
def authorize_return(return_id: str) -> dict[str, Any]:
    """Look the return up."""
    record = accepted(ask("GET", f"/returns/{return_id}"), "returns service")
    if record["status"] != "authorized":
        raise PermanentError(f"return {return_id} is {record['status']}", code="NOT_AUTHORIZED")
    return record


@process_return.step(timeout=timedelta(seconds=15))
async def receive_goods(authorize_return: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Book the goods in, once: the warehouse knows the key of a call that it had before."""
    wanted = {"sku": authorize_return["sku"], "quantity": authorize_return["quantity"]}
    reply = await ask_async("POST", "/warehouse/receipts", wanted, key=ctx.idempotency_key)
    return accepted(reply, "warehouse")


@process_return.step(timeout=timedelta(seconds=15))
def restock(receive_goods: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Offer the goods for sale again."""
    reply = ask(
        "PUT",
        f"/stock/{receive_goods['sku']}",
        {"receipt_id": receive_goods["receipt_id"], "quantity": receive_goods["quantity"]},
        key=ctx.idempotency_key,
    )
    return accepted(reply, "stock service")


@process_return.step(timeout=timedelta(seconds=15))
def close_return(return_id: str, restock: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Close the return."""
    closing = {"status": "closed", "in_stock": restock["in_stock"]}
    reply = ask("PUT", f"/returns/{return_id}", closing, key=ctx.idempotency_key)
    return accepted(reply, "returns service")
