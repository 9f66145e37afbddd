"""Namespaces with their policies and audit log, API keys, and workers."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Path, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from tasker.api.authorization import authorize, visible_namespaces
from tasker.api.dependencies import ApiServices, ApiServicesOf
from tasker.api.fields import Namespace, NamespacePath, Text
from tasker.api.problems import Problem
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse
from tasker.api.routes.tasks import PauseReason, caller_client
from tasker.api.routing import READS_BODY, Routes
from tasker.api.views.teams import (
    ApiKeyList,
    AuditEntryList,
    NamespaceList,
    WorkerAttemptList,
    WorkerList,
)
from tasker.errors import NotFound
from tasker.handlers.registry import EVERY_NAMESPACE
from tasker.model import MOST_WORKER_ATTEMPTS, WorkerDetail, WorkerId, WorkerInfo
from tasker.remote.errors import UnknownWorker
from tasker.teams.model import NamespaceInfo, NamespacePolicy, TeamAuditEntry
from tasker.teams.permissions import (
    KEYS_READ,
    NAMESPACES_READ,
    NAMESPACES_UPDATE,
    TASKS_LIST,
    WORKERS_DRAIN,
    WORKERS_READ,
)

routes = Routes("namespaces", "/v1/namespaces")
audit = Routes("namespaces", "/v1/audit")
keys = Routes("keys", "/v1/keys")
workers = Routes("workers", "/v1/workers")

_ACTS = (*READS_BODY, "not_found")
_MOST_ID = 2**53


class PolicyBody(RequestBody):
    """A namespace's policy; it replaces the previous one."""

    owner_team: Text = ""
    contact_email: Text = ""
    description: Text = ""
    requires_approval: bool = False
    """Whether one of `approvers` must approve new template versions."""
    approvers: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)
    http_hosts: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)
    """Hosts that `http:` steps may call."""
    reason: Text = ""
    """The reason, which the audit log records."""


@routes.add("GET", "", NAMESPACES_READ, response=NamespaceList)
async def list_namespaces(request: Request, api: ApiServicesOf) -> JsonResponse:
    """List namespaces, each with its owner and the number of its template versions."""
    visible = await visible_namespaces(request, NAMESPACES_READ)
    namespaces = [
        info
        for info in await api.store.list_namespaces()
        if visible is None or info.name in visible
    ]
    return JsonResponse(NamespaceList(namespaces=namespaces))


@routes.add(
    "GET",
    "/{namespace}",
    NAMESPACES_READ,
    response=NamespaceInfo,
    error_codes=("not_found",),
)
async def get_namespace(
    request: Request, api: ApiServicesOf, namespace: NamespacePath
) -> JsonResponse:
    """Read a namespace."""
    await authorize(request, NAMESPACES_READ, namespace=namespace)
    for info in await api.store.list_namespaces():
        if info.name == namespace:
            return JsonResponse(info)
    raise NotFound(f"namespace {namespace} not found")


