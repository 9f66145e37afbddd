"""The store on SQLite: each method is one statement file, or a short transaction of some."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from tasker import codec
from tasker.clock import Clock, SystemClock
from tasker.errors import LeaseLost, Misuse, NotFound
from tasker.model import (
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
from tasker.store.protocol import Act, Registered
from tasker.store.records import Reader, state_filter
from tasker.store.sqlite import connection as database
from tasker.store.sqlite.address import Address
from tasker.store.sqlite.thread import DatabaseThread

T = TypeVar("T")
_SQL = {name: statement.text for name, statement in statements.load(__package__, "sql").items()}
_READ = Reader(
    instant=lambda value: datetime.fromtimestamp(value, UTC),
    strings=lambda text: tuple(codec.loads(text)),
)
_ANOTHER_PROCESS = 0.05  #: seconds between looks at whether another process wrote


class SqliteStore:
    """Implements `tasker.store.protocol.Store`.

    One process writes at a time; several may, each waiting for the others' transactions.

    Args:
        url: `sqlite`, `sqlite:FILE[?synchronous=normal]` or `sqlite::memory:`.
        clock: The store's own clock.
    """

    def __init__(self, url: str = "sqlite", *, clock: Clock | None = None) -> None:
        self.address = Address.parse(url)
        self.url = self.address.shown
        self._clock = clock or SystemClock()
        memory = database.memory_name()
        self._thread = DatabaseThread(lambda: database.connect(self.address, memory), self.url)
        self._work = asyncio.Event()
        self._recall = asyncio.Event()
        self._watch: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        self._thread.start()
        await self._read(database.version)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._watch is not None:
            self._watch.close()
        await self._thread.stop()

    # ------------------------------------------------------------------ schema

    async def schema_status(self) -> SchemaStatus:
        return SchemaStatus(await self._read(database.version), database.MIGRATIONS.wanted)

    async def upgrade(self) -> SchemaStatus:
        await self._thread.run(database.upgrade, writes=True)
        return await self.schema_status()

    # --------------------------------------------------------------- templates

    async def register_template(
        self, template: Template, *, registered_by: str, replace: bool = False
    ) -> Registered:
        row = registry.TemplateRow.of(template)

        def register(on: sqlite3.Connection) -> Registered:
            current = _one(on, "template", **row.name._asdict())
            if current is not None and current[4] == row.digest:
                return Registered(_READ.template(current), created=False)
            if current is not None and not replace:
                raise registry.conflict(row.name, current[2])
            if current is not None:
                _run(on, "replace_template", id=current[0], now=self._now())
            return Registered(self._add_template(on, row, registered_by), created=True)

        registered = await self._write(register)
        self._work.set()  # a worker may serve the new queues
        return registered

    def _add_template(
        self, on: sqlite3.Connection, row: registry.TemplateRow, registered_by: str
    ) -> StoredTemplate:
        added = _one(
            on,
            "add_template",
            **row.name._asdict(),
            digest=row.digest,
            document=row.document,
            sinks=row.sinks,
            registered_by=registered_by,
            now=self._now(),
        )
        handlers = sorted({step.handler for step in row.steps})
        namespace = row.name.namespace
        _run(on, "add_queues", namespace=namespace, handlers=_json(handlers))
        steps = _json([tuple(step) for step in row.steps])
        _run(on, "add_template_steps", template_id=added[0], namespace=namespace, steps=steps)
        return _READ.template(added)

    async def template(self, name: TemplateName) -> StoredTemplate:
        row = await self._first("template", **name._asdict())
        if row is None:
            raise registry.unknown(name)
        return _READ.template(row)

    async def template_by_id(self, template_id: TemplateId) -> StoredTemplate:
        row = await self._first("template_by_id", id=template_id)
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
            new = _json([row for row in rows if row[0] not in taken])
            made = _run(on, "create_tasks", now=now, tasks=new).rowcount
            if made < len(rows) - len(taken):
                raise NotFound("one of the tasks names a template id that is not registered")
            _run(on, "create_steps", now=now, tasks=new)
            claims = []
            if worker is not None and claim_up_to > 0:
                found = _rows(
                    on,
                    "claim_roots",
                    worker=worker,
                    queues=_json(list(queues)),
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
        return [TaskInput(*row) for row in await self._all("load_tasks", ids=_json(ids))]

    async def load_results(self, steps: Mapping[TaskId, Sequence[int]]) -> list[StepResult]:
        pairs = [(task_id, no) for task_id, nos in steps.items() for no in nos]
        return [StepResult(*row) for row in await self._all("load_results", steps=_json(pairs))]

    async def get_task(self, task_id: TaskId) -> Task:
        row = await self._first("get_task", task_id=task_id, now=self._now())
        if row is None:
            raise acts.unknown_task(task_id)
        return _READ.task(row)

    async def find_task(self, namespace: str, idempotency_key: str) -> Task | None:
        row = await self._first("find_task", namespace=namespace, key=idempotency_key)
        return None if row is None else await self.get_task(row[0])

    async def list_tasks(
        self, filter: TaskFilter, *, after: TaskId | None = None, limit: int = 25
    ) -> list[Task]:
        state, started = state_filter(filter.state)
        named = bool(filter.namespace or filter.name or filter.version)

        def find(on: sqlite3.Connection) -> list[Any]:
            templates = _rows(
                on,
                "template_ids",
                namespace=filter.namespace,
                name=filter.name,
                version=filter.version,
            )
            return _rows(
                on,
                "list_tasks",
                templates=_json([row[0] for row in templates]) if named else None,
                state=state,
                started=started,
                correlation_id=filter.correlation_id,
                parent_id=filter.parent_id,
                tag=filter.tag,
                created_by=filter.created_by,
                created_after=_seconds(filter.created_after),
                created_before=_seconds(filter.created_before),
                after=after,
                limit=limit,
                now=self._now(),
            )

        return [_READ.task(row) for row in await self._read(find)]

    async def list_steps(
        self, task_id: TaskId, *, after: int = 0, limit: int | None = None
    ) -> list[Step]:
        most = -1 if limit is None else limit
        rows = await self._all("list_steps", task_id=task_id, after=after, limit=most)
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
        served = _json(list(queues))

        def claim(on: sqlite3.Connection) -> Claimed:
            now = self._now()
            claims: list[Claim] = []
            for queue, _ in _rows(on, "claim_heads", queues=served, now=now):
                left = limit - len(claims)
                found = _rows(on, "claim", worker=worker, queue=queue, limit=left, now=now)
                claims += (Claim(*row) for row in found)
                if len(claims) == limit:
                    return Claimed(claims, None)
            return Claimed(claims, _rows(on, "next_due", queues=served, now=now)[0][0])

        return await self._write(claim)

    async def settle(
        self,
        worker: WorkerId,
        outcomes: Sequence[Outcome],
        *,
        queues: Collection[QueueId] = (),
        claim_up_to: int = 0,
    ) -> Settled:
        given = _json(outcomes)
        served = _json(list(queues))
        settled, left = await self._write(
            lambda on: _settle(on, worker, given, len(outcomes), served, claim_up_to, self._now())
        )
        if left:
            self._work.set()
        return settled

    async def checkpoint(self, claim: Claim, value: JsonText) -> bool:
        kept = await self._change(
            "checkpoint", task_id=claim.task_id, no=claim.no, attempt=claim.attempt, value=value
        )
        return bool(kept)

    # ----------------------------------------------------------------- workers

    async def register_worker(
        self, name: str, *, lease: timedelta, slots: int, handlers: Sequence[str]
    ) -> WorkerId:
        rows = await self._change(
            "register_worker",
            name=name,
            lease=lease.total_seconds(),
            slots=slots,
            handlers=_json(list(handlers)),
            now=self._now(),
        )
        return WorkerId(rows[0][0])

    async def renew(
        self, worker: WorkerId, held: Sequence[Claim], *, lease: timedelta
    ) -> list[Claim]:
        claims = _json([claim[:3] for claim in held])

        def renew(on: sqlite3.Connection) -> list[Any] | None:
            seconds = lease.total_seconds()
            if not _rows(on, "renew", worker=worker, lease=seconds, now=self._now()):
                return None
            return _rows(on, "lost_claims", worker=worker, claims=claims)

        gone = await self._write(renew)
        if gone is None:
            raise LeaseLost(f"the lease of worker {worker} had lapsed")
        return [held[row[0] - 1] for row in gone]

    async def held(self, worker: WorkerId) -> list[Claim]:
        return [Claim(*row) for row in await self._all("held", worker=worker)]

    async def retire_worker(self, worker: WorkerId) -> None:
        await self._change("retire_worker", worker=worker, now=self._now())

    async def list_workers(self) -> list[WorkerInfo]:
        return [_READ.worker(row) for row in await self._all("list_workers", now=self._now())]

    async def wait_for_work(self, timeout: float) -> None:
        await self._wait(self._work, timeout)

    async def wait_for_recall(self, timeout: float) -> None:
        await self._wait(self._recall, timeout)

    # ----------------------------------------------------------------- janitor

    async def lapsed(self, limit: int) -> list[Lapsed]:
        rows = await self._all("lapsed", now=self._now(), limit=limit)
        return [Lapsed(Claim(*row[:4]), row[4], row[5]) for row in rows]

    async def sweep(self) -> list[TaskEnd]:
        def look(on: sqlite3.Connection) -> bool:
            return bool(_rows(on, "failing") or _rows(on, "overdue", now=self._now(), limit=1))

        def sweep(on: sqlite3.Connection) -> list[TaskEnd]:
            now = self._now()
            failing = _json([row[0] for row in _rows(on, "failing")])
            ended = [row[0] for row in _rows(on, "end_failed", tasks=failing, now=now)]
            for (task_id,) in _rows(on, "overdue", now=now, limit=100):
                _stop(on, task_id, Code.ERROR, acts.OVERDUE, now)
                ended.append(task_id)
            return [TaskEnd(task_id, TaskState.ERROR) for task_id in ended]

        if not await self._read(look):
            return []
        ended = await self._write(sweep)
        self._recall.set()
        return ended

    async def prune(self, *, ended_before: datetime, limit: int = 1000) -> int:
        def prune(on: sqlite3.Connection) -> int:
            before = ended_before.timestamp()
            ids = [row[0] for row in _rows(on, "prune", ended_before=before, limit=limit)]
            for table in ("task_key", "attempt", "audit", "step", "task"):
                _run(on, f"prune_{table}", ids=_json(ids))
            return len(ids)

        return await self._write(prune)

    # --------------------------------------------------------------- operators

    async def cancel_task(self, task_id: TaskId, act: Act) -> Task:
        def cancel(on: sqlite3.Connection) -> None:
            now = self._now()
            before = _checked(on, task_id, "cancel", acts.OPEN)
            _stop(on, task_id, Code.CANCELLED, None, now)
            _audit(on, task_id, None, "cancel", act, before, TaskState.CANCELLED, now)

        await self._write(cancel)
        self._recall.set()
        return await self.get_task(task_id)

    async def retry_steps(
        self,
        task_id: TaskId,
        act: Act,
        *,
        steps: Collection[int] | None = None,
        tries: Mapping[int, int] | None = None,
    ) -> Task:
        def retry(on: sqlite3.Connection) -> None:
            now = self._now()
            _checked(on, task_id, "retry", acts.RETRYABLE)
            nos = None if steps is None else _json(list(steps))
            found = _rows(on, "lock_steps", task_id=task_id, nos=nos)
            acts.require_steps(task_id, steps, [row[0] for row in found])
            for no, name, code, *_ in found:
                before = acts.require_step(name, code, "retry", acts.FAILED)
                used = (tries or {}).get(no, 0)
                _run(on, "retry_step", task_id=task_id, no=no, tries=used, now=now)
                _audit(on, task_id, no, "retry", act, before, StepState.ENQUEUED, now)
            _run(on, "reopen_task", task_id=task_id)

        await self._write(retry)
        self._work.set()
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

        def resolve(on: sqlite3.Connection) -> None:
            now = self._now()
            _checked(on, task_id, action, acts.RETRYABLE)
            found = _rows(on, "lock_steps", task_id=task_id, nos=_json([no]))
            acts.require_steps(task_id, [no], [row[0] for row in found])
            before = acts.require_step(found[0][1], found[0][2], action, acts.RESOLVABLE)
            attempt = _one(on, "take_step", task_id=task_id, no=no, now=now)[0]
            _run(on, "reopen_task", task_id=task_id)
            given = _json([Outcome(task_id, no, attempt, outcome, result, None, 0.0)])
            _settle(on, None, given, 1, "[]", 0, now)
            _audit(on, task_id, no, action, act, before, after, now)

        await self._write(resolve)
        self._work.set()
        self._recall.set()
        return await self.get_task(task_id)

    async def resolve_task(self, task_id: TaskId, act: Act) -> Task:
        def resolve(on: sqlite3.Connection) -> None:
            now = self._now()
            before = _checked(on, task_id, "resolve", acts.FAILED_TASK)
            _stop(on, task_id, Code.RESOLVED_MANUALLY, None, now)
            after = TaskState.RESOLVED_MANUALLY
            _audit(on, task_id, None, "resolve_task", act, before, after, now)

        await self._write(resolve)
        return await self.get_task(task_id)

    # ------------------------------------------------------------------ driver

    def _now(self) -> float:
        return self._clock.now().timestamp()

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._thread.run(work, writes=False)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._thread.run(work, writes=True)

    async def _all(self, statement: str, /, **parameters: Any) -> list[Any]:
        return await self._read(lambda on: _rows(on, statement, **parameters))

    async def _first(self, statement: str, /, **parameters: Any) -> Any:
        rows = await self._all(statement, **parameters)
        return rows[0] if rows else None

    async def _change(self, statement: str, /, **parameters: Any) -> list[Any]:
        return await self._write(lambda on: _rows(on, statement, **parameters))

    async def _wait(self, event: asyncio.Event, timeout: float) -> None:
        """Wait for this process's event, or for another process's commit."""
        seen = self._data_version()
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while not event.is_set() and (left := end - loop.time()) > 0:
            pause = left if seen is None else min(left, _ANOTHER_PROCESS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await event.wait()
            if self._data_version() != seen:
                break
        event.clear()

    def _data_version(self) -> int | None:
        """Tell a number that changes when anybody commits; None in memory."""
        if self.address.path is None:
            return None
        if self._watch is None:
            self._watch = sqlite3.connect(self.address.path, isolation_level=None)
        found: int = self._watch.execute("pragma data_version").fetchone()[0]
        return found


_json = codec.orjson_text


def _rows(on: sqlite3.Connection, statement: str, /, **parameters: Any) -> list[Any]:
    return on.execute(_SQL[statement], parameters).fetchall()


def _one(on: sqlite3.Connection, statement: str, /, **parameters: Any) -> Any:
    rows = _rows(on, statement, **parameters)
    return rows[0] if rows else None


def _run(on: sqlite3.Connection, statement: str, /, **parameters: Any) -> sqlite3.Cursor:
    return on.execute(_SQL[statement], parameters)


def _settle(
    on: sqlite3.Connection,
    worker: WorkerId | None,
    given: JsonText,
    many: int,
    queues: JsonText | str,
    claim_up_to: int,
    now: float,
) -> tuple[Settled, bool]:
    """Settle; tell also whether freed steps are left for others."""
    on.execute("delete from temp.settled")
    on.execute("delete from temp.child")
    _run(on, "settle", outcomes=given)
    _run(on, "settle_history", now=now)
    _run(on, "settle_steps", now=now)
    _run(on, "settle_children")
    freed = _rows(on, "settle_free", worker=worker, queues=queues, claim_up_to=claim_up_to, now=now)
    ends = [row[0] for row in _rows(on, "settle_ends", now=now) if row[1] == Code.COMPLETE]
    ended = [TaskEnd(task_id, TaskState.COMPLETE) for task_id in ends]
    accepted = _rows(on, "settle_accepted")
    if any(row[1] == _FAILED for row in accepted):
        _run(on, "settle_failures")
    if failing := [row[0] for row in _rows(on, "settle_failing")]:
        closed = _rows(on, "end_failed", tasks=_json(failing), now=now)
        ended += (TaskEnd(row[0], TaskState.ERROR) for row in closed)
    refused: Sequence[int] = ()
    if len(accepted) < many:
        refused = sorted(set(range(many)) - {row[0] for row in accepted})
    claims = [Claim(row[0], row[1], 1, 1) for row in freed if row[2] == Code.IN_PROGRESS]
    left = any(row[2] == Code.ENQUEUED for row in freed)
    return Settled(refused, claims, ended), left


_FAILED = 2  # index in ATTEMPT_OUTCOMES


def _take_keys(on: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> dict[str, str]:
    """Take the keys of new tasks; tell the holders of those that are taken, by new id."""
    tasks = _json(rows)
    _run(on, "create_keys", tasks=tasks)
    taken = {}
    for task_id, holder, key, same in _rows(on, "taken_keys", tasks=tasks):
        if not same:
            raise registry.key_conflict(key)
        taken[task_id] = holder
    return taken


def _checked(
    on: sqlite3.Connection, task_id: TaskId, action: str, allowed: frozenset[TaskState]
) -> TaskState:
    return acts.require_task(task_id, _one(on, "lock_task", task_id=task_id), action, allowed)


def _stop(
    on: sqlite3.Connection, task_id: TaskId, code: Code, error: str | None, now: float
) -> None:
    """End a task and what of it has not ended."""
    steps = Code.SKIPPED if code is Code.RESOLVED_MANUALLY else Code.CANCELLED
    _run(on, "stop_attempts", task_id=task_id, now=now)
    _run(on, "stop_steps", task_id=task_id, state=int(steps), now=now)
    _run(on, "end_task", task_id=task_id, state=int(code), error=error, now=now)


def _audit(
    on: sqlite3.Connection,
    task_id: TaskId,
    no: int | None,
    action: str,
    act: Act,
    before: str,
    after: str,
    now: float,
) -> None:
    _run(
        on,
        "add_audit",
        task_id=task_id,
        no=no,
        actor=act.actor,
        action=action,
        reason=act.reason,
        before=before,
        after=after,
        now=now,
    )


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
        _json(list(task.tags)),
        task.trace,
        _seconds(task.run_at),
        task.deadline.total_seconds() if task.deadline else None,
    )


def _seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()
