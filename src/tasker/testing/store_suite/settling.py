"""Settling: the fence, the children, the end of a task."""

from itertools import permutations

from tasker.model import (
    AttemptOutcome,
    Claim,
    Code,
    JsonText,
    Settled,
    StepCounts,
    StepResult,
    StepStatus,
    TaskStatus,
    completed,
    failed,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    ERROR,
    NOBODY,
    ManualWorker,
    StoreTests,
    begin,
    chain,
    create,
    diamond,
    graph,
    new_task,
    one,
    put,
    states_of,
    steps_of,
)

RESULT = JsonText('{"of":"a"}')


class TestFence(StoreTests):
    async def test_an_attempt_settles_once(self, store: Store) -> None:
        """The same outcome again is refused and changes nothing."""
        task_id = await begin(store, chain())
        hand = await ManualWorker.hire(store)
        claim = await hand.claim_one()

        first = await hand.settle(completed(claim, RESULT))
        before = await store.list_steps(task_id)
        again = await hand.settle(completed(claim, JsonText('"other"')), failed(claim, ERROR))

        assert [] == list(first.refused)
        assert [0, 1] == list(again.refused)
        assert ([], []) == (list(again.claims), list(again.ended))
        assert before == await store.list_steps(task_id)
        assert 1 == len(await store.history(task_id))

    async def test_a_past_attempt_cannot_settle(self, store: Store) -> None:
        task_id = await begin(store, one())
        hand = await ManualWorker.hire(store)
        late = await hand.claim_one()
        await hand.retry(late)
        current = await hand.claim_one()

        refused = await hand.settle(completed(late, RESULT))

        assert [0] == list(refused.refused)
        assert StepStatus.IN_PROGRESS == (await steps_of(store, task_id))["only"].status
        accepted = await hand.settle(completed(current, JsonText('"in time"')))
        assert [] == list(accepted.refused)
        assert "in time" == (await steps_of(store, task_id))["only"].result

    async def test_what_was_never_claimed_cannot_settle(self, store: Store) -> None:
        """
        Unknown tasks, unknown steps, pending and enqueued steps, attempts of the future.
        """
        task_id = await begin(store, chain())
        hand = await ManualWorker.hire(store)
        made_up = [
            Claim(NOBODY, 1, 1, 1),
            Claim(task_id, 99, 1, 1),
            Claim(task_id, 1, 0, 0),
            Claim(task_id, 1, 1, 1),
            Claim(task_id, 2, 0, 0),
            Claim(task_id, 2, 1, 1),
        ]

        settled = await hand.settle(*(completed(claim, RESULT) for claim in made_up))

        assert [0, 1, 2, 3, 4, 5] == list(settled.refused)
        assert {"a": "enqueued", "b": "pending", "c": "pending"} == await states_of(store, task_id)
        assert [] == await store.history(task_id)

    async def test_the_good_ones_of_a_mixed_batch_are_settled(self, store: Store) -> None:
        """
        A late outcome does not hold up its neighbours.
        """
        template = await put(store, one())
        ids = [await create(store, template) for _ in range(3)]
        hand = await ManualWorker.hire(store)
        claims = {claim.task_id: claim for claim in await hand.claim()}
        await hand.complete(claims[ids[1]])

        settled = await hand.settle(*(completed(claims[task_id], JsonText("1")) for task_id in ids))

        assert [1] == list(settled.refused)
        assert {(ids[0], TaskStatus.COMPLETE), (ids[2], TaskStatus.COMPLETE)} == set(settled.ended)

    async def test_one_batch_may_repeat_itself(self, store: Store) -> None:
        """
        Of outcomes of one attempt, one is accepted.
        """
        task_id = await begin(store, diamond())
        hand = await ManualWorker.hire(store)
        claim = await hand.claim_one()

        settled = await hand.settle(*[completed(claim, RESULT)] * 3)

        assert 2 == len(settled.refused)
        assert 1 == len(await store.history(task_id))
        assert {2, 3} == {claim.no for claim in await hand.claim()}

    async def test_nothing_settles_after_the_task_was_cancelled(self, store: Store) -> None:
        """
        The fence falls with the cancellation.
        """
        task_id = await begin(store, chain())
        hand = await ManualWorker.hire(store)
        claim = await hand.claim_one()
        await store.cancel_task(task_id, ACT)

        settled = await hand.settle(completed(claim, RESULT))

        assert [0] == list(settled.refused)
        assert {"cancelled"} == set((await states_of(store, task_id)).values())

    async def test_settling_nothing_does_nothing(self, store: Store) -> None:
        """
        An empty batch is no error.
        """
        hand = await ManualWorker.hire(store)

        settled = await hand.settle()

        assert ([], [], []) == tuple(map(list, settled))

    async def test_a_relaxed_settlement_has_the_effects_of_any_other(self, store: Store) -> None:
        """
        Of a single outcome and of several: freed, claimed, ended and refused steps. Only a crash of
        the database shows a difference.
        """
        seen = []
        for relaxed in (False, True):
            task_id = await begin(store, diamond())
            hand = await ManualWorker.hire(store)
            replies = []
            claims = await hand.claim()
            while claims:
                outcomes = [completed(claim, RESULT) for claim in claims]
                settled = await store.settle(hand.id, outcomes, claim_up_to=9, relaxed=relaxed)
                again = await store.settle(hand.id, outcomes, relaxed=relaxed)
                replies.append((sorted(claim.no for claim in settled.claims), again.refused))
                claims = list(settled.claims)
            assert [(task_id, TaskStatus.COMPLETE)] == list(settled.ended)
            seen.append((replies, await states_of(store, task_id)))

        assert seen[0] == seen[1]
        assert [[2, 3], [4], []] == [freed for freed, _ in seen[0][0]]

    async def test_any_worker_may_settle_what_it_knows_of(self, store: Store) -> None:
        """The fence is the attempt, not the worker, so that janitors can settle lost attempts."""
        await begin(store, one())
        claim = await (await ManualWorker.hire(store, "first")).claim_one()

        settled = await (await ManualWorker.hire(store, "second")).complete(claim)

        assert 1 == len(settled.ended)


