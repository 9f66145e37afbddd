"""Watching tasks for those who wait: one look at the store serves all who wait for one task."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tasker.errors import TaskerError
from tasker.events import Event, LoopBlocked
from tasker.model import Task, TaskId
from tasker.store.protocol import Store

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5  #: seconds between looks


class Watched:
    """One task that somebody waits for."""

    def __init__(self, store: Store, task_id: TaskId) -> None:
        self.users = 0
        self._store = store
        self._id = task_id
        self._task: Task | None = None
        self._error: TaskerError | None = None
        self._looked = asyncio.Event()  #: set, and replaced, when there is something new
        self._hurry = asyncio.Event()
        self._looking = asyncio.create_task(self._look(), name=f"watch {task_id}")

    async def differing(self, since: Task | None, timeout: float) -> Task | None:
        """Wait until the task is another than `since`, at most `timeout` seconds.

        Returns:
            The task; None where it did not change.

        Raises:
            NotFound: There is no such task, or no more.
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

    def hint(self) -> None:
        """Look at once."""
        self._hurry.set()

    def close(self) -> None:
        self._looking.cancel()

    async def _look(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                task = await self._store.get_task(self._id)
            except TaskerError as error:
                self._error = error
                self._tell()
                return
            if task != self._task:
                self._task, pause = task, _FIRST_PAUSE
                self._tell()
            if task.ended:
                pause = _LONGEST_PAUSE  # an operator may bring it back
            try:
                async with asyncio.timeout(pause):
                    await self._hurry.wait()
            except TimeoutError:
                pause = min(pause * 1.5, _LONGEST_PAUSE)
            self._hurry.clear()

    def _tell(self) -> None:
        self._looked.set()
        self._looked = asyncio.Event()


class Watch:
    """The tasks of one store that somebody waits for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watched: dict[TaskId, Watched] = {}

    @asynccontextmanager
    async def on(self, task_id: TaskId) -> AsyncIterator[Watched]:
        """Watch a task."""
        watched = self._watched.get(task_id)
        if watched is None:
            watched = self._watched[task_id] = Watched(self._store, task_id)
        watched.users += 1
        try:
            yield watched
        finally:
            watched.users -= 1
            if not watched.users:
                del self._watched[task_id]
                watched.close()

    def users(self, task_id: TaskId) -> int:
        """Tell how many wait for a task."""
        watched = self._watched.get(task_id)
        return watched.users if watched else 0

    def observe(self, event: Event) -> None:
        """Look at once at a task to which something happened; for `Worker(observers=...)`."""
        if not isinstance(event, LoopBlocked) and (watched := self._watched.get(event.task_id)):
            watched.hint()
