"""Bounds on the open tasks that share a key."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tasker.errors import TooManyOpenTasks
from tasker.model import (
    AtCapacityAction,
    ExistingTaskAction,
    JsonText,
    LimitKey,
    NewTask,
    OpenTaskBound,
    PauseTarget,
    TaskId,
    TaskStatus,
    TemplateId,
)
from tasker.store.operations import operators, places
from tasker.store.protocol import Store
from tasker.testing.store_suite.bulk import claim_bulk_operation, start_bulk_operation
from tasker.testing.store_suite.compensating import plan_and_add_compensating_steps, trip_template
from tasker.testing.store_suite.factories import (
    ACT,
    ManualWorker,
    StoreTests,
    create_task,
    make_new_task,
    make_template,
    one_step_template,
    register_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest

ACME = LimitKey("suite", "customer:acme")


def make_task_under_bound(
    template: TemplateId,
    when_full: AtCapacityAction = AtCapacityAction.WAIT,
    *,
    tasks: int = 2,
    key: LimitKey = ACME,
) -> NewTask:
    """Make a task with a bound on the open tasks that have its key."""
    return make_new_task(template, place=OpenTaskBound(key, tasks, when_full))


async def create_tasks_in_order(store: Store, *tasks: NewTask) -> list[TaskId]:
    """Create tasks one after the other."""
    return [(await store.create_tasks([task])).tasks[0][0] for task in tasks]


class TestOpenTaskBounds(StoreTests):
    async def test_no_more_tasks_start_than_concurrency_allows(self, store: Store) -> None:
        """The others start when places are freed, oldest first, and show what they wait for."""
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        tasks = await create_tasks_in_order(
            store, *(make_task_under_bound(template) for _ in range(4))
        )

        first, second = sorted(await worker.claim())
        assert tasks[:2] == [first.task_id, second.task_id]
        assert 0 == await store.admit_waiting_tasks(10)
        (pause,) = (await store.get_task(tasks[2])).pauses
        assert ("tasker", "customer:acme: at most 2 tasks may be open") == (
            pause.paused_by,
            pause.reason,
        )

        await worker.complete(second)
        assert 1 == await store.admit_waiting_tasks(10)
        assert tasks[2] == (await worker.claim_one()).task_id
        assert () == (await store.get_task(tasks[2])).pauses
        await worker.fail(first)
        assert 1 == await store.admit_waiting_tasks(10)
        assert tasks[3] == (await worker.claim_one()).task_id

    async def test_the_end_of_a_task_admits_waiting_tasks(self, store: Store) -> None:
        """A cancellation by an operator admits them immediately; other keys are not affected."""
        template = await register_template(store, one_step_template())
        other = ACME._replace(key="customer:b")
        worker = await ManualWorker.register(store)
        tasks = await create_tasks_in_order(
            store,
            *(make_task_under_bound(template, tasks=1) for _ in range(3)),
            *(make_task_under_bound(template, tasks=1, key=other) for _ in range(2)),
        )
        first, of_other = sorted(await worker.claim())

        await worker.complete(first, of_other)
        assert 1 == await store.admit_tasks_to_freed_places([of_other.task_id])
        assert tasks[4] == (await worker.claim_one()).task_id
        assert 1 == await store.admit_tasks_to_freed_places([first.task_id])
        await store.cancel_task(tasks[1], ACT)

        assert tasks[2] == (await worker.claim_one()).task_id

    @pytest.mark.parametrize("way", ["cancelled", "overdue", "resolved", "orphaned"])
    async def test_a_task_that_ends_with_its_parent_admits_waiting_tasks(
        self, store: Store, subject: StoreUnderTest, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        """The task is attached to a task that is itself attached to the parent."""
        monkeypatch.setattr(operators, "CHILDREN", 0 if way == "orphaned" else 100)
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        parent = await create_task(store, template, deadline=timedelta(hours=1))
        if way == "resolved":
            await worker.fail(await worker.claim_one())
        between = await create_task(store, template, parent_id=parent, attached=True)
        child = replace(make_task_under_bound(template, tasks=1), parent_id=between, attached=True)
        _, waiting = await create_tasks_in_order(
            store, child, make_task_under_bound(template, tasks=1)
        )

        if way == "overdue":
            await subject.advance(timedelta(hours=2))
            await store.end_overdue_and_failed_tasks()
        elif way == "resolved":
            await store.resolve_task(parent, ACT)
        else:
            await store.cancel_task(parent, ACT)
        while await store.cancel_orphaned_tasks(10):
            pass

        assert waiting in {claim.task_id for claim in await worker.claim()}

    @pytest.mark.parametrize("way", ["overdue", "resolved"])
    async def test_a_task_ended_by_a_sweep_or_an_operator_admits_waiting_tasks(
        self, store: Store, subject: StoreUnderTest, way: str
    ) -> None:
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        first = replace(make_task_under_bound(template, tasks=1), deadline=timedelta(hours=1))
        tasks = await create_tasks_in_order(store, first, make_task_under_bound(template, tasks=1))

        if way == "overdue":
            await subject.advance(timedelta(hours=2))
            await store.end_overdue_and_failed_tasks()
        else:
            await store.resolve_step(tasks[0], 1, JsonText("1"), ACT)

        assert tasks[1] == (await worker.claim_one()).task_id

    @pytest.mark.parametrize("way", ["bulk", "replaced"])
    async def test_a_task_ended_by_a_bulk_operation_or_replaced_admits_waiting_tasks(
        self, store: Store, way: str
    ) -> None:
        """The replacing task itself has no bound."""
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        first = replace(make_task_under_bound(template, tasks=1), idempotency_key="key")
        first_id, waiting = await create_tasks_in_order(
            store, first, make_task_under_bound(template, tasks=1)
        )

        if way == "bulk":
            await start_bulk_operation(store)
            assert (
                await store.apply_bulk_action(await claim_bulk_operation(store), first_id)
                is not None
            )
        else:
            fresh = make_new_task(
                template, idempotency_key="key", if_exists=ExistingTaskAction.REPLACE
            )
            await store.create_tasks([fresh])

        assert waiting in {claim.task_id for claim in await worker.claim()}

    async def test_many_attached_tasks_that_end_admit_waiting_tasks(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Attached tasks that ended earlier do not hide the others."""
        monkeypatch.setattr(operators, "CHILDREN", 2)
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        parent = await create_task(
            store, await register_template(store, make_template("parent", other=""))
        )
        for _ in range(5):
            await create_task(store, template, parent_id=parent, attached=True)
        own = await ManualWorker.register(store, handlers=["only"])
        await own.complete(*await own.claim())
        keys = [ACME._replace(key=f"customer:{number}") for number in range(2)]
        for key in keys:
            child = make_task_under_bound(template, tasks=1, key=key)
            await create_tasks_in_order(store, replace(child, parent_id=parent, attached=True))
        waiting = await create_tasks_in_order(
            store, *(make_task_under_bound(template, tasks=1, key=key) for key in keys)
        )

        await store.cancel_task(parent, ACT)

        assert set(waiting) == {claim.task_id for claim in await worker.claim()}

    async def test_a_compensated_task_admits_waiting_tasks(self, store: Store) -> None:
        """It does so as soon as its compensation is planned."""
        template = await register_template(store, trip_template())
        worker = await ManualWorker.register(store)
        _, waiting = await create_tasks_in_order(
            store, *(make_task_under_bound(template, tasks=1) for _ in range(2))
        )
        await worker.complete(await worker.claim_one())
        await worker.fail(await worker.claim_one())

        await plan_and_add_compensating_steps(store, await worker.claim_one(), trip_template())

        assert waiting in {claim.task_id for claim in await worker.claim()}

    async def test_each_search_for_waiting_tasks_continues_after_the_previous_one(
        self, store: Store
    ) -> None:
        """Keys whose tasks still run do not block other keys."""
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        keys = [ACME._replace(key=f"customer:{number}") for number in range(3)]
        tasks = await create_tasks_in_order(
            store,
            *(make_task_under_bound(template, tasks=1, key=key) for key in keys for _ in range(2)),
        )
        last = next(claim for claim in await worker.claim() if claim.task_id == tasks[4])
        await worker.complete(last)

        assert [0, 0, 1] == [await store.admit_waiting_tasks(1) for _ in range(3)]
        assert tasks[5] == (await worker.claim_one()).task_id

    async def test_many_waiting_tasks_start_in_order(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Cancelled tasks are left out, and several tasks may start at once."""
        monkeypatch.setattr(places, "_PAGE", 2)
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        tasks = await create_tasks_in_order(
            store, *(make_task_under_bound(template, tasks=3) for _ in range(10))
        )
        for each in tasks[3:6]:
            await store.cancel_task(each, ACT)

        first = await worker.claim()
        assert tasks[:3] == sorted(claim.task_id for claim in first)
        await worker.complete(*first)
        assert 3 == await store.admit_tasks_to_freed_places(tasks[:3])
        assert tasks[6:9] == sorted(claim.task_id for claim in await worker.claim())

    async def test_concurrency_does_not_bound_other_keys_and_templates(self, store: Store) -> None:
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)

        await create_tasks_in_order(store, make_task_under_bound(template, tasks=1))
        await create_tasks_in_order(
            store, make_task_under_bound(template, tasks=1, key=ACME._replace(key="customer:b"))
        )
        await create_task(store, template)

        assert 3 == len(await worker.claim())

    async def test_a_task_beyond_the_bound_may_be_rejected(self, store: Store) -> None:
        """It is not stored; it can be created when another task has ended."""
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        await create_tasks_in_order(
            store, make_task_under_bound(template, AtCapacityAction.REJECT, tasks=1)
        )

        rejected = make_task_under_bound(template, AtCapacityAction.REJECT, tasks=1)
        with pytest.raises(TooManyOpenTasks, match="1 task with the key 'customer:acme'"):
            await store.create_tasks([rejected])

        assert [] == await store.load_task_inputs([rejected.id])
        await worker.complete_all_due()
        assert [rejected.id] == await create_tasks_in_order(store, rejected)

    async def test_a_task_beyond_the_bound_may_cancel_the_oldest(self, store: Store) -> None:
        template = await register_template(store, one_step_template())
        oldest, other, newest = await create_tasks_in_order(
            store,
            *(make_task_under_bound(template, AtCapacityAction.CANCEL_OLDEST) for _ in range(3)),
        )

        statuses = [(await store.get_task(each)).status for each in (oldest, other, newest)]

        assert [TaskStatus.CANCELLED, TaskStatus.PENDING, TaskStatus.PENDING] == statuses

    async def test_tasks_created_together_count_towards_the_bound(self, store: Store) -> None:
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)

        await store.create_tasks(
            [make_task_under_bound(template) for _ in range(5)], worker=worker.id, claim_up_to=5
        )

        assert 2 == len(await worker.claim())

    async def test_concurrent_creations_respect_the_bound(self, stores: Sequence[Store]) -> None:
        """Each creation counts the tasks that were stored before it."""
        template = await register_template(stores[0], one_step_template())
        worker = await ManualWorker.register(stores[0])

        await asyncio.gather(
            *(
                store.create_tasks([make_task_under_bound(template)])
                for store in stores
                for _ in range(4)
            )
        )

        assert 2 == len(await worker.claim())

    async def test_a_waiting_task_can_be_started_manually_and_cancelled(self, store: Store) -> None:
        """It behaves like any paused task."""
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        _, second, third = await create_tasks_in_order(
            store, *(make_task_under_bound(template, tasks=1) for _ in range(3))
        )
        assert 1 == len(await worker.claim())

        await store.resume(PauseTarget.of_task(second), ACT)
        await store.cancel_task(third, ACT)

        started = await worker.claim_one()
        assert second == started.task_id
        assert 0 == await store.admit_waiting_tasks(10)
        await store.pause(PauseTarget.of_task(second), ACT)
        await worker.fail_with_retry(started)
        await store.admit_waiting_tasks(10)
        assert [] == await worker.claim()  # it is paused by an operator now

    async def test_a_retried_task_takes_its_place_again(self, store: Store) -> None:
        """The bound may then be exceeded, because another task may have taken the place."""
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        first, second = await create_tasks_in_order(
            store, *(make_task_under_bound(template, tasks=1) for _ in range(2))
        )
        await worker.fail(await worker.claim_one())
        await store.admit_waiting_tasks(10)
        await worker.complete(await worker.claim_one())

        await store.retry_steps(first, ACT)
        (third,) = await create_tasks_in_order(store, make_task_under_bound(template, tasks=1))

        assert first == (await worker.claim_one()).task_id
        assert TaskStatus.COMPLETE == (await store.get_task(second)).status
        assert 1 == len((await store.get_task(third)).pauses)
