"""Provider hooks: their declarations, and the requests of providers."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import StringConstraints
from starlette.requests import Request
from typing_extensions import TypedDict

from tasker.api.authorization import access_channel_of, authorize, principal_of, visible_namespaces
from tasker.api.dependencies import ApiServicesOf
from tasker.api.fields import NamePath, Namespace, NamespacePath, Text
from tasker.api.headers import client_address
from tasker.api.rate_limits import CallerRateLimits
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse
from tasker.api.routing import READS_BODY, Routes
from tasker.codec import DEFAULT_LIMIT, dumps, parse_untrusted
from tasker.errors import InvalidExpression, NotFound, Rejected, TooLarge
from tasker.hooks import (
    DEFAULT_HEADER,
    HookMessageKind,
    ProviderHook,
    SignatureScheme,
    has_valid_signature,
    meets_hook_condition,
    text_at_path,
)
from tasker.model import AccessChannel, TaskId
from tasker.store.protocol import AuditNote, Store
from tasker.teams.permissions import WEBHOOKS_READ, WEBHOOKS_UPDATE
from tasker.waits import NewBroadcast, NewSignal

routes = Routes("hooks", "/v1/hooks")

RATE, BURST = 50.0, 200  #: requests per second from one address
_limits = CallerRateLimits(RATE, BURST)
_Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class HookBody(RequestBody):
    """Declares a hook; it replaces the previous one."""

    scheme: SignatureScheme
    """`hmac`, `github` or `stripe`."""
    secret: str
    """The provider's signing secret, 16 to 500 characters. It is never shown."""
    header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,100}$")] = DEFAULT_HEADER
    """The header with the signature, for the scheme `hmac`."""
    target: HookMessageKind = HookMessageKind.BROADCAST
    sends: _Text
    """Name of the signal or broadcast that is sent."""
    key: _Text
    """Path to the key of the broadcast or to the id of the task, such as `body.data.order_id`."""
    id: _Text | None = None
    """Path to the id of the request, such as `body.id`."""
    when: _Text | None = None
    """Condition over `body` and `headers`, such as `body.type == "charge.succeeded"`."""
    reason: Text = ""
    """The reason, which the audit log records."""


class HookList(TypedDict):
    """Hooks, by namespace and name."""

    hooks: list[ProviderHook]


class HookDeleted(TypedDict):
    """The hook was deleted."""

    deleted: bool


class HookRequestReceived(TypedDict):
    """The request was verified."""

    delivered: bool
    """Whether the request was delivered; false if it does not meet the hook's condition, a path
    leads to no value, or the task has ended."""


@routes.add("GET", "", WEBHOOKS_READ, response=HookList)
async def list_hooks(
    request: Request, api: ApiServicesOf, namespace: Namespace | None = None
) -> JsonResponse:
    """List provider hooks, without their secrets."""
    visible = await visible_namespaces(request, WEBHOOKS_READ)
    return JsonResponse(
        HookList(hooks=await api.store.list_hooks(namespace=namespace, visible=visible))
    )


@routes.add(
    "PUT",
    "/{namespace}/{name}",
    WEBHOOKS_UPDATE,
    response=ProviderHook,
    error_codes=(*READS_BODY, "invalid_input"),
)
async def put_hook(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    body: Annotated[HookBody, Depends(JsonBodyParser(HookBody))],
) -> JsonResponse:
    """Declare a provider hook."""
    await authorize(request, WEBHOOKS_UPDATE, namespace=namespace)
    hook = ProviderHook(
        namespace=namespace,
        name=name,
        scheme=body.scheme,
        header=body.header.lower(),
        target=body.target,
        sends=body.sends,
        key=body.key,
        id=body.id,
        when=body.when,
    )
    act = AuditNote(
        actor=principal_of(request).name, reason=body.reason, via=access_channel_of(request)
    )
    return JsonResponse(await api.store.put_hook(hook, body.secret, act))


@routes.add(
    "DELETE",
    "/{namespace}/{name}",
    WEBHOOKS_UPDATE,
    response=HookDeleted,
    error_codes=("not_found",),
)
async def delete_hook(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    reason: Annotated[str, Query(max_length=4096, pattern=r"^[^\x00]*$")] = "",
) -> JsonResponse:
    """Delete a provider hook."""
    await authorize(request, WEBHOOKS_UPDATE, namespace=namespace)
    act = AuditNote(actor=principal_of(request).name, reason=reason, via=access_channel_of(request))
    await api.store.delete_hook(namespace, name, act)
    return JsonResponse(HookDeleted(deleted=True))


@routes.add(
    "POST",
    "/{namespace}/{name}",
    response=HookRequestReceived,
    error_codes=(
        "invalid_request",
        "invalid_input",
        "not_found",
        "request_incomplete",
        "too_large",
        "rate_limited",
    ),
    reads={"application/json": {"type": "object"}},
)
async def receive_hook_request(
    request: Request, api: ApiServicesOf, namespace: NamespacePath, name: NamePath
) -> JsonResponse:
    """Receive a provider's signed request and send the hook's signal or broadcast.

    The response does not reveal whether the hook is unknown or the signature is invalid.
    """
    _limits.admit(client_address(request.scope))
    content = await request.body()
    if len(content) > DEFAULT_LIMIT:
        raise TooLarge("the body", len(content), DEFAULT_LIMIT)
    given = await api.store.find_hook_with_secret(namespace, name)
    headers = {name.lower(): value for name, value in request.headers.items()}
    if not has_valid_signature(given, headers, content, time.time()) or given is None:
        raise NotFound(f"hook {namespace}.{name} not found, or the signature is invalid")
    names = {"body": parse_untrusted(content, what="the body"), "headers": headers}
    return JsonResponse(
        HookRequestReceived(delivered=await _send_hook_message(api.store, given.hook, names))
    )


async def _send_hook_message(store: Store, hook: ProviderHook, names: Mapping[str, Any]) -> bool:
    """Send the signal or broadcast for a verified request; return False if there is nothing to
    send."""
    try:
        if not meets_hook_condition(hook, names):
            return False
        key = text_at_path(hook.key, names)
        id_ = None if hook.id is None else text_at_path(hook.id, names)
    except InvalidExpression:
        return False
    if key is None:
        return False
    payload = dumps(names["body"], what="the body", limit=DEFAULT_LIMIT)
    actor = f"hook {hook.namespace}.{hook.name}"
    if hook.target is HookMessageKind.BROADCAST:
        broadcast = NewBroadcast(hook.namespace, hook.sends, key, payload, id_)
        await store.send_broadcast(broadcast, actor)
        return True
    try:
        task = await store.get_task(TaskId(key))
        if task.namespace != hook.namespace:
            return False
        signal = NewSignal(task.id, hook.sends, payload, id_)
        await store.send_signal(signal, AuditNote(actor=actor, via=AccessChannel.API))
    except Rejected:  # the task does not exist or has ended
        return False
    return True
