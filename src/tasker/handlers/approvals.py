"""The durable call that waits for a person's decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasker.approvals import DEFAULT_FORM, Decision, NewApproval, check_assignees, decode_decision
from tasker.codec import dumps, new_task_id
from tasker.durable import DurableCallKind
from tasker.durations import Duration
from tasker.errors import InvalidInput, PermanentError
from tasker.handlers.durable import DurableCalls, require_short
from tasker.limits import ARRIVAL_BYTES
from tasker.model import JsonObject, WaitKind, parse_duration_argument
from tasker.template.schema import find_schema_fault
from tasker.waits import TIMED_OUT, AwaitedArrival, NewWait, ParkedForArrival


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The question of `ctx.wait_approval`, and its assignees."""

    assignees: Sequence[str]
    form: JsonObject | None
    timeout: Duration | None
    on_timeout: Literal["fail", "continue"]
    escalate_after: Duration | None
    escalate_to: Sequence[str]


async def ask(
    calls: DurableCalls, question: Question, *, namespace: str, call_name: str | None
) -> Decision | None:
    """Return the decision of an approval; None if it timed out.

    Raises:
        ParkedForArrival: It is not decided yet.
        PermanentError: It timed out, and `on_timeout` is "fail".
        DurableCallConflict: This attempt already made a call with that name.
        InvalidInput: The question is invalid.
    """
    approval = _new_approval(question)
    timeout = _seconds(question.timeout, "timeout")
    name = calls.begin(DurableCallKind.WAIT_APPROVAL, call_name)
    record = await calls.recorded(DurableCallKind.WAIT_APPROVAL, name)
    if record is None:
        calls.require_space()
        awaited = AwaitedArrival(WaitKind.APPROVAL, name, namespace=namespace)
        raise ParkedForArrival(
            NewWait(name, DurableCallKind.WAIT_APPROVAL, (awaited,), timeout, approval=approval)
        )
    decision = decode_decision(record.value or TIMED_OUT)
    if decision is None and question.on_timeout == "fail":
        raise PermanentError("the approval was not decided in time", code="wait_timeout")
    return decision


def _new_approval(question: Question) -> NewApproval:
    """Check a question, and return its approval. Raises InvalidInput."""
    if question.on_timeout not in ("fail", "continue"):
        raise InvalidInput(
            f"on_timeout must be fail or continue, not {question.on_timeout!r:.50}",
            path="$.on_timeout",
        )
    check_assignees(question.assignees, "$.assignees")
    check_assignees(question.escalate_to, "$.escalate_to")
    if (question.escalate_after is None) != (not question.escalate_to):
        raise InvalidInput("escalate_after and escalate_to must be given together")
    schema = DEFAULT_FORM if question.form is None else question.form
    if (fault := find_schema_fault(schema)) is not None:
        raise InvalidInput(f"form is not a JSON Schema: {fault.message}", path="$.form")
    return NewApproval(
        new_task_id(),
        dumps(schema, what="the form", limit=ARRIVAL_BYTES),
        list(question.assignees),
        _seconds(question.escalate_after, "escalate_after"),
        list(question.escalate_to),
    )


def _seconds(value: Duration | None, name: str) -> float | None:
    if value is None:
        return None
    seconds = parse_duration_argument(value, name).total_seconds()
    require_short(seconds, name)
    return seconds
