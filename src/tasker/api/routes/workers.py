"""Remote workers: the routes of the worker protocol, without FastAPI on the hot path."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import orjson
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from tasker.api.auth.coordinators import Resource
from tasker.api.auth.principal import Principal
from tasker.api.connections import CONNECTION, Connection
from tasker.api.dependencies import ApiServices
from tasker.api.headers import first_header
from tasker.api.problems import Problem
from tasker.api.requests import read_body
from tasker.api.routing import READS_BODY, PathGroupRoute, Routes
from tasker.client.templates import split_template_reference
from tasker.model import WorkerId
from tasker.remote.registered import RegisteredWorker
from tasker.teams.permissions import TASKS_CREATE, TASKS_READ, WORKERS_RUN

BASE = "/v1/workers"
_MOST_ID = 18  #: digits of a worker's id
_HEADERS = [(b"content-type", b"application/json")]

_Body: TypeAlias = Mapping[str, Any]
_Answer: TypeAlias = Mapping[str, Any] | None


class WorkerActionDescription(NamedTuple):
    """What the description of the API says about an action, which has a route below a worker."""

    summary: str
    waits: bool = False
    """Whether the route may wait before it responds; the wait ends if the caller disconnects."""


ACTIONS: Mapping[str, WorkerActionDescription] = {
    "claim": WorkerActionDescription(
        "Claim due steps. If none is due, wait until one is", waits=True
    ),
    "settle": WorkerActionDescription("Settle attempts; the response contains the next steps"),
    "renew": WorkerActionDescription("Renew the lease and wait for revocations", waits=True),
    "resume": WorkerActionDescription(
        "List the claims that a claim or settle request made, if its response was lost"
    ),
    "payload": WorkerActionDescription("Read the payload of a claimed step"),
    "template": WorkerActionDescription("Read the template of a claimed step"),
    "checkpoint": WorkerActionDescription("Store a checkpoint of an attempt"),
    "calls": WorkerActionDescription("Read the durable calls of a step"),
    "once": WorkerActionDescription("Record the result of a `once` call"),
    "record": WorkerActionDescription(
        "Record a durable call of the kind `once`, `sleep` or `run_task`"
    ),
    "spawn": WorkerActionDescription("Add instances to a map"),
    "instances": WorkerActionDescription("Read the results of an earlier step's instances"),
    "run_task": WorkerActionDescription("Create or find the child task of a `run_task` call"),
    "progress": WorkerActionDescription("Store the progress of an attempt"),
    "logs": WorkerActionDescription("Store log records of an attempt"),
}


class WorkerProtocolRoute(PathGroupRoute):
    """All routes of the worker protocol, as one route of the application."""

    path = BASE + "/{worker}/{action}"

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or not scope["path"].startswith(BASE):
            return Match.NONE, {}
        method, rest = scope["method"], scope["path"][len(BASE) :].split("/")
        match rest:
            case [""] if method == "POST":
                return Match.FULL, {"worker": None, "action": "register"}
            case ["", worker] if method == "DELETE" and _is_worker_id(worker):
                return Match.FULL, {"worker": int(worker), "action": "retire"}
            case ["", worker, action] if action in ACTIONS and _is_worker_id(worker):
                degree = Match.FULL if method == "POST" else Match.PARTIAL
                return degree, {"worker": int(worker), "action": action}
        return Match.NONE, {}

    methods = frozenset({"POST", "DELETE"})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        action = scope["action"]
        if action != "retire" and scope["method"] != "POST":
            raise Problem("method_not_allowed", "This path allows POST.", allowed=["POST"])
        scope["route"] = _RouteForMetrics(
            f"{BASE}/{{worker}}/{action}" if scope["worker"] else BASE
        )
        api: ApiServices = scope["app"].state.tasker
        principal = await _authenticate_worker(api, scope, counts=action == "register")
        scope["state"]["principal"] = principal
        allowed = await api.authorizer.visible_namespaces(principal, WORKERS_RUN)
        if api.closing.is_set() and action in ("register", "claim"):
            raise Problem(
                "draining", "The server is shutting down; use another server or try again later."
            )
        workers = api.remote_workers
        if action == "register":
            body = _parse_json_object(scope, await read_body(receive))
            name, credential, handlers = principal.name, principal.credential, principal.handlers
            registered = await workers.register_worker(body, name, credential, allowed, handlers)
            await _send_json_response(send, 201, registered)
            return
        worker = await workers.get_worker(WorkerId(scope["worker"]))
        _check_worker_owner(worker, principal, allowed)
        if action == "retire":
            await workers.retire_worker(worker)
            await _send_json_response(send, 204, None)
            return
        body = _parse_json_object(scope, await read_body(receive))
        if action == "settle":
            worker.readable_namespaces = partial(
                api.authorizer.visible_namespaces, principal, TASKS_READ
            )
        if action == "run_task":
            await _check_may_create_task(api, principal, body)
        working = workers.calls[action](worker, body)
        waits = ACTIONS[action].waits
        answer = await (
            _await_or_cancel_on_disconnect(working, scope, receive) if waits else working
        )
        await _send_json_response(send, 204 if answer is None else 200, answer)


async def _authenticate_worker(api: ApiServices, scope: Scope, *, counts: bool) -> Principal:
    """Return the caller. Failures, and requests of routes with `counts`, count towards the rate
    limit of its address."""
    address = f"address {(scope.get('client') or ('',))[0]}"
    try:
        principal = await api.authorizer.authenticate_and_check_permissions(scope, [WORKERS_RUN])
    except Problem:
        api.rate_limits.admit(address)
        raise
    if counts:
        api.rate_limits.admit(principal.name if principal.known else address)
    return principal


class _RouteForMetrics(NamedTuple):
    """The route of a request, as metrics name it."""

    path: str


def _is_worker_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_ID


def _parse_json_object(scope: Scope, body: bytes) -> _Body:
    """Return a JSON object. Raises Problem."""
    sent = (first_header(scope, "content-type") or "").partition(";")[0].strip().lower()
    if sent != "application/json":
        raise Problem(
            "unsupported_media_type",
            f"Content-Type is {sent or 'absent'}; it must be application/json.",
        )
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem("malformed_json", f"The body is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise Problem("invalid_request", "The body must be an object.")
    return value


async def _send_json_response(send: Send, status: int, answer: _Answer) -> None:
    body = b"" if answer is None else orjson.dumps(answer)
    headers = [(b"content-length", str(len(body)).encode())]
    if answer is not None:
        headers += _HEADERS
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _await_or_cancel_on_disconnect(
    answer: Awaitable[_Answer], scope: Scope, receive: Receive
) -> _Answer:
    """Return an answer, or stop the work on it when the caller disconnects."""
    working, is_gone = asyncio.current_task(), False

    def cancel_work() -> None:
        nonlocal is_gone
        is_gone = True
        if working is not None:
            working.cancel()

    stop_watching = _watch_for_disconnect(scope, receive, cancel_work)
    try:
        return await answer
    except asyncio.CancelledError:
        if working is not None and is_gone and not working.uncancel():
            raise ClientDisconnect from None
        raise
    finally:
        stop_watching()


def _watch_for_disconnect(
    scope: Scope, receive: Receive, on_disconnect: Callable[[], None]
) -> Callable[[], object]:
    """Call a function once if the caller disconnects; return a function that stops that."""
    connection: Connection | None = scope.get(CONNECTION)
    if connection is not None:
        connection.set_disconnect_callback(on_disconnect)
        return connection.clear_disconnect_callback

    async def wait_for_disconnect() -> None:  # with another ASGI server
        while (await receive())["type"] != "http.disconnect":
            pass
        on_disconnect()

    return asyncio.ensure_future(wait_for_disconnect()).cancel


def _check_worker_owner(
    worker: RegisteredWorker, principal: Principal, allowed: frozenset[str] | None
) -> None:
    """Raise Problem unless a worker belongs to the caller and may still serve its namespaces."""
    if not worker.was_registered_by(principal.name, principal.credential):
        raise Problem(
            "forbidden",
            f"Worker {worker.id} was registered by another caller.",
            permission=str(WORKERS_RUN),
        )
    if allowed is not None and not worker.namespaces <= allowed:
        raise Problem(
            "forbidden",
            "The credential may no longer serve all namespaces of the worker: register the worker"
            " again.",
            permission=str(WORKERS_RUN),
        )


async def _check_may_create_task(api: ApiServices, principal: Principal, body: _Body) -> None:
    """Raise Problem unless the caller may create tasks of the template that a body names."""
    full = str(body.get("template", ""))
    namespace, name, _ = split_template_reference(full, None, None)
    target = Resource(namespace, name, None)
    if not await api.authorizer.allows(principal, TASKS_CREATE, target):
        raise Problem(
            "forbidden",
            f"The worker's credential may not create tasks of {full}.",
            permission=str(TASKS_CREATE),
            namespace=namespace,
        )


# ------------------------------------------------------------------------ description

routes = Routes("workers", BASE)
"""Describes the routes in OpenAPI; `WorkerProtocolRoute` serves them."""

_PROBLEMS = (*READS_BODY, "unknown_worker", "invalid_ticket", "attempt_cancelled", "lease_lost")
_OBJECT = {"application/json": {"type": "object"}}


def _document_route(
    method: str, path: str, name: str, summary: str, status: int, *error_codes: str
) -> None:
    """Add a route to the API's description; its requests are served by `WorkerProtocolRoute`."""

    async def endpoint() -> None: ...

    endpoint.__name__ = name
    endpoint.__doc__ = f"{summary}.\n\nSee `docs/worker-protocol.md`. Unknown fields are ignored."
    routes.add(
        method,
        path,
        WORKERS_RUN,
        response=None if status == 204 else dict[str, Any],
        status=status,
        error_codes=error_codes,
        reads=None if method == "DELETE" else _OBJECT,
    )(endpoint)


_document_route(
    "POST", "", "register_worker", "Register a remote worker", 201,
    *READS_BODY, "protocol_unsupported", "draining",
)  # fmt: skip
_document_route(
    "DELETE", "/{worker}", "retire_worker", "Release a worker's steps and end its lease",
    204, "unknown_worker",
)  # fmt: skip
for _name, _action in ACTIONS.items():
    _status = 204 if _name in ("checkpoint", "once", "progress", "logs") else 200
    _extra = ("claim_under_way", "draining") if _name == "claim" else ()
    _document_route("POST", f"/{{worker}}/{_name}", f"worker_{_name}", _action.summary, _status,
              *_PROBLEMS, *_extra)  # fmt: skip
