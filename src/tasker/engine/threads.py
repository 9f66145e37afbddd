"""Threads for sync handlers: made when needed, and handed results back in bulk."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple


class Returned(NamedTuple):
    """What a call in a thread came to."""

    key: Any
    value: Any
    error: BaseException | None


class Threads:
    """Runs calls in threads; tells `done` in the loop, many at a time.

    asyncio's own executor wakes the loop once per call, which costs more than a short
    handler takes; here one wake-up brings back all that has finished.
    """

    def __init__(self, most: int, done: Callable[[Returned], None]) -> None:
        self._most = most
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[tuple[Any, Callable[[], Any]] | None] = SimpleQueue()
        self._returned: deque[Returned] = deque()
        self._woken = False
        self._threads = 0
        self._waiting = 0

    def submit(self, key: Any, call: Callable[[], Any]) -> None:
        """Run a call in a thread; `done` gets its outcome with `key`."""
        if self._waiting <= 0 and self._threads < self._most:
            self._threads += 1
            self._waiting += 1
            name = f"tasker-handler-{self._threads}"
            threading.Thread(target=self._run, name=name, daemon=True).start()
        self._waiting -= 1
        self._calls.put((key, call))

    def close(self) -> None:
        """Let the threads end when their calls have."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            key, call = item
            try:
                returned = Returned(key, call(), None)
            except BaseException as error:  # it belongs to the attempt
                returned = Returned(key, None, error)
            self._returned.append(returned)
            del item, key, call, returned
            if not self._woken:
                self._woken = True
                try:
                    self._loop.call_soon_threadsafe(self._drain)
                except RuntimeError:  # the loop is gone, and with it who asked
                    return

    def _drain(self) -> None:
        self._woken = False
        while self._returned:
            self._waiting += 1
            self._done(self._returned.popleft())
