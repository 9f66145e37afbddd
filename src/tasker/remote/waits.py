"""Lets steps of remote workers wait, and handles their durable calls."""

from collections.abc import Mapping
from typing import Any, Literal

from tasker.client.fields import parse_task_id
from tasker.client.templates import split_template_reference
from tasker.codec import loads
from tasker.durable import DurableCallConflict, DurableCallKind
from tasker.errors import (
    ParkedForTask,
    ParkedForTime,
    PermanentError,
    StepParked,
    TaskFailed,
)
from tasker.handlers import AttemptServices, LiveAttempt
from tasker.handlers.approvals import ApprovalQuestion, wait_for_approval
from tasker.handlers.durable import DurableCalls, Signal, SleepEnd, child_idempotency_key
from tasker.limits import AWAITED, DURABLE_CALL_NAME, WAIT
from tasker.model import TaskId
from tasker.remote import fields
from tasker.remote.errors import InvalidRequest
from tasker.remote.serving import ServedStep
from tasker.store.protocol import Store

_RECORDED = (DurableCallKind.ONCE, DurableCallKind.SLEEP, DurableCallKind.RUN_TASK)
_KINDS_OF_WAIT = ("task", "delay_s", "until", "signal", "any", "approval")


def build_durable_calls(step: ServedStep, services: AttemptServices) -> DurableCalls:
    """Return the durable calls of a step; the records of this attempt and earlier ones are read."""
    spec = step.spec
    attempt = LiveAttempt(step.claim, step.task.input, {}, services)
    attempt.instance = step.task.instance
    namespace = step.task.compiled.template.namespace
    calls = DurableCalls(attempt, spec.name, namespace, spec.retry.attempt_limit)
    calls.loaded = False  # its records may have been created through another server
    return calls


async def evaluate_requested_wait(
    step: ServedStep, wait_for: fields.JsonBody, services: AttemptServices
) -> StepParked | None:
    """Return the wait that an attempt requests, or None if it is already over.

    Raises:
        InvalidInput: The wait is invalid.
        DurableCallConflict: The name belongs to a call of another kind.
    """
    kind = next((each for each in _KINDS_OF_WAIT if wait_for.get(each) is not None), None)
    if kind is None:
        raise InvalidRequest(
            f"wait_for must contain one of {', '.join(_KINDS_OF_WAIT)}", path="$.outcomes.wait_for"
        )
    if kind == "task":
        return ParkedForTask(TaskId(parse_task_id("task", fields.read_text(wait_for, "task"))))
    calls = build_durable_calls(step, services)
    try:
        await _park_unless_wait_is_over(kind, wait_for, calls, step)
    except StepParked as parked:
        return parked
    return None


async def _park_unless_wait_is_over(
    kind: str, wait_for: fields.JsonBody, calls: DurableCalls, step: ServedStep
) -> None:
    """Return if a wait is over. Raises StepParked."""
    if kind in ("delay_s", "until"):
        delay = fields.read_seconds(wait_for, "delay_s", WAIT) if kind == "delay_s" else None
        until = fields.read_instant(wait_for, "until") if kind == "until" else None
        if delay is not None and wait_for.get("call") is None:
            raise ParkedForTime(delay)
        await calls.sleep(delay, until, _read_call_name(wait_for))
        return
    name = _read_call_name(wait_for)
    timeout = wait_for.get("timeout_s")
    timeout = None if timeout is None else fields.read_seconds(wait_for, "timeout_s", WAIT)
    if kind == "approval":
        await wait_for_approval(
            calls,
            _read_approval_question(fields.read_object(wait_for, "approval"), timeout),
            namespace=step.task.compiled.template.namespace,
            call_name=name,
        )
        return
    call_kind = DurableCallKind.WAIT_SIGNAL if kind == "signal" else DurableCallKind.WAIT_ANY
    given = [wait_for["signal"]] if kind == "signal" else wait_for["any"]
    signals = [
        _read_signal(each) for each in fields.read_list({"any": given}, "any", dict, most=AWAITED)
    ]
    await calls.wait_for_arrival(
        calls.build_wait(call_kind, name, signals, timeout, "continue"), "continue"
    )


