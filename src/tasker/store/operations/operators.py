"""Operator actions on tasks and steps."""

from collections.abc import Awaitable, Callable, Collection, Mapping

from tasker import limits
from tasker.errors import (
    CompensationStarted,
    NotFound,
    TaskChanged,
    TaskExists,
    WrongStatus,
)
from tasker.model import (
    JsonText,
    Outcome,
    StatusCode,
    Task,
    TaskId,
    TaskStatus,
)
from tasker.store import operator_rules, registry
from tasker.store.operations import compensation, paging
from tasker.store.operations.auditing import add_audit_entry
from tasker.store.operations.paging import PagedAction, PagedActionKind
from tasker.store.operations.pausing import pause_or_resume_next_page, set_tasks_paused
from tasker.store.operations.publishing import settle_with_events
from tasker.store.operations.retrying import (
    TaskRetry,
    has_unfinished_retry,
    require_only_compensating_steps,
    retry_next_page,
    revert_failures,
    revive_all_cancelled_steps,
    revive_cancelled_steps,
)
from tasker.store.operations.stopping import stop_next_page, stop_steps
from tasker.store.operations.tasks import Tasks, read_task
from tasker.store.protocol import AuditNote, StepResolution
from tasker.store.rows import step_name
from tasker.store.session import Session

_TASKS = 100  #: tasks whose actions one call of `continue_paged_actions` carries out
CHILDREN = 100  #: attached tasks cancelled in the transaction that ends their parent


class Operators(Tasks):
    """Implements `tasker.store.protocol.OperatorStore`."""

    async def continue_paged_actions(self) -> None:
        """Complete unfinished actions on tasks with many steps."""
        for row in await self._fetch_all("tasks_with_paged_actions", limit=_TASKS):
            await self._finish_actions(TaskId(row["task_id"]))

    async def _finish_actions(self, task_id: TaskId) -> None:
        """Complete unfinished actions on a task."""
        while await self._in_yielding_transaction(lambda tx: _perform_next_page(tx, task_id)):
            pass

    async def cancel_task(
        self, task_id: TaskId, act: AuditNote, *, if_match: str | None = None
    ) -> Task:
        task_id = operator_rules.canonical_task_id(task_id)

        await self._in_yielding_transaction(lambda tx: cancel_open_task(tx, task_id, act, if_match))
        await self._finish_actions(task_id)
        return await self.get_task(task_id)

    async def record_reveal(
        self, task_id: TaskId, act: AuditNote, *, no: int | None = None
    ) -> None:
        task_id = operator_rules.canonical_task_id(task_id)

        async def audit_reveal(tx: Session) -> None:
            status = (await read_task(tx, task_id)).status
            await add_audit_entry(tx, task_id, no, "reveal", act, status, status)

        await self._in_yielding_transaction(audit_reveal)

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

        await self._in_yielding_transaction(
            lambda tx: retry_failed_steps(
                tx,
                task_id,
                act,
                steps=steps,
                counted_attempts=counted_attempts or {},
                fresh=fresh,
                if_match=if_match,
            )
        )
        await self._finish_actions(task_id)
        return await self.get_task(task_id)

    async def resolve_step(
        self,
        task_id: TaskId,
        no: int,
        result: JsonText | None,
        act: AuditNote,
        *,
        action: StepResolution = StepResolution.RESOLVE,
        if_match: str | None = None,
    ) -> Task:
        task_id = operator_rules.canonical_task_id(task_id)
        after, outcome = operator_rules.resolution_outcome(action)

        async def lock_and_resolve_step(tx: Session) -> None:
            await lock_task_for_action(tx, task_id, action, operator_rules.RETRYABLE, if_match)
            await _regain_idempotency_key(tx, task_id)
            steps = await tx.lock_rows("steps_by_number", task_id=task_id, nos=[no])
            operator_rules.require_steps_exist(task_id, [no], [row["no"] for row in steps])
            planned = steps[0]["undoes"] is not None
            undoing = planned or await compensation.has_compensation_begun(tx, task_id)
            if undoing:
                require_only_compensating_steps(task_id, steps, action)
            before = operator_rules.require_step_status(
                step_name(steps[0]), steps[0]["state"], action, operator_rules.RESOLVABLE
            )
            if not undoing:
                await compensation.cancel_unbegun_compensation(tx, task_id)
            await tx.fetch_all("store_overwritten_attempt", task_id=task_id, no=no)
            await revert_failures(tx, task_id, [no])
            (taken,) = await tx.fetch_all("begin_attempt_without_worker", task_id=task_id, no=no)
            await tx.fetch_all("delete_waits_of_step", task_id=task_id, no=no)
            if not undoing:
                await revive_all_cancelled_steps(tx, task_id, no, act)
            await _reopen_task(tx, task_id)
            resolved = Outcome(task_id, no, taken["attempt"], outcome, result, None, 0.0)
            await settle_with_events(tx, [resolved])
            await add_audit_entry(tx, task_id, no, action, act, before, after)
            await tx.call_function("notify_revocation")

        await self._in_yielding_transaction(lock_and_resolve_step)
        await self._finish_actions(task_id)
        task = await self.get_task(task_id)
        if task.compensation:  # which the resolution may have begun
            await self._try_admit_tasks_to_freed_places([task_id])
        return task

    async def resolve_task(
        self, task_id: TaskId, act: AuditNote, *, if_match: str | None = None
    ) -> Task:
        task_id = operator_rules.canonical_task_id(task_id)

        await self._in_yielding_transaction(
            lambda tx: resolve_failed_task(tx, task_id, act, if_match)
        )
        await self._finish_actions(task_id)
        return await self.get_task(task_id)


