"""Watches tasks that requests wait for.

One read of the store serves all waiters of a task, and all tasks that streams follow.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Generic, TypeAlias, TypeVar

from tasker.errors import TaskerError
from tasker.model import Task, TaskId
from tasker.notices import EventLoopBlocked, Notice, TickHandled
from tasker.store.operator_rules import unknown_task_error
from tasker.store.protocol import Store

T = TypeVar("T")

_OF_NO_TASK = (EventLoopBlocked, TickHandled)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5  #: seconds between reads
_FOLLOWED_EVERY = 0.25  #: seconds between reads of tasks that streams follow, if one has changed


class ObservedTaskValue(Generic[T]):
    """A repeatedly read property of one task, for requests that wait until it changes."""

    def __init__(self) -> None:
        self.users = 0
        self._read: T | None = None
        self._error: TaskerError | None = None
        self._noticed = asyncio.Event()  #: set and replaced on each change

    async def wait_for_change(self, since: T | None, timeout: float) -> T | None:
        """Wait up to `timeout` seconds until the value differs from `since`.

        Returns:
            The new value, or None if it did not change.

        Raises:
            NotFound: The task no longer exists.
            StoreUnavailable: The store cannot be reached.
        """
        end = time.monotonic() + timeout
        while True:
            if self._error is not None:
                raise self._error
            if self._read is not None and self._read != since:
                return self._read
            try:
                async with asyncio.timeout(max(end - time.monotonic(), 0)):
                    await self._noticed.wait()
            except TimeoutError:
                return None

    def update(self, read: T | None, error: TaskerError | None = None) -> bool:
        """Record the value read, or why it could not be read; return whether it changed."""
        if (read, error) == (self._read, self._error):
            return False
        self._read, self._error = read, error
        self._noticed.set()
        self._noticed = asyncio.Event()
        return True


FollowedTask: TypeAlias = ObservedTaskValue[str]
"""An observed task of which only the ETag is read, for streams of changes."""


class WatchedTask(ObservedTaskValue[Task]):
    """One task that requests wait for, read from the store again at growing intervals."""

    def __init__(self, store: Store, task_id: TaskId) -> None:
        super().__init__()
        self._store = store
        self._id = task_id
        self._hurry = asyncio.Event()
        self._looking = asyncio.create_task(self._poll(), name=f"watch {task_id}")

    def request_refresh(self) -> None:
        """Make the poll read the task at once."""
        self._hurry.set()

    def close(self) -> None:
        self._looking.cancel()

    async def _poll(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                task = await self._store.get_task(self._id)
            except TaskerError as error:
                self.update(None, error)
                return
            if self.update(task):
                pause = _FIRST_PAUSE
            if task.has_ended:
                pause = _LONGEST_PAUSE  # an operator may reopen it
            try:
                async with asyncio.timeout(pause):
                    await self._hurry.wait()
            except TimeoutError:
                pause = min(pause * 1.5, _LONGEST_PAUSE)
            self._hurry.clear()


class FollowedTasks:
    """The tasks that streams follow: all are read at once, at most four times a second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks: dict[TaskId, FollowedTask] = {}
        self._hurry = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def follow(self, task_id: TaskId) -> AsyncIterator[FollowedTask]:
        """Read a task's ETag repeatedly while the block runs; yield it as an observed value."""
        followed = self._tasks.setdefault(task_id, FollowedTask())
        followed.users += 1
        if self._reading is None:
            self._reading = asyncio.create_task(self._poll_etags(), name="follow tasks")
        try:
            yield followed
        finally:
            followed.users -= 1
            if not followed.users:
                del self._tasks[task_id]
            if not self._tasks and self._reading is not None:
                self._reading.cancel()
                self._reading = None

    @property
    def has_tasks(self) -> bool:
        """Whether a task is followed."""
        return bool(self._tasks)

    def request_refresh(self, task_id: TaskId) -> None:
        """Make the next read of the followed tasks happen earlier, if this task is among them."""
        if task_id in self._tasks:
            self._hurry.set()

    async def _poll_etags(self) -> None:
        """Read the tasks repeatedly until none is followed."""
        while True:
            self._hurry.clear()
            tasks = {**self._tasks}
            try:
                self._record_read_etags(tasks, await self._store.get_task_etags(tasks))
            except TaskerError as error:
                for task in tasks.values():
                    task.update(None, error)
            await asyncio.sleep(_FOLLOWED_EVERY)
            try:
                async with asyncio.timeout(_LONGEST_PAUSE - _FOLLOWED_EVERY):
                    await self._hurry.wait()
            except TimeoutError:
                continue

    def _record_read_etags(
        self, tasks: Mapping[TaskId, FollowedTask], etags: Mapping[TaskId, str]
    ) -> None:
        for id, task in tasks.items():
            etag = etags.get(id)
            task.update(etag, None if etag else unknown_task_error(id))


class TaskWatcher:
    """Reads the tasks that requests wait for, each once for all of these requests."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watched: dict[TaskId, WatchedTask] = {}
        self.followed = FollowedTasks(store)

    @asynccontextmanager
    async def watch(self, task_id: TaskId) -> AsyncIterator[WatchedTask]:
        """Read a task repeatedly while the block runs; yield it as an observed value."""
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

    def refresh_tasks_of_notices(self, notices: Sequence[Notice]) -> None:
        """Read the tasks of notices immediately, if requests wait for them."""
        if not (self._watched or self.followed.has_tasks):
            return
        for notice in notices:
            if isinstance(notice, _OF_NO_TASK):
                continue
            if watched := self._watched.get(notice.task_id):
                watched.request_refresh()
            self.followed.request_refresh(notice.task_id)
