"""Health and figures of the worker of this process."""

import time
from typing import Any

from pydantic import BaseModel, Field

from tasker.client import SyncClient
from tasker_core.bootstrap import get_worker_status, running_host
from tasker_core.environment import concurrency, environment


class ComponentHealth(BaseModel):
    """The health of a part."""

    name: str
    status: str
    pool_size: int | None = None
    pool_idle: int | None = None


class HealthCheck(BaseModel):
    """The health of the worker."""

    status: str
    is_running: bool
    components: dict[str, ComponentHealth] = Field(default_factory=dict)
    rust: dict[str, Any] = Field(default_factory=dict)
    python: dict[str, Any] = Field(default_factory=dict)


class WorkerMetrics(BaseModel):
    """Figures of the worker: see `tasker worker --metrics` for more."""

    steps_processed: int = 0
    steps_succeeded: int = 0
    steps_failed: int = 0
    average_execution_time_ms: float | None = None
    uptime_seconds: float = 0.0


class WorkerConfig(BaseModel):
    """The configuration of the worker."""

    worker_id: str
    environment: str
    namespaces: list[str]
    max_concurrent_handlers: int


_started = time.monotonic()


def get_health_check() -> HealthCheck:
    """Return the health of the worker.

    Raises:
        WorkerNotInitializedError: None runs.
    """
    host = running_host()
    store = ComponentHealth(name="store", status=_store_status(host.client))
    healthy = host.is_running() and store.status == "healthy"
    return HealthCheck(
        status="healthy" if healthy else "unhealthy",
        is_running=get_worker_status().running,
        components={"store": store},
        python={"handlers": len(host.handlers)},
    )


def _store_status(client: SyncClient) -> str:
    try:
        client.tasks(limit=1)
    except Exception as error:
        return f"unhealthy: {error}"
    return "healthy"


def get_metrics() -> WorkerMetrics:
    """Return figures of the worker.

    Raises:
        WorkerNotInitializedError: None runs.
    """
    counts = running_host().counts
    return WorkerMetrics(
        steps_processed=counts.succeeded + counts.failed,
        steps_succeeded=counts.succeeded,
        steps_failed=counts.failed,
        uptime_seconds=time.monotonic() - _started,
    )


def get_worker_config() -> WorkerConfig:
    """Return the configuration of the worker.

    Raises:
        WorkerNotInitializedError: None runs.
    """
    host = running_host()
    return WorkerConfig(
        worker_id=host.name,
        environment=environment(),
        namespaces=host.namespaces,
        max_concurrent_handlers=concurrency(),
    )
