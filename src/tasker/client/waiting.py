"""Waiting for tasks."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta

from tasker.durations import human_duration
from tasker.errors import ParkedForTask, StoreUnavailable, TaskFailed, WaitCycle, WaitTimeout
from tasker.model import Task, TaskId, TaskStatus
from tasker.store.protocol import Store

PATIENCE = 60.0  #: seconds for which the store may be unreachable while a task is awaited
LONGEST_PAUSE = 0.25  #: seconds between two reads of an awaited task
_FIRST_PAUSE = 0.005  #: the same at first; also the shortest time between two reads of any task


class TaskEndWaiter:
    """Waits for the end of tasks; one read of the store serves all callers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._awaited: dict[TaskId, _AwaitedTask] = {}
        self._reading: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def wait(self, task_id: TaskId) -> None:
        """Wait until a task has ended or does not exist.

        Raises:
            StoreUnavailable: The store was unreachable for `PATIENCE` seconds.
        """
        loop = asyncio.get_running_loop()
        awaited = self._awaited.setdefault(task_id, _AwaitedTask())
        awaited.next_read, awaited.pause = loop.time(), _FIRST_PAUSE
        end: asyncio.Future[None] = loop.create_future()
        awaited.callers.append(end)
        self._changed.set()
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._poll_until_all_ended(), name="tasker-wait")
        try:
            await end
        finally:
            awaited.callers.remove(end)
            if not awaited.callers:
                self._awaited.pop(task_id, None)
                self._changed.set()

    def wake_callers_of(self, task_id: TaskId) -> None:
        """Wake the callers that wait for an ended task."""
        if awaited := self._awaited.get(task_id):
            awaited.wake_callers()

    async def _poll_until_all_ended(self) -> None:
        self._changed = asyncio.Event()  # bound to the running loop
        clock = asyncio.get_running_loop().time
        while self._awaited:
            if due := [key for key, each in self._awaited.items() if each.next_read <= clock()]:
                await self._poll_once(due)
                await asyncio.sleep(_FIRST_PAUSE)
            self._changed.clear()
            pause = min((each.next_read for each in self._awaited.values()), default=0) - clock()
            if pause > 0:
                try:
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                except TimeoutError:
                    pass

    async def _poll_once(self, due: Collection[TaskId]) -> None:
        """Read once which tasks have ended, and wake their callers."""
        error: Exception | None = None
        ended: Collection[TaskId] = ()
        try:
            ended = await self._store.find_ended_tasks(due)
        except Exception as raised:  # each caller gets it
            error = raised
        now = asyncio.get_running_loop().time()
        for task_id in due:
            if awaited := self._awaited.get(task_id):
                if error is not None:
                    awaited.fail_callers_unless_temporary(error, now)
                elif task_id in ended:
                    awaited.wake_callers()
                else:
                    awaited.delay_next_read(now)


@dataclass(slots=True)
class _AwaitedTask:
    """A task that callers wait for."""

    callers: list[asyncio.Future[None]] = field(default_factory=list)
    next_read: float = 0.0  #: time of the loop
    pause: float = _FIRST_PAUSE
    unreachable_since: float | None = None

    def wake_callers(self) -> None:
        for caller in self.callers:
            if not caller.done():
                caller.set_result(None)

    def delay_next_read(self, now: float) -> None:
        """Plan the next read after a growing delay."""
        self.unreachable_since = None
        self.next_read = now + self.pause
        self.pause = min(self.pause * 1.5, LONGEST_PAUSE)

    def fail_callers_unless_temporary(self, error: Exception, now: float) -> None:
        """Raise an error in the callers unless the store may soon be reachable again."""
        if self.unreachable_since is None:
            self.unreachable_since = now
        if isinstance(error, StoreUnavailable) and now < self.unreachable_since + PATIENCE:
            self.next_read = now + LONGEST_PAUSE
            return
        for caller in self.callers:
            if not caller.done():
                caller.set_exception(error)


def require_success(task: Task) -> Task:
    """Return an ended task. Raises TaskFailed if it failed or was cancelled."""
    if task.status in (TaskStatus.ERROR, TaskStatus.CANCELLED):
        raise TaskFailed(task)
    return task


def wait_timeout_error(task: Task, timeout: timedelta) -> WaitTimeout:
    """Return the error for a task that did not end in time."""
    return WaitTimeout(f"task {task.id} is still {task.status} after {human_duration(timeout)}")


def make_parking_exception(task: Task, waiting: TaskId) -> BaseException:
    """Return the exception that parks an attempt of the task `waiting` until another task ends."""
    if task.id == waiting:
        return WaitCycle(waiting, waiting, waiting)
    return ParkedForTask(task.id)
