"""Reading tasks, their steps and their history."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tasker import codec, limits
from tasker.codec import lowest_task_id_at
from tasker.model import (
    NO_QUEUE,
    Attempt,
    AuditEntry,
    CurrentStep,
    QueueId,
    StatusCode,
    Step,
    Task,
    TaskFilter,
    TaskId,
    TaskStatus,
    TemplateName,
)
from tasker.store import operator_rules, unserved
from tasker.store.operations.limits import add_limit_reasons
from tasker.store.operations.templates import find_template_ids, list_queues_after
from tasker.store.rows import Row, compute_etag, stored_state_of_status
from tasker.store.session import Session, TransactionalStore

COUNTED_IN_LISTS = 1_000  #: steps that a list counts of each task
TAGGED_AMONG = 20_000  #: newest tasks that are searched for a tag before all that have it
STEPS_AT_ONCE = 500  #: read by one statement, so that many steps do not hold the event loop


class Tasks(TransactionalStore):
    """Reading tasks, their steps and their history."""

    async def get_task(self, task_id: TaskId) -> Task:
        return await self._in_read_by_id(
            lambda tx: read_task(tx, operator_rules.canonical_task_id(task_id))
        )

    async def get_task_etags(self, ids: Collection[TaskId]) -> dict[TaskId, str]:
        async def compute_etags(tx: Session) -> dict[TaskId, str]:
            rows = await tx.fetch_all("get_task_etags", ids=list(ids), counted=limits.STEPS_PAGE)
            return {TaskId(row["id"]): compute_etag(row) for row in rows}

        return await self._in_read_transaction(compute_etags) if ids else {}

    async def find_ended_tasks(self, ids: Collection[TaskId]) -> set[TaskId]:
        rows = await self._in_read_by_id(lambda tx: tx.fetch_all("find_ended_tasks", ids=list(ids)))
        return {TaskId(row["id"]) for row in rows}

    async def count_unserved_root_steps(self, name: TemplateName) -> int:
        row = await self._fetch_one("count_unserved_root_steps", **name._asdict())
        return int(row["roots"]) if row else 0

    async def find_task_by_idempotency_key(
        self, namespace: str, idempotency_key: str
    ) -> Task | None:
        async def read_task_by_key(tx: Session) -> Task | None:
            row = await tx.fetch_one(
                "find_task_by_idempotency_key", namespace=namespace, key=idempotency_key
            )
            return None if row is None else await read_task(tx, row["task_id"])

        return await self._in_read_transaction(read_task_by_key)

    async def list_tasks(
        self, filter: TaskFilter, *, after: TaskId | None = None, limit: int = 25
    ) -> list[Task]:
        async def read_task_page(tx: Session) -> list[Task]:
            parameters = {
                **await task_filter_parameters(tx, filter),
                "after": after and operator_rules.canonical_task_id(after),
                "limit": limit,
                "counted": COUNTED_IN_LISTS,
            }
            if filter.tag is None:
                rows = await tx.fetch_all("list_tasks", **parameters)
            else:
                rows = await _list_tagged_tasks(tx, parameters)
            return [tx.read.parse_task(row) for row in rows]

        return await self._in_read_transaction(read_task_page)

    async def count_tasks(self, filter: TaskFilter, *, most: int) -> dict[TaskStatus, int]:
        async def count_tasks_by_status(tx: Session) -> dict[TaskStatus, int]:
            parameters = await task_filter_parameters(tx, filter)
            open_tasks = {
                **parameters,
                "state": int(StatusCode.OPEN),
                "started": None,
                "most": most,
            }
            (row,) = await tx.fetch_all("count_tasks_and_started_tasks", **open_tasks)
            counts = {
                TaskStatus.PENDING: row["tasks"] - row["started"],
                TaskStatus.IN_PROGRESS: row["started"],
            }
            for status in TaskStatus:
                if status in counts:
                    continue
                state, started = stored_state_of_status(status)
                of_status = {**parameters, "state": state, "started": started, "most": most}
                (row,) = await tx.fetch_all("count_tasks", **of_status)
                counts[status] = row["tasks"]
            return counts

        return await self._in_read_transaction(count_tasks_by_status)

    async def list_attached_tasks(self, parent_id: TaskId, *, limit: int) -> list[TaskId]:
        rows = await self._fetch_all("list_attached_tasks", parent_id=parent_id, limit=limit)
        return [TaskId(row["id"]) for row in rows]

    async def current_steps(self, ids: Collection[TaskId]) -> dict[TaskId, CurrentStep]:
        async def read_current_steps(tx: Session) -> dict[TaskId, CurrentStep]:
            rows = await tx.fetch_all("current_steps", ids=list(ids), counted=COUNTED_IN_LISTS)
            return {TaskId(row["task_id"]): tx.read.parse_current_step(row) for row in rows}

        return await self._in_read_transaction(read_current_steps) if ids else {}

    async def list_steps(
        self,
        task_id: TaskId,
        *,
        after: int = 0,
        limit: int | None = None,
        unfinished: bool = False,
    ) -> list[Step]:
        task_id = operator_rules.canonical_task_id(task_id)

        async def read_step_pages(tx: Session) -> list[Step]:
            steps: list[Step] = []
            queues: dict[int, int] = {}
            limited: list[int] = []
            while True:
                begin = steps[-1].no if steps else after
                most = STEPS_AT_ONCE if limit is None else min(STEPS_AT_ONCE, limit - len(steps))
                rows = await tx.fetch_all(
                    "list_steps",
                    task_id=task_id,
                    after=begin,
                    limit=most,
                    unfinished=unfinished or None,
                )
                steps += [tx.read.parse_step(row) for row in rows]
                queues.update((row["no"], row["queue_id"]) for row in rows if row["no_worker"])
                limited += (row["no"] for row in rows if row["gate_id"] and not row["no_worker"])
                if len(rows) < STEPS_AT_ONCE or len(steps) == limit:
                    break
            if not steps and after == 0:
                await read_task(tx, task_id)
            if limited:
                steps = await add_limit_reasons(tx, task_id, steps, limited)
            return await _add_unserved_reasons(tx, steps, queues) if queues else steps

        return await self._in_read_transaction(read_step_pages)

    async def list_attempts(
        self, task_id: TaskId, *, no: int | None = None, limit: int = 1000
    ) -> list[Attempt]:
        task_id = operator_rules.canonical_task_id(task_id)

        async def read_attempts(tx: Session) -> list[Attempt]:
            first, last = (0, limits.STEPS_PAGE) if no is None else (no, no)
            rows = await tx.fetch_all(
                "list_attempts", task_id=task_id, first=first, last=last, limit=limit
            )
            if not rows:
                await read_task(tx, task_id)
            return [tx.read.parse_attempt(row) for row in rows]

        return await self._in_read_transaction(read_attempts)

    async def list_audit_entries(self, task_id: TaskId) -> list[AuditEntry]:
        task_id = operator_rules.canonical_task_id(task_id)

        async def read_audit_entries(tx: Session) -> list[AuditEntry]:
            rows = await tx.fetch_all("list_audit_entries", task_id=task_id)
            if not rows:
                await read_task(tx, task_id)
            return [tx.read.parse_audit_entry(row) for row in rows]

        return await self._in_read_transaction(read_audit_entries)

    async def count_prunable_tasks(self, *, ended_before: datetime | None = None) -> int:
        rows = await self._fetch_all("count_prunable_tasks", ended_before=ended_before)
        return int(rows[0]["tasks"])


async def read_task(tx: Session, task_id: TaskId) -> Task:
    """Read a task with its result or failure. Raises NotFound."""
    row = await tx.fetch_one("get_task", task_id=task_id, counted=limits.STEPS_PAGE)
    if row is None:
        raise operator_rules.unknown_task_error(task_id)
    task = tx.read.parse_task(row)
    if not (task.has_ended or task.counts.error):
        return task
    rows = await tx.fetch_all(
        "list_outcome_steps_of_task", task_id=task_id, counted=limits.STEPS_PAGE
    )
    return tx.read.task_with_outcome(task, rows)


async def _split_off_rarest_attribute(
    tx: Session, attributes: Mapping[str, str]
) -> tuple[str | None, Mapping[str, str]]:
    """Return the most selective attribute, used to look up tasks, and the others."""
    name = next(iter(attributes), None)
    if len(attributes) > 1:
        row = await tx.fetch_one("rarest_attribute", attributes=codec.dumps(attributes))
        name = row["name"] if row else None
    return name, {other: value for other, value in attributes.items() if other != name}


async def _add_unserved_reasons(
    tx: Session, steps: Sequence[Step], queues: Mapping[int, int]
) -> list[Step]:
    """Return steps, with the reason why no live worker can run the ones in unserved queues."""
    by_id = {no: queue for queue in await list_queues_after(tx, NO_QUEUE) for no in queue.ids}
    workers = [tx.read.parse_worker(row) for row in await tx.fetch_all("list_workers")]
    reasons = {
        no: unserved.explain_unserved_queue(by_id[QueueId(no)], workers)
        for no in set(queues.values())
    }
    return [
        replace(step, no_worker_reason=reasons[queues[step.no]]) if step.no in queues else step
        for step in steps
    ]


_CLOCKS = timedelta(hours=1)
"""The largest difference that is tolerated between the clocks of processes that create tasks, and
thus between the times in the tasks' ids."""

