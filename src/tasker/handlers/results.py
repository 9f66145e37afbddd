"""The results of handlers as JSON."""

from typing import Any

from tasker.codec import dumps
from tasker.errors import InvalidInput, StepError
from tasker.model import JsonText


def serialize_result(value: Any, *, limit: int) -> JsonText:
    """Return what a handler returned as JSON text.

    Args:
        value: The return value. A PermanentError or RetryableError counts as if it were raised.
        limit: Maximum size of the text in bytes.

    Raises:
        StepError: The value itself.
        InvalidInput: The value has no JSON form.
        TooLarge: The text exceeds `limit`.
    """
    try:
        return dumps(value, what="the result", limit=limit)
    except InvalidInput:
        if isinstance(value, StepError):
            raise value from None
        raise