async def find_or_create_child_task(
    step: ServedStep, body: fields.JsonBody, services: AttemptServices, store: Store
) -> Mapping[str, Any]:
    """Create or find the task of a durable call, and return its id, status and result.

    Raises: DurableCallConflict, InvalidInput, NotFound.
    """
    retry: Literal["never", "child"] = "child" if body.get("retry") == "child" else "never"
    template, call = fields.read_text(body, "template", most=1_000), _read_call_name(body)
    namespace, _, _ = split_template_reference(template, None, None)
    try:
        result = await build_durable_calls(step, services).run_task(
            template,
            body.get("context") or {},
            call,
            retry,
            {},
            detached=body.get("detached") is True,
        )
    except ParkedForTask as parked:
        return {"task_id": parked.task_id, "status": "in_progress"}
    except PermanentError as failure:
        error = {
            "type": TaskFailed.__name__,
            "message": str(failure),
            "code": failure.code,
            "details": failure.details,
        }
        answer = {"status": "error", "error": error}
    else:
        answer = {"status": "complete", "result": result}
    child = await store.find_task_by_idempotency_key(
        namespace, child_idempotency_key(step.claim, call)
    )
    return {"task_id": None if child is None else child.id, **answer}


async def record_once_result(
    step: ServedStep, body: fields.JsonBody, services: AttemptServices
) -> None:
    """Record the result of a durable call; a repetition changes nothing.

    Raises: AttemptCancelled, DurableCallConflict, InvalidInput, TooLarge, TooManyDurableCalls.
    """
    name = _read_call_name(body)
    if "value" not in body:
        raise InvalidRequest("value is required", path="$.value")
    calls = build_durable_calls(step, services)
    record = await calls.load_record(DurableCallKind.ONCE, name)
    if record is None:
        await calls.record_call(
            DurableCallKind.ONCE, name, calls.serialize_value(name, body["value"])
        )
    elif record.value is None or loads(record.value) != body["value"]:
        raise DurableCallConflict(
            f"the durable call {name!r} was recorded with another value; give each call its own"
            " name"
        )


async def record_durable_call(
    step: ServedStep, body: fields.JsonBody, services: AttemptServices
) -> float:
    """Record a `once`, `sleep` or `run_task` call; return the seconds until a sleep ends, else 0.

    Raises: AttemptCancelled, InvalidInput, TooLarge, TooManyDurableCalls.
    """
    name, kind = _read_call_name(body), fields.read_text(body, "kind")
    if kind not in _RECORDED:
        raise InvalidRequest(f"kind must be one of {', '.join(_RECORDED)}", path="$.kind")
    calls = build_durable_calls(step, services)
    record = await calls.load_record(DurableCallKind(kind), name)
    if record is None:
        timer: SleepEnd = {}
        if body.get("delay_s") is not None:
            timer["delay"] = fields.read_seconds(body, "delay_s", WAIT)
        elif body.get("until") is not None:
            timer["until"] = fields.read_instant(body, "until")
        text = calls.serialize_value(name, body.get("value"))
        record = await calls.record_call(DurableCallKind(kind), name, text, **timer)
    return max(record.remaining, 0.0)


def _read_call_name(body: fields.JsonBody) -> str:
    return fields.read_text(body, "call", most=DURABLE_CALL_NAME)


def _read_signal(given: fields.JsonBody) -> Signal:
    key = given.get("key")
    return Signal(
        fields.read_text(given, "name"), None if key is None else fields.read_text(given, "key")
    )


def _read_approval_question(approval: fields.JsonBody, timeout: float | None) -> ApprovalQuestion:
    form, after = approval.get("form"), approval.get("escalate_after_s")
    return ApprovalQuestion(
        assignees=fields.read_texts(approval, "assignees"),
        form=None if form is None else fields.read_object(approval, "form"),
        timeout=timeout,
        on_timeout="continue",
        escalate_after=None
        if after is None
        else fields.read_seconds(approval, "escalate_after_s", WAIT),
        escalate_to=fields.read_texts(approval, "escalate_to"),
    )
