"""Creating tasks: all of them or none, with all given fields."""

import pytest

from tasker.errors import NotFound, StoreError
from tasker.model import (
    CreateTasksResult,
    StepCounts,
    StepStatus,
    TaskFilter,
    TaskStatus,
    TemplateId,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    SECOND,
    UNKNOWN_TASK,
    ManualWorker,
    StoreTests,
    chain_template,
    create_task,
    diamond_template,
    fan_template,
    make_new_task,
    make_template,
    one_step_template,
    register_and_create_task,
    register_template,
    statuses_by_name,
    steps_by_name,
)
from tasker.testing.store_suite.subject import StoreUnderTest


class TestCreation(StoreTests):
    async def test_a_new_task_has_all_its_steps(self, store: Store) -> None:
        """Roots are enqueued, and the other steps wait for their parents."""
        task_id = await register_and_create_task(store, diamond_template())

        steps = await steps_by_name(store, task_id)
        task = await store.get_task(task_id)

        assert {"a": "enqueued", "b": "pending", "c": "pending", "d": "pending"} == {
            name: step.status.value for name, step in steps.items()
        }
        assert [0, 1, 1, 2] == [step.pending_parents for step in steps.values()]
        assert [1, 2, 3, 4] == [step.no for step in steps.values()]
        assert [0, 0, 0, 0] == [step.attempts for step in steps.values()]
        assert StepCounts(enqueued=1, pending=3) == task.counts
        assert TaskStatus.PENDING == task.status

    async def test_a_task_is_read_as_it_was_created(self, store: Store) -> None:
        template = await register_template(store, one_step_template())
        parent = await create_task(store, template)
        new = make_new_task(
            template,
            {"order": 7},
            correlation_id="c-1",
            idempotency_key="k-1",
            parent_id=parent,
            created_by="bob",
            reason="he said so",
            tags=("b", "a b", 'c"'),
            title="Order 7",
            attributes={"order": "7", "it's": '"q"'},
            trace="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            deadline=SECOND * 90,
        )

        created = await store.create_tasks([new])
        task = await store.get_task(new.id)
        (given,) = await store.load_task_inputs([new.id])

        assert CreateTasksResult([(new.id, True)], [], task.created_at) == created
        assert one_step_template().key == task.template
        assert {"order": 7} == task.context
        assert ("c-1", "k-1", parent) == (
            task.correlation_id,
            task.idempotency_key,
            task.parent_id,
        )
        assert ("bob", "he said so", ("b", "a b", 'c"')) == (
            task.created_by,
            task.reason,
            task.tags,
        )
        assert ("Order 7", {"order": "7", "it's": '"q"'}) == (task.title, task.attributes)
        assert task.created_at + SECOND * 90 == task.deadline
        assert (task.ended_at, task.error) == (None, None)
        assert (new.id, template, "c-1", parent, new.trace) == (
            given.task_id,
            given.template_id,
            given.correlation_id,
            given.parent_id,
            given.trace,
        )
        assert new.context == given.context

    async def test_an_unknown_parent_is_rejected(self, store: Store) -> None:
        """No task of the call is stored; a parent may be created in the same call."""
        template = await register_template(store, one_step_template())
        parent = make_new_task(template)
        child = make_new_task(template, parent_id=parent.id)

        for others in ((), (parent, child)):
            with pytest.raises(NotFound, match=UNKNOWN_TASK):
                await store.create_tasks([*others, make_new_task(template, parent_id=UNKNOWN_TASK)])
        assert [] == await store.list_tasks(TaskFilter())

        await store.create_tasks([child, parent])
        assert parent.id == (await store.get_task(child.id)).parent_id

    async def test_created_tasks_are_returned_in_the_order_given(self, store: Store) -> None:
        """The tasks of one call may have different templates."""
        templates = [
            await register_template(store, template)
            for template in (one_step_template(), chain_template(), diamond_template())
        ]
        news = [make_new_task(templates[number % 3], {"n": number}) for number in range(300)]

        created = await store.create_tasks(news)

        assert [(new.id, True) for new in news] == list(created.tasks)
        listed = await store.list_tasks(TaskFilter(), limit=1000)
        assert {new.id for new in news} == {task.id for task in listed}
        assert 100 * (1 + 3 + 4) == sum(task.counts.total for task in listed)

    async def test_an_empty_list_creates_no_tasks(self, store: Store) -> None:
        """An empty list is not an error."""
        assert CreateTasksResult([], []) == await store.create_tasks([])

    async def test_an_unknown_template_stores_nothing(self, store: Store) -> None:
        """No task of the call is stored, and the idempotency keys stay free."""
        template = await register_template(store, one_step_template())
        good = make_new_task(template, idempotency_key="k")

        with pytest.raises(NotFound):
            await store.create_tasks([good, make_new_task(TemplateId(4711))])

        assert [] == await store.list_tasks(TaskFilter())
        assert await store.find_task_by_idempotency_key("suite", "k") is None
        assert [(good.id, True)] == list((await store.create_tasks([good])).tasks)

    async def test_a_duplicate_id_stores_nothing(self, store: Store) -> None:
        """The database detects the conflict, and the transaction is rolled back."""
        template = await register_template(store, chain_template())
        first = make_new_task(template)
        await store.create_tasks([first])
        other = make_new_task(template, idempotency_key="k")

        with pytest.raises(StoreError):
            await store.create_tasks([other, first])

        with pytest.raises(NotFound):
            await store.get_task(other.id)
        assert await store.find_task_by_idempotency_key("suite", "k") is None
        assert 3 == len(await store.list_steps(first.id))

    async def test_a_value_that_the_database_rejects_stores_nothing(self, store: Store) -> None:
        """Such a value does not affect concurrent operations."""
        template = await register_template(store, one_step_template())
        good, bad = make_new_task(template), make_new_task(template, correlation_id="\ud800")

        with pytest.raises(Exception):  # noqa: B017 - the driver's
            await store.create_tasks([good, bad])

        assert [] == await store.list_tasks(TaskFilter())

    async def test_a_task_may_start_later(self, store: Store, subject: StoreUnderTest) -> None:
        """Its roots are enqueued immediately, and can be claimed from `run_at` on."""
        template = await register_template(store, chain_template())
        now = (await store.get_task(await create_task(store, template))).created_at
        later = await create_task(store, template, run_at=now + SECOND * 60)
        worker = await ManualWorker.register(store)

        early = await worker.claim()
        await subject.advance(SECOND * 61)
        due = await worker.claim()

        assert later not in {claim.task_id for claim in early}
        assert [later] == [claim.task_id for claim in due]

    async def test_a_wide_task_is_created_and_completed(self, store: Store) -> None:
        """The task has 10,000 steps (1 > 9,998 > 1), as many as a template may have."""
        width = 9_998
        task_id = await register_and_create_task(store, fan_template(width))
        worker = await ManualWorker.register(store)

        settled = await worker.complete(await worker.claim_one())
        assert ([], []) == (list(settled.rejected), list(settled.ended))
        claims = await worker.claim(width)
        while batch := claims[:2500]:
            del claims[:2500]
            await worker.complete(*batch)
        last = await worker.complete(await worker.claim_one())

        assert [(task_id, TaskStatus.COMPLETE)] == list(last.ended)
        assert width + 2 == (await store.get_task(task_id)).counts.complete


