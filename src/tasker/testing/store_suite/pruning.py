"""Pruning: deleting tasks that ended long ago."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from tasker import codec
from tasker.errors import NotFound
from tasker.model import TaskFilter, TaskId
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    SECOND,
    ManualWorker,
    StoreTests,
    chain_template,
    create_and_run_task,
    create_task,
    make_new_task,
    make_template,
    one_step_template,
    register_and_create_task,
    register_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest

FAR = timedelta(days=365)


def make_old_task_id() -> TaskId:
    """Make the id of a task created a year ago; advancing a store's time does not change ids."""
    made = int(codec.new_task_id().replace("-", ""), 16)
    return TaskId(str(UUID(int=made - (int(FAR.total_seconds() * 1000) << 80))))


class TestPruning(StoreTests):
    async def test_pruning_deletes_all_rows_of_a_task(self, store: Store) -> None:
        """This includes steps, history, audit log and idempotency key."""
        template = await register_template(store, one_step_template())
        task_id = await create_task(store, template, idempotency_key="k")
        worker = await ManualWorker.register(store)
        await worker.fail(await worker.claim_one())
        await store.retry_steps(task_id, ACT)
        await worker.complete_all_due()
        ended_at = (await store.get_task(task_id)).ended_at
        assert ended_at is not None

        assert 1 == await store.prune_tasks(ended_before=ended_at + SECOND)

        for read in (
            store.get_task,
            store.list_steps,
            store.list_attempts,
            store.list_audit_entries,
        ):
            with pytest.raises(NotFound):
                await read(task_id)
        assert await store.find_task_by_idempotency_key("suite", "k") is None
        assert [] == await store.load_task_inputs([task_id])
        assert [] == await store.load_step_results({task_id: [1]})
        assert [True] == [
            new
            for _, new in (
                await store.create_tasks([make_new_task(template, idempotency_key="k")])
            ).tasks
        ]

    async def test_pruning_deletes_retired_workers_without_claims(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """An expired worker with an unsettled attempt is kept."""
        await create_task(store, await register_template(store, one_step_template()))
        gone = await ManualWorker.register(store)
        await store.retire_worker(gone.id)
        holding = await ManualWorker.register(store)
        await holding.claim_one()
        await store.retire_worker(holding.id)
        await subject.advance(SECOND)
        now = max(worker.lease_until for worker in await store.list_workers())

        await store.prune_tasks(ended_before=now + SECOND)

        assert [holding.id] == [worker.id for worker in await store.list_workers()]
        assert 1 == len(await store.list_expired_attempts(10))

    async def test_any_pruning_deletes_workers_that_retired_30_days_ago(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Workers that hold a step are kept; the history shows the id of a deleted worker."""
        template = await register_template(store, one_step_template())
        done = await create_task(store, template)
        gone = await ManualWorker.register(store, "gone")
        await gone.complete_all_due()
        held = await create_task(store, template)
        holding = await ManualWorker.register(store, "holding")
        await holding.claim_one()
        await store.retire_worker(gone.id)
        await store.retire_worker(holding.id)

        async def prune_and_read_worker_names() -> tuple[str | None, str | None]:
            await store.prune_tasks()
            (attempt,), (step,) = await store.list_attempts(done), await store.list_steps(held)
            return attempt.worker, step.worker

        await subject.advance(timedelta(days=29))
        early = await prune_and_read_worker_names()
        await subject.advance(timedelta(days=2))
        late = await prune_and_read_worker_names()

        assert [("gone", "holding"), (str(gone.id), "holding")] == [early, late]

    async def test_only_tasks_that_ended_before_the_given_time_are_pruned(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """This holds for every outcome."""
        old = [
            (await create_and_run_task(store, one_step_template())).id,
            (await create_and_run_task(store, one_step_template(), failing=("only",))).id,
            await register_and_create_task(store, one_step_template()),
        ]
        await store.cancel_task(old[2], ACT)
        await subject.advance(SECOND * 60)
        young = await create_and_run_task(store, chain_template())
        assert young.ended_at is not None

        assert 3 == await store.count_prunable_tasks(ended_before=young.ended_at)
        assert 3 == await store.count_prunable_tasks(ended_before=young.ended_at)
        assert 3 == await store.prune_tasks(ended_before=young.ended_at)
        assert 0 == await store.count_prunable_tasks(ended_before=young.ended_at)

        assert [young.id] == [task.id for task in await store.list_tasks(TaskFilter())]
        assert 3 == len(await store.list_steps(young.id))
        assert 3 == len(await store.list_attempts(young.id))

    async def test_open_tasks_are_never_pruned(self, store: Store, subject: StoreUnderTest) -> None:
        """This includes old tasks and reopened tasks."""
        reopened = (await create_and_run_task(store, one_step_template(), failing=("only",))).id
        await store.retry_steps(reopened, ACT)
        pending = await register_and_create_task(store, one_step_template())
        now = (await store.get_task(pending)).created_at
        await subject.advance(timedelta(days=3))

        assert 0 == await store.count_prunable_tasks(ended_before=now + FAR)
        assert 0 == await store.prune_tasks(ended_before=now + FAR)

        assert {pending, reopened} == {task.id for task in await store.list_tasks(TaskFilter())}

    async def test_tasks_are_kept_as_long_as_their_template_says(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Each version has its own retention; the given time applies to versions without one."""
        short = replace(one_step_template("short"), retention=timedelta(days=1))
        long = replace(one_step_template("short"), version="2.0.0", retention=timedelta(days=30))
        tasks = {
            name: await create_task(
                store, await register_template(store, template), id=make_old_task_id()
            )
            for name, template in (
                ("short", short),
                ("long", long),
                ("plain", one_step_template("plain")),
            )
        }
        reopened = await create_task(
            store, await register_template(store, short), id=make_old_task_id()
        )
        worker = await ManualWorker.register(store)
        *claims, last = sorted(await worker.claim(), key=lambda claim: claim.task_id == reopened)
        await worker.complete(*claims)
        await worker.fail(last)
        await store.retry_steps(reopened, ACT)
        ended_at = (await store.get_task(tasks["plain"])).ended_at
        assert ended_at is not None

        async def prune_and_list_deleted(ended_before: datetime | None) -> set[str]:
            count = await store.count_prunable_tasks(ended_before=ended_before)
            assert count == await store.prune_tasks(ended_before=ended_before)
            left = {task.id for task in await store.list_tasks(TaskFilter())}
            gone = {name for name, task_id in tasks.items() if task_id not in left}
            assert reopened in left
            return gone

        await subject.advance(timedelta(hours=23))
        early = await prune_and_list_deleted(None)
        await subject.advance(timedelta(hours=2))
        by_template = await prune_and_list_deleted(None)
        by_instant = await prune_and_list_deleted(ended_at + FAR)
        await subject.advance(timedelta(days=30))

        assert set() == early
        assert {"short"} == by_template
        assert {"short", "plain"} == by_instant
        assert {"short", "plain", "long"} == await prune_and_list_deleted(None)

    async def test_pruning_works_in_batches(self, store: Store) -> None:
        """Other transactions then wait only briefly."""
        template = await register_template(store, one_step_template())
        await store.create_tasks([make_new_task(template) for _ in range(7)])
        await (await ManualWorker.register(store)).complete_all_due()
        before = (await store.list_tasks(TaskFilter()))[0].created_at + FAR

        assert [3, 3, 1, 0] == [
            await store.prune_tasks(ended_before=before, limit=3) for _ in range(4)
        ]

    async def test_pruning_keeps_templates_and_other_tasks(self, store: Store) -> None:
        """A child task outlives its parent."""
        parent = await create_and_run_task(store, one_step_template())
        child = await register_and_create_task(
            store, make_template("child", x=""), parent_id=parent.id
        )

        assert 1 == await store.prune_tasks(ended_before=parent.created_at + FAR)

        assert parent.id == (await store.get_task(child)).parent_id
        assert one_step_template() == (await store.get_template(one_step_template().key)).template

    async def test_concurrent_pruning_deletes_each_task_once(self, stores: list[Store]) -> None:
        """Several processes prune at the same time."""
        template = await register_template(stores[0], chain_template())
        await stores[0].create_tasks([make_new_task(template) for _ in range(40)])
        await (await ManualWorker.register(stores[0])).complete_all_due()
        before = (await stores[0].list_tasks(TaskFilter()))[0].created_at + FAR

        counts = await asyncio.gather(
            *(store.prune_tasks(ended_before=before, limit=10) for store in stores * 3)
        )
        counts += [await stores[0].prune_tasks(ended_before=before)]

        assert 40 == sum(counts)
        assert [] == await stores[0].list_tasks(TaskFilter())

    async def test_a_late_settlement_of_a_pruned_task_is_rejected(self, store: Store) -> None:
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        task = await store.cancel_task(task_id, ACT)
        await store.prune_tasks(ended_before=task.created_at + FAR)

        assert [0] == list((await worker.complete(claim)).rejected)
        assert [claim] == await store.renew_lease(worker.id, [claim], lease=SECOND * 30)
