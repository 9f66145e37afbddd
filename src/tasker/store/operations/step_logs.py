"""The log and output of handlers."""

from collections.abc import Sequence
from datetime import datetime

from tasker import codec
from tasker.model import TaskId
from tasker.step_logs import (
    EVERY_RECORD,
    LogFilter,
    LogPosition,
    LogRecord,
    NewLogRecord,
    log_level_name,
    trim_log_records,
)
from tasker.store import operator_rules
from tasker.store.operations.tasks import read_task
from tasker.store.rows import Row, RowReader, step_name
from tasker.store.session import Session, TransactionalStore


class StepLogs(TransactionalStore):
    """Implements `tasker.store.protocol.LogStore`."""

    async def append_logs(self, records: Sequence[NewLogRecord]) -> None:
        rows = [record._asdict() for record in trim_log_records(records)]
        if rows:
            await self._execute_in_transaction("append_logs", records=codec.dumps(rows))

    async def list_logs(
        self,
        task_id: TaskId,
        filter: LogFilter = EVERY_RECORD,
        *,
        after: LogPosition | None = None,
        newest_first: bool = False,
        limit: int = 1000,
    ) -> list[LogRecord]:
        task_id = operator_rules.canonical_task_id(task_id)
        at, no, attempt, number = after or (None, None, None, None)

        async def read_logs(tx: Session) -> list[LogRecord]:
            rows = await tx.fetch_all(
                "list_step_logs_newest_first" if newest_first else "list_step_logs",
                task_id=task_id,
                **filter._asdict(),
                after_at=at,
                after_no=no,
                after_attempt=attempt,
                after_number=number,
                limit=limit,
            )
            if not rows:
                await read_task(tx, task_id)
            return [_parse_log_record(row, tx.read) for row in rows]

        return await self._in_read_transaction(read_logs)

    async def prune_logs(self, before: datetime, *, limit: int = 1000) -> int:
        return len(await self._execute_in_transaction("prune_logs", before=before, limit=limit))


def _parse_log_record(row: Row, read: RowReader) -> LogRecord:
    return LogRecord(
        task_id=row["task_id"],
        no=row["no"],
        step=None if row["step"] is None else step_name(row, "step"),
        attempt=row["attempt"],
        number=row["number"],
        at=read.instant(row["at"]),
        level=log_level_name(row["level"]),
        source=row["source"],
        message=row["message"],
        fields={} if row["fields"] is None else codec.loads(row["fields"]),
    )
