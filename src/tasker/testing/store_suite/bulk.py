"""Bulk operations: each task is changed once, at a limited rate, by any process."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from tasker import codec
from tasker.bulk import (
    BulkAction,
    BulkOperation,
    BulkRejection,
    BulkRequest,
    BulkStatus,
    NewBulkOperation,
    StoredBulkOperation,
)
from tasker.errors import NotFound, WrongStatus
from tasker.limits import BULK_REJECTIONS
from tasker.model import AccessChannel, TaskFilter, TaskId, TaskStatus, TemplateName
from tasker.store.protocol import AuditNote, Store
from tasker.testing.store_suite.factories import (
    ACT,
    SECOND,
    UNKNOWN_TASK,
    ManualWorker,
    StoreTests,
    create_task,
    one_step_template,
    register_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest

EVERYTHING = TaskFilter(namespace="suite")


def make_bulk_request(action: BulkAction = BulkAction.CANCEL, **fields: Any) -> BulkRequest:
    return BulkRequest(action=action, **{"filter": EVERYTHING, **fields})


async def start_bulk_operation(
    store: Store, wanted: BulkRequest | None = None, **fields: Any
) -> BulkOperation:
    """Store an operation on the tasks of the suite's namespace."""
    new = NewBulkOperation(
        **{
            "id": codec.new_task_id(),
            "request": wanted or make_bulk_request(),
            "per_second": 10.0,
            "matches": 3,
            "exact": True,
            "namespaces": frozenset({"suite"}),
            **fields,
        }
    )
    return await store.add_bulk_operation(
        new, AuditNote(actor="alice", reason="because", via=AccessChannel.UI)
    )


async def create_open_tasks(store: Store, count: int) -> list[TaskId]:
    """Create tasks, and return their ids, newest first."""
    template = await register_template(store, one_step_template())
    return [await create_task(store, template) for _ in range(count)][::-1]


async def claim_bulk_operation(store: Store) -> StoredBulkOperation:
    stored = await store.claim_bulk_operation()
    assert stored is not None
    return stored


async def task_statuses(store: Store, ids: Sequence[TaskId]) -> list[TaskStatus]:
    return [(await store.get_task(task_id)).status for task_id in ids]


