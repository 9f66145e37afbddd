"""A worker's asyncio tasks: its loops, and short operations that must finish before it ends."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger("tasker.worker")


class BackgroundTasks:
    """Runs coroutines in the background and reports failures.

    Args:
        worker: The worker's name, for the log.
    """

    def __init__(self, worker: str) -> None:
        self.pending: set[asyncio.Task[None]] = set()
        """Spawned tasks that have not ended."""

        self.changed = asyncio.Event()
        """Set when a spawned task ends."""

        self.failed = asyncio.Event()
        """Set when a loop or a task has failed unexpectedly."""

        self.failure: BaseException | None = None
        """The first such failure."""

        self._worker = worker
        self._loops: dict[str, asyncio.Task[None]] = {}

    def start_loop(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Start a loop that runs until the worker ends."""
        loop = asyncio.create_task(work, name=f"tasker-{name}")
        loop.add_done_callback(self._on_task_ended)
        self._loops[name] = loop

    def __getitem__(self, name: str) -> "asyncio.Task[None]":
        return self._loops[name]

    def start_operation(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a short operation that must finish before the worker ends."""
        task = asyncio.create_task(work, name="tasker-background")
        self.pending.add(task)
        task.add_done_callback(self._on_operation_ended)

    def cancel_all(self) -> None:
        """Cancel everything that is still running."""
        for task in (*self._loops.values(), *self.pending):
            task.cancel()

    def _on_operation_ended(self, task: "asyncio.Task[None]") -> None:
        self.pending.discard(task)
        self.changed.set()
        self._on_task_ended(task)

    def _on_task_ended(self, task: "asyncio.Task[None]") -> None:
        failure = None if task.cancelled() else task.exception()
        if failure is None:
            return
        facts = {"worker": self._worker, "duty": task.get_name()}
        log.critical("worker_failed", extra=facts, exc_info=failure)
        if self.failure is None:
            self.failure = failure
            self.failed.set()
