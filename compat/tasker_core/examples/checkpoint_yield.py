"""A batch worker that saves its position after every few items and lets other steps run."""

from typing import Any

from tasker_core.batch_processing import Batchable
from tasker_core.context import StepContext
from tasker_core.results import StepHandlerResult
from tasker_core.step_handler.base import StepHandler


class CheckpointYieldWorker(StepHandler, Batchable):
    """Adds up the numbers of its batch, `items_per_checkpoint` at a time."""

    handler_name = "checkpoint_yield_worker"

    def call(self, context: StepContext) -> StepHandlerResult:
        """Process one part, and start again from its end."""
        inputs = self.get_batch_worker_inputs(context)
        if inputs is None:
            return self.failure(
                "this step is not a batch worker", "invalid_inputs", retryable=False
            )
        if (nothing := self.handle_no_op_worker(context)) is not None:
            return nothing
        saved: dict[str, Any] = context.accumulated_results or {"total": 0}
        start = (
            inputs.cursor.start_cursor if context.checkpoint is None else context.checkpoint_cursor
        )
        end = min(
            start + (context.get_config("items_per_checkpoint") or 25), inputs.cursor.end_cursor
        )
        total = saved["total"] + sum(range(start, end))
        done = context.checkpoint_items_processed + end - start
        if end < inputs.cursor.end_cursor:
            return self.checkpoint_yield(end, done, {"total": total})
        return self.batch_worker_success(items_processed=done, results=[total], last_cursor=end)
