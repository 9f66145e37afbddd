"""Completions of external steps by other systems: their tokens and values."""

from hashlib import sha256
from typing import Any

from tasker.codec import loads
from tasker.errors import PermanentError
from tasker.model import JsonText

CALL = "tasker.external"  #: name of the durable call that keeps the completion
COMPLETE = "/v1/complete"  #: path of the route that completes a step


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token in hexadecimal, as stored."""
    return sha256(token.encode()).hexdigest()


def unwrap_completion_result(text: JsonText | None) -> Any:
    """Return the result in a completion; None after a timeout.

    Raises:
        PermanentError: The completion has an error.
        TimeoutError: The step was not completed in time.
    """
    fields = loads(text or JsonText("{}"))
    if "timed_out" in fields:
        raise TimeoutError("the step was not completed in time")
    if "error" not in fields:
        return fields.get("result")
    error = fields["error"]
    if not isinstance(error, dict):
        raise PermanentError(str(error))
    raise PermanentError(
        str(error.get("message", "")), code=error.get("code"), details=error.get("details")
    )
