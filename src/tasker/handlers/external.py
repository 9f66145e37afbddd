"""External steps, which wait for another system after their handler has returned."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from tasker.codec import dumps
from tasker.completions import CALL, unwrap_completion_result
from tasker.durable import DurableCall, DurableCallKind
from tasker.errors import AttemptCancelled, Misuse, PermanentError
from tasker.handlers.attempt import LiveAttempt, StepProperties
from tasker.model import ExternalSpec, TimeoutAction, WaitKind
from tasker.waits import AwaitedArrival, NewWait, ParkedForArrival

Call = Callable[[LiveAttempt], Any]


def wrap_external_call(call: Call, facts: StepProperties, *, in_process: bool) -> Call:
    """Return the call of a handler whose step is completed by another system.

    The handler's return value becomes the step's checkpoint. A completion that arrived before or
    during the attempt is the outcome of the step, even if the attempt fails.

    Raises:
        Misuse: The handler runs in a separate process.
    """
    external = facts.spec.external or ExternalSpec()
    if in_process:
        raise Misuse(
            f"step {facts.spec.name!r} is external, so its handler cannot run in a separate"
            " process; use process=False"
        )
    if facts.blocking:
        return lambda attempt: _call_and_park_blocking(call, external, attempt)
    return lambda attempt: _call_and_park_async(call, external, attempt)


async def _call_and_park_async(call: Call, external: ExternalSpec, attempt: LiveAttempt) -> Any:
    services = attempt.services
    if (completion := await services.create_completion_url_unless_completed(attempt)) is not None:
        return _accept_completion(completion, external, attempt)
    try:
        value = call(attempt)
        if inspect.isawaitable(value):
            value = await value
    except AttemptCancelled:
        raise
    except Exception:
        if (completion := await _find_completion(attempt)) is None:
            raise
        return _accept_completion(completion, external, attempt)
    text = dumps(value, what="the result")
    await asyncio.wrap_future(services.save_checkpoint(attempt, text))
    raise ParkedForArrival(build_completion_wait(external))


def _call_and_park_blocking(call: Call, external: ExternalSpec, attempt: LiveAttempt) -> Any:
    services = attempt.services
    if (
        completion := services.run_coroutine_blocking(
            services.create_completion_url_unless_completed(attempt)
        )
    ) is not None:
        return _accept_completion(completion, external, attempt)
    try:
        value = call(attempt)
    except AttemptCancelled:
        raise
    except Exception:
        if (completion := services.run_coroutine_blocking(_find_completion(attempt))) is None:
            raise
        return _accept_completion(completion, external, attempt)
    services.save_checkpoint(attempt, dumps(value, what="the result")).result()
    raise ParkedForArrival(build_completion_wait(external))


async def _find_completion(attempt: LiveAttempt) -> DurableCall | None:
    calls = await attempt.services.load_durable_calls(attempt)
    return next((call for call in calls if call.kind is DurableCallKind.EXTERNAL), None)


def build_completion_wait(external: ExternalSpec) -> NewWait:
    """Return the wait for the completion of a step whose handler has returned."""
    timeout = None if external.timeout is None else external.timeout.total_seconds()
    awaited = AwaitedArrival(WaitKind.EXTERNAL, CALL)
    return NewWait(CALL, DurableCallKind.EXTERNAL, (awaited,), timeout)


def _accept_completion(
    completion: DurableCall, external: ExternalSpec, attempt: LiveAttempt
) -> Any:
    """Return the result in a completion, or raise its error."""
    attempt.completed = True
    return read_completion_result(completion, external)


def read_completion_result(completion: DurableCall, external: ExternalSpec) -> Any:
    """Return the result in a completion. Raises PermanentError if it is an error or too late."""
    try:
        return unwrap_completion_result(completion.value)
    except TimeoutError as late:
        if external.on_timeout is TimeoutAction.CONTINUE:
            return None
        raise PermanentError(str(late), code="wait_timeout") from None
