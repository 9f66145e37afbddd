"""Errors as problem details (RFC 9457), each with a stable code.

Only the content of a `Problem` leaves the server; the messages of unexpected errors and the
addresses of databases appear only in the log.
"""

import logging
from collections.abc import Mapping, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any, NotRequired

from starlette.exceptions import HTTPException
from starlette.requests import Request
from typing_extensions import TypedDict

from tasker.api.compat.errors import core_error_fields
from tasker.api.headers import get_or_make_correlation_id
from tasker.api.responses import JsonResponse
from tasker.api.views import documented
from tasker.errors import (
    DocumentProblem,
    InvalidInput,
    InvalidPolicy,
    InvalidTemplate,
    Misuse,
    Rejected,
    StoreError,
    StoreUnavailable,
    TaskerError,
)

log = logging.getLogger("tasker.api")

MEDIA_TYPE = "application/problem+json"

STATUSES: Mapping[str, tuple[int, str]] = {
    "malformed_json": (400, "The body is not valid JSON"),
    "invalid_request": (400, "Invalid request"),
    "invalid_input": (400, "Invalid input"),
    "invalid_expression": (400, "Invalid expression"),
    "invalid_template": (400, "Invalid template"),
    "invalid_policy": (400, "Invalid policy"),
    "unauthenticated": (401, "Authentication required"),
    "forbidden": (403, "Permission denied"),
    "protocol_unsupported": (400, "The server does not support this version of the protocol"),
    "invalid_ticket": (403, "The ticket is not valid for this worker"),
    "csrf_rejected": (403, "The request came from another site"),
    "not_an_approver": (403, "Not an approver"),
    "not_an_assignee": (403, "Not an assignee of the approval"),
    "http_host_not_allowed": (403, "The namespace's policy does not allow the host"),
    "not_found": (404, "Not found"),
    "unknown_worker": (404, "The worker is not registered"),
    "no_such_route": (404, "No such route"),
    "method_not_allowed": (405, "Method not allowed"),
    "request_incomplete": (408, "The body did not arrive in time"),
    "template_conflict": (409, "The version is registered with different content"),
    "template_not_approved": (409, "The template version accepts no new tasks"),
    "idempotency_conflict": (409, "The idempotency key was used with different content"),
    "task_exists": (409, "Another task already has the idempotency key"),
    "schedule_exists": (409, "The namespace already has a schedule with this name"),
    "webhook_exists": (409, "The namespace already has a webhook or a subscriber with this name"),
    "wrong_status": (409, "Not allowed in this status"),
    "too_many_open_tasks": (409, "The maximum number of open tasks with this key is reached"),
    "compensating": (409, "The task is being compensated"),
    "too_many_signals": (409, "The task has too many signals that no step has received"),
    "too_many_broadcasts": (409, "Too many broadcasts with this name and key"),
    "lease_lost": (409, "The worker's lease has expired"),
    "claim_under_way": (409, "Another claim request of the worker is in progress"),
    "attempt_cancelled": (409, "The attempt is over"),
    "durable_call_conflict": (409, "The name belongs to another durable call"),
    "too_many_durable_calls": (409, "The step has too many durable calls"),
    "rejected": (409, "Not allowed in the current state"),
    "task_changed": (412, "The task changed since it was read"),
    "schedule_changed": (412, "The schedule changed since it was read"),
    "too_large": (413, "Too large"),
    "unsupported_media_type": (415, "Unsupported media type"),
    "rate_limited": (429, "Too many requests"),
    "internal_error": (500, "Internal error"),
    "store_error": (500, "Store error"),
    "overloaded": (503, "The server is overloaded"),
    "draining": (503, "The server is shutting down"),
    "store_unavailable": (503, "The store is unavailable"),
    "auth_unavailable": (503, "Authentication is temporarily unavailable"),
    "schema_mismatch": (503, "The database schema belongs to another release"),
    "not_ready": (503, "The server is not ready"),
    "request_timeout": (504, "The request took too long"),
}
"""Code -> (status, title)."""

