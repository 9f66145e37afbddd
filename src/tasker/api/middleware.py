"""Middleware: correlation ids, headers, and limits on size, time and concurrency.

Plain ASGI, so that bodies are counted as they arrive and streams are not buffered.
"""

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasker.api.headers import (
    BASE_PATH,
    CORRELATION,
    client_address,
    first_header,
    get_or_make_correlation_id,
)
from tasker.api.problems import Problem, problem_of_error
from tasker.durations import human_duration
from tasker.settings import AccessLogMode, ServerSettings

log = logging.getLogger("tasker.api")
access_log = logging.getLogger("tasker.access")

_WAITS = re.compile(r"/v1/(stream|tasks/[^/]+/(wait|stream))")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_WORKER_WAITS = re.compile(r"/v1/workers/\d+/(claim|renew)")
_PUBLIC = re.compile(r"/v1/(session|complete/[^/]+|hooks/[^/]+/[^/]+)")
_LARGE = re.compile(r"/v1/(tasks|templates)/bulk|/v1/workers/\d+/(settle|spawn)")
EXEMPT = frozenset({"/health", "/health/live", "/health/ready", "/live", "/ready", "/metrics"})
_DOCS = "/docs"
_CORRELATION = CORRELATION.encode()
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_WITHOUT_SCRIPTS = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    *_SECURITY,
)
_ADDED = frozenset(name for name, _ in _WITHOUT_SCRIPTS)

_CLIENT_GONE = 499  #: status of a request whose client went away, in logs and metrics

Seen = Callable[[str, str, int, float], None]
"""Function called after each request with its method, route, status and duration in seconds."""


