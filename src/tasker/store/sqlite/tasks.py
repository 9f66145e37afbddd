"""Creating, reading and pruning tasks."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from tasker.errors import Misuse, NotFound, TaskerError
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
    TemplateId,
    WorkerId,
)
from tasker.store import operator_rules, registry
from tasker.store.ownership import OF_TASK
from tasker.store.rows import state_filter
from tasker.store.sqlite.driver import (
    READ,
    Driver,
    execute,
    fetch,
    fetch_one,
    json_text,
    listing,
    seconds,
)
from tasker.store.sqlite.teams import policy_of
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
        connection: object = None,
    ) -> Created:
        if connection is not None:
            raise Misuse("a SQLite store cannot take part in a caller's transaction")
        if not tasks:
            return Created([], [])
        rows = [_creation(task) for task in tasks]
        keyed = any(task.idempotency_key for task in tasks)

        def create(on: sqlite3.Connection) -> Created:
            now = self._now()
            taken = _take_keys(on, rows) if keyed else {}
            new = json_text([row for row in rows if row[0] not in taken])
            made = execute(on, "create_tasks", now=now, tasks=new).rowcount
            if made < len(rows) - len(taken):
                raise _refusal_of_creation(on, {row[1] for row in rows if row[0] not in taken})
            execute(on, "create_steps", now=now, tasks=new)
            claims = []
            if worker is not None and claim_up_to > 0:
                found = fetch(
                    on,
                    "claim_roots",
                    worker=worker,
                    queues=json_text(list(queues)),
                    claim_up_to=claim_up_to,
                    now=now,
                    tasks=new,
                )
                claims = [Claim(row[0], row[1], 1, 1) for row in found]
            return Created(
                [(TaskId(taken.get(row[0], row[0])), row[0] not in taken) for row in rows], claims
            )

        created = await self._write(create)
        if not created.claims or len(created.claims) == claim_up_to:
            self._work.set()  # there may be roots that nobody has
        return created

    async def load_tasks(self, ids: Sequence[TaskId]) -> list[TaskInput]:
        return [TaskInput(*row) for row in await self._all("load_tasks", ids=json_text(ids))]

    async def load_results(self, steps: Mapping[TaskId, Sequence[int]]) -> list[StepResult]:
        pairs = [(task_id, no) for task_id, nos in steps.items() for no in nos]
        return [StepResult(*row) for row in await self._all("load_results", steps=json_text(pairs))]

    async def get_task(self, task_id: TaskId) -> Task:
        row = await self._first(
            "get_task", task_id=operator_rules.canonical(task_id), now=self._now()
        )
        if row is None:
            raise operator_rules.unknown_task(task_id)
        return READ.task(row)

    async def find_task(self, namespace: str, idempotency_key: str) -> Task | None:
        row = await self._first("find_task", namespace=namespace, key=idempotency_key)
        return None if row is None else await self.get_task(row[0])

    async def list_tasks(
        self, filter: TaskFilter, *, after: TaskId | None = None, limit: int = 25
    ) -> list[Task]:
        state, started = state_filter(filter.status)
        visible = None if filter.visible is None else json_text(sorted(filter.visible))
        named = bool(filter.namespace or filter.name or filter.version or visible)

        def find(on: sqlite3.Connection) -> list[Any]:
            templates = fetch(
                on,
                "template_ids",
                namespace=filter.namespace,
                name=filter.name,
                version=filter.version,
                visible=visible,
            )
            conditions = {
                "templates": json_text([row[0] for row in templates]) if named else None,
                "state": state,
                "started": started,
                "correlation_id": filter.correlation_id,
                "parent_id": filter.parent_id and operator_rules.canonical(filter.parent_id),
                "tag": filter.tag,
                "created_by": filter.created_by,
                "created_after": seconds(filter.created_after),
                "created_before": seconds(filter.created_before),
                "after": after and operator_rules.canonical(after),
            }
            given = {name: value for name, value in conditions.items() if value is not None}
            text = listing("list_tasks", frozenset(given))
            return on.execute(text, {**given, "limit": limit, "now": self._now()}).fetchall()

        return [READ.task(row) for row in await self._read(find)]

    async def list_steps(
        self, task_id: TaskId, *, after: int = 0, limit: int | None = None
    ) -> list[Step]:
        most = -1 if limit is None else limit
        rows = await self._all(
            "list_steps", task_id=operator_rules.canonical(task_id), after=after, limit=most
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
        def prune(on: sqlite3.Connection) -> int:
            before = ended_before.timestamp()
            ids = [row[0] for row in fetch(on, "prune", ended_before=before, limit=limit)]
            for table in OF_TASK:
                execute(on, f"prune_{table}", ids=json_text(ids))
            execute(on, "prune_worker", ended_before=before, now=self._now())
            return len(ids)

        return await self._write(prune)

    async def prunable(self, *, ended_before: datetime) -> int:
        row = await self._first("prunable", ended_before=ended_before.timestamp())
        return int(row[0])


def _refusal_of_creation(on: sqlite3.Connection, templates: set[TemplateId]) -> TaskerError:
    """Tell what is wrong with one of the templates."""
    for template_id in sorted(templates):
        row = fetch_one(on, "template_status", id=template_id)
        if row is None:
            break
        version = READ.template_version(row)
        if version.status is not rules.APPROVED:
            return rules.refusal(version, policy_of(on, version.name.namespace))
    return NotFound("one of the tasks names a template id that is not registered")


def _take_keys(on: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> dict[str, str]:
    """Take the keys of new tasks; tell the holders of those that are taken, by new id."""
    tasks = json_text(rows)
    execute(on, "create_keys", tasks=tasks)
    taken = {}
    for task_id, holder, key, same in fetch(on, "taken_keys", tasks=tasks):
        if not same:
            raise registry.key_conflict(key)
        taken[task_id] = holder
    return taken


def _creation(task: NewTask) -> tuple[Any, ...]:
    """One row for create_tasks.sql."""
    return (
        task.id,
        task.template_id,
        task.context,
        task.correlation_id,
        task.parent_id,
        task.idempotency_key,
        registry.submission_digest(task) if task.idempotency_key else None,
        task.created_by,
        task.reason,
        json_text(list(task.tags)),
        task.trace,
        seconds(task.run_at),
        task.deadline.total_seconds() if task.deadline else None,
        task.priority,
    )
