"""Notices when something holds up the event loop, and says which handler it is."""

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import timedelta


class LoopWatch:
    """A thread that looks whether the loop still turns.

    Args:
        limit: How long the loop may stand still.
        blocked: Called in the watching thread, once per standstill, with its length so far.
    """

    def __init__(self, limit: timedelta, blocked: Callable[[timedelta], None]) -> None:
        self._limit = limit.total_seconds()
        self._blocked = blocked
        self._loop = asyncio.get_running_loop()
        self._beat = time.monotonic()
        self._stopped = threading.Event()
        self._timer = self._loop.call_soon(self._tick)
        threading.Thread(target=self._watch, name="tasker-watch", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._timer.cancel()

    def _tick(self) -> None:
        self._beat = time.monotonic()
        self._timer = self._loop.call_later(self._limit / 2, self._tick)

    def _watch(self) -> None:
        told = 0.0
        while not self._stopped.wait(self._limit / 2):
            beat = self._beat
            behind = time.monotonic() - beat - self._limit / 2
            if behind > self._limit and beat != told:
                told = beat
                self._blocked(timedelta(seconds=behind))
