"""Domain events, and the webhooks that receive them."""

from typing import Annotated, Literal

from fastapi import Depends, Path, Query
from pydantic import Field, StringConstraints
from starlette.requests import Request

from tasker import limits
from tasker.api.authorization import authorize, visible_namespaces
from tasker.api.dependencies import ApiServices, ApiServicesOf
from tasker.api.fields import NamePath, Namespace, NamespacePath, Text, Uuid
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse
from tasker.api.routes.tasks import caller_client
from tasker.api.routing import READS_BODY, Routes
from tasker.api.views.events import (
    DeliveryList,
    EventList,
    RedeliveryRequested,
    WebhookDeleted,
    WebhookList,
)
from tasker.client.webhooks import WebhookClient
from tasker.events import (
    DeliveryStatus,
    EventFilter,
    EventNo,
    Webhook,
)
from tasker.teams.permissions import EVENTS_READ, WEBHOOKS_READ, WEBHOOKS_UPDATE

events = Routes("events", "/v1/events")
routes = Routes("webhooks", "/v1/webhooks")

Pattern = Annotated[str, StringConstraints(max_length=130)]
Patterns = Annotated[list[Pattern], Field(min_length=1, max_length=limits.EVENT_PATTERNS)]
Url = Annotated[str, StringConstraints(max_length=limits.WEBHOOK_URL_CHARACTERS)]
Include = Annotated[list[Literal["context", "result"]], Field(max_length=2)]
Cursor = Annotated[int | None, Query(ge=1, lt=1 << 62)]
Limit = Annotated[int, Query(ge=1, le=1000)]
_CHANGES = (*READS_BODY, "not_found", "invalid_input")


class NewWebhookBody(RequestBody):
    """Creates a webhook."""

    namespace: Namespace
    name: str
    """At most 128 letters, digits, `_` and `-`, starting with a letter or `_`."""
    url: Url
    events: Patterns = Field(default_factory=lambda: ["*"])
    """Event names or prefixes such as `payment.*`; `*` for all."""
    include: Include = Field(default_factory=list)
    """Data that requests contain in addition to the event: the task's context, the step's result,
    or both."""
    reason: Text = ""
    """The reason, which the audit log records."""


class WebhookChangeBody(RequestBody):
    """Changes a webhook; absent fields keep their values."""

    url: Url | None = None
    events: Patterns | None = None
    include: Include | None = None
    paused: bool | None = None
    """Whether the webhook is paused. While it is paused, events are stored but not sent to it."""
    reason: Text = ""
    """The reason, which the audit log records."""


class ReasonBody(RequestBody):
    """The reason for an action."""

    reason: Text = ""
    """The reason, which the audit log records."""


