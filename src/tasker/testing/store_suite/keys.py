"""Idempotency keys: submitting twice makes one task."""

import asyncio
from dataclasses import replace

import pytest

from tasker.errors import IdempotencyConflict
from tasker.model import Created, TaskFilter
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ManualWorker,
    StoreTests,
    chain,
    create,
    new_task,
    one,
    put,
)


class TestIdempotencyKeys(StoreTests):
    async def test_the_same_submission_again_gives_the_same_task(self, store: Store) -> None:
        """
        The second call tells of the first's task, and changes nothing.
        """
        template = await put(store, one())
        first = new_task(template, {"n": 1}, idempotency_key="k")
        second = new_task(template, {"n": 1}, idempotency_key="k")

        assert [(first.id, True)] == list((await store.create_tasks([first])).tasks)
        assert [(first.id, False)] == list((await store.create_tasks([second])).tasks)
        assert [first.id] == [task.id for task in await store.list_tasks(TaskFilter())]
        assert 1 == len(await (await ManualWorker.hire(store)).claim())

    async def test_equal_contexts_are_the_same_submission(self, store: Store) -> None:
        """
        Whatever the order of their keys, and whether a number is written 1 or 1.0.
        """
        template = await put(store, one())
        first = new_task(template, {"a": 1, "b": [{"c": 2.0, "d": 3}]}, idempotency_key="k")
        second = new_task(template, {"b": [{"d": 3.0, "c": 2}], "a": 1.0}, idempotency_key="k")
        other = new_task(template, {"a": 1, "b": [{"c": 2.5, "d": 3}]}, idempotency_key="k")
        await store.create_tasks([first])

        assert [(first.id, False)] == list((await store.create_tasks([second])).tasks)
        with pytest.raises(IdempotencyConflict):
            await store.create_tasks([other])

    async def test_a_finished_task_keeps_its_key(self, store: Store) -> None:
        """
        A caller that comes back late does not start the work again.
        """
        template = await put(store, one())
        task_id = await create(store, template, idempotency_key="k")
        await (await ManualWorker.hire(store)).work_off()

        created = await store.create_tasks([new_task(template, idempotency_key="k")])

        assert [(task_id, False)] == list(created.tasks)

    async def test_another_context_under_a_key_is_refused(self, store: Store) -> None:
        """
        The error names the key; nothing of the bulk is stored.
        """
        template = await put(store, one())
        await create(store, template, {"n": 1}, idempotency_key="order-7")
        other = new_task(template)

        with pytest.raises(IdempotencyConflict, match="order-7"):
            await store.create_tasks(
                [other, new_task(template, {"n": 2}, idempotency_key="order-7")]
            )

        assert 1 == len(await store.list_tasks(TaskFilter()))

    async def test_another_template_under_a_key_is_refused(self, store: Store) -> None:
        """
        A key belongs to one submission of its namespace, whatever the template.
        """
        await create(store, await put(store, one()), idempotency_key="k")

        with pytest.raises(IdempotencyConflict):
            await create(store, await put(store, chain()), idempotency_key="k")

    async def test_namespaces_do_not_share_keys(self, store: Store) -> None:
        """
        Two teams may use one order number.
        """
        foreign = replace(one(), namespace="other")
        mine = await create(store, await put(store, one()), idempotency_key="k")
        theirs = await create(store, await put(store, foreign), idempotency_key="k")

        assert mine != theirs
        assert [mine, theirs] == [
            task.id
            for namespace in ("suite", "other")
            if (task := await store.find_task(namespace, "k"))
        ]

    async def test_one_bulk_may_repeat_itself(self, store: Store) -> None:
        """
        The first of equal submissions makes the task, the others return it.
        """
        template = await put(store, one())
        news = [new_task(template, {"n": 1}, idempotency_key="k") for _ in range(3)]
        free = new_task(template, {"n": 1})

        created = await store.create_tasks([news[0], free, news[1], news[2]])

        first = news[0].id
        assert [(first, True), (free.id, True), (first, False), (first, False)] == list(
            created.tasks
        )
        assert {first, free.id} == {task.id for task in await store.list_tasks(TaskFilter())}

    async def test_one_bulk_may_not_contradict_itself(self, store: Store) -> None:
        """
        One key with two contexts is refused, and neither is stored.
        """
        template = await put(store, one())

        with pytest.raises(IdempotencyConflict):
            await store.create_tasks(
                [
                    new_task(template, {"n": 1}, idempotency_key="k"),
                    new_task(template, {"n": 2}, idempotency_key="k"),
                ]
            )

        assert [] == await store.list_tasks(TaskFilter())
        assert await store.find_task("suite", "k") is None

    async def test_a_task_that_was_there_is_not_claimed_again(self, store: Store) -> None:
        """
        A creator that takes roots gets those of new tasks only.
        """
        template = await put(store, one())
        hand = await ManualWorker.hire(store)
        there = await create(store, template, idempotency_key="k")
        new = new_task(template)

        created = await store.create_tasks(
            [new_task(template, idempotency_key="k"), new],
            worker=hand.id,
            queues=hand.queues,
            claim_up_to=10,
        )

        assert [(there, False), (new.id, True)] == list(created.tasks)
        assert [new.id] == [claim.task_id for claim in created.claims]

    async def test_a_task_is_found_by_its_key(self, store: Store) -> None:
        """
        In its namespace; None where the key is free.
        """
        task_id = await create(store, await put(store, one()), idempotency_key="it's ünïque")

        task = await store.find_task("suite", "it's ünïque")

        assert task is not None
        assert (task_id, "it's ünïque") == (task.id, task.idempotency_key)
        assert await store.find_task("other", "it's ünïque") is None
        assert await store.find_task("suite", "free") is None

    async def test_callers_at_once_make_one_task(self, stores: list[Store]) -> None:
        """
        All return the same task; one of them created it.
        """
        template = await put(stores[0], chain())

        created = await asyncio.gather(
            *(
                store.create_tasks([new_task(template, {"n": 1}, idempotency_key="k")])
                for store in stores * 5
            )
        )

        assert 1 == len({each.tasks[0][0] for each in created})
        assert 1 == sum(each.tasks[0][1] for each in created)
        assert 1 == len(await stores[0].list_tasks(TaskFilter()))

    async def test_callers_with_many_keys_at_once_get_in_nobodys_way(
        self, stores: list[Store]
    ) -> None:
        """
        Bulks that share their keys in opposite orders all go through.
        """
        template = await put(stores[0], one())
        keys = [f"k{number}" for number in range(40)]

        async def create(store: Store, order: list[str]) -> Created:
            return await store.create_tasks(
                [new_task(template, {"of": key}, idempotency_key=key) for key in order]
            )

        created = await asyncio.gather(
            *(
                create(store, keys if number % 2 else keys[::-1])
                for number, store in enumerate(stores * 4)
            )
        )

        made = [task_id for each in created for task_id, new in each.tasks if new]
        assert 40 == len(made) == len(set(made))
        assert 40 == len(await stores[0].list_tasks(TaskFilter(), limit=100))
