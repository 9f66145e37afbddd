"""Results of attempts in the form that older modules exchanged."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field


class ResultStatus(StrEnum):
    """The outcome of an attempt."""

    COMPLETED = "completed"
    ERROR = "error"
    RETRYABLE_ERROR = "retryable_error"
    PERMANENT_ERROR = "permanent_error"


class WorkerState(StrEnum):
    """The state of a worker."""

    STARTING = "starting"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting_down"
    STOPPED = "stopped"
    ERROR = "error"


class StepError(BaseModel):
    """The error of an attempt."""

    error_type: str
    message: str
    stack_trace: str | None = None
    retryable: bool = True
    metadata: dict[str, Any] = Field(default_factory=dict)


class StepExecutionResult(BaseModel):
    """The result of an attempt."""

    step_uuid: str
    task_uuid: str
    success: bool
    status: ResultStatus
    execution_time_ms: int = 0
    result: dict[str, Any] | None = None
    error: StepError | None = None
    worker_id: str | None = None
    correlation_id: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def success_result(
        cls, step_uuid: str, task_uuid: str, result: dict[str, Any] | None = None, **others: Any
    ) -> "StepExecutionResult":
        """Return a success."""
        return cls(
            step_uuid=step_uuid,
            task_uuid=task_uuid,
            success=True,
            status=ResultStatus.COMPLETED,
            result=result or {},
            **others,
        )

    @classmethod
    def failure_result(
        cls, step_uuid: str, task_uuid: str, error: StepError, **others: Any
    ) -> "StepExecutionResult":
        """Return a failure."""
        status = ResultStatus.RETRYABLE_ERROR if error.retryable else ResultStatus.PERMANENT_ERROR
        return cls(
            step_uuid=step_uuid,
            task_uuid=task_uuid,
            success=False,
            status=status,
            error=error,
            **others,
        )


class StepHandlerCallResult(BaseModel):
    """The result of a handler, in the older form."""

    success: bool
    result: dict[str, Any] | None = None
    error_message: str | None = None
    error_type: str | None = None
    retryable: bool = True
    metadata: dict[str, Any] = Field(default_factory=dict)
