"""Handlers of the workflows that the browser tests run."""

from typing import Any

from tasker import PermanentError, RetryableError, handler


@handler("check_order")
def check_order(order: str) -> dict[str, Any]:
    print("checking", order)
    print("<b>found</b>", order)
    return {"order": order, "checked": True}


@handler("reserve_stock")
def reserve_stock() -> dict[str, int]:
    return {"reserved": 2}


@handler("charge_card")
def charge_card(card: str = "good") -> dict[str, str]:
    if card == "stolen":
        raise PermanentError("the card was reported stolen", code="CARD_REFUSED")
    if card == "lost":
        raise PermanentError("the card was reported lost", code="CARD_LOST")
    if card == "slow bank":
        raise RetryableError("bank: Service Unavailable", code="UNAVAILABLE", retry_after=3600)
    return {"charge": "ch_1"}


@handler("send_parcel")
def send_parcel() -> str:
    return "sent"


@handler("list_rows")
def list_rows() -> int:
    return 400


@handler("process_row")
def process_row() -> None:
    return None


@handler("echo")
def echo(text: str) -> dict[str, str]:
    raise PermanentError(text, code="<b>bold</b>")


@handler("fail_at_length")
def fail_at_length(text: str) -> None:
    raise PermanentError(text * (10_000 // len(text)), code="LONG")


@handler("answer_much")
def answer_much(text: str) -> dict[str, object]:
    """Return almost 1 MiB, as one long text and as many short ones."""
    return {"text": text * (450_000 // len(text)), "rows": [text] * (450_000 // (len(text) + 8))}
