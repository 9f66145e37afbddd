"""Approvals: steps and durable calls that wait for a person's decision."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from tasker.codec import loads
from tasker.errors import InvalidInput, Rejected
from tasker.model import Json, JsonObject, JsonText, TaskId

DEFAULT_FORM: JsonObject = {
    "type": "object",
    "required": ["approved"],
    "properties": {"approved": {"type": "boolean"}, "comment": {"type": "string"}},
}
"""The default form of an approval."""

REJECT_WHEN = "not form.approved"
"""The condition under which an approval with the default form counts as rejected."""

MOST_ASSIGNEES = 100

EVERY_GROUP = "*"
"""An actor in this group may decide any approval."""


class ApprovalStatus(StrEnum):
    """Whether an approval still waits for a decision."""

    OPEN = "open"
    DECIDED = "decided"
    CLOSED = "closed"  #: it timed out, or its step or task ended without a decision


class NewApproval(NamedTuple):
    """An approval to open when a step is parked for it."""

    id: str
    form: JsonText
    assignees: Sequence[str]
    """The assignees, as `user:NAME` and `role:NAME`; if empty, everyone with the permission
    `approvals:decide` may decide."""

    escalate_after: float | None = None
    """Seconds until the assignees in `escalate_to` may also decide."""

    escalate_to: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A decision that a step waits or waited for."""

    id: str
    status: ApprovalStatus
    task_id: TaskId
    step: str
    call: str
    """Name of the durable call that waits for the decision; `approval` if the template declares the
    approval."""

    namespace: str
    template: str
    """Full name of the task's template version."""

    title: str
    """Title of the task; "" if it has none."""

    form: Any
    """JSON Schema of the decision."""

    assignees: tuple[str, ...]
    """The assignees, as `user:NAME` and `role:NAME`, including those added by an escalation; if
    empty, everyone with the permission `approvals:decide` may decide."""

    opened_at: datetime
    due_at: datetime | None
    """Time at which the approval times out; None if it has no timeout or is no longer open."""

    escalate_at: datetime | None
    escalated_at: datetime | None
    decided_by: str | None = None
    decided_at: datetime | None = None
    decision: Json = None
    """The filled-in form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decided approval, in the form that handlers and expressions receive."""

    form: Any
    """The filled-in form."""

    decided_by: str
    decided_at: datetime


class NotAnAssignee(Rejected):
    """The approval is assigned to others.

    Args:
        actor: Who tried to decide it.
        assignees: Who may decide it.
    """

    code = "not_an_assignee"

    def __init__(self, actor: str, assignees: Collection[str]) -> None:
        super().__init__(
            f"{actor} may not decide this approval; it is assigned to {', '.join(assignees)}"
        )


def may_decide(assignees: Collection[str], actor: str, groups: Collection[str]) -> bool:
    """Return whether an actor with these groups is an assignee."""
    if EVERY_GROUP in groups:
        return True
    return not assignees or not set(assignees).isdisjoint(actor_to_assignees(actor, groups))


def actor_to_assignees(actor: str, groups: Collection[str]) -> list[str]:
    """Return the assignees that an actor counts as: `user:ana` and, for a group, `role:support`."""
    return [f"user:{actor}", *(f"role:{group}" for group in groups)]


def assignees_actor_may_decide_for(actor: str, groups: Collection[str]) -> list[str] | None:
    """Return the assignees whose approvals an actor may decide, to filter by; None: all."""
    return None if EVERY_GROUP in groups else actor_to_assignees(actor, groups)


def check_assignees(assignees: Sequence[str], path: str) -> None:
    """Raise InvalidInput unless all are `user:NAME` or `role:NAME`."""
    if len(assignees) > MOST_ASSIGNEES:
        raise InvalidInput(
            f"an approval may have at most {MOST_ASSIGNEES} assignees, not {len(assignees)}",
            path=path,
        )
    for index, assignee in enumerate(assignees):
        kind, _, name = assignee.partition(":")
        if kind not in ("user", "role") or not name.strip() or len(assignee) > 300:
            raise InvalidInput(
                f"an assignee must be user:NAME or role:NAME, not {assignee[:100]!r}",
                path=f"{path}[{index}]",
            )


def encode_decision(form: JsonText, *, decided_by: str, decided_at: datetime) -> JsonText:
    """Return the value of the durable call of a decided approval."""
    fields = {
        "form": orjson.Fragment(form),
        "decided_by": decided_by,
        "decided_at": decided_at,
    }
    return JsonText(orjson.dumps(fields).decode())


def decode_decision(text: JsonText) -> Decision | None:
    """Read the value of an approval's durable call; None if it timed out."""
    fields = loads(text)
    if "timed_out" in fields:
        return None
    return Decision(**{**fields, "decided_at": datetime.fromisoformat(fields["decided_at"])})
