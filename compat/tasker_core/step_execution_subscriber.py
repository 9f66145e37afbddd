"""Kept for imports: the engine calls handlers itself."""

from typing import Any


class StepExecutionSubscriber:
    """Can be started and stopped, and calls nothing."""

    def __init__(self, event_bridge: Any, handler_registry: Any, worker_id: str) -> None:
        self.worker_id = worker_id
        self._active = False

    def start(self) -> None:
        """Start."""
        self._active = True

    def stop(self) -> None:
        """Stop."""
        self._active = False

    @property
    def is_active(self) -> bool:
        """Whether it is started."""
        return self._active
