"""Turns an exception into a stored error and an outcome."""

import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from itertools import dropwhile
from pathlib import Path
from random import Random
from typing import Any

import tasker
from tasker import codec, retry
from tasker.errors import Misuse, PermanentError, RetryableError, StepError
from tasker.model import Claim, JsonText, Outcome, Retry, StepSpec, failed_outcome, retry_outcome

_MESSAGE = 4_000  #: maximum characters of a stored message
_TYPE = 255  #: maximum characters of the name of an error's class
_TRACE = 8_000  #: maximum characters of a stack trace
_PACKAGE = str(Path(tasker.__file__).parent)


class AttemptTimeout(StepError):
    """The attempt exceeded the step's time limit."""


class HeartbeatTimeout(StepError):
    """The attempt sent no heartbeat within the step's `heartbeat_timeout`."""


class LostLease(StepError):
    """The attempt's worker stopped renewing its lease."""


def outcome_of_exception(
    error: BaseException, claim: Claim, spec: StepSpec, rng: Random
) -> Outcome:
    """Return the outcome of a failed attempt.

    PermanentError fails the step, as do errors that a retry cannot fix: a result without a JSON
    form, a handler that cannot be called. Other errors are retried as long as the step's policy
    allows. The policy may list errors that are treated the other way.
    """
    return decide_failure_outcome(
        claim,
        spec.retry,
        rng,
        names=retry.error_names(error),
        permanent=isinstance(error, PermanentError | Misuse),
        requested=_requested_retry_delay(error),
        text=lambda retryable: serialize_exception(error, retryable=retryable),
    )


def decide_failure_outcome(
    claim: Claim,
    policy: Retry,
    rng: Random,
    *,
    names: Iterable[Collection[str]],
    permanent: bool,
    requested: timedelta | None,
    text: Callable[[bool], JsonText],
) -> Outcome:
    """Return the outcome of an attempt that failed here or in a remote worker.

    Args:
        claim: The attempt.
        policy: The step's retry policy.
        rng: Source of the delay's jitter.
        names: The names of the error: see `retry.is_permanent_error`.
        permanent: Whether the error is final unless the policy mentions it.
        requested: The delay that the handler asked for.
        text: Returns the stored error, given whether it could be retried.
    """
    final = retry.is_permanent_error(names, policy, by_default=permanent)
    if final or not retry.allows_another_attempt(policy, claim.counted_attempts):
        return failed_outcome(claim, text(not final))
    delay = retry.next_attempt_delay(
        max(claim.counted_attempts, 1), policy, rng, requested=requested
    )
    return retry_outcome(claim, text(True), delay)


def serialize_exception(error: BaseException, *, retryable: bool) -> JsonText:
    """Return an error as stores keep it: type, message, code, retryable, details, trace."""
    try:
        return codec.dumps(_exception_fields(error, retryable), what="error")
    except BaseException as trouble:  # the error's own code raises, or exits
        raised = type(trouble).__name__
        message = f"the exception could not be described: reading it raised {raised}"
        facts = {"type": type(error).__name__, "message": message, "retryable": retryable}
        return codec.dumps(facts)


def _exception_fields(error: BaseException, retryable: bool) -> dict[str, Any]:
    code, trace = getattr(error, "code", None), None
    if not isinstance(error, StepError | Misuse):
        trace = "".join(_stack_trace_from_handler(error).format())
    return _build_bounded_error_fields(
        {"type": type(error).__name__, "message": str(error)},
        retryable=retryable,
        code=str(code) if code else None,
        requested=_requested_retry_delay(error),
        trace=trace,
        details=getattr(error, "details", None),
    )


def serialize_error(
    facts: Mapping[str, str],
    *,
    retryable: bool,
    code: str | None = None,
    requested: timedelta | None = None,
    trace: str | None = None,
    details: Any = None,
) -> JsonText:
    """Return an error as stores keep it, with texts of bounded length.

    Args:
        facts: Its `type` and `message`.
        retryable: Whether it could be retried.
        code: Its code for programs.
        requested: The delay that the handler asked for.
        trace: Its stack trace.
        details: Any value; if it has no JSON form, the reason is stored instead.
    """
    stored = _build_bounded_error_fields(
        facts, retryable=retryable, code=code, requested=requested, trace=trace, details=details
    )
    return codec.dumps(stored, what="error")


def _build_bounded_error_fields(
    facts: Mapping[str, str],
    *,
    retryable: bool,
    code: str | None,
    requested: timedelta | None,
    trace: str | None,
    details: Any,
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "type": _truncate_and_clean_text(facts["type"], _TYPE),
        "message": _truncate_and_clean_text(facts["message"], _MESSAGE),
        "retryable": retryable,
    }
    if code:
        fields["code"] = _truncate_and_clean_text(code, 200)
    if requested:
        fields["retry_after_s"] = requested.total_seconds()
    if trace is not None:
        fields["trace"] = _truncate_and_clean_text(_last_lines(trace, _TRACE), _TRACE)
    if details:
        try:
            fields["details"] = codec.loads(codec.dumps(details, what="details", limit=64_000))
        except Misuse as rejection:
            fields["details"] = {"rejected": str(rejection)}
    return fields


def _stack_trace_from_handler(error: BaseException) -> traceback.TracebackException:
    """Return the stack trace of an error without Tasker's frames before the handler's code."""
    trace = traceback.TracebackException.from_exception(error)
    frames = list(trace.stack)
    handlers = list(dropwhile(lambda frame: frame.filename.startswith(_PACKAGE), frames))
    trace.stack = traceback.StackSummary.from_list(handlers or frames)
    return trace


def _requested_retry_delay(error: BaseException) -> timedelta | None:
    """Return the delay that a handler requested, or None if it is not a duration."""
    requested = error.retry_after if isinstance(error, RetryableError) else None
    return requested if isinstance(requested, timedelta) else None


def build_lost_attempt_error(worker: str) -> JsonText:
    """Return the stored error of an attempt whose worker was lost."""
    lost = LostLease(f"worker {worker} stopped renewing its lease", code="lease_lost")
    return serialize_exception(lost, retryable=True)


def _last_lines(text: str, most: int) -> str:
    """Return a text's last complete lines, because a truncated value cannot be masked."""
    if len(text) <= most:
        return text
    return text[-most:].partition("\n")[2] or text[-most:]


def _truncate_and_clean_text(text: str, max_length: int) -> str:
    """Truncate a text and remove characters that JSON in a database cannot contain."""
    return text[:max_length].replace("\0", "").encode("utf-8", "replace").decode()
