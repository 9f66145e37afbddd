"""Webhooks in the `Client` protocol and in the local client."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

from tasker.events import (
    Delivery,
    DeliveryId,
    DeliveryStatus,
    Patterns,
    Webhook,
    WebhookChange,
    new_webhook,
    new_webhook_secret,
    parse_event_patterns,
    parse_webhook_include,
    parse_webhook_url,
    split_webhook_name,
)
from tasker.store.protocol import AuditNote

if TYPE_CHECKING:
    from tasker.client.local import LocalClient


class WebhookClient(Protocol):
    """Methods for webhooks, available as `client.webhooks`.

    A webhook is named `namespace.name`, or only by its name in the namespace "default". It receives
    the events of its namespace.
    """

    async def create(
        self,
        name: str,
        url: str,
        events: Patterns = "*",
        *,
        include: Collection[str] = (),
        reason: str = "",
    ) -> Webhook:
        """Create a webhook, which receives events from now on.

        Args:
            name: `namespace.name`.
            url: The URL to which events are sent.
            events: Event names, or prefixes such as `payment.*`; `*` for all.
            include: Which of "context" and "result" the requests contain.
            reason: For the audit log.

        Returns:
            The webhook with its `secret`, which is never shown again.

        Raises:
            InvalidInput: A field is invalid.
            WebhookExists: The namespace already has a webhook or a subscriber with this name.
        """
        ...

    async def get(self, name: str) -> Webhook:
        """Return a webhook. Raises NotFound."""
        ...

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
        """Change a webhook; None keeps the current value. While the webhook is paused, its events
        wait.

        Raises: NotFound, InvalidInput.
        """
        ...

    async def replace_secret(self, name: str, *, reason: str = "") -> Webhook:
        """Replace the secret of a webhook and return the webhook with it. Raises NotFound."""
        ...

    async def delete(self, name: str, *, reason: str = "") -> None:
        """Delete a webhook and its deliveries. Raises NotFound."""
        ...

    async def deliveries(
        self,
        name: str,
        *,
        status: DeliveryStatus | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        """List the deliveries of a webhook or subscriber, newest first.

        Args:
            name: `namespace.name`.
            status: Only deliveries with this status.
            after: Only deliveries older than this id.
            limit: Maximum number, at most 1,000.

        Raises: NotFound.
        """
        ...

    async def send_again(self, name: str, delivery: int, *, reason: str = "") -> None:
        """Send an event again, even a delivered or dead one. Raises NotFound."""
        ...

    async def list(self, namespace: str | None = None) -> list[Webhook]:
        """List the webhooks of a namespace, or of all namespaces, by name."""
        ...


class LocalWebhooks(WebhookClient):
    """Implements `WebhookClient` with a store."""

    def __init__(self, client: "LocalClient") -> None:
        self._client = client
        self._store = client.store

    async def create(
        self,
        name: str,
        url: str,
        events: Patterns = "*",
        *,
        include: Collection[str] = (),
        reason: str = "",
    ) -> Webhook:
        new = new_webhook(name, url, events, include)
        stored = await self._store.add_webhook(new, self._audit_note(reason))
        return stored.with_secret(new.secret)

    async def get(self, name: str) -> Webhook:
        return await self._store.get_webhook(*split_webhook_name(name))

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
        change = WebhookChange(
            url=None if url is None else parse_webhook_url(url),
            events=None if events is None else parse_event_patterns(events),
            include=None if include is None else parse_webhook_include(include),
            paused=paused,
        )
        namespace, plain = split_webhook_name(name)
        return await self._store.update_webhook(namespace, plain, change, self._audit_note(reason))

    async def replace_secret(self, name: str, *, reason: str = "") -> Webhook:
        secret, (namespace, plain) = new_webhook_secret(), split_webhook_name(name)
        change = WebhookChange(secret=secret)
        stored = await self._store.update_webhook(
            namespace, plain, change, self._audit_note(reason)
        )
        return stored.with_secret(secret)

    async def delete(self, name: str, *, reason: str = "") -> None:
        await self._store.delete_webhook(*split_webhook_name(name), self._audit_note(reason))

    async def deliveries(
        self,
        name: str,
        *,
        status: DeliveryStatus | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        last = None if after is None else DeliveryId(after)
        return await self._store.list_deliveries(
            *split_webhook_name(name), status=status, after=last, limit=limit
        )

    async def send_again(self, name: str, delivery: int, *, reason: str = "") -> None:
        namespace, plain = split_webhook_name(name)
        act = self._audit_note(reason)
        await self._store.resend_delivery(namespace, plain, DeliveryId(delivery), act)

    async def list(self, namespace: str | None = None) -> list[Webhook]:
        return await self._store.list_webhooks(namespace=namespace)

    def _audit_note(self, reason: str) -> AuditNote:
        return AuditNote(actor=self._client.actor, reason=reason, via=self._client.via)