_FIRST, _LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def _lowest_task_id_at(instant: datetime, slack: timedelta) -> str:
    """Return the lowest id of a time, for times that ids can have."""
    return lowest_task_id_at(min(max(instant, _FIRST), _LAST) + slack)


async def _list_tagged_tasks(tx: Session, parameters: Mapping[str, Any]) -> Sequence[Row]:
    """Return a page of the tasks with a tag.

    No index has the tasks of a tag in the order of their ids, and databases do not know how common
    a tag is. A common one is found among the newest tasks; of a rare one, all tasks are sorted.
    """
    edge = await tx.fetch_one("nth_newest_task", after=parameters["after"], offset=TAGGED_AMONG)
    if edge is None:
        return await tx.fetch_all("list_tasks", **parameters)
    first = max(edge["id"], parameters["first_id"] or "")
    rows = await tx.fetch_all("list_tasks", **{**parameters, "first_id": first})
    if len(rows) == parameters["limit"] or first != edge["id"]:
        return rows
    return await tx.fetch_all("list_tasks_of_selective_filter", **parameters)


async def task_filter_parameters(tx: Session, filter: TaskFilter) -> dict[str, Any]:
    """Return the parameters of the fragment `task_filter`."""
    state, started = stored_state_of_status(filter.status)
    after, before = filter.created_after, filter.created_before
    by_id = abs(tx.now - datetime.now(UTC)) < _CLOCKS  # not where time is virtual
    name, others = await _split_off_rarest_attribute(tx, filter.attributes)
    return {
        "templates": await _template_ids_of_filter(tx, filter),
        "state": state,
        "started": started,
        "correlation_id": filter.correlation_id,
        "parent_id": filter.parent_id and operator_rules.canonical_task_id(filter.parent_id),
        "schedule_id": filter.schedule_id,
        "tag": filter.tag,
        "created_by": filter.created_by,
        "idempotency_key": filter.idempotency_key,
        "failed_step": filter.failed_step,
        "error_code": filter.error_code,
        "compensation": filter.compensation and filter.compensation.value,
        "attribute_name": name,
        "attribute_value": filter.attributes.get(name or ""),
        "attributes": codec.dumps(others) if others else None,
        "created_after": after,
        "created_before": before,
        "first_id": _lowest_task_id_at(after, -_CLOCKS) if after and by_id else None,
        "last_id": _lowest_task_id_at(before, _CLOCKS) if before and by_id else None,
    }


async def _template_ids_of_filter(tx: Session, filter: TaskFilter) -> list[int] | None:
    """List the ids of the templates that a filter selects, or return None for all."""
    if not (filter.namespace or filter.name or filter.version) and filter.visible is None:
        return None
    return await find_template_ids(
        tx, filter.namespace, filter.name, filter.version, visible=filter.visible
    )
