"""Bounds on the open tasks of a key: new tasks wait, are rejected, or replace the oldest."""

from collections.abc import Collection, Sequence

from tasker.errors import TooManyOpenTasks
from tasker.model import AtCapacityAction, CreateTasksResult, LimitKey, NewTask, PauseKind, TaskId
from tasker.plurals import format_count
from tasker.store.operations.operators import cancel_task_if_open
from tasker.store.operations.pauses import Pauses
from tasker.store.operations.pausing import set_tasks_paused
from tasker.store.protocol import AuditNote
from tasker.store.rows import Row
from tasker.store.session import Session

_ACTOR = "tasker"
_PAGE = 100  #: waiting tasks of a key that one transaction reads
_FIRST = LimitKey("", "")  #: before all keys


class ConcurrencyPlaces(Pauses):
    """Admits tasks that wait until fewer tasks of their key are open."""

    _looked_at = _FIRST
    """The last key that `admit_waiting_tasks` has examined; the next call starts after it."""

    async def admit_waiting_tasks(self, limit: int) -> int:
        after = self._looked_at
        rows = await self._fetch_all(
            "concurrency_keys_with_waiting_tasks",
            after_namespace=after.namespace,
            after_key=after.key,
            limit=limit,
        )
        self._looked_at = _parse_limit_key(rows[-1]) if len(rows) == limit else _FIRST
        return await self._admit_tasks_of_keys(rows)

    async def admit_tasks_to_freed_places(self, ended: Collection[TaskId]) -> int:
        return await self._admit_tasks_of_keys(
            await self._fetch_all("concurrency_keys_of_tasks_with_waiters", tasks=list(ended))
        )

    async def _admit_tasks_of_keys(self, keys: Sequence[Row]) -> int:
        admitted = 0
        for row in keys:
            key = _parse_limit_key(row)

            async def admit_tasks_of_key(tx: Session, key: LimitKey = key) -> int:
                return await _admit_tasks_of_key(tx, key)

            started = _PAGE
            while started == _PAGE:
                started = await self._in_yielding_transaction(admit_tasks_of_key)
                admitted += started
        return admitted


async def take_concurrency_places(
    tx: Session, tasks: Sequence[NewTask], created: CreateTasksResult
) -> None:
    """Count new tasks among the open ones of their keys.

    Raises:
        TooManyOpenTasks: The maximum number of tasks is open, and further tasks are rejected.
    """
    placed = [
        task
        for task, (_, is_new) in zip(tasks, created.tasks, strict=True)
        if is_new and task.place is not None
    ]
    for task in sorted(placed, key=lambda task: (task.place and task.place.key, task.id)):
        await _take_concurrency_place(tx, task)


async def _take_concurrency_place(tx: Session, task: NewTask) -> None:
    place = task.place
    if place is None:
        return
    opened = await _lock_open_places(tx, place.key)
    running = [row for row in opened if not row["waiting"]]
    full = len(running) >= place.tasks
    if full and place.when_full is AtCapacityAction.REJECT:
        raise TooManyOpenTasks(place.key.key, place.tasks)
    if full and place.when_full is AtCapacityAction.CANCEL_OLDEST:
        note = AuditNote(actor=task.created_by, reason=f"replaced by task {task.id}")
        for row in running[: len(running) - place.tasks + 1]:
            await cancel_task_if_open(tx, TaskId(row["task_id"]), note)
    queued = len(opened) - len(running)
    waits = place.when_full is AtCapacityAction.WAIT and (
        len(opened) >= place.tasks or queued == _PAGE  # behind more that wait
    )
    await tx.fetch_all(
        "add_concurrency_place",
        task_id=task.id,
        **place.key._asdict(),
        tasks=place.tasks,
        waiting=waits,
    )
    if waits:
        (template,) = await tx.fetch_all("template_and_pauses_of_task", task_id=task.id)
        most = format_count("task", place.tasks)
        await tx.fetch_one(
            "add_pause",
            kind=PauseKind.TASK,
            namespace=template["namespace"],
            name=task.id,
            actor=_ACTOR,
            reason=f"{place.key.key}: at most {most} may be open",
        )
        if not template["paused"]:
            await set_tasks_paused(tx, [task.id], paused=True)


async def _admit_tasks_of_key(tx: Session, key: LimitKey) -> int:
    """Start the longest waiting tasks, as far as there are places for them."""
    opened = await _lock_open_places(tx, key)
    running = sum(not row["waiting"] for row in opened)
    admitted = 0
    for row in opened:
        if not row["waiting"]:
            continue
        if running >= row["tasks"]:
            break
        running += 1
        admitted += 1
        task_id = TaskId(row["task_id"])
        await tx.lock_rows("task_state", task_id=task_id)
        await tx.fetch_all("mark_concurrency_place_admitted", task_id=task_id)
        (template,) = await tx.fetch_all("template_and_pauses_of_task", task_id=task_id)
        await tx.fetch_all(
            "delete_pause", kind="task", namespace=template["namespace"], name=task_id
        )
        if not template["template_paused"]:
            await set_tasks_paused(tx, [task_id], paused=False)
    return admitted


async def _lock_open_places(tx: Session, key: LimitKey) -> Sequence[Row]:
    """Return the places of a key, locked: all that are occupied, and the first that wait."""
    await tx.fetch_all("lock_concurrency_key", **key._asdict())
    await tx.fetch_all("mark_ended_concurrency_places", **key._asdict(), limit=_PAGE)
    return await tx.fetch_all("list_concurrency_places", **key._asdict(), limit=_PAGE)


def _parse_limit_key(row: Row) -> LimitKey:
    return LimitKey(row["namespace"], row["key"])
