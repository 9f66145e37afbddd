"""Creating and pruning tasks."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any

import asyncpg

from tasker import codec
from tasker.errors import (
    Misuse,
    Rejected,
    StoreError,
    StoreUnavailable,
    TaskerError,
    TaskExists,
)
from tasker.model import (
    Claim,
    CreateTasksResult,
    ExistingTaskAction,
    NewTask,
    TaskId,
    WorkerId,
)
from tasker.store import operator_rules, registry
from tasker.store.creations import CreationBatcher, CreationBlocked, CreationRequest
from tasker.store.operations.creation import (
    free_idempotency_keys_and_cancel_holders,
    has_lost_idempotency_keys,
)
from tasker.store.operations.limits import Limits
from tasker.store.operations.places import take_concurrency_places
from tasker.store.operations.templates import creation_rejected_error
from tasker.store.postgres.driver import Driver, translate_driver_errors
from tasker.store.postgres.session import STATEMENTS
from tasker.store.session import Session


class _LostIdempotencyKeys(Exception):
    """Another transaction took a key of this one, which is rolled back."""


class Tasks(Limits, Driver):
    """Creating and pruning tasks."""

    async def create_tasks(
        self,
        tasks: Sequence[NewTask],
        *,
        worker: WorkerId | None = None,
        claim_up_to: int = 0,
        connection: Any = None,  # an asyncpg connection; the protocol must not depend on its type
    ) -> CreateTasksResult:
        if not tasks:
            return CreateTasksResult([], [])
        tasks = await self._attach_gates(tasks)
        placed = any(task.place for task in tasks)
        apart = placed or any(task.if_exists is ExistingTaskAction.REPLACE for task in tasks)
        if apart and connection is not None:
            raise Misuse(
                "cannot create the task in the caller's transaction: it has if_exists='replace',"
                " or its template limits open tasks (`concurrency`)"
            )
        if connection is None and not apart:
            return await self._creation_batcher.create_tasks(
                CreationRequest(tasks, worker, claim_up_to)
            )
        arguments = _batch_creation_parameters(
            CreationRequest(tasks, worker, 0 if placed else claim_up_to)
        )
        try:
            if apart:
                return await self._create_replacing_or_placed_tasks(tasks, arguments)
            rows = await self._create_in_callers_transaction(connection, arguments)
        except asyncpg.PostgresError as error:
            raise await self._creation_rejected_error(error, tasks) from None
        return _parse_creation_result(tasks, rows)

    @cached_property
    def _creation_batcher(self) -> CreationBatcher:
        return CreationBatcher(self._create_in_own_transaction, at_once=2)

    async def _create_in_own_transaction(
        self, creation: CreationRequest, impatient: bool
    ) -> CreateTasksResult:
        """Create tasks in a transaction of their own."""
        lock_timeout = "50ms" if impatient else None
        try:
            rows = await self._create_single_task(creation, lock_timeout)
            if not rows:
                arguments = _batch_creation_parameters(creation) | {"lock_timeout": lock_timeout}
                rows = await self._fetch_dedicated("create_tasks", **arguments)
        except asyncpg.PostgresError as error:
            raise await self._creation_rejected_error(error, creation.tasks) from None
        except StoreUnavailable as error:
            if impatient and isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise CreationBlocked(str(error)) from None
            raise
        return _parse_creation_result(creation.tasks, rows)

    async def _create_single_task(
        self, creation: CreationRequest, lock_timeout: str | None
    ) -> list[Any]:
        """Create a single task; return no rows if `create_tasks` must do it."""
        if not self.SCALAR or len(creation.tasks) != 1:
            return []
        task = creation.tasks[0]
        if task.gates or task.attached:
            return []
        arguments = _creation_parameters(creation, _task_column_values(task))
        return await self._fetch_dedicated(
            "create_single_task", **arguments | {"lock_timeout": lock_timeout}
        )

    async def _create_replacing_or_placed_tasks(
        self, tasks: Sequence[NewTask], arguments: Mapping[str, Any]
    ) -> CreateTasksResult:
        """Create tasks in one transaction if some of them replace others or wait for their end."""

        async def free_keys_and_create(tx: Session) -> CreateTasksResult:
            await free_idempotency_keys_and_cancel_holders(tx, tasks)
            created = _parse_creation_result(tasks, await tx.fetch_all("create_tasks", **arguments))
            if has_lost_idempotency_keys(tasks, created):
                raise _LostIdempotencyKeys
            await take_concurrency_places(tx, tasks, created)
            return created

        while True:
            with suppress(_LostIdempotencyKeys):
                return await self._in_yielding_transaction(free_keys_and_create)

    async def _create_in_callers_transaction(
        self, connection: Any, arguments: Mapping[str, Any]
    ) -> list[Any]:
        """Create tasks in the transaction of a caller, whose session may look elsewhere."""
        text, names = STATEMENTS["create_tasks"]
        text = text.replace("from create_tasks", f'from "{self.address.schema}".create_tasks')
        with translate_driver_errors(self.url):
            rows: list[Any] = await connection.fetch(text, *[arguments[name] for name in names])
            return rows

    async def _create_tasks_in_transaction(
        self, tx: Session, tasks: Sequence[NewTask]
    ) -> CreateTasksResult:
        try:
            tasks = await self._attach_gates(tasks, tx)
            rows = await tx.fetch_all(
                "create_tasks", **_batch_creation_parameters(CreationRequest(tasks, None, 0))
            )
        except asyncpg.PostgresError as error:
            if error.sqlstate == "TK001":
                holder, _, key = str(error).partition(" ")
                raise registry.idempotency_conflict_error(key, holder) from None
            if error.sqlstate in ("TK002", "TK003"):
                raise Rejected("one of the templates accepts no new tasks") from None
            raise
        created = _parse_creation_result(tasks, rows)
        await take_concurrency_places(tx, tasks, created)
        return created

    async def _creation_rejected_error(
        self, error: asyncpg.PostgresError, tasks: Sequence[NewTask]
    ) -> TaskerError:
        if error.sqlstate in ("TK001", "TK005"):
            holder, _, key = str(error).partition(" ")
            return (
                registry.idempotency_conflict_error(key, holder)
                if error.sqlstate == "TK001"
                else TaskExists(key, holder)
            )
        if error.sqlstate == "TK004":
            return operator_rules.unknown_task_error(TaskId(str(error)))
        if error.sqlstate not in ("TK002", "TK003"):
            return StoreError(str(error))
        templates = {task.template_id for task in tasks}
        return await self._in_read_transaction(lambda tx: creation_rejected_error(tx, templates))

    async def prune_tasks(self, *, ended_before: datetime | None = None, limit: int = 1000) -> int:
        await self._execute_in_transaction("prune_workers", ended_before=ended_before)
        await self._execute_in_transaction("prune_limit_gates")
        (row,) = await self._execute_in_transaction(
            "prune_tasks", ended_before=ended_before, limit=limit
        )
        return int(row["tasks"])


def _parse_creation_result(tasks: Sequence[NewTask], rows: Sequence[Any]) -> CreateTasksResult:
    taken = {row[1]: row[3] for row in rows if row[0] == 0}
    return CreateTasksResult(
        [(TaskId(taken.get(task.id, task.id)), task.id not in taken) for task in tasks],
        [Claim(TaskId(row[1]), row[2], 1, 1) for row in rows if row[0] == 2],
        rows[0][4],
    )


def _task_column_values(task: NewTask) -> tuple[object, ...]:
    """Return the values of `_COLUMNS`."""
    key = task.idempotency_key
    return (
        task.id,
        task.template_id,
        task.context,
        task.correlation_id,
        task.parent_id,
        key,
        registry.submission_digest(task.template_id, task.context) if key else None,
        task.unique_while if key else None,
        task.if_exists if key else None,
        task.created_by,
        task.reason,
        codec.dumps(task.tags) if task.tags else None,
        task.trace,
        task.run_at,
        task.deadline.total_seconds() if task.deadline else None,
        task.priority,
        task.title,
        codec.dumps(task.attributes) if task.attributes else None,
        codec.dump_rows(task.gates) if task.gates else None,
        True if task.attached else None,
    )


_COLUMNS = (
    "id",
    "template",
    "context",
    "correlation",
    "parent",
    "key",
    "digest",
    "unique_while",
    "if_exists",
    "actor",
    "reason",
    "tags",
    "trace",
    "run_at",
    "deadline",
    "priority",
    "title",
    "attributes",
    "gates",
    "attached",
)
"""Parameters of create_tasks.sql and create_single_task.sql that describe tasks."""


def _creation_parameters(
    creation: CreationRequest, described: Iterable[object]
) -> dict[str, object]:
    """Return all parameters of create_tasks.sql or create_single_task.sql."""
    return {
        **dict(zip(_COLUMNS, described, strict=True)),
        "worker": creation.worker,
        "claim_up_to": creation.claim_up_to,
        "lock_timeout": None,
    }


def _batch_creation_parameters(creation: CreationRequest) -> dict[str, object]:
    """Return the parameters of create_tasks.sql; of what no task has there is no list."""
    columns = zip(*map(_task_column_values, creation.tasks), strict=True)
    return _creation_parameters(
        creation, (None if column.count(None) == len(column) else column for column in columns)
    )
