"""Signals to tasks, and broadcasts."""

from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import Request

from tasker.api.authorization import authorize
from tasker.api.dependencies import ApiServicesOf
from tasker.api.fields import Namespace, TaskPath, Text
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse
from tasker.api.routes.tasks import caller_client, operator_client, read_authorized_task
from tasker.api.routing import READS_BODY, ExtraResponse, Routes
from tasker.client.templates import DEFAULT_NAMESPACE
from tasker.teams.permissions import SIGNALS_SEND
from tasker.waits import BroadcastSent, SignalSent

signals = Routes("signals", "/v1/tasks")
broadcasts = Routes("signals", "/v1/broadcasts")


class SignalBody(RequestBody):
    """Sends a signal to a task."""

    name: str
    """1 to 200 characters."""
    payload: Any = None
    """At most 64 KiB."""
    id: str | None = None
    """Signals with the same name and id are stored only once."""
    reason: Text = ""
    """The reason for the signal, which the task's audit log records."""


class BroadcastBody(RequestBody):
    """Sends a broadcast to all steps that wait for its name and key."""

    name: str
    """1 to 200 characters."""
    key: str
    """1 to 200 characters."""
    payload: Any = None
    """At most 64 KiB."""
    id: str | None = None
    """Broadcasts with the same name, key and id are stored only once."""
    namespace: Namespace = DEFAULT_NAMESPACE
    """Namespace of the waiting tasks."""


@signals.add(
    "POST",
    "/{task_id}/signals",
    SIGNALS_SEND,
    response=SignalSent,
    status=201,
    description="The signal was stored. If a step was waiting for it, `step` is the name of that "
    "step.",
    extra_responses={200: ExtraResponse(SignalSent, "A signal with this id was already sent.")},
    error_codes=(*READS_BODY, "not_found", "wrong_status", "too_many_signals", "invalid_input"),
)
async def send_signal(
    request: Request,
    api: ApiServicesOf,
    task_id: TaskPath,
    body: Annotated[SignalBody, Depends(JsonBodyParser(SignalBody))],
) -> JsonResponse:
    """Send a signal to a task.

    The first step that waits for the name receives the signal. Until then, the signal is kept.
    """
    task = await read_authorized_task(request, api, task_id, SIGNALS_SEND)
    sent = await operator_client(request, api).signal(
        task.id, body.name, body.payload, id=body.id, reason=body.reason
    )
    return JsonResponse(sent, 201 if sent.created else 200)


@broadcasts.add(
    "POST",
    "",
    SIGNALS_SEND,
    response=BroadcastSent,
    status=201,
    description="The broadcast was stored, and the waiting steps have received it.",
    extra_responses={
        200: ExtraResponse(BroadcastSent, "A broadcast with this id was already sent.")
    },
    error_codes=(*READS_BODY, "not_found", "too_many_broadcasts", "invalid_input"),
)
async def send_broadcast(
    request: Request,
    api: ApiServicesOf,
    body: Annotated[BroadcastBody, Depends(JsonBodyParser(BroadcastBody))],
) -> JsonResponse:
    """Send a broadcast to all steps of a namespace that wait for its name and key.

    Steps that start to wait within a week also receive it, if their task already exists.
    """
    await authorize(request, SIGNALS_SEND, namespace=body.namespace)
    sent = await caller_client(request, api).broadcast(
        body.name, body.key, body.payload, id=body.id, namespace=body.namespace
    )
    return JsonResponse(sent, 201 if sent.created else 200)
