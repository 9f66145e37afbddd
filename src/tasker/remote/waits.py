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
from tasker.handlers import LiveAttempt, Services
from tasker.handlers.approvals import Question, ask
from tasker.handlers.durable import DurableCalls, Signal, Timer, key_of_child
from tasker.limits import AWAITED, DURABLE_CALL_NAME, WAIT
from tasker.model import TaskId
from tasker.remote import fields
from tasker.remote.errors import InvalidRequest
from tasker.remote.serving import ServedStep
from tasker.store.protocol import Store

_RECORDED = (DurableCallKind.ONCE, DurableCallKind.SLEEP, DurableCallKind.RUN_TASK)
_KINDS_OF_WAIT = ("task", "delay_s", "until", "signal", "any", "approval")


def calls_of(step: ServedStep, services: Services) -> DurableCalls:
    """Return the durable calls of a step; the records of this attempt and earlier ones are read."""
    spec = step.task.compiled.spec(step.node)
    attempt = LiveAttempt(step.claim, step.task.input, {}, services)
    attempt.instance = step.task.instance
    namespace = step.task.compiled.template.namespace
    calls = DurableCalls(attempt, spec.name, namespace, spec.retry.attempt_limit)
    calls.loaded = False  # its records may have been created through another server
    return calls


async def requested_wait(
    step: ServedStep, wait_for: fields.JsonBody, services: Services
) -> StepParked | None:
    """Return the wait that an attempt requests, or None if it is already over.

    Raises:
        InvalidInput: The wait is invalid.
        DurableCallConflict: The name belongs to a call of another kind.
    """
    kind = next((each for each in _KINDS_OF_WAIT if wait_for.get(each) is not None), None)
    if kind is None:
        raise InvalidRequest(
            f"wait_for must have one of {', '.join(_KINDS_OF_WAIT)}", path="$.outcomes.wait_for"
        )
    if kind == "task":
        return ParkedForTask(TaskId(parse_task_id("task", fields.text(wait_for, "task"))))
    calls = calls_of(step, services)
    try:
        await _wait(kind, wait_for, calls, step)
    except StepParked as parked:
        return parked
    return None


async def _wait(
    kind: str, wait_for: fields.JsonBody, calls: DurableCalls, step: ServedStep
) -> None:
    """Return if a wait is over. Raises StepParked."""
    if kind in ("delay_s", "until"):
        delay = fields.seconds(wait_for, "delay_s", WAIT) if kind == "delay_s" else None
        until = fields.instant(wait_for, "until") if kind == "until" else None
        if delay is not None and wait_for.get("call") is None:
            raise ParkedForTime(delay)
        await calls.sleep(delay, until, _call(wait_for))
        return
    name = _call(wait_for)
    timeout = wait_for.get("timeout_s")
    timeout = None if timeout is None else fields.seconds(wait_for, "timeout_s", WAIT)
    if kind == "approval":
        await ask(
            calls,
            _question(fields.mapping(wait_for, "approval"), timeout),
            namespace=step.task.compiled.template.namespace,
            call_name=name,
        )
        return
    call_kind = DurableCallKind.WAIT_SIGNAL if kind == "signal" else DurableCallKind.WAIT_ANY
    given = [wait_for["signal"]] if kind == "signal" else wait_for["any"]
    signals = [_signal(each) for each in fields.objects({"any": given}, "any", dict, most=AWAITED)]
    await calls.arrival(calls.begin_wait(call_kind, name, signals, timeout, "continue"), "continue")


async def run_task(
    step: ServedStep, body: fields.JsonBody, services: Services, store: Store
) -> Mapping[str, Any]:
    """Create or find the task of a durable call, and return its id, status and result.

    Raises: DurableCallConflict, InvalidInput, NotFound.
    """
    retry: Literal["never", "child"] = "child" if body.get("retry") == "child" else "never"
    template, call = fields.text(body, "template", most=1_000), _call(body)
    namespace, _, _ = split_template_reference(template, None, None)
    try:
        result = await calls_of(step, services).run_task(
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
    child = await store.find_task(namespace, key_of_child(step.claim, call))
    return {"task_id": None if child is None else child.id, **answer}


async def record_once(step: ServedStep, body: fields.JsonBody, services: Services) -> None:
    """Record the result of a durable call; a repetition changes nothing.

    Raises: AttemptCancelled, DurableCallConflict, InvalidInput, TooLarge, TooManyDurableCalls.
    """
    name = _call(body)
    if "value" not in body:
        raise InvalidRequest("value is required", path="$.value")
    calls = calls_of(step, services)
    record = await calls.recorded(DurableCallKind.ONCE, name)
    if record is None:
        await calls.record(DurableCallKind.ONCE, name, calls.dump(name, body["value"]))
    elif record.value is None or loads(record.value) != body["value"]:
        raise DurableCallConflict(
            f"the durable call {name!r} was recorded with another value; give each call its own"
            " name"
        )


async def record_call(step: ServedStep, body: fields.JsonBody, services: Services) -> float:
    """Record a durable call of any kind; return the seconds until the end of a sleep, else 0.

    Raises: AttemptCancelled, InvalidInput, TooLarge, TooManyDurableCalls.
    """
    name, kind = _call(body), fields.text(body, "kind")
    if kind not in _RECORDED:
        raise InvalidRequest(f"kind must be one of {', '.join(_RECORDED)}", path="$.kind")
    calls = calls_of(step, services)
    record = await calls.recorded(DurableCallKind(kind), name)
    if record is None:
        timer: Timer = {}
        if body.get("delay_s") is not None:
            timer["delay"] = fields.seconds(body, "delay_s", WAIT)
        elif body.get("until") is not None:
            timer["until"] = fields.instant(body, "until")
        text = calls.dump(name, body.get("value"))
        record = await calls.record(DurableCallKind(kind), name, text, **timer)
    return max(record.remaining, 0.0)


def _call(body: fields.JsonBody) -> str:
    return fields.text(body, "call", most=DURABLE_CALL_NAME)


def _signal(given: fields.JsonBody) -> Signal:
    key = given.get("key")
    return Signal(fields.text(given, "name"), None if key is None else fields.text(given, "key"))


def _question(approval: fields.JsonBody, timeout: float | None) -> Question:
    form, after = approval.get("form"), approval.get("escalate_after_s")
    return Question(
        assignees=fields.texts(approval, "assignees"),
        form=None if form is None else fields.mapping(approval, "form"),
        timeout=timeout,
        on_timeout="continue",
        escalate_after=None
        if after is None
        else fields.seconds(approval, "escalate_after_s", WAIT),
        escalate_to=fields.texts(approval, "escalate_to"),
    )
