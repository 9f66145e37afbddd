"""Steps that wait for other tasks without occupying a worker."""

import asyncio
from itertools import pairwise

import pytest

from tasker.errors import WaitCycle
from tasker.model import AttemptOutcome, StepCounts, StepStatus, TaskId, TaskStatus
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    SECOND,
    UNKNOWN_TASK,
    ManualWorker,
    StoreTests,
    chain_template,
    create_and_run_task,
    create_task,
    make_template,
    one_step_template,
    register_and_create_task,
    register_template,
    statuses_by_name,
    steps_by_name,
)
from tasker.testing.store_suite.subject import StoreUnderTest
from tasker.times import compute_task_times

SLACK = 60  #: seconds that a busy machine may add to a time


class TestParking(StoreTests):
    async def test_a_parked_step_holds_no_worker(self, store: Store) -> None:
        """Its attempt has ended, the step cannot be claimed, and its task is open."""
        parent, child = (
            await register_and_create_task(store, one_step_template()),
            await register_and_create_task(store, chain_template()),
        )
        worker = await ManualWorker.register(store)
        claim = next(each for each in await worker.claim() if each.task_id == parent)

        assert await store.park_until_task_ends(claim, child)

        assert parent not in {held.task_id for held in await store.list_held_claims(worker.id)}
        assert [] == await worker.claim()
        assert StepStatus.WAITING == (await steps_by_name(store, parent))["only"].status
        task = await store.get_task(parent)
        assert (TaskStatus.IN_PROGRESS, StepCounts(waiting=1)) == (task.status, task.counts)
        (attempt,) = await store.list_attempts(parent)
        assert (AttemptOutcome.PARKED, "worker") == (attempt.outcome, attempt.worker)
        assert attempt.enqueued_at is not None

    async def test_a_parked_step_continues_when_the_awaited_task_ends(self, store: Store) -> None:
        """The awaited task may have any outcome; the parked attempt does not count."""
        for end in ("complete", "error", "cancelled"):
            parent = await register_and_create_task(store, one_step_template())
            worker = await ManualWorker.register(store)
            claim = await worker.claim_one()
            child = await register_and_create_task(store, make_template("child", x=""))
            assert await store.park_until_task_ends(claim, child)
            worker = await ManualWorker.register(store)
            running = await worker.claim_one()
            if end == "complete":
                await worker.complete(running)
            elif end == "error":
                await worker.fail(running)
            else:
                await store.cancel_task(child, ACT)

            again = await worker.claim_one()

            assert (parent, 1, 2, 1) == again[:4]
            await worker.complete(again)

    async def test_a_step_that_waits_for_an_ended_task_continues_immediately(
        self, store: Store
    ) -> None:
        """The same holds for a task that was pruned."""
        ended = (await create_and_run_task(store, make_template("child", x=""))).id
        for child in (ended, UNKNOWN_TASK):
            await register_and_create_task(store, one_step_template())
            worker = await ManualWorker.register(store)

            assert await store.park_until_task_ends(await worker.claim_one(), child)

            again = await worker.claim_one()
            assert (2, 1) == again[2:4]
            await worker.complete(again)

    async def test_the_next_claim_states_how_long_the_step_was_parked_and_queued(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Reading the step shows the same times; other claims have no parked time."""
        parent = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        await worker.fail_with_retry(await worker.claim_one())
        claim = await worker.claim_one()
        child = await register_and_create_task(store, make_template("child", x=""))
        assert await store.park_until_task_ends(claim, child)
        error = (await steps_by_name(store, parent))["only"].error
        worker = await ManualWorker.register(store)
        await subject.advance(SECOND * 5)
        await worker.complete(await worker.claim_one())
        await subject.advance(SECOND * 2)

        again = await worker.claim_one()

        assert (None, None) == (claim.parked, error)
        assert again.parked is not None
        assert 5 <= again.parked < 5 + SLACK
        assert 2 <= again.queued < 2 + SLACK
        (step,), history = await store.list_steps(parent), await store.list_attempts(parent)
        assert step.claimed_at is not None
        times = compute_task_times(
            await store.get_task(parent), [step], history, step.claimed_at
        ).task
        before = sum(attempt.queued for attempt in history)
        assert again.parked == pytest.approx(times.parked, abs=1e-4)
        assert again.queued == pytest.approx(times.queued - before, abs=1e-4)

    async def test_a_parked_step_continues_when_the_awaited_task_misses_its_deadline(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The sweep that ends the task wakes the step."""
        parent = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        child = await register_and_create_task(store, make_template("child", x=""), deadline=SECOND)
        await store.park_until_task_ends(claim, child)
        await subject.advance(SECOND * 2)

        await store.end_overdue_and_failed_tasks()

        assert parent == (await worker.claim_one()).task_id

    async def test_a_cycle_of_waits_is_rejected(self, store: Store) -> None:
        """The cycle may contain two or more tasks; their other waits are not affected."""
        for length in (2, 4):
            tasks = [
                await register_and_create_task(store, one_step_template()) for _ in range(length)
            ]
            worker = await ManualWorker.register(store)
            claims = {claim.task_id: claim for claim in await worker.claim()}
            for task, following in pairwise(tasks):
                assert await store.park_until_task_ends(claims[task], following)

            with pytest.raises(WaitCycle, match=f"cannot wait for task {tasks[0]}") as rejection:
                await store.park_until_task_ends(claims[tasks[-1]], tasks[0])

            assert tasks[-2] == rejection.value.link
            assert [claims[tasks[-1]].attempt_key] == [
                claim.attempt_key for claim in await store.list_held_claims(worker.id)
            ]
            await worker.fail(claims[tasks[-1]])
            woken = await worker.claim_one()
            assert tasks[-2] == woken.task_id
            for task in tasks[:-1]:
                await store.cancel_task(task, ACT)

    async def test_a_cycle_of_concurrent_waits_is_rejected(self, stores: list[Store]) -> None:
        """At least one of the waits is rejected, whatever their order."""
        for length in (2, 3, 4) * 4:
            tasks = [
                await register_and_create_task(stores[0], one_step_template())
                for _ in range(length)
            ]
            worker = await ManualWorker.register(stores[0])
            claims = {claim.task_id: claim for claim in await worker.claim()}

            ended = await asyncio.gather(
                *(
                    stores[no % len(stores)].park_until_task_ends(
                        claims[task], tasks[(no + 1) % length]
                    )
                    for no, task in enumerate(tasks)
                ),
                return_exceptions=True,
            )

            assert {True, WaitCycle} == {
                end if isinstance(end, bool) else type(end) for end in ended
            }
            for task in tasks:
                await stores[0].cancel_task(task, ACT)

    async def test_a_wait_that_an_operator_ended_does_not_count_in_a_cycle(
        self, store: Store
    ) -> None:
        first, second = (
            await register_and_create_task(store, chain_template()),
            await register_and_create_task(store, one_step_template()),
        )
        worker = await ManualWorker.register(store)
        claims = {claim.task_id: claim for claim in await worker.claim()}
        await store.park_until_task_ends(claims[first], second)
        await store.resolve_step(first, 1, None, ACT)

        assert await store.park_until_task_ends(claims[second], first)

    async def test_queued_time_of_a_resumed_step_starts_when_it_is_resumed(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The parked time does not count as queued time."""
        parent = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        child = await register_and_create_task(store, make_template("child", x=""))
        await store.park_until_task_ends(claim, child)
        await subject.advance(SECOND * 60)

        running = await (await ManualWorker.register(store, handlers={"x"})).claim_one()
        await worker.complete(running)
        (step,) = await store.list_steps(parent)
        await worker.complete(await worker.claim_one())

        parked, gone_on = await store.list_attempts(parent)
        for enqueued_at in (step.enqueued_at, gone_on.enqueued_at):
            assert enqueued_at is not None
            assert SECOND * 60 <= enqueued_at - parked.settled_at

    async def test_many_tasks_may_wait_for_one_task(self, store: Store) -> None:
        """Waits for the same task do not form a cycle."""
        tasks = [await register_and_create_task(store, one_step_template()) for _ in range(5)]
        worker = await ManualWorker.register(store)
        claims = {claim.task_id: claim for claim in await worker.claim()}

        for task, awaited in ((0, 3), (1, 3), (2, 0), (3, 4)):
            assert await store.park_until_task_ends(claims[tasks[task]], tasks[awaited])

        [step] = await store.list_steps(tasks[2])
        assert (StepStatus.WAITING, tasks[0]) == (step.status, step.waits_for)

    async def test_a_lost_claim_cannot_park(self, store: Store) -> None:
        """The fence rejects the earlier attempt."""
        parent = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        late = await worker.claim_one()
        child = await register_and_create_task(store, make_template("child", x=""))
        await worker.fail_with_retry(late)

        assert not await store.park_until_task_ends(late, child)

        assert "enqueued" == (await statuses_by_name(store, parent))["only"]
        assert 1 == len(await store.list_attempts(parent))

    async def test_a_parked_step_is_cancelled_with_its_task(self, store: Store) -> None:
        """The end of the awaited task then has no effect."""
        parent = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        child = await register_and_create_task(store, make_template("child", x=""))
        await store.park_until_task_ends(claim, child)
        await store.cancel_task(parent, ACT)

        await store.cancel_task(child, ACT)

        [step] = await store.list_steps(parent)
        assert (StepStatus.CANCELLED, None) == (step.status, step.waits_for)
        assert [] == await worker.claim()

    async def test_a_parked_step_can_be_resolved(self, store: Store) -> None:
        """The operator need not wait for the awaited task."""
        parent = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        child = await register_and_create_task(store, make_template("child", x=""))
        await store.park_until_task_ends(claim, child)

        task = await store.resolve_step(parent, 1, None, ACT)

        assert TaskStatus.COMPLETE == task.status
        await store.cancel_task(child, ACT)
        assert "resolved_manually" == (await statuses_by_name(store, parent))["only"]

    async def test_a_failed_task_waits_for_its_parked_steps(self, store: Store) -> None:
        """Parked steps can still run."""
        parent = await register_and_create_task(store, make_template("pair", a="", b=""))
        worker = await ManualWorker.register(store)
        claims = {claim.no: claim for claim in await worker.claim()}
        child = await register_and_create_task(store, make_template("child", x=""))
        await store.park_until_task_ends(claims[1], child)

        assert [] == list((await worker.fail(claims[2])).ended)
        assert [] == await store.end_overdue_and_failed_tasks()
        await store.cancel_task(child, ACT)
        ended = (await worker.complete(await worker.claim_one())).ended

        assert [(parent, TaskStatus.ERROR)] == list(ended)

    async def test_a_wait_never_misses_the_concurrent_end_of_its_task(
        self, stores: list[Store]
    ) -> None:
        """The step continues, whichever comes first."""
        parents = await register_template(stores[0], one_step_template())
        children = await register_template(stores[0], make_template("child", x=""))
        left, right = await ManualWorker.register(stores[0]), await ManualWorker.register(stores[1])
        for _ in range(25):
            parent: TaskId = await create_task(stores[0], parents)
            claim = await left.claim_one()
            child = await create_task(stores[0], children)
            running = await right.claim_one()

            parked, _ = await asyncio.gather(
                stores[0].park_until_task_ends(claim, child), right.complete(running)
            )

            assert parked
            again = await left.claim_one()
            assert (parent, 1, 2, 1) == again[:4]
            await left.complete(again)
