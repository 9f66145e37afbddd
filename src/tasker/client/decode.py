"""Values of the model from the JSON of the API, and errors from its problems."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

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
    TaskerError,
    TaskRegistrationError,
    TooLarge,
    Unauthenticated,
    Violation,
    WrongState,
)
from tasker.model import (
    Attempt,
    AttemptOutcome,
    AuditEntry,
    Step,
    StepCounts,
    StepStatus,
    StoredTemplate,
    Task,
    TaskId,
    TaskStatus,
    TemplateId,
    TemplateName,
    TemplateStatus,
    TemplateVersion,
)
from tasker.teams.model import NamespaceInfo, NamespacePolicy, TeamEvent
from tasker.template import from_document

Read = Mapping[str, Any]  # an object as it arrived
E = TypeVar("E", bound=TaskerError)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def maybe(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def task(read: Read) -> Task:
    return Task(
        id=TaskId(read["id"]),
        template=name(read),
        status=TaskStatus(read["status"]),
        context=read["context"],
        correlation_id=read["correlation_id"],
        parent_id=read["parent_id"],
        idempotency_key=read["idempotency_key"],
        created_by=read["created_by"],
        reason=read["reason"],
        tags=tuple(read["tags"]),
        created_at=instant(read["created_at"]),
        ended_at=maybe(read["ended_at"]),
        deadline=maybe(read["deadline"]),
        error=read["error"],
        counts=StepCounts(**read["counts"]),
        created=read["created"],
    )


def step(read: Read) -> Step:
    return Step(
        task_id=TaskId(read["task_id"]),
        no=read["no"],
        name=read["name"],
        status=_STORED.get(read["status"]) or StepStatus(read["status"]),
        attempts=read["attempts"],
        run_at=maybe(read["run_at"]),
        claimed_at=maybe(read["claimed_at"]),
        settled_at=maybe(read["settled_at"]),
        worker=read["worker"],
        result=read["result"],
        error=read["error"],
        checkpoint=read["checkpoint"],
        pending_parents=read["pending_parents"],
    )


_STORED = {"waiting_for_retry": StepStatus.ENQUEUED}
"""Statuses that the API shows of steps, and under which stores keep them."""


def attempt(read: Read) -> Attempt:
    return Attempt(
        task_id=TaskId(read["task_id"]),
        no=read["no"],
        step=read["step"],
        attempt=read["attempt"],
        outcome=AttemptOutcome(read["outcome"]),
        worker=read["worker"],
        enqueued_at=maybe(read["enqueued_at"]),
        claimed_at=maybe(read["claimed_at"]),
        settled_at=instant(read["settled_at"]),
        error=read["error"],
    )


def audit(read: Read) -> AuditEntry:
    return AuditEntry(**{**read, "at": instant(read["at"]), "task_id": TaskId(read["task_id"])})


def name(read: Read) -> TemplateName:
    return TemplateName(read["namespace"], read["name"], read["version"])


def template(read: Read) -> StoredTemplate:
    return StoredTemplate(
        id=TemplateId(read["id"]),
        template=from_document(read["document"]),
        registered_by=read["registered_by"],
        registered_at=instant(read["registered_at"]),
        status=TemplateStatus(read["status"]),
    )


def version(read: Read) -> TemplateVersion:
    return TemplateVersion(
        id=TemplateId(read["id"]),
        name=name(read),
        status=TemplateStatus(read["status"]),
        registered_by=read["registered_by"],
        registered_at=instant(read["registered_at"]),
        decided_by=read["decided_by"],
        decided_at=maybe(read["decided_at"]),
        reason=read["reason"],
    )


def policy(read: Read) -> NamespacePolicy:
    return NamespacePolicy(
        **{
            **read,
            "approvers": tuple(read["approvers"]),
            "updated_at": maybe(read["updated_at"]),
        }
    )


def namespace(read: Read) -> NamespaceInfo:
    found = read["policy"]
    return NamespaceInfo(**{**read, "policy": None if found is None else policy(found)})


def team_event(read: Read) -> TeamEvent:
    return TeamEvent(**{**read, "at": instant(read["at"])})


# ----------------------------------------------------------------------- errors


def error_of(problem: Read) -> TaskerError:
    """Make the error that a local client would have raised."""
    code, detail = problem.get("code", ""), str(problem.get("detail", ""))
    make = _ERRORS.get(code)
    if make is not None:
        return make(detail, problem)
    if problem.get("status", 500) >= 500:
        return StoreError(detail)
    return Misuse(detail)


def _plain(kind: Callable[[str], TaskerError]) -> Callable[[str, Read], TaskerError]:
    return lambda detail, problem: kind(detail)


def _invalid_input(detail: str, problem: Read) -> TaskerError:
    """Write paths as from the context, and of bulk as from the list of requests."""
    faults = problem.get("errors") or [{"path": "$", "message": detail}]
    violations = [Violation(_short(fault["path"]), fault["message"]) for fault in faults]
    return InvalidInput(_short(detail), path=violations[0].path, violations=violations)


def _short(text: str) -> str:
    text = re.sub(r"\$\.tasks\[(\d+)\]\.context", r"$[\1]", text)
    return text.replace("$.context", "$")


def _with_problems(
    kind: type[InvalidTemplate] | type[InvalidPolicy],
) -> Callable[[str, Read], TaskerError]:
    def make(detail: str, problem: Read) -> TaskerError:
        faults = problem.get("errors") or [{"message": detail, "path": ""}]
        return kind(*(_problem(fault) for fault in faults))

    return make


def _problem(fault: Read) -> Problem:
    path = fault["path"].removeprefix("$").removeprefix(".")
    return Problem(
        fault["message"],
        path=path,
        file=fault.get("file", ""),
        line=fault.get("line"),
        column=fault.get("column"),
    )


def _bare(kind: type[E], detail: str, **facts: Any) -> E:
    """Make an error with the server's message, in place of one made of parts."""
    error = kind.__new__(kind, detail)
    error.args = (detail,)
    for fact, value in facts.items():
        setattr(error, fact, value)
    return error


