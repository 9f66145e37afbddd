"""A client of the application under test, and the templates that the tests use."""

from datetime import timedelta
from typing import Any

import httpx

from tasker import PermanentError, RetryableError, Template, Worker, WorkerSettings
from tasker.model import StepSpec
from tasker.store.protocol import Store

UNKNOWN_TASK = "00000000-0000-7000-8000-000000000000"
SOON = 60.0  #: seconds; only a test that fails takes so long


class ApiClient(httpx.AsyncClient):
    """Calls an application and returns the JSON of its responses."""

    def __init__(self, store: Store, **options: Any) -> None:
        super().__init__(**options)
        self.store = store

    async def read(self, path: str, status: int = 200, **options: Any) -> Any:
        return self.json_of(await self.get(path, **options), status)

    async def call(
        self, path: str, body: Any = None, status: int = 200, method: str = "POST", **options: Any
    ) -> Any:
        return self.json_of(await self.request(method, path, json=body, **options), status)

    async def create(self, name: str = "shop.refund", status: int = 201, **fields: Any) -> Any:
        fields.setdefault("context", {"order": "o-1"})
        return await self.call("/v1/tasks", {"name": name, **fields}, status)

    def json_of(self, response: httpx.Response, status: int) -> Any:
        assert status == response.status_code, response.text
        kind = "application/problem+json" if status >= 400 else "application/json"
        assert kind == response.headers["content-type"]
        return response.json()

    def worker(self) -> Worker:
        """Return a worker for the tests' templates, to be entered."""
        settings = WorkerSettings(poll=timedelta(seconds=0.05))
        return Worker(self.store, [HANDLERS], namespaces="*", settings=settings)


def templates() -> list[Template]:
    """Return the tests' templates: one that completes, one that fails."""
    return [
        Template(
            namespace="shop",
            name="refund",
            version="1.0.0",
            description="Gives money back",
            steps=(
                StepSpec(name="look_up"),
                StepSpec(name="pay", dependencies=("look_up",)),
                StepSpec(name="tell", dependencies=("look_up",)),
                StepSpec(name="close", dependencies=("pay", "tell")),
            ),
            input_schema={
                "type": "object",
                "required": ["order"],
                "properties": {
                    "order": {"type": "string"},
                    "amount": {"type": "number", "minimum": 0, "default": 1},
                },
            },
        ),
        Template(
            namespace="shop",
            name="broken",
            version="0.9.0",
            steps=(StepSpec(name="fail"), StepSpec(name="after", dependencies=("fail",))),
        ),
    ]


def look_up(order: str) -> dict[str, str]:
    return {"order": order, "customer": "Ann"}


def pay(amount: float) -> float:
    return amount


def tell() -> str:
    return "told"


def close() -> None:
    return None


def fail() -> None:
    raise PermanentError("the till is locked", code="LOCKED")


def unstable() -> None:
    raise RetryableError("connection reset")


def after() -> None:
    return None


HANDLERS = {
    "look_up": look_up,
    "pay": pay,
    "tell": tell,
    "close": close,
    "fail": fail,
    "after": after,
    "unstable": unstable,
}
