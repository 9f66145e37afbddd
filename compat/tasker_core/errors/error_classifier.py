"""Sorts exceptions by whether another attempt may succeed."""

from functools import cache
from typing import Any

from tasker_core import errors

_PERMANENT: tuple[type[BaseException], ...] = (
    errors.PermanentError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    AssertionError,
    SyntaxError,
    NameError,
    ImportError,
    NotImplementedError,
)
_RETRYABLE: tuple[type[BaseException], ...] = (errors.RetryableError, OSError)


class ErrorClassifier:
    """Sorts exceptions: by their attribute `retryable`, then by their class.

    Args:
        default_retryable: The answer for exceptions of no known class.
    """

    def __init__(self, *, default_retryable: bool = True) -> None:
        self._default = default_retryable

    def classify(self, error: BaseException) -> dict[str, Any]:
        """Return `error_type`, `retryable` and what decided, `classification`."""
        retryable, reason = self._decide(error)
        return {
            "error_type": type(error).__name__,
            "retryable": retryable,
            "classification": reason,
        }

    def retryable(self, error: BaseException) -> bool:
        """Return whether another attempt may succeed."""
        return self._decide(error)[0]

    def permanent(self, error: BaseException) -> bool:
        """Return whether no attempt can succeed."""
        return not self.retryable(error)

    def _decide(self, error: BaseException) -> tuple[bool, str]:
        explicit = getattr(error, "retryable", None)
        if isinstance(explicit, bool):
            return explicit, "explicit_attribute"
        if isinstance(error, _PERMANENT):
            return False, "permanent_class"
        if isinstance(error, _RETRYABLE):
            return True, "retryable_class"
        return self._default, "default"


@cache
def get_classifier() -> ErrorClassifier:
    """Return the classifier of this process."""
    return ErrorClassifier()


def is_retryable(error: BaseException) -> bool:
    """Return whether another attempt may succeed."""
    return get_classifier().retryable(error)


def is_permanent(error: BaseException) -> bool:
    """Return whether no attempt can succeed."""
    return get_classifier().permanent(error)
