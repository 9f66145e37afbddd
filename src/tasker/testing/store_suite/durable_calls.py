"""Durable calls of handlers, whose records outlive attempts."""

import asyncio
from datetime import timedelta

import pytest

from tasker.durable import DurableCall, DurableCallKind, NewDurableCall
from tasker.model import (
    AttemptOutcome,
    Claim,
    JsonText,
    StepCounts,
    TaskFilter,
    TaskStatus,
    completed_outcome,
    released_outcome,
    retry_outcome,
    sleep_outcome,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    ERROR,
    ManualWorker,
    StoreTests,
    create_task,
    make_template,
    one_step_template,
    register_and_create_task,
    register_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest

ONE = JsonText("1")


def make_once_call(
    claim: Claim, name: str, value: JsonText | None = ONE, **timer: object
) -> NewDurableCall:
    """Make a call of `once` by the attempt of `claim`."""
    return NewDurableCall(*claim.attempt_key, name, DurableCallKind.ONCE, value)._replace(**timer)  # type: ignore[arg-type]


class TestDurableCalls(StoreTests):
    async def test_a_later_attempt_reads_what_an_earlier_one_recorded(self, store: Store) -> None:
        await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()

        assert {0: 0, 1: 0} == await store.record_durable_calls(
            [make_once_call(claim, "a"), make_once_call(claim, "b", None)]
        )

        await worker.fail_with_retry(claim)
        again = await worker.claim_one()
        assert [
            DurableCall("a", DurableCallKind.ONCE, ONE, 0),
            DurableCall("b", DurableCallKind.ONCE, None, 0),
        ] == sorted(await store.load_durable_calls(again))

    async def test_a_recorded_call_belongs_to_one_step(self, store: Store) -> None:
        await register_and_create_task(store, make_template("two", a="", b=""))
        worker = await ManualWorker.register(store)
        first, second = sorted(await worker.claim(), key=lambda claim: claim.no)

        await store.record_durable_calls([make_once_call(first, "a"), make_once_call(second, "b")])

        assert ["a"] == [each.name for each in await store.load_durable_calls(first)]
        assert ["b"] == [each.name for each in await store.load_durable_calls(second)]

    async def test_an_attempt_that_lost_its_claim_records_nothing(self, store: Store) -> None:
        """Attempts that hold their claims record their calls in the same request."""
        template = await register_template(store, one_step_template())
        await create_task(store, template)
        worker = await ManualWorker.register(store)
        lost = await worker.claim_one()
        await worker.settle(released_outcome(lost))
        held = await worker.claim_one()
        await create_task(store, template)
        other = await worker.claim_one()
        calls = sorted(
            [make_once_call(lost, "a"), make_once_call(held, "b"), make_once_call(other, "c")]
        )

        accepted = await store.record_durable_calls(calls)

        assert {"b", "c"} == {calls[index].name for index in accepted}
        assert ["b"] == [each.name for each in await store.load_durable_calls(held)]

    async def test_recording_a_call_again_changes_nothing(self, store: Store) -> None:
        """A worker repeats the request after a lost reply."""
        await register_and_create_task(store, one_step_template())
        claim = await (await ManualWorker.register(store)).claim_one()
        await store.record_durable_calls([make_once_call(claim, "a")])

        assert {0: 0} == await store.record_durable_calls(
            [make_once_call(claim, "a", JsonText("2"))]
        )

        assert [ONE] == [each.value for each in await store.load_durable_calls(claim)]

    async def test_a_sleep_ends_by_the_stores_clock(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The end is given as a delay or an instant, and later attempts do not move it."""
        await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        until = store.clock.now() + timedelta(seconds=100)
        sleeps = [
            make_once_call(claim, "delay", delay=100.0),
            make_once_call(claim, "until", until=until),
        ]

        begun = await store.record_durable_calls(sleeps)

        assert all(95 < remaining <= 100 for remaining in begun.values())
        await subject.advance(timedelta(seconds=60))
        left = {each.name: each.remaining for each in await store.load_durable_calls(claim)}
        assert all(20 < left[name] <= 40 for name in ("delay", "until"))
        await subject.advance(timedelta(seconds=60))
        assert all(each.remaining < 0 for each in await store.load_durable_calls(claim))

    async def test_a_fresh_retry_deletes_the_recorded_calls(self, store: Store) -> None:
        """The step then creates its child tasks again; an ordinary retry keeps the calls."""
        template = await register_template(store, make_template("two", a="", b=""))
        task_id = await create_task(store, template)
        worker = await ManualWorker.register(store)
        claims = sorted(await worker.claim(), key=lambda claim: claim.no)
        await store.record_durable_calls([make_once_call(claim, "a") for claim in claims])
        child = await register_template(store, make_template("child", x=""))
        for no in (1, 2, 11):
            key = f"{task_id}:{no}:child"
            await create_task(store, child, parent_id=task_id, idempotency_key=key)
        await create_task(store, child, idempotency_key=f"{task_id}:1:not its child")
        await worker.fail(*claims)

        await store.retry_steps(task_id, ACT, steps=[1], fresh=True)
        await store.retry_steps(task_id, ACT, steps=[2])

        assert [] == await store.load_durable_calls(claims[0])
        assert ["a"] == [each.name for each in await store.load_durable_calls(claims[1])]
        names = ("1:child", "2:child", "11:child", "1:not its child")
        holders = [
            await store.find_task_by_idempotency_key("suite", f"{task_id}:{name}") for name in names
        ]
        assert [False, True, True, True] == [holder is not None for holder in holders]
        assert 3 == len(await store.list_tasks(TaskFilter(parent_id=task_id)))
        assert {"retry_fresh", "retry"} == {
            entry.action for entry in await store.list_audit_entries(task_id)
        }

    async def test_a_call_recorded_while_its_attempt_ends_is_stored_or_rejected(
        self, stores: list[Store]
    ) -> None:
        """Later attempts read the call if and only if it was accepted."""
        await register_and_create_task(stores[0], one_step_template())
        worker = await ManualWorker.register(stores[0])
        for number in range(10):
            claim = await worker.claim_one()

            accepted, _ = await asyncio.gather(
                stores[1].record_durable_calls([make_once_call(claim, f"r-{number}")]),
                worker.fail_with_retry(claim),
            )

            recorded = {each.name for each in await stores[2].load_durable_calls(claim)}
            assert (f"r-{number}" in recorded) == bool(accepted)


class TestSleeping(StoreTests):
    async def test_a_sleeping_step_is_due_when_its_sleep_ends(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The attempt does not count, no worker holds the step, and its status is `waiting`."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()

        await worker.settle(sleep_outcome(claim, 100.0))

        assert [] == await worker.claim()
        assert [] == await store.list_held_claims(worker.id)
        task = await store.get_task(task_id)
        assert (TaskStatus.IN_PROGRESS, StepCounts(waiting=1)) == (task.status, task.counts)
        (step,) = await store.list_steps(task_id)
        assert step.is_sleeping(store.clock.now())
        assert not step.is_waiting_for_retry(store.clock.now())
        (attempt,) = await store.list_attempts(task_id)
        assert AttemptOutcome.PARKED == attempt.outcome
        await subject.advance(timedelta(seconds=101))
        again = await worker.claim_one()
        assert (2, 1) == again[2:4]
        assert again.parked == pytest.approx(100, abs=1)

    async def test_a_claim_returns_the_time_until_the_next_sleep_ends(self, store: Store) -> None:
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        for seconds in (300.0, 200.0):
            await create_task(store, template)
            await worker.settle(sleep_outcome(await worker.claim_one(), seconds))

        claimed = await store.claim(worker.id, 10)

        assert claimed.next_due is not None
        assert 190 < claimed.next_due <= 200

    async def test_a_retried_step_can_sleep(self, store: Store) -> None:
        """Its error is cleared, and it does not wait for a retry."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        await worker.fail_with_retry(await worker.claim_one())
        await worker.settle(sleep_outcome(await worker.claim_one(), 100.0))

        (step,) = await store.list_steps(task_id)

        assert (None, 1) == (step.error, step.counted_attempts)
        assert step.is_sleeping(store.clock.now())

    async def test_a_sleep_is_recorded_beside_other_outcomes_of_a_settlement(
        self, store: Store
    ) -> None:
        """Each step of a batch gets its own outcome."""
        task_id = await register_and_create_task(store, make_template("three", a="", b="", c=""))
        worker = await ManualWorker.register(store)
        a, b, c = sorted(await worker.claim(), key=lambda claim: claim.no)

        settled = await worker.settle(
            completed_outcome(a, ONE),
            sleep_outcome(b, 60.0),
            retry_outcome(c, ERROR, timedelta(seconds=60)),
        )

        assert [] == list(settled.rejected)
        counts = (await store.get_task(task_id)).counts
        assert StepCounts(complete=1, waiting=1, waiting_for_retry=1) == counts

    async def test_a_sleeping_step_can_be_cancelled_and_resolved(self, store: Store) -> None:
        cancelled, resolved = (
            await register_and_create_task(store, one_step_template()),
            await register_and_create_task(store, one_step_template()),
        )
        worker = await ManualWorker.register(store)
        for claim in await worker.claim():
            await worker.settle(sleep_outcome(claim, 60.0))

        await store.cancel_task(cancelled, ACT)
        await store.resolve_step(resolved, 1, None, ACT)

        statuses = [(await store.get_task(each)).status for each in (cancelled, resolved)]
        assert [TaskStatus.CANCELLED, TaskStatus.COMPLETE] == statuses
