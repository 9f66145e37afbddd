"""The results of handlers."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class ErrorType(StrEnum):
    """Kinds of errors."""

    PERMANENT_ERROR = "permanent_error"
    RETRYABLE_ERROR = "retryable_error"
    VALIDATION_ERROR = "validation_error"
    TIMEOUT = "timeout"
    HANDLER_ERROR = "handler_error"

    @classmethod
    def is_standard(cls, error_type: str) -> bool:
        """Return whether it is one of these."""
        return error_type in set(cls)

    @classmethod
    def is_typically_retryable(cls, error_type: str) -> bool:
        """Return whether another attempt may succeed after such an error."""
        return error_type in (cls.RETRYABLE_ERROR, cls.TIMEOUT)


class _Success:
    """`StepHandlerResult.success(...)` makes a result; `result.success` is a flag."""

    def __get__(self, result: "StepHandlerResult | None", owner: type["StepHandlerResult"]) -> Any:
        return owner.make_success if result is None else result.is_success


class StepHandlerResult(BaseModel):
    """The result of a handler, a success or a failure."""

    model_config = ConfigDict(populate_by_name=True)

    is_success: bool = Field(alias="success")
    result: dict[str, Any] | None = None
    error_message: str | None = None
    error_type: str | None = None
    error_code: str | None = None
    retryable: bool = True
    metadata: dict[str, Any] = Field(default_factory=dict)

    success: ClassVar[Any] = _Success()

    @classmethod
    def make_success(
        cls, result: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> "StepHandlerResult":
        """Return a success: `StepHandlerResult.success({...})`."""
        return cls(success=True, result=result or {}, metadata=metadata or {})

    @classmethod
    def failure(
        cls,
        message: str,
        error_type: str | ErrorType = ErrorType.HANDLER_ERROR,
        retryable: bool = True,
        metadata: dict[str, Any] | None = None,
        error_code: str | None = None,
    ) -> "StepHandlerResult":
        """Return a failure.

        Args:
            message: A description for people.
            error_type: The kind of error.
            retryable: Whether another attempt may succeed.
            metadata: Data to store with the error; `retry_after` (seconds) delays the next attempt.
            error_code: A code for programs.
        """
        return cls(
            success=False,
            error_message=message,
            error_type=str(error_type),
            retryable=retryable,
            metadata=metadata or {},
            error_code=error_code,
        )

    def is_success_result(self) -> bool:
        """Return whether it is a success."""
        return self.is_success

    def is_failure_result(self) -> bool:
        """Return whether it is a failure."""
        return not self.is_success


Converter = Callable[[Any], StepHandlerResult]
"""Makes a result of what a function returned."""


def as_result(value: Any) -> StepHandlerResult:
    """Return what a handler returned as a result.

    A result stays as it is, a dict or model becomes the result of a success, None an empty one,
    and any other value `{"result": value}`.
    """
    if isinstance(value, StepHandlerResult):
        return value
    if value is None:
        value = {}
    elif callable(dump := getattr(value, "model_dump", None)):
        value = dump(mode="json")
    elif not isinstance(value, dict):
        value = {"result": value}
    return StepHandlerResult(success=True, result=value)
