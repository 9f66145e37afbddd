"""Tasks that are cancelled with their parents."""

from datetime import timedelta

import pytest

from tasker.model import TaskId, TaskStatus
from tasker.store.operations import operators
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    ManualWorker,
    StoreTests,
    create_task,
    one_step_template,
    register_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest


async def task_status(store: Store, task_id: TaskId) -> TaskStatus:
    return (await store.get_task(task_id)).status


class TestAttachedTasks(StoreTests):
    async def test_attached_tasks_are_cancelled_with_their_parent(self, store: Store) -> None:
        """Their own attached tasks are cancelled too; other child tasks continue."""
        template = await register_template(store, one_step_template())
        parent = await create_task(store, template)
        child = await create_task(store, template, parent_id=parent, attached=True)
        grandchild = await create_task(store, template, parent_id=child, attached=True)
        detached = await create_task(store, template, parent_id=parent)

        await store.cancel_task(parent, ACT)

        assert [TaskStatus.CANCELLED] * 2 == [
            await task_status(store, each) for each in (child, grandchild)
        ]
        assert TaskStatus.PENDING is await task_status(store, detached)
        (entry,) = await store.list_audit_entries(child)
        assert f"its parent {parent} has ended" == entry.reason

    async def test_attached_tasks_are_cancelled_when_their_parent_misses_its_deadline(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        template = await register_template(store, one_step_template())
        parent = await create_task(store, template, deadline=timedelta(seconds=10))
        child = await create_task(store, template, parent_id=parent, attached=True)
        await subject.advance(timedelta(seconds=11))

        await store.end_overdue_and_failed_tasks()

        assert TaskStatus.CANCELLED is await task_status(store, child)

    async def test_attached_tasks_continue_after_their_parent_completes(self, store: Store) -> None:
        template = await register_template(store, one_step_template())
        parent = await create_task(store, template)
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        child = await create_task(store, template, parent_id=parent, attached=True)

        await worker.complete(claim)

        assert 0 == await store.cancel_orphaned_tasks(10)
        assert TaskStatus.PENDING is await task_status(store, child)

    async def test_attached_tasks_beyond_one_transaction_are_cancelled_later(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(operators, "CHILDREN", 1)
        template = await register_template(store, one_step_template())
        parent = await create_task(store, template)
        children = [
            await create_task(store, template, parent_id=parent, attached=True) for _ in range(3)
        ]
        await store.cancel_task(parent, ACT)

        assert 2 == await store.cancel_orphaned_tasks(10)

        assert {TaskStatus.CANCELLED} == {await task_status(store, each) for each in children}
        assert 0 == await store.cancel_orphaned_tasks(10)
