"""Decodes the API's JSON into values of the model, and its problems into errors."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter

from tasker.analytics.model import Bottlenecks, Performance
from tasker.errors import (
    Forbidden,
    IdempotencyConflict,
    InvalidInput,
    InvalidPolicy,
    InvalidTemplate,
    Misuse,
    NotAnApprover,
    NotApproved,
    NotFound,
    Problem,
    Refused,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
    TaskChanged,
    TaskerError,
    TaskExists,
    TaskRegistrationError,
    TooLarge,
    Unauthenticated,
    Violation,
    WrongStatus,
)
from tasker.model import (
    Attempt,
    AuditEntry,
    BulkOutcome,
    Pause,
    Step,
    StoredTemplate,
    Task,
    TemplateVersion,
    Times,
)
from tasker.teams.model import NamespaceInfo, NamespacePolicy, TeamEvent
from tasker.template.load import from_document
from tasker.times import Timeline

JsonObject = Mapping[str, Any]  # a JSON object in a response
E = TypeVar("E", bound=TaskerError)

_times, _stored = TypeAdapter(Times), TypeAdapter(StoredTemplate)
task = TypeAdapter(Task).validate_python
steps = TypeAdapter(list[Step]).validate_python
version = TypeAdapter(TemplateVersion).validate_python
versions = TypeAdapter(list[TemplateVersion]).validate_python
attempts = TypeAdapter(list[Attempt]).validate_python
audit = TypeAdapter(list[AuditEntry]).validate_python
namespaces = TypeAdapter(list[NamespaceInfo]).validate_python
namespace = TypeAdapter(NamespaceInfo).validate_python
policy = TypeAdapter(NamespacePolicy).validate_python
pause = TypeAdapter(Pause).validate_python
pauses = TypeAdapter(list[Pause]).validate_python
team_events = TypeAdapter(list[TeamEvent]).validate_python
performance = TypeAdapter(Performance).validate_python
bulk_outcome = TypeAdapter(BulkOutcome).validate_python
bottlenecks = TypeAdapter(Bottlenecks).validate_python


def timeline(view: JsonObject) -> Timeline:
    """Decode the timeline of a task."""
    steps = {step["name"]: _times.validate_python(step["times"]) for step in view["steps"]}
    return Timeline(_times.validate_python(view["times"]), steps)


def template(view: JsonObject) -> StoredTemplate:
    """Decode a template from its document."""
    return _stored.validate_python({**view, "template": from_document(view["document"])})


# ----------------------------------------------------------------------- errors


def error_of(problem: JsonObject) -> TaskerError:
    """Return the error that a local client would have raised."""
    code, detail = problem.get("code", ""), str(problem.get("detail", ""))
    make = _ERRORS.get(code)
    if make is not None:
        return make(detail, problem)
    if problem.get("status", 500) >= 500:
        return StoreError(detail)
    return Misuse(detail)


def _message_only(kind: Callable[[str], TaskerError]) -> Callable[[str, JsonObject], TaskerError]:
    return lambda detail, problem: kind(detail)


def _invalid_input(detail: str, problem: JsonObject) -> TaskerError:
    """Return the error with paths relative to the context, or to the list of requests in bulk."""
    faults = problem.get("errors") or [{"path": "$", "message": detail}]
    violations = [Violation(_short(fault["path"]), fault["message"]) for fault in faults]
    return InvalidInput(_short(detail), path=violations[0].path, violations=violations)


def _short(text: str) -> str:
    text = re.sub(r"\$\.tasks\[(\d+)\]\.context", r"$[\1]", text)
    return text.replace("$.context", "$")


def _with_problems(
    kind: type[InvalidTemplate] | type[InvalidPolicy],
) -> Callable[[str, JsonObject], TaskerError]:
    def make(detail: str, problem: JsonObject) -> TaskerError:
        faults = problem.get("errors") or [{"message": detail, "path": ""}]
        return kind(*(_problem(fault) for fault in faults))

    return make


def _problem(fault: JsonObject) -> Problem:
    path = fault["path"].removeprefix("$").removeprefix(".")
    return Problem(
        fault["message"],
        path=path,
        file=fault.get("file", ""),
        line=fault.get("line"),
        column=fault.get("column"),
    )


def _with_message(kind: type[E], detail: str, **facts: Any) -> E:
    """Return an error with the server's message instead of a generated one."""
    error = kind.__new__(kind, detail)
    error.args = (detail,)
    for fact, value in facts.items():
        setattr(error, fact, value)
    return error


def _wrong_status(detail: str, problem: JsonObject) -> TaskerError:
    return _with_message(
        WrongStatus,
        detail,
        status=problem.get("current_status", ""),
        action=problem.get("action", ""),
        allowed=frozenset(problem.get("allowed") or ()),
    )


def _not_approved(detail: str, problem: JsonObject) -> TaskerError:
    return _with_message(
        NotApproved,
        detail,
        template=problem.get("template", ""),
        status=problem.get("current_status", ""),
        approvers=tuple(problem.get("allowed") or ()),
    )


def _task_exists(detail: str, problem: JsonObject) -> TaskerError:
    return _with_message(
        TaskExists, detail, key=problem.get("key", ""), task_id=problem.get("task_id", "")
    )


def _task_changed(detail: str, problem: JsonObject) -> TaskerError:
    task_id, etag = problem.get("task_id", ""), problem.get("etag", "")
    return _with_message(TaskChanged, detail, task_id=task_id, etag=etag)


def _too_large(detail: str, problem: JsonObject) -> TaskerError:
    return _with_message(
        TooLarge, detail, size=problem.get("size", 0), limit=problem.get("limit", 0)
    )


_ERRORS: Mapping[str, Callable[[str, JsonObject], TaskerError]] = {
    "invalid_input": _invalid_input,
    "invalid_request": _invalid_input,
    "invalid_template": _with_problems(InvalidTemplate),
    "invalid_policy": _with_problems(InvalidPolicy),
    "too_large": _too_large,
    "wrong_status": _wrong_status,
    "template_not_approved": _not_approved,
    "not_found": _message_only(NotFound),
    "no_such_route": _message_only(NotFound),
    "template_conflict": _message_only(TaskRegistrationError),
    "idempotency_conflict": _message_only(IdempotencyConflict),
    "task_exists": _task_exists,
    "task_changed": _task_changed,
    "not_an_approver": _message_only(NotAnApprover),
    "unauthenticated": _message_only(Unauthenticated),
    "forbidden": _message_only(Forbidden),
    "refused": _message_only(Refused),
    "store_unavailable": _message_only(StoreUnavailable),
    "auth_unavailable": _message_only(StoreUnavailable),
    "schema_mismatch": _message_only(SchemaMismatch),
    "overloaded": _message_only(StoreUnavailable),
    "rate_limited": _message_only(StoreUnavailable),
    "request_timeout": _message_only(StoreUnavailable),
    "not_ready": _message_only(StoreUnavailable),
}