class TestSettling(StoreTests):
    async def test_a_result_is_kept(self, store: Store) -> None:
        """
        With the instants of the attempt, and a row of history.
        """
        task_id = await begin(store, chain())
        hand = await ManualWorker.hire(store, "bob")

        await hand.settle(completed(await hand.claim_one(), RESULT))

        step = (await steps_of(store, task_id))["a"]
        assert (StepStatus.COMPLETE, {"of": "a"}, None) == (step.status, step.result, step.error)
        (attempt,) = await store.history(task_id)
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
        task_id = await begin(store, chain())
        await (await ManualWorker.hire(store)).claim_one()

        assert [] == await store.history(task_id)

    async def test_a_freed_step_waits_for_anybody(self, store: Store) -> None:
        """It is enqueued, not claimed."""
        task_id = await begin(store, chain())
        hand = await ManualWorker.hire(store)

        await hand.complete(await hand.claim_one())

        step = (await steps_of(store, task_id))["b"]
        assert (StepStatus.ENQUEUED, 0, 0) == (step.status, step.attempts, step.pending_parents)
        assert (None, None, None) == (step.worker, step.claimed_at, step.settled_at)
        assert step.run_at is not None
        assert (
            StepCounts(complete=1, enqueued=1, pending=1) == (await store.get_task(task_id)).counts
        )

    async def test_a_step_is_freed_by_the_last_of_its_parents(self, store: Store) -> None:
        """In any order of the parents."""
        template = await put(store, graph("join", a="", b="", c="", d="a b c"))
        hand = await ManualWorker.hire(store)
        for order in permutations(range(3)):
            task_id = await create(store, template)
            claims = sorted(await hand.claim(), key=lambda claim: claim.no)

            pending_parents = []
            for index in order:
                await hand.complete(claims[index])
                pending_parents.append((await steps_of(store, task_id))["d"].pending_parents)

            assert [2, 1, 0] == pending_parents
            assert (task_id, 4) == (await hand.claim_one())[:2]

    async def test_parents_may_be_done_in_one_batch(self, store: Store) -> None:
        """
        Their child is freed once, and the batch may hold several tasks.
        """
        template = await put(store, graph("join", a="", b="", c="", d="a b c", e="a"))
        for _ in range(5):
            await create(store, template)
        hand = await ManualWorker.hire(store)

        await hand.complete(*await hand.claim())
        freed = await hand.claim()

        assert 10 == len(freed) == len(set(freed))
        assert {4, 5} == {claim.no for claim in freed}
        assert 5 == len((await hand.complete(*freed)).ended)

    async def test_a_task_ends_when_its_last_steps_are_done(self, store: Store) -> None:
        """The call that completes the last sink reports it."""
        task_id = await begin(store, graph("sinks", a="", b="a", c="a", d=""))
        hand = await ManualWorker.hire(store)
        ended = []
        while claims := await hand.claim(1):
            ended.append(list((await hand.complete(*claims)).ended))

        assert [[], [], [], [(task_id, TaskStatus.COMPLETE)]] == ended
        task = await store.get_task(task_id)
        assert (TaskStatus.COMPLETE, True, None) == (task.status, task.ended, task.error)
        assert task.ended_at is not None
        assert task.ended_at >= task.created_at
        assert StepCounts(complete=4) == task.counts

    async def test_a_single_step_can_be_the_whole_task(self, store: Store) -> None:
        """
        Root and sink at once.
        """
        task_id = await begin(store, one())
        hand = await ManualWorker.hire(store)

        settled = await hand.complete(await hand.claim_one())

        assert [(task_id, TaskStatus.COMPLETE)] == list(settled.ended)

    async def test_results_of_done_steps_are_read_in_bulk(self, store: Store) -> None:
        """Of many tasks at once; missing and open steps are left out."""
        template = await put(store, chain())
        first, second = await create(store, template), await create(store, template)
        hand = await ManualWorker.hire(store)
        for claim in await hand.claim():
            await hand.settle(completed(claim, JsonText(f'"{claim.task_id}"')))
        await store.resolve_step(second, 2, JsonText('"by hand"'), ACT)

        results = await store.load_results({first: [1, 2, 3], second: [1, 2, 3], NOBODY: [1]})

        assert {
            StepResult(first, 1, JsonText(f'"{first}"')),
            StepResult(second, 1, JsonText(f'"{second}"')),
            StepResult(second, 2, JsonText('"by hand"'), Code.RESOLVED_MANUALLY),
        } == set(results)
        assert [] == await store.load_results({})

    async def test_inputs_of_tasks_are_read_in_bulk(self, store: Store) -> None:
        """
        Tasks that are not there are left out.
        """
        template = await put(store, one())
        ids = [await create(store, template, {"n": number}) for number in range(3)]

        inputs = await store.load_tasks([*ids, NOBODY])

        assert {(task_id, f'{{"n":{n}}}') for n, task_id in enumerate(ids)} == {
            (each.task_id, each.context) for each in inputs
        }
        assert [] == await store.load_tasks([])


