"""Bulk operations in the `Client` protocol and in the local client."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from tasker import bulk
from tasker.bulk import (
    BulkAction,
    BulkActionName,
    BulkOperation,
    BulkPreview,
    BulkRejection,
    BulkRequest,
    BulkStatus,
    NewBulkOperation,
    StoredBulkOperation,
)
from tasker.codec import new_task_id
from tasker.durations import Duration, parse_duration
from tasker.errors import StoreUnavailable, TaskerError, WaitTimeout
from tasker.model import CompensationStatus, Task, TaskFilter, TaskId
from tasker.store import operator_rules
from tasker.store.protocol import AuditNote

if TYPE_CHECKING:
    from tasker.client.local import LocalClient

POLL = 0.5  #: seconds between two reads of an awaited operation


class BulkClient(Protocol):
    """Methods for operations on many tasks, available as `client.bulk`.

    An operation is stored. Workers and servers execute it at a limited rate, from the newest task
    to the oldest, each in its own transaction. If a process dies, others continue. Each task is
    handled once.
    """

    async def preview(
        self,
        action: BulkAction | BulkActionName,
        filter: TaskFilter | None = None,
        *,
        ids: Sequence[str] | None = None,
        steps: Sequence[str] | None = None,
        reset_attempts: bool = False,
        fresh: bool = False,
    ) -> BulkPreview:
        """Return what an operation would change and a token that starts it.

        The arguments and errors are those of `start`.
        """
        ...

    async def start(
        self,
        action: BulkAction | BulkActionName,
        filter: TaskFilter | None = None,
        *,
        ids: Sequence[str] | None = None,
        steps: Sequence[str] | None = None,
        reset_attempts: bool = False,
        fresh: bool = False,
        per_second: float = bulk.DEFAULT_RATE,
        reason: str = "",
        token: str | None = None,
    ) -> BulkOperation:
        """Start an operation on all tasks that match and were created before now.

        Args:
            action: "cancel" for open tasks, "retry" or "resolve" for failed ones.
            filter: Filter of these tasks; instead of `ids`.
            ids: The ids of at most 1,000 tasks; instead of `filter`.
            steps: Names of the steps to retry; None: all failed steps.
            reset_attempts: Whether retried steps get all of their attempts again instead of one
                more.
            fresh: Whether retried steps forget their durable calls and make them again.
            per_second: Maximum number of tasks changed per second, 0.01 to 1,000.
            reason: For the audit log of each task.
            token: The token of a preview with the same arguments: the operation then concerns the
                tasks created before the preview, and starting it again returns it.

        Raises:
            InvalidInput: Neither a filter nor ids are given, or both are; the filter is empty; the
                rate is out of bounds; or the token is too old or belongs to another preview.
            NotFound: One of `ids` does not exist.
        """
        ...

    async def get(self, bulk_id: str) -> BulkOperation:
        """Return an operation with its progress. Raises NotFound."""
        ...

    async def list(self, *, after: str | None = None, limit: int = 25) -> list[BulkOperation]:
        """List operations older than `after`, newest first; they are kept for 30 days."""
        ...

    async def stop(self, bulk_id: str, *, reason: str = "") -> BulkOperation:
        """Stop an operation: it changes no further tasks. Raises NotFound, WrongStatus."""
        ...

    async def wait(self, bulk_id: str, timeout: Duration | None = None) -> BulkOperation:
        """Wait until an operation has ended, and return it.

        Raises: NotFound, WaitTimeout.
        """
        ...


class LocalBulk(BulkClient):
    """Implements `BulkClient` with a store."""

    def __init__(self, client: "LocalClient") -> None:
        self._client = client
        self._store = client.store

    async def preview(
        self,
        action: BulkAction | BulkActionName,
        filter: TaskFilter | None = None,
        *,
        ids: Sequence[str] | None = None,
        steps: Sequence[str] | None = None,
        reset_attempts: bool = False,
        fresh: bool = False,
    ) -> BulkPreview:
        request = make_bulk_request(action, filter, ids, steps, reset_attempts, fresh)
        return await self.preview_bulk_request(request)

    async def start(
        self,
        action: BulkAction | BulkActionName,
        filter: TaskFilter | None = None,
        *,
        ids: Sequence[str] | None = None,
        steps: Sequence[str] | None = None,
        reset_attempts: bool = False,
        fresh: bool = False,
        per_second: float = bulk.DEFAULT_RATE,
        reason: str = "",
        token: str | None = None,
    ) -> BulkOperation:
        request = make_bulk_request(action, filter, ids, steps, reset_attempts, fresh)
        return await self.start_bulk_request(
            request, per_second=per_second, reason=reason, token=token
        )

    async def preview_bulk_request(self, request: BulkRequest) -> BulkPreview:
        """Return what an operation would change; see `preview`."""
        if request.ids is not None:
            return await self._preview_ids(request)
        statuses: Counter[str] = Counter()
        templates: Counter[str] = Counter()
        exact = True
        rejected: Counter[str] = Counter()
        sample: list[Task] = []
        for filter in request.filters_by_status:
            counted = await self._count_changeable_tasks_by_template(request, filter)
            matches = sum(counted.values())
            statuses[str(filter.status)] += matches
            templates.update(counted)
            exact = exact and matches < bulk.COUNTED
            sample += await self._store.list_tasks(filter, limit=bulk.SAMPLE) if matches else ()
            if request.action is BulkAction.CANCEL and filter.compensation is None and matches:
                undone = replace(filter, compensation=CompensationStatus.RUNNING)
                rejected["compensating"] += sum(
                    (await self._count_changeable_tasks_by_template(request, undone)).values()
                )
        return BulkPreview(
            action=request.action,
            matches=statuses.total(),
            exact=exact,
            by_status=dict(+statuses),
            by_template=dict(templates.most_common()),
            rejected=dict(+rejected),
            sample=[
                task.id
                for task in _sort_newest_first(sample)
                if request.caller_may_change_task(task)
            ][: bulk.SAMPLE],
            token=bulk.new_start_token(request),
        )

    async def _count_changeable_tasks_by_template(
        self, request: BulkRequest, filter: TaskFilter
    ) -> Mapping[str, int]:
        """Count matching tasks by template, without those that the caller may not change."""
        counted = await self._store.count_tasks_by_template(filter, most=bulk.COUNTED)
        if request.templates is None:
            return counted
        allowed = {f"{one.namespace}.{one.name}" for one in request.templates}
        return {name: count for name, count in counted.items() if name in allowed}

    async def _preview_ids(self, request: BulkRequest) -> BulkPreview:
        tasks = [
            await self._store.get_task(one) for one in bulk.sort_ids_newest_first(request.ids or ())
        ]
        return BulkPreview(
            action=request.action,
            matches=len(tasks),
            exact=True,
            by_status=Counter(task.status.value for task in tasks),
            by_template=Counter(f"{task.namespace}.{task.name}" for task in tasks),
            rejected=+Counter(
                {"wrong_status": sum(not _action_applies(request, one) for one in tasks)}
            ),
            sample=[task.id for task in tasks[: bulk.SAMPLE]],
            token=bulk.new_start_token(request),
        )

    async def start_bulk_request(
        self, request: BulkRequest, *, per_second: float, reason: str, token: str | None
    ) -> BulkOperation:
        """Start an operation; see `start`."""
        bulk.require_valid_bulk_rate(per_second)
        bulk_id = (
            new_task_id() if token is None else bulk.operation_id_from_start_token(token, request)
        )
        preview = await self.preview_bulk_request(request)
        new = NewBulkOperation(
            id=bulk_id,
            request=request,
            per_second=per_second,
            matches=preview.matches,
            exact=preview.exact,
            namespaces=await self._affected_namespaces(request),
        )
        return await self._store.add_bulk_operation(new, self._audit_note(reason))

    async def _affected_namespaces(self, request: BulkRequest) -> frozenset[str] | None:
        if request.filter is not None:
            one = request.filter.namespace
            return request.filter.visible if one is None else frozenset({one})
        tasks = [await self._store.get_task(TaskId(one)) for one in request.ids or ()]
        return frozenset(task.namespace for task in tasks)

    async def get(self, bulk_id: str) -> BulkOperation:
        return (await self._store.get_bulk_operation(bulk_id)).operation

    async def list(self, *, after: str | None = None, limit: int = 25) -> list[BulkOperation]:
        return [
            one.operation
            for one in await self._store.list_bulk_operations(after=after, limit=limit)
        ]

    async def stop(self, bulk_id: str, *, reason: str = "") -> BulkOperation:
        return await self._store.stop_bulk_operation(bulk_id, self._audit_note(reason))

    async def wait(self, bulk_id: str, timeout: Duration | None = None) -> BulkOperation:
        return await wait_for_bulk(self, bulk_id, timeout)

    def _audit_note(self, reason: str) -> AuditNote:
        return AuditNote(actor=self._client.actor, reason=reason, via=self._client.via)

    # ------------------------------------------------------------ executing them

    async def execute_batch_if_due(self) -> float | None:
        """Execute a batch of the bulk operation that has waited longest, if one is due.

        Any number of processes may do so at the same time.

        Returns:
            Seconds until the next batch may start; None if no operation runs.
        """
        delay = await self._store.seconds_until_bulk_batch()
        if delay is None or delay > 0:
            return delay
        stored = await self._store.claim_bulk_operation()
        if stored is None:  # others were quicker
            return 0.0
        began = time.monotonic()
        tasks = await self._read_next_tasks(stored)
        for task in tasks:
            moved = await self._apply_action_to_task(stored, task)
            if moved is None:  # stopped, or continued by another process
                return 0.0
            stored = moved
        pace = len(tasks) / stored.operation.per_second
        delay = max(0.0, pace - (time.monotonic() - began))
        await self._store.schedule_bulk_batch(stored, delay, ended=len(tasks) < stored.batch_size)
        return 0.0

    async def _read_next_tasks(self, stored: StoredBulkOperation) -> Sequence[Task | TaskId]:
        """Return the next tasks of an operation; fewer than its batch size if they are the last."""
        request, limit = stored.request, stored.batch_size
        if request.ids is not None:
            left = [
                one for one in bulk.sort_ids_newest_first(request.ids) if one < stored.last_task
            ]
            return left[:limit]
        tasks: list[Task] = []
        for filter in request.filters_by_status:
            tasks += await self._store.list_tasks(filter, after=stored.last_task, limit=limit)
        return _sort_newest_first(tasks)[:limit]

    async def _apply_action_to_task(
        self, stored: StoredBulkOperation, task: Task | TaskId
    ) -> StoredBulkOperation | None:
        """Apply the action to a task and record that the task is handled.

        Returns:
            The operation with its new progress; None if it was stopped or taken over.
        """
        request = stored.request
        if isinstance(task, Task) and not request.caller_may_change_task(task):
            return await self._store.skip_bulk_task(stored, task.id, None)
        task_id = task.id if isinstance(task, Task) else task
        try:
            if request.action is BulkAction.RETRY:
                steps, counted = await self._client.select_steps_to_retry(
                    task_id, request.steps, reset_attempts=request.reset_attempts
                )
                return await self._store.apply_bulk_action(
                    stored, task_id, steps=steps, counted_attempts=counted
                )
            moved = await self._store.apply_bulk_action(stored, task_id)
        except StoreUnavailable:
            raise
        except TaskerError as error:
            rejection = BulkRejection(id=task_id, code=error.code, message=str(error))
            return await self._store.skip_bulk_task(stored, task_id, rejection)
        if moved is not None:
            await self._client.notify_observers_if_ended(task_id)
        return moved


def make_bulk_request(
    action: BulkAction | BulkActionName,
    filter: TaskFilter | None,
    ids: Sequence[str] | None,
    steps: Sequence[str] | None,
    reset_attempts: bool,
    fresh: bool,
) -> BulkRequest:
    """Return the request of an operation. Raises InvalidInput."""
    return BulkRequest(
        action=BulkAction(action),
        filter=filter,
        ids=None
        if ids is None
        else tuple(dict.fromkeys(operator_rules.canonical_task_id(one) for one in ids)),
        steps=None if steps is None else tuple(steps),
        reset_attempts=reset_attempts,
        fresh=fresh,
    )


async def wait_for_bulk(
    client: BulkClient, bulk_id: str, timeout: Duration | None
) -> BulkOperation:
    """Wait until an operation has ended. Raises NotFound, WaitTimeout."""
    end = None if timeout is None else time.monotonic() + parse_duration(timeout).total_seconds()
    while (operation := await client.get(bulk_id)).status is BulkStatus.RUNNING:
        if end is not None and time.monotonic() >= end:
            done = f"{operation.handled_count:,} of {operation.matches:,} tasks"
            raise WaitTimeout(f"bulk operation {bulk_id} is still running: {done} done")
        await asyncio.sleep(POLL)
    return operation


def _sort_newest_first(tasks: Sequence[Task]) -> "Sequence[Task]":
    return sorted(tasks, key=lambda task: task.id, reverse=True)


def _action_applies(request: BulkRequest, task: Task) -> bool:
    if task.status in bulk.STATUSES[request.action]:
        return True
    is_open = task.status in bulk.STATUSES[BulkAction.CANCEL]
    return request.action is BulkAction.RETRY and is_open and task.counts.error > 0