class TestBulkOperations(StoreTests):
    async def test_an_operation_is_stored_as_it_was_given(self, store: Store) -> None:
        """Storing an operation with the same id again returns the first one."""
        wanted = make_bulk_request(
            BulkAction.RETRY,
            filter=TaskFilter(
                name="one",
                status=TaskStatus.ERROR,
                attributes={"order": "7"},
                created_after=datetime(2026, 1, 2, 3, tzinfo=UTC),
                visible=frozenset({"suite", "other"}),
            ),
            steps=("only",),
            fresh=True,
            templates=frozenset({TemplateName("suite", "one", "1.0.0")}),
        )
        bulk_id = codec.new_task_id()
        operation = await start_bulk_operation(
            store, wanted, id=bulk_id, exact=False, namespaces=None
        )
        again = await start_bulk_operation(store, wanted, id=bulk_id, per_second=1.0)

        stored = await store.get_bulk_operation(bulk_id)
        assert (operation, operation) == (again, stored.operation)
        assert (wanted, None, bulk_id) == (stored.request, stored.namespaces, stored.last_task)
        assert (BulkStatus.RUNNING, 10.0, 3, False, 0, {}, []) == (
            *(operation.status, operation.per_second, operation.matches, operation.exact),
            *(operation.changed, operation.rejected, operation.rejections),
        )
        assert ("alice", "because", AccessChannel.UI) == (
            *(operation.created_by, operation.reason, operation.via),
        )

    async def test_an_unknown_operation_is_not_found(self, store: Store) -> None:
        with pytest.raises(NotFound, match=r"bulk operation .* not found"):
            await store.get_bulk_operation(UNKNOWN_TASK)
        with pytest.raises(NotFound):
            await store.get_bulk_operation("nonsense")
        with pytest.raises(NotFound):
            await store.stop_bulk_operation(UNKNOWN_TASK, ACT)

    async def test_operations_are_listed_newest_first(self, store: Store) -> None:
        first, second, third = [(await start_bulk_operation(store)).id for _ in range(3)]

        listed = await store.list_bulk_operations(limit=2)
        rest = await store.list_bulk_operations(after=listed[-1].operation.id)

        assert [third, second] == [stored.operation.id for stored in listed]
        assert [first] == [stored.operation.id for stored in rest]

    async def test_tasks_are_changed_one_by_one_and_audited(self, store: Store) -> None:
        """The audit has the operation's id, actor and reason."""
        newest, older = await create_open_tasks(store, 2)
        operation = await start_bulk_operation(store)

        stored = await store.apply_bulk_action(await claim_bulk_operation(store), newest)

        assert stored is not None
        assert [TaskStatus.CANCELLED, TaskStatus.PENDING] == await task_statuses(
            store, [newest, older]
        )
        assert (newest, 1) == (
            stored.last_task,
            (await store.get_bulk_operation(operation.id)).operation.changed,
        )
        (entry,) = await store.list_audit_entries(newest)
        assert ("cancel", "alice", "because", AccessChannel.UI, operation.id) == (
            *(entry.action, entry.actor, entry.reason, entry.via, entry.bulk_id),
        )

    async def test_a_task_is_changed_once_by_several_processes(
        self, stores: Sequence[Store]
    ) -> None:
        """A slow process cannot repeat a change that another process has made."""
        slow, quick, _ = stores
        template = await register_template(slow, one_step_template())
        task_id = await create_task(slow, template)
        worker = await ManualWorker.register(slow)
        await worker.fail(await worker.claim_one())
        operation = await start_bulk_operation(slow, make_bulk_request(BulkAction.RETRY))
        before = await claim_bulk_operation(slow)

        assert await quick.apply_bulk_action(before, task_id) is not None
        await worker.fail(await worker.claim_one())

        assert await slow.apply_bulk_action(before, task_id) is None
        assert await slow.skip_bulk_task(before, task_id, None) is None
        assert [TaskStatus.ERROR] == await task_statuses(slow, [task_id])
        assert 1 == (await slow.get_bulk_operation(operation.id)).operation.changed

    async def test_a_stopped_operation_changes_nothing(self, store: Store) -> None:
        tasks = await create_open_tasks(store, 2)
        operation = await start_bulk_operation(store)
        moved = await store.apply_bulk_action(await claim_bulk_operation(store), tasks[0])
        assert moved is not None

        stopped = await store.stop_bulk_operation(operation.id, AuditNote(actor="bob"))

        assert (BulkStatus.STOPPED, "bob", 1) == (
            *(stopped.status, stopped.stopped_by, stopped.changed),
        )
        assert stopped.ended_at is not None
        assert await store.apply_bulk_action(moved, tasks[1]) is None
        await store.schedule_bulk_batch(moved, 0, ended=True)
        assert [TaskStatus.CANCELLED, TaskStatus.PENDING] == await task_statuses(store, tasks)
        assert (None, None) == (
            await store.claim_bulk_operation(),
            await store.seconds_until_bulk_batch(),
        )
        assert stopped == (await store.get_bulk_operation(operation.id)).operation
        with pytest.raises(WrongStatus, match="it is stopped, not running"):
            await store.stop_bulk_operation(operation.id, ACT)

    async def test_rejected_tasks_are_counted_by_code(self, store: Store) -> None:
        """The messages of the first 100 rejections are kept."""
        operation = await start_bulk_operation(store)
        stored: StoredBulkOperation | None = await claim_bulk_operation(store)
        ids = sorted((codec.new_task_id() for _ in range(BULK_REJECTIONS + 2)), reverse=True)
        codes = ["compensating", *["wrong_status"] * (BULK_REJECTIONS + 1)]

        for task_id, code in zip(ids, codes, strict=True):
            assert stored is not None
            rejection = BulkRejection(id=task_id, code=code, message="cannot")
            stored = await store.skip_bulk_task(stored, task_id, rejection)

        ended = (await store.get_bulk_operation(operation.id)).operation
        assert {"compensating": 1, "wrong_status": BULK_REJECTIONS + 1} == ended.rejected
        assert (ids[:BULK_REJECTIONS], 0) == ([one.id for one in ended.rejections], ended.changed)

    async def test_a_rejected_change_stores_nothing(self, store: Store) -> None:
        (task_id,) = await create_open_tasks(store, 1)
        await store.cancel_task(task_id, ACT)
        await start_bulk_operation(store)
        stored = await claim_bulk_operation(store)

        with pytest.raises(WrongStatus):
            await store.apply_bulk_action(stored, task_id)

        assert 1 == len(await store.list_audit_entries(task_id))
        assert await store.skip_bulk_task(stored, task_id, None) is not None

    async def test_a_batch_begins_when_the_pace_allows_it(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        await start_bulk_operation(store)

        await store.schedule_bulk_batch(await claim_bulk_operation(store), 120)
        early = await store.claim_bulk_operation()
        await subject.advance(60 * SECOND)
        delay = await store.seconds_until_bulk_batch()
        await subject.advance(60 * SECOND)

        assert early is None
        assert delay is not None
        assert 0 < delay <= 60
        assert (await claim_bulk_operation(store)).operation.status is BulkStatus.RUNNING

    async def test_another_process_takes_over_a_stalled_operation(
        self, stores: Sequence[Store], subject: StoreUnderTest
    ) -> None:
        """After five seconds without progress, it continues after the last handled task."""
        dead, alive, _ = stores
        newest, older = await create_open_tasks(dead, 2)
        await start_bulk_operation(dead)
        moved = await dead.apply_bulk_action(await claim_bulk_operation(dead), newest)
        assert moved is not None

        early = await alive.claim_bulk_operation()
        await subject.advance(6 * SECOND)
        stored = await claim_bulk_operation(alive)

        assert (None, newest) == (early, stored.last_task)
        assert await alive.apply_bulk_action(stored, older) is not None
        assert await dead.apply_bulk_action(moved, older) is None

    async def test_an_ended_operation_is_deleted_after_its_retention(self, store: Store) -> None:
        ended, running = await start_bulk_operation(store), await start_bulk_operation(store)
        stored = await claim_bulk_operation(store)
        while stored.operation.id != ended.id:
            stored = await claim_bulk_operation(store)
        await store.schedule_bulk_batch(stored, 0, ended=True)
        assert BulkStatus.COMPLETE is (await store.get_bulk_operation(ended.id)).operation.status
        ended_at = (await store.get_bulk_operation(ended.id)).operation.ended_at
        assert ended_at is not None

        await store.prune_bulk_operations(before=ended_at)
        kept = len(await store.list_bulk_operations())
        await store.prune_bulk_operations(before=ended_at + SECOND)

        assert 2 == kept
        assert [running.id] == [
            stored.operation.id for stored in await store.list_bulk_operations()
        ]

    async def test_matching_tasks_are_counted_by_template(self, store: Store) -> None:
        first, second = (
            await register_template(store, one_step_template()),
            await register_template(store, one_step_template("two")),
        )
        for template in (first, first, second):
            await create_task(store, template)

        assert {"suite.one": 2, "suite.two": 1} == await store.count_tasks_by_template(
            EVERYTHING, most=10
        )
        assert 2 == sum((await store.count_tasks_by_template(EVERYTHING, most=2)).values())
        assert {} == await store.count_tasks_by_template(TaskFilter(namespace="other"), most=10)
