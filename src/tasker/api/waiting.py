"""Watches tasks that requests wait for; one read of the store serves all waiters of a task."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tasker.errors import TaskerError
from tasker.model import Task, TaskId
from tasker.notices import LoopBlocked, Notice, TickHandled
from tasker.store.protocol import Store

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5  #: seconds between reads


class WatchedTask:
    """One task that requests wait for."""

    def __init__(self, store: Store, task_id: TaskId) -> None:
        self.users = 0
        self._store = store
        self._id = task_id
        self._task: Task | None = None
        self._error: TaskerError | None = None
        self._looked = asyncio.Event()  #: set and replaced at each change
        self._hurry = asyncio.Event()
        self._looking = asyncio.create_task(self._poll(), name=f"watch {task_id}")

    async def wait_for_change(self, since: Task | None, timeout: float) -> Task | None:
        """Wait up to `timeout` seconds until the task differs from `since`.

        Returns:
            The task, or None if it did not change.

        Raises:
            NotFound: The task no longer exists.
            StoreUnavailable: The store cannot be reached.
        """
        end = time.monotonic() + timeout
        while True:
            if self._error is not None:
                raise self._error
            if self._task is not None and self._task != since:
                return self._task
            try:
                async with asyncio.timeout(max(end - time.monotonic(), 0)):
                    await self._looked.wait()
            except TimeoutError:
                return None

    def refresh(self) -> None:
        """Read the task now."""
        self._hurry.set()

    def close(self) -> None:
        self._looking.cancel()

    async def _poll(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                task = await self._store.get_task(self._id)
            except TaskerError as error:
                self._error = error
                self._notify()
                return
            if task != self._task:
                self._task, pause = task, _FIRST_PAUSE
                self._notify()
            if task.ended:
                pause = _LONGEST_PAUSE  # an operator may reopen it
            try:
                async with asyncio.timeout(pause):
                    await self._hurry.wait()
            except TimeoutError:
                pause = min(pause * 1.5, _LONGEST_PAUSE)
            self._hurry.clear()

    def _notify(self) -> None:
        self._looked.set()
        self._looked = asyncio.Event()


class Watcher:
    """The tasks of one store that requests wait for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watched: dict[TaskId, WatchedTask] = {}

    @asynccontextmanager
    async def watch(self, task_id: TaskId) -> AsyncIterator[WatchedTask]:
        """Watch a task."""
        watched = self._watched.get(task_id)
        if watched is None:
            watched = self._watched[task_id] = WatchedTask(self._store, task_id)
        watched.users += 1
        try:
            yield watched
        finally:
            watched.users -= 1
            if not watched.users:
                del self._watched[task_id]
                watched.close()

    def waiting_request_count(self, task_id: TaskId) -> int:
        """Return the number of requests that wait for a task."""
        watched = self._watched.get(task_id)
        return watched.users if watched else 0

    def observe(self, notice: Notice) -> None:
        """Read the task of a notice immediately; for `Worker(observers=...)`."""
        if isinstance(notice, LoopBlocked | TickHandled):
            return
        if watched := self._watched.get(notice.task_id):
            watched.refresh()
