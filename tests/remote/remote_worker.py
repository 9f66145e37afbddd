"""A remote worker that tests drive call by call."""

from collections.abc import Sequence
from typing import Any, Self

from tests.api.api_client import ApiClient

HANDLERS = ("look_up", "pay", "tell", "close", "fail", "after")


class ManualRemoteWorker:
    """Sends the calls of one remote worker."""

    def __init__(self, api: ApiClient, answer: dict[str, Any]) -> None:
        self.api = api
        self.id = answer["worker"]
        self.registered = answer

    @classmethod
    async def register(
        cls, api: ApiClient, handlers: Sequence[Any] = HANDLERS, status: int = 201, **fields: Any
    ) -> Self:
        named = [{"name": each} if isinstance(each, str) else each for each in handlers]
        body = {"protocol": 1, "name": "w", "slots": 10, "namespaces": ["shop"], "handlers": named}
        return cls(api, await api.call("/v1/workers", {**body, **fields}, status))

    async def call(self, action: str, status: int = 200, **body: Any) -> Any:
        response = await self.api.post(f"/v1/workers/{self.id}/{action}", json=body)
        if status == 204:
            assert 204 == response.status_code, response.text
            return None
        return self.api.json_of(response, status)

    async def claim(self, most: int = 10, wait_s: float = 5) -> list[Any]:
        steps: list[Any] = (await self.call("claim", max=most, wait_s=wait_s))["steps"]
        return steps

    async def claim_one(self) -> Any:
        [step] = await self.claim()
        return step

    async def settle(self, *outcomes: dict[str, Any], most: int = 0) -> Any:
        return await self.call("settle", outcomes=outcomes, max=most)

    async def complete(self, step: Any, result: Any = None, most: int = 0) -> Any:
        return await self.settle(
            {"ticket": step["ticket"], "outcome": "complete", "result": result}, most=most
        )

    async def fail(self, step: Any, **error: Any) -> Any:
        reported = {"type": "Boom", "message": "it broke", **error}
        return await self.settle({"ticket": step["ticket"], "outcome": "failed", "error": reported})
