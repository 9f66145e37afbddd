"""Steps that are created at run time."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from tasker import limits
from tasker.errors import TooManyInstances
from tasker.layout import NodeLayout
from tasker.model import (
    Claim,
    JsonText,
    Map,
    NewInstances,
    PauseTarget,
    RuntimeStep,
    SpawnedStepNumbers,
    StepSpec,
    StepStatus,
    TaskId,
    TaskStatus,
    Template,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    SECOND,
    ManualWorker,
    StoreTests,
    register_and_create_task,
    statuses_by_name,
)
from tasker.testing.store_suite.subject import StoreUnderTest

SPAWNER, JOIN, BODY = 2, 3, 5


def map_template(*body: StepSpec) -> Template:
    """Make the template list > work > end, in which `work` maps the body over a list."""
    over = Map(over="results.list")
    return Template(
        namespace="suite",
        name="mapped",
        version="1.0.0",
        steps=(
            StepSpec(name="list"),
            StepSpec(name="work", dependencies=("list",), spawning=over, steps=body),
            StepSpec(name="end", dependencies=("work",)),
        ),
    )


def nested_map_template() -> Template:
    """Make a template with a map whose body has the step `fetch` and another map."""
    inner = StepSpec(
        name="line", dependencies=("fetch",), spawning=Map(over="results.fetch", item="line")
    )
    return map_template(StepSpec(name="fetch"), inner)


def make_instances(items: Sequence[str | None], *, begin: int = 0, total: int = 0) -> NewInstances:
    """Make instances of `work`."""
    texts = [None if item is None else JsonText(item) for item in items]
    return NewInstances("", JOIN, SPAWNER, SPAWNER, total or len(items), begin, texts)


async def create_task_and_claim_spawner(
    store: Store, template: Template
) -> tuple[ManualWorker, Claim]:
    """Create a task, complete its first step, and claim the spawner of its map."""
    await register_and_create_task(store, template)
    worker = await ManualWorker.register(store)
    await worker.complete(await worker.claim_one())
    return worker, await worker.claim_one()


async def list_step_numbers(store: Store, task_id: TaskId) -> list[int]:
    return [step.no for step in await store.list_steps(task_id)]


class TestSpawning(StoreTests):
    async def test_a_task_starts_without_the_steps_of_bodies(self, store: Store) -> None:
        """It has the spawner and the join of each body."""
        task_id = await register_and_create_task(store, map_template())

        assert {
            "list": "enqueued",
            "work.map": "pending",
            "work": "pending",
            "end": "pending",
        } == await statuses_by_name(store, task_id)

    async def test_instances_run_before_their_join(self, store: Store) -> None:
        """After all instances the join runs, and then its children."""
        worker, spawner = await create_task_and_claim_spawner(store, map_template())

        spawned = await store.spawn_instances(spawner, make_instances(["1", "2", "3"]))

        assert SpawnedStepNumbers(6, 0, 3) == spawned
        claims = await worker.claim()
        assert [6, 7, 8] == sorted(claim.no for claim in claims)
        await worker.complete(spawner)
        await worker.complete(*claims[:2])
        assert [] == await worker.claim()
        await worker.complete(claims[2])
        assert JOIN == (await worker.claim_one()).no

    async def test_a_join_waits_for_its_spawner(self, store: Store) -> None:
        """All instances so far are done, but the spawner may add more."""
        worker, spawner = await create_task_and_claim_spawner(store, map_template())
        await store.spawn_instances(spawner, make_instances(["1"], total=2))
        await worker.complete(await worker.claim_one())

        assert [] == await worker.claim()
        await store.spawn_instances(spawner, make_instances(["2"], begin=1, total=2))
        await worker.complete(spawner)
        last = await worker.claim_one()
        assert 7 == last.no
        await worker.complete(last)
        assert JOIN == (await worker.claim_one()).no

    async def test_a_repeated_spawn_changes_nothing(self, store: Store) -> None:
        """The same or a later attempt may repeat it, even after instances have ended."""
        worker, spawner = await create_task_and_claim_spawner(store, map_template())
        first = await store.spawn_instances(spawner, make_instances(["1", "2"], total=3))
        await worker.complete(*await worker.claim())

        assert first == await store.spawn_instances(spawner, make_instances(["1", "2"], total=3))
        await worker.fail_with_retry(spawner)
        again = await worker.claim_one()
        assert first == await store.spawn_instances(again, make_instances(["1", "2"], total=3))
        assert first == await store.spawn_instances(again, make_instances(["3"], begin=2, total=3))

        assert [1, 2, 3, 4, 6, 7, 8] == await list_step_numbers(store, spawner.task_id)
        await worker.complete(again)
        await worker.complete(await worker.claim_one())
        assert JOIN == (await worker.claim_one()).no
        assert 1 == len(await store.list_spawns(spawner.task_id, JOIN))

    async def test_an_attempt_that_lost_its_claim_spawns_nothing(self, store: Store) -> None:
        """Another attempt holds the step, or the task was cancelled."""
        worker, spawner = await create_task_and_claim_spawner(store, map_template())
        await worker.fail_with_retry(spawner)

        assert await store.spawn_instances(spawner, make_instances(["1"])) is None
        again = await worker.claim_one()
        assert await store.spawn_instances(spawner, make_instances(["1"])) is None
        await store.cancel_task(spawner.task_id, ACT)
        assert await store.spawn_instances(again, make_instances(["1"])) is None

        assert [1, 2, 3, 4] == await list_step_numbers(store, spawner.task_id)
        assert [] == await store.list_spawns(spawner.task_id, JOIN)

    async def test_an_instance_adds_instances_to_its_join(self, store: Store) -> None:
        """Numbers continue, and the join waits for the new instances."""
        worker, spawner = await create_task_and_claim_spawner(store, map_template())
        await store.spawn_instances(spawner, make_instances(["1", "2"]))
        await worker.complete(spawner)
        one, two = sorted(await worker.claim())

        added = [
            await store.spawn_instances(one, make_instances(["3"])._replace(key="more")),
            await store.spawn_instances(two, make_instances(["4", "5"])),
            await store.spawn_instances(one, make_instances(["6"])),
        ]

        assert [
            SpawnedStepNumbers(8, 2, 1),
            SpawnedStepNumbers(9, 3, 2),
            SpawnedStepNumbers(11, 5, 1),
        ] == added
        await worker.complete(one, two)
        rest = await worker.claim()
        assert [8, 9, 10, 11] == sorted(claim.no for claim in rest)
        loaded = await store.load_runtime_steps({one.task_id: [claim.no for claim in rest]})
        assert [(8, 2, "3"), (9, 3, "4"), (10, 4, "5"), (11, 5, "6")] == sorted(
            (each.no, each.instance, each.item) for each in loaded
        )
        await worker.complete(*rest)
        assert JOIN == (await worker.claim_one()).no

    async def test_the_steps_of_a_body_run_in_order(self, store: Store) -> None:
        """The order holds within each instance; the join waits for the last steps."""
        body = (StepSpec(name="fetch"), StepSpec(name="bill", dependencies=("fetch",)))
        worker, spawner = await create_task_and_claim_spawner(
            store, map_template(*body, StepSpec(name="note"))
        )
        await store.spawn_instances(spawner, make_instances(["1", "2"]))
        await worker.complete(spawner)
        claims = {claim.no: claim for claim in await worker.claim()}

        assert {8, 10, 11, 13} == set(claims)
        await worker.complete(claims[11])
        bill = await worker.claim_one()
        assert 12 == bill.no
        await worker.complete(claims[8], claims[10], claims[13], bill)
        await worker.complete(await worker.claim_one())
        assert JOIN == (await worker.claim_one()).no

    async def test_the_name_of_a_step_contains_its_instance(self, store: Store) -> None:
        """This holds for lists, the history, failures and the audit log."""
        worker, spawner = await create_task_and_claim_spawner(store, nested_map_template())
        await store.spawn_instances(spawner, make_instances(['"a"', '"b"']))
        await worker.complete(*await worker.claim())
        _, second = sorted(await worker.claim())
        new = NewInstances("", second.no + 1, second.no, 6, 2, 0, [JsonText("7")] * 2)
        await store.spawn_instances(second, new)
        leaf = max(await worker.claim())

        await worker.fail(leaf)

        names = [step.name for step in await store.list_steps(spawner.task_id, after=8)]
        assert [
            *("work[0].fetch", "work[0].line.map", "work[0].line"),
            *("work[1].fetch", "work[1].line.map", "work[1].line"),
            *("work[1].line[0]", "work[1].line[1]"),
        ] == names
        (attempt,) = await store.list_attempts(spawner.task_id, no=leaf.no)
        assert "work[1].line[1]" == attempt.step
        failure = (await store.get_task(spawner.task_id)).failure
        assert failure is not None
        assert "work[1].line[1]" == failure.step
        await store.retry_steps(spawner.task_id, ACT, steps=[leaf.no])
        assert ["work[1].line[1]"] == [
            entry.step for entry in await store.list_audit_entries(spawner.task_id)
        ]

    async def test_the_error_of_a_task_names_the_instances_that_failed(self, store: Store) -> None:
        worker, spawner = await create_task_and_claim_spawner(store, nested_map_template())
        await store.spawn_instances(spawner, make_instances(['"a"', '"b"']))
        await worker.complete(spawner)
        first, *others = sorted(await worker.claim())
        await worker.complete(*others)
        await worker.fail(first)
        inner = await worker.claim_one()
        new = NewInstances("", inner.no + 1, inner.no, 6, 2, 0, [JsonText("7")] * 2)
        await store.spawn_instances(inner, new)
        await worker.complete(inner)

        await worker.fail(*await worker.claim())

        error = (await store.get_task(spawner.task_id)).error
        assert error is not None
        assert ["work[0].fetch", "work[1].line[0]", "work[1].line[1]"] == error["steps"]
        assert "step 'work[0].fetch' and 2 more failed: it broke" == error["message"]

    async def test_an_instance_may_spawn_a_map_of_its_own(self, store: Store) -> None:
        """Its steps are numbered after all others, and refer to the enclosing instances."""
        worker, spawner = await create_task_and_claim_spawner(store, nested_map_template())
        layout = NodeLayout(nested_map_template().steps)
        (outer, inner) = layout.bodies.values()
        await store.spawn_instances(spawner, make_instances(['"a"', '"b"']))
        await worker.complete(spawner)
        await worker.complete(*await worker.claim())
        first, second = sorted(await worker.claim())
        assert (10, 13) == (first.no, second.no)

        new = NewInstances("", second.no + 1, second.no, inner.spawner, 2, 0, [JsonText("7")] * 2)
        spawned = await store.spawn_instances(second, new)

        assert spawned == SpawnedStepNumbers(15, 0, 2)
        await worker.complete(second)
        leaves = await worker.claim()
        loaded = await store.load_runtime_steps({second.task_id: [leaf.no for leaf in leaves]})
        assert [
            RuntimeStep(
                second.task_id, second.no, inner.spawner, outer.spawner, 1, JsonText('"b"')
            ),
            RuntimeStep(second.task_id, 15, inner.first, second.no, 0, JsonText("7")),
            RuntimeStep(second.task_id, 16, inner.first, second.no, 1, JsonText("7")),
        ] == sorted(loaded, key=lambda each: each.no)
        await worker.complete(*leaves)
        inner_join = await worker.claim_one()
        assert second.no + 1 == inner_join.no
        await worker.complete(inner_join, first)
        assert first.no + 1 == (await worker.claim_one()).no

    async def test_steps_of_a_loop_start_after_their_delay(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        worker, spawner = await create_task_and_claim_spawner(store, map_template())
        await store.spawn_instances(spawner, make_instances([None])._replace(delay=60))
        await worker.complete(spawner)

        assert [] == await worker.claim()
        await subject.advance(SECOND * 61)
        assert 6 == (await worker.claim_one()).no

    async def test_instances_of_a_paused_task_are_paused(self, store: Store) -> None:
        worker, spawner = await create_task_and_claim_spawner(store, map_template())
        await store.pause(PauseTarget.of_task(spawner.task_id), ACT)

        await store.spawn_instances(spawner, make_instances(["1"]))

        assert [] == await worker.claim()
        await store.resume(PauseTarget.of_task(spawner.task_id), ACT)
        assert 6 == (await worker.claim_one()).no

    async def test_too_many_instances_are_rejected(self, store: Store) -> None:
        """None of them is inserted."""
        _, spawner = await create_task_and_claim_spawner(store, map_template())

        with pytest.raises(TooManyInstances, match="at most 100,000 instances, not 100,001"):
            await store.spawn_instances(spawner, make_instances(["1"], total=limits.INSTANCES + 1))

        assert [1, 2, 3, 4] == await list_step_numbers(store, spawner.task_id)

    async def test_instances_are_cancelled_with_their_task(self, store: Store) -> None:
        """A running instance can no longer settle."""
        worker, spawner = await create_task_and_claim_spawner(store, map_template())
        await store.spawn_instances(spawner, make_instances(["1", "2"]))
        running = (await worker.claim(1))[0]

        await store.cancel_task(spawner.task_id, ACT)

        states = {step.no: step.status for step in await store.list_steps(spawner.task_id)}
        assert {StepStatus.CANCELLED} == {states[no] for no in (2, 3, 4, 6, 7)}
        assert [0] == list((await worker.complete(running)).rejected)

    async def test_retried_instances_run_once(self, store: Store, subject: StoreUnderTest) -> None:
        """The spawner, which is retried with them, does not add them again."""
        await register_and_create_task(store, map_template(), deadline=SECOND)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        spawner = await worker.claim_one()
        await store.spawn_instances(spawner, make_instances(["1", "2"], total=3))
        await worker.complete((await worker.claim(1))[0])
        await subject.advance(SECOND * 2)
        await store.end_overdue_and_failed_tasks()

        await store.retry_steps(spawner.task_id, ACT)

        claims = {claim.no: claim for claim in await worker.claim()}
        assert {2, 7} == set(claims)
        await store.spawn_instances(claims[2], make_instances(["1", "2"], total=3))
        await store.spawn_instances(claims[2], make_instances(["3"], begin=2, total=3))
        await worker.complete(*claims.values())
        await worker.complete(await worker.claim_one())
        assert JOIN == (await worker.claim_one()).no

    async def test_failed_instances_are_counted_once(self, store: Store) -> None:
        """The number of failed steps in an instance does not matter."""
        body = (StepSpec(name="fetch"), StepSpec(name="note"))
        worker, spawner = await create_task_and_claim_spawner(store, map_template(*body))
        await store.spawn_instances(spawner, make_instances(["1", "2", "3"]))
        claims = {claim.no: claim for claim in await worker.claim()}
        (spawn,) = await store.list_spawns(spawner.task_id, JOIN)

        await worker.fail(claims[7], claims[8], claims[9])

        assert 2 == await store.count_failed_instances(spawn)

    async def test_instances_that_have_not_started_can_be_cancelled(self, store: Store) -> None:
        """Instances that run or have ended are not affected."""
        worker, spawner = await create_task_and_claim_spawner(store, map_template())
        await store.spawn_instances(spawner, make_instances(["1", "2", "3", "4"]))
        done, running = await worker.claim(2)
        await worker.complete(done)
        (spawn,) = await store.list_spawns(spawner.task_id, JOIN)

        await store.cancel_unstarted_instances(spawn)

        states = [step.status for step in await store.list_steps(spawner.task_id, after=5)]
        assert Counter(
            {StepStatus.CANCELLED: 2, StepStatus.COMPLETE: 1, StepStatus.IN_PROGRESS: 1}
        ) == Counter(states)
        assert [] == await worker.claim()
        assert [] == list((await worker.complete(running)).rejected)

    async def test_a_pruned_task_leaves_no_spawn(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        _, spawner = await create_task_and_claim_spawner(store, map_template())
        await store.spawn_instances(spawner, make_instances(["1"]))
        await store.cancel_task(spawner.task_id, ACT)
        await subject.advance(SECOND * 10)

        await store.prune_tasks(ended_before=store.clock.now())

        assert [] == await store.list_spawns(spawner.task_id, JOIN)

    async def test_a_join_starts_once_after_all_its_instances(
        self, stores: Sequence[Store]
    ) -> None:
        """This holds while several workers spawn, settle and repeat calls concurrently."""
        worker, spawner = await create_task_and_claim_spawner(stores[0], map_template())
        workers = [await ManualWorker.register(store) for store in stores]
        items = [str(n) for n in range(120)]
        done: list[int] = []
        joins: list[Claim] = []

        async def spawn_all_instances() -> None:
            for begin_at in range(0, 120, 20):
                new = make_instances(items[begin_at : begin_at + 20], begin=begin_at, total=120)
                await asyncio.gather(*(store.spawn_instances(spawner, new) for store in stores))
            await worker.complete(spawner)

        async def claim_and_complete_instances(worker: ManualWorker) -> None:
            while not joins:
                claims = await worker.claim(7)
                joins.extend(claim for claim in claims if claim.no == JOIN)
                instances = [claim for claim in claims if claim.no != JOIN]
                if instances:
                    settled = await worker.complete(*instances)
                    assert [] == list(settled.rejected)
                    done.extend(claim.no for claim in instances)
                await asyncio.sleep(0)

        await asyncio.gather(spawn_all_instances(), *map(claim_and_complete_instances, workers))

        assert list(range(6, 126)) == sorted(done)
        assert [JOIN] == [claim.no for claim in joins]
        steps = await stores[0].list_steps(spawner.task_id)
        assert all(step.pending_parents == 0 for step in steps if step.no == JOIN)
        assert TaskStatus.IN_PROGRESS == (await stores[0].get_task(spawner.task_id)).status
