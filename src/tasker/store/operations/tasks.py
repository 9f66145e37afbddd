"""Reading tasks, their steps and their history."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from tasker import codec
from tasker.model import (
    NO_QUEUE,
    Attempt,
    AuditEntry,
    CurrentStep,
    QueueId,
    Step,
    Task,
    TaskFilter,
    TaskId,
    TemplateName,
)
from tasker.store import operator_rules, unserved
from tasker.store.operations.limits import with_limit_reasons
from tasker.store.operations.templates import queues_after, template_ids
from tasker.store.rows import state_filter
from tasker.store.session import Session, Sessions

STEPS_AT_ONCE = 500  #: read by one statement, so that many steps do not hold the event loop


class Tasks(Sessions):
    """Reading tasks, their steps and their history."""

    async def get_task(self, task_id: TaskId) -> Task:
        return await self._read(lambda tx: read_task(tx, operator_rules.canonical_task_id(task_id)))

    async def ended_tasks(self, ids: Collection[TaskId]) -> set[TaskId]:
        rows = await self._all("ended_tasks", ids=list(ids))
        return {TaskId(row["id"]) for row in rows}

    async def roots_without_worker(self, name: TemplateName) -> int:
        row = await self._one("roots_without_worker", **name._asdict())
        return int(row["roots"]) if row else 0

    async def find_task(self, namespace: str, idempotency_key: str) -> Task | None:
        async def find(tx: Session) -> Task | None:
            row = await tx.one("find_task", namespace=namespace, key=idempotency_key)
            return None if row is None else await read_task(tx, row["task_id"])

        return await self._read(find)

    async def list_tasks(
        self, filter: TaskFilter, *, after: TaskId | None = None, limit: int = 25
    ) -> list[Task]:
        state, started = state_filter(filter.status)

        async def find(tx: Session) -> list[Task]:
            name, others = await _rarest_attribute(tx, filter.attributes)
            rows = await tx.all(
                "list_tasks",
                templates=await _template_ids(tx, filter),
                state=state,
                started=started,
                correlation_id=filter.correlation_id,
                parent_id=filter.parent_id and operator_rules.canonical_task_id(filter.parent_id),
                schedule_id=filter.schedule_id,
                tag=filter.tag,
                created_by=filter.created_by,
                idempotency_key=filter.idempotency_key,
                failed_step=filter.failed_step,
                error_code=filter.error_code,
                attribute_name=name,
                attribute_value=filter.attributes.get(name or ""),
                attributes=codec.dumps(others) if others else None,
                created_after=filter.created_after,
                created_before=filter.created_before,
                after=after and operator_rules.canonical_task_id(after),
                limit=limit,
            )
            return [tx.read.task(row) for row in rows]

        return await self._read(find)

    async def current_steps(self, ids: Collection[TaskId]) -> dict[TaskId, CurrentStep]:
        async def find(tx: Session) -> dict[TaskId, CurrentStep]:
            rows = await tx.all("current_steps", ids=list(ids))
            return {TaskId(row["task_id"]): tx.read.current_step(row) for row in rows}

        return await self._read(find) if ids else {}

    async def list_steps(
        self, task_id: TaskId, *, after: int = 0, limit: int | None = None
    ) -> list[Step]:
        task_id = operator_rules.canonical_task_id(task_id)

        async def read(tx: Session) -> list[Step]:
            steps: list[Step] = []
            queues: dict[int, int] = {}
            limited: list[int] = []
            while True:
                begin = steps[-1].no if steps else after
                most = STEPS_AT_ONCE if limit is None else min(STEPS_AT_ONCE, limit - len(steps))
                rows = await tx.all("list_steps", task_id=task_id, after=begin, limit=most)
                steps += [tx.read.step(row) for row in rows]
                queues.update((row["no"], row["queue_id"]) for row in rows if row["no_worker"])
                limited += (row["no"] for row in rows if row["gate_id"] and not row["no_worker"])
                if len(rows) < STEPS_AT_ONCE or len(steps) == limit:
                    break
            if not steps and after == 0:
                await read_task(tx, task_id)
            if limited:
                steps = await with_limit_reasons(tx, task_id, steps, limited)
            return await _with_reasons(tx, steps, queues) if queues else steps

        return await self._read(read)

    async def history(
        self, task_id: TaskId, *, no: int | None = None, limit: int = 1000
    ) -> list[Attempt]:
        task_id = operator_rules.canonical_task_id(task_id)

        async def read(tx: Session) -> list[Attempt]:
            rows = await tx.all("history", task_id=task_id, no=no, limit=limit)
            if not rows:
                await read_task(tx, task_id)
            return [tx.read.attempt(row) for row in rows]

        return await self._read(read)

    async def audit(self, task_id: TaskId) -> list[AuditEntry]:
        task_id = operator_rules.canonical_task_id(task_id)

        async def read(tx: Session) -> list[AuditEntry]:
            rows = await tx.all("audit", task_id=task_id)
            if not rows:
                await read_task(tx, task_id)
            return [tx.read.audit(row) for row in rows]

        return await self._read(read)

    async def prunable(self, *, ended_before: datetime | None = None) -> int:
        rows = await self._all("prunable", ended_before=ended_before)
        return int(rows[0]["tasks"])


async def read_task(tx: Session, task_id: TaskId) -> Task:
    """Read a task with its result or failure. Raises NotFound."""
    row = await tx.one("get_task", task_id=task_id)
    if row is None:
        raise operator_rules.unknown_task_error(task_id)
    task = tx.read.task(row)
    if not (task.ended or task.counts.error):
        return task
    return tx.read.outcome(task, await tx.all("task_outcome", task_id=task_id))


async def _rarest_attribute(
    tx: Session, attributes: Mapping[str, str]
) -> tuple[str | None, Mapping[str, str]]:
    """Return the most selective attribute, by which tasks are looked up, and the others."""
    name = next(iter(attributes), None)
    if len(attributes) > 1:
        row = await tx.one("rarest_attribute", attributes=codec.dumps(attributes))
        name = row["name"] if row else None
    return name, {other: value for other, value in attributes.items() if other != name}


async def _with_reasons(
    tx: Session, steps: Sequence[Step], queues: Mapping[int, int]
) -> list[Step]:
    """Return steps, with the reason why no live worker can run those in one of the queues."""
    by_id = {no: queue for queue in await queues_after(tx, NO_QUEUE) for no in queue.ids}
    workers = [tx.read.worker(row) for row in await tx.all("list_workers")]
    reasons = {no: unserved.reason(by_id[QueueId(no)], workers) for no in set(queues.values())}
    return [
        replace(step, no_worker_reason=reasons[queues[step.no]]) if step.no in queues else step
        for step in steps
    ]


async def _template_ids(tx: Session, filter: TaskFilter) -> list[int] | None:
    """List the ids of the templates that a filter selects, or return None for all."""
    if not (filter.namespace or filter.name or filter.version) and filter.visible is None:
        return None
    return await template_ids(
        tx, filter.namespace, filter.name, filter.version, visible=filter.visible
    )