async def cancel_open_task(
    tx: Session, task_id: TaskId, act: AuditNote, if_match: str | None = None
) -> None:
    """Cancel an open task. Raises what `OperatorStore.cancel_task` raises."""
    before = await lock_task_for_action(tx, task_id, "cancel", operator_rules.OPEN, if_match)
    await compensation.require_no_compensation(tx, task_id, "cancel")
    await _cancel_locked_task(tx, task_id, act, before)


async def retry_failed_steps(
    tx: Session,
    task_id: TaskId,
    act: AuditNote,
    *,
    steps: Collection[int] | None,
    counted_attempts: Mapping[int, int],
    fresh: bool,
    if_match: str | None = None,
) -> None:
    """Enqueue failed steps of a task again; see `OperatorStore.retry_steps`."""
    state = await lock_task_for_action(tx, task_id, "retry", operator_rules.RETRYABLE, if_match)
    await _regain_idempotency_key(tx, task_id)
    undoing = await compensation.has_compensation_begun(tx, task_id)
    nos = None if steps is None else sorted(set(steps))
    retrying = TaskRetry(task_id, act, counted_attempts, fresh, undoing, nos)
    await retrying.require_retryable(tx)
    failed, more_failed = await retrying.lock_next_failed(tx, 0)
    cancelled, more_cancelled = await retrying.lock_next_cancelled(tx, 0)
    if undoing:
        require_only_compensating_steps(task_id, failed, "retry")
    else:
        await compensation.cancel_unbegun_compensation(tx, task_id)
    others = await has_unfinished_retry(tx, task_id)
    held = others or more_failed is not None or more_cancelled is not None
    retrying.require_waiting_children(failed, await retrying.revert_failures(tx, failed))
    await retrying.enqueue_failed(tx, failed, held=held)
    if not held:
        await revive_cancelled_steps(tx, task_id, cancelled, held=False)
    elif more_failed is not None:
        await retrying.store_remaining_steps(tx, "failed", more_failed)
    elif not others:
        await retrying.store_remaining_steps(tx, "cancelled", 0)
    await _reopen_task(tx, task_id)
    if not failed:
        revived = bool(cancelled) or (held and await retrying.has_steps_to_retry(tx))
        operator_rules.require_any_step_revived(task_id, state, revived=revived)
        await add_audit_entry(tx, task_id, None, "retry", act, state, TaskStatus.IN_PROGRESS)
    await tx.call_function("wake_workers")


async def resolve_failed_task(
    tx: Session, task_id: TaskId, act: AuditNote, if_match: str | None = None
) -> None:
    """Resolve a failed task. Raises what `OperatorStore.resolve_task` raises."""
    before = await lock_task_for_action(
        tx, task_id, "resolve", operator_rules.FAILED_TASK, if_match
    )
    await end_task_with_steps(tx, task_id, StatusCode.RESOLVED_MANUALLY)
    after = TaskStatus.RESOLVED_MANUALLY
    await add_audit_entry(tx, task_id, None, "resolve_task", act, before, after)


async def _perform_next_page(tx: Session, task_id: TaskId) -> bool:
    """Change the next page of steps of a task; return whether there may be another."""
    rows = await tx.lock_rows("task_state", task_id=task_id)  # before its steps, as all actions do
    if rows and rows[0]["state"] != StatusCode.OPEN:
        await paging.drop_remaining_actions(tx, [task_id], PagedActionKind.RETRY)
    actions = await paging.list_paged_actions(tx, task_id)
    if actions:
        await _PAGES[actions[0].kind](tx, actions[0])
    return bool(actions)


