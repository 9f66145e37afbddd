"""The store on PostgreSQL: each method is one statement file, or a short transaction of some."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeAlias

import asyncpg

from tasker import codec
from tasker.errors import (
    LeaseLost,
    NotFound,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
    TaskerError,
)
from tasker.model import (
    STEP_STATES,
    Attempt,
    AuditEntry,
    Claim,
    Claimed,
    Code,
    Created,
    JsonText,
    Lapsed,
    NewTask,
    Outcome,
    Queue,
    QueueId,
    SchemaStatus,
    Settled,
    Step,
    StepResult,
    StepState,
    StoredTemplate,
    Task,
    TaskEnd,
    TaskFilter,
    TaskId,
    TaskInput,
    TaskState,
    Template,
    TemplateId,
    TemplateName,
    WorkerId,
    WorkerInfo,
)
from tasker.store import acts, registry, statements
from tasker.store.postgres import schema
from tasker.store.postgres.address import Address
from tasker.store.postgres.listen import Listener
from tasker.store.protocol import Act, Registered
from tasker.store.records import Reader, state_filter

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

_SQL = {
    name: statement.numbered() for name, statement in statements.load(__package__, "sql").items()
}
_READ = Reader(instant=lambda value: value.astimezone(UTC), strings=tuple)

_UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DeadlockDetectedError,
    asyncpg.QueryCanceledError,
)
_NO_SCHEMA = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidSchemaNameError,
)


class PostgresStore:
    """Implements `tasker.store.protocol.Store`.

    Args:
        url: `postgresql://user@host/database?schema=tasker`; what else is in its query
            goes to the driver.
        connections: The most connections of the pool. A worker has one more, to listen.
    """

    def __init__(self, url: str, *, connections: int = 10) -> None:
        self.address = Address.parse(url)
        self.url = self.address.shown
        self._connections = connections
        self._listener = Listener(self.address.connect, self.address.schema)

    async def __aenter__(self) -> Self:
        with _errors(self.url):
            self._pool = await asyncpg.create_pool(
                self.address.dsn,
                min_size=1,
                max_size=self._connections,
                reset=_no_reset,
                command_timeout=60,
                server_settings=self.address.server_settings,
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._listener.close()
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    # ------------------------------------------------------------------ schema

    async def schema_status(self) -> SchemaStatus:
        async with self._connection() as connection:
            return SchemaStatus(await schema.version(connection), schema.MIGRATIONS.wanted)

    async def upgrade(self) -> SchemaStatus:
        with _errors(self.url):
            connection = await self.address.connect()
            try:
                await schema.upgrade(connection, self.address.schema)
            finally:
                await connection.close()
        return await self.schema_status()

    # --------------------------------------------------------------- templates

    async def register_template(
        self, template: Template, *, registered_by: str, replace: bool = False
    ) -> Registered:
        row = registry.TemplateRow.of(template)
        async with self._transaction() as connection:
            current = await _row(connection, "template", **row.name._asdict())
            if current is not None and current["digest"] != row.digest:
                if not replace:
                    raise registry.conflict(row.name, current["registered_by"])
                await _run(connection, "replace_template", id=current["id"])
                current = None
            if current is not None:
                return Registered(_READ.template(current), created=False)
            created = await self._add_template(connection, row, registered_by)
        if created is None:  # another process was first: compare with what it stored
            return await self.register_template(
                template, registered_by=registered_by, replace=replace
            )
        return Registered(created, created=True)

    async def _add_template(
        self, connection: Connection, row: registry.TemplateRow, registered_by: str
    ) -> StoredTemplate | None:
        added = await _row(
            connection,
            "add_template",
            **row.name._asdict(),
            digest=row.digest,
            document=row.document,
            sinks=row.sinks,
            registered_by=registered_by,
        )
        if added is None:
            return None
        nos, names, handlers, unmet, children = zip(*row.steps, strict=True)
        await _run(
            connection,
            "add_queues",
            namespace=row.name.namespace,
            handlers=sorted(set(handlers)),
        )
        await _run(
            connection,
            "add_template_steps",
            template_id=added["id"],
            namespace=row.name.namespace,
            nos=nos,
            names=names,
            handlers=handlers,
            unmet=unmet,
            children=["{" + ",".join(map(str, found)) + "}" for found in children],
        )
        return _READ.template(added)

    async def template(self, name: TemplateName) -> StoredTemplate:
        row = await self._one("template", **name._asdict())
        if row is None:
            raise registry.unknown(name)
        return _READ.template(row)

    async def template_by_id(self, template_id: TemplateId) -> StoredTemplate:
        row = await self._one("template_by_id", id=template_id)
        if row is None:
            raise NotFound(f"there is no template with the id {template_id}")
        return _READ.template(row)

    async def templates(
        self, *, namespace: str | None = None, name: str | None = None
    ) -> list[StoredTemplate]:
        rows = await self._all("templates", namespace=namespace, name=name)
        return [_READ.template(row) for row in rows]

    async def versions(self, namespace: str, name: str) -> list[str]:
        return [row[0] for row in await self._all("versions", namespace=namespace, name=name)]

    async def queues(self) -> list[Queue]:
        return [Queue(*row) for row in await self._all("queues")]

    # ------------------------------------------------------------------- tasks

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
        statement = _SQL["create_tasks"]
        arguments = _creation(tasks)
        arguments.update(worker=worker, queues=list(queues), claim_up_to=claim_up_to)
        values = [arguments[name] for name in statement.names]
        text = statement.text.replace(
            "from create_tasks", f'from "{self.address.schema}".create_tasks'
        )
        try:
            if connection is not None:
                with _errors(self.url):
                    rows = await connection.fetch(text, *values)
            else:
                async with self._connection() as pooled:
                    rows = await pooled.fetch(text, *values)
        except asyncpg.PostgresError as error:
            raise _refusal_of_creation(error) from None
        taken = {row[1]: row[3] for row in rows if row[0] == 0}
        return Created(
            [(TaskId(taken.get(task.id, task.id)), task.id not in taken) for task in tasks],
            [Claim(TaskId(row[1]), row[2], 1, 1) for row in rows if row[0] == 2],
        )

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
        row = await self._one("get_task", task_id=task_id)
        if row is None:
            raise acts.unknown_task(task_id)
        return _READ.task(row)

    async def find_task(self, namespace: str, idempotency_key: str) -> Task | None:
        row = await self._one("find_task", namespace=namespace, key=idempotency_key)
        return None if row is None else await self.get_task(row[0])

    async def list_tasks(
        self, filter: TaskFilter, *, after: TaskId | None = None, limit: int = 25
    ) -> list[Task]:
        templates: list[int] | None = None
        if filter.namespace or filter.name or filter.version:
            found = await self._all(
                "template_ids",
                namespace=filter.namespace,
                name=filter.name,
                version=filter.version,
            )
            templates = [row[0] for row in found]
        state, started = state_filter(filter.state)
        rows = await self._all(
            "list_tasks",
            templates=templates,
            state=state,
            started=started,
            correlation_id=filter.correlation_id,
            parent_id=filter.parent_id,
            tag=filter.tag,
            created_by=filter.created_by,
            created_after=filter.created_after,
            created_before=filter.created_before,
            after=after,
            limit=limit,
        )
        return [_READ.task(row) for row in rows]

    async def list_steps(
        self, task_id: TaskId, *, after: int = 0, limit: int | None = None
    ) -> list[Step]:
        rows = await self._all("list_steps", task_id=task_id, after=after, limit=limit)
        if not rows and after == 0:
            await self.get_task(task_id)
        return [_READ.step(row) for row in rows]

    async def history(
        self, task_id: TaskId, *, no: int | None = None, limit: int = 1000
    ) -> list[Attempt]:
        rows = await self._all("history", task_id=task_id, no=no, limit=limit)
        if not rows:
            await self.get_task(task_id)
        return [_READ.attempt(row) for row in rows]

    async def audit(self, task_id: TaskId) -> list[AuditEntry]:
        rows = await self._all("audit", task_id=task_id)
        if not rows:
            await self.get_task(task_id)
        return [_READ.audit(row) for row in rows]

    # ---------------------------------------------------------------- hot path

    async def claim(self, worker: WorkerId, queues: Collection[QueueId], limit: int) -> Claimed:
        rows = await self._all("claim", worker=worker, queues=list(queues), limit=limit)
        next_due = None
        if rows and rows[-1][0] is None:
            next_due = rows.pop()[5]
        return Claimed([Claim(*row[:5]) for row in rows], next_due)

    async def settle(
        self,
        worker: WorkerId,
        outcomes: Sequence[Outcome],
        *,
        queues: Collection[QueueId] = (),
        claim_up_to: int = 0,
    ) -> Settled:
        tasks, nos, attempts, kinds, results, errors, delays = zip(*outcomes, strict=True)
        rows = await self._all(
            "settle",
            worker=worker,
            tasks=tasks,
            nos=nos,
            attempts=attempts,
            outcomes=kinds,
            results=results,
            errors=errors,
            delays=delays,
            queues=list(queues),
            claim_up_to=claim_up_to,
        )
        return _settled(rows)

    async def checkpoint(self, claim: Claim, value: JsonText) -> bool:
        kept = await self._one(
            "checkpoint", task_id=claim.task_id, no=claim.no, attempt=claim.attempt, value=value
        )
        return kept is not None

    # ----------------------------------------------------------------- workers

    async def register_worker(
        self, name: str, *, lease: timedelta, slots: int, handlers: Sequence[str]
    ) -> WorkerId:
        row = await self._one(
            "register_worker",
            name=name,
            lease=lease.total_seconds(),
            slots=slots,
            handlers=list(handlers),
        )
        return WorkerId(row[0])

    async def renew(
        self, worker: WorkerId, held: Sequence[Claim], *, lease: timedelta
    ) -> list[Claim]:
        async with self._connection() as connection:
            kept = await _row(connection, "renew", worker=worker, lease=lease.total_seconds())
            if kept is None:
                raise LeaseLost(f"the lease of worker {worker} had lapsed")
            if not held:
                return []
            gone = await _rows(
                connection,
                "lost_claims",
                worker=worker,
                tasks=[claim.task_id for claim in held],
                nos=[claim.no for claim in held],
                attempts=[claim.attempt for claim in held],
            )
        return [held[row[0] - 1] for row in gone]

    async def held(self, worker: WorkerId) -> list[Claim]:
        return [Claim(*row) for row in await self._all("held", worker=worker)]

    async def retire_worker(self, worker: WorkerId) -> None:
        await self._all("retire_worker", worker=worker)

    async def list_workers(self) -> list[WorkerInfo]:
        return [_READ.worker(row) for row in await self._all("list_workers")]

    async def wait_for_work(self, timeout: float) -> None:
        await self._listener.wait(self._listener.work, timeout)

    async def wait_for_recall(self, timeout: float) -> None:
        await self._listener.wait(self._listener.recall, timeout)

    # ----------------------------------------------------------------- janitor

    async def lapsed(self, limit: int) -> list[Lapsed]:
        rows = await self._all("lapsed", limit=limit)
        return [Lapsed(Claim(*row[:4]), row[4], row[5]) for row in rows]

    async def sweep(self) -> list[TaskEnd]:
        ended: list[TaskEnd] = []
        failing = [row[0] for row in await self._all("failing")]
        if failing:
            rows = await self._all("end_failed", tasks=failing)
            ended += (TaskEnd(TaskId(row[0]), TaskState.ERROR) for row in rows)
        async with self._transaction() as connection:
            for row in await _rows(connection, "overdue", limit=100):
                await _stop(connection, row[0], Code.ERROR, acts.OVERDUE)
                ended.append(TaskEnd(TaskId(row[0]), TaskState.ERROR))
            if ended:
                await _run(connection, "recall")
        return ended

    async def prune(self, *, ended_before: datetime, limit: int = 1000) -> int:
        row = await self._one("prune", ended_before=ended_before, limit=limit)
        return 0 if row is None else int(row[0])

    # --------------------------------------------------------------- operators

    async def cancel_task(self, task_id: TaskId, act: Act) -> Task:
        async with self._transaction() as connection:
            before = await _locked(connection, task_id, "cancel", acts.OPEN)
            await _stop(connection, task_id, Code.CANCELLED, None)
            await _audit(connection, task_id, None, "cancel", act, before, TaskState.CANCELLED)
            await _run(connection, "recall")
        return await self.get_task(task_id)

    async def retry_steps(
        self,
        task_id: TaskId,
        act: Act,
        *,
        steps: Collection[int] | None = None,
        tries: Mapping[int, int] | None = None,
    ) -> Task:
        async with self._transaction() as connection:
            await _locked(connection, task_id, "retry", acts.RETRYABLE)
            nos = None if steps is None else list(steps)
            locked = await _rows(connection, "lock_steps", task_id=task_id, nos=nos)
            acts.require_steps(task_id, steps, [row[0] for row in locked])
            for no, name, code, *_ in locked:
                before = acts.require_step(name, code, "retry", acts.FAILED)
                used = (tries or {}).get(no, 0)
                await _run(connection, "retry_step", task_id=task_id, no=no, tries=used)
                await _audit(connection, task_id, no, "retry", act, before, StepState.ENQUEUED)
            await _run(connection, "reopen_task", task_id=task_id)
            await _run(connection, "wake")
        return await self.get_task(task_id)

    async def resolve_step(
        self,
        task_id: TaskId,
        no: int,
        result: JsonText | None,
        act: Act,
        *,
        complete: bool = False,
    ) -> Task:
        action, after, outcome = acts.resolution(complete)
        async with self._transaction() as connection:
            await _locked(connection, task_id, action, acts.RETRYABLE)
            locked = await _rows(connection, "lock_steps", task_id=task_id, nos=[no])
            acts.require_steps(task_id, [no], [row[0] for row in locked])
            before = acts.require_step(locked[0][1], locked[0][2], action, acts.RESOLVABLE)
            attempt = await _row(connection, "take_step", task_id=task_id, no=no)
            await _run(connection, "reopen_task", task_id=task_id)
            await _run(
                connection,
                "settle",
                worker=None,
                tasks=[task_id],
                nos=[no],
                attempts=[attempt[0]],
                outcomes=[outcome],
                results=[result],
                errors=[None],
                delays=[0.0],
                queues=[],
                claim_up_to=0,
            )
            await _audit(connection, task_id, no, action, act, before, after)
            await _run(connection, "recall")
        return await self.get_task(task_id)

    async def resolve_task(self, task_id: TaskId, act: Act) -> Task:
        async with self._transaction() as connection:
            before = await _locked(connection, task_id, "resolve", acts.FAILED_TASK)
            await _stop(connection, task_id, Code.RESOLVED_MANUALLY, None)
            after = TaskState.RESOLVED_MANUALLY
            await _audit(connection, task_id, None, "resolve_task", act, before, after)
        return await self.get_task(task_id)

    # ------------------------------------------------------------------ driver

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        with _errors(self.url):
            async with self._pool.acquire() as connection:
                yield connection

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with self._connection() as connection, connection.transaction():
            yield connection

    async def _all(self, statement: str, /, **parameters: Any) -> list[Any]:
        text, names = _SQL[statement]
        with _errors(self.url):
            return await self._pool.fetch(text, *[parameters[name] for name in names])

    async def _one(self, statement: str, /, **parameters: Any) -> Any:
        rows = await self._all(statement, **parameters)
        return rows[0] if rows else None


async def _rows(connection: Connection, statement: str, /, **parameters: Any) -> list[Any]:
    text, names = _SQL[statement]
    return await connection.fetch(text, *[parameters[name] for name in names])


async def _row(connection: Connection, statement: str, /, **parameters: Any) -> Any:
    rows = await _rows(connection, statement, **parameters)
    return rows[0] if rows else None


_run = _rows  # for statements whose rows nobody wants


async def _locked(
    connection: Connection, task_id: TaskId, action: str, allowed: frozenset[TaskState]
) -> TaskState:
    row = await _row(connection, "lock_task", task_id=task_id)
    return acts.require_task(task_id, row, action, allowed)


async def _stop(connection: Connection, task_id: TaskId, code: Code, error: str | None) -> None:
    """End a task and what of it has not ended."""
    steps = Code.SKIPPED if code is Code.RESOLVED_MANUALLY else Code.CANCELLED
    await _run(connection, "stop_steps", task_id=task_id, state=int(steps))
    await _run(connection, "end_task", task_id=task_id, state=int(code), error=error)


async def _audit(
    connection: Connection,
    task_id: TaskId,
    no: int | None,
    action: str,
    act: Act,
    before: str,
    after: str,
) -> None:
    await _run(
        connection,
        "add_audit",
        task_id=task_id,
        no=no,
        actor=act.actor,
        action=action,
        reason=act.reason,
        before=before,
        after=after,
    )


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
        "deadlines": [task.deadline.total_seconds() if task.deadline else None for task in tasks],
    }


def _settled(rows: Sequence[Any]) -> Settled:
    if len(rows) and rows[0][0] == rows[-1][0] == 1:  # nothing but claims, as nearly always
        return Settled((), [Claim(row[1], row[2], 1, 1) for row in rows], ())
    return Settled(
        [row[2] - 1 for row in rows if row[0] == 0],
        [Claim(row[1], row[2], 1, 1) for row in rows if row[0] == 1],
        [TaskEnd(row[1], TaskState(STEP_STATES[row[2]].value)) for row in rows if row[0] == 2],
    )


def _refusal_of_creation(error: asyncpg.PostgresError) -> TaskerError:
    if error.sqlstate == "TK001":
        return registry.key_conflict(str(error))
    if error.sqlstate == "TK002":
        return NotFound("one of the tasks names a template id that is not registered")
    return StoreError(str(error))


async def _no_reset(_connection: object) -> None:
    """Instead of the pool's query at each release: no session state outlives a transaction."""


@contextmanager
def _errors(url: str) -> Iterator[None]:
    """Turn the driver's errors into the store's."""
    try:
        yield
    except _NO_SCHEMA as error:
        raise SchemaMismatch(
            f"the schema of {url} is not the one this release needs ({error}):"
            " run `tasker db upgrade`"
        ) from error
    except _UNREACHABLE as error:
        raise StoreUnavailable(f"{url}: {str(error) or type(error).__name__}") from error
    except asyncpg.PostgresError as error:
        if error.sqlstate.startswith("TK"):
            raise
        raise StoreError(f"{url}: {error}") from error
