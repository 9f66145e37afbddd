"""Stores creations that arrive while others are in progress together in the next transaction."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeAlias

from tasker.errors import StoreUnavailable, TaskerError
from tasker.model import Claim, CreateTasksResult, NewTask, TaskId, WorkerId

MOST = 500  #: tasks stored together
LARGE = 50  #: tasks of one request from which on it is stored alone


class CreationRequest(NamedTuple):
    """The request of one call of `Store.create_tasks`."""

    tasks: Sequence[NewTask]
    worker: WorkerId | None
    claim_up_to: int


Part: TypeAlias = tuple[CreationRequest, "asyncio.Future[CreateTasksResult]"]
"""A request, and the future that its caller awaits."""

Create: TypeAlias = Callable[[CreationRequest, bool], Awaitable[CreateTasksResult]]
"""A function that stores either all tasks or none. If its second argument is true, it raises
`CreationBlocked` instead of waiting for other transactions."""


class CreationBlocked(TaskerError):
    """Another transaction holds what a creation needs, such as an idempotency key."""


class CreationBatcher:
    """Stores tasks in few concurrent transactions; creations that arrive in the meantime share the
    next one.

    Creating many tasks costs little more than creating one. If a shared creation is rejected or
    would wait for another transaction, its parts are stored separately, so each gets its own error
    or waits by itself. A cancelled caller does not affect the others; its tasks exist if they were
    in progress.

    Args:
        create: Stores tasks in one transaction.
        at_once: Transactions in progress at a time. With two, callers prepare their next creations
            during one while the other is stored; with one, all of them wait for it together.
    """

    def __init__(self, create: Create, at_once: int = 1) -> None:
        self._create = create
        self._at_once = at_once
        self._waiting: deque[Part] = deque()
        self._storing: set[asyncio.Task[None]] = set()
        self._separate: set[asyncio.Task[None]] = set()

    async def create_tasks(self, creation: CreationRequest) -> CreateTasksResult:
        """Store tasks, either all or none. Raises the errors of `create`."""
        if len(creation.tasks) >= LARGE:
            return await self._create(creation, False)
        reply: asyncio.Future[CreateTasksResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((creation, reply))
        if len(self._storing) < self._at_once:
            storing = asyncio.create_task(self._store_waiting_requests(), name="tasker-creations")
            self._storing.add(storing)
        return await reply

    async def _store_waiting_requests(self) -> None:
        try:
            while self._waiting:
                await self._store_batch(self._take_next_batch(), impatient=True)
        finally:
            self._storing -= {asyncio.current_task()}  # at once: nothing waits for an ended task

    def _take_next_batch(self) -> list[Part]:
        """Take creations for one worker from the front."""
        parts: list[Part] = []
        size = 0
        worker = self._waiting[0][0].worker
        while self._waiting and self._waiting[0][0].worker == worker and size < MOST:
            parts.append(self._waiting.popleft())
            size += len(parts[-1][0].tasks)
        return parts

    async def _store_batch(self, parts: Sequence[Part], *, impatient: bool) -> None:
        """Store creations together, except cancelled ones."""
        parts = [part for part in parts if not part[1].done()]
        if not parts:
            return
        creations = [creation for creation, _ in parts]
        together = CreationRequest(
            [task for creation in creations for task in creation.tasks],
            creations[0].worker,
            sum(creation.claim_up_to for creation in creations),
        )
        try:
            created = await self._create(together, impatient)
        except Exception as error:  # of whichever part: a value that the driver rejects, too
            if isinstance(error, CreationBlocked) or (
                len(parts) > 1 and not isinstance(error, StoreUnavailable)
            ):
                self._store_separately(parts)
            else:
                _fail_replies([reply for _, reply in parts], error)
        except asyncio.CancelledError:
            for _, reply in parts:
                reply.cancel()
            raise
        else:
            _resolve_replies(parts, created)

    def _store_separately(self, parts: Sequence[Part]) -> None:
        for part in parts:
            task = asyncio.create_task(self._store_batch([part], impatient=False))
            self._separate.add(task)
            task.add_done_callback(self._separate.discard)


def _fail_replies(replies: Sequence["asyncio.Future[CreateTasksResult]"], error: Exception) -> None:
    for reply in replies:
        if not reply.done():
            reply.set_exception(error)


def _resolve_replies(parts: Sequence[Part], created: CreateTasksResult) -> None:
    """Give each caller its part of the created tasks."""
    claims: dict[TaskId, list[Claim]] = {}
    for claim in created.claims:
        claims.setdefault(claim.task_id, []).append(claim)
    begin = 0
    for creation, reply in parts:
        end = begin + len(creation.tasks)
        if not reply.done():
            own = [claim for task in creation.tasks for claim in claims.get(task.id, ())]
            reply.set_result(CreateTasksResult(created.tasks[begin:end], own, created.at))
        begin = end
