"""What the steps of the client tests do."""

from typing import Any

from tasker import Context, PermanentError


def greet(name: str) -> dict[str, str]:
    return {"greeting": f"Hello {name}"}


def shout(greet: dict[str, str]) -> str:
    return greet["greeting"].upper()


def refuse(context: Context) -> None:
    raise PermanentError("the card was declined", code="DECLINED")


def after(refuse: Any) -> Any:
    return refuse


def stumble() -> None:
    raise ConnectionError("no route")


HANDLERS = {
    "greet": greet,
    "shout": shout,
    "refuse": refuse,
    "after": after,
    "stumble": stumble,
}
