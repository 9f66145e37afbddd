"""What operators do to tasks and steps."""

import sqlite3
from collections.abc import Collection, Mapping

from tasker.model import (
    Code,
    JsonText,
    Outcome,
    StepStatus,
    Task,
    TaskId,
    TaskStatus,
)
from tasker.store import operator_rules
from tasker.store.protocol import AuditNote
from tasker.store.sqlite.driver import execute, fetch, fetch_one, json_text, stop_task
from tasker.store.sqlite.hotpath import settle_within
from tasker.store.sqlite.tasks import Tasks


class Operators(Tasks):
    """What operators do to tasks and steps."""

    async def cancel_task(self, task_id: TaskId, act: AuditNote) -> Task:
        task_id = operator_rules.canonical(task_id)

        def cancel(on: sqlite3.Connection) -> None:
            now = self._now()
            before = _checked(on, task_id, "cancel", operator_rules.OPEN)
            stop_task(on, task_id, Code.CANCELLED, None, now)
            _audit(on, task_id, None, "cancel", act, before, TaskStatus.CANCELLED, now)

        await self._write(cancel)
        self._revocation.set()
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

        def retry(on: sqlite3.Connection) -> None:
            now = self._now()
            state = _checked(on, task_id, "retry", operator_rules.RETRYABLE)
            nos = None if steps is None else json_text(list(steps))
            found = fetch(on, "lock_steps", task_id=task_id, nos=nos)
            operator_rules.require_steps(task_id, steps, [row[0] for row in found])
            for no, name, code, *_ in found:
                before = operator_rules.require_step(name, code, "retry", operator_rules.FAILED)
                used = (counted_attempts or {}).get(no, 0)
                execute(on, "retry_step", task_id=task_id, no=no, counted_attempts=used, now=now)
                _audit(on, task_id, no, "retry", act, before, StepStatus.ENQUEUED, now)
            revived = _reopen(on, task_id, now)
            if not found:
                operator_rules.require_revived(task_id, state, revived)
                _audit(on, task_id, None, "retry", act, state, TaskStatus.IN_PROGRESS, now)

        await self._write(retry)
        self._work.set()
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

        def resolve(on: sqlite3.Connection) -> None:
            now = self._now()
            _checked(on, task_id, action, operator_rules.RETRYABLE)
            found = fetch(on, "lock_steps", task_id=task_id, nos=json_text([no]))
            operator_rules.require_steps(task_id, [no], [row[0] for row in found])
            before = operator_rules.require_step(
                found[0][1], found[0][2], action, operator_rules.RESOLVABLE
            )
            execute(on, "stop_attempt", task_id=task_id, no=no, now=now)
            attempt = fetch_one(on, "take_step", task_id=task_id, no=no, now=now)[0]
            _reopen(on, task_id, now)
            outcomes = [Outcome(task_id, no, attempt, outcome, result, None, 0.0)]
            settle_within(on, None, outcomes, json_text(outcomes), (), 0, now)
            _audit(on, task_id, no, action, act, before, after, now)

        await self._write(resolve)
        self._work.set()
        self._revocation.set()
        return await self.get_task(task_id)

    async def resolve_task(self, task_id: TaskId, act: AuditNote) -> Task:
        task_id = operator_rules.canonical(task_id)

        def resolve(on: sqlite3.Connection) -> None:
            now = self._now()
            before = _checked(on, task_id, "resolve", operator_rules.FAILED_TASK)
            stop_task(on, task_id, Code.RESOLVED_MANUALLY, None, now)
            after = TaskStatus.RESOLVED_MANUALLY
            _audit(on, task_id, None, "resolve_task", act, before, after, now)

        await self._write(resolve)
        return await self.get_task(task_id)


def _checked(
    on: sqlite3.Connection, task_id: TaskId, action: str, allowed: frozenset[TaskStatus]
) -> TaskStatus:
    return operator_rules.require_task(
        task_id, fetch_one(on, "lock_task", task_id=task_id), action, allowed
    )


def _reopen(on: sqlite3.Connection, task_id: TaskId, now: float) -> int:
    """Open a task again; tell how many steps that it had to give up for its deadline revive."""
    revived = fetch(on, "revive_steps", task_id=task_id, now=now)
    execute(on, "reopen_task", task_id=task_id, now=now)
    return len(revived)


def _audit(
    on: sqlite3.Connection,
    task_id: TaskId,
    no: int | None,
    action: str,
    act: AuditNote,
    before: str,
    after: str,
    now: float,
) -> None:
    execute(
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
