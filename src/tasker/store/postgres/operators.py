"""What operators do to tasks and steps."""

from collections.abc import Collection, Mapping

from tasker.model import (
    Code,
    JsonText,
    StepStatus,
    Task,
    TaskId,
    TaskStatus,
)
from tasker.store import operator_rules
from tasker.store.postgres.address import Connection
from tasker.store.postgres.driver import execute, fetch, fetch_one, stop_task
from tasker.store.postgres.tasks import Tasks
from tasker.store.protocol import AuditNote


class Operators(Tasks):
    """What operators do to tasks and steps."""

    async def cancel_task(self, task_id: TaskId, act: AuditNote) -> Task:
        task_id = operator_rules.canonical(task_id)

        async def cancel(on: Connection) -> None:
            before = await _locked(on, task_id, "cancel", operator_rules.OPEN)
            await stop_task(on, task_id, Code.CANCELLED, None)
            await _audit(on, task_id, None, "cancel", act, before, TaskStatus.CANCELLED)
            await execute(on, "revoke")

        await self._retry_on_lock(cancel)
        return await self.get_task(task_id)

    async def retry_steps(
        self,
        task_id: TaskId,
        act: AuditNote,
        *,
        steps: Collection[int] | None = None,
        counted_attempts: Mapping[int, int] | None = None,
    ) -> Task:
        task_id = operator_rules.canonical(task_id)

        async def retry(on: Connection) -> None:
            state = await _locked(on, task_id, "retry", operator_rules.RETRYABLE)
            nos = None if steps is None else list(steps)
            found = await fetch(on, "lock_steps", task_id=task_id, nos=nos)
            operator_rules.require_steps(task_id, steps, [row[0] for row in found])
            for no, name, code, *_ in found:
                before = operator_rules.require_step(name, code, "retry", operator_rules.FAILED)
                used = (counted_attempts or {}).get(no, 0)
                await execute(on, "retry_step", task_id=task_id, no=no, counted_attempts=used)
                await _audit(on, task_id, no, "retry", act, before, StepStatus.ENQUEUED)
            revived = await _reopen(on, task_id)
            if not found:
                operator_rules.require_revived(task_id, state, revived)
                await _audit(on, task_id, None, "retry", act, state, TaskStatus.IN_PROGRESS)
            await execute(on, "wake")

        await self._retry_on_lock(retry)
        return await self.get_task(task_id)

    async def resolve_step(
        self,
        task_id: TaskId,
        no: int,
        result: JsonText | None,
        act: AuditNote,
        *,
        complete: bool = False,
    ) -> Task:
        task_id = operator_rules.canonical(task_id)
        action, after, outcome = operator_rules.resolution(complete)

        async def resolve(on: Connection) -> None:
            await _locked(on, task_id, action, operator_rules.RETRYABLE)
            found = await fetch(on, "lock_steps", task_id=task_id, nos=[no])
            operator_rules.require_steps(task_id, [no], [row[0] for row in found])
            before = operator_rules.require_step(
                found[0][1], found[0][2], action, operator_rules.RESOLVABLE
            )
            await execute(on, "stop_attempt", task_id=task_id, no=no)
            attempt = await fetch_one(on, "take_step", task_id=task_id, no=no)
            await _reopen(on, task_id)
            await execute(
                on,
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
            await _audit(on, task_id, no, action, act, before, after)
            await execute(on, "revoke")

        await self._retry_on_lock(resolve)
        return await self.get_task(task_id)

    async def resolve_task(self, task_id: TaskId, act: AuditNote) -> Task:
        task_id = operator_rules.canonical(task_id)

        async def resolve(on: Connection) -> None:
            before = await _locked(on, task_id, "resolve", operator_rules.FAILED_TASK)
            await stop_task(on, task_id, Code.RESOLVED_MANUALLY, None)
            after = TaskStatus.RESOLVED_MANUALLY
            await _audit(on, task_id, None, "resolve_task", act, before, after)

        await self._retry_on_lock(resolve)
        return await self.get_task(task_id)


async def _locked(
    connection: Connection, task_id: TaskId, action: str, allowed: frozenset[TaskStatus]
) -> TaskStatus:
    row = await fetch_one(connection, "lock_task", task_id=task_id)
    return operator_rules.require_task(task_id, row, action, allowed)


async def _reopen(connection: Connection, task_id: TaskId) -> int:
    """Open a task again; tell how many steps that it had to give up for its deadline revive."""
    revived = await fetch(connection, "revive_steps", task_id=task_id)
    await execute(connection, "reopen_task", task_id=task_id)
    return len(revived)


async def _audit(
    connection: Connection,
    task_id: TaskId,
    no: int | None,
    action: str,
    act: AuditNote,
    before: str,
    after: str,
) -> None:
    await execute(
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
