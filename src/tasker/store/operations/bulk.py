"""Operations on many tasks: storing them and handling their tasks one by one."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from tasker import codec
from tasker.bulk import (
    BulkAction,
    BulkOperation,
    BulkRefusal,
    BulkStatus,
    NewBulk,
    StoredBulk,
    request_document,
    request_of_document,
    with_refusal,
)
from tasker.errors import NotFound, WrongStatus
from tasker.model import TaskFilter, TaskId, Via
from tasker.store import operator_rules
from tasker.store.operations import operators
from tasker.store.operations.operators import Operators
from tasker.store.operations.tasks import filter_parameters
from tasker.store.protocol import AuditNote
from tasker.store.rows import Reader, Row
from tasker.store.session import Session

LEASE = 5.0  #: seconds without progress after which other processes continue an operation


class Bulk(Operators):
    """Implements `tasker.store.protocol.BulkStore`."""

    async def add_bulk(self, new: NewBulk, act: AuditNote) -> BulkOperation:
        async def add(tx: Session) -> BulkOperation:
            await tx.all(
                "add_bulk_operation",
                id=new.id,
                action=new.request.action.value,
                request=codec.dumps(request_document(new.request)),
                per_second=new.per_second,
                namespaces=None if new.namespaces is None else sorted(new.namespaces),
                matches=new.matches,
                exact=new.exact,
                reason=act.reason,
                created_by=act.actor,
                via=act.via,
            )
            return (await _read_bulk(tx, new.id)).operation

        return await self._write(add)

    async def bulk(self, bulk_id: str) -> StoredBulk:
        return await self._read(lambda tx: _read_bulk(tx, bulk_id))

    async def bulks(self, *, after: str | None = None, limit: int = 100) -> list[StoredBulk]:
        async def read(tx: Session) -> list[StoredBulk]:
            rows = await tx.all("list_bulk_operations", after=after, limit=limit)
            return [_stored(row, tx.read) for row in rows]

        return await self._read(read)

    async def stop_bulk(self, bulk_id: str, act: AuditNote) -> BulkOperation:
        async def stop(tx: Session) -> BulkOperation:
            operation = (await _read_bulk(tx, bulk_id)).operation
            stopped = await tx.all("stop_bulk_operation", id=operation.id, stopped_by=act.actor)
            operation = (await _read_bulk(tx, bulk_id)).operation
            if not stopped:
                what = f"bulk operation {bulk_id}"
                raise WrongStatus(what, operation.status, "stop", {BulkStatus.RUNNING})
            return operation

        return await self._write(stop)

    async def take_bulk(self) -> StoredBulk | None:
        async def take(tx: Session) -> StoredBulk | None:
            row = await tx.one("claim_bulk_operation", lease=LEASE)
            return None if row is None else _stored(row, tx.read)

        return await self._write(take)

    async def next_bulk(self) -> float | None:
        row = await self._one("seconds_until_bulk_batch")
        return None if row is None else float(row["delay"])

    async def act_in_bulk(
        self,
        stored: StoredBulk,
        task_id: TaskId,
        *,
        steps: Collection[int] | None = None,
        counted_attempts: Mapping[int, int] | None = None,
    ) -> StoredBulk | None:
        operation, request = stored.operation, stored.request
        act = AuditNote(
            actor=operation.created_by,
            reason=operation.reason,
            via=operation.via,
            bulk_id=operation.id,
        )

        async def turn(tx: Session) -> bool:
            row = await _lock_turn(tx, stored)
            if row is None:
                return False
            if request.action is BulkAction.CANCEL:
                await operators.cancel(tx, task_id, act)
            elif request.action is BulkAction.RESOLVE:
                await operators.resolve(tx, task_id, act)
            else:
                await operators.retry(
                    tx,
                    task_id,
                    act,
                    steps=steps,
                    counted_attempts=counted_attempts or {},
                    fresh=request.fresh,
                )
            await _move(tx, stored, task_id, changed=row["changed"] + 1, row=row)
            return True

        if not await self._in_yielding_transaction(turn):
            return None
        await self._finish(task_id)
        return stored._replace(last_task=task_id)

    async def pass_in_bulk(
        self, stored: StoredBulk, task_id: TaskId, refusal: BulkRefusal | None
    ) -> StoredBulk | None:
        async def turn(tx: Session) -> bool:
            row = await _lock_turn(tx, stored)
            if row is None:
                return False
            await _move(tx, stored, task_id, changed=row["changed"], row=row, refusal=refusal)
            return True

        moved = await self._write(turn)
        return stored._replace(last_task=task_id) if moved else None

    async def pace_bulk(self, stored: StoredBulk, delay: float, *, ended: bool = False) -> None:
        await self._change(
            "schedule_bulk_batch",
            id=stored.operation.id,
            last_task=stored.last_task,
            delay=delay,
            ended=ended,
        )

    async def prune_bulks(self, before: datetime) -> None:
        await self._change("prune_bulk_operations", before=before)

    async def count_by_template(self, filter: TaskFilter, *, most: int) -> dict[str, int]:
        async def count(tx: Session) -> dict[str, int]:
            rows = await tx.all(
                "count_tasks_by_template", **await filter_parameters(tx, filter), most=most
            )
            return {f"{row['namespace']}.{row['name']}": int(row["tasks"]) for row in rows}

        return await self._read(count)


async def _lock_turn(tx: Session, stored: StoredBulk) -> Row | None:
    rows = await tx.lock("lock_bulk_operation", id=stored.operation.id, last_task=stored.last_task)
    return rows[0] if rows else None


async def _move(
    tx: Session,
    stored: StoredBulk,
    task_id: TaskId,
    *,
    changed: int,
    row: Row,
    refusal: BulkRefusal | None = None,
) -> None:
    refused: dict[str, int] = codec.loads(row["refused"])
    refusals: Sequence[Mapping[str, str]] = codec.loads(row["refusals"])
    if refusal is not None:
        refused[refusal.code] = refused.get(refusal.code, 0) + 1
        refusals = with_refusal(refusals, refusal)
    await tx.all(
        "record_bulk_progress",
        id=stored.operation.id,
        last_task=task_id,
        changed=changed,
        refused=codec.dumps(refused),
        refusals=codec.dumps(refusals),
        lease=LEASE,
    )


async def _read_bulk(tx: Session, bulk_id: str) -> StoredBulk:
    try:
        row = await tx.one("get_bulk_operation", id=operator_rules.canonical_task_id(bulk_id))
    except NotFound:  # malformed
        row = None
    if row is None:
        raise NotFound(f"bulk operation {bulk_id} not found")
    return _stored(row, tx.read)


def _stored(row: Row, read: Reader) -> StoredBulk:
    operation = BulkOperation(
        id=row["id"],
        action=BulkAction(row["action"]),
        status=BulkStatus(row["status"]),
        per_second=row["per_second"],
        matches=row["matches"],
        exact=bool(row["exact"]),
        changed=row["changed"],
        refused=codec.loads(row["refused"]),
        refusals=[BulkRefusal(**one) for one in codec.loads(row["refusals"])],
        reason=row["reason"],
        created_by=row["created_by"],
        via=None if row["via"] is None else Via(row["via"]),
        created_at=read.instant(row["created_at"]),
        updated_at=read.instant(row["updated_at"]),
        ended_at=None if row["ended_at"] is None else read.instant(row["ended_at"]),
        stopped_by=row["stopped_by"],
    )
    namespaces = None if row["namespaces"] is None else frozenset(read.strings(row["namespaces"]))
    request = request_of_document(codec.loads(row["request"]))
    return StoredBulk(operation, request, namespaces, TaskId(row["last_task"]))
