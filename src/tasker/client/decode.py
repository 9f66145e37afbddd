"""Decodes the API's JSON into values of the model, and its problems into errors."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from tasker.analytics.failures import FailureCause, FailureTriage
from tasker.analytics.figures import Chart
from tasker.analytics.model import Bottlenecks, Performance, SystemStatus, UsualDurations
from tasker.approvals import Approval, NotAnAssignee
from tasker.client.search import SearchMatch
from tasker.errors import (
    CompensationStarted,
    DocumentProblem,
    Forbidden,
    HttpHostNotAllowed,
    IdempotencyConflict,
    InvalidInput,
    InvalidPolicy,
    InvalidTemplate,
    Misuse,
    NotAnApprover,
    NotFound,
    Rejected,
    ScheduleChanged,
    ScheduleExists,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
    TaskChanged,
    TaskerError,
    TaskExists,
    TaskRegistrationError,
    TemplateNotApproved,
    TooLarge,
    TooManyOpenTasks,
    Unauthenticated,
    Violation,
    WebhookExists,
    WrongStatus,
)
from tasker.events import Event
from tasker.model import (
    Attempt,
    AuditEntry,
    LimitInfo,
    LimitSetting,
    LimitValues,
    Pause,
    PhaseDurations,
    Rate,
    RevealedTask,
    Step,
    StoredTemplate,
    Task,
    TaskCounts,
    TemplateVersion,
    WorkerAttempt,
)
from tasker.step_logs import LogPage
from tasker.teams.model import NamespaceInfo, NamespacePolicy, TeamAuditEntry
from tasker.template.load import template_from_document
from tasker.times import TaskTimes
from tasker.waits import BroadcastSent, SignalSent, TooManyBroadcasts, TooManySignals
from tasker.why import Reason

JsonObject = Mapping[str, Any]  # a JSON object in a response

_times, _stored = TypeAdapter(PhaseDurations), TypeAdapter(StoredTemplate)
task = TypeAdapter(Task).validate_python
steps = TypeAdapter(list[Step]).validate_python
events = TypeAdapter(list[Event]).validate_python
version = TypeAdapter(TemplateVersion).validate_python
versions = TypeAdapter(list[TemplateVersion]).validate_python
attempts = TypeAdapter(list[Attempt]).validate_python
revealed = TypeAdapter(RevealedTask).validate_python
reasons = TypeAdapter(list[Reason]).validate_python
log_page = TypeAdapter(LogPage).validate_python
audit = TypeAdapter(list[AuditEntry]).validate_python
namespaces = TypeAdapter(list[NamespaceInfo]).validate_python
namespace = TypeAdapter(NamespaceInfo).validate_python
policy = TypeAdapter(NamespacePolicy).validate_python
pause = TypeAdapter(Pause).validate_python
pauses = TypeAdapter(list[Pause]).validate_python
parse_team_audit_entries = TypeAdapter(list[TeamAuditEntry]).validate_python
worker_attempts = TypeAdapter(list[WorkerAttempt]).validate_python
performance = TypeAdapter(Performance).validate_python
usual_durations = TypeAdapter(UsualDurations).validate_python
approval = TypeAdapter(Approval).validate_python
approvals = TypeAdapter(list[Approval]).validate_python
signal_sent = TypeAdapter(SignalSent).validate_python
broadcast_sent = TypeAdapter(BroadcastSent).validate_python
bottlenecks = TypeAdapter(Bottlenecks).validate_python
chart = TypeAdapter(Chart).validate_python
system_status = TypeAdapter(SystemStatus).validate_python
failure_causes = TypeAdapter(list[FailureCause]).validate_python
failure_triage = TypeAdapter(FailureTriage).validate_python
task_counts = TypeAdapter(TaskCounts).validate_python
search_matches = TypeAdapter(list[SearchMatch]).validate_python


def task_times(view: JsonObject) -> TaskTimes:
    """Decode the timeline of a task."""
    steps = {step["name"]: _times.validate_python(step["times"]) for step in view["steps"]}
    return TaskTimes(_times.validate_python(view["times"]), steps)


def template(view: JsonObject) -> StoredTemplate:
    """Decode a template from its document."""
    return _stored.validate_python({**view, "template": template_from_document(view["document"])})


# ----------------------------------------------------------------------- errors


def error(problem: JsonObject) -> TaskerError:
    """Return the error that a local client would have raised."""
    code, detail = problem.get("code", ""), str(problem.get("detail", ""))
    kind = _ERRORS.get(code)
    if kind is None:
        return StoreError(detail) if problem.get("status", 500) >= 500 else Misuse(detail)
    if kind is InvalidInput:
        return _decode_invalid_input(detail, problem)
    if issubclass(kind, InvalidTemplate | InvalidPolicy):
        return kind(
            *map(_decode_problem, problem.get("errors") or [{"message": detail, "path": ""}])
        )
    error = kind.__new__(kind, detail)  # with the server's message instead of a generated one
    error.args = (detail,)
    for member, name in kind.members.items():
        value = problem.get(member)
        setattr(error, name, tuple(value) if isinstance(value, list) else value)
    return error


def _decode_invalid_input(detail: str, problem: JsonObject) -> InvalidInput:
    """Return the error with paths relative to the context or, in bulk, to the list of requests."""
    faults = problem.get("errors") or [{"path": "$", "message": detail}]
    violations = [
        Violation(_make_paths_relative(fault["path"]), fault["message"]) for fault in faults
    ]
    return InvalidInput(
        _make_paths_relative(detail), path=violations[0].path, violations=violations
    )


def _make_paths_relative(text: str) -> str:
    text = re.sub(r"\$\.tasks\[(\d+)\]\.context", r"$[\1]", text)
    return text.replace("$.context", "$")


def _decode_problem(fault: JsonObject) -> DocumentProblem:
    path = fault["path"].removeprefix("$").removeprefix(".")
    return DocumentProblem(
        fault["message"],
        path=path,
        file=fault.get("file", ""),
        line=fault.get("line"),
        column=fault.get("column"),
    )


_OWN_CODES: tuple[type[TaskerError], ...] = (
    *(InvalidInput, InvalidTemplate, InvalidPolicy, TooLarge),
    *(NotFound, TaskRegistrationError, HttpHostNotAllowed),
    *(ScheduleExists, ScheduleChanged, WebhookExists),
    *(IdempotencyConflict, TaskExists, TaskChanged, TooManySignals, TooManyBroadcasts),
    *(CompensationStarted, TooManyOpenTasks),
    *(
        WrongStatus,
        TemplateNotApproved,
        NotAnApprover,
        NotAnAssignee,
        Unauthenticated,
        Forbidden,
        Rejected,
    ),
    *(StoreUnavailable, SchemaMismatch),
)
_ERRORS: Mapping[str, type[TaskerError]] = {
    **{kind.code: kind for kind in _OWN_CODES},
    **dict.fromkeys(
        ("auth_unavailable", "overloaded", "rate_limited", "request_timeout", "not_ready"),
        StoreUnavailable,
    ),
    "invalid_request": InvalidInput,
    "invalid_expression": InvalidInput,
    "no_such_route": NotFound,
}
"""Exception class for each problem code."""


def limit(read: Mapping[str, Any]) -> LimitInfo:
    """Return a limit from its view."""
    fields = {name: read[name] for name in ("namespace", "key", "set_by", "running", "waiting")}
    return LimitInfo(**fields, values=_decode_limit_values(read))


def limit_setting(read: Mapping[str, Any]) -> LimitSetting:
    """Return the limit set for a key or a pattern from its view."""
    return LimitSetting(
        pattern=read["pattern"],
        values=_decode_limit_values(read),
        updated_by=read["updated_by"],
        updated_at=datetime.fromisoformat(read["updated_at"]),
    )


def _decode_limit_values(read: Mapping[str, Any]) -> LimitValues:
    rate = read["rate"]
    return LimitValues(
        concurrency=read["concurrency"],
        rate=None if rate is None else Rate.parse(rate),
        burst=read["burst"],
    )
