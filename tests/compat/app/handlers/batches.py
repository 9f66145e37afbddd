"""Batches: an analyzer, workers that save their position, and sums."""

from typing import Any

from tasker_core.batch_processing import Batchable
from tasker_core.step_handler import BatchConfig, StepHandler, batch_analyzer, inputs
from tasker_core.types import StepContext, StepHandlerResult


@batch_analyzer("analyze_rows", worker_template="process_rows")
@inputs("rows")
def analyze_rows(rows: int) -> BatchConfig:
    """Make batches of 40 rows."""
    return BatchConfig(total_items=rows, batch_size=40)


class SumUp(StepHandler, Batchable):
    """Add the sums of all batches."""

    handler_name = "sum_up"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Add."""
        scenario = self.detect_aggregation_scenario(
            context.dependency_results, "analyze", "process_rows"
        )

        def add(batches: dict[str, dict[str, Any]]) -> dict[str, Any]:
            return {"total": sum(sum(batch["results"]) for batch in batches.values())}

        return self.success(self.aggregate_batch_worker_results(scenario, {"total": 0}, add))
