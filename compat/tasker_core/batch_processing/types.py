"""Batches: their cursors, their inputs, and the results of analyzers and workers."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasker_core.context import StepContext, unwrap


class FailureStrategy(StrEnum):
    """The effect of a failed item on its batch."""

    CONTINUE_ON_FAILURE = "continue_on_failure"
    FAIL_FAST = "fail_fast"
    ISOLATE = "isolate"


class CursorConfig(BaseModel):
    """The range of one batch, from `start_cursor` to before `end_cursor`."""

    model_config = ConfigDict(extra="ignore")

    start_cursor: int
    end_cursor: int
    step_size: int = 1
    metadata: dict[str, Any] = Field(default_factory=dict)
    batch_id: str = ""


@dataclass
class BatchWorkerConfig:
    """One of a fixed number of batches."""

    batch_id: str
    cursor_start: int
    cursor_end: int
    row_count: int
    worker_index: int
    total_workers: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


class BatchAnalyzerOutcome(BaseModel):
    """The batches that an analyzer makes."""

    cursor_configs: list[CursorConfig] = Field(default_factory=list)
    total_items: int = 0
    batch_metadata: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def from_ranges(
        cls,
        ranges: Iterable[tuple[int, int]],
        step_size: int = 1,
        total_items: int | None = None,
        batch_metadata: dict[str, Any] | None = None,
    ) -> "BatchAnalyzerOutcome":
        """Return batches with these ranges."""
        cursors = [
            CursorConfig(start_cursor=start, end_cursor=end, step_size=step_size)
            for start, end in ranges
        ]
        total = sum(each.end_cursor - each.start_cursor for each in cursors)
        return cls(
            cursor_configs=cursors,
            total_items=total if total_items is None else total_items,
            batch_metadata=batch_metadata or {},
        )


class BatchWorkerOutcome(BaseModel):
    """The result of a batch."""

    items_processed: int = 0
    items_succeeded: int = 0
    items_failed: int = 0
    items_skipped: int = 0
    results: list[Any] = Field(default_factory=list)
    errors: list[Any] = Field(default_factory=list)
    last_cursor: int | None = None
    batch_metadata: dict[str, Any] = Field(default_factory=dict)


class RustCursorConfig(BaseModel):
    """The range of a batch as it is stored."""

    batch_id: str
    start_cursor: Any
    end_cursor: Any
    batch_size: int


class BatchMetadata(BaseModel):
    """The settings of all batches of a step."""

    cursor_field: str
    failure_strategy: FailureStrategy


class RustBatchWorkerInputs(BaseModel):
    """The inputs of a batch worker."""

    cursor: RustCursorConfig
    batch_metadata: BatchMetadata
    is_no_op: bool


class BatchWorkerContext(BaseModel):
    """The batch of a worker, and what earlier attempts of it saved."""

    batch_id: str
    cursor_config: CursorConfig
    batch_index: int = 0
    total_batches: int = 1
    batch_metadata: dict[str, Any] = Field(default_factory=dict)
    checkpoint: dict[str, Any] | None = None

    @classmethod
    def from_step_context(cls, context: StepContext) -> "BatchWorkerContext | None":
        """Return the batch of a step, or None if it has none."""
        inputs = getattr(context, "step_inputs", None) or {}
        cursor = inputs.get("cursor")
        if isinstance(cursor, dict):
            return cls(
                batch_id=str(cursor.get("batch_id", "")),
                cursor_config=CursorConfig(
                    start_cursor=cursor["start_cursor"],
                    end_cursor=cursor["end_cursor"],
                    step_size=cursor.get("step_size") or cursor.get("batch_size") or 1,
                    batch_id=str(cursor.get("batch_id", "")),
                ),
                batch_metadata=inputs.get("batch_metadata") or {},
                checkpoint=context.checkpoint,
            )
        older = context.get_config("batch_context") or context.get_input("batch_context")
        return cls.model_validate(older) if isinstance(older, dict) else None

    @property
    def start_cursor(self) -> int:
        """The first position."""
        return self.cursor_config.start_cursor

    @property
    def end_cursor(self) -> int:
        """The position after the last one."""
        return self.cursor_config.end_cursor

    @property
    def step_size(self) -> int:
        """How many positions are processed at once."""
        return self.cursor_config.step_size

    @property
    def batch_size(self) -> int:
        """Number of positions."""
        return self.end_cursor - self.start_cursor

    @property
    def checkpoint_cursor(self) -> Any:
        """The position that an earlier attempt saved, or None."""
        return (self.checkpoint or {}).get("cursor")

    @property
    def accumulated_results(self) -> Any:
        """The partial results that an earlier attempt saved, or None."""
        return (self.checkpoint or {}).get("accumulated_results")

    @property
    def checkpoint_items_processed(self) -> int:
        """The number of items that earlier attempts processed."""
        return int((self.checkpoint or {}).get("items_processed") or 0)

    def has_checkpoint(self) -> bool:
        """Return whether an earlier attempt saved a position."""
        return self.checkpoint_cursor is not None


class NoBatchesOutcome(BaseModel):
    """There is nothing to process."""

    type: str = "no_batches"


class CreateBatchesOutcome(BaseModel):
    """The batches to process."""

    type: str = "create_batches"
    worker_template_name: str
    worker_count: int
    cursor_configs: list[RustCursorConfig]
    total_items: int


BatchProcessingOutcome = NoBatchesOutcome | CreateBatchesOutcome


def no_batches() -> NoBatchesOutcome:
    """Return an outcome without items to process."""
    return NoBatchesOutcome()


def create_batches(
    worker_template_name: str,
    worker_count: int,
    cursor_configs: list[RustCursorConfig],
    total_items: int,
) -> CreateBatchesOutcome:
    """Return the batches to process.

    Raises:
        ValueError: `worker_count` is not the number of cursors.
    """
    if worker_count != len(cursor_configs):
        raise ValueError(f"worker_count is {worker_count}, but there are {len(cursor_configs)}")
    return CreateBatchesOutcome(
        worker_template_name=worker_template_name,
        worker_count=worker_count,
        cursor_configs=cursor_configs,
        total_items=total_items,
    )


class BatchAggregationResult(BaseModel):
    """The sums of all batches."""

    total_processed: int = 0
    total_succeeded: int = 0
    total_failed: int = 0
    total_skipped: int = 0
    batch_count: int = 0
    success_rate: float = 0.0
    errors: list[Any] = Field(default_factory=list)
    error_count: int = 0


def aggregate_batch_results(
    worker_results: Sequence[dict[str, Any] | None], max_errors: int = 100
) -> BatchAggregationResult:
    """Return the sums of the results of workers; absent results count for nothing."""
    present = [each for each in worker_results if each is not None]
    processed = sum(each.get("items_processed", 0) for each in present)
    succeeded = sum(each.get("items_succeeded", 0) for each in present)
    errors = [error for each in present for error in each.get("errors") or ()]
    return BatchAggregationResult(
        total_processed=processed,
        total_succeeded=succeeded,
        total_failed=sum(each.get("items_failed", 0) for each in present),
        total_skipped=sum(each.get("items_skipped", 0) for each in present),
        batch_count=len(present),
        success_rate=succeeded / processed if processed else 0.0,
        errors=errors[:max_errors],
        error_count=len(errors),
    )


@dataclass
class BatchAggregationScenario:
    """What a step after batches finds: their results, or that there were none."""

    is_no_batches: bool
    batchable_result: Any
    batch_results: dict[str, dict[str, Any]]
    worker_count: int

    @classmethod
    def no_batches(cls, batchable_result: Any = None) -> "BatchAggregationScenario":
        """Return that there were no batches."""
        return cls(True, batchable_result, {}, 0)

    @classmethod
    def detect(
        cls, dependency_results: Any, batchable_step_name: str, batch_worker_prefix: str
    ) -> "BatchAggregationScenario":
        """Find the results of batches.

        Args:
            dependency_results: The results of earlier steps.
            batchable_step_name: The analyzer.
            batch_worker_prefix: How the names of the workers begin.

        Raises:
            ValueError: The analyzer has no result, or no worker has one though it made batches.
        """
        if batchable_step_name not in dependency_results:
            raise ValueError(f"step {batchable_step_name!r} has no result")
        results = {name: unwrap(dependency_results[name]) for name in dependency_results}
        analyzed = results[batchable_step_name]
        outcome = analyzed.get("batch_processing_outcome") if isinstance(analyzed, dict) else None
        if isinstance(outcome, dict) and outcome.get("type") == "no_batches":
            return cls.no_batches(analyzed)
        batches = {
            name: value
            for name, value in results.items()
            if name.startswith(batch_worker_prefix) and name != batchable_step_name
        }
        if not batches:
            raise ValueError(f"no step whose name begins with {batch_worker_prefix!r} has a result")
        return cls(False, analyzed, batches, len(batches))


def worker_inputs_of(context: StepContext) -> RustBatchWorkerInputs | None:
    """Return the inputs of a batch worker, or None if they are incomplete."""
    try:
        return RustBatchWorkerInputs.model_validate(context.step_inputs)
    except ValidationError:
        return None
