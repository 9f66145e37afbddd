"""Creating, reading and pruning tasks."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from tasker import codec
from tasker.errors import (
    NotFound,
    StoreError,
    TaskerError,
)
from tasker.model import (
    Attempt,
    AuditEntry,
    Claim,
    Created,
    NewTask,
    QueueId,
    Step,
    StepResult,
    Task,
    TaskFilter,
    TaskId,
    TaskInput,
    WorkerId,
)
from tasker.store import operator_rules, registry
from tasker.store.postgres.driver import READ, STATEMENTS, Driver, driver_errors
from tasker.store.rows import state_filter
from tasker.teams import rules


class Tasks(Driver):
    """Creating, reading and pruning tasks."""

    async def create_tasks(
        self,
        tasks: Sequence[NewTask],
        *,
        worker: WorkerId | None = None,
        queues: Collection[QueueId] = (),
        claim_up_to: int = 0,
        connection: Any = None,  # an asyncpg connection, which the protocol cannot name
    ) -> Created:
        if not tasks:
            return Created([], [])
        arguments = _creation(tasks)
        arguments.update(worker=worker, queues=list(queues), claim_up_to=claim_up_to)
        try:
            if connection is None:
                rows = await self._at_once("create_tasks", **arguments)
            else:
                rows = await self._create_within(connection, arguments)
        except asyncpg.PostgresError as error:
            raise await self._refusal_of_creation(error) from None
        taken = {row[1]: row[3] for row in rows if row[0] == 0}
        return Created(
            [(TaskId(taken.get(task.id, task.id)), task.id not in taken) for task in tasks],
            [Claim(TaskId(row[1]), row[2], 1, 1) for row in rows if row[0] == 2],
        )

    async def _create_within(self, connection: Any, arguments: Mapping[str, Any]) -> list[Any]:
        """Create tasks in the transaction of a caller, whose session may look elsewhere."""
        text, names = STATEMENTS["create_tasks"]
        text = text.replace("from create_tasks", f'from "{self.address.schema}".create_tasks')
        with driver_errors(self.url):
            rows: list[Any] = await connection.fetch(text, *[arguments[name] for name in names])
            return rows

    async def _refusal_of_creation(self, error: asyncpg.PostgresError) -> TaskerError:
        if error.sqlstate == "TK001":
            return registry.key_conflict(str(error))
        if error.sqlstate == "TK002":
            return NotFound("one of the tasks names a template id that is not registered")
        if error.sqlstate == "TK003":
            row = await self._one("template_status", id=int(str(error)))
            version = READ.template_version(row)
            policy = await self._one("policy", namespace=version.name.namespace)
            return rules.refusal(version, READ.policy(policy) if policy else None)
        return StoreError(str(error))

    async def load_tasks(self, ids: Sequence[TaskId]) -> list[TaskInput]:
        return [TaskInput(*row) for row in await self._all("load_tasks", ids=ids)]

    async def load_results(self, steps: Mapping[TaskId, Sequence[int]]) -> list[StepResult]:
        pairs = [(task_id, no) for task_id, nos in steps.items() for no in nos]
        rows = await self._all(
            "load_results",
            tasks=[task_id for task_id, _ in pairs],
            nos=[no for _, no in pairs],
        )
        return [StepResult(*row) for row in rows]

    async def get_task(self, task_id: TaskId) -> Task:
        row = await self._one("get_task", task_id=operator_rules.canonical(task_id))
        if row is None:
            raise operator_rules.unknown_task(task_id)
        return READ.task(row)

    async def find_task(self, namespace: str, idempotency_key: str) -> Task | None:
        row = await self._one("find_task", namespace=namespace, key=idempotency_key)
        return None if row is None else await self.get_task(row[0])

    async def list_tasks(
        self, filter: TaskFilter, *, after: TaskId | None = None, limit: int = 25
    ) -> list[Task]:
        templates: list[int] | None = None
        if filter.namespace or filter.name or filter.version or filter.visible is not None:
            found = await self._all(
                "template_ids",
                namespace=filter.namespace,
                name=filter.name,
                version=filter.version,
                visible=None if filter.visible is None else sorted(filter.visible),
            )
            templates = [row[0] for row in found]
        state, started = state_filter(filter.status)
        rows = await self._all(
            "list_tasks",
            templates=templates,
            state=state,
            started=started,
            correlation_id=filter.correlation_id,
            parent_id=filter.parent_id and operator_rules.canonical(filter.parent_id),
            tag=filter.tag,
            created_by=filter.created_by,
            created_after=filter.created_after,
            created_before=filter.created_before,
            after=after and operator_rules.canonical(after),
            limit=limit,
        )
        return [READ.task(row) for row in rows]

    async def list_steps(
        self, task_id: TaskId, *, after: int = 0, limit: int | None = None
    ) -> list[Step]:
        rows = await self._all(
            "list_steps", task_id=operator_rules.canonical(task_id), after=after, limit=limit
        )
        if not rows and after == 0:
            await self.get_task(task_id)
        return [READ.step(row) for row in rows]

    async def history(
        self, task_id: TaskId, *, no: int | None = None, limit: int = 1000
    ) -> list[Attempt]:
        rows = await self._all(
            "history", task_id=operator_rules.canonical(task_id), no=no, limit=limit
        )
        if not rows:
            await self.get_task(task_id)
        return [READ.attempt(row) for row in rows]

    async def audit(self, task_id: TaskId) -> list[AuditEntry]:
        rows = await self._all("audit", task_id=operator_rules.canonical(task_id))
        if not rows:
            await self.get_task(task_id)
        return [READ.audit(row) for row in rows]

    async def prune(self, *, ended_before: datetime, limit: int = 1000) -> int:
        await self._all("prune_worker", ended_before=ended_before)
        row = await self._one("prune", ended_before=ended_before, limit=limit)
        return 0 if row is None else int(row[0])

    async def prunable(self, *, ended_before: datetime) -> int:
        row = await self._one("prunable", ended_before=ended_before)
        return 0 if row is None else int(row[0])


def _creation(tasks: Sequence[NewTask]) -> dict[str, Any]:
    """Columns for create_tasks.sql."""
    keyed = any(task.idempotency_key for task in tasks)
    return {
        "ids": [task.id for task in tasks],
        "templates": [task.template_id for task in tasks],
        "contexts": [task.context for task in tasks],
        "correlations": [task.correlation_id for task in tasks],
        "parents": [task.parent_id for task in tasks],
        "keys": [task.idempotency_key for task in tasks] if keyed else None,
        "digests": [registry.submission_digest(task) for task in tasks] if keyed else None,
        "actors": [task.created_by for task in tasks],
        "reasons": [task.reason for task in tasks],
        "tags": [codec.dumps(task.tags) if task.tags else None for task in tasks],
        "traces": [task.trace for task in tasks],
        "run_ats": [task.run_at for task in tasks],
        "priorities": [task.priority for task in tasks],
        "deadlines": [task.deadline.total_seconds() if task.deadline else None for task in tasks],
    }