_RETRY_AFTER = {
    "store_unavailable": 2,
    "auth_unavailable": 5,
    "overloaded": 1,
    "draining": 1,
    "schema_mismatch": 30,
    "not_ready": 2,
}
_SOON = frozenset({"store_unavailable", "overloaded", "draining"})
"""Codes for which remote workers get no `Retry-After`: they use their own delays, which start at
0.1 s and grow."""

_WORKERS = "/v1/workers"
_SILENT = frozenset({500, 503})  #: statuses whose cause appears only in the log
_DETAILS = {
    "store_unavailable": "The store cannot be reached at the moment; try again.",
    "store_error": "The store failed; search the log for the correlation id.",
    "schema_mismatch": "Upgrade the database or the server, so that their releases match.",
    "internal_error": "An unexpected error occurred; search the log for the correlation id.",
}


@documented
class RequestFault(TypedDict):
    """One error in a request."""

    path: str
    """The location of the value, such as `$.context.amount` in the body, `query.limit`,
    `path.task_id` or `header.X-...`."""
    message: str
    allowed: NotRequired[list[str]]
    """The allowed values, if they can be listed."""
    line: NotRequired[int]
    """Line number, counted from 1, if the value has several lines."""
    column: NotRequired[int]
    file: NotRequired[str]


@documented
class ProblemDetails(TypedDict):
    """Why a request was rejected or failed (RFC 9457)."""

    type: str
    """`urn:tasker:problem:` and the code."""
    title: str
    """The title, which is the same for all problems with this code."""
    status: int
    code: str
    """The kind of the error, for programs; the meaning of a code never changes."""
    detail: str
    """A description of the error, for people."""
    instance: str
    """The path of the request."""
    correlation_id: str
    """The correlation id of the request, as in the header `X-Correlation-Id` and in the log."""
    errors: NotRequired[list[RequestFault]]
    """Every error in the request."""
    current_status: NotRequired[str]
    """With `wrong_status` and `template_not_approved`: the status of the task, step or version."""
    action: NotRequired[str]
    """With `wrong_status`: the rejected action."""
    allowed: NotRequired[list[str]]
    """With `wrong_status`: the statuses that allow the action. With `method_not_allowed`: the
    allowed methods. With `template_not_approved`: the people who may approve the template."""
    template: NotRequired[str]
    """With `template_not_approved`: the full name of the template version."""
    reason: NotRequired[str]
    """With `unauthenticated`: `missing`, `malformed`, `invalid`, `expired` or `revoked`."""
    permission: NotRequired[str]
    """With `forbidden`: the missing permission."""
    namespace: NotRequired[str]
    """With `forbidden`: the namespace in which the caller lacks the permission."""
    ready: NotRequired[bool]
    """With `not_ready`: always false."""
    checks: NotRequired[dict[str, Any]]
    """With `not_ready`: all checks with their results."""
    failed_checks: NotRequired[list[str]]
    """With `not_ready`: the names of the failed checks."""
    error: NotRequired[dict[str, str]]
    """Code and message in the format of the Rust core; only on the routes for its clients."""
    key: NotRequired[str]
    """With `task_exists`: the idempotency key."""
    task_id: NotRequired[str]
    """With `task_exists`: the id of the task that has the key. With `task_changed`: the id of the
    changed task."""
    etag: NotRequired[str]
    """With `task_changed` and `schedule_changed`: the current ETag."""
    schedule: NotRequired[str]
    """With `schedule_changed`: the full name of the schedule."""
    size: NotRequired[int]
    """With `too_large`: the size of the value in bytes."""
    limit: NotRequired[int]
    """With `too_large`: the maximum size in bytes."""


