"""Failed attempts: retries, checkpoints, failed tasks and deadlines."""

import asyncio

import pytest

from tasker.durable import DurableCallKind
from tasker.model import (
    AttemptOutcome,
    JsonText,
    StepCounts,
    StepStatus,
    TaskStatus,
    WaitKind,
    completed_outcome,
    failed_outcome,
    lost_outcome,
    released_outcome,
    sleep_outcome,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    ERROR,
    SECOND,
    ManualWorker,
    StoreTests,
    chain_template,
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
from tasker.waits import AwaitedArrival, NewSignal, NewWait


class TestRetries(StoreTests):
    async def test_the_next_attempt_waits_for_its_delay(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The step cannot be claimed earlier, and a claim returns the time until it is due."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        await worker.fail_with_retry(await worker.claim_one(), SECOND * 60)

        early = await store.claim(worker.id, 10)
        await subject.advance(SECOND * 50)
        still_early = await worker.claim()
        await subject.advance(SECOND * 11)
        due = await worker.claim_one()

        assert early.next_due is not None
        assert 30 < early.next_due <= 60
        assert [] == list(early.claims) + still_early
        assert (task_id, 1, 2, 2) == due[:4]

    async def test_a_step_that_waits_for_a_retry_shows_its_error(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """It keeps the error of the failed attempt; when it is due, it counts as enqueued."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        await worker.fail_with_retry(await worker.claim_one(), SECOND * 60)

        task, step = await store.get_task(task_id), (await steps_by_name(store, task_id))["only"]
        await subject.advance(SECOND * 61)
        later = await store.get_task(task_id)

        assert StepCounts(waiting_for_retry=1) == task.counts
        assert (StepStatus.ENQUEUED, {"message": "it broke"}) == (step.status, step.error)
        assert step.is_waiting_for_retry(task.created_at)
        assert StepCounts(enqueued=1) == later.counts
        assert TaskStatus.IN_PROGRESS == later.status

    async def test_a_success_after_a_failure_completes_the_step(self, store: Store) -> None:
        """The step has the result and no error; the history has both attempts."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        await worker.fail_with_retry(await worker.claim_one())
        await worker.settle(completed_outcome(await worker.claim_one(), JsonText('"ok"')))

        step = (await steps_by_name(store, task_id))["only"]
        history = await store.list_attempts(task_id)

        assert (StepStatus.COMPLETE, "ok", None) == (step.status, step.result, step.error)
        assert [AttemptOutcome.RETRY, AttemptOutcome.COMPLETE] == [row.outcome for row in history]
        assert [{"message": "it broke"}, None] == [row.error for row in history]
        assert [1, 2] == [row.attempt for row in history]

    async def test_a_retry_without_delay_is_claimable_immediately(self, store: Store) -> None:
        """The next claim returns the second attempt."""
        await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)

        await worker.fail_with_retry(await worker.claim_one())

        assert 2 == (await worker.claim_one()).attempt

    async def test_a_released_attempt_does_not_count_as_a_try(self, store: Store) -> None:
        """Any worker can claim the step immediately, as an attempt with the next number."""
        task_id = await register_and_create_task(store, one_step_template())
        worker, other = await ManualWorker.register(store), await ManualWorker.register(store)
        await worker.settle(released_outcome(await worker.claim_one()))

        claim = await other.claim_one()

        assert (task_id, 1, 2, 1) == claim[:4]
        await other.fail_with_retry(claim)
        assert (3, 2) == (await worker.claim_one())[2:4]
        outcomes = [row.outcome for row in await store.list_attempts(task_id)]
        assert [AttemptOutcome.RELEASED, AttemptOutcome.RETRY] == outcomes

    async def test_lost_attempts_are_counted_separately(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """They have a limit of their own."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store, lease=SECOND * 300)

        await worker.settle(lost_outcome(await worker.claim_one(), ERROR, SECOND * 0))
        dying = await ManualWorker.register(store, lease=SECOND * 30)
        claim = await dying.claim_one()
        await subject.advance(SECOND * 31)
        (expired,) = await store.list_expired_attempts(10)

        assert (2, 1) == claim[2:4]
        assert (claim[:3], 1) == (expired.claim[:3], expired.lost_attempts)
        assert [AttemptOutcome.LOST] == [row.outcome for row in await store.list_attempts(task_id)]

    @pytest.mark.parametrize("waits", ["for a time", "for a signal"])
    async def test_a_wait_resets_the_count_of_lost_attempts(
        self, store: Store, subject: StoreUnderTest, waits: str
    ) -> None:
        """A step that waits has made progress, so that earlier losses no longer count."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store, lease=SECOND * 300)
        await worker.settle(lost_outcome(await worker.claim_one(), ERROR, SECOND * 0))
        claim = await worker.claim_one()
        if waits == "for a time":
            await worker.settle(sleep_outcome(claim, 0.0))
        else:
            wait = NewWait(
                "w", DurableCallKind.WAIT_SIGNAL, [AwaitedArrival(WaitKind.SIGNAL, "go")]
            )
            await store.park_for_arrival(claim, wait)
            await store.send_signal(NewSignal(task_id, "go", JsonText("1")), ACT)

        (step,) = await store.list_steps(task_id)

        assert (StepStatus.ENQUEUED, 0) == (step.status, step.lost_attempts)

    async def test_a_manual_retry_resets_the_count_of_lost_attempts(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The step starts over, so that earlier losses no longer count."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store, lease=SECOND * 300)
        await worker.settle(lost_outcome(await worker.claim_one(), ERROR, SECOND * 0))
        await worker.fail(await worker.claim_one())
        await store.retry_steps(task_id, ACT)
        await (await ManualWorker.register(store, lease=SECOND * 30)).claim_one()
        await subject.advance(SECOND * 31)

        (expired,) = await store.list_expired_attempts(10)

        assert 0 == expired.lost_attempts


class TestCheckpoints(StoreTests):
    async def test_the_next_attempt_receives_the_checkpoint(self, store: Store) -> None:
        """It receives the latest one, whatever the outcome of the previous attempt."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        assert await store.store_checkpoint(claim, JsonText('{"row":1}'))
        assert await store.store_checkpoint(claim, JsonText('{"row":2}'))

        await worker.fail_with_retry(claim)
        second = await worker.claim_one()
        await worker.settle(released_outcome(second))
        third = await worker.claim_one()

        assert [None, '{"row":2}', '{"row":2}'] == [
            each.checkpoint for each in (claim, second, third)
        ]
        assert {"row": 2} == (await steps_by_name(store, task_id))["only"].checkpoint

    async def test_only_the_attempt_that_holds_the_step_may_save_a_checkpoint(
        self, store: Store
    ) -> None:
        """A late checkpoint is rejected and overwrites nothing."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        late = await worker.claim_one()
        await worker.fail_with_retry(late)
        assert not await store.store_checkpoint(late, JsonText('"between"'))
        current = await worker.claim_one()
        assert await store.store_checkpoint(current, JsonText('"mine"'))

        assert not await store.store_checkpoint(late, JsonText('"late"'))

        assert "mine" == (await steps_by_name(store, task_id))["only"].checkpoint
        await worker.complete(current)
        assert not await store.store_checkpoint(current, JsonText('"after"'))


class TestFailedTasks(StoreTests):
    async def test_a_permanently_failed_step_fails_its_task(self, store: Store) -> None:
        """The task fails immediately if no other step can run; descendants never run."""
        task_id = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)

        settled = await worker.fail(await worker.claim_one())

        assert [(task_id, TaskStatus.ERROR)] == list(settled.ended)
        assert {"a": "error", "b": "pending", "c": "pending"} == await statuses_by_name(
            store, task_id
        )
        task = await store.get_task(task_id)
        assert (TaskStatus.ERROR, True) == (task.status, task.has_ended)
        assert task.ended_at is not None
        assert {"message": "step 'a' failed: it broke", "steps": ["a"]} == task.error
        assert [AttemptOutcome.ERROR] == [row.outcome for row in await store.list_attempts(task_id)]
        assert [] == await worker.claim()

    async def test_siblings_of_a_failed_step_continue(self, store: Store) -> None:
        """The task stays open until no further step can run."""
        task_id = await register_and_create_task(
            store, make_template("wide", a="", b="", c="b", d="a c")
        )
        worker = await ManualWorker.register(store)
        claims = {claim.no: claim for claim in await worker.claim()}

        first = await worker.fail(claims[1])
        second = await worker.complete(claims[2])
        third = await worker.complete(await worker.claim_one())

        assert ([], []) == (list(first.ended), list(second.ended))
        assert [(task_id, TaskStatus.ERROR)] == list(third.ended)
        assert {"a": "error", "b": "complete", "c": "complete", "d": "pending"} == (
            await statuses_by_name(store, task_id)
        )

    async def test_a_failed_task_waits_for_a_sibling_that_is_retried(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """A step whose retry is due in an hour can still run."""
        task_id = await register_and_create_task(store, make_template("pair", a="", b=""))
        worker = await ManualWorker.register(store)
        claims = {claim.no: claim for claim in await worker.claim()}
        await worker.fail_with_retry(claims[2], SECOND * 3600)

        assert [] == list((await worker.fail(claims[1])).ended)
        assert [] == await store.end_overdue_and_failed_tasks()
        assert not (await store.get_task(task_id)).has_ended
        await subject.advance(SECOND * 3601)
        ended = (await worker.complete(await worker.claim_one())).ended

        assert [(task_id, TaskStatus.ERROR)] == list(ended)

    async def test_the_error_of_a_task_names_all_failed_steps(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """They are in the order of the template; the message is that of the first failure."""
        task_id = await register_and_create_task(store, make_template("three", z="", m="", a=""))
        worker = await ManualWorker.register(store)
        claims = {claim.no: claim for claim in await worker.claim()}
        for no in (3, 1, 2):
            await (worker.complete(claims[no]) if no == 2 else worker.fail(claims[no]))
            await subject.advance(SECOND)

        task = await store.get_task(task_id)

        assert {
            "message": "step 'a' and 1 more failed: it broke",
            "steps": ["z", "a"],
        } == task.error

    async def test_one_batch_may_contain_failures_and_completions(self, store: Store) -> None:
        """Such a batch may end several failed tasks."""
        template = await register_template(store, make_template("pair", a="", b=""))
        ids = [await create_task(store, template) for _ in range(10)]
        worker = await ManualWorker.register(store)
        claims = await worker.claim()

        settled = await worker.settle(
            *(
                failed_outcome(claim, ERROR)
                if claim.no == 1
                else completed_outcome(claim, JsonText("1"))
                for claim in claims
            )
        )

        assert {(task_id, TaskStatus.ERROR) for task_id in ids} == set(settled.ended)
        assert [] == await store.end_overdue_and_failed_tasks()

    async def test_concurrent_settlements_of_its_last_steps_end_a_failed_task_once(
        self, stores: list[Store]
    ) -> None:
        """One of the settlements or the next sweep ends the task, which is reported once."""
        template = await register_template(stores[0], make_template("pair", a="", b=""))
        left, right = await ManualWorker.register(stores[0]), await ManualWorker.register(stores[1])
        for _ in range(25):
            task_id = await create_task(stores[0], template)
            claims = {claim.no: claim for claim in await left.claim()}

            first, second = await asyncio.gather(left.fail(claims[1]), right.complete(claims[2]))

            ended = [*first.ended, *second.ended, *await stores[2].end_overdue_and_failed_tasks()]
            assert [(task_id, TaskStatus.ERROR)] == ended

    async def test_concurrent_failures_end_the_task_once(self, stores: list[Store]) -> None:
        """All six steps of the task fail."""
        template = await register_template(
            stores[0], make_template("wide", **{f"s{n}": "" for n in range(6)})
        )
        workers = [await ManualWorker.register(store) for store in stores]
        for _ in range(10):
            task_id = await create_task(stores[0], template)
            claims = await workers[0].claim()

            settled = await asyncio.gather(
                *(workers[n % 3].fail(claim) for n, claim in enumerate(claims))
            )

            ended = [end for each in settled for end in each.ended] + await stores[
                0
            ].end_overdue_and_failed_tasks()
            assert [(task_id, TaskStatus.ERROR)] == ended
            error = (await stores[0].get_task(task_id)).error
            assert error is not None
            assert [f"s{n}" for n in range(6)] == error["steps"]
            assert str(error["message"]).endswith(" and 5 more failed: it broke")

    async def test_a_sweep_leaves_healthy_tasks_alone(self, store: Store) -> None:
        template = await register_template(store, chain_template())
        await store.create_tasks([make_new_task(template) for _ in range(3)])
        worker = await ManualWorker.register(store)
        claims = await worker.claim()
        await worker.complete(claims[0])

        assert [] == await store.end_overdue_and_failed_tasks()


class TestDeadlines(StoreTests):
    async def test_a_task_past_its_deadline_is_ended(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """It ends in error and its open steps are cancelled; complete steps keep their results."""
        task_id = await register_and_create_task(store, chain_template(), deadline=SECOND * 60)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one(), result="kept")
        running = await worker.claim_one()
        await subject.advance(SECOND * 50)
        early = await store.end_overdue_and_failed_tasks()
        await subject.advance(SECOND * 11)

        ended = await store.end_overdue_and_failed_tasks()

        assert [] == early
        assert [(task_id, TaskStatus.ERROR)] == ended
        assert {"a": "complete", "b": "cancelled", "c": "cancelled"} == (
            await statuses_by_name(store, task_id)
        )
        task = await store.get_task(task_id)
        assert task.error is not None
        assert "deadline_exceeded" == task.error["code"]
        assert task.ended_at is not None
        assert [0] == list((await worker.complete(running)).rejected)
        assert [] == await store.end_overdue_and_failed_tasks()

    async def test_the_next_sweep_enforces_a_tiny_deadline(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Steps can run until the sweep; a task that completes before it stays complete."""
        tiny = SECOND / 1_000_000
        late, done = (
            await register_and_create_task(store, one_step_template(), deadline=tiny),
            await register_and_create_task(store, one_step_template(), deadline=tiny),
        )
        worker = await ManualWorker.register(store)
        await subject.advance(SECOND)
        claims = await worker.claim()
        await worker.complete(*(claim for claim in claims if claim.task_id == done))

        ended = await store.end_overdue_and_failed_tasks()

        assert [late] == [end.task_id for end in ended]
        assert (TaskStatus.ERROR, TaskStatus.COMPLETE) == (
            (await store.get_task(late)).status,
            (await store.get_task(done)).status,
        )

    async def test_a_running_attempt_is_revoked_at_the_deadline(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The renewal of the lease reports it, and the history shows the attempt as cancelled."""
        task_id = await register_and_create_task(store, one_step_template(), deadline=SECOND * 10)
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        await subject.advance(SECOND * 11)
        await store.end_overdue_and_failed_tasks()

        gone = await store.renew_lease(worker.id, [claim], lease=SECOND * 30)

        assert [claim] == gone
        (attempt,) = await store.list_attempts(task_id)
        assert (AttemptOutcome.CANCELLED, 1, "worker") == (
            attempt.outcome,
            attempt.attempt,
            attempt.worker,
        )

    async def test_an_ended_task_cannot_miss_its_deadline(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        task_id = await register_and_create_task(store, one_step_template(), deadline=SECOND * 10)
        await (await ManualWorker.register(store)).complete_all_due()
        await subject.advance(SECOND * 11)

        assert [] == await store.end_overdue_and_failed_tasks()
        assert TaskStatus.COMPLETE == (await store.get_task(task_id)).status

    async def test_many_overdue_tasks_are_ended_in_batches(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Repeated sweeps end all of them and report each once."""
        template = await register_template(store, one_step_template())
        news = [make_new_task(template, deadline=SECOND) for _ in range(110)]
        await store.create_tasks(news)
        await subject.advance(SECOND * 2)

        ended = []
        while swept := await store.end_overdue_and_failed_tasks():
            ended += swept

        assert sorted((new.id, TaskStatus.ERROR) for new in news) == sorted(ended)

    async def test_concurrent_sweeps_end_each_task_once(
        self, stores: list[Store], subject: StoreUnderTest
    ) -> None:
        """All workers sweep, and one of them ends the task."""
        template = await register_template(stores[0], one_step_template())
        news = [make_new_task(template, deadline=SECOND) for _ in range(30)]
        await stores[0].create_tasks(news)
        await subject.advance(SECOND * 2)

        swept = await asyncio.gather(
            *(store.end_overdue_and_failed_tasks() for store in stores * 2)
        )

        assert sorted((new.id, TaskStatus.ERROR) for new in news) == sorted(
            end for each in swept for end in each
        )
