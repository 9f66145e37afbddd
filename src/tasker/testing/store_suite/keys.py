"""Idempotency keys: submitting a task twice creates it once."""

import asyncio
from dataclasses import replace

import pytest

from tasker.errors import IdempotencyConflict, Misuse, TaskExists
from tasker.model import (
    CreateTasksResult,
    ExistingTaskAction,
    IdempotencyKeyLifetime,
    TaskFilter,
    TaskStatus,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    ManualWorker,
    StoreTests,
    chain_template,
    create_task,
    make_new_task,
    one_step_template,
    register_template,
)


class TestIdempotencyKeys(StoreTests):
    async def test_repeating_a_submission_returns_the_same_task(self, store: Store) -> None:
        """The second call returns the first task and changes nothing."""
        template = await register_template(store, one_step_template())
        first = make_new_task(template, {"n": 1}, idempotency_key="k")
        second = make_new_task(template, {"n": 1}, idempotency_key="k")

        assert [(first.id, True)] == list((await store.create_tasks([first])).tasks)
        assert [(first.id, False)] == list((await store.create_tasks([second])).tasks)
        assert [first.id] == [task.id for task in await store.list_tasks(TaskFilter())]
        assert 1 == len(await (await ManualWorker.register(store)).claim())

    async def test_equal_contexts_are_the_same_submission(self, store: Store) -> None:
        """Neither the order of the fields nor writing 1 as 1.0 makes a difference."""
        template = await register_template(store, one_step_template())
        first = make_new_task(template, {"a": 1, "b": [{"c": 2.0, "d": 3}]}, idempotency_key="k")
        second = make_new_task(template, {"b": [{"d": 3.0, "c": 2}], "a": 1.0}, idempotency_key="k")
        other = make_new_task(template, {"a": 1, "b": [{"c": 2.5, "d": 3}]}, idempotency_key="k")
        await store.create_tasks([first])

        assert [(first.id, False)] == list((await store.create_tasks([second])).tasks)
        with pytest.raises(IdempotencyConflict):
            await store.create_tasks([other])

    async def test_a_finished_task_keeps_its_key(self, store: Store) -> None:
        """A late repetition does not start the work again."""
        template = await register_template(store, one_step_template())
        task_id = await create_task(store, template, idempotency_key="k")
        await (await ManualWorker.register(store)).complete_all_due()

        created = await store.create_tasks([make_new_task(template, idempotency_key="k")])

        assert [(task_id, False)] == list(created.tasks)

    async def test_a_different_context_under_a_key_is_rejected(self, store: Store) -> None:
        """The error names the key and its task; no task of the bulk is stored."""
        template = await register_template(store, one_step_template())
        holder = await create_task(store, template, {"n": 1}, idempotency_key="order-7")
        other = make_new_task(template)

        with pytest.raises(IdempotencyConflict, match=f"order-7.*{holder}"):
            await store.create_tasks(
                [other, make_new_task(template, {"n": 2}, idempotency_key="order-7")]
            )

        assert 1 == len(await store.list_tasks(TaskFilter()))

    async def test_a_different_template_under_a_key_is_rejected(self, store: Store) -> None:
        """Within a namespace, a key belongs to one submission."""
        await create_task(
            store, await register_template(store, one_step_template()), idempotency_key="k"
        )

        with pytest.raises(IdempotencyConflict):
            await create_task(
                store, await register_template(store, chain_template()), idempotency_key="k"
            )

    async def test_namespaces_do_not_share_keys(self, store: Store) -> None:
        """Two namespaces may use the same order number as a key."""
        foreign = replace(one_step_template(), namespace="other")
        mine = await create_task(
            store, await register_template(store, one_step_template()), idempotency_key="k"
        )
        theirs = await create_task(
            store, await register_template(store, foreign), idempotency_key="k"
        )

        assert mine != theirs
        assert [mine, theirs] == [
            task.id
            for namespace in ("suite", "other")
            if (task := await store.find_task_by_idempotency_key(namespace, "k"))
        ]

    async def test_a_bulk_may_contain_the_same_submission_twice(self, store: Store) -> None:
        """The first of the equal submissions creates the task, and the others return it."""
        template = await register_template(store, one_step_template())
        news = [make_new_task(template, {"n": 1}, idempotency_key="k") for _ in range(3)]
        free = make_new_task(template, {"n": 1})

        created = await store.create_tasks([news[0], free, news[1], news[2]])

        first = news[0].id
        assert [(first, True), (free.id, True), (first, False), (first, False)] == list(
            created.tasks
        )
        assert {first, free.id} == {task.id for task in await store.list_tasks(TaskFilter())}

    async def test_a_bulk_may_not_contain_different_submissions_under_one_key(
        self, store: Store
    ) -> None:
        """One key with two contexts is rejected, and neither task is stored."""
        template = await register_template(store, one_step_template())

        with pytest.raises(IdempotencyConflict):
            await store.create_tasks(
                [
                    make_new_task(template, {"n": 1}, idempotency_key="k"),
                    make_new_task(template, {"n": 2}, idempotency_key="k"),
                ]
            )

        assert [] == await store.list_tasks(TaskFilter())
        assert await store.find_task_by_idempotency_key("suite", "k") is None

    async def test_an_existing_task_is_not_claimed_again(self, store: Store) -> None:
        """Only roots of new tasks are claimed."""
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        there = await create_task(store, template, idempotency_key="k")
        new = make_new_task(template)

        created = await store.create_tasks(
            [make_new_task(template, idempotency_key="k"), new],
            worker=worker.id,
            claim_up_to=10,
        )

        assert [(there, False), (new.id, True)] == list(created.tasks)
        assert [new.id] == [claim.task_id for claim in created.claims]

    async def test_a_task_is_found_by_its_key(self, store: Store) -> None:
        """Looking up a free key returns None."""
        task_id = await create_task(
            store,
            await register_template(store, one_step_template()),
            idempotency_key="it's ünïque",
        )

        task = await store.find_task_by_idempotency_key("suite", "it's ünïque")

        assert task is not None
        assert (task_id, "it's ünïque") == (task.id, task.idempotency_key)
        assert await store.find_task_by_idempotency_key("other", "it's ünïque") is None
        assert await store.find_task_by_idempotency_key("suite", "free") is None

    async def test_concurrent_callers_create_one_task(self, stores: list[Store]) -> None:
        """All calls return the same task, which one of them created."""
        template = await register_template(stores[0], chain_template())

        created = await asyncio.gather(
            *(
                store.create_tasks([make_new_task(template, {"n": 1}, idempotency_key="k")])
                for store in stores * 5
            )
        )

        assert 1 == len({each.tasks[0][0] for each in created})
        assert 1 == sum(each.tasks[0][1] for each in created)
        assert 1 == len(await stores[0].list_tasks(TaskFilter()))

    async def test_concurrent_callers_with_many_keys_do_not_deadlock(
        self, stores: list[Store]
    ) -> None:
        """Bulks that contain the same keys in opposite orders all succeed."""
        template = await register_template(stores[0], one_step_template())
        keys = [f"k{number}" for number in range(40)]

        async def create_tasks_with_keys(store: Store, order: list[str]) -> CreateTasksResult:
            return await store.create_tasks(
                [make_new_task(template, {"of": key}, idempotency_key=key) for key in order]
            )

        created = await asyncio.gather(
            *(
                create_tasks_with_keys(store, keys if number % 2 else keys[::-1])
                for number, store in enumerate(stores * 4)
            )
        )

        made = [task_id for each in created for task_id, new in each.tasks if new]
        assert 40 == len(made) == len(set(made))
        assert 40 == len(await stores[0].list_tasks(TaskFilter(), limit=100))

    async def test_a_taken_key_is_rejected_on_request(self, store: Store) -> None:
        """Even an equal submission is rejected, and no task of the bulk is stored."""
        template = await register_template(store, one_step_template())
        holder = await create_task(store, template, idempotency_key="k")
        await (await ManualWorker.register(store)).complete_all_due()

        with pytest.raises(TaskExists, match="'k'") as caught:
            await store.create_tasks(
                [
                    make_new_task(template),
                    make_new_task(
                        template, idempotency_key="k", if_exists=ExistingTaskAction.REJECT
                    ),
                ]
            )

        assert ("k", holder) == (caught.value.key, caught.value.task_id)
        assert [holder] == [task.id for task in await store.list_tasks(TaskFilter())]

    async def test_a_free_key_is_not_rejected(self, store: Store) -> None:
        template = await register_template(store, one_step_template())
        new = make_new_task(template, idempotency_key="k", if_exists=ExistingTaskAction.REJECT)

        assert [(new.id, True)] == list((await store.create_tasks([new])).tasks)


