"""Claiming: due steps, the oldest first, each attempt once."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from tasker.errors import InvalidInput, NotFound
from tasker.model import (
    Claim,
    JsonText,
    StepSpec,
    StepStatus,
    TaskStatus,
    completed_outcome,
    lost_outcome,
    released_outcome,
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
    steps_by_name,
)
from tasker.testing.store_suite.subject import StoreUnderTest


class TestClaims(StoreTests):
    async def test_a_claim_starts_an_attempt(self, store: Store) -> None:
        """The step is in progress under the worker's name, and its task is in progress too."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store, "bob")

        claim = await worker.claim_one()

        assert Claim(task_id, 1, 1, 1, None, claim.queued, None) == claim
        step = (await steps_by_name(store, task_id))["only"]
        assert (StepStatus.IN_PROGRESS, 1, "bob") == (step.status, step.attempts, step.worker)
        assert step.claimed_at is not None
        assert TaskStatus.IN_PROGRESS == (await store.get_task(task_id)).status

    async def test_a_claim_states_how_long_its_step_was_queued(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The time starts when the step is freed, and is zero if the same settlement claims it."""
        await register_and_create_task(store, make_template("fork", a="", b="a", c="a"))
        worker = await ManualWorker.register(store)
        root = await worker.claim_one()
        await subject.advance(SECOND * 1000)
        freed = (await worker.settle(completed_outcome(root, JsonText("1")), claim_up_to=1)).claims
        await subject.advance(SECOND * 5)

        later = await worker.claim_one()

        assert [0.0] == [claim.queued for claim in freed]
        assert 5 <= later.queued < 1000
        assert [later] == [
            claim for claim in await store.list_held_claims(worker.id) if claim.no == later.no
        ]

    async def test_a_claim_from_many_queues_respects_its_limit(self, store: Store) -> None:
        await register_and_create_task(
            store, make_template("wide", **{f"s{no}": "" for no in range(60)})
        )
        worker = await ManualWorker.register(store)

        assert 3 == max([len(await worker.claim(3)) for _ in range(20)])

    async def test_the_oldest_steps_are_claimed_first(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Steps are claimed in the order in which they became due, regardless of their ids."""
        template = await register_template(store, one_step_template())
        news = [make_new_task(template) for _ in range(6)]
        order = [news[number] for number in (3, 0, 5, 1, 4, 2)]
        for new in order:
            await store.create_tasks([new])
            await subject.advance(SECOND)
        worker = await ManualWorker.register(store)

        first = await worker.claim(2)
        second = await worker.claim(3)
        third = await worker.claim(4)

        assert {order[0].id, order[1].id} == {claim.task_id for claim in first}
        assert {order[2].id, order[3].id, order[4].id} == {claim.task_id for claim in second}
        assert {order[5].id} == {claim.task_id for claim in third}

    async def test_steps_of_older_tasks_are_claimed_before_steps_of_newer_tasks(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """A freed step keeps the queue position of its parent. Both steps have the same
        handler, because claims are shared among handlers.
        """
        steps = make_template("chain", only="", then="only").steps
        same = tuple(replace(spec, callable="x") for spec in steps)
        template = await register_template(store, replace(one_step_template("chain"), steps=same))
        begun = await create_task(store, template)
        await subject.advance(SECOND)
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        await create_task(store, template)
        await subject.advance(SECOND)

        await worker.complete(claim)

        assert [(begun, 2)] == [(claim.task_id, claim.no) for claim in await worker.claim(1)]

    async def test_only_steps_of_served_queues_are_claimed(self, store: Store) -> None:
        await register_and_create_task(store, make_template("three", a="", b="", c=""))
        worker = await ManualWorker.register(store, handlers={"a", "c"})

        claims = await worker.claim()

        assert {1, 3} == {claim.no for claim in claims}
        assert [] == await (await ManualWorker.register(store, handlers=set())).claim()

    async def test_a_level_of_priority_is_worth_a_minute(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """A step overtakes older steps by at most a minute per level of priority."""
        template = await register_template(store, one_step_template())
        old = await create_task(store, template, priority=0)
        await subject.advance(SECOND * 90)
        normal = await create_task(store, template)
        urgent = await create_task(store, template, priority=4)
        worker = await ManualWorker.register(store)

        claimed = [(await worker.claim(1))[0].task_id for _ in range(3)]

        assert [urgent, normal, old] == claimed

    async def test_steps_of_low_priority_are_not_starved(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """After four minutes, a step of the lowest priority precedes new steps of the highest."""
        template = await register_template(store, one_step_template())
        old = await create_task(store, template, priority=0)
        await subject.advance(SECOND * 241)
        urgent = await create_task(store, template, priority=4)
        worker = await ManualWorker.register(store)

        assert [old, urgent] == [(await worker.claim(1))[0].task_id for _ in range(2)]

    async def test_freed_steps_keep_the_priority_of_their_task(self, store: Store) -> None:
        """This includes steps that a settlement claims."""
        template = await register_template(store, chain_template())
        await create_task(store, template)
        urgent = await create_task(store, template, priority=4)
        worker = await ManualWorker.register(store)
        first, second = await worker.claim()
        await worker.complete(second, first)

        (claim,) = await worker.claim(1)

        assert (urgent, 2) == claim[:2]

    async def test_namespaces_do_not_share_queues(self, store: Store) -> None:
        """Handlers of two namespaces may have the same name."""
        template = await register_template(store, one_step_template())
        foreign = await register_template(store, replace(one_step_template(), namespace="other"))
        await create_task(store, template)
        theirs = await create_task(store, foreign)
        queues = [queue.base for queue in await store.list_queues() if queue.namespace == "other"]
        worker = await ManualWorker.register(store, handlers=())
        await store.add_served_queues(worker.id, queues)

        claimed = await store.claim(worker.id, 10)

        assert [theirs] == [claim.task_id for claim in claimed.claims]

    async def test_no_more_steps_are_claimed_than_requested(self, store: Store) -> None:
        """The others stay enqueued."""
        template = await register_template(store, make_template("pair", a="", b=""))
        for _ in range(5):
            await create_task(store, template)
        worker = await ManualWorker.register(store)

        assert [7, 2, 1, 0] == [len(await worker.claim(limit)) for limit in (7, 2, 9, 9)]
        assert [] == await worker.claim(0)

    async def test_a_step_is_not_due_before_its_run_at(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """A claim returns the seconds until the next step is due, or None if none is scheduled."""
        template, other = (
            await register_template(store, one_step_template()),
            await register_template(store, make_template("other", solo="")),
        )
        worker = await ManualWorker.register(store)
        nothing = await store.claim(worker.id, 10)
        now = (await store.get_task(await create_task(store, template))).created_at
        await create_task(store, template, run_at=now + SECOND * 600)
        await create_task(store, template, run_at=now + SECOND * 60)
        await create_task(store, other, run_at=now + SECOND * 900)
        await worker.complete_all_due()

        early = await store.claim(worker.id, 10)
        await subject.advance(SECOND * 61)
        due = await store.claim(worker.id, 10)

        assert (0, None) == (len(nothing.claims), nothing.next_due)
        assert 0 == len(early.claims)
        assert early.next_due is not None
        assert 30 < early.next_due <= 60
        assert 1 == len(due.claims)
        assert due.next_due is not None
        assert 480 < due.next_due <= 540

    async def test_next_due_considers_only_served_queues(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        template = await register_template(store, make_template("pair", a="", b=""))
        now = (await store.get_task(await create_task(store, template))).created_at
        await create_task(store, template, run_at=now + SECOND * 60)
        worker = await ManualWorker.register(store, handlers={"a"})
        stranger = await ManualWorker.register(store, handlers={"none"})
        await worker.complete_all_due()

        assert (await store.claim(worker.id, 10)).next_due is not None
        assert (await store.claim(stranger.id, 10)).next_due is None

    async def test_an_attempt_number_is_never_used_twice(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """After any outcome, the next claim has the next number."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)

        seen = [await worker.claim_one()]
        await worker.fail_with_retry(seen[-1])
        seen.append(await worker.claim_one())
        await worker.settle(released_outcome(seen[-1]))
        seen.append(await worker.claim_one())
        assert [seen[-1]] == list(await store.list_held_claims(worker.id))
        await worker.settle(lost_outcome(seen[-1], ERROR, timedelta(0)))
        seen.append(await worker.claim_one())
        await worker.fail(seen[-1])
        await store.retry_steps(task_id, ACT)
        seen.append(await worker.claim_one())

        assert [seen[-1]] == list(await store.list_held_claims(worker.id))
        assert [1, 2, 3, 4, 5] == [claim.attempt for claim in seen]
        assert [1, 2, 2, 2, 1] == [claim.counted_attempts for claim in seen]

    async def test_queued_time_of_a_retry_starts_when_it_is_due(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The delay of a retry does not count as queued time."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        await worker.fail_with_retry(await worker.claim_one(), SECOND * 600)
        await subject.advance(SECOND * 900)

        await worker.complete(await worker.claim_one())

        first, second = await store.list_attempts(task_id)
        assert second.enqueued_at is not None
        assert abs(second.enqueued_at - first.settled_at - SECOND * 600) < SECOND

    async def test_queued_time_of_a_freed_step_starts_when_it_is_freed(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """This holds although the step keeps the queue position of its parent."""
        task_id = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)
        await subject.advance(SECOND * 60)

        await worker.complete(await worker.claim_one())

        steps = await steps_by_name(store, task_id)
        freed, settled = steps["b"].enqueued_at, steps["a"].settled_at
        assert freed is not None
        assert settled is not None
        assert settled <= freed

    async def test_concurrent_workers_never_claim_the_same_step(self, stores: list[Store]) -> None:
        """Workers in several processes claim every step exactly once."""
        template = await register_template(stores[0], chain_template())
        await stores[0].create_tasks([make_new_task(template) for _ in range(200)])
        workers = [
            await ManualWorker.register(store, f"worker {n}") for n, store in enumerate(stores * 3)
        ]
        seen: list[Claim] = []

        async def claim_all(worker: ManualWorker, limit: int) -> None:
            while claims := await worker.claim(limit):
                seen.extend(claims)

        await asyncio.gather(
            *(claim_all(worker, 1 + number * 2) for number, worker in enumerate(workers))
        )

        assert 200 == len(seen)
        assert {1} == set(Counter(claim[:3] for claim in seen).values())
        held = [
            claim for worker in workers for claim in await worker.store.list_held_claims(worker.id)
        ]
        assert sorted(seen) == sorted(held)

    async def test_one_call_claims_for_several_workers(self, store: Store) -> None:
        """It claims the oldest steps, up to each worker's limit; the claims are like any others."""
        template = await register_template(store, one_step_template())
        tasks = [await create_task(store, template) for _ in range(9)]
        bob, eve, amy = [await ManualWorker.register(store, name) for name in ("bob", "eve", "amy")]

        first = await store.claim_for_workers({bob.id: 3, eve.id: 1, amy.id: 1})
        second = await store.claim_for_workers({amy.id: 5, bob.id: 1, eve.id: 5})
        third = await store.claim_for_workers({bob.id: 5, amy.id: 5})

        assert [3, 1, 1] == [len(first.claims[worker.id]) for worker in (bob, eve, amy)]
        assert [1, 1, 2] == [len(second.claims[worker.id]) for worker in (bob, eve, amy)]
        assert ({}, None) == (dict(third.claims), third.next_due)
        claimed = {
            claim for each in (first, second) for own in each.claims.values() for claim in own
        }
        assert ({*tasks}, {1}) == (
            {claim.task_id for claim in claimed},
            {claim.attempt for claim in claimed},
        )
        assert set(tasks[:5]) == {claim.task_id for own in first.claims.values() for claim in own}
        held = {
            worker.id: set(await store.list_held_claims(worker.id)) for worker in (bob, eve, amy)
        }
        assert held == {
            worker.id: {*first.claims[worker.id], *second.claims[worker.id]}
            for worker in (bob, eve, amy)
        }
        for worker in (bob, eve, amy):
            assert [] == list((await worker.complete(*held[worker.id])).rejected)
            assert [] == await store.list_held_claims(worker.id)

    async def test_workers_that_claim_together_share_the_due_steps(self, store: Store) -> None:
        """This also holds for steps in several queues."""
        template = await register_template(store, make_template("pair", a="", b=""))
        for _ in range(2):
            await create_task(store, template)
        workers = [await ManualWorker.register(store, name) for name in ("bob", "eve", "amy")]

        claimed = await store.claim_for_workers({worker.id: 100 for worker in workers})

        assert [2, 1, 1] == sorted((len(each) for each in claimed.claims.values()), reverse=True)
        assert set(claimed.claims) == {worker.id for worker in workers}
        later = await store.claim_for_workers({worker.id: 100 for worker in workers})
        assert ({}, None) == (dict(later.claims), later.next_due)

    async def test_groups_and_single_workers_never_claim_the_same_step(
        self, stores: list[Store]
    ) -> None:
        template = await register_template(stores[0], chain_template())
        await stores[0].create_tasks([make_new_task(template) for _ in range(100)])
        workers = [
            await ManualWorker.register(store, f"worker {n}") for n, store in enumerate(stores * 4)
        ]
        seen: list[Claim] = []

        async def claim_all(*workers: ManualWorker) -> None:
            if len(workers) == 1:
                while claims := await workers[0].claim(3):
                    seen.extend(claims)
                return
            rooms = {worker.id: 2 for worker in workers}
            while claimed := (await workers[0].store.claim_for_workers(rooms)).claims:
                seen.extend(claim for claims in claimed.values() for claim in claims)

        await asyncio.gather(
            claim_all(*workers[::4]), claim_all(*workers[1::4]), claim_all(workers[2])
        )

        assert 100 == len({claim[:3] for claim in seen}) == len(seen)
        held = [
            claim for worker in workers for claim in await worker.store.list_held_claims(worker.id)
        ]
        assert sorted(seen) == sorted(held)

    async def test_concurrent_workers_complete_every_step_once(self, stores: list[Store]) -> None:
        """They claim, settle and free steps concurrently, and each step takes one attempt."""
        template = await register_template(stores[0], chain_template())
        news = [make_new_task(template) for _ in range(100)]
        await stores[0].create_tasks(news)
        workers = [
            await ManualWorker.register(store, f"worker {n}") for n, store in enumerate(stores * 2)
        ]
        done: list[Claim] = []

        async def claim_and_complete(worker: ManualWorker, limit: int) -> None:
            while len(done) < 300:
                claims = await worker.claim(limit)
                while claims:
                    settled = await worker.settle(
                        *(completed_outcome(claim, JsonText("null")) for claim in claims),
                        claim_up_to=limit // 2,
                    )
                    assert [] == list(settled.rejected)
                    done.extend(claims)
                    claims = list(settled.claims)

        async with asyncio.timeout(60):
            await asyncio.gather(
                *(claim_and_complete(worker, 2 + 3 * n) for n, worker in enumerate(workers))
            )

        assert 300 == len(done) == len(set(done))
        assert {1} == {claim.attempt for claim in done}
        states = {(await stores[0].get_task(new.id)).status for new in news[::10]}
        assert {TaskStatus.COMPLETE} == states


async def create_backlog(store: Store, handler: str, tasks: int, namespace: str = "suite") -> None:
    """Create tasks of a template whose single step has the given handler."""
    template = await register_template(
        store, replace(make_template(handler, **{handler: ""}), namespace=namespace)
    )
    await store.create_tasks([make_new_task(template) for _ in range(tasks)])


class TestFairShares(StoreTests):
    async def claim_and_count_by_step(
        self, store: Store, worker: ManualWorker, limit: int
    ) -> Counter[str]:
        """Claim once; count the claims by the names of their steps."""
        names: Counter[str] = Counter()
        for claim in await worker.claim(limit):
            (step,) = await store.list_steps(claim.task_id)
            names[step.name] += 1
        return names

    async def test_a_backlog_does_not_starve_other_queues(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Each of two queues gets half of a claim, even if the steps of one are much older."""
        await create_backlog(store, "full", 100)
        await subject.advance(SECOND * 7200)
        await create_backlog(store, "few", 6)
        worker = await ManualWorker.register(store)

        shares = [await self.claim_and_count_by_step(store, worker, 10) for _ in range(3)]

        assert [{"full": 5, "few": 5}, {"full": 9, "few": 1}, {"full": 10}] == shares

    async def test_a_backlog_in_one_namespace_does_not_starve_others(self, store: Store) -> None:
        await create_backlog(store, "same", 100)
        await create_backlog(store, "same", 3, namespace="other")
        worker = await ManualWorker.register(store)

        claims = await worker.claim(10)

        spaces = [(await store.get_task(claim.task_id)).template.namespace for claim in claims]
        assert {"suite": 7, "other": 3} == Counter(spaces)

    async def test_claims_are_shared_by_weight(self, store: Store) -> None:
        for handler in ("heavy", "light"):
            await create_backlog(store, handler, 60)
        await store.set_queue_weight("suite", "heavy", 4.0, ACT)
        worker = await ManualWorker.register(store)

        shares = [await self.claim_and_count_by_step(store, worker, 10) for _ in range(3)]

        assert [{"heavy": 8, "light": 2}] * 3 == shares
        assert {"heavy": 4.0, "light": 1.0} == {
            row.handler: row.weight for row in await store.count_backlog_by_queue()
        }

    async def test_claims_of_single_steps_reach_all_queues(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Queues are drawn at random: each of the ten queues gets 20 of the 200 claims on
        average. Fewer than 2 or more than 60 are practically impossible.
        """
        await create_backlog(store, "oldest", 200)
        await subject.advance(SECOND * 7200)
        others = [f"other_{number}" for number in range(9)]
        for handler in others:
            await create_backlog(store, handler, 200)
        worker = await ManualWorker.register(store)
        steps: Counter[str] = Counter()

        for _ in range(200):
            steps += await self.claim_and_count_by_step(store, worker, 1)

        assert {"oldest", *others} == set(steps)
        assert 2 <= min(steps.values()) <= max(steps.values()) <= 60

    async def test_claims_rotate_through_more_queues_than_one_claim_reads(
        self, store: Store
    ) -> None:
        """A claim that is short only because it did not read all queues is repeated immediately."""
        handlers = [f"handler_{number}" for number in range(70)]
        template = await register_template(
            store, make_template("seventy", **dict.fromkeys(handlers, ""))
        )
        await store.create_tasks([make_new_task(template) for _ in range(10)])
        worker = await ManualWorker.register(store)
        claimed: Counter[int] = Counter()

        for _ in range(100):
            claims, next_due = await store.claim(worker.id, 10)
            claimed += Counter(claim.no for claim in claims)
            if len(claims) < 10 and next_due != 0:
                break

        assert dict.fromkeys(range(1, 71), 10) == claimed
        assert next_due is None

    async def test_queues_beyond_the_first_claim_are_not_starved(self, store: Store) -> None:
        handlers = [f"handler_{number:02}" for number in range(70)]  # as their ids
        template = await register_template(
            store, make_template("seventy", **dict.fromkeys(handlers, ""))
        )
        await store.create_tasks([make_new_task(template) for _ in range(10)])
        worker = await ManualWorker.register(store)

        claimed = [claim.no for _ in range(8) for claim in await worker.claim(10)]

        assert min(claimed) <= 20 < max(claimed)

    async def test_priorities_do_not_change_the_shares_of_queues(self, store: Store) -> None:
        urgent = await register_template(store, make_template("urgent", urgent=""))
        await store.create_tasks([make_new_task(urgent, priority=4) for _ in range(50)])
        await create_backlog(store, "normal", 50)
        worker = await ManualWorker.register(store)

        assert {"urgent": 5, "normal": 5} == await self.claim_and_count_by_step(store, worker, 10)

    async def test_an_invalid_weight_or_unknown_queue_is_rejected(self, store: Store) -> None:
        await create_backlog(store, "known", 1)

        for weight in (0.0, -1.0, 101.0, float("nan"), float("inf")):
            with pytest.raises(InvalidInput):
                await store.set_queue_weight("suite", "known", weight, ACT)
        with pytest.raises(NotFound):
            await store.set_queue_weight("suite", "unknown", 2.0, ACT)

    async def test_a_change_of_weight_is_audited(self, store: Store) -> None:
        """There is one audit entry, and versions registered later keep the weight."""
        await create_backlog(store, "known", 1)
        for _ in range(2):
            await store.set_queue_weight("suite", "known", 2.5, ACT)
        demanding = StepSpec(name="known", requires={"gpu": "true"})
        await register_template(store, replace(one_step_template("later"), steps=(demanding,)))

        events = [
            (row.subject, row.before, row.after)
            for row in await store.list_team_audit(namespace="suite")
            if row.action == "set_queue_weight"
        ]

        assert [("queue known", 1.0, 2.5)] == events
        assert [2.5] == [row.weight for row in await store.count_backlog_by_queue()]