class TestStickyClaims(StoreTests):
    async def test_freed_steps_may_go_to_the_worker_that_settles(self, store: Store) -> None:
        """They are returned as claims of first attempts; no other worker gets them."""
        task_id = await begin(store, chain())
        hand = await ManualWorker.hire(store, "bob")

        settled = await hand.settle(completed(await hand.claim_one(), RESULT), claim_up_to=1)

        assert [Claim(task_id, 2, 1, 1)] == list(settled.claims)
        step = (await steps_of(store, task_id))["b"]
        assert (StepStatus.IN_PROGRESS, 1, "bob") == (step.status, step.attempts, step.worker)
        assert step.claimed_at is not None
        assert list(settled.claims) == await store.held(hand.id)
        assert [] == await (await ManualWorker.hire(store)).claim()

    async def test_no_more_than_asked_for_are_claimed(self, store: Store) -> None:
        """The others stay enqueued."""
        await begin(store, graph("wide", a="", b="a", c="a", d="a", e="a"))
        hand = await ManualWorker.hire(store)

        settled = await hand.settle(completed(await hand.claim_one(), RESULT), claim_up_to=3)

        assert 3 == len(settled.claims)
        assert 1 == len(await hand.claim())

    async def test_only_the_own_queues_are_claimed(self, store: Store) -> None:
        """
        Freed steps that the worker cannot run wait for others.
        """
        task_id = await begin(store, graph("wide", a="", b="a", c="a", d="a"))
        hand = await ManualWorker.hire(store, handlers={"a", "c"})

        settled = await hand.settle(completed(await hand.claim_one(), RESULT), claim_up_to=10)

        assert [3] == [claim.no for claim in settled.claims]
        assert {"a": "complete", "b": "enqueued", "c": "in_progress", "d": "enqueued"} == (
            await states_of(store, task_id)
        )

    async def test_a_step_that_waits_for_more_is_not_claimed(self, store: Store) -> None:
        """Only steps freed by this call are returned."""
        task_id = await begin(store, graph("join", a="", b="", c="a b", d="a"))
        hand = await ManualWorker.hire(store)
        claims = {claim.no: claim for claim in await hand.claim()}

        first = await hand.settle(completed(claims[1], RESULT), claim_up_to=10)
        second = await hand.settle(completed(claims[2], RESULT), claim_up_to=10)

        assert [Claim(task_id, 4, 1, 1)] == list(first.claims)
        assert [Claim(task_id, 3, 1, 1)] == list(second.claims)

    async def test_refused_outcomes_bring_no_claims(self, store: Store) -> None:
        await begin(store, chain())
        hand = await ManualWorker.hire(store)
        claim = await hand.claim_one()
        await hand.complete(claim)

        settled = await hand.settle(completed(claim, RESULT), claim_up_to=10)

        assert ([0], []) == (list(settled.refused), list(settled.claims))

    async def test_a_whole_task_is_five_calls_of_four_steps(self, store: Store) -> None:
        """One creates it and claims its root, then one for each step."""
        template = await put(store, graph("four", a="", b="a", c="b", d="c"))
        hand = await ManualWorker.hire(store)
        created = await store.create_tasks([new_task(template)], worker=hand.id, claim_up_to=1)
        settled = Settled((), created.claims, ())
        for _ in range(4):
            settled = await hand.settle(completed(settled.claims[0], RESULT), claim_up_to=1)

        assert [(created.tasks[0][0], TaskStatus.COMPLETE)] == list(settled.ended)