@routes.add(
    "PUT",
    "/{namespace}/policy",
    NAMESPACES_UPDATE,
    response=NamespacePolicy,
    error_codes=(*READS_BODY, "invalid_input"),
)
async def put_policy(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    body: Annotated[PolicyBody, Depends(JsonBodyParser(PolicyBody))],
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
    stored = await caller_client(request, api).put_policy(policy, reason=body.reason)
    return JsonResponse(stored)


@routes.add("GET", "/{namespace}/audit", NAMESPACES_READ, response=AuditEntryList)
async def get_namespace_audit(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    cursor: Annotated[int | None, Query(ge=1, lt=1 << 62)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JsonResponse:
    """List changes of a namespace's policy and template versions, newest first."""
    await authorize(request, NAMESPACES_READ, namespace=namespace)
    events = await api.store.list_team_audit(namespace=namespace, after=cursor, limit=limit + 1)
    return _audit_page_response(events, limit)


@audit.add("GET", "", NAMESPACES_READ, response=AuditEntryList)
async def list_audit(
    request: Request,
    api: ApiServicesOf,
    namespace: Namespace | None = None,
    cursor: Annotated[int | None, Query(ge=1, lt=1 << 62)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JsonResponse:
    """List changes of policies, template versions and API keys, newest first."""
    visible = await visible_namespaces(request, NAMESPACES_READ)
    events = await api.store.list_team_audit(
        namespace=namespace, visible=visible, after=cursor, limit=limit + 1
    )
    return _audit_page_response(events, limit)


def _audit_page_response(events: Sequence[TeamAuditEntry], limit: int) -> JsonResponse:
    """Return a page of at most `limit` events from a list of up to `limit + 1`."""
    shown = events[:limit]
    answer: AuditEntryList = {
        "events": [*shown],
        "next_cursor": shown[-1].id if len(events) > limit else None,
    }
    return JsonResponse(answer)


@keys.add("GET", "", KEYS_READ, response=ApiKeyList)
async def list_api_keys(request: Request, api: ApiServicesOf) -> JsonResponse:
    """List API keys without their secrets, with the time of their last use.

    Callers that see only some namespaces see only the keys that are valid in no other namespaces.
    """
    await authorize(request, KEYS_READ)
    visible = await visible_namespaces(request, KEYS_READ)
    listed = [
        key
        for key in await api.store.list_api_keys()
        if visible is None or (key.namespaces and visible.issuperset(key.namespaces))
    ]
    return JsonResponse(ApiKeyList(keys=listed))


@workers.add("GET", "", WORKERS_READ, response=WorkerList)
async def list_workers(request: Request, api: ApiServicesOf) -> JsonResponse:
    """List workers and the handlers that they serve.

    Callers that see only some namespaces see only the handlers named by those namespaces'
    templates.
    """
    await authorize(request, WORKERS_READ)
    visible = await visible_namespaces(request, WORKERS_READ)
    known = await api.store.list_workers()
    if visible is not None:
        shown = await _handler_names_of_namespaces(api, visible)
        known = [_keep_visible_handlers(one, shown) for one in known]
    return JsonResponse(WorkerList(workers=known))


@workers.add("GET", "/{worker}", WORKERS_READ, response=WorkerDetail, error_codes=("not_found",))
async def read_worker(
    request: Request, api: ApiServicesOf, worker: Annotated[int, Path(ge=1, le=_MOST_ID)]
) -> JsonResponse:
    """Return a worker, the steps that it runs, and the queues that it serves.

    Callers see the steps of tasks that they may list and the queues of their visible namespaces.
    """
    await authorize(request, WORKERS_READ)
    visible = await visible_namespaces(request, WORKERS_READ)
    known = [one for one in await api.store.list_workers() if one.id == worker]
    if not known:
        raise NotFound(f"worker {worker} not found")
    tasks = await visible_namespaces(request, TASKS_LIST)
    shown = None if visible is None else await _handler_names_of_namespaces(api, visible)
    return JsonResponse(
        WorkerDetail(
            worker=_keep_visible_handlers(known[0], shown),
            steps=[
                step
                for step in await api.store.worker_steps(WorkerId(worker))
                if tasks is None or step.namespace in tasks
            ],
            queues=[
                queue
                for queue in await api.store.worker_queues(WorkerId(worker))
                if visible is None or queue.namespace in visible
            ],
        )
    )


@workers.add("GET", "/{worker}/attempts", WORKERS_READ, response=WorkerAttemptList)
async def list_worker_attempts(
    request: Request,
    api: ApiServicesOf,
    worker: Annotated[int, Path(ge=1, le=_MOST_ID)],
    limit: Annotated[int, Query(ge=1, le=MOST_WORKER_ATTEMPTS)] = MOST_WORKER_ATTEMPTS,
) -> JsonResponse:
    """List a worker's ended attempts among those of the newest 1,000 tasks, newest first.

    Callers see the attempts of tasks that they may list.
    """
    await authorize(request, WORKERS_READ)
    namespaces = await visible_namespaces(request, TASKS_LIST)
    attempts = await api.store.worker_attempts(WorkerId(worker), namespaces=namespaces, limit=limit)
    return JsonResponse({"attempts": attempts})


def _keep_visible_handlers(worker: WorkerInfo, shown: frozenset[str] | None) -> WorkerInfo:
    if shown is None:
        return worker
    return replace(worker, handlers=tuple(name for name in worker.handlers if name in shown))


@workers.add("POST", "/{worker}/drain", WORKERS_DRAIN, response=None, status=204, error_codes=_ACTS)
async def drain_worker(
    request: Request,
    api: ApiServicesOf,
    worker: Annotated[int, Path(ge=1, le=_MOST_ID)],
    body: PauseReason,
) -> Response:
    """Stop a worker from claiming more steps; it finishes the running ones.

    The caller needs the permission in all namespaces that the worker serves or, if the worker
    accesses the database directly, in all namespaces.
    """
    await authorize(request, WORKERS_DRAIN)
    visible = await visible_namespaces(request, WORKERS_DRAIN)
    if visible is not None and not visible.issuperset(await _worker_namespaces(api, worker)):
        raise Problem(
            "forbidden",
            f"Worker {worker} serves namespaces in which the credential may not drain workers.",
            permission=str(WORKERS_DRAIN),
        )
    await caller_client(request, api).drain_worker(worker, reason=body.reason)
    return Response(status_code=204)


async def _worker_namespaces(api: ApiServices, worker: int) -> Collection[str]:
    """Return the namespaces that a remote worker serves; for other workers, all namespaces."""
    try:
        return (await api.remote_workers.get_worker(WorkerId(worker))).namespaces
    except UnknownWorker:
        return {EVERY_NAMESPACE}


async def _handler_names_of_namespaces(
    api: ApiServices, namespaces: Collection[str]
) -> frozenset[str]:
    """Return all names of the handlers that templates of the given namespaces use."""
    names = [
        name
        for stored in await api.store.list_approved_templates()
        if stored.template.namespace in namespaces
        for spec in stored.template.steps
        for name in (spec.handler, f"{stored.template.namespace}.{spec.handler}")
    ]
    return frozenset(names)
