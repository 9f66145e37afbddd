"""Writes the Prometheus metrics of this process and its store; the latter are cached briefly."""

import asyncio
import time

from tasker.errors import TaskerError
from tasker.observe.metrics import Metrics
from tasker.store.protocol import Store

_CACHED = 5.0  #: seconds for which the store's values are cached


class MetricsRenderer:
    """Writes the metrics of a process and its store as Prometheus text.

    Args:
        store: The store whose steps and workers are counted.
        metrics: The metrics of this process.
    """

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._asking = asyncio.Lock()
        self._asked = float("-inf")

    async def render(self) -> bytes:
        """Return all metrics, with the store's last known values if it cannot be reached."""
        async with self._asking:
            if time.monotonic() - self._asked > _CACHED:
                self._asked = time.monotonic()
                await self._refresh_store_metrics()
        return self._metrics.render_text()

    async def _refresh_store_metrics(self) -> None:
        try:
            backlog, utilization = (
                await self._store.count_backlog_by_queue(),
                await self._store.count_backlog(),
            )
            workers, snapshot = (
                await self._store.list_workers(),
                await self._store.find_oldest_database_snapshot(),
            )
            subscriptions = await self._store.list_subscriptions()
        except TaskerError:
            return
        self._metrics.set_delivery_gauges(subscriptions, self._store.clock.now())
        self._metrics.steps_without_worker.set_value(utilization.steps_without_worker)
        self._metrics.set_backlog_gauges(backlog)
        self._metrics.set_worker_gauges(workers)
        self._metrics.set_oldest_snapshot_gauges(snapshot)
