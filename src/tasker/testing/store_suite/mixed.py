"""Calls that do several things at once: each part has its full effect."""

from dataclasses import replace
from datetime import timedelta

from tasker.model import (
    AttemptOutcome,
    JsonText,
    StepStatus,
    TaskStatus,
    completed_outcome,
    released_outcome,
)
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
    statuses_by_name,
    steps_by_name,
)
from tasker.testing.store_suite.subject import StoreUnderTest
from tasker.testing.store_suite.waking import require_wake_up, wait_and_claim_nothing

PAIR = make_template("pair", a="", b="")


class TestMixedEffects(StoreTests):
    async def test_a_worker_that_claimed_less_than_requested_can_be_woken(
        self, stores: list[Store]
    ) -> None:
        """It still has free slots."""
        template = await register_template(stores[0], one_step_template())
        await create_task(stores[0], template)
        worker = await ManualWorker.register(stores[1])
        await stores[1].wait_for_work(0.05)
        assert 1 == len(await worker.claim(4))
        await stores[1].wait_for_work(0.05)

        await require_wake_up(stores[1].wait_for_work, create_task(stores[0], template))

        await worker.claim_one()

    async def test_parking_for_an_ended_task_wakes_a_waiting_worker(
        self, stores: list[Store]
    ) -> None:
        """The parked step is enqueued immediately."""
        ended = (await create_and_run_task(stores[0], make_template("child", x=""))).id
        await register_and_create_task(stores[0], one_step_template())
        busy = await ManualWorker.register(stores[0])
        claim = await busy.claim_one()
        idle = await ManualWorker.register(stores[1])
        await wait_and_claim_nothing(stores[1], idle)

        await require_wake_up(stores[1].wait_for_work, stores[0].park_until_task_ends(claim, ended))

        assert 2 == (await idle.claim_one()).attempt

    async def test_children_of_a_resolved_step_do_not_wait_for_its_retry(
        self, store: Store
    ) -> None:
        task_id = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)
        await worker.fail_with_retry(await worker.claim_one(), timedelta(hours=1))

        await store.resolve_step(task_id, 1, JsonText("1"), ACT)

        assert 2 == (await worker.claim_one()).no

    async def test_a_creation_that_claims_some_roots_wakes_workers_for_the_others(
        self, stores: list[Store]
    ) -> None:
        """The others are beyond the limit, or in queues that the creator does not serve."""
        template = await register_template(stores[0], PAIR)
        creator = await ManualWorker.register(stores[0], handlers={"a"})
        both = await ManualWorker.register(stores[0])
        idle = await ManualWorker.register(stores[1])
        for claims, most in ((creator, 2), (both, 1)):
            await wait_and_claim_nothing(stores[1], idle)

            await require_wake_up(
                stores[1].wait_for_work,
                stores[0].create_tasks(
                    [make_new_task(template)], worker=claims.id, claim_up_to=most
                ),
            )

            await idle.complete(await idle.claim_one())

    async def test_a_settlement_that_ends_an_awaited_task_and_releases_a_step_does_both(
        self, store: Store
    ) -> None:
        parent = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        child = await register_and_create_task(store, make_template("child", x=""))
        await store.park_until_task_ends(claim, child)
        other = await register_and_create_task(store, one_step_template("other"))
        worker = await ManualWorker.register(store)
        claims = {claim.task_id: claim for claim in await worker.claim()}

        settled = await worker.settle(
            completed_outcome(claims[child], JsonText("1")), released_outcome(claims[other])
        )

        assert [(child, TaskStatus.COMPLETE)] == list(settled.ended)
        assert {parent, other} == {claim.task_id for claim in await worker.claim()}

    async def test_a_settlement_that_ends_an_awaited_task_and_frees_a_step_does_both(
        self, store: Store
    ) -> None:
        parent = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        child = await register_and_create_task(store, make_template("child", x=""))
        await store.park_until_task_ends(claim, child)
        other = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)

        await worker.complete(*await worker.claim())

        assert {(parent, 1), (other, 2)} == {claim[:2] for claim in await worker.claim()}

    async def test_revived_steps_have_no_end_time(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The steps of a retried task that missed its deadline run as if they had never ended."""
        task_id = await register_and_create_task(store, chain_template(), deadline=SECOND)
        await subject.advance(SECOND * 2)
        await store.end_overdue_and_failed_tasks()
        assert {"cancelled"} == set((await statuses_by_name(store, task_id)).values())

        await store.retry_steps(task_id, ACT)

        steps = await steps_by_name(store, task_id)
        assert ["enqueued", "pending", "pending"] == [step.status for step in steps.values()]
        assert {None} == {step.settled_at for step in steps.values()}

    async def test_a_task_ends_in_error_if_its_last_step_fails(self, store: Store) -> None:
        """The step that completed before keeps its status."""
        task_id = await register_and_create_task(store, replace(PAIR, name="both"))
        worker = await ManualWorker.register(store)
        claims = {claim.no: claim for claim in await worker.claim()}

        first = await worker.complete(claims[1])
        last = await worker.fail(claims[2])

        assert ([], [(task_id, TaskStatus.ERROR)]) == (list(first.ended), list(last.ended))
        assert StepStatus.COMPLETE == (await steps_by_name(store, task_id))["a"].status

    async def test_an_earlier_attempt_cannot_park_a_step_that_runs_again(
        self, store: Store
    ) -> None:
        """The current attempt keeps the step, and the history has no parked attempt."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        late = await worker.claim_one()
        await worker.fail_with_retry(late)
        present = await worker.claim_one()
        child = await register_and_create_task(store, make_template("child", x=""))

        assert not await store.park_until_task_ends(late, child)

        assert [AttemptOutcome.RETRY] == [row.outcome for row in await store.list_attempts(task_id)]
        assert [] == list((await worker.complete(present)).rejected)
