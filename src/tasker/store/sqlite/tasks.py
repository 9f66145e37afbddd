"""Creating and pruning tasks."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast

from tasker.errors import Misuse, TaskExists
from tasker.model import (
    Claim,
    CreateTasksResult,
    ExistingTaskAction,
    NewTask,
    TaskId,
    WorkerId,
)
from tasker.store import operator_rules, registry
from tasker.store.creations import CreationBatcher, CreationRequest
from tasker.store.operations.creation import (
    free_idempotency_keys_and_cancel_holders,
    has_lost_idempotency_keys,
)
from tasker.store.operations.limits import Limits
from tasker.store.operations.places import take_concurrency_places
from tasker.store.operations.templates import creation_rejected_error
from tasker.store.ownership import OF_TASK
from tasker.store.session import Session
from tasker.store.sqlite.driver import Driver
from tasker.store.sqlite.session import SqliteSession, run_synchronously
from tasker.store.sqlite.statements import execute, fetch, json_text, to_epoch_seconds


class Tasks(Limits, Driver):
    """Creating and pruning tasks."""

    async def create_tasks(
        self,
        tasks: Sequence[NewTask],
        *,
        worker: WorkerId | None = None,
        claim_up_to: int = 0,
        connection: object = None,
    ) -> CreateTasksResult:
        if connection is not None:
            raise Misuse("a SQLite store cannot take part in a caller's transaction")
        if not tasks:
            return CreateTasksResult([], [])
        tasks = await self._attach_gates(tasks)
        creation = CreationRequest(tasks, worker, claim_up_to)
        if any(task.place for task in tasks):
            return await self._create_in_own_transaction(CreationRequest(tasks, worker, 0))
        if any(task.if_exists is ExistingTaskAction.REPLACE for task in tasks):
            return await self._create_in_own_transaction(creation)
        return await self._creation_batcher.create_tasks(creation)

    @cached_property
    def _creation_batcher(self) -> CreationBatcher:
        return CreationBatcher(self._create_in_own_transaction)

    async def _create_in_own_transaction(
        self, creation: CreationRequest, _impatient: bool = False
    ) -> CreateTasksResult:
        """Create tasks in a transaction of their own; nothing in it waits for others."""
        rows = [_creation_row(task) for task in creation.tasks]
        notifications = {"wake_workers"}  # there may be roots that were not claimed
        ended: list[TaskId] = []  # those that the new ones replace

        def store_and_collect_notifications(on: sqlite3.Connection) -> CreateTasksResult:
            session = SqliteSession(on, self._clock.now())
            created = _store_tasks(session, creation, rows)
            notifications.update(session.notifications)
            ended.extend(session.ended)
            return created

        created = await self._in_shared_transaction(store_and_collect_notifications)
        self._notify_waiters(notifications)
        await self._try_admit_tasks_to_freed_places(ended)
        return created

    async def _create_tasks_in_transaction(
        self, tx: Session, tasks: Sequence[NewTask]
    ) -> CreateTasksResult:
        session = cast(SqliteSession, tx)
        tasks = await self._attach_gates(tasks, tx)
        session.notifications.add("wake_workers")
        rows = [_creation_row(task) for task in tasks]
        return _store_tasks(session, CreationRequest(tasks, None, 0), rows)

    async def prune_tasks(self, *, ended_before: datetime | None = None, limit: int = 1000) -> int:
        before, now = to_epoch_seconds(ended_before), self._now()

        def delete_ended_tasks(on: sqlite3.Connection) -> int:
            rows = fetch(on, "tasks_to_prune", ended_before=before, limit=limit, now=now)
            ids = [row[0] for row in rows]
            for table in OF_TASK:
                execute(on, f"delete_{table}_rows_of_tasks", ids=json_text(ids))
            execute(on, "prune_limit_gates_of_maps", ids=json_text(ids))
            execute(on, "prune_limit_gates", now=now)
            execute(on, "prune_workers", ended_before=before, now=now)
            return len(ids)

        return await self._in_shared_transaction(delete_ended_tasks)


def _store_tasks(
    session: SqliteSession, creation: CreationRequest, rows: list[tuple[Any, ...]]
) -> CreateTasksResult:
    """Create tasks in a transaction."""
    tasks, worker, claim_up_to = creation
    on, now = session.connection, session.now.timestamp()
    replacing = any(task.if_exists is ExistingTaskAction.REPLACE for task in tasks)
    if replacing:
        run_synchronously(free_idempotency_keys_and_cancel_holders(session, tasks))
    taken = _take_idempotency_keys(on, rows) if any(task.idempotency_key for task in tasks) else {}
    new = json_text([row for row in rows if row[0] not in taken])
    made = execute(on, "create_tasks", now=now, tasks=new).rowcount
    if made < len(rows) - len(taken):
        templates = {row[1] for row in rows if row[0] not in taken}
        raise run_synchronously(creation_rejected_error(session, templates))
    children = any(task.parent_id for task in tasks)
    if children and (unknown := fetch(on, "unknown_parent_tasks", tasks=new)):
        raise operator_rules.unknown_task_error(unknown[0][0])
    execute(on, "create_steps", now=now, tasks=new)
    if any(task.gates for task in tasks):
        execute(on, "create_step_gates", tasks=new)
        execute(on, "create_instance_gates", tasks=new)
    if any(task.attributes for task in tasks):
        execute(on, "create_task_attributes", tasks=new)
    claims = []
    if worker is not None and claim_up_to > 0:
        claimed = fetch(
            on,
            "claim_roots_of_new_tasks",
            worker=worker,
            claim_up_to=claim_up_to,
            now=now,
            tasks=new,
        )
        claims = [Claim(row[0], row[1], 1, 1) for row in claimed]
    created = CreateTasksResult(
        [(TaskId(taken.get(row[0], row[0])), row[0] not in taken) for row in rows],
        claims,
        datetime.fromtimestamp(now, UTC),
    )
    if replacing:
        has_lost_idempotency_keys(tasks, created)
    if any(task.place for task in tasks):
        run_synchronously(take_concurrency_places(session, tasks, created))
    return created


def _take_idempotency_keys(on: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> dict[str, str]:
    """Take the keys of new tasks; return the holders of taken ones, by the id of the new task."""
    tasks = json_text(rows)
    execute(on, "take_idempotency_keys", tasks=tasks)
    taken = {}
    for task_id, holder, key, same, if_exists in fetch(
        on, "holders_of_taken_idempotency_keys", tasks=tasks
    ):
        if if_exists == ExistingTaskAction.REJECT:
            raise TaskExists(key, holder)
        if not same and if_exists == ExistingTaskAction.RETURN:
            raise registry.idempotency_conflict_error(key, holder)
        taken[task_id] = holder
    return taken


def _creation_row(task: NewTask) -> tuple[Any, ...]:
    """One row for create_tasks.sql."""
    return (
        task.id,
        task.template_id,
        task.context,
        task.correlation_id,
        task.parent_id,
        task.idempotency_key,
        registry.submission_digest(task.template_id, task.context)
        if task.idempotency_key
        else None,
        task.created_by,
        task.reason,
        json_text(list(task.tags)),
        task.trace,
        to_epoch_seconds(task.run_at),
        task.deadline.total_seconds() if task.deadline else None,
        task.priority,
        task.title,
        task.attributes,
        task.unique_while,
        task.if_exists,
        task.gates,
        True if task.attached else None,
    )
