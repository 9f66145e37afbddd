"""Limits on the steps that share a key."""

from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field
from starlette.requests import Request

from tasker.api.authorization import authorize, visible_namespaces
from tasker.api.dependencies import ApiServicesOf
from tasker.api.fields import Namespace, Text
from tasker.api.problems import Problem
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse
from tasker.api.routes.tasks import caller_client
from tasker.api.routing import READS_BODY, Routes
from tasker.api.views.limits import (
    LimitList,
    LimitSetResponse,
    LimitUnsetResponse,
    format_rate,
    limit_setting_view,
    limit_view,
)
from tasker.client.templates import DEFAULT_NAMESPACE
from tasker.limits import LIMIT_CONCURRENCY
from tasker.teams.permissions import LIMITS_READ, LIMITS_UPDATE, NAMESPACES_UPDATE
from tasker.template.step_limits import SHARED, make_limit_values

routes = Routes("limits", "/v1/limits")

Key = Annotated[str, Field(min_length=1, max_length=200)]
_MOST = 1_000  #: limits in one response


class LimitKeyBody(RequestBody):
    """Names the key of a limit."""

    namespace: Namespace = DEFAULT_NAMESPACE
    """Ignored for keys that begin with `shared:`."""
    key: Key
    """`*` stands for any text."""
    reason: Text = ""


class LimitBody(LimitKeyBody):
    """Sets a limit. For absent bounds, those declared by templates apply."""

    concurrency: Annotated[int, Field(ge=0, le=LIMIT_CONCURRENCY)] | None = None
    """Maximum number of steps in progress; with 0, no step starts."""
    rate: Annotated[str, Field(max_length=40)] | None = None
    """Average rate at which steps may start, such as `100/s`, `5/m`, `1000/h` or `10/d`."""
    burst: Annotated[int, Field(ge=1, le=LIMIT_CONCURRENCY)] | None = None
    """Maximum number of steps that start at once after a period without starts."""


@routes.add("GET", "", LIMITS_READ, response=LimitList)
async def list_limits(
    request: Request,
    api: ApiServicesOf,
    namespace: Namespace | None = None,
    after: Annotated[str, Query(max_length=200, description="Continue after this key.")] = "",
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 100,
) -> JsonResponse:
    """List the limits of a namespace's keys, or of the keys that all namespaces share."""
    if namespace is not None:
        await authorize(request, LIMITS_READ, namespace=namespace)
    space = namespace or ""
    listed = await api.store.list_limits(space, after=after, limit=limit)
    settings = await api.store.list_limit_settings(space)
    return JsonResponse(
        LimitList(
            limits=[limit_view(one) for one in listed],
            settings=[limit_setting_view(one) for one in settings],
        )
    )


async def _authorize_limit_update(request: Request, body: LimitKeyBody) -> None:
    """Raise Problem unless the caller may set the limit of a key."""
    if not body.key.startswith(SHARED):
        await authorize(request, LIMITS_UPDATE, namespace=body.namespace)
    elif await visible_namespaces(request, NAMESPACES_UPDATE) is not None:
        raise Problem(
            "forbidden",
            f"Setting limits for keys that begin with {SHARED!r} needs the permission"
            f" {NAMESPACES_UPDATE} in all namespaces.",
        )


@routes.add("PUT", "", LIMITS_UPDATE, response=LimitSetResponse, error_codes=READS_BODY)
async def set_limit(
    request: Request,
    api: ApiServicesOf,
    body: Annotated[LimitBody, Depends(JsonBodyParser(LimitBody))],
) -> JsonResponse:
    """Set the limit of a key or, with `*` for any text, of all keys that match."""
    await _authorize_limit_update(request, body)
    values = make_limit_values(body.concurrency, body.rate, body.burst)
    await caller_client(request, api).set_limit(
        body.key,
        namespace=body.namespace,
        concurrency=values.concurrency,
        rate=values.rate,
        burst=values.burst,
        reason=body.reason,
    )
    return JsonResponse(
        LimitSetResponse(
            key=body.key,
            concurrency=values.concurrency,
            rate=format_rate(values),
            burst=values.burst,
        )
    )


@routes.add(
    "POST",
    "/unset",
    LIMITS_UPDATE,
    response=LimitUnsetResponse,
    error_codes=(*READS_BODY, "not_found"),
)
async def unset_limit(
    request: Request,
    api: ApiServicesOf,
    body: Annotated[LimitKeyBody, Depends(JsonBodyParser(LimitKeyBody))],
) -> JsonResponse:
    """Remove the limit that was set for a key or a pattern; the limits in templates apply again."""
    await _authorize_limit_update(request, body)
    client = caller_client(request, api)
    await client.unset_limit(body.key, namespace=body.namespace, reason=body.reason)
    return JsonResponse(LimitUnsetResponse(key=body.key))
