"""Operator actions on tasks and steps."""

from collections.abc import Collection, Mapping, Sequence

from tasker.errors import FailureHandled, NotFound, TaskChanged, TaskExists, WrongStatus
from tasker.model import (
    Code,
    JsonText,
    Outcome,
    StepStatus,
    Task,
    TaskId,
    TaskStatus,
)
from tasker.store import operator_rules, registry
from tasker.store.operations.publishing import settle_with_events
from tasker.store.operations.tasks import Tasks, read_task
from tasker.store.protocol import AuditNote, StepAction
from tasker.store.rows import step_name
from tasker.store.session import Session

CHILDREN = 100  #: attached tasks cancelled in the transaction that ends their parent


class Operators(Tasks):
    """Implements `tasker.store.protocol.OperatorStore`."""

    async def cancel_task(
        self, task_id: TaskId, act: AuditNote, *, if_match: str | None = None
    ) -> Task:
        task_id = operator_rules.canonical_task_id(task_id)

        async def cancel(tx: Session) -> None:
            before = await lock_task(tx, task_id, "cancel", operator_rules.OPEN, if_match)
            await stop_task(tx, task_id, Code.CANCELLED)
            await audit(tx, task_id, None, "cancel", act, before, TaskStatus.CANCELLED)

        await self._in_yielding_transaction(cancel)
        return await self.get_task(task_id)

    async def retry_steps(
        self,
        task_id: TaskId,
        act: AuditNote,
        *,
        steps: Collection[int] | None = None,
        counted_attempts: Mapping[int, int] | None = None,
        fresh: bool = False,
        if_match: str | None = None,
    ) -> Task:
        task_id = operator_rules.canonical_task_id(task_id)
        counted = counted_attempts or {}

        async def retry(tx: Session) -> None:
            state = await lock_task(tx, task_id, "retry", operator_rules.RETRYABLE, if_match)
            await _regain_key(tx, task_id)
            nos = None if steps is None else list(steps)
            failed = await tx.lock("chosen_steps", task_id=task_id, nos=nos)
            operator_rules.require_steps(task_id, steps, [row["no"] for row in failed])
            for row in failed:
                no = row["no"]
                before = operator_rules.require_step(
                    step_name(row), row["state"], "retry", operator_rules.FAILED
                )
                used = counted.get(row["template_node"] or no, 0)
                if fresh:
                    await tx.all("forget_calls", task_id=task_id, no=no)
                    await tx.all("free_child_keys", task_id=task_id, no=no)
                    await tx.all("return_signals", task_id=task_id, no=no)
                waited_for = await _take_back_failure(tx, task_id, no)
                if row["is_handled"] and not (waited_for or row["ends_task"]):
                    raise FailureHandled(row["name"])
                await tx.all("retry_step", task_id=task_id, no=no, counted_attempts=used)
                action = "retry_fresh" if fresh else "retry"
                await audit(tx, task_id, no, action, act, before, StepStatus.ENQUEUED)
            revived = await _reopen(tx, task_id)
            if not failed:
                operator_rules.require_revived(task_id, state, revived)
                await audit(tx, task_id, None, "retry", act, state, TaskStatus.IN_PROGRESS)
            await tx.call("wake")

        await self._in_yielding_transaction(retry)
        return await self.get_task(task_id)

    async def resolve_step(
        self,
        task_id: TaskId,
        no: int,
        result: JsonText | None,
        act: AuditNote,
        *,
        action: StepAction = StepAction.RESOLVE,
        if_match: str | None = None,
    ) -> Task:
        task_id = operator_rules.canonical_task_id(task_id)
        after, outcome = operator_rules.resolution(action)

        async def resolve(tx: Session) -> None:
            await lock_task(tx, task_id, action, operator_rules.RETRYABLE, if_match)
            await _regain_key(tx, task_id)
            steps = await tx.lock("chosen_steps", task_id=task_id, nos=[no])
            operator_rules.require_steps(task_id, [no], [row["no"] for row in steps])
            before = operator_rules.require_step(
                step_name(steps[0]), steps[0]["state"], action, operator_rules.RESOLVABLE
            )
            await tx.all("stop_attempt", task_id=task_id, no=no)
            await _take_back_failure(tx, task_id, no)
            (taken,) = await tx.all("take_step", task_id=task_id, no=no)
            await tx.all("end_waits", task_id=task_id, no=no)
            await _reopen(tx, task_id)
            resolved = Outcome(task_id, no, taken["attempt"], outcome, result, None, 0.0)
            await settle_with_events(tx, [resolved])
            await audit(tx, task_id, no, action, act, before, after)
            await tx.call("revoke")

        await self._in_yielding_transaction(resolve)
        return await self.get_task(task_id)

    async def resolve_task(
        self, task_id: TaskId, act: AuditNote, *, if_match: str | None = None
    ) -> Task:
        task_id = operator_rules.canonical_task_id(task_id)

        async def resolve(tx: Session) -> None:
            allowed = operator_rules.FAILED_TASK
            before = await lock_task(tx, task_id, "resolve", allowed, if_match)
            await stop_task(tx, task_id, Code.RESOLVED_MANUALLY)
            after = TaskStatus.RESOLVED_MANUALLY
            await audit(tx, task_id, None, "resolve_task", act, before, after)

        await self._in_yielding_transaction(resolve)
        return await self.get_task(task_id)