class TestKeysOfOpenTasks(StoreTests):
    """Keys that belong to their task while it is open."""

    async def test_an_open_task_holds_its_key(self, store: Store) -> None:
        """Equal submissions return the task, and different ones are rejected."""
        template = await register_template(store, one_step_template())
        holder = await create_task(
            store, template, idempotency_key="k", unique_while=IdempotencyKeyLifetime.OPEN
        )

        again = await store.create_tasks(
            [make_new_task(template, idempotency_key="k", unique_while=IdempotencyKeyLifetime.OPEN)]
        )

        assert [(holder, False)] == list(again.tasks)
        with pytest.raises(IdempotencyConflict):
            await create_task(store, template, {"n": 2}, idempotency_key="k")

    @pytest.mark.parametrize("end", ["complete", "error", "cancelled"])
    async def test_an_ended_task_frees_its_key(self, store: Store, end: str) -> None:
        """This holds after any outcome; the next task may have a different context."""
        template = await register_template(store, one_step_template())
        first = await create_task(
            store, template, idempotency_key="k", unique_while=IdempotencyKeyLifetime.OPEN
        )
        worker = await ManualWorker.register(store)
        if end == "complete":
            await worker.complete_all_due()
        elif end == "error":
            await worker.fail(await worker.claim_one())
        else:
            await store.cancel_task(first, ACT)
        assert await store.find_task_by_idempotency_key("suite", "k") is None

        second = await create_task(
            store, template, {"n": 2}, idempotency_key="k", unique_while=IdempotencyKeyLifetime.OPEN
        )

        assert first != second
        assert [second, first] == [task.id for task in await store.list_tasks(TaskFilter())]
        holder = await store.find_task_by_idempotency_key("suite", "k")
        assert holder is not None
        assert second == holder.id

    async def test_the_task_that_holds_a_key_determines_how_long_it_keeps_it(
        self, store: Store
    ) -> None:
        """A later submission cannot free a kept key, but it can keep a freed key."""
        template = await register_template(store, one_step_template())
        kept = await create_task(store, template, idempotency_key="kept")
        await create_task(
            store, template, idempotency_key="freed", unique_while=IdempotencyKeyLifetime.OPEN
        )
        worker = await ManualWorker.register(store)
        await worker.complete_all_due()

        asked = await store.create_tasks(
            [
                make_new_task(
                    template, idempotency_key="kept", unique_while=IdempotencyKeyLifetime.OPEN
                ),
                make_new_task(template, idempotency_key="freed"),
            ]
        )
        await worker.complete_all_due()
        again = await store.create_tasks([make_new_task(template, idempotency_key="freed")])

        assert [(kept, False), (asked.tasks[1][0], True)] == list(asked.tasks)
        assert [(asked.tasks[1][0], False)] == list(again.tasks)

    async def test_a_bulk_creation_takes_a_freed_key_once(self, store: Store) -> None:
        """The first of the equal submissions creates the task, and the others return it."""
        template = await register_template(store, one_step_template())
        await create_task(
            store, template, idempotency_key="k", unique_while=IdempotencyKeyLifetime.OPEN
        )
        await (await ManualWorker.register(store)).complete_all_due()
        news = [make_new_task(template, idempotency_key="k") for _ in range(2)]

        created = await store.create_tasks(news)

        assert [(news[0].id, True), (news[0].id, False)] == list(created.tasks)

    async def test_concurrent_callers_take_a_freed_key_once(self, stores: list[Store]) -> None:
        """All calls return the same new task, which one of them created."""
        template = await register_template(stores[0], one_step_template())
        first = await create_task(
            stores[0], template, idempotency_key="k", unique_while=IdempotencyKeyLifetime.OPEN
        )
        await (await ManualWorker.register(stores[0])).complete_all_due()

        created = await asyncio.gather(
            *(
                store.create_tasks(
                    [
                        make_new_task(
                            template, idempotency_key="k", unique_while=IdempotencyKeyLifetime.OPEN
                        )
                    ]
                )
                for store in stores * 5
            )
        )

        ids = {each.tasks[0][0] for each in created}
        assert 1 == len(ids)
        assert first not in ids
        assert 1 == sum(each.tasks[0][1] for each in created)

    async def test_a_task_whose_key_another_open_task_has_is_not_reopened(
        self, store: Store
    ) -> None:
        """When the other task has ended, this one can be retried and has its key again."""
        template = await register_template(store, one_step_template())
        first = await create_task(
            store, template, idempotency_key="k", unique_while=IdempotencyKeyLifetime.OPEN
        )
        worker = await ManualWorker.register(store)
        await worker.fail(await worker.claim_one())
        second = await create_task(
            store, template, idempotency_key="k", unique_while=IdempotencyKeyLifetime.OPEN
        )

        with pytest.raises(TaskExists, match=second):
            await store.retry_steps(first, ACT)
        with pytest.raises(TaskExists, match=second):
            await store.resolve_step(first, 1, None, ACT)
        await worker.complete_all_due()
        reopened = await store.retry_steps(first, ACT)
        again = await store.create_tasks(
            [make_new_task(template, idempotency_key="k", unique_while=IdempotencyKeyLifetime.OPEN)]
        )

        assert not reopened.has_ended
        assert [(first, False)] == list(again.tasks)


