"""The worker of this process."""

import logging
import os
import threading
from types import TracebackType
from typing import ClassVar, Self

from tasker_core import bootstrap
from tasker_core.bootstrap import BootstrapConfig, BootstrapResult
from tasker_core.registry.handler_registry import HandlerRegistry

log = logging.getLogger("tasker_core.worker")


class Worker:
    """Runs the handlers of packages: `Worker.start(["app.handlers"])`. One in each process."""

    _instance: ClassVar["Worker | None"] = None
    _lock: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, result: BootstrapResult) -> None:
        self._result = result

    @classmethod
    def start(
        cls,
        handler_packages: list[str] | None = None,
        config: BootstrapConfig | None = None,
    ) -> "Worker":
        """Start the worker, or return the one that runs.

        Args:
            handler_packages: Dotted names of packages with handlers, besides those that templates
                name by dotted path.
            config: See `BootstrapConfig`.

        Raises:
            WorkerBootstrapError: It cannot start.
        """
        with cls._lock:
            if cls._instance is not None:
                log.warning("a worker runs already; the arguments are ignored")
                return cls._instance
            registry = HandlerRegistry.instance(skip_bootstrap=True)
            registry.bootstrap_handlers()
            for package in handler_packages or ():
                registry.discover_handlers(package)
            if folder := os.environ.get("PYTHON_HANDLER_PATH"):
                registry.discover_directory(folder)
            cls._instance = cls(bootstrap.bootstrap_worker(config))
            return cls._instance

    @classmethod
    def instance(cls) -> "Worker | None":
        """Return the worker of this process, or None."""
        return cls._instance

    @classmethod
    def reset_instance(cls) -> None:
        """Stop the worker of this process, if there is one."""
        if cls._instance is not None:
            cls._instance.stop()

    def stop(self) -> None:
        """Stop it; running handlers end first. May be called again."""
        with self._lock:
            if Worker._instance is self:
                Worker._instance = None
                bootstrap.stop_worker()

    @property
    def worker_id(self) -> str:
        """Its name, as operators see it."""
        return self._result.worker_id

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return Worker._instance is self and bootstrap.is_worker_running()

    @property
    def bootstrap_result(self) -> BootstrapResult:
        """The result of starting it."""
        return self._result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