def _wrong_state(detail: str, problem: Read) -> TaskerError:
    return _bare(
        WrongState,
        detail,
        state=problem.get("current_status", ""),
        action=problem.get("action", ""),
        allowed=frozenset(problem.get("allowed") or ()),
    )


def _not_approved(detail: str, problem: Read) -> TaskerError:
    return _bare(
        NotApproved,
        detail,
        template=problem.get("template", ""),
        status=problem.get("current_status", ""),
        approvers=tuple(problem.get("allowed") or ()),
    )


def _too_large(detail: str, problem: Read) -> TaskerError:
    return _bare(TooLarge, detail, size=problem.get("size", 0), limit=problem.get("limit", 0))


_ERRORS: Mapping[str, Callable[[str, Read], TaskerError]] = {
    "invalid_input": _invalid_input,
    "invalid_request": _invalid_input,
    "invalid_template": _with_problems(InvalidTemplate),
    "invalid_policy": _with_problems(InvalidPolicy),
    "too_large": _too_large,
    "wrong_state": _wrong_state,
    "template_not_approved": _not_approved,
    "not_found": _plain(NotFound),
    "no_such_route": _plain(NotFound),
    "template_conflict": _plain(TaskRegistrationError),
    "idempotency_conflict": _plain(IdempotencyConflict),
    "not_an_approver": _plain(NotAnApprover),
    "unauthenticated": _plain(Unauthenticated),
    "forbidden": _plain(Forbidden),
    "refused": _plain(Refused),
    "store_unavailable": _plain(StoreUnavailable),
    "auth_unavailable": _plain(StoreUnavailable),
    "schema_mismatch": _plain(SchemaMismatch),
    "overloaded": _plain(StoreUnavailable),
    "rate_limited": _plain(StoreUnavailable),
    "request_timeout": _plain(StoreUnavailable),
    "not_ready": _plain(StoreUnavailable),
}