class TestReplacingKeyHolders(StoreTests):
    """Creating a task that replaces the holder of its key."""

    async def test_replacing_cancels_the_open_holder(self, store: Store) -> None:
        """Its running attempt can no longer settle, and the audit log names the new task."""
        template = await register_template(store, chain_template())
        old = await create_task(store, template, {"n": 1}, idempotency_key="k")
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()

        new = await create_task(
            store,
            template,
            {"n": 2},
            idempotency_key="k",
            if_exists=ExistingTaskAction.REPLACE,
            created_by="ann",
        )

        assert [0] == list((await worker.complete(claim)).rejected)
        assert TaskStatus.CANCELLED is (await store.get_task(old)).status
        (entry,) = await store.list_audit_entries(old)
        assert ("ann", "cancel", f"replaced by task {new}") == (
            entry.actor,
            entry.action,
            entry.reason,
        )
        holder = await store.find_task_by_idempotency_key("suite", "k")
        assert holder is not None
        assert (new, TaskStatus.PENDING) == (holder.id, holder.status)
        assert [new] == [claim.task_id for claim in await worker.claim()]

    async def test_replacing_leaves_an_ended_holder_alone(self, store: Store) -> None:
        template = await register_template(store, one_step_template())
        old = await create_task(store, template, idempotency_key="k")
        await (await ManualWorker.register(store)).complete_all_due()

        new = await create_task(
            store, template, idempotency_key="k", if_exists=ExistingTaskAction.REPLACE
        )

        assert TaskStatus.COMPLETE is (await store.get_task(old)).status
        assert [] == await store.list_audit_entries(old)
        again = await store.create_tasks([make_new_task(template, idempotency_key="k")])
        assert [(new, False)] == list(again.tasks)

    async def test_a_free_key_replaces_nothing(self, store: Store) -> None:
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        new = make_new_task(template, idempotency_key="k", if_exists=ExistingTaskAction.REPLACE)

        created = await store.create_tasks([new], worker=worker.id, claim_up_to=1)

        assert [(new.id, True)] == list(created.tasks)
        assert [new.id] == [claim.task_id for claim in created.claims]

    async def test_a_parent_that_waits_for_a_replaced_task_continues(self, store: Store) -> None:
        """It continues as if an operator had cancelled the replaced task."""
        template = await register_template(store, one_step_template())
        parent = await create_task(store, template)
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        child = await create_task(store, template, idempotency_key="k", parent_id=parent)
        await store.park_until_task_ends(claim, child)

        await create_task(
            store, template, idempotency_key="k", if_exists=ExistingTaskAction.REPLACE
        )

        assert parent in {claim.task_id for claim in await worker.claim()}

    async def test_replacements_of_a_bulk_are_atomic(self, store: Store) -> None:
        """A rejected creation cancels no task."""
        template = await register_template(store, one_step_template())
        old = await create_task(store, template, idempotency_key="k")
        await create_task(store, template, idempotency_key="other")
        replacing = make_new_task(
            template, idempotency_key="k", if_exists=ExistingTaskAction.REPLACE
        )

        with pytest.raises(IdempotencyConflict):
            await store.create_tasks(
                [replacing, make_new_task(template, {"n": 2}, idempotency_key="other")]
            )
        with pytest.raises(Misuse, match="two of the tasks"):
            await store.create_tasks([replacing, replace(replacing, id=make_new_task(template).id)])

        assert TaskStatus.PENDING is (await store.get_task(old)).status
        assert 2 == len(await store.list_tasks(TaskFilter()))

    async def test_concurrent_replacements_leave_one_open_task(self, stores: list[Store]) -> None:
        """Each task is created and holds the key for a time; all but the last are cancelled."""
        template = await register_template(stores[0], chain_template())
        await create_task(stores[0], template, idempotency_key="k")

        created = await asyncio.gather(
            *(
                store.create_tasks(
                    [
                        make_new_task(
                            template,
                            {"n": number},
                            idempotency_key="k",
                            if_exists=ExistingTaskAction.REPLACE,
                        )
                    ]
                )
                for number, store in enumerate(stores * 4)
            )
        )

        assert all(each.tasks[0][1] for each in created)
        tasks = await stores[0].list_tasks(TaskFilter())
        assert 1 + len(created) == len(tasks)
        (last,) = [task.id for task in tasks if not task.has_ended]
        holder = await stores[0].find_task_by_idempotency_key("suite", "k")
        assert holder is not None
        assert last == holder.id

    async def test_concurrent_replacements_of_a_free_key_leave_one_open_task(
        self, stores: list[Store]
    ) -> None:
        template = await register_template(stores[0], one_step_template())

        created = await asyncio.gather(
            *(
                store.create_tasks(
                    [
                        make_new_task(
                            template,
                            {"n": number},
                            idempotency_key="k",
                            if_exists=ExistingTaskAction.REPLACE,
                        )
                    ]
                )
                for number, store in enumerate(stores * 4)
            )
        )

        assert all(each.tasks[0][1] for each in created)
        open_ones = [
            task for task in await stores[0].list_tasks(TaskFilter()) if not task.has_ended
        ]
        assert 1 == len(open_ones)

    async def test_a_task_that_is_replaced_while_it_completes_ends_once(
        self, stores: list[Store]
    ) -> None:
        """The old task is either cancelled or complete, and the new task has the key."""
        template = await register_template(stores[0], one_step_template())
        worker = await ManualWorker.register(stores[0])
        for number in range(10):
            key = f"k{number}"
            old = await create_task(stores[0], template, idempotency_key=key)
            claim = await worker.claim_one()

            settled, new = await asyncio.gather(
                worker.complete(claim),
                create_task(
                    stores[-1], template, idempotency_key=key, if_exists=ExistingTaskAction.REPLACE
                ),
            )

            task = await stores[0].get_task(old)
            rejected = bool(settled.rejected)
            assert (TaskStatus.CANCELLED if rejected else TaskStatus.COMPLETE) is task.status
            assert int(rejected) == len(await stores[0].list_audit_entries(old))
            holder = await stores[0].find_task_by_idempotency_key("suite", key)
            assert holder is not None
            assert new == holder.id
            await worker.complete_all_due()