@events.add("GET", "", EVENTS_READ, response=EventList, error_codes=("not_found",))
async def list_events(
    request: Request,
    api: ApiServicesOf,
    namespace: Namespace | None = None,
    name: Annotated[str | None, Query(max_length=130)] = None,
    task_id: Uuid | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> JsonResponse:
    """List domain events, newest first, without context and result.

    `name` is an event name, or a prefix with `*` such as `payment.*`.
    """
    visible = await visible_namespaces(request, EVENTS_READ)
    wanted = EventFilter(namespace=namespace, name=name, task_id=task_id, visible=visible)
    after = None if cursor is None else EventNo(cursor)
    read = await api.store.list_events(wanted, after=after, limit=limit + 1)
    shown = read[:limit]
    return JsonResponse(
        EventList(events=shown, next_cursor=shown[-1].no if len(read) > limit else None)
    )


@routes.add("GET", "", WEBHOOKS_READ, response=WebhookList)
async def list_webhooks(
    request: Request, api: ApiServicesOf, namespace: Namespace | None = None
) -> JsonResponse:
    """List webhooks with the numbers of their pending and dead deliveries."""
    visible = await visible_namespaces(request, WEBHOOKS_READ)
    webhooks = await api.store.list_webhooks(namespace=namespace, visible=visible)
    return JsonResponse(WebhookList(webhooks=webhooks))


@routes.add(
    "POST",
    "",
    WEBHOOKS_UPDATE,
    EVENTS_READ,
    every=True,
    response=Webhook,
    status=201,
    description="The webhook, with its `secret`, which is never shown again.",
    error_codes=(*_CHANGES, "webhook_exists"),
)
async def create_webhook(
    request: Request,
    api: ApiServicesOf,
    body: Annotated[NewWebhookBody, Depends(JsonBodyParser(NewWebhookBody))],
) -> JsonResponse:
    """Create a webhook, which receives its namespace's events from now on."""
    for permission in (WEBHOOKS_UPDATE, EVENTS_READ):
        await authorize(request, permission, namespace=body.namespace)
    created = await _webhook_client(request, api).create(
        f"{body.namespace}.{body.name}",
        body.url,
        body.events,
        include=body.include,
        reason=body.reason,
    )
    return JsonResponse(created, 201)


@routes.add(
    "GET", "/{namespace}/{name}", WEBHOOKS_READ, response=Webhook, error_codes=("not_found",)
)
async def get_webhook(
    request: Request, api: ApiServicesOf, namespace: NamespacePath, name: NamePath
) -> JsonResponse:
    """Read a webhook."""
    await authorize(request, WEBHOOKS_READ, namespace=namespace)
    return JsonResponse(await api.store.get_webhook(namespace, name))


@routes.add(
    "PATCH",
    "/{namespace}/{name}",
    WEBHOOKS_UPDATE,
    EVENTS_READ,
    every=True,
    response=Webhook,
    error_codes=_CHANGES,
)
async def update_webhook(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    body: Annotated[WebhookChangeBody, Depends(JsonBodyParser(WebhookChangeBody))],
) -> JsonResponse:
    """Change a webhook; its endpoint is retried immediately."""
    for permission in (WEBHOOKS_UPDATE, EVENTS_READ):
        await authorize(request, permission, namespace=namespace)
    updated = await _webhook_client(request, api).update(
        f"{namespace}.{name}",
        url=body.url,
        events=body.events,
        include=body.include,
        paused=body.paused,
        reason=body.reason,
    )
    return JsonResponse(updated)


@routes.add(
    "POST",
    "/{namespace}/{name}/secret",
    WEBHOOKS_UPDATE,
    response=Webhook,
    description="The webhook, with its new `secret`, which is never shown again.",
    error_codes=(*READS_BODY, "not_found"),
)
async def replace_webhook_secret(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    body: Annotated[ReasonBody, Depends(JsonBodyParser(ReasonBody))],
) -> JsonResponse:
    """Replace the secret of a webhook. Later requests are signed with the new one."""
    await authorize(request, WEBHOOKS_UPDATE, namespace=namespace)
    client = _webhook_client(request, api)
    return JsonResponse(await client.replace_secret(f"{namespace}.{name}", reason=body.reason))


@routes.add(
    "DELETE",
    "/{namespace}/{name}",
    WEBHOOKS_UPDATE,
    response=WebhookDeleted,
    error_codes=("not_found",),
)
async def delete_webhook(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    reason: Annotated[str, Query(max_length=4096, pattern=r"^[^\x00]*$")] = "",
) -> JsonResponse:
    """Delete a webhook and its deliveries."""
    await authorize(request, WEBHOOKS_UPDATE, namespace=namespace)
    await _webhook_client(request, api).delete(f"{namespace}.{name}", reason=reason)
    return JsonResponse(WebhookDeleted(deleted=True))


@routes.add(
    "GET",
    "/{namespace}/{name}/deliveries",
    WEBHOOKS_READ,
    response=DeliveryList,
    error_codes=("not_found",),
)
async def list_deliveries(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    status: DeliveryStatus | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> JsonResponse:
    """List the deliveries of a webhook or subscriber with their attempts."""
    await authorize(request, WEBHOOKS_READ, namespace=namespace)
    read = await _webhook_client(request, api).deliveries(
        f"{namespace}.{name}", status=status, after=cursor, limit=limit + 1
    )
    shown = read[:limit]
    return JsonResponse(
        DeliveryList(deliveries=shown, next_cursor=shown[-1].id if len(read) > limit else None)
    )


@routes.add(
    "POST",
    "/{namespace}/{name}/deliveries/{delivery}/send",
    WEBHOOKS_UPDATE,
    response=RedeliveryRequested,
    error_codes=(*READS_BODY, "not_found"),
)
async def send_delivery_again(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    delivery: Annotated[int, Path(ge=1, lt=1 << 62)],
    body: Annotated[ReasonBody, Depends(JsonBodyParser(ReasonBody))],
) -> JsonResponse:
    """Send an event again, even a delivered or dead one."""
    await authorize(request, WEBHOOKS_UPDATE, namespace=namespace)
    client = _webhook_client(request, api)
    await client.send_again(f"{namespace}.{name}", delivery, reason=body.reason)
    return JsonResponse(RedeliveryRequested(status="pending"))


def _webhook_client(request: Request, api: ApiServices) -> WebhookClient:
    return caller_client(request, api).webhooks
