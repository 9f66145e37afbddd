"""Errors that handlers raise; each says whether another attempt may succeed."""

from typing import Any, ClassVar

from tasker_core import exceptions


class TaskerError(exceptions.TaskerError):
    """An error of a handler.

    Args:
        message: A description for people.
        retryable: Whether another attempt may succeed; None: as the class says.
        metadata: Data to store with the error.
        error_code: A code for programs.
        retry_after: Seconds before the next attempt; None: as the template's backoff says.
        context: Merged into `metadata`.
        error_type: Name of the kind of error; None: the name of the class.
    """

    _retryable: ClassVar[bool] = True

    def __init__(
        self,
        message: str = "",
        *,
        retryable: bool | None = None,
        metadata: dict[str, Any] | None = None,
        error_code: str | None = None,
        retry_after: float | None = None,
        context: dict[str, Any] | None = None,
        error_type: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = self._retryable if retryable is None else retryable
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.error_code = error_code
        self.retry_after = retry_after
        self.error_type = error_type or type(self).__name__
        if error_code is not None:
            self.metadata["error_code"] = error_code
        if retry_after is not None:
            self.metadata["retry_after"] = retry_after
        self.metadata.update(context or {})

    def to_dict(self) -> dict[str, Any]:
        """Return the error as JSON data."""
        return {
            "error_type": self.error_type,
            "message": self.message,
            "retryable": self.retryable,
            "metadata": self.metadata,
        }


class RetryableError(TaskerError):
    """Another attempt may succeed."""


class TimeoutError(RetryableError):  # noqa: A001 - the name that applications import
    """Something took too long."""


class NetworkError(RetryableError):
    """A connection failed."""


class RateLimitError(RetryableError):
    """Too many requests."""


class ServiceUnavailableError(RetryableError):
    """A service does not answer now."""


class ResourceContentionError(RetryableError):
    """A resource is in use."""


class PermanentError(TaskerError):
    """No attempt can succeed."""

    _retryable = False


class ValidationError(PermanentError):
    """Data is invalid."""


class NotFoundError(PermanentError):
    """Something does not exist."""


class AuthenticationError(PermanentError):
    """Credentials are missing or wrong."""


class AuthorizationError(PermanentError):
    """A permission is missing."""


class ConfigurationError(PermanentError):
    """The configuration is wrong."""


class BusinessLogicError(PermanentError):
    """A rule of the business forbids it."""


class FFIError(TaskerError):
    """Kept for imports: there is no foreign code here."""


class StepExecutionError(Exception):
    """An error with its own kind.

    Args:
        message: A description for people.
        error_type: Name of the kind of error.
        retryable: Whether another attempt may succeed.
    """

    def __init__(
        self, message: str, error_type: str = "step_execution_error", retryable: bool = True
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type
        self.retryable = retryable


from tasker_core.errors.error_classifier import (  # noqa: E402 - it needs the classes above
    ErrorClassifier,
    get_classifier,
    is_permanent,
    is_retryable,
)

__all__ = [
    "AuthenticationError",
    "AuthorizationError",
    "BusinessLogicError",
    "ConfigurationError",
    "ErrorClassifier",
    "FFIError",
    "NetworkError",
    "NotFoundError",
    "PermanentError",
    "RateLimitError",
    "ResourceContentionError",
    "RetryableError",
    "ServiceUnavailableError",
    "StepExecutionError",
    "TaskerError",
    "TimeoutError",
    "ValidationError",
    "get_classifier",
    "is_permanent",
    "is_retryable",
]
