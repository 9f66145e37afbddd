"""Creating and pruning tasks."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any

import asyncpg

from tasker import codec
from tasker.errors import Misuse, StoreError, StoreUnavailable, TaskerError, TaskExists
from tasker.model import (
    Claim,
    Created,
    IfExists,
    NewTask,
    QueueId,
    TaskId,
    WorkerId,
)
from tasker.store import operator_rules, registry
from tasker.store.creations import Busy, Creation, Creations
from tasker.store.operations.creation import free_keys, lost_keys
from tasker.store.operations.templates import refusal_of_creation
from tasker.store.postgres.driver import Driver, driver_errors
from tasker.store.postgres.session import STATEMENTS
from tasker.store.session import Session


class _KeysLost(Exception):
    """Another transaction took a key of this one, which is rolled back."""


class Tasks(Driver):
    """Creating and pruning tasks."""

    async def create_tasks(
        self,
        tasks: Sequence[NewTask],
        *,
        worker: WorkerId | None = None,
        queues: Collection[QueueId] = (),
        claim_up_to: int = 0,
        connection: Any = None,  # an asyncpg connection; the protocol must not depend on its type
    ) -> Created:
        if not tasks:
            return Created([], [])
        replacing = any(task.if_exists is IfExists.REPLACE for task in tasks)
        if replacing and connection is not None:
            raise Misuse("a creation with if_exists='replace' cannot join another transaction")
        if connection is None and not replacing:
            return await self._creations.add(Creation(tasks, worker, queues, claim_up_to))
        arguments = _creation_columns(tasks, worker, queues, claim_up_to)
        try:
            if replacing:
                return await self._replacing(tasks, arguments)
            rows = await self._create_within(connection, arguments)
        except asyncpg.PostgresError as error:
            raise await self._refusal_of_creation(error, tasks) from None
        return _created(tasks, rows)

    @cached_property
    def _creations(self) -> Creations:
        return Creations(self._create)

    async def _create(self, creation: Creation, impatient: bool) -> Created:
        """Create tasks in a transaction of their own."""
        arguments = _creation_columns(*creation)
        arguments["lock_timeout"] = "50ms" if impatient else None
        try:
            rows = await self._at_once("create_tasks", **arguments)
        except asyncpg.PostgresError as error:
            raise await self._refusal_of_creation(error, creation.tasks) from None
        except StoreUnavailable as error:
            if impatient and isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise Busy(str(error)) from None
            raise
        return _created(creation.tasks, rows)

    async def _replacing(self, tasks: Sequence[NewTask], arguments: Mapping[str, Any]) -> Created:
        """Create tasks in one transaction; some replace the holders of their keys."""

        async def create(tx: Session) -> Created:
            await free_keys(tx, tasks)
            created = _created(tasks, await tx.all("create_tasks", **arguments))
            if lost_keys(tasks, created):
                raise _KeysLost
            return created

        while True:
            with suppress(_KeysLost):
                return await self._in_yielding_transaction(create)

    async def _create_within(self, connection: Any, arguments: Mapping[str, Any]) -> list[Any]:
        """Create tasks in the transaction of a caller, whose session may look elsewhere."""
        text, names = STATEMENTS["create_tasks"]
        text = text.replace("from create_tasks", f'from "{self.address.schema}".create_tasks')
        with driver_errors(self.url):
            rows: list[Any] = await connection.fetch(text, *[arguments[name] for name in names])
            return rows

    async def _refusal_of_creation(
        self, error: asyncpg.PostgresError, tasks: Sequence[NewTask]
    ) -> TaskerError:
        if error.sqlstate in ("TK001", "TK005"):
            holder, _, key = str(error).partition(" ")
            return (
                registry.key_conflict(key, holder)
                if error.sqlstate == "TK001"
                else TaskExists(key, holder)
            )
        if error.sqlstate == "TK004":
            return operator_rules.unknown_task(TaskId(str(error)))
        if error.sqlstate not in ("TK002", "TK003"):
            return StoreError(str(error))
        templates = {task.template_id for task in tasks}
        return await self._read(lambda tx: refusal_of_creation(tx, templates))

    async def prune(self, *, ended_before: datetime | None = None, limit: int = 1000) -> int:
        await self._change("prune_worker", ended_before=ended_before)
        (row,) = await self._change("prune", ended_before=ended_before, limit=limit)
        return int(row["tasks"])


def _created(tasks: Sequence[NewTask], rows: Sequence[Any]) -> Created:
    taken = {row[1]: row[3] for row in rows if row[0] == 0}
    return Created(
        [(TaskId(taken.get(task.id, task.id)), task.id not in taken) for task in tasks],
        [Claim(TaskId(row[1]), row[2], 1, 1) for row in rows if row[0] == 2],
        rows[0][4],
    )


def _creation_columns(
    tasks: Sequence[NewTask],
    worker: WorkerId | None,
    queues: Collection[QueueId],
    claim_up_to: int,
) -> dict[str, Any]:
    """Columns for create_tasks.sql."""
    keyed = any(task.idempotency_key for task in tasks)
    children = any(task.parent_id for task in tasks)
    titled = any(task.title for task in tasks)
    attributes = any(task.attributes for task in tasks)
    return {
        "ids": [task.id for task in tasks],
        "templates": [task.template_id for task in tasks],
        "contexts": [task.context for task in tasks],
        "correlations": [task.correlation_id for task in tasks],
        "parents": [task.parent_id for task in tasks] if children else None,
        "keys": [task.idempotency_key for task in tasks] if keyed else None,
        "digests": [registry.submission_digest(task.template_id, task.context) for task in tasks]
        if keyed
        else None,
        "actors": [task.created_by for task in tasks],
        "reasons": [task.reason for task in tasks],
        "tags": [codec.dumps(task.tags) if task.tags else None for task in tasks],
        "traces": [task.trace for task in tasks],
        "run_ats": [task.run_at for task in tasks],
        "priorities": [task.priority for task in tasks],
        "titles": [task.title for task in tasks] if titled else None,
        "attributes": [codec.dumps(task.attributes) for task in tasks] if attributes else None,
        "unique_whiles": [task.unique_while for task in tasks] if keyed else None,
        "if_exists": [task.if_exists for task in tasks] if keyed else None,
        "deadlines": [task.deadline.total_seconds() if task.deadline else None for task in tasks],
        "worker": worker,
        "queues": list(queues),
        "claim_up_to": claim_up_to,
        "lock_timeout": None,
    }
