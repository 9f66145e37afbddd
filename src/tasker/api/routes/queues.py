"""Queues, and pauses of templates, queues and namespaces."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, Path
from pydantic import Field
from starlette.requests import Request

from tasker.analytics.model import HandlerBacklog
from tasker.api.authorization import authorize, visible_namespaces
from tasker.api.dependencies import ApiServices, ApiServicesOf
from tasker.api.fields import NamePath, Namespace, NamespacePath, Text
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse
from tasker.api.routes.tasks import PauseReason, caller_client
from tasker.api.routing import READS_BODY, Routes
from tasker.api.views.queues import PauseList, QueueList, QueueView, QueueWeightView, ResumeResponse
from tasker.model import GREATEST_WEIGHT, LEAST_WEIGHT, Pause, PauseKind, PauseTarget
from tasker.teams.permissions import (
    NAMESPACES_PAUSE,
    QUEUES_PAUSE,
    QUEUES_READ,
    QUEUES_UPDATE,
    TEMPLATES_PAUSE,
)

routes = Routes("queues", "/v1/queues")
pauses = Routes("queues", "/v1/pauses")
templates = Routes("templates", "/v1/templates")
namespaces = Routes("namespaces", "/v1/namespaces")

HandlerPath = Annotated[
    str, Path(min_length=1, max_length=1000, description="The handler of the queue's steps.")
]
_ACTS = (*READS_BODY, "not_found")
_QUEUE = "/{namespace}/{handler}"
_TEMPLATE = "/{namespace}/{name}"


@routes.add("GET", "", QUEUES_READ, response=QueueList)
async def list_queues(
    request: Request, api: ApiServicesOf, namespace: Namespace | None = None
) -> JsonResponse:
    """List the handlers' queues with their pauses and numbers of waiting and running steps."""
    visible = await visible_namespaces(request, QUEUES_READ)
    paused = {(one.kind, one.namespace, one.name): one for one in await api.store.list_pauses()}
    listed = [
        _queue_view(one, paused.values())
        for one in await api.store.count_backlog_by_queue()
        if namespace in (None, one.namespace) and (visible is None or one.namespace in visible)
    ]
    return JsonResponse(QueueList(queues=listed))


def _queue_view(queue: HandlerBacklog, pauses: Iterable[Pause]) -> QueueView:
    holding = [
        one
        for one in pauses
        if one.namespace == queue.namespace
        and (
            one.kind is PauseKind.NAMESPACE
            or (one.kind is PauseKind.QUEUE and one.name == queue.handler)
        )
    ]
    return {
        "namespace": queue.namespace,
        "handler": queue.handler,
        "weight": queue.weight,
        "due": queue.due,
        "scheduled": queue.scheduled,
        "running": queue.running,
        "paused": queue.paused,
        "pauses": holding,
    }


@pauses.add("GET", "", QUEUES_READ, response=PauseList)
async def list_pauses(
    request: Request, api: ApiServicesOf, namespace: Namespace | None = None
) -> JsonResponse:
    """List the current pauses, newest first."""
    visible = await visible_namespaces(request, QUEUES_READ)
    listed = [
        one
        for one in await api.store.list_pauses(namespace=namespace)
        if visible is None or one.namespace in visible
    ]
    return JsonResponse(PauseList(pauses=listed))


async def _pause_target(
    request: Request, api: ApiServices, target: PauseTarget, reason: str
) -> JsonResponse:
    return JsonResponse(await caller_client(request, api).pause(target, reason=reason))


async def _resume_target(
    request: Request, api: ApiServices, target: PauseTarget, reason: str
) -> JsonResponse:
    resumed = await caller_client(request, api).resume(target, reason=reason)
    return JsonResponse(ResumeResponse(resumed=resumed))


@routes.add("POST", _QUEUE + "/pause", QUEUES_PAUSE, response=Pause, error_codes=_ACTS)
async def pause_queue(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    handler: HandlerPath,
    body: PauseReason,
) -> JsonResponse:
    """Pause the steps of a handler in a namespace; running attempts continue."""
    await authorize(request, QUEUES_PAUSE, namespace=namespace)
    return await _pause_target(request, api, PauseTarget.of_queue(namespace, handler), body.reason)


@routes.add("POST", _QUEUE + "/resume", QUEUES_PAUSE, response=ResumeResponse, error_codes=_ACTS)
async def resume_queue(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    handler: HandlerPath,
    body: PauseReason,
) -> JsonResponse:
    """Resume the steps of a handler in a namespace."""
    await authorize(request, QUEUES_PAUSE, namespace=namespace)
    return await _resume_target(request, api, PauseTarget.of_queue(namespace, handler), body.reason)


class QueueWeightBody(RequestBody):
    """Sets the weight of a queue."""

    weight: Annotated[float, Field(ge=LEAST_WEIGHT, le=GREATEST_WEIGHT)]
    """Weight that determines the queue's share of claims relative to other queues; initially 1."""
    reason: Text = ""


@routes.add("PUT", _QUEUE + "/weight", QUEUES_UPDATE, response=QueueWeightView, error_codes=_ACTS)
async def set_queue_weight(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    handler: HandlerPath,
    body: Annotated[QueueWeightBody, Depends(JsonBodyParser(QueueWeightBody))],
) -> JsonResponse:
    """Set the weight of a handler's queue, which determines its share of claims."""
    await authorize(request, QUEUES_UPDATE, namespace=namespace)
    client = caller_client(request, api)
    await client.set_queue_weight(namespace, handler, body.weight, reason=body.reason)
    return JsonResponse(QueueWeightView(weight=body.weight))


@templates.add("POST", _TEMPLATE + "/pause", TEMPLATES_PAUSE, response=Pause, error_codes=_ACTS)
async def pause_template(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    body: PauseReason,
) -> JsonResponse:
    """Pause all tasks of all versions of a template; running attempts continue."""
    await authorize(request, TEMPLATES_PAUSE, namespace=namespace, name=name)
    return await _pause_target(request, api, PauseTarget.of_template(namespace, name), body.reason)


@templates.add(
    "POST", _TEMPLATE + "/resume", TEMPLATES_PAUSE, response=ResumeResponse, error_codes=_ACTS
)
async def resume_template(
    request: Request,
    api: ApiServicesOf,
    namespace: NamespacePath,
    name: NamePath,
    body: PauseReason,
) -> JsonResponse:
    """Resume the tasks of a template, except those that were paused individually."""
    await authorize(request, TEMPLATES_PAUSE, namespace=namespace, name=name)
    return await _resume_target(request, api, PauseTarget.of_template(namespace, name), body.reason)


@namespaces.add("POST", "/{namespace}/pause", NAMESPACES_PAUSE, response=Pause, error_codes=_ACTS)
async def pause_namespace(
    request: Request, api: ApiServicesOf, namespace: NamespacePath, body: PauseReason
) -> JsonResponse:
    """Pause all steps of a namespace; running attempts continue."""
    await authorize(request, NAMESPACES_PAUSE, namespace=namespace)
    return await _pause_target(request, api, PauseTarget.of_namespace(namespace), body.reason)


@namespaces.add(
    "POST", "/{namespace}/resume", NAMESPACES_PAUSE, response=ResumeResponse, error_codes=_ACTS
)
async def resume_namespace(
    request: Request, api: ApiServicesOf, namespace: NamespacePath, body: PauseReason
) -> JsonResponse:
    """Resume a namespace."""
    await authorize(request, NAMESPACES_PAUSE, namespace=namespace)
    return await _resume_target(request, api, PauseTarget.of_namespace(namespace), body.reason)
