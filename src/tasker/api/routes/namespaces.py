"""Namespaces and their policies; and the workers."""

from collections.abc import Collection, Sequence
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field
from starlette.requests import Request

from tasker.api.authorization import authorize, visible_namespaces
from tasker.api.bodies import Body, JsonBody
from tasker.api.dependencies import Namespace, NamespacePath, Text
from tasker.api.responses import JsonReply
from tasker.api.routes.tasks import acting
from tasker.api.routing import READS_BODY, Routes
from tasker.api.state import Api, ApiOf
from tasker.api.views.teams import (
    NamespaceAnswer,
    NamespaceList,
    PolicyAnswer,
    TeamAudit,
    WorkerList,
    namespace_answer,
    policy_answer,
    team_event_answer,
    worker_answer,
)
from tasker.errors import NotFound
from tasker.teams.model import NamespacePolicy, TeamEvent
from tasker.teams.permissions import NAMESPACES_READ, NAMESPACES_UPDATE, WORKERS_READ

routes = Routes("namespaces", "/v1/namespaces")
audit = Routes("namespaces", "/v1/audit")
workers = Routes("workers", "/v1/workers")


class PolicyBody(Body):
    """The policy of a namespace, in place of the one it had."""

    owner_team: Text = ""
    contact_email: Text = ""
    description: Text = ""
    requires_approval: bool = False
    """New template versions then wait until one of `approvers` agrees."""
    approvers: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)
    reason: Text = ""
    """For the audit."""


@routes.add("GET", "", NAMESPACES_READ, answer=NamespaceList)
async def list_namespaces(request: Request, api: ApiOf) -> JsonReply:
    """List namespaces, who owns them, and how many template versions they have."""
    visible = await visible_namespaces(request, NAMESPACES_READ)
    found = [
        namespace_answer(info)
        for info in await api.store.namespaces()
        if visible is None or info.name in visible
    ]
    return JsonReply(NamespaceList(namespaces=found))


@routes.add(
    "GET",
    "/{namespace}",
    NAMESPACES_READ,
    answer=NamespaceAnswer,
    refuses=("invalid_request", "not_found"),
)
async def get_namespace(request: Request, api: ApiOf, namespace: NamespacePath) -> JsonReply:
    """Read a namespace."""
    await authorize(request, NAMESPACES_READ, namespace=namespace)
    for info in await api.store.namespaces():
        if info.name == namespace:
            return JsonReply(namespace_answer(info))
    raise NotFound(f"there is no namespace {namespace}")


@routes.add(
    "PUT",
    "/{namespace}/policy",
    NAMESPACES_UPDATE,
    answer=PolicyAnswer,
    refuses=(*READS_BODY, "invalid_input"),
)
async def put_policy(
    request: Request,
    api: ApiOf,
    namespace: NamespacePath,
    body: Annotated[PolicyBody, Depends(JsonBody(PolicyBody))],
) -> JsonReply:
    """Declare the policy of a namespace."""
    await authorize(request, NAMESPACES_UPDATE, namespace=namespace)
    policy = NamespacePolicy(
        namespace=namespace,
        owner_team=body.owner_team,
        contact_email=body.contact_email,
        description=body.description,
        requires_approval=body.requires_approval,
        approvers=tuple(body.approvers),
    )
    stored = await acting(request, api).put_policy(policy, reason=body.reason)
    return JsonReply(policy_answer(stored))


@routes.add(
    "GET", "/{namespace}/audit", NAMESPACES_READ, answer=TeamAudit, refuses=("invalid_request",)
)
async def get_namespace_audit(
    request: Request,
    api: ApiOf,
    namespace: NamespacePath,
    cursor: Annotated[int | None, Query(ge=1, lt=1 << 62)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JsonReply:
    """List what was done to a namespace's policy and template versions, newest first."""
    await authorize(request, NAMESPACES_READ, namespace=namespace)
    found = await api.store.team_audit(namespace=namespace, after=cursor, limit=limit + 1)
    return _audited(found, limit)


@audit.add("GET", "", NAMESPACES_READ, answer=TeamAudit, refuses=("invalid_request",))
async def list_audit(
    request: Request,
    api: ApiOf,
    namespace: Namespace | None = None,
    cursor: Annotated[int | None, Query(ge=1, lt=1 << 62)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JsonReply:
    """List what was done to policies, template versions and API keys, newest first."""
    visible = await visible_namespaces(request, NAMESPACES_READ)
    found = await api.store.team_audit(
        namespace=namespace, visible=visible, after=cursor, limit=limit + 1
    )
    return _audited(found, limit)


def _audited(found: Sequence[TeamEvent], limit: int) -> JsonReply:
    """Answer with a page of what was read, which is one event longer where more follows."""
    shown = found[:limit]
    answer: TeamAudit = {
        "events": [team_event_answer(event) for event in shown],
        "next_cursor": shown[-1].id if len(found) > limit else None,
    }
    return JsonReply(answer)


@workers.add("GET", "", WORKERS_READ, answer=WorkerList)
async def list_workers(request: Request, api: ApiOf) -> JsonReply:
    """List workers: who is alive, and what they can run.

    Who sees only some namespaces is told the handlers that templates of those ask for.
    """
    await authorize(request, WORKERS_READ)
    visible = await visible_namespaces(request, WORKERS_READ)
    asked_for = None if visible is None else await _asked_for(api, visible)
    found = [worker_answer(worker, handlers=asked_for) for worker in await api.store.list_workers()]
    return JsonReply(WorkerList(workers=found))


async def _asked_for(api: Api, namespaces: Collection[str]) -> frozenset[str]:
    """Tell the handlers that templates of some namespaces ask for, by all their names."""
    names = [
        name
        for stored in await api.store.templates()
        if stored.template.namespace in namespaces
        for spec in stored.template.steps
        for name in (spec.handler, f"{stored.template.namespace}.{spec.handler}")
    ]
    return frozenset(names)
