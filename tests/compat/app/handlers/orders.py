"""Orders: functions with decorators, an async one among them, and models as inputs."""

from typing import Any

from pydantic import BaseModel, model_validator

from tasker_core.errors import PermanentError, RetryableError
from tasker_core.step_handler import depends_on, inputs, step_handler


class OrderInput(BaseModel):
    """The inputs of an order."""

    items: list[dict[str, Any]]
    token: str | None = None
    currency: str = "EUR"

    @model_validator(mode="after")
    def _has_items(self) -> "OrderInput":
        if not self.items:
            raise PermanentError("the cart is empty", error_code="EMPTY_CART")
        return self


class Cart(BaseModel):
    """A valid cart."""

    total: float
    currency: str


@step_handler("validate_cart")
@inputs(OrderInput)
def validate_cart(inputs: OrderInput) -> Cart:
    """Add up the items."""
    return Cart(total=sum(item["price"] for item in inputs.items), currency=inputs.currency)


@step_handler("process_payment")
@depends_on(cart=("validate_cart", Cart))
@inputs("token")
async def process_payment(cart: Cart, token: str | None, context: Any) -> dict[str, Any]:
    """Charge the total; the first attempt fails."""
    if token == "declined":
        raise PermanentError("declined", error_code="DECLINED", metadata={"total": cart.total})
    if not context.is_retry():
        raise RetryableError("gateway busy", retry_after=0)
    return {"charged": cart.total, "attempts": context.retry_count}


@step_handler("send_receipt")
@depends_on(payment="process_payment", cart="validate_cart")
def send_receipt(payment: dict[str, Any], cart: dict[str, Any]) -> str:
    """Return text: stored as `{"result": text}`; `cart` is no direct dependency."""
    return f"{payment['charged']} {cart['currency']}"
