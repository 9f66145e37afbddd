"""Turns an exception into a stored error and an outcome."""

import traceback
from datetime import timedelta
from itertools import dropwhile
from pathlib import Path
from random import Random
from typing import Any

import tasker
from tasker import codec, retry
from tasker.errors import Misuse, PermanentError, RetryableError, StepError
from tasker.model import Claim, JsonText, Outcome, StepSpec, failed, retried

_MESSAGE = 4_000  #: maximum characters of a stored message
_TRACE = 8_000  #: maximum characters of a stack trace
_PACKAGE = str(Path(tasker.__file__).parent)


class AttemptTimeout(StepError):
    """The attempt exceeded the step's time limit."""


class HeartbeatTimeout(StepError):
    """The attempt sent no heartbeat within the step's `heartbeat_timeout`."""


class LostLease(StepError):
    """The attempt's worker stopped renewing its lease."""


def outcome_of(error: BaseException, claim: Claim, spec: StepSpec, rng: Random) -> Outcome:
    """Return the outcome of a failed attempt.

    PermanentError fails the step, as do errors that a retry cannot fix: a result without a JSON
    form, a handler that cannot be called. Other errors are retried as long as the step's policy
    allows. The policy may name errors for which the opposite holds.
    """
    final = retry.is_final(error, spec.retry, by_default=isinstance(error, PermanentError | Misuse))
    if final or not retry.allows_another(spec.retry, claim.counted_attempts):
        return failed(claim, error_text(error, retryable=not final))
    requested = _requested_delay(error)
    delay = retry.delay_after(max(claim.counted_attempts, 1), spec.retry, rng, requested=requested)
    return retried(claim, error_text(error, retryable=True), delay)


def error_text(error: BaseException, *, retryable: bool) -> JsonText:
    """Return an error as stores keep it: type, message, code, retryable, details, trace."""
    try:
        return codec.dumps(_error_fields(error, retryable), what="error")
    except BaseException as trouble:  # the error's own code raises, or exits
        message = f"the error's text cannot be read: {type(trouble).__name__}"
        facts = {"type": type(error).__name__, "message": message, "retryable": retryable}
        return codec.dumps(facts)


def _error_fields(error: BaseException, retryable: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "type": type(error).__name__,
        "message": _storable_text(str(error), _MESSAGE),
        "retryable": retryable,
    }
    if code := getattr(error, "code", None):
        facts["code"] = _storable_text(str(code), 200)
    if requested := _requested_delay(error):
        facts["retry_after_s"] = requested.total_seconds()
    if not isinstance(error, StepError | Misuse):
        trace = "".join(_stack_trace(error).format())
        facts["trace"] = _storable_text(trace[-_TRACE:], _TRACE)
    if details := getattr(error, "details", None):
        try:
            facts["details"] = codec.loads(codec.dumps(details, what="details", limit=64_000))
        except Misuse as refusal:
            facts["details"] = {"refused": str(refusal)}
    return facts


def _stack_trace(error: BaseException) -> traceback.TracebackException:
    """Return the stack trace of an error, starting at the handler's code."""
    trace = traceback.TracebackException.from_exception(error)
    frames = list(trace.stack)
    handlers = list(dropwhile(lambda frame: frame.filename.startswith(_PACKAGE), frames))
    trace.stack = traceback.StackSummary.from_list(handlers or frames)
    return trace


def _requested_delay(error: BaseException) -> timedelta | None:
    """Return the delay that a handler requested, or None if it is not a duration."""
    requested = error.retry_after if isinstance(error, RetryableError) else None
    return requested if isinstance(requested, timedelta) else None


def lost_attempt_error(worker: str) -> JsonText:
    """Return the stored error of an attempt whose worker was lost."""
    lost = LostLease(f"worker {worker} stopped renewing its lease", code="lease_lost")
    return error_text(lost, retryable=True)


def _storable_text(text: str, max_length: int) -> str:
    """Truncate a text, and remove characters that JSON in a database cannot contain."""
    return text[:max_length].replace("\0", "").encode("utf-8", "replace").decode()
