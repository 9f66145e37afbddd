"""Due steps that no worker claims within their `queue_timeout`."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from tasker.model import AttemptOutcome, StepStatus, TaskStatus, Template
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    SECOND,
    ManualWorker,
    StoreTests,
    chain_template,
    create_task,
    make_new_task,
    make_template,
    one_step_template,
    only_step_status,
    register_and_create_task,
    register_template,
    statuses_by_name,
    steps_by_name,
)
from tasker.testing.store_suite.subject import StoreUnderTest

MINUTE = timedelta(minutes=1)


def with_queue_timeout(template: Template, *steps: str) -> Template:
    """Return a copy of a template whose named steps have a `queue_timeout` of a minute."""
    return replace(
        template,
        steps=tuple(
            replace(spec, queue_timeout=MINUTE if spec.name in steps else None)
            for spec in template.steps
        ),
    )


class TestQueueTimeouts(StoreTests):
    async def test_an_unclaimed_step_fails_at_its_queue_timeout(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """It fails permanently, by an attempt that has no worker, and its task fails with it."""
        task_id = await register_and_create_task(
            store, with_queue_timeout(one_step_template(), "only")
        )
        await subject.advance(SECOND * 55)
        early = await store.fail_unclaimed_steps(10)
        await subject.advance(SECOND * 6)

        failed = await store.fail_unclaimed_steps(10)

        assert ([], []) == (list(early.steps), list(early.ended))
        assert [(task_id, "only")] == list(failed.steps)
        assert [(task_id, TaskStatus.ERROR)] == list(failed.ended)
        (step,), (attempt,) = await store.list_steps(task_id), await store.list_attempts(task_id)
        assert step.error == attempt.error
        assert (StepStatus.ERROR, "queue_timeout", "no worker claimed the step within 1 min") == (
            step.status,
            (step.error or {})["code"],
            (step.error or {})["message"],
        )
        assert (AttemptOutcome.ERROR, 1, None) == (
            attempt.outcome,
            attempt.attempt,
            attempt.worker,
        )
        assert [] == list((await store.fail_unclaimed_steps(10)).steps)
        assert [] == await (await ManualWorker.register(store)).claim()

    async def test_a_claimed_step_has_no_queue_timeout(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """A claimed step may run for any time; a step without the timeout may wait for any time."""
        claimed, patient = (
            await register_and_create_task(store, with_queue_timeout(one_step_template(), "only")),
            await register_and_create_task(store, chain_template()),
        )
        worker = await ManualWorker.register(store, handlers={"only"}, lease=MINUTE * 10)
        claim = await worker.claim_one()
        await subject.advance(MINUTE * 5)

        assert [] == list((await store.fail_unclaimed_steps(10)).steps)

        await worker.complete(claim)
        assert StepStatus.COMPLETE == await only_step_status(store, claimed)
        assert "enqueued" == (await statuses_by_name(store, patient))["a"]

    async def test_a_queue_timeout_starts_when_the_step_is_due(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The time before its parents end or before `run_at` does not count."""
        child = await register_and_create_task(store, with_queue_timeout(chain_template(), "b"))
        now = (await store.get_task(child)).created_at
        planned = await register_and_create_task(
            store, with_queue_timeout(one_step_template(), "only"), run_at=now + MINUTE * 3
        )
        worker = await ManualWorker.register(store, handlers={"a"}, lease=MINUTE * 10)
        claim = await worker.claim_one()
        await subject.advance(MINUTE * 2)
        await worker.complete(claim)
        await subject.advance(SECOND * 50)
        before = await store.fail_unclaimed_steps(10)
        await subject.advance(SECOND * 15)
        between = await store.fail_unclaimed_steps(10)
        await subject.advance(SECOND * 60)
        after = await store.fail_unclaimed_steps(10)

        assert [] == list(before.steps)
        assert [(child, "b")] == list(between.steps)
        assert [(planned, "only")] == list(after.steps)

    async def test_each_attempt_has_the_full_queue_timeout(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The time starts at the end of the retry's delay; the failure itself is not retried."""
        task_id = await register_and_create_task(
            store, with_queue_timeout(one_step_template(), "only")
        )
        worker = await ManualWorker.register(store, lease=MINUTE * 10)
        await subject.advance(SECOND * 50)
        await worker.fail_with_retry(await worker.claim_one(), delay=MINUTE * 2)
        await subject.advance(MINUTE * 2 + SECOND * 50)
        early = await store.fail_unclaimed_steps(10)
        await subject.advance(SECOND * 11)

        failed = await store.fail_unclaimed_steps(10)

        assert [] == list(early.steps)
        assert [(task_id, "only")] == list(failed.steps)
        assert [AttemptOutcome.RETRY, AttemptOutcome.ERROR] == [
            attempt.outcome for attempt in await store.list_attempts(task_id)
        ]

    async def test_a_manual_retry_has_the_full_queue_timeout(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """A worker can claim the step within that time."""
        task_id = await register_and_create_task(
            store, with_queue_timeout(one_step_template(), "only")
        )
        await subject.advance(MINUTE * 2)
        await store.fail_unclaimed_steps(10)
        await store.retry_steps(task_id, ACT)
        await subject.advance(SECOND * 50)

        assert [] == list((await store.fail_unclaimed_steps(10)).steps)

        assert 1 == await (await ManualWorker.register(store)).complete_all_due()
        assert TaskStatus.COMPLETE == (await store.get_task(task_id)).status

    async def test_siblings_of_a_timed_out_step_continue(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The task ends when no further step can run."""
        task_id = await register_and_create_task(
            store, with_queue_timeout(make_template("pair", a="", b="", c="a"), "a")
        )
        worker = await ManualWorker.register(store, handlers={"b"}, lease=MINUTE * 10)
        claim = await worker.claim_one()
        await subject.advance(MINUTE * 2)

        failed = await store.fail_unclaimed_steps(10)

        assert [(task_id, "a")] == list(failed.steps)
        assert [] == list(failed.ended)
        assert [(task_id, TaskStatus.ERROR)] == list((await worker.complete(claim)).ended)
        assert {"a": "error", "b": "complete", "c": "pending"} == await statuses_by_name(
            store, task_id
        )

    async def test_a_parked_step_has_no_queue_timeout(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The time starts when the awaited task has ended."""
        task_id, child = (
            await register_and_create_task(store, with_queue_timeout(one_step_template(), "only")),
            await register_and_create_task(store, chain_template()),
        )
        worker = await ManualWorker.register(store, handlers={"only"}, lease=MINUTE * 30)
        await store.park_until_task_ends(await worker.claim_one(), child)
        await subject.advance(MINUTE * 5)
        parked = await store.fail_unclaimed_steps(10)
        await store.cancel_task(child, ACT)
        await subject.advance(SECOND * 50)
        woken = await store.fail_unclaimed_steps(10)
        await subject.advance(SECOND * 11)

        assert [] == list(parked.steps)
        assert [] == list(woken.steps)
        assert [(task_id, "only")] == list((await store.fail_unclaimed_steps(10)).steps)

    async def test_timeouts_are_applied_in_batches_with_the_longest_due_first(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """This keeps transactions short."""
        template = await register_template(store, with_queue_timeout(one_step_template(), "only"))
        first = await create_task(store, template)
        await subject.advance(SECOND)
        await store.create_tasks([make_new_task(template) for _ in range(6)])
        await subject.advance(MINUTE * 2)

        portions = [await store.fail_unclaimed_steps(3) for _ in range(4)]

        assert [3, 3, 1, 0] == [len(portion.steps) for portion in portions]
        assert [3, 3, 1, 0] == [len(portion.ended) for portion in portions]
        assert (first, "only") == portions[0].steps[0]

    async def test_concurrent_janitors_fail_each_step_once(
        self, stores: list[Store], subject: StoreUnderTest
    ) -> None:
        """Workers claim some of the steps at the same time."""
        template = await register_template(
            stores[0], with_queue_timeout(one_step_template(), "only")
        )
        news = [make_new_task(template) for _ in range(40)]
        await stores[0].create_tasks(news)
        workers = [await ManualWorker.register(store, lease=MINUTE * 10) for store in stores]
        await subject.advance(MINUTE * 2)

        claiming = asyncio.create_task(workers[0].claim(10))
        failed = await asyncio.gather(*(store.fail_unclaimed_steps(50) for store in stores))
        claimed = await claiming

        failures = [task_id for each in failed for task_id, _ in each.steps]
        assert sorted(new.id for new in news) == sorted(
            [*failures, *(claim.task_id for claim in claimed)]
        )
        assert sorted(failures) == sorted(end.task_id for each in failed for end in each.ended)

    async def test_a_cancelled_step_has_no_queue_timeout(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        task_id = await register_and_create_task(
            store, with_queue_timeout(chain_template(), "a", "b")
        )
        await store.cancel_task(task_id, ACT)
        await subject.advance(MINUTE * 2)

        assert [] == list((await store.fail_unclaimed_steps(10)).steps)
        steps = await steps_by_name(store, task_id)
        assert {StepStatus.CANCELLED} == {step.status for step in steps.values()}
        assert {None} == {step.error for step in steps.values()}
