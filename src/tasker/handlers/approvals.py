"""The durable call that waits for a person's decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasker.approvals import DEFAULT_FORM, Decision, NewApproval, check_assignees, decode_decision
from tasker.codec import dumps, new_task_id
from tasker.durable import DurableCallKind
from tasker.durations import Duration
from tasker.errors import InvalidInput, PermanentError
from tasker.handlers.durable import DurableCalls, require_duration_within_limit
from tasker.limits import ARRIVAL_BYTES
from tasker.model import JsonObject, WaitKind, parse_duration_argument
from tasker.template.schema import find_schema_fault
from tasker.waits import TIMED_OUT, AwaitedArrival, NewWait, ParkedForArrival


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalQuestion:
    """The question of `ctx.wait_approval`, and its assignees."""

    assignees: Sequence[str]
    form: JsonObject | None
    timeout: Duration | None
    on_timeout: Literal["fail", "continue"]
    escalate_after: Duration | None
    escalate_to: Sequence[str]


async def wait_for_approval(
    calls: DurableCalls, question: ApprovalQuestion, *, namespace: str, call_name: str | None
) -> Decision | None:
    """Return the decision of an approval; None if it timed out.

    Raises:
        ParkedForArrival: It is not decided yet.
        PermanentError: It timed out, and `on_timeout` is "fail".
        DurableCallConflict: This attempt already made a call with that name.
        InvalidInput: The question is invalid.
    """
    approval = _build_approval(question)
    timeout = _to_seconds(question.timeout, "timeout")
    name = calls.reserve_call_name(DurableCallKind.WAIT_APPROVAL, call_name)
    record = await calls.load_record(DurableCallKind.WAIT_APPROVAL, name)
    if record is None:
        calls.require_record_space()
        awaited = AwaitedArrival(WaitKind.APPROVAL, name, namespace=namespace)
        raise ParkedForArrival(
            NewWait(name, DurableCallKind.WAIT_APPROVAL, (awaited,), timeout, approval=approval)
        )
    decision = decode_decision(record.value or TIMED_OUT)
    if decision is None and question.on_timeout == "fail":
        raise PermanentError("the approval was not decided in time", code="wait_timeout")
    return decision


def _build_approval(question: ApprovalQuestion) -> NewApproval:
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
        raise InvalidInput(f"form is not a valid JSON Schema: {fault.message}", path="$.form")
    return NewApproval(
        new_task_id(),
        dumps(schema, what="the form", limit=ARRIVAL_BYTES),
        list(question.assignees),
        _to_seconds(question.escalate_after, "escalate_after"),
        list(question.escalate_to),
    )


def _to_seconds(value: Duration | None, name: str) -> float | None:
    if value is None:
        return None
    seconds = parse_duration_argument(value, name).total_seconds()
    require_duration_within_limit(seconds, name)
    return seconds
