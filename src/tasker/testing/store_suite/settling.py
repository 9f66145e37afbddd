"""Settling: the fence, the children, the end of a task."""

from datetime import timedelta
from itertools import permutations
from typing import cast

import pytest

from tasker.errors import StoreError
from tasker.model import (
    AttemptOutcome,
    Claim,
    JsonText,
    NewEvent,
    Settlement,
    SettleResult,
    StatusCode,
    StepCounts,
    StepResult,
    StepStatus,
    TaskId,
    TaskStatus,
    completed_outcome,
    failed_outcome,
    retry_outcome,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    ERROR,
    UNKNOWN_TASK,
    ManualWorker,
    StoreTests,
    chain_template,
    create_task,
    diamond_template,
    make_new_task,
    make_template,
    one_step_template,
    register_and_create_task,
    register_template,
    statuses_by_name,
    steps_by_name,
)

ONE = timedelta(seconds=1)
RESULT = JsonText('{"of":"a"}')


class TestFence(StoreTests):
    async def test_an_attempt_settles_only_once(self, store: Store) -> None:
        """The same outcome again is rejected and changes nothing."""
        task_id = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()

        first = await worker.settle(completed_outcome(claim, RESULT))
        before = await store.list_steps(task_id)
        again = await worker.settle(
            completed_outcome(claim, JsonText('"other"')), failed_outcome(claim, ERROR)
        )

        assert [] == list(first.rejected)
        assert [0, 1] == list(again.rejected)
        assert ([], []) == (list(again.claims), list(again.ended))
        assert before == await store.list_steps(task_id)
        assert 1 == len(await store.list_attempts(task_id))

    async def test_a_past_attempt_cannot_settle(self, store: Store) -> None:
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        late = await worker.claim_one()
        await worker.fail_with_retry(late)
        current = await worker.claim_one()

        rejected = await worker.settle(completed_outcome(late, RESULT))

        assert [0] == list(rejected.rejected)
        assert StepStatus.IN_PROGRESS == (await steps_by_name(store, task_id))["only"].status
        accepted = await worker.settle(completed_outcome(current, JsonText('"in time"')))
        assert [] == list(accepted.rejected)
        assert "in time" == (await steps_by_name(store, task_id))["only"].result

    async def test_a_step_that_was_never_claimed_cannot_settle(self, store: Store) -> None:
        """The claims name unknown, pending and enqueued steps, and future attempts."""
        task_id = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)
        made_up = [
            Claim(UNKNOWN_TASK, 1, 1, 1),
            Claim(task_id, 99, 1, 1),
            Claim(task_id, 1, 0, 0),
            Claim(task_id, 1, 1, 1),
            Claim(task_id, 2, 0, 0),
            Claim(task_id, 2, 1, 1),
        ]

        settled = await worker.settle(*(completed_outcome(claim, RESULT) for claim in made_up))

        assert [0, 1, 2, 3, 4, 5] == list(settled.rejected)
        assert {"a": "enqueued", "b": "pending", "c": "pending"} == await statuses_by_name(
            store, task_id
        )
        assert [] == await store.list_attempts(task_id)

    async def test_the_valid_outcomes_of_a_mixed_batch_are_settled(self, store: Store) -> None:
        """A late outcome does not affect the others in its batch."""
        template = await register_template(store, one_step_template())
        ids = [await create_task(store, template) for _ in range(3)]
        worker = await ManualWorker.register(store)
        claims = {claim.task_id: claim for claim in await worker.claim()}
        await worker.complete(claims[ids[1]])

        settled = await worker.settle(
            *(completed_outcome(claims[task_id], JsonText("1")) for task_id in ids)
        )

        assert [1] == list(settled.rejected)
        assert {(ids[0], TaskStatus.COMPLETE), (ids[2], TaskStatus.COMPLETE)} == set(settled.ended)

    async def test_a_batch_may_contain_an_outcome_twice(self, store: Store) -> None:
        """Only one outcome of an attempt is accepted."""
        task_id = await register_and_create_task(store, diamond_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()

        settled = await worker.settle(*[completed_outcome(claim, RESULT)] * 3)

        assert 2 == len(settled.rejected)
        assert 1 == len(await store.list_attempts(task_id))
        assert {2, 3} == {claim.no for claim in await worker.claim()}

    async def test_nothing_settles_after_the_task_was_cancelled(self, store: Store) -> None:
        """The cancellation ends the attempt, so that its outcome is rejected."""
        task_id = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        await store.cancel_task(task_id, ACT)

        settled = await worker.settle(completed_outcome(claim, RESULT))

        assert [0] == list(settled.rejected)
        assert {"cancelled"} == set((await statuses_by_name(store, task_id)).values())

    async def test_settling_nothing_does_nothing(self, store: Store) -> None:
        """An empty batch is not an error."""
        worker = await ManualWorker.register(store)

        settled = await worker.settle()

        assert ([], [], []) == tuple(map(list, settled))

    async def test_a_relaxed_settlement_has_the_effects_of_any_other(self, store: Store) -> None:
        """The two differ only if the database crashes."""
        seen = []
        for relaxed in (False, True):
            task_id = await register_and_create_task(store, diamond_template())
            worker = await ManualWorker.register(store)
            replies = []
            claims = await worker.claim()
            while claims:
                outcomes = [completed_outcome(claim, RESULT) for claim in claims]
                settled = await store.settle(worker.id, outcomes, claim_up_to=9, relaxed=relaxed)
                again = await store.settle(worker.id, outcomes, relaxed=relaxed)
                replies.append((sorted(claim.no for claim in settled.claims), again.rejected))
                claims = list(settled.claims)
            assert [(task_id, TaskStatus.COMPLETE)] == list(settled.ended)
            seen.append((replies, await statuses_by_name(store, task_id)))

        assert seen[0] == seen[1]
        assert [[2, 3], [4], []] == [freed for freed, _ in seen[0][0]]

    async def test_any_worker_may_settle_an_attempt(self, store: Store) -> None:
        """The fence is the attempt, not the worker, so that janitors can settle lost attempts."""
        await register_and_create_task(store, one_step_template())
        claim = await (await ManualWorker.register(store, "first")).claim_one()

        settled = await (await ManualWorker.register(store, "second")).complete(claim)

        assert 1 == len(settled.ended)


class TestSettling(StoreTests):
    async def test_a_result_is_stored(self, store: Store) -> None:
        """The history has the times of the attempt."""
        task_id = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store, "bob")

        await worker.settle(completed_outcome(await worker.claim_one(), RESULT))

        step = (await steps_by_name(store, task_id))["a"]
        assert (StepStatus.COMPLETE, {"of": "a"}, None) == (step.status, step.result, step.error)
        (attempt,) = await store.list_attempts(task_id)
        assert ("a", 1, 1, AttemptOutcome.COMPLETE, "bob", None) == (
            attempt.step,
            attempt.no,
            attempt.attempt,
            attempt.outcome,
            attempt.worker,
            attempt.error,
        )
        assert step.settled_at == attempt.settled_at
        assert attempt.enqueued_at is not None
        assert attempt.claimed_at is not None
        assert attempt.enqueued_at <= attempt.claimed_at <= attempt.settled_at

    async def test_an_attempt_in_progress_is_not_in_the_history(self, store: Store) -> None:
        task_id = await register_and_create_task(store, chain_template())
        await (await ManualWorker.register(store)).claim_one()

        assert [] == await store.list_attempts(task_id)

    async def test_a_freed_step_can_be_claimed_by_any_worker(self, store: Store) -> None:
        """It is enqueued, not claimed."""
        task_id = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)

        await worker.complete(await worker.claim_one())

        step = (await steps_by_name(store, task_id))["b"]
        assert (StepStatus.ENQUEUED, 0, 0) == (step.status, step.attempts, step.pending_parents)
        assert (None, None, None) == (step.worker, step.claimed_at, step.settled_at)
        assert step.run_at is not None
        assert (
            StepCounts(complete=1, enqueued=1, pending=1) == (await store.get_task(task_id)).counts
        )

    async def test_a_step_is_freed_by_the_last_of_its_parents(self, store: Store) -> None:
        """The parents may end in any order."""
        template = await register_template(
            store, make_template("join", a="", b="", c="", d="a b c")
        )
        worker = await ManualWorker.register(store)
        for order in permutations(range(3)):
            task_id = await create_task(store, template)
            claims = sorted(await worker.claim(), key=lambda claim: claim.no)

            pending_parents = []
            for index in order:
                await worker.complete(claims[index])
                pending_parents.append((await steps_by_name(store, task_id))["d"].pending_parents)

            assert [2, 1, 0] == pending_parents
            assert (task_id, 4) == (await worker.claim_one())[:2]

    async def test_parents_may_complete_in_one_batch(self, store: Store) -> None:
        """Their child is freed once, and the batch may contain several tasks."""
        template = await register_template(
            store, make_template("join", a="", b="", c="", d="a b c", e="a")
        )
        for _ in range(5):
            await create_task(store, template)
        worker = await ManualWorker.register(store)

        await worker.complete(*await worker.claim())
        freed = await worker.claim()

        assert 10 == len(freed) == len(set(freed))
        assert {4, 5} == {claim.no for claim in freed}
        assert 5 == len((await worker.complete(*freed)).ended)

    async def test_a_task_ends_with_its_last_steps(self, store: Store) -> None:
        """The call that completes the last sink reports it."""
        task_id = await register_and_create_task(
            store, make_template("sinks", a="", b="a", c="a", d="")
        )
        worker = await ManualWorker.register(store)
        ended = []
        while claims := await worker.claim(1):
            ended.append(list((await worker.complete(*claims)).ended))

        assert [[], [], [], [(task_id, TaskStatus.COMPLETE)]] == ended
        task = await store.get_task(task_id)
        assert (TaskStatus.COMPLETE, True, None) == (task.status, task.has_ended, task.error)
        assert task.ended_at is not None
        assert task.ended_at >= task.created_at
        assert StepCounts(complete=4) == task.counts

    async def test_a_task_may_have_a_single_step(self, store: Store) -> None:
        """Its step is both root and sink."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)

        settled = await worker.complete(await worker.claim_one())

        assert [(task_id, TaskStatus.COMPLETE)] == list(settled.ended)

    async def test_results_of_completed_steps_are_read_in_bulk(self, store: Store) -> None:
        """Results of several tasks are read together; missing and open steps are left out."""
        template = await register_template(store, chain_template())
        first, second = await create_task(store, template), await create_task(store, template)
        worker = await ManualWorker.register(store)
        for claim in await worker.claim():
            await worker.settle(completed_outcome(claim, JsonText(f'"{claim.task_id}"')))
        await store.resolve_step(second, 2, JsonText('"by hand"'), ACT)

        results = await store.load_step_results(
            {first: [1, 2, 3], second: [1, 2, 3], UNKNOWN_TASK: [1]}
        )

        assert {
            StepResult(first, 1, JsonText(f'"{first}"')),
            StepResult(second, 1, JsonText(f'"{second}"')),
            StepResult(second, 2, JsonText('"by hand"'), StatusCode.RESOLVED_MANUALLY),
        } == set(results)
        assert [] == await store.load_step_results({})

    async def test_inputs_of_tasks_are_read_in_bulk(self, store: Store) -> None:
        """Unknown tasks are left out."""
        template = await register_template(store, one_step_template())
        ids = [await create_task(store, template, {"n": number}) for number in range(3)]

        inputs = await store.load_task_inputs([*ids, UNKNOWN_TASK])

        assert {(task_id, f'{{"n":{n}}}') for n, task_id in enumerate(ids)} == {
            (each.task_id, each.context) for each in inputs
        }
        assert [] == await store.load_task_inputs([])


class TestClaimingFreedSteps(StoreTests):
    async def test_the_settling_worker_may_claim_freed_steps(self, store: Store) -> None:
        """They are returned as claims of first attempts; no other worker gets them."""
        task_id = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store, "bob")

        settled = await worker.settle(
            completed_outcome(await worker.claim_one(), RESULT), claim_up_to=1
        )

        assert [Claim(task_id, 2, 1, 1)] == list(settled.claims)
        step = (await steps_by_name(store, task_id))["b"]
        assert (StepStatus.IN_PROGRESS, 1, "bob") == (step.status, step.attempts, step.worker)
        assert step.claimed_at is not None
        assert list(settled.claims) == await store.list_held_claims(worker.id)
        assert [] == await (await ManualWorker.register(store)).claim()

    async def test_no_more_freed_steps_are_claimed_than_requested(self, store: Store) -> None:
        """The others stay enqueued."""
        await register_and_create_task(
            store, make_template("wide", a="", b="a", c="a", d="a", e="a")
        )
        worker = await ManualWorker.register(store)

        settled = await worker.settle(
            completed_outcome(await worker.claim_one(), RESULT), claim_up_to=3
        )

        assert 3 == len(settled.claims)
        assert 1 == len(await worker.claim())

    async def test_only_freed_steps_of_served_queues_are_claimed(self, store: Store) -> None:
        """Freed steps that the worker cannot run wait for other workers."""
        task_id = await register_and_create_task(
            store, make_template("wide", a="", b="a", c="a", d="a")
        )
        worker = await ManualWorker.register(store, handlers={"a", "c"})

        settled = await worker.settle(
            completed_outcome(await worker.claim_one(), RESULT), claim_up_to=10
        )

        assert [3] == [claim.no for claim in settled.claims]
        assert {"a": "complete", "b": "enqueued", "c": "in_progress", "d": "enqueued"} == (
            await statuses_by_name(store, task_id)
        )

    async def test_a_step_with_open_dependencies_is_not_claimed(self, store: Store) -> None:
        """Only steps freed by this call are returned."""
        task_id = await register_and_create_task(
            store, make_template("join", a="", b="", c="a b", d="a")
        )
        worker = await ManualWorker.register(store)
        claims = {claim.no: claim for claim in await worker.claim()}

        first = await worker.settle(completed_outcome(claims[1], RESULT), claim_up_to=10)
        second = await worker.settle(completed_outcome(claims[2], RESULT), claim_up_to=10)

        assert [Claim(task_id, 4, 1, 1)] == list(first.claims)
        assert [Claim(task_id, 3, 1, 1)] == list(second.claims)

    async def test_rejected_outcomes_claim_no_steps(self, store: Store) -> None:
        await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        await worker.complete(claim)

        settled = await worker.settle(completed_outcome(claim, RESULT), claim_up_to=10)

        assert ([0], []) == (list(settled.rejected), list(settled.claims))

    async def test_a_chain_of_four_steps_takes_five_store_calls(self, store: Store) -> None:
        """The first creates the task and claims its root, and each of the others settles a step."""
        template = await register_template(store, make_template("four", a="", b="a", c="b", d="c"))
        worker = await ManualWorker.register(store)
        created = await store.create_tasks(
            [make_new_task(template)], worker=worker.id, claim_up_to=1
        )
        settled = SettleResult((), created.claims, ())
        for _ in range(4):
            settled = await worker.settle(
                completed_outcome(settled.claims[0], RESULT), claim_up_to=1
            )

        assert [(created.tasks[0][0], TaskStatus.COMPLETE)] == list(settled.ended)


class TestGroupSettlement(StoreTests):
    """Outcomes of several workers, settled together."""

    async def register_workers(self, store: Store, *workers: str) -> list[ManualWorker]:
        return [await ManualWorker.register(store, worker) for worker in workers]

    async def test_each_worker_claims_the_steps_that_its_outcomes_freed(self, store: Store) -> None:
        """It claims up to its limit, from queues that it serves; the others stay enqueued."""
        wide = await register_template(store, make_template("wide", a="", b="a", c="a", d="a"))
        for _ in range(3):
            await create_task(store, wide)
        bob, eve = await self.register_workers(store, "bob", "eve")
        amy = await ManualWorker.register(store, "amy", handlers={"a", "c"})
        claims = [(await worker.claim(1))[0] for worker in (bob, eve, amy)]
        tasks = [claim.task_id for claim in claims]

        settled = await store.settle_for_workers(
            [
                Settlement(worker.id, [completed_outcome(claim, RESULT)], room)
                for worker, claim, room in zip((bob, eve, amy), claims, (2, 0, 9), strict=True)
            ]
        )

        assert [[], [], []] == [list(each.rejected) for each in settled]
        assert [
            {Claim(tasks[0], 2, 1, 1), Claim(tasks[0], 3, 1, 1)},
            set(),
            {Claim(tasks[2], 3, 1, 1)},
        ] == [set(each.claims) for each in settled]
        assert set(settled[0].claims) == set(await store.list_held_claims(bob.id))
        assert set(settled[2].claims) == set(await store.list_held_claims(amy.id))
        assert 6 == len(await bob.claim())

    async def test_a_step_that_two_workers_free_is_claimed_once(self, store: Store) -> None:
        task_id = await register_and_create_task(store, make_template("join", a="", b="", c="a b"))
        bob, eve = await self.register_workers(store, "bob", "eve")
        [first], second = await bob.claim(1), await eve.claim_one()

        settled = await store.settle_for_workers(
            [
                Settlement(bob.id, [completed_outcome(first, RESULT)], 5),
                Settlement(eve.id, [completed_outcome(second, RESULT)], 5),
            ]
        )

        assert [Claim(task_id, 3, 1, 1)] == [claim for each in settled for claim in each.claims]

    async def test_late_outcomes_of_one_worker_do_not_affect_the_others(self, store: Store) -> None:
        """Rejected outcomes and ended tasks are reported to the worker that they belong to."""
        template = await register_template(store, one_step_template())
        first, second = [await create_task(store, template) for _ in range(2)]
        bob, eve = await self.register_workers(store, "bob", "eve")
        early = await bob.claim(1)
        late = await eve.claim(1)
        await eve.complete(*late)

        settled = await store.settle_for_workers(
            [
                Settlement(eve.id, [completed_outcome(late[0], JsonText('"other"'))], 5),
                Settlement(bob.id, [completed_outcome(early[0], RESULT)], 5),
            ]
        )

        assert [[0], []] == [list(each.rejected) for each in settled]
        assert [[], [early[0].task_id]] == [[end.task_id for end in each.ended] for each in settled]
        assert {first, second} == {early[0].task_id, late[0].task_id}

    async def test_failures_and_retries_in_a_group_have_their_usual_effects(
        self, store: Store
    ) -> None:
        template = await register_template(store, make_template("fork", a="", b="a", c="a"))
        for _ in range(3):
            await create_task(store, template)
        workers = await self.register_workers(store, "bob", "eve", "amy")
        claims = [(await worker.claim(1))[0] for worker in workers]
        outcomes = [
            completed_outcome(claims[0], RESULT),
            failed_outcome(claims[1], ERROR),
            retry_outcome(claims[2], ERROR, ONE),
        ]

        settled = await store.settle_for_workers(
            [
                Settlement(worker.id, [outcome], 1)
                for worker, outcome in zip(workers, outcomes, strict=True)
            ]
        )

        async def list_step_statuses(task_id: TaskId) -> list[str]:
            return [*(await statuses_by_name(store, task_id)).values()]

        assert [Claim(claims[0].task_id, 2, 1, 1)] == list(settled[0].claims)
        assert ["complete", "in_progress", "enqueued"] == await list_step_statuses(
            claims[0].task_id
        )
        assert [claims[1].task_id] == [end.task_id for end in settled[1].ended]
        assert ["error", "pending", "pending"] == await list_step_statuses(claims[1].task_id)
        assert ["enqueued", "pending", "pending"] == await list_step_statuses(claims[2].task_id)

    async def test_an_outcome_that_cannot_be_stored_undoes_the_group(self, store: Store) -> None:
        """The caller then settles the outcomes one by one."""
        template = await register_template(store, one_step_template())
        for _ in range(2):
            await create_task(store, template)
        bob, eve = await self.register_workers(store, "bob", "eve")
        good, bad = await bob.claim(1), completed_outcome(await eve.claim_one(), RESULT)
        nameless = NewEvent(0, template, "only", "c-1", cast(str, None), RESULT, None)

        with pytest.raises(StoreError):
            await store.settle_for_workers(
                [
                    Settlement(bob.id, [completed_outcome(good[0], RESULT)]),
                    Settlement(eve.id, [bad], events=[nameless]),
                ]
            )

        assert good == await store.list_held_claims(bob.id)
        assert [] == list((await bob.complete(*good)).rejected)
