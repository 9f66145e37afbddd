"""Announcing and listing workers, and the janitor's duties."""

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from functools import partial

from tasker import codec
from tasker.completions import CALL
from tasker.durable import DurableCall, DurableCallKind
from tasker.errors import LeaseLost, NotFound
from tasker.model import (
    MOST_SPAWNED,
    MOST_WORKER_ATTEMPTS,
    Claim,
    ExpiredAttempt,
    FailUnclaimedResult,
    JsonText,
    Outcome,
    OutcomeCode,
    Queue,
    QueueId,
    RemoteWorker,
    RunningStep,
    ServedQueue,
    StatusCode,
    StoredSpawn,
    TaskEnd,
    TaskId,
    TaskStatus,
    TemplateId,
    UnservedQueue,
    WorkerAttempt,
    WorkerId,
    WorkerInfo,
    WorkerOnSameMachine,
    WorkerRegistration,
)
from tasker.store import operator_rules, unserved
from tasker.store.operations.operators import cancel_attached_task, end_or_compensate_task
from tasker.store.operations.paging import BEFORE_ALL_TASKS
from tasker.store.operations.places import ConcurrencyPlaces
from tasker.store.operations.publishing import settle_with_events
from tasker.store.operations.teams import add_team_audit_entry
from tasker.store.operations.templates import find_template_ids
from tasker.store.protocol import UNKNOWN_PROCESS, AuditNote
from tasker.store.rows import Row, step_name
from tasker.store.session import Session

_ATTEMPTS_OF_TASKS = 1_000  #: the newest tasks, whose attempts are read
_ATTEMPTS_READ = 20_000


