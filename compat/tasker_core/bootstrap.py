"""Starts and stops the worker of this process."""

import os
import threading
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from tasker.client import SyncClient
from tasker_core import domain_events
from tasker_core.environment import environment
from tasker_core.exceptions import WorkerBootstrapError, WorkerNotInitializedError
from tasker_core.host import ClientHost, Host
from tasker_core.registry.handler_registry import HandlerRegistry


class BootstrapConfig(BaseModel):
    """How a worker starts.

    Only `worker_id` and `namespace` have a meaning: the namespace is that of handlers where there
    are no templates.
    """

    model_config = ConfigDict(extra="forbid")

    worker_id: str | None = None
    namespace: str = "default"
    config_path: str | None = None
    log_level: str = Field(default="info", pattern="^(trace|debug|info|warn|error)$")


class BootstrapResult(BaseModel):
    """The result of starting a worker."""

    success: bool
    handle_id: str = ""
    worker_id: str = ""
    status: str
    message: str | None = None
    error_message: str | None = None


class WorkerStatus(BaseModel):
    """The worker of this process."""

    running: bool
    environment: str | None = None
    worker_core_status: str | None = None
    web_api_enabled: bool | None = None
    supported_namespaces: list[str] | None = None
    database_pool_size: int | None = None
    database_pool_idle: int | None = None
    error: str | None = None


class _Process:
    """The worker and the client of this process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.host: Host | None = None
        self.client: ClientHost | None = None


_process = _Process()


def bootstrap_worker(config: BootstrapConfig | None = None) -> BootstrapResult:
    """Start the worker of this process with the handlers that are registered.

    Returns:
        `status` is `started`, or `already_running` without success.

    Raises:
        WorkerBootstrapError: It cannot start.
    """
    given = config or BootstrapConfig()
    with _process.lock:
        if is_worker_running():
            return BootstrapResult(success=False, status="already_running")
        name = given.worker_id or f"python-worker-{uuid4()}"
        namespace = os.environ.get("TASKER_NAMESPACE") or given.namespace
        registry = HandlerRegistry.instance(skip_bootstrap=True)
        host = Host(name, registry, namespace, domain_events.dispatch)
        host.start()
        _process.host = host
        return BootstrapResult(success=True, handle_id=name, worker_id=name, status="started")


def stop_worker() -> str:
    """Stop the worker of this process; running handlers end first."""
    with _process.lock:
        host, _process.host = _process.host, None
        if host is None:
            return "Worker system not running"
        host.stop()
        return "Worker system stopped"


def is_worker_running() -> bool:
    """Return whether a worker runs in this process."""
    return _process.host is not None


def running_host() -> Host:
    """Return the worker of this process.

    Raises:
        WorkerNotInitializedError: None runs.
    """
    if _process.host is None:
        raise WorkerNotInitializedError("Worker not initialized. Call bootstrap_worker() first.")
    return _process.host


def get_worker_status() -> WorkerStatus:
    """Return the status of the worker of this process."""
    host = _process.host
    if host is None:
        return WorkerStatus(running=False, error="Worker system not initialized")
    return WorkerStatus(
        running=True,
        environment=environment(),
        worker_core_status="running" if host.is_running() else "shutting_down",
        web_api_enabled=False,
        supported_namespaces=host.namespaces,
    )


def transition_to_graceful_shutdown() -> str:
    """Let the worker finish running handlers and claim no more.

    Raises:
        WorkerNotInitializedError: None runs.
    """
    running_host().drain()
    return "Worker system transitioned to graceful shutdown"


def shared_client() -> SyncClient:
    """Return the client of the worker, or else one for the configured store or server.

    Raises:
        RuntimeError: The store or server cannot be reached.
    """
    with _process.lock:
        if _process.host is not None:
            return _process.host.client
        if _process.client is None:
            try:
                _process.client = ClientHost()
            except Exception as error:
                raise WorkerBootstrapError(f"the client cannot connect: {error}") from error
        return _process.client.client


def close_client() -> None:
    """Close the client that `shared_client` opened."""
    with _process.lock:
        opened, _process.client = _process.client, None
        if opened is not None:
            opened.close()
