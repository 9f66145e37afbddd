"""The engine's own steps that wait for a time, for signals, or for a task that they run."""

from collections.abc import Iterable
from datetime import datetime

from tasker.codec import dumps
from tasker.durable import DurableCallKind
from tasker.engine.engine_steps import EngineAttempt
from tasker.errors import Misuse, PermanentError
from tasker.handlers.durable import DurableCalls, Signal
from tasker.model import (
    AwaitedSignal,
    Json,
    Outcome,
    TimeoutAction,
    WaitSpec,
    completed_outcome,
    skipped_outcome,
)
from tasker.template.expressions import Path, compile_expression
from tasker.template.http import render_body
from tasker.template.waits import expressions_of_engine_step
from tasker.waits import Arrival


async def run_wait_step(attempt: EngineAttempt) -> Outcome:
    """Complete a step when its wait has ended. This is the handler of `wait`."""
    awaited, calls = attempt.spec.wait, _build_durable_calls(attempt)
    if awaited is None:
        raise Misuse(f"step {attempt.spec.name!r} does not wait for anything")
    if not awaited.signals:
        until = None if awaited.until is None else _evaluate_instant(attempt, awaited.until)
        await calls.sleep(awaited.delay, until, None)
        return completed_outcome(attempt.claim, dumps(None))
    arrival = await _await_arrival(attempt, calls, awaited)
    if not arrival.timed_out:
        return completed_outcome(attempt.claim, dumps(_arrival_result(arrival, awaited)))
    names = " or ".join(signal.name for signal in awaited.signals)
    message = f"signal {names} did not arrive in time"
    if awaited.on_timeout is TimeoutAction.FAIL:
        raise PermanentError(message, code="wait_timeout")
    if awaited.on_timeout is TimeoutAction.SKIP:
        reason = {"type": "Skipped", "message": message, "code": "wait_timeout"}
        return skipped_outcome(attempt.claim, dumps(reason))
    return completed_outcome(attempt.claim, dumps(None))


async def run_task_step(attempt: EngineAttempt) -> Outcome:
    """Complete a step with the result of the task that it runs. This is the handler of `task`."""
    child = attempt.spec.task
    if child is None:
        raise Misuse(f"step {attempt.spec.name!r} does not run a task")
    context = render_body(child.context, _expression_values(attempt))
    result = await _build_durable_calls(attempt).run_task(
        child.template,
        context,
        None,
        "child" if child.retry_child else "never",
        {},
        detached=child.detached,
    )
    return completed_outcome(attempt.claim, dumps(result, what="the result"))


async def _await_arrival(attempt: EngineAttempt, calls: DurableCalls, awaited: WaitSpec) -> Arrival:
    signals = [_resolve_signal(attempt, signal) for signal in awaited.signals]
    kind = DurableCallKind.WAIT_ANY if awaited.any_of else DurableCallKind.WAIT_SIGNAL
    wait = calls.build_wait(kind, None, signals, awaited.timeout, "continue")
    return await calls.wait_for_arrival(wait, "continue")


def _resolve_signal(attempt: EngineAttempt, signal: AwaitedSignal) -> Signal:
    if signal.key is None:
        return Signal(signal.name)
    key = compile_expression(signal.key).evaluate(_expression_values(attempt))
    if isinstance(key, bool) or not isinstance(key, str | int | float) or key == "":
        raise PermanentError(
            f"the key {signal.key!r} of signal {signal.name!r} must be a string or a number,"
            f" not {dumps(key)[:100]}",
            code="invalid_key",
        )
    return Signal(signal.name, str(key))


def _evaluate_instant(attempt: EngineAttempt, text: str) -> datetime:
    value = compile_expression(text).evaluate(_expression_values(attempt))
    try:
        until = datetime.fromisoformat(value if isinstance(value, str) else "")
        if until.tzinfo is not None:
            return until
    except ValueError:
        pass
    raise PermanentError(
        f"{text!r} must be a time with a time zone, such as 2030-01-31T12:00:00Z,"
        f" not {dumps(value)[:100]}",
        code="invalid_instant",
    )


def _arrival_result(arrival: Arrival, awaited: WaitSpec) -> Json:
    if not awaited.any_of:
        payload: Json = arrival.payload
        return payload
    sent_at = None if arrival.sent_at is None else arrival.sent_at.isoformat()
    return {
        "name": arrival.name,
        "key": arrival.key,
        "payload": arrival.payload,
        "sent_by": arrival.sent_by,
        "sent_at": sent_at,
    }


def _build_durable_calls(attempt: EngineAttempt) -> DurableCalls:
    spec, template = attempt.spec, attempt.cached.compiled.template
    return DurableCalls(attempt, spec.name, template.namespace, spec.retry.attempt_limit)


def _expression_values(attempt: EngineAttempt) -> dict[str, Json]:
    paths: Iterable[Path] = (
        path
        for text in expressions_of_engine_step(attempt.spec)
        for path in compile_expression(text).paths
    )
    return dict(attempt.expression_values(paths))
