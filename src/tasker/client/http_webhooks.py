"""Webhooks, based on the API."""

from collections.abc import Collection
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from tasker.client.requests import ApiRequestSender
from tasker.client.webhooks import WebhookClient
from tasker.events import Delivery, DeliveryStatus, Patterns, Webhook, split_webhook_name

_webhook = TypeAdapter(Webhook).validate_python
_webhooks = TypeAdapter(list[Webhook]).validate_python
_deliveries = TypeAdapter(list[Delivery]).validate_python


class HttpWebhooks(WebhookClient):
    """Implements `WebhookClient` with the API."""

    def __init__(self, requests: ApiRequestSender) -> None:
        self._requests = requests

    async def create(
        self,
        name: str,
        url: str,
        events: Patterns = "*",
        *,
        include: Collection[str] = (),
        reason: str = "",
    ) -> Webhook:
        namespace, plain = split_webhook_name(name)
        body = {
            "namespace": namespace,
            "name": plain,
            "url": url,
            "events": _patterns_to_list(events),
            "include": list(include),
            "reason": reason,
        }
        return _webhook(
            await self._requests.send("POST", "/v1/webhooks", body=body, repeatable=False)
        )

    async def get(self, name: str) -> Webhook:
        return _webhook(await self._requests.get(_webhook_path(name)))

    async def update(
        self,
        name: str,
        *,
        url: str | None = None,
        events: Patterns | None = None,
        include: Collection[str] | None = None,
        paused: bool | None = None,
        reason: str = "",
    ) -> Webhook:
        body: dict[str, Any] = {
            "url": url,
            "events": None if events is None else _patterns_to_list(events),
            "include": None if include is None else list(include),
            "paused": paused,
        }
        body = {key: value for key, value in body.items() if value is not None}
        return _webhook(
            await self._requests.send("PATCH", _webhook_path(name), body={**body, "reason": reason})
        )

    async def replace_secret(self, name: str, *, reason: str = "") -> Webhook:
        return _webhook(
            await self._requests.send(
                "POST", f"{_webhook_path(name)}/secret", body={"reason": reason}, repeatable=False
            )
        )

    async def delete(self, name: str, *, reason: str = "") -> None:
        query = {"reason": reason or None}
        await self._requests.send("DELETE", _webhook_path(name), query=query, repeatable=False)

    async def deliveries(
        self,
        name: str,
        *,
        status: DeliveryStatus | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        read = await self._requests.get(
            f"{_webhook_path(name)}/deliveries",
            status=None if status is None else DeliveryStatus(status).value,
            cursor=after,
            limit=limit,
        )
        return _deliveries(read["deliveries"])

    async def send_again(self, name: str, delivery: int, *, reason: str = "") -> None:
        path = f"{_webhook_path(name)}/deliveries/{delivery}/send"
        await self._requests.send("POST", path, body={"reason": reason}, repeatable=False)

    async def list(self, namespace: str | None = None) -> list[Webhook]:
        read = await self._requests.get("/v1/webhooks", namespace=namespace)
        return _webhooks(read["webhooks"])


def _patterns_to_list(events: Patterns) -> list[str]:
    return [events] if isinstance(events, str) else list(events)


def _webhook_path(name: str) -> str:
    namespace, plain = split_webhook_name(name)
    return f"/v1/webhooks/{quote(namespace, safe='')}/{quote(plain, safe='')}"
