"""Detects code that blocks the event loop, and identifies the handler."""

import asyncio
import threading
import time
from datetime import timedelta
from typing import Protocol

from tasker.engine.reporting import Reporter
from tasker.engine.running import RunningAttempt


class CurrentAttemptSource(Protocol):
    """Knows which attempt occupies the event loop; implemented by the executor."""

    def attempt_holding_loop(self) -> RunningAttempt | None:
        """Return the attempt whose code occupies the event loop."""
        ...


class LoopMonitor:
    """A thread that checks whether the event loop is still responsive.

    Args:
        limit: Maximum time for which the loop may be blocked.
        executor: Knows which attempt occupies the loop.
        reporter: Reports each blockage once.
    """

    def __init__(
        self, limit: timedelta, executor: CurrentAttemptSource, reporter: Reporter
    ) -> None:
        self._limit = limit.total_seconds()
        self._executor = executor
        self._reporter = reporter
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._ticked_at = time.monotonic()  #: time of the loop's last iteration
        self._timer = self._loop.call_soon(self._record_loop_tick)
        threading.Thread(target=self._watch_loop, name="tasker-loop-monitor", daemon=True).start()

    def blocked_duration(self) -> timedelta:
        """Return how long the loop has been blocked; 0 after `stop`. Callable from any thread."""
        if self._stopped.is_set():
            return timedelta(0)
        behind = time.monotonic() - self._ticked_at - self._limit / 2
        return timedelta(seconds=max(behind, 0.0))

    def stop(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        self._timer.cancel()

    def _record_loop_tick(self) -> None:
        self._ticked_at = time.monotonic()
        self._timer = self._loop.call_later(self._limit / 2, self._record_loop_tick)

    def _watch_loop(self) -> None:
        reported = 0.0
        while not self._stopped.wait(self._limit / 2):
            ticked_at, behind = self._ticked_at, self.blocked_duration()
            if behind.total_seconds() > self._limit and ticked_at != reported:
                reported = ticked_at
                event = self._reporter.log_blocked_loop_and_build_notice(
                    self._executor.attempt_holding_loop(), behind
                )
                self._loop.call_soon_threadsafe(self._reporter.notify_observers, event)
