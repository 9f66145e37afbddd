"""Methods for handlers that analyze, process and add up batches."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from tasker_core.batch_processing.types import (
    BatchAggregationScenario,
    BatchAnalyzerOutcome,
    BatchWorkerConfig,
    BatchWorkerContext,
    BatchWorkerOutcome,
    CursorConfig,
    RustBatchWorkerInputs,
    aggregate_batch_results,
    worker_inputs_of,
)
from tasker_core.context import StepContext
from tasker_core.results import StepHandlerResult


def _positive(number: int, what: str) -> int:
    if number <= 0:
        raise ValueError(f"{what} must be at least 1, not {number}")
    return number


class Batchable:
    """A mixin: `class ProcessRows(StepHandler, Batchable)`."""

    # -- analyzers

    def create_cursor_config(
        self, start: int, end: int, step_size: int = 1, metadata: dict[str, Any] | None = None
    ) -> CursorConfig:
        """Return the range from `start` to before `end`."""
        return CursorConfig(
            start_cursor=start, end_cursor=end, step_size=step_size, metadata=metadata or {}
        )

    def create_cursor_ranges(
        self, total_items: int, batch_size: int, step_size: int = 1, max_batches: int | None = None
    ) -> list[CursorConfig]:
        """Return ranges of `batch_size` items, the last one shorter.

        Args:
            total_items: Number of items; 0: no ranges.
            batch_size: Items of each range; more if there would be more than `max_batches`.
            step_size: How many items are processed at once.
            max_batches: The most ranges.

        Raises:
            ValueError: `batch_size` is less than 1.
        """
        if total_items == 0:
            return []
        size = _positive(batch_size, "batch_size")
        if max_batches and -(-total_items // size) > max_batches:
            size = -(-total_items // max_batches)
        return [
            self.create_cursor_config(start, min(start + size, total_items), step_size)
            for start in range(0, total_items, size)
        ]

    def create_cursor_configs(self, total_items: int, worker_count: int) -> list[BatchWorkerConfig]:
        """Return a range for each of `worker_count` workers, fewer if there are fewer items.

        Raises:
            ValueError: `worker_count` is less than 1.
        """
        count = _positive(worker_count, "worker_count")
        size = max(-(-total_items // count), 1)
        starts = range(0, total_items, size)
        return [
            BatchWorkerConfig(
                batch_id=f"{index + 1:03}",
                cursor_start=start,
                cursor_end=min(start + size, total_items),
                row_count=min(size, total_items - start),
                worker_index=index,
                total_workers=count,
            )
            for index, start in enumerate(starts)
        ]

    def create_batch_outcome(
        self,
        total_items: int,
        batch_size: int,
        step_size: int = 1,
        batch_metadata: dict[str, Any] | None = None,
    ) -> BatchAnalyzerOutcome:
        """Return batches of `batch_size` items."""
        return BatchAnalyzerOutcome(
            cursor_configs=self.create_cursor_ranges(total_items, batch_size, step_size),
            total_items=total_items,
            batch_metadata=batch_metadata or {},
        )

    def create_batch_outcome_from_ranges(
        self,
        ranges: Iterable[tuple[int, int]],
        step_size: int = 1,
        total_items: int | None = None,
        batch_metadata: dict[str, Any] | None = None,
    ) -> BatchAnalyzerOutcome:
        """Return batches with these ranges."""
        return BatchAnalyzerOutcome.from_ranges(ranges, step_size, total_items, batch_metadata)

    def batch_analyzer_success(
        self,
        outcome: BatchAnalyzerOutcome | None = None,
        metadata: dict[str, Any] | None = None,
        worker_template_name: str = "batch_worker",
        cursor_configs: list[CursorConfig] | None = None,
        total_items: int | None = None,
        batch_metadata: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Return the batches to process, given as an outcome or as its parts."""
        if cursor_configs is not None:
            cursors, facts = cursor_configs, batch_metadata or {}
            total = len(cursors) if total_items is None else total_items
        elif outcome is not None:
            cursors, facts, total = (
                outcome.cursor_configs,
                outcome.batch_metadata,
                outcome.total_items,
            )
        else:
            return self.no_batches_outcome("no_cursor_configs_provided")
        if not cursors:
            return self.no_batches_outcome(facts.get("reason", "empty_dataset"), facts)
        batches = {
            "type": "create_batches",
            "worker_template_name": worker_template_name,
            "worker_count": len(cursors),
            "cursor_configs": [
                {
                    "batch_id": f"{number:03}",
                    "start_cursor": cursor.start_cursor,
                    "end_cursor": cursor.end_cursor,
                    "batch_size": cursor.end_cursor - cursor.start_cursor,
                }
                for number, cursor in enumerate(cursors, start=1)
            ],
            "total_items": total,
        }
        result: dict[str, Any] = {
            "batch_processing_outcome": batches,
            "worker_count": len(cursors),
            "total_items": total,
        }
        if facts:
            result["batch_metadata"] = facts
        return StepHandlerResult.make_success(result, {**(metadata or {}), "batch_analyzer": True})

    def no_batches_outcome(
        self, reason: str, metadata: dict[str, Any] | None = None
    ) -> StepHandlerResult:
        """Return an outcome without items to process."""
        result = {
            "batch_processing_outcome": {"type": "no_batches"},
            "reason": reason,
            **(metadata or {}),
        }
        return StepHandlerResult.make_success(result, {"batch_analyzer": True, "no_batches": True})

    # -- workers

    def get_batch_worker_inputs(self, context: StepContext) -> RustBatchWorkerInputs | None:
        """Return the inputs of this worker, or None if it has none."""
        return worker_inputs_of(context)

    def get_batch_context(self, context: StepContext) -> BatchWorkerContext | None:
        """Return the batch of this worker, or None."""
        return BatchWorkerContext.from_step_context(context)

    def handle_no_op_worker(self, context: StepContext) -> StepHandlerResult | None:
        """Return the result of the one worker of an analyzer without batches, else None."""
        inputs = worker_inputs_of(context)
        if inputs is None or not inputs.is_no_op:
            return None
        return StepHandlerResult.make_success(
            {
                "batch_id": inputs.cursor.batch_id,
                "no_op": True,
                "processed_count": 0,
                "message": "No batches to process",
                "processed_at": datetime.now(UTC).isoformat(),
            }
        )

    def create_worker_outcome(self, **counts: Any) -> BatchWorkerOutcome:
        """Return what this worker did; see `BatchWorkerOutcome`.

        `items_succeeded` is `items_processed` less the failed and skipped ones if it is missing.
        """
        outcome = BatchWorkerOutcome(**counts)
        if "items_succeeded" not in counts:
            outcome.items_succeeded = (
                outcome.items_processed - outcome.items_failed - outcome.items_skipped
            )
        return outcome

    def batch_worker_success(
        self,
        outcome: BatchWorkerOutcome | None = None,
        metadata: dict[str, Any] | None = None,
        items_processed: int | None = None,
        **counts: Any,
    ) -> StepHandlerResult:
        """Return what this worker did, given as an outcome or as its parts."""
        if items_processed is not None:
            outcome = self.create_worker_outcome(items_processed=items_processed, **counts)
        if outcome is None:
            return StepHandlerResult.failure(
                "batch_worker_success needs an outcome or items_processed", "invalid_args", False
            )
        result: dict[str, Any] = outcome.model_dump(exclude={"results", "errors"})
        result |= {key: items for key in ("results", "errors") if (items := getattr(outcome, key))}
        return StepHandlerResult.make_success(result, {**(metadata or {}), "batch_worker": True})

    def batch_worker_partial_failure(
        self,
        outcome: BatchWorkerOutcome,
        message: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Return what this worker did although some of its items failed."""
        made = self.batch_worker_success(outcome, {**(metadata or {}), "had_failures": True})
        made.result = {**(made.result or {}), "partial_failure": True}
        if message:
            made.result["message"] = message
        return made

    def checkpoint_yield(
        self,
        cursor: Any,
        items_processed: int,
        accumulated_results: dict[str, Any] | None = None,
    ) -> StepHandlerResult:
        """Save a position and let the step start again from there later: `return` this."""
        result = {"type": "checkpoint_yield", "cursor": cursor, "items_processed": items_processed}
        if accumulated_results is not None:
            result["accumulated_results"] = accumulated_results
        return StepHandlerResult.make_success(
            result, {"checkpoint_yield": True, "batch_worker": True}
        )

    # -- sums

    def detect_aggregation_scenario(
        self, dependency_results: Any, batchable_step_name: str, batch_worker_prefix: str
    ) -> BatchAggregationScenario:
        """Find the results of batches: see `BatchAggregationScenario.detect`."""
        return BatchAggregationScenario.detect(
            dependency_results, batchable_step_name, batch_worker_prefix
        )

    def no_batches_aggregation_result(
        self, zero_metrics: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the sums of no batches."""
        return {"worker_count": 0, "scenario": "no_batches", **(zero_metrics or {})}

    def aggregate_batch_worker_results(
        self,
        scenario: BatchAggregationScenario,
        zero_metrics: dict[str, Any] | None = None,
        aggregation_fn: Callable[[dict[str, dict[str, Any]]], dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Return the sums of all batches, by `aggregation_fn` if there is one."""
        if scenario.is_no_batches:
            return self.no_batches_aggregation_result(zero_metrics)
        if aggregation_fn is not None:
            sums = aggregation_fn(scenario.batch_results)
        else:
            sums = self.aggregate_worker_results(list(scenario.batch_results.values()))
        return {**sums, "worker_count": scenario.worker_count, "scenario": "with_batches"}

    @staticmethod
    def aggregate_worker_results(worker_results: list[dict[str, Any] | None]) -> dict[str, Any]:
        """Return the sums of the results of workers."""
        return aggregate_batch_results(worker_results).model_dump()


BatchableMixin = Batchable
