"""Joins: children whose many parents are settled concurrently."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

from tasker.model import (
    AttemptOutcome,
    Claim,
    JsonText,
    TaskStatus,
    Template,
    completed_outcome,
    failed_outcome,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ERROR,
    ManualWorker,
    StoreTests,
    create_task,
    diamond_template,
    fan_template,
    make_new_task,
    make_template,
    register_and_create_task,
    register_template,
    steps_by_name,
)

RESULT = JsonText("1")


class TestJoins(StoreTests):
    async def test_two_parents_that_settle_concurrently_free_the_child_once(
        self, stores: list[Store]
    ) -> None:
        """Two processes settle the two middle steps of each of a hundred diamonds."""
        template = await register_template(stores[0], diamond_template())
        ids = [make_new_task(template) for _ in range(100)]
        await stores[0].create_tasks(ids)
        left, right = await ManualWorker.register(stores[0]), await ManualWorker.register(stores[1])
        await left.complete(*await left.claim())
        arms = await left.claim()

        for first, second in _pair_claims_by_task(arms):
            await asyncio.gather(left.complete(first), right.complete(second))

        joins = await left.claim()
        assert {(new.id, 4, 1) for new in ids} == {claim[:3] for claim in joins}
        assert 100 == len((await left.complete(*joins)).ended)

    async def test_fifty_parents_in_random_batches_free_the_child_once(
        self, stores: list[Store]
    ) -> None:
        """Whatever the interleaving, the last settlement enqueues the child, once."""
        template = await register_template(stores[0], fan_template(50))
        workers = [await ManualWorker.register(store) for store in stores]
        for seed in range(6):
            task_id = await create_task(stores[0], template)
            await workers[0].complete(await workers[0].claim_one())
            claims = await workers[0].claim()
            batches = list(_split_into_random_batches(claims, Random(seed)))

            settled = await asyncio.gather(
                *(
                    workers[number % 3].settle(
                        *(completed_outcome(claim, RESULT) for claim in batch)
                    )
                    for number, batch in enumerate(batches)
                )
            )

            assert [] == [index for each in settled for index in each.rejected]
            assert 0 == (await steps_by_name(stores[0], task_id))["end"].pending_parents
            assert (task_id, 52, 1) == (await workers[0].claim_one())[:3]
            await workers[0].complete(Claim(task_id, 52, 1, 1))

    async def test_only_one_of_concurrent_settlements_claims_the_child(
        self, stores: list[Store]
    ) -> None:
        """Each settlement asks to claim the steps that it frees."""
        template = await register_template(stores[0], fan_template(24))
        workers = [await ManualWorker.register(store) for store in stores]
        for seed in range(6):
            task_id = await create_task(stores[0], template)
            await workers[0].complete(await workers[0].claim_one())
            batches = list(_split_into_random_batches(await workers[0].claim(), Random(seed)))

            settled = await asyncio.gather(
                *(
                    workers[number % 3].settle(
                        *(completed_outcome(claim, RESULT) for claim in batch), claim_up_to=5
                    )
                    for number, batch in enumerate(batches)
                )
            )

            claims = [claim for each in settled for claim in each.claims]
            assert [Claim(task_id, 26, 1, 1)] == claims
            await workers[0].complete(*claims)

    async def test_a_batch_sent_concurrently_settles_once(self, stores: list[Store]) -> None:
        """A batch that is repeated after a lost reply frees no child twice."""
        template = await register_template(
            stores[0], make_template("join", a="", b="", c="", d="a b c")
        )
        ids = [await create_task(stores[0], template) for _ in range(20)]
        workers = [await ManualWorker.register(store) for store in stores]
        claims = await workers[0].claim()
        outcomes = [completed_outcome(claim, RESULT) for claim in claims]

        settled = await asyncio.gather(
            *(
                worker.settle(*Random(seed).sample(outcomes, 60))
                for seed, worker in enumerate(workers * 3)
            )
        )

        assert 60 == sum(60 - len(each.rejected) for each in settled)
        joins = await workers[0].claim()
        assert set(ids) == {claim.task_id for claim in joins}
        assert 20 == len(joins)
        history = [row for task_id in ids for row in await stores[0].list_attempts(task_id)]
        assert 60 == len(history)

    async def test_concurrent_settlements_do_not_deadlock(self, stores: list[Store]) -> None:
        """Repeated batches over the same tasks, in any order, are all settled."""
        template = await register_template(
            stores[0], make_template("sinks", **{f"s{n}": "" for n in range(6)})
        )
        workers = [await ManualWorker.register(store) for store in stores]
        for seed in range(6):
            rng = Random(seed)
            news = [make_new_task(template) for _ in range(15)]
            await stores[0].create_tasks(news)
            outcomes = [
                failed_outcome(claim, ERROR)
                if rng.random() < 0.3
                else completed_outcome(claim, RESULT)
                for claim in await workers[0].claim()
            ]
            rng.shuffle(outcomes)
            batches = [outcomes[at : at + 12] for at in range(0, len(outcomes), 12)]

            settled = await asyncio.gather(
                *(
                    worker.settle(*rng.sample(batch, len(batch)))
                    for batch in batches
                    for worker in workers[:2]
                )
            )

            ended = [end.task_id for each in settled for end in each.ended]
            ended += [end.task_id for end in await stores[0].end_overdue_and_failed_tasks()]
            assert sorted(new.id for new in news) == sorted(ended)
            assert len(outcomes) == sum(len(each.rejected) for each in settled)

    async def test_last_steps_that_settle_concurrently_end_the_task_once(
        self, stores: list[Store]
    ) -> None:
        """Exactly one of the settlements reports the end."""
        steps = {f"s{number}": "" for number in range(12)}
        template = await register_template(stores[0], make_template("sinks", **steps))
        workers = [await ManualWorker.register(store) for store in stores]
        for _ in range(10):
            task_id = await create_task(stores[0], template)
            claims = await workers[0].claim()

            settled = await asyncio.gather(
                *(workers[n % 3].complete(claim) for n, claim in enumerate(claims))
            )

            ended = [end for each in settled for end in each.ended]
            assert [(task_id, TaskStatus.COMPLETE)] == ended

    async def test_every_step_of_a_lattice_runs_exactly_once(self, stores: list[Store]) -> None:
        """Six workers run eight rows of eight steps; each step waits for three of the row above."""
        task_id = await register_and_create_task(stores[0], _lattice_template(8))
        workers = [
            await ManualWorker.register(store, f"worker {n}") for n, store in enumerate(stores * 2)
        ]
        ended: list[object] = []

        async def claim_and_complete(worker: ManualWorker, rng: Random) -> None:
            held: list[Claim] = []
            while not ended:
                held += await worker.claim(rng.randint(1, 6))
                batch, held = held[:4], held[4:]
                settled = await worker.settle(
                    *(completed_outcome(claim, RESULT) for claim in batch),
                    claim_up_to=rng.randint(0, 3),
                )
                held += settled.claims
                ended.extend(settled.ended)

        async with asyncio.timeout(60):
            await asyncio.gather(
                *(claim_and_complete(worker, Random(n)) for n, worker in enumerate(workers))
            )

        history = await stores[0].list_attempts(task_id)
        assert [(task_id, TaskStatus.COMPLETE)] == ended
        assert {1} == set(Counter(row.no for row in history).values())
        assert (64, {AttemptOutcome.COMPLETE}) == (len(history), {row.outcome for row in history})

    async def test_a_task_does_not_end_before_its_last_step(self, store: Store) -> None:
        task_id = await register_and_create_task(store, make_template("pair", a="", b=""))
        worker = await ManualWorker.register(store)
        first, last = await worker.claim()

        await worker.complete(first)
        between = await store.get_task(task_id)
        await worker.complete(last)

        assert (TaskStatus.IN_PROGRESS, None) == (between.status, between.ended_at)
        assert (await store.get_task(task_id)).ended_at is not None


def _pair_claims_by_task(claims: Sequence[Claim]) -> list[tuple[Claim, Claim]]:
    """Return the two claims of each task as a pair."""
    by_task: dict[str, list[Claim]] = {}
    for claim in claims:
        by_task.setdefault(claim.task_id, []).append(claim)
    return [(first, second) for first, second in by_task.values()]


def _split_into_random_batches(claims: Sequence[Claim], rng: Random) -> Iterator[list[Claim]]:
    """Split claims into batches of random sizes, in random order."""
    left = rng.sample(claims, len(claims))
    while left:
        size = rng.randint(1, 9)
        yield left[:size]
        del left[:size]


def _lattice_template(width: int) -> Template:
    steps = {}
    for row in range(width):
        for column in range(width):
            above = {(column + shift) % width for shift in (0, 1, 3)} if row else set()
            steps[f"r{row}c{column}"] = " ".join(f"r{row - 1}c{each}" for each in sorted(above))
    return make_template("lattice", **steps)