class TestCreationWithClaims(StoreTests):
    async def test_roots_are_claimed_for_the_creator(self, store: Store) -> None:
        """The creation claims roots up to the limit; the others stay enqueued."""
        template = await register_template(store, make_template("roots", a="", b="", c="", d="a"))
        worker = await ManualWorker.register(store)

        created = await store.create_tasks(
            [make_new_task(template)], worker=worker.id, claim_up_to=2
        )
        task_id = created.tasks[0][0]

        assert 2 == len(created.claims)
        assert {(task_id, 1, 1)} == {
            (claim.task_id, claim.attempt, claim.counted_attempts) for claim in created.claims
        }
        assert sorted(created.claims) == sorted(await store.list_held_claims(worker.id))
        states = await statuses_by_name(store, task_id)
        assert ["enqueued", "in_progress", "in_progress", "pending"] == sorted(states.values())
        assert TaskStatus.IN_PROGRESS == (await store.get_task(task_id)).status
        assert 1 == len(await worker.claim())

    async def test_roots_of_other_queues_are_not_claimed(self, store: Store) -> None:
        template = await register_template(store, make_template("roots", a="", b="", c=""))
        worker = await ManualWorker.register(store, handlers={"b"})

        created = await store.create_tasks(
            [make_new_task(template)], worker=worker.id, claim_up_to=10
        )

        assert [2] == [claim.no for claim in created.claims]

    async def test_roots_that_are_not_due_are_not_claimed(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """They can be claimed when they are due."""
        template = await register_template(store, one_step_template())
        now = (await store.get_task(await create_task(store, template))).created_at
        worker = await ManualWorker.register(store)
        await worker.complete_all_due()

        created = await store.create_tasks(
            [make_new_task(template, run_at=now + SECOND * 60)],
            worker=worker.id,
            claim_up_to=10,
        )

        assert [] == list(created.claims)
        assert (
            StepStatus.ENQUEUED == (await steps_by_name(store, created.tasks[0][0]))["only"].status
        )
        await subject.advance(SECOND * 61)
        assert 1 == len(await worker.claim())

    async def test_claimed_roots_settle_like_others(self, store: Store) -> None:
        """Their attempt is the first one in the history."""
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store, "creator")
        created = await store.create_tasks(
            [make_new_task(template)], worker=worker.id, claim_up_to=1
        )

        settled = await worker.complete(*created.claims)

        task_id = created.tasks[0][0]
        assert [(task_id, TaskStatus.COMPLETE)] == list(settled.ended)
        (attempt,) = await store.list_attempts(task_id)
        assert (1, "creator") == (attempt.attempt, attempt.worker)
        assert attempt.enqueued_at is not None
        assert attempt.claimed_at is not None

    async def test_roots_that_no_live_worker_can_run_are_counted(self, store: Store) -> None:
        """A root counts if no live worker serves its queue; other steps do not count."""
        template = make_template("two_roots", a="", b="", c="a b")
        await register_template(store, template)
        worker = await ManualWorker.register(store, handlers={"a", "c"}, serves=False)

        alone = await store.count_unserved_root_steps(template.key)
        await store.add_served_queues(worker.id, worker.queues)
        served = await store.count_unserved_root_steps(template.key)
        await store.retire_worker(worker.id)

        assert (2, 1, 2) == (alone, served, await store.count_unserved_root_steps(template.key))
        assert 0 == await store.count_unserved_root_steps(template.key._replace(version="9.0.0"))


class TestCallersTransaction(StoreTests):
    async def test_a_task_exists_when_the_caller_commits(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """It is invisible before the commit, and claimable after it."""
        template = await register_template(store, one_step_template())
        new = make_new_task(template)
        transaction = subject.transaction()
        if transaction is None:
            pytest.skip("the store cannot take part in a caller's transaction")

        async with transaction as connection:
            created = await store.create_tasks([new], connection=connection)
            with pytest.raises(NotFound):
                await store.get_task(new.id)

        assert [(new.id, True)] == list(created.tasks)
        worker = await ManualWorker.register(store)
        assert new.id == (await worker.claim_one()).task_id

    async def test_a_task_does_not_exist_after_the_caller_rolls_back(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Its idempotency key is free again."""
        template = await register_template(store, one_step_template())
        new = make_new_task(template, idempotency_key="k")
        transaction = subject.transaction()
        if transaction is None:
            pytest.skip("the store cannot take part in a caller's transaction")

        with pytest.raises(ZeroDivisionError):
            async with transaction as connection:
                await store.create_tasks([new], connection=connection)
                raise ZeroDivisionError

        assert [] == await store.list_tasks(TaskFilter())
        assert await store.find_task_by_idempotency_key("suite", "k") is None
