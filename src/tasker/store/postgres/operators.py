"""What operators do to tasks and steps."""

from collections.abc import Collection, Mapping

from tasker.model import (
    Code,
    JsonText,
    StepState,
    Task,
    TaskId,
    TaskState,
)
from tasker.store import acts
from tasker.store.postgres.driver import Connection, execute, fetch, fetch_one, stop_task
from tasker.store.postgres.tasks import Tasks
from tasker.store.protocol import Act


class Operators(Tasks):
    """What operators do to tasks and steps."""

    async def cancel_task(self, task_id: TaskId, act: Act) -> Task:
        async with self._transaction() as connection:
            before = await _locked(connection, task_id, "cancel", acts.OPEN)
            await stop_task(connection, task_id, Code.CANCELLED, None)
            await _audit(connection, task_id, None, "cancel", act, before, TaskState.CANCELLED)
            await execute(connection, "recall")
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
            locked = await fetch(connection, "lock_steps", task_id=task_id, nos=nos)
            acts.require_steps(task_id, steps, [row[0] for row in locked])
            for no, name, code, *_ in locked:
                before = acts.require_step(name, code, "retry", acts.FAILED)
                used = (tries or {}).get(no, 0)
                await execute(connection, "retry_step", task_id=task_id, no=no, tries=used)
                await _audit(connection, task_id, no, "retry", act, before, StepState.ENQUEUED)
            await execute(connection, "reopen_task", task_id=task_id)
            await execute(connection, "wake")
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
            locked = await fetch(connection, "lock_steps", task_id=task_id, nos=[no])
            acts.require_steps(task_id, [no], [row[0] for row in locked])
            before = acts.require_step(locked[0][1], locked[0][2], action, acts.RESOLVABLE)
            attempt = await fetch_one(connection, "take_step", task_id=task_id, no=no)
            await execute(connection, "reopen_task", task_id=task_id)
            await execute(
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
            await execute(connection, "recall")
        return await self.get_task(task_id)

    async def resolve_task(self, task_id: TaskId, act: Act) -> Task:
        async with self._transaction() as connection:
            before = await _locked(connection, task_id, "resolve", acts.FAILED_TASK)
            await stop_task(connection, task_id, Code.RESOLVED_MANUALLY, None)
            after = TaskState.RESOLVED_MANUALLY
            await _audit(connection, task_id, None, "resolve_task", act, before, after)
        return await self.get_task(task_id)


async def _locked(
    connection: Connection, task_id: TaskId, action: str, allowed: frozenset[TaskState]
) -> TaskState:
    row = await fetch_one(connection, "lock_task", task_id=task_id)
    return acts.require_task(task_id, row, action, allowed)


async def _audit(
    connection: Connection,
    task_id: TaskId,
    no: int | None,
    action: str,
    act: Act,
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