class Problem(HTTPException):
    """An error response.

    Args:
        code: One of `STATUSES`.
        detail: A message for people.
        errors: Every error in the request.
        headers: Further headers of the response.
        status: The HTTP status, if it differs from the code's default.
        more: Additional members of the body.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Sequence[RequestFault] = (),
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
        """Return the body of the response to a request for `path`."""
        body = {
            "type": f"urn:tasker:problem:{self.code}",
            "title": self.title,
            "status": self.status_code,
            "code": self.code,
            "detail": self.detail,
            "instance": path,
            "correlation_id": correlation_id,
            **core_error_fields(path, self.status_code, self.detail),
            **self.more,
        }
        if self.errors:
            body["errors"] = self.errors
        return body

    def to_response(self, scope: MutableMapping[str, Any]) -> JsonResponse:
        """Return the response to a request."""
        path, headers = scope["path"], dict(self.headers or {})
        if self.code in _SOON and path.startswith(_WORKERS):
            headers.pop("Retry-After", None)
        body = self.body(path, get_or_make_correlation_id(scope))
        reply = JsonResponse(body, self.status_code, headers, revealed=True)
        reply.headers["Content-Type"] = MEDIA_TYPE
        return reply


def problem_of_error(error: Exception) -> Problem:
    """Return the problem that reports an error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, TaskerError):
        return _problem_of_tasker_error(error)
    if isinstance(error, HTTPException):
        return _problem_of_http_exception(error)
    return Problem("internal_error", _DETAILS["internal_error"])


def _problem_of_tasker_error(error: TaskerError) -> Problem:
    code = error.code if error.code in STATUSES else _inherited_code(error)
    members = {member: getattr(error, name) for member, name in error.members.items()}
    return Problem(
        code, _DETAILS.get(code) or str(error), errors=_faults_of_error(error), **members
    )


def _faults_of_error(error: TaskerError) -> list[RequestFault]:
    if isinstance(error, InvalidTemplate | InvalidPolicy):
        return [_fault_of_document_problem(problem) for problem in error.problems]
    if isinstance(error, InvalidInput):
        return [{"path": path, "message": message} for path, message in error.violations]
    return []


def _fault_of_document_problem(problem: DocumentProblem) -> RequestFault:
    fault: RequestFault = {
        "path": f"$.{problem.path}" if problem.path else "$",
        "message": problem.message,
    }
    if problem.file:
        fault["file"] = problem.file
    if problem.line is not None:
        fault["line"] = problem.line
    if problem.column is not None:
        fault["column"] = problem.column
    return fault


def _inherited_code(error: TaskerError) -> str:
    """Return the code of an error's base class, if the error's own code has no status."""
    if isinstance(error, Misuse):
        return "invalid_request"
    if isinstance(error, Rejected):
        return "rejected"
    if isinstance(error, StoreUnavailable):
        return "store_unavailable"
    return "store_error" if isinstance(error, StoreError) else "internal_error"


def _problem_of_http_exception(error: HTTPException) -> Problem:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return Problem("no_such_route", "There is no route at this path.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = sorted(str((error.headers or {}).get("Allow", "")).replace(",", " ").split())
        return Problem(
            "method_not_allowed",
            f"This path allows {' and '.join(allowed) or 'other methods'}.",
            headers=error.headers,
            allowed=allowed,
        )
    if error.status_code < 500:
        return Problem("invalid_request", status=error.status_code, headers=error.headers)
    return Problem("internal_error", _DETAILS["internal_error"])


async def respond_with_problem(request: Request, error: Exception) -> JsonResponse:
    """Respond with the problem of an error, and log the details that it omits."""
    problem = problem_of_error(error)
    if problem.status_code in _SILENT and not isinstance(error, Problem):
        log.error(
            "request_failed",
            extra={
                "code": problem.code,
                "method": request.method,
                "path": request.url.path,
                "correlation_id": get_or_make_correlation_id(request.scope),
            },
            exc_info=None if isinstance(error, StoreUnavailable) else error,
        )
    return problem.to_response(request.scope)