_PAGES: Mapping[PagedActionKind, Callable[[Session, PagedAction], Awaitable[None]]] = {
    PagedActionKind.END: stop_next_page,
    PagedActionKind.PAUSE: pause_or_resume_next_page,
    PagedActionKind.RETRY: retry_next_page,
}


async def end_or_compensate_task(
    tx: Session, task_id: TaskId, code: StatusCode, error: JsonText | None = None
) -> bool:
    """End a task, or start its compensation first; return whether it has ended."""
    if await compensation.begin_compensation(tx, task_id, code, error):
        tx.ended.append(task_id)
        await _cancel_attached_tasks(tx, task_id)
        return False
    await end_task_with_steps(tx, task_id, code, error)
    return True


async def _cancel_locked_task(
    tx: Session, task_id: TaskId, act: AuditNote, before: TaskStatus
) -> None:
    ended = await end_or_compensate_task(tx, task_id, StatusCode.CANCELLED)
    after = TaskStatus.CANCELLED if ended else TaskStatus.IN_PROGRESS
    await add_audit_entry(tx, task_id, None, "cancel", act, before, after)


async def end_task_with_steps(
    tx: Session, task_id: TaskId, code: StatusCode, error: JsonText | None = None
) -> None:
    """End a task with its unfinished steps; if there are many, the rest follow in pages."""
    steps = StatusCode.SKIPPED if code is StatusCode.RESOLVED_MANUALLY else StatusCode.CANCELLED
    await stop_steps(tx, task_id, steps, compensated=False)
    await tx.fetch_all("end_task", task_id=task_id, state=int(code), error=error)
    tx.ended.append(task_id)
    await tx.call_function("wake_steps_waiting_for_tasks", ended=[task_id])
    await tx.call_function("notify_revocation")
    await _cancel_attached_tasks(tx, task_id)


async def _cancel_attached_tasks(tx: Session, task_id: TaskId) -> None:
    for row in await tx.fetch_all("lock_attached_tasks", parent_id=task_id, limit=CHILDREN):
        await cancel_attached_task(tx, TaskId(row["id"]), task_id)


async def cancel_attached_task(tx: Session, task_id: TaskId, parent_id: TaskId) -> None:
    """Cancel an attached task whose parent has ended."""
    await cancel_task_if_open(
        tx, task_id, AuditNote(actor="tasker", reason=f"its parent {parent_id} has ended")
    )


async def cancel_task_if_open(tx: Session, task_id: TaskId, act: AuditNote) -> None:
    """Cancel a task, unless it has ended or was pruned."""
    try:
        before = await lock_task_for_action(tx, task_id, "cancel", operator_rules.OPEN)
        await compensation.require_no_compensation(tx, task_id, "cancel")
    except (NotFound, WrongStatus, CompensationStarted):
        return
    await _cancel_locked_task(tx, task_id, act, before)


async def lock_task_for_action(
    tx: Session,
    task_id: TaskId,
    action: str,
    allowed: frozenset[TaskStatus],
    if_match: str | None = None,
) -> TaskStatus:
    """Lock a task and return its status. Raises: NotFound, TaskChanged, WrongStatus."""
    rows = await tx.lock_rows("task_state", task_id=task_id)
    if rows and if_match is not None:
        # steps change without the task; the ETag depends on those that are counted
        await tx.lock_rows("unfinished_steps", task_id=task_id, counted=limits.STEPS_PAGE)
        etag = (await read_task(tx, task_id)).etag or ""
        if etag != if_match:
            raise TaskChanged(task_id, etag)
    return operator_rules.require_task_status(task_id, rows[0] if rows else None, action, allowed)


async def _regain_idempotency_key(tx: Session, task_id: TaskId) -> None:
    """Return its key to a task to be reopened. Raise TaskExists if another open task has it."""
    lost = await tx.fetch_one("lost_idempotency_key", task_id=task_id)
    if lost is None:
        return
    digest = registry.submission_digest(lost["template_id"], lost["context"])
    key, namespace = lost["key"], lost["namespace"]
    await tx.fetch_all(
        "regain_idempotency_key", task_id=task_id, namespace=namespace, key=key, digest=digest
    )
    holder = await tx.fetch_one("other_task_with_idempotency_key", task_id=task_id)
    if holder is not None:
        raise TaskExists(holder["key"], holder["task_id"])


async def _reopen_task(tx: Session, task_id: TaskId) -> None:
    """Reopen a task so that some of its steps may run again."""
    await paging.drop_remaining_actions(tx, [task_id], PagedActionKind.END)
    await tx.fetch_all("reopen_task", task_id=task_id)
    await tx.fetch_all("reopen_concurrency_place", task_id=task_id)
    if await tx.fetch_all("pause_reopened_task", task_id=task_id):
        await set_tasks_paused(tx, [task_id], paused=True)
