"""Refusals and failures as problem details (RFC 9457), each with a code that does not change.

Everything that a caller can be told goes through `Problem`; what it must not be told (the
text of unexpected errors, addresses of databases) stays in the log.
"""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NotRequired

from starlette.exceptions import HTTPException
from starlette.requests import Request
from typing_extensions import TypedDict

from tasker.api.responses import JsonReply
from tasker.api.scope import correlation_of
from tasker.api.views import documented
from tasker.errors import (
    InvalidInput,
    InvalidPolicy,
    InvalidTemplate,
    Misuse,
    NotApproved,
    Refused,
    StoreError,
    StoreUnavailable,
    TaskerError,
    TooLarge,
    WrongState,
)
from tasker.errors import Problem as TextProblem

log = logging.getLogger("tasker.api")

MEDIA_TYPE = "application/problem+json"

STATUSES: Mapping[str, tuple[int, str]] = {
    "malformed_json": (400, "The body is not JSON"),
    "invalid_request": (400, "The request is wrong"),
    "invalid_input": (400, "A value does not fit"),
    "invalid_template": (400, "The template is wrong"),
    "invalid_policy": (400, "The policy is wrong"),
    "unauthenticated": (401, "Who you are is not known"),
    "forbidden": (403, "You may not do this"),
    "not_an_approver": (403, "Somebody else must decide this"),
    "not_found": (404, "There is no such thing"),
    "no_such_route": (404, "There is nothing at this path"),
    "method_not_allowed": (405, "This path does not take this method"),
    "request_incomplete": (408, "The request did not arrive in time"),
    "template_conflict": (409, "The version exists with other content"),
    "template_not_approved": (409, "The template version takes no tasks"),
    "idempotency_conflict": (409, "The key was used with other content"),
    "wrong_state": (409, "Its state does not allow this"),
    "refused": (409, "The stored state does not allow this"),
    "too_large": (413, "Too large"),
    "unsupported_media_type": (415, "The body has a type that is not read here"),
    "rate_limited": (429, "Too many requests"),
    "internal_error": (500, "The server failed"),
    "store_error": (500, "The store failed"),
    "overloaded": (503, "The server has too much to do"),
    "store_unavailable": (503, "The store cannot be reached"),
    "auth_unavailable": (503, "Who you are cannot be told at the moment"),
    "schema_mismatch": (503, "The database is not of this release"),
    "not_ready": (503, "The server is not ready"),
    "request_timeout": (504, "The request took too long"),
}
"""Code -> (status, title)."""

_RETRY_AFTER = {
    "store_unavailable": 2,
    "auth_unavailable": 5,
    "overloaded": 1,
    "schema_mismatch": 30,
    "not_ready": 2,
}
_SILENT = frozenset({500, 503})  #: statuses whose cause is for the log alone
_SAID = {
    "store_unavailable": "The store cannot be reached at the moment; try again.",
    "store_error": "The store could not do it.",
    "schema_mismatch": "The database has to be brought up to date first.",
    "internal_error": "Something unexpected happened; the log has it under the correlation id.",
}


@documented
class Fault(TypedDict):
    """One thing that is wrong with a request."""

    path: str
    """Where: `$.context.amount` in the body, `query.limit`, `path.task_id`, `header.X-...`."""
    message: str
    allowed: NotRequired[list[str]]
    """What would be right, where that can be listed."""
    line: NotRequired[int]
    """In a text of several lines, from 1."""
    column: NotRequired[int]
    file: NotRequired[str]


@documented
class ProblemDetails(TypedDict):
    """Why a request was refused, or failed (RFC 9457)."""

    type: str
    """`urn:tasker:problem:` and the code."""
    title: str
    """The same for every problem of one code."""
    status: int
    code: str
    """What happened, for programs; never changes its meaning."""
    detail: str
    """What happened, for people."""
    instance: str
    """The path that was asked for."""
    correlation_id: str
    """As in the header `X-Correlation-Id`, and in the log."""
    errors: NotRequired[list[Fault]]
    """What is wrong with the request, part by part."""
    state: NotRequired[str]
    """Of `wrong_state` and `template_not_approved`: the state or status it is in."""
    action: NotRequired[str]
    """Of `wrong_state`: what was asked for."""
    allowed: NotRequired[list[str]]
    """Of `wrong_state`: the states that allow it; of a method: those that there are; of
    `template_not_approved`: who may approve it."""
    template: NotRequired[str]
    """Of `template_not_approved`: its full name."""
    reason: NotRequired[str]
    """Of `unauthenticated`: `missing`, `malformed`, `invalid`, `expired` or `revoked`."""
    permission: NotRequired[str]
    """Of `forbidden`: the permission that is missing."""
    namespace: NotRequired[str]
    """Of `forbidden`: where it is missing."""
    ready: NotRequired[bool]
    """Of `not_ready`: false."""
    checks: NotRequired[dict[str, Any]]
    """Of `not_ready`: every check, and what it found."""
    failed_checks: NotRequired[list[str]]
    """Of `not_ready`: their names."""
    size: NotRequired[int]
    """Of `too_large`: bytes."""
    limit: NotRequired[int]
    """Of `too_large`: most bytes."""


