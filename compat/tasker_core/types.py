"""All models of this package."""

from pydantic import BaseModel

from tasker_core.batch_processing.types import (
    BatchAggregationResult,
    BatchAggregationScenario,
    BatchAnalyzerOutcome,
    BatchMetadata,
    BatchProcessingOutcome,
    BatchWorkerConfig,
    BatchWorkerContext,
    BatchWorkerOutcome,
    CreateBatchesOutcome,
    CursorConfig,
    FailureStrategy,
    NoBatchesOutcome,
    RustBatchWorkerInputs,
    RustCursorConfig,
    aggregate_batch_results,
    create_batches,
    no_batches,
)
from tasker_core.bootstrap import BootstrapConfig, BootstrapResult, WorkerStatus
from tasker_core.client import (
    HealthResponse,
    PaginationInfo,
    StepAuditResponse,
    StepResponse,
    TaskListResponse,
    TaskResponse,
)
from tasker_core.context import FfiStepEvent, StepContext
from tasker_core.domain_events import (
    DomainEventMetadata,
    ExecutionResult,
    InProcessDomainEvent,
)
from tasker_core.event_poller import FfiDispatchMetrics, StarvationWarning
from tasker_core.execution_results import (
    ResultStatus,
    StepError,
    StepExecutionResult,
    StepHandlerCallResult,
    WorkerState,
)
from tasker_core.logging import LogContext
from tasker_core.observability import ComponentHealth, HealthCheck, WorkerConfig, WorkerMetrics
from tasker_core.results import ErrorType, StepHandlerResult
from tasker_core.step_handler.mixins.decision import DecisionPointOutcome, DecisionType


class ClientStepReadiness(BaseModel):
    """Whether a step can run: an item of `TaskResponse.steps`."""

    workflow_step_uuid: str = ""
    task_uuid: str = ""
    named_step_uuid: str = ""
    name: str = ""
    current_state: str = ""
    dependencies_satisfied: bool = False
    retry_eligible: bool = False
    ready_for_execution: bool = False
    last_failure_at: str | None = None
    next_retry_at: str | None = None
    total_parents: int = 0
    completed_parents: int = 0
    attempts: int = 0
    max_attempts: int = 0
    backoff_request_seconds: int | None = None
    last_attempted_at: str | None = None


ClientTaskResponse = TaskResponse
ClientTaskListResponse = TaskListResponse
ClientStepResponse = StepResponse
ClientStepAuditResponse = StepAuditResponse
ClientHealthResponse = HealthResponse
ClientPaginationInfo = PaginationInfo

__all__ = [
    "BatchAggregationResult",
    "BatchAggregationScenario",
    "BatchAnalyzerOutcome",
    "BatchMetadata",
    "BatchProcessingOutcome",
    "BatchWorkerConfig",
    "BatchWorkerContext",
    "BatchWorkerOutcome",
    "BootstrapConfig",
    "BootstrapResult",
    "ClientHealthResponse",
    "ClientPaginationInfo",
    "ClientStepAuditResponse",
    "ClientStepReadiness",
    "ClientStepResponse",
    "ClientTaskListResponse",
    "ClientTaskResponse",
    "ComponentHealth",
    "CreateBatchesOutcome",
    "CursorConfig",
    "DecisionPointOutcome",
    "DecisionType",
    "DomainEventMetadata",
    "ErrorType",
    "ExecutionResult",
    "FailureStrategy",
    "FfiDispatchMetrics",
    "FfiStepEvent",
    "HealthCheck",
    "InProcessDomainEvent",
    "LogContext",
    "NoBatchesOutcome",
    "ResultStatus",
    "RustBatchWorkerInputs",
    "RustCursorConfig",
    "StarvationWarning",
    "StepContext",
    "StepError",
    "StepExecutionResult",
    "StepHandlerCallResult",
    "StepHandlerResult",
    "WorkerConfig",
    "WorkerMetrics",
    "WorkerState",
    "WorkerStatus",
    "aggregate_batch_results",
    "create_batches",
    "no_batches",
]