class HeadersAndErrorsMiddleware:
    """The outermost middleware: adds headers to every response, turns every failure into a
    response, and logs and counts every request."""

    def __init__(self, app: ASGIApp, *, settings: ServerSettings, seen: Seen) -> None:
        self.app = app
        self.access_log = settings.access_log
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        began, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _add_correlation_and_security_headers(
                    scope, message.get("headers", ())
                )
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except ClientDisconnect:  # the client has gone away; nothing failed
            status = status or _CLIENT_GONE
        except Exception as error:  # the API's outer edge
            facts = {"method": scope["method"], "path": scope["path"]}
            log.exception(
                "request_failed",
                extra={**facts, "correlation_id": get_or_make_correlation_id(scope)},
            )
            if not status:
                await problem_of_error(error).to_response(scope)(scope, receive, send_with_headers)
        finally:
            self._record_request(scope, status, time.perf_counter() - began)

    def _record_request(self, scope: Scope, status: int, took: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.seen(method, route_path_of(scope), status, took)
        if self._is_logged(scope, status):
            principal = scope["state"].get("principal")
            access_log.info(
                "request",
                extra={
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "took_s": round(took, 6),
                    "client": client_address(scope),
                    "principal": principal and principal.name,
                    "by": principal and principal.credential,
                    "correlation_id": get_or_make_correlation_id(scope),
                },
            )

    def _is_logged(self, scope: Scope, status: int) -> bool:
        """Return whether the access log includes a request; checked before the record is built."""
        if self.access_log is AccessLogMode.OFF or scope["path"] in EXEMPT:
            return False
        if self.access_log is AccessLogMode.ERRORS and 0 < status < 400:
            return False
        return access_log.isEnabledFor(logging.INFO)


def _add_correlation_and_security_headers(
    scope: Scope, headers: Iterable[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """Return a response's headers with the correlation id and the headers for browsers."""
    complete = list(headers)
    present = dict(complete)
    correlation = present.get(_CORRELATION)
    if correlation is None:
        complete.append((_CORRELATION, get_or_make_correlation_id(scope).encode("latin-1")))
    else:
        scope["state"]["correlation_id"] = correlation.decode("latin-1")
    # The documentation page loads scripts; it is disabled by default.
    added = _SECURITY if scope["path"] == _DOCS else _WITHOUT_SCRIPTS
    if _ADDED.isdisjoint(present):
        return [*complete, *added]
    return complete + [header for header in added if header[0] not in present]


def route_path_of(scope: Scope) -> str:
    """Return the path template of the request's route, or `unmatched`."""
    return getattr(scope.get("route"), "path", None) or "unmatched"


class BasePathMiddleware:
    """Removes the path prefix under which a proxy publishes the server, unless the proxy already
    removed it."""

    def __init__(self, app: ASGIApp, *, base_path: str) -> None:
        self.app = app
        self.base_path = base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, BASE_PATH: self.base_path}
            if scope["path"].startswith(f"{self.base_path}/"):
                path = scope["path"][len(self.base_path) :]
                scope.update(path=path, raw_path=path.encode())
        await self.app(scope, receive, send)


class RequestLimitsMiddleware:
    """Limits the size, duration and concurrency of requests."""

    def __init__(self, app: ASGIApp, *, settings: ServerSettings) -> None:
        self.app = app
        self.settings = settings
        self.under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in EXEMPT:
            await self.app(scope, receive, send)
            return
        limits = _concurrency_limits_of_request(scope, self.settings)
        for kind, most in limits.items():
            if self.under_way[kind] >= most:
                problem = Problem(
                    "overloaded", f"More than {most} requests of this kind are in progress."
                )
                await problem.to_response(scope)(scope, receive, send)
                return
        waits = "streams" in limits or "workers" in limits
        bulk = _LARGE.fullmatch(scope["path"]) is not None
        body = _LimitedBody(
            receive, self.settings.bulk_body_bytes if bulk else self.settings.body_bytes
        )
        started = False

        async def send_and_note_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        for kind in limits:
            self.under_way[kind] += 1
        try:
            body.check_content_length(scope)
            async with asyncio.timeout(None if waits else self.settings.timeout.total_seconds()):
                await self.app(scope, body.receive, send_and_note_start)
        except TimeoutError:
            if started:
                raise
            await self._timeout_problem(scope, body).to_response(scope)(scope, receive, send)
        except Problem as problem:
            if started:
                raise
            await problem.to_response(scope)(scope, receive, send)
        finally:
            for kind in limits:
                self.under_way[kind] -= 1
                if not self.under_way[kind]:
                    del self.under_way[kind]

    def _timeout_problem(self, scope: Scope, body: "_LimitedBody") -> Problem:
        limit = human_duration(self.settings.timeout)
        if not body.complete and scope["method"] in ("POST", "PUT", "PATCH"):
            return Problem("request_incomplete", f"The body did not arrive within {limit}.")
        return Problem("request_timeout", f"The request took longer than {limit}.")


def _concurrency_limits_of_request(scope: Scope, settings: ServerSettings) -> Mapping[str, int]:
    """Return the kinds of requests among which a request counts, and how many there may be.

    Requests whose body is read although they have no credential count apart, so that bodies which
    arrive slowly keep out no other requests; those of one address keep out none of the others.
    """
    path = scope["path"]
    if scope["method"] == "POST" and _PUBLIC.fullmatch(path):
        most = max(settings.concurrency // 4, 1)
        address = client_address(scope)
        return {"public": most, f"public {address}": max(most // 4, 1)}
    if path.startswith("/v1/workers/") and _WORKER_WAITS.fullmatch(path):
        return {"workers": settings.workers * 2}
    if _WAITS.fullmatch(path):
        return {"streams": settings.streams}
    return {"concurrency": settings.concurrency}


class _LimitedBody:
    """Receives a request's body, and rejects it once it exceeds the limit."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self.complete = False
        self._receive = receive
        self._limit = limit
        self._size = 0

    def check_content_length(self, scope: Scope) -> None:
        """Reject a body whose `Content-Length` exceeds the limit. Raises Problem."""
        length = first_header(scope, "content-length") or ""
        if length.isascii() and length.isdigit() and int(length[:20]) > self._limit:
            raise self._too_large_problem(int(length[:20]))

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
            if self._size > self._limit:
                raise self._too_large_problem(self._size)
        return message

    def _too_large_problem(self, size: int) -> Problem:
        message = f"The body has at least {size:,} bytes; the limit is {self._limit:,} bytes."
        return Problem(
            "too_large", message, size=size, limit=self._limit, headers={"Connection": "close"}
        )