class Workers(ConcurrencyPlaces):
    """Announcing and listing workers, and the janitor's duties."""

    async def register_worker(
        self,
        name: str,
        *,
        lease: timedelta,
        slots: int,
        handlers: Sequence[str],
        process: WorkerRegistration = UNKNOWN_PROCESS,
        registration: JsonText | None = None,
        act: AuditNote | None = None,
    ) -> WorkerId:
        async def add_and_audit_worker(tx: Session) -> WorkerId:
            (row,) = await tx.fetch_all(
                "register_worker",
                name=name,
                lease=lease.total_seconds(),
                slots=slots,
                handlers=list(handlers),
                labels=codec.dumps(process.labels),
                build=process.build,
                sdk=process.sdk,
                principal=process.principal,
                host=process.host,
                machine=process.machine,
                pid=process.pid,
                pid_started=process.pid_started,
                registration=registration or "",
            )
            if act is not None:
                facts = {"name": name, "sdk": process.sdk, "build": process.build}
                after = {**facts, "handlers": list(handlers)}
                await add_team_audit_entry(
                    tx, act, "register_worker", f"worker {row['id']}", None, after
                )
            return WorkerId(row["id"])

        return await self._in_write_transaction(add_and_audit_worker)

    async def find_remote_worker(self, worker: WorkerId) -> RemoteWorker | None:
        row = await self._fetch_one("find_remote_worker", worker=worker)
        if row is None:
            return None
        return RemoteWorker(
            WorkerId(row["id"]),
            row["slots"],
            row["principal"],
            row["registration"],
            bool(row["quiet"]),
            bool(row["alive"]),
        )

    async def drain_worker(self, worker: WorkerId, act: AuditNote) -> None:
        async def drain_and_audit_worker(tx: Session) -> None:
            row = await tx.fetch_one("drain_worker", worker=worker)
            if row is None:
                raise NotFound(
                    f"no live worker has the id {worker}; `GET /v1/workers` lists the workers"
                )
            await tx.fetch_all("delete_worker_queues", worker=worker)
            await tx.call_function(
                "notify_revocation"
            )  # wakes renewals, so that remote workers learn it at once
            await add_team_audit_entry(
                tx, act, "drain_worker", f"worker {worker}", None, row["name"]
            )

        await self._in_write_transaction(drain_and_audit_worker)

    async def find_or_add_ticket_signing_keys(self) -> list[str]:
        rows = await self._fetch_all("list_ticket_signing_keys")
        if not rows:
            await self._execute_in_transaction("add_first_ticket_signing_key")
            rows = await self._fetch_all("list_ticket_signing_keys")
        return [row["secret"] for row in rows]

    async def add_served_queues(self, worker: WorkerId, queues: Sequence[QueueId]) -> None:
        async def add_served_queues(tx: Session) -> None:
            await tx.fetch_all("delete_served_queues_of_dead_workers")
            await tx.fetch_all("add_served_queues", worker=worker, queues=list(queues))

        await self._in_write_transaction(add_served_queues)

    async def serve_unserved_engine_queues(self, worker: WorkerId) -> None:
        async def serve_unserved_engine_queues(tx: Session) -> None:
            await tx.fetch_all("leave_engine_queues_with_other_worker", worker=worker)
            await tx.fetch_all("serve_unserved_engine_queues", worker=worker)

        await self._in_write_transaction(serve_unserved_engine_queues)

    async def count_open_tasks_by_template(self, most: int) -> dict[TemplateId, int]:
        rows = await self._fetch_all("count_open_tasks_by_template", most=most)
        return {TemplateId(row["template_id"]): row["tasks"] for row in rows}

    async def list_spawns(self, task_id: TaskId, join_no: int) -> list[StoredSpawn]:
        rows = await self._fetch_all("list_spawns", task_id=task_id, join_no=join_no)
        return [StoredSpawn(*(row[field] for field in StoredSpawn._fields)) for row in rows]

    async def count_failed_instances(self, spawn: StoredSpawn) -> int:
        failed = 0
        for first_no, last_no in _instance_pages(spawn):
            row = await self._fetch_one(
                "count_failed_instances",
                task_id=spawn.task_id,
                first_no=first_no,
                last_no=last_no,
                size=spawn.size,
            )
            failed += row["instances"] if row else 0
        return failed

    async def cancel_unstarted_instances(self, spawn: StoredSpawn) -> None:
        for first_no, last_no in _instance_pages(spawn):
            await self._execute_in_transaction(
                "cancel_unstarted_instances",
                task_id=spawn.task_id,
                first_no=first_no,
                last_no=last_no,
            )

    async def list_held_claims(self, worker: WorkerId) -> list[Claim]:
        return [
            _parse_claim(row) for row in await self._fetch_all("list_held_claims", worker=worker)
        ]

    async def load_durable_calls(self, claim: Claim) -> list[DurableCall]:
        rows = await self._fetch_all("load_durable_calls", task_id=claim.task_id, no=claim.no)
        return [
            DurableCall(row["name"], DurableCallKind(row["kind"]), row["value"], row["remaining"])
            for row in rows
        ]

    async def retire_worker(self, worker: WorkerId, act: AuditNote | None = None) -> None:
        async def retire_and_audit_worker(tx: Session) -> None:
            await tx.fetch_all("retire_worker", worker=worker)
            await tx.fetch_all("delete_worker_queues", worker=worker)
            if act is not None:
                await add_team_audit_entry(tx, act, "retire_worker", f"worker {worker}", None, None)

        await self._in_write_transaction(retire_and_audit_worker)

    async def list_workers_on_machine(self, machine: str) -> list[WorkerOnSameMachine]:
        rows = await self._fetch_all("list_workers_on_machine", machine=machine)
        return [
            WorkerOnSameMachine(*(row[name] for name in WorkerOnSameMachine._fields))
            for row in rows
        ]

    async def renew_lease(
        self, worker: WorkerId, held: Sequence[Claim], *, lease: timedelta
    ) -> list[Claim]:
        renewed = await self.renew_leases({worker: held}, lease=lease)
        if worker not in renewed:
            raise LeaseLost(f"the lease of worker {worker} has expired")
        return list(renewed[worker].revoked)

    async def worker_steps(self, worker: WorkerId, *, limit: int = 200) -> list[RunningStep]:
        async def read_running_steps(tx: Session) -> list[RunningStep]:
            return [
                RunningStep(
                    task_id=TaskId(row["task_id"]),
                    namespace=row["namespace"],
                    name=row["template"],
                    version=row["version"],
                    step=step_name(row),
                    attempt=row["attempt"],
                    claimed_at=tx.read.instant(row["claimed_at"]),
                )
                for row in await tx.fetch_all("worker_steps", worker=worker, limit=limit)
            ]

        return await self._in_read_transaction(read_running_steps)

    async def worker_attempts(
        self,
        worker: WorkerId,
        *,
        namespaces: Collection[str] | None = None,
        limit: int = MOST_WORKER_ATTEMPTS,
    ) -> list[WorkerAttempt]:
        async def read_worker_attempts(tx: Session) -> list[WorkerAttempt]:
            templates = None
            if namespaces is not None:
                templates = await find_template_ids(tx, None, None, None, visible=namespaces)
            rows = await tx.fetch_all(
                "worker_attempts",
                worker=worker,
                templates=templates,
                since=BEFORE_ALL_TASKS,
                most=_ATTEMPTS_OF_TASKS,
                most_attempts=_ATTEMPTS_READ,
                limit=limit,
            )
            return [tx.read.parse_worker_attempt(row) for row in rows]

        return await self._in_read_transaction(read_worker_attempts)

    async def worker_queues(self, worker: WorkerId) -> list[ServedQueue]:
        return [
            ServedQueue(
                namespace=row["namespace"], handler=row["handler"], requirement=row["requirement"]
            )
            for row in await self._fetch_all("worker_queues", worker=worker)
        ]

    async def list_workers(self) -> list[WorkerInfo]:
        async def read_workers(tx: Session) -> list[WorkerInfo]:
            return [tx.read.parse_worker(row) for row in await tx.fetch_all("list_workers")]

        return await self._in_read_transaction(read_workers)

    async def list_expired_attempts(self, limit: int) -> list[ExpiredAttempt]:
        rows = await self._fetch_all("list_expired_attempts", limit=limit)
        return [
            ExpiredAttempt(
                _parse_claim(row),
                row["template_id"],
                row["worker_name"],
                row["lost_attempts"],
                row["node"],
            )
            for row in rows
        ]

    async def fail_unclaimed_steps(self, limit: int) -> FailUnclaimedResult:
        if await self._fetch_one("lock_steps_past_queue_timeout", external=CALL, limit=1) is None:
            return FailUnclaimedResult((), ())
        return await self._in_write_transaction(lambda tx: _fail_unclaimed_steps(tx, limit))

    async def unserved_queues(self, longer_than: timedelta, limit: int) -> list[UnservedQueue]:
        wait = longer_than.total_seconds()

        async def read_unserved_queues(tx: Session) -> list[UnservedQueue]:
            rows = await tx.fetch_all("unserved_queues", longer_than=wait, limit=limit)
            if not rows:
                return []
            workers = [tx.read.parse_worker(row) for row in await tx.fetch_all("list_workers")]
            queues = [Queue(*(row[field] for field in Queue._fields)) for row in rows]
            return [
                UnservedQueue(
                    queue, row["seconds"], unserved.explain_unserved_queue(queue, workers)
                )
                for queue, row in zip(queues, rows, strict=True)
            ]

        return await self._in_read_transaction(read_unserved_queues)

    async def end_overdue_and_failed_tasks(self) -> list[TaskEnd]:
        ended: list[TaskEnd] = []
        if await self._fetch_one("open_tasks_with_failed_step"):
            ended += await self._in_write_transaction(_end_failed_tasks)
        if await self._fetch_one("lock_overdue_tasks", limit=1):
            ended += await self._in_yielding_transaction(_end_overdue_tasks)
        await self.continue_paged_actions()
        await self.pause_late_tasks_of_paused_templates()
        return ended

    async def cancel_orphaned_tasks(self, limit: int) -> int:
        orphans = await self._fetch_all("orphaned_tasks", limit=limit)
        for orphan in orphans:
            await self._in_yielding_transaction(partial(_cancel_orphan, orphan=orphan))
        return len(orphans)


