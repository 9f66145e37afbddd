"""Kept for imports: the engine hands steps to handlers without polling."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel


class FfiDispatchMetrics(BaseModel):
    """Figures of steps on their way to handlers; there are never any."""

    pending_count: int = 0
    oldest_pending_age_ms: int | None = None
    newest_pending_age_ms: int | None = None
    starvation_detected: bool = False
    starving_event_count: int = 0


class StarvationWarning(BaseModel):
    """A step that waits for a handler."""

    event_id: str = ""
    age_ms: int = 0


def poll_step_events() -> None:
    """Return no step: the engine hands steps to handlers itself."""


def complete_step_event(event_id: str, result: Any) -> bool:
    """Return False: no step has that id."""
    return False


def poll_in_process_events() -> None:
    """Return no event: see `InProcessDomainEventPoller`."""


def get_ffi_dispatch_metrics() -> FfiDispatchMetrics:
    """Return figures without steps."""
    return FfiDispatchMetrics()


def check_starvation_warnings() -> list[StarvationWarning]:
    """Return no warning."""
    return []


def cleanup_timeouts() -> int:
    """Return 0: the engine handles timeouts."""
    return 0


class EventPoller:
    """Can be started and stopped, and calls nothing.

    Args:
        intervals: Without meaning here.
    """

    def __init__(self, **intervals: int) -> None:
        self._running = False

    def on_step_event(self, callback: Callable[..., Any]) -> None:
        """Accept a function."""

    def on_metrics(self, callback: Callable[..., Any]) -> None:
        """Accept a function."""

    def on_error(self, callback: Callable[..., Any]) -> None:
        """Accept a function."""

    def start(self) -> None:
        """Start.

        Raises:
            RuntimeError: It is started.
        """
        if self._running:
            raise RuntimeError("the poller is running")
        self._running = True

    def stop(self, timeout: float = 5.0) -> None:
        """Stop."""
        self._running = False

    @property
    def is_running(self) -> bool:
        """Whether it is started."""
        return self._running

    def get_metrics(self) -> FfiDispatchMetrics:
        """Return figures without steps."""
        return FfiDispatchMetrics()
