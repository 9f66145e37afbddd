"""What Prometheus reads: this process's metrics, and now and then what the store says."""

import asyncio
import time

from tasker.errors import TaskerError
from tasker.observe.metrics import Metrics
from tasker.store.protocol import Store

_BELIEVED = 5.0  #: seconds for which the store is not asked again


class MetricsEndpoint:
    """Writes metrics.

    Args:
        store: Asked for its steps and workers.
        metrics: Of this process.
    """

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._asking = asyncio.Lock()
        self._asked = float("-inf")

    async def text(self) -> bytes:
        """Tell all metrics; those of the store as they were last, where it cannot be asked."""
        async with self._asking:
            if time.monotonic() - self._asked > _BELIEVED:
                self._asked = time.monotonic()
                await self._ask()
        return self._metrics.text()

    async def _ask(self) -> None:
        try:
            backlog, workers = await self._store.backlog(), await self._store.list_workers()
        except TaskerError:
            return
        self._metrics.store(
            due=backlog.due_steps,
            scheduled=backlog.scheduled_steps,
            running=backlog.running_steps,
            no_worker=backlog.steps_without_worker,
        )
        self._metrics.workforce(workers)
