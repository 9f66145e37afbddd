"""Namespaces with their policies and audit, and workers."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field
from starlette.requests import Request

from tasker.api.authorization import authorize, visible_namespaces
from tasker.api.dependencies import Api, ApiOf
from tasker.api.fields import Namespace, NamespacePath, Text
from tasker.api.requests import Body, JsonBody
from tasker.api.responses import JsonResponse
from tasker.api.routes.tasks import client_of_caller
from tasker.api.routing import READS_BODY, Routes
from tasker.api.views.teams import (
    NamespaceList,
    TeamAudit,
    WorkerList,
)
from tasker.errors import NotFound
from tasker.teams.model import NamespaceInfo, NamespacePolicy, TeamEvent
from tasker.teams.permissions import NAMESPACES_READ, NAMESPACES_UPDATE, WORKERS_READ

routes = Routes("namespaces", "/v1/namespaces")
audit = Routes("namespaces", "/v1/audit")
workers = Routes("workers", "/v1/workers")


class PolicyBody(Body):
    """A namespace's policy; it replaces the previous one."""

    owner_team: Text = ""
    contact_email: Text = ""
    description: Text = ""
    requires_approval: bool = False
    """Whether new template versions wait for the approval of one of `approvers`."""
    approvers: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)
    http_hosts: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)
    """Hosts that `http:` steps may call."""
    reason: Text = ""
    """For the audit."""


@routes.add("GET", "", NAMESPACES_READ, response=NamespaceList)
async def list_namespaces(request: Request, api: ApiOf) -> JsonResponse:
    """List namespaces with their owners and numbers of template versions."""
    visible = await visible_namespaces(request, NAMESPACES_READ)
    namespaces = [
        info for info in await api.store.namespaces() if visible is None or info.name in visible
    ]
    return JsonResponse(NamespaceList(namespaces=namespaces))


@routes.add(
    "GET",
    "/{namespace}",
    NAMESPACES_READ,
    response=NamespaceInfo,
    refuses=("not_found",),
)
async def get_namespace(request: Request, api: ApiOf, namespace: NamespacePath) -> JsonResponse:
    """Read a namespace."""
    await authorize(request, NAMESPACES_READ, namespace=namespace)
    for info in await api.store.namespaces():
        if info.name == namespace:
            return JsonResponse(info)
    raise NotFound(f"namespace {namespace} not found")


@routes.add(
    "PUT",
    "/{namespace}/policy",
    NAMESPACES_UPDATE,
    response=NamespacePolicy,
    refuses=(*READS_BODY, "invalid_input"),
)
async def put_policy(
    request: Request,
    api: ApiOf,
    namespace: NamespacePath,
    body: Annotated[PolicyBody, Depends(JsonBody(PolicyBody))],
) -> JsonResponse:
    """Declare the policy of a namespace."""
    await authorize(request, NAMESPACES_UPDATE, namespace=namespace)
    policy = NamespacePolicy(
        namespace=namespace,
        owner_team=body.owner_team,
        contact_email=body.contact_email,
        description=body.description,
        requires_approval=body.requires_approval,
        approvers=tuple(body.approvers),
        http_hosts=tuple(body.http_hosts),
    )
    stored = await client_of_caller(request, api).put_policy(policy, reason=body.reason)
    return JsonResponse(stored)


@routes.add("GET", "/{namespace}/audit", NAMESPACES_READ, response=TeamAudit)
async def get_namespace_audit(
    request: Request,
    api: ApiOf,
    namespace: NamespacePath,
    cursor: Annotated[int | None, Query(ge=1, lt=1 << 62)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JsonResponse:
    """List changes of a namespace's policy and template versions, newest first."""
    await authorize(request, NAMESPACES_READ, namespace=namespace)
    events = await api.store.team_audit(namespace=namespace, after=cursor, limit=limit + 1)
    return _audit_page(events, limit)


@audit.add("GET", "", NAMESPACES_READ, response=TeamAudit)
async def list_audit(
    request: Request,
    api: ApiOf,
    namespace: Namespace | None = None,
    cursor: Annotated[int | None, Query(ge=1, lt=1 << 62)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JsonResponse:
    """List changes of policies, template versions and API keys, newest first."""
    visible = await visible_namespaces(request, NAMESPACES_READ)
    events = await api.store.team_audit(
        namespace=namespace, visible=visible, after=cursor, limit=limit + 1
    )
    return _audit_page(events, limit)


def _audit_page(events: Sequence[TeamEvent], limit: int) -> JsonResponse:
    """Return a page of at most `limit` events from a list of up to `limit + 1`."""
    shown = events[:limit]
    answer: TeamAudit = {
        "events": [*shown],
        "next_cursor": shown[-1].id if len(events) > limit else None,
    }
    return JsonResponse(answer)


@workers.add("GET", "", WORKERS_READ, response=WorkerList)
async def list_workers(request: Request, api: ApiOf) -> JsonResponse:
    """List workers, and the handlers they serve.

    Callers that see only some namespaces see only the handlers named by those namespaces'
    templates.
    """
    await authorize(request, WORKERS_READ)
    visible = await visible_namespaces(request, WORKERS_READ)
    known = await api.store.list_workers()
    if visible is not None:
        shown = await _handler_names_of(api, visible)
        known = [
            replace(one, handlers=tuple(name for name in one.handlers if name in shown))
            for one in known
        ]
    return JsonResponse(WorkerList(workers=known))


async def _handler_names_of(api: Api, namespaces: Collection[str]) -> frozenset[str]:
    """Return all names of the handlers that templates of some namespaces use."""
    names = [
        name
        for stored in await api.store.templates()
        if stored.template.namespace in namespaces
        for spec in stored.template.steps
        for name in (spec.handler, f"{stored.template.namespace}.{spec.handler}")
    ]
    return frozenset(names)