async def _cancel_orphan(tx: Session, orphan: Row) -> None:
    await cancel_attached_task(tx, TaskId(orphan["id"]), TaskId(orphan["parent_id"]))


async def _fail_unclaimed_steps(tx: Session, limit: int) -> FailUnclaimedResult:
    steps, outcomes = [], []
    for row in await tx.fetch_all("lock_steps_past_queue_timeout", external=CALL, limit=limit):
        task_id, no = TaskId(row["task_id"]), row["no"]
        (taken,) = await tx.fetch_all("begin_attempt_without_worker", task_id=task_id, no=no)
        error = operator_rules.queue_timeout_error(row["queue_timeout"])
        code = OutcomeCode.ERROR
        outcomes.append(Outcome(task_id, no, taken["attempt"], code, None, error, 0.0))
        steps.append((task_id, row["name"]))
    if not outcomes:
        return FailUnclaimedResult((), ())
    settled = await settle_with_events(tx, outcomes, allow_invalid=True)
    return FailUnclaimedResult(steps, settled.ended)


async def _end_failed_tasks(tx: Session) -> list[TaskEnd]:
    return await tx.end_failed_tasks(
        [TaskId(row["id"]) for row in await tx.fetch_all("open_tasks_with_failed_step")]
    )


async def _end_overdue_tasks(tx: Session) -> list[TaskEnd]:
    overdue = [TaskId(row["id"]) for row in await tx.fetch_all("lock_overdue_tasks", limit=100)]
    return [
        TaskEnd(task_id, TaskStatus.ERROR)
        for task_id in overdue
        if await end_or_compensate_task(tx, task_id, StatusCode.ERROR, operator_rules.OVERDUE)
    ]


def _instance_pages(spawn: StoredSpawn) -> Iterator[tuple[int, int]]:
    """Yield the first and last numbers of parts of a spawn, each of whole instances."""
    step = max(MOST_SPAWNED // spawn.size, 1) * spawn.size
    end = spawn.first_no + spawn.instances * spawn.size
    for first_no in range(spawn.first_no, end, step):
        yield first_no, min(first_no + step, end) - 1


def _parse_claim(row: Row) -> Claim:
    return Claim(
        row["task_id"],
        row["no"],
        row["attempt"],
        row["counted_attempts"],
        row["checkpoint"],
        row["queued"],
        row["parked"],
    )
