"""Operations on many tasks: storing them and handling their tasks one by one."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from tasker import codec
from tasker.bulk import (
    BulkAction,
    BulkOperation,
    BulkRejection,
    BulkStatus,
    NewBulkOperation,
    StoredBulkOperation,
    append_rejection,
    decode_request,
    encode_request,
)
from tasker.errors import NotFound, WrongStatus
from tasker.model import AccessChannel, TaskFilter, TaskId
from tasker.store import operator_rules
from tasker.store.operations import operators
from tasker.store.operations.operators import Operators
from tasker.store.operations.tasks import task_filter_parameters
from tasker.store.protocol import AuditNote
from tasker.store.rows import Row, RowReader
from tasker.store.session import Session

LEASE = 5.0  #: seconds without progress after which other processes continue an operation


class BulkOperations(Operators):
    """Implements `tasker.store.protocol.BulkStore`."""

    async def add_bulk_operation(self, new: NewBulkOperation, act: AuditNote) -> BulkOperation:
        async def add_operation(tx: Session) -> BulkOperation:
            await tx.fetch_all(
                "add_bulk_operation",
                id=new.id,
                action=new.request.action.value,
                request=codec.dumps(encode_request(new.request)),
                per_second=new.per_second,
                namespaces=None if new.namespaces is None else sorted(new.namespaces),
                matches=new.matches,
                exact=new.exact,
                reason=act.reason,
                created_by=act.actor,
                via=act.via,
            )
            return (await _read_operation(tx, new.id)).operation

        return await self._in_write_transaction(add_operation)

    async def get_bulk_operation(self, bulk_id: str) -> StoredBulkOperation:
        return await self._in_read_transaction(lambda tx: _read_operation(tx, bulk_id))

    async def list_bulk_operations(
        self, *, after: str | None = None, limit: int = 100
    ) -> list[StoredBulkOperation]:
        async def read_operations(tx: Session) -> list[StoredBulkOperation]:
            rows = await tx.fetch_all("list_bulk_operations", after=after, limit=limit)
            return [_parse_operation(row, tx.read) for row in rows]

        return await self._in_read_transaction(read_operations)

    async def stop_bulk_operation(self, bulk_id: str, act: AuditNote) -> BulkOperation:
        async def stop_operation(tx: Session) -> BulkOperation:
            operation = (await _read_operation(tx, bulk_id)).operation
            stopped = await tx.fetch_all(
                "stop_bulk_operation", id=operation.id, stopped_by=act.actor
            )
            operation = (await _read_operation(tx, bulk_id)).operation
            if not stopped:
                what = f"bulk operation {bulk_id}"
                raise WrongStatus(what, operation.status, "stop", {BulkStatus.RUNNING})
            return operation

        return await self._in_write_transaction(stop_operation)

    async def claim_bulk_operation(self) -> StoredBulkOperation | None:
        async def claim_operation(tx: Session) -> StoredBulkOperation | None:
            row = await tx.fetch_one("claim_bulk_operation", lease=LEASE)
            return None if row is None else _parse_operation(row, tx.read)

        return await self._in_write_transaction(claim_operation)

    async def seconds_until_bulk_batch(self) -> float | None:
        row = await self._fetch_one("seconds_until_bulk_batch")
        return None if row is None else float(row["delay"])

    async def apply_bulk_action(
        self,
        stored: StoredBulkOperation,
        task_id: TaskId,
        *,
        steps: Collection[int] | None = None,
        counted_attempts: Mapping[int, int] | None = None,
    ) -> StoredBulkOperation | None:
        operation, request = stored.operation, stored.request
        act = AuditNote(
            actor=operation.created_by,
            reason=operation.reason,
            via=operation.via,
            bulk_id=operation.id,
        )

        async def apply_action_to_task(tx: Session) -> bool:
            row = await _lock_operation(tx, stored)
            if row is None:
                return False
            if request.action is BulkAction.CANCEL:
                await operators.cancel_open_task(tx, task_id, act)
            elif request.action is BulkAction.RESOLVE:
                await operators.resolve_failed_task(tx, task_id, act)
            else:
                await operators.retry_failed_steps(
                    tx,
                    task_id,
                    act,
                    steps=steps,
                    counted_attempts=counted_attempts or {},
                    fresh=request.fresh,
                )
            await _record_progress(tx, stored, task_id, changed=row["changed"] + 1, row=row)
            return True

        if not await self._in_yielding_transaction(apply_action_to_task):
            return None
        await self._finish_actions(task_id)
        return stored._replace(last_task=task_id)

    async def skip_bulk_task(
        self, stored: StoredBulkOperation, task_id: TaskId, rejection: BulkRejection | None
    ) -> StoredBulkOperation | None:
        async def skip_task(tx: Session) -> bool:
            row = await _lock_operation(tx, stored)
            if row is None:
                return False
            await _record_progress(
                tx, stored, task_id, changed=row["changed"], row=row, rejection=rejection
            )
            return True

        moved = await self._in_write_transaction(skip_task)
        return stored._replace(last_task=task_id) if moved else None

    async def schedule_bulk_batch(
        self, stored: StoredBulkOperation, delay: float, *, ended: bool = False
    ) -> None:
        await self._execute_in_transaction(
            "schedule_bulk_batch",
            id=stored.operation.id,
            last_task=stored.last_task,
            delay=delay,
            ended=ended,
        )

    async def prune_bulk_operations(self, before: datetime) -> None:
        await self._execute_in_transaction("prune_bulk_operations", before=before)

    async def count_tasks_by_template(self, filter: TaskFilter, *, most: int) -> dict[str, int]:
        async def count_tasks_by_template(tx: Session) -> dict[str, int]:
            rows = await tx.fetch_all(
                "count_tasks_by_template", **await task_filter_parameters(tx, filter), most=most
            )
            return {f"{row['namespace']}.{row['name']}": int(row["tasks"]) for row in rows}

        return await self._in_read_transaction(count_tasks_by_template)


async def _lock_operation(tx: Session, stored: StoredBulkOperation) -> Row | None:
    rows = await tx.lock_rows(
        "lock_bulk_operation", id=stored.operation.id, last_task=stored.last_task
    )
    return rows[0] if rows else None


async def _record_progress(
    tx: Session,
    stored: StoredBulkOperation,
    task_id: TaskId,
    *,
    changed: int,
    row: Row,
    rejection: BulkRejection | None = None,
) -> None:
    rejected: dict[str, int] = codec.loads(row["rejected"])
    rejections: Sequence[Mapping[str, str]] = codec.loads(row["rejections"])
    if rejection is not None:
        rejected[rejection.code] = rejected.get(rejection.code, 0) + 1
        rejections = append_rejection(rejections, rejection)
    await tx.fetch_all(
        "record_bulk_progress",
        id=stored.operation.id,
        last_task=task_id,
        changed=changed,
        rejected=codec.dumps(rejected),
        rejections=codec.dumps(rejections),
        lease=LEASE,
    )


async def _read_operation(tx: Session, bulk_id: str) -> StoredBulkOperation:
    try:
        row = await tx.fetch_one("get_bulk_operation", id=operator_rules.canonical_task_id(bulk_id))
    except NotFound:  # malformed
        row = None
    if row is None:
        raise NotFound(f"bulk operation {bulk_id} not found")
    return _parse_operation(row, tx.read)


def _parse_operation(row: Row, read: RowReader) -> StoredBulkOperation:
    operation = BulkOperation(
        id=row["id"],
        action=BulkAction(row["action"]),
        status=BulkStatus(row["status"]),
        per_second=row["per_second"],
        matches=row["matches"],
        exact=bool(row["exact"]),
        changed=row["changed"],
        rejected=codec.loads(row["rejected"]),
        rejections=[BulkRejection(**one) for one in codec.loads(row["rejections"])],
        reason=row["reason"],
        created_by=row["created_by"],
        via=None if row["via"] is None else AccessChannel(row["via"]),
        created_at=read.instant(row["created_at"]),
        updated_at=read.instant(row["updated_at"]),
        ended_at=None if row["ended_at"] is None else read.instant(row["ended_at"]),
        stopped_by=row["stopped_by"],
    )
    namespaces = None if row["namespaces"] is None else frozenset(read.strings(row["namespaces"]))
    request = decode_request(codec.loads(row["request"]))
    return StoredBulkOperation(operation, request, namespaces, TaskId(row["last_task"]))