async def _take_back_failure(tx: Session, task_id: TaskId, no: int) -> bool:
    """Let the pending children of a failed step wait for it again; return whether any do."""
    taken_back = await tx.all("take_back_failure", task_id=task_id, no=no)
    await tx.all("take_back_sink", task_id=task_id, no=no)
    return bool(taken_back)


async def stop_task(
    tx: Session, task_id: TaskId, code: Code, error: JsonText | None = None
) -> None:
    """End a task, with its steps that have not ended."""
    steps = Code.SKIPPED if code is Code.RESOLVED_MANUALLY else Code.CANCELLED
    await tx.all("stop_attempts", task_id=task_id)
    await tx.all("stop_steps", task_id=task_id, state=int(steps))
    await tx.all("end_waits_of_task", task_id=task_id)
    await tx.all("end_task", task_id=task_id, state=int(code), error=error)
    await tx.call("wake_parents", ended=[task_id])
    await tx.call("revoke")
    for row in await tx.all("attached_tasks", parent_id=task_id, limit=CHILDREN):
        await cancel_child(tx, TaskId(row["id"]), task_id)


async def cancel_child(tx: Session, task_id: TaskId, parent_id: TaskId) -> None:
    """Cancel an attached task whose parent has ended."""
    await cancel_if_open(
        tx, task_id, AuditNote(actor="tasker", reason=f"its parent {parent_id} has ended")
    )


async def cancel_if_open(tx: Session, task_id: TaskId, act: AuditNote) -> None:
    """Cancel a task, unless it has ended or was pruned."""
    try:
        before = await lock_task(tx, task_id, "cancel", operator_rules.OPEN)
    except (NotFound, WrongStatus):
        return
    await stop_task(tx, task_id, Code.CANCELLED)
    await audit(tx, task_id, None, "cancel", act, before, TaskStatus.CANCELLED)


async def lock_task(
    tx: Session,
    task_id: TaskId,
    action: str,
    allowed: frozenset[TaskStatus],
    if_match: str | None = None,
) -> TaskStatus:
    """Lock a task and return its status. Raises: NotFound, TaskChanged, WrongStatus."""
    rows = await tx.lock("task_state", task_id=task_id)
    if rows and if_match is not None:
        await tx.lock("lock_steps", task_id=task_id)  # they change without the task
        etag = (await read_task(tx, task_id)).etag or ""
        if etag != if_match:
            raise TaskChanged(task_id, etag)
    return operator_rules.require_task(task_id, rows[0] if rows else None, action, allowed)


async def _regain_key(tx: Session, task_id: TaskId) -> None:
    """Give a task to reopen its key back. Raise TaskExists if another open task has it."""
    lost = await tx.one("lost_key", task_id=task_id)
    if lost is None:
        return
    digest = registry.submission_digest(lost["template_id"], lost["context"])
    key, namespace = lost["key"], lost["namespace"]
    await tx.all("regain_key", task_id=task_id, namespace=namespace, key=key, digest=digest)
    holder = await tx.one("key_holder", task_id=task_id)
    if holder is not None:
        raise TaskExists(holder["key"], holder["task_id"])


async def _reopen(tx: Session, task_id: TaskId) -> int:
    """Reopen a task; return how many steps cancelled by its deadline were revived."""
    revived = await tx.all("revive_steps", task_id=task_id)
    await tx.all("reopen_task", task_id=task_id)
    if await tx.all("pause_reopened_task", task_id=task_id):
        await set_paused(tx, [task_id], paused=True)
    return len(revived)


async def set_paused(tx: Session, tasks: Sequence[str], *, paused: bool) -> None:
    """Take the steps of locked tasks out of their queues, or put them back."""
    if not tasks:
        return
    await tx.lock("steps_of_tasks", tasks=list(tasks))  # so that none is enqueued meanwhile
    await tx.all("mark_tasks", tasks=list(tasks), paused=paused)
    await tx.all("pause_steps" if paused else "resume_steps", tasks=list(tasks))
    if not paused:
        await tx.call("wake")


async def audit(
    tx: Session,
    task_id: TaskId,
    no: int | None,
    action: str,
    act: AuditNote,
    before: str,
    after: str,
) -> None:
    await tx.all(
        "add_audit",
        task_id=task_id,
        no=no,
        actor=act.actor,
        action=action,
        reason=act.reason,
        before=before,
        after=after,
    )
