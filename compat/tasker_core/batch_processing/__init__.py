"""Batch processing: analyzers, workers, sums."""

from tasker_core.batch_processing.batchable import Batchable, BatchableMixin
from tasker_core.batch_processing.types import (
    BatchAggregationScenario,
    BatchAnalyzerOutcome,
    BatchWorkerConfig,
    BatchWorkerContext,
    BatchWorkerOutcome,
    CursorConfig,
)

__all__ = [
    "BatchAggregationScenario",
    "BatchAnalyzerOutcome",
    "BatchWorkerConfig",
    "BatchWorkerContext",
    "BatchWorkerOutcome",
    "Batchable",
    "BatchableMixin",
    "CursorConfig",
]