class Problem(HTTPException):
    """A refusal, ready to be told.

    Args:
        code: One of `STATUSES`.
        detail: What happened, for people.
        errors: What is wrong, part by part.
        headers: Further headers of the answer.
        status: Where it differs from the code's own.
        more: Further members of the body.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
        **more: Any,  # members of ProblemDetails
    ) -> None:
        own, title = STATUSES[code]
        headers = dict(headers or {})
        if code in _RETRY_AFTER:
            headers.setdefault("Retry-After", str(_RETRY_AFTER[code]))
        super().__init__(status or own, detail or f"{title}.", headers)
        self.code, self.title, self.errors, self.more = code, title, list(errors), more

    def body(self, path: str, correlation_id: str) -> dict[str, Any]:
        """Write the problem about a request for `path`."""
        body = {
            "type": f"urn:tasker:problem:{self.code}",
            "title": self.title,
            "status": self.status_code,
            "code": self.code,
            "detail": self.detail,
            "instance": path,
            "correlation_id": correlation_id,
            **self.more,
        }
        if self.errors:
            body["errors"] = self.errors
        return body

    def reply(self, scope: Mapping[str, Any]) -> JsonReply:
        """Make the answer to a request."""
        body = self.body(scope["path"], correlation_of(scope))
        reply = JsonReply(body, self.status_code, self.headers)
        reply.headers["Content-Type"] = MEDIA_TYPE
        return reply


def problem_of(error: Exception) -> Problem:
    """Tell what may be told of an error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, TaskerError):
        return _of_ours(error)
    if isinstance(error, HTTPException):
        return _of_framework(error)
    return Problem("internal_error", _SAID["internal_error"])


def _of_ours(error: TaskerError) -> Problem:
    code = error.code if error.code in STATUSES else _general(error)
    return Problem(code, _SAID.get(code) or str(error), errors=_faults(error), **_facts(error))


def _facts(error: TaskerError) -> dict[str, Any]:
    """Tell what an error knows beside its message."""
    if isinstance(error, WrongState):
        return {"state": error.state, "action": error.action, "allowed": sorted(error.allowed)}
    if isinstance(error, NotApproved):
        allowed = list(error.approvers)
        return {"state": error.status, "template": error.template, "allowed": allowed}
    if isinstance(error, TooLarge):
        return {"size": error.size, "limit": error.limit}
    return {}


def _faults(error: TaskerError) -> list[Fault]:
    if isinstance(error, InvalidTemplate | InvalidPolicy):
        return [_fault(found) for found in error.problems]
    if isinstance(error, InvalidInput):
        return [{"path": error.path, "message": str(error)}]
    return []


def _fault(found: TextProblem) -> Fault:
    fault: Fault = {
        "path": f"$.{found.path}" if found.path else "$",
        "message": found.message,
    }
    if found.file:
        fault["file"] = found.file
    if found.line is not None:
        fault["line"] = found.line
    if found.column is not None:
        fault["column"] = found.column
    return fault


def _general(error: TaskerError) -> str:
    """Tell the code of an error whose own has no status."""
    if isinstance(error, Misuse):
        return "invalid_request"
    if isinstance(error, Refused):
        return "refused"
    if isinstance(error, StoreUnavailable):
        return "store_unavailable"
    return "store_error" if isinstance(error, StoreError) else "internal_error"


def _of_framework(error: HTTPException) -> Problem:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return Problem("no_such_route", "There is no route at this path.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = sorted(str((error.headers or {}).get("Allow", "")).replace(",", " ").split())
        return Problem(
            "method_not_allowed",
            f"This path takes {' and '.join(allowed) or 'other methods'}.",
            headers=error.headers,
            allowed=allowed,
        )
    if error.status_code < 500:
        return Problem("invalid_request", status=error.status_code, headers=error.headers)
    return Problem("internal_error", _SAID["internal_error"])


async def answer(request: Request, error: Exception) -> JsonReply:
    """Answer a request with what may be told of an error; log what may not."""
    problem = problem_of(error)
    if problem.status_code in _SILENT and not isinstance(error, Problem):
        log.error(
            "request_failed",
            extra={
                "code": problem.code,
                "method": request.method,
                "path": request.url.path,
                "correlation_id": correlation_of(request.scope),
            },
            exc_info=None if isinstance(error, StoreUnavailable) else error,
        )
    return problem.reply(request.scope)
