"""Limits on the steps that share a key: concurrency and rate."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tasker.errors import NotFound
from tasker.model import (
    JsonText,
    LimitKey,
    LimitValues,
    PauseTarget,
    Rate,
    StepStatus,
    TaskId,
    Template,
    TemplateId,
    completed_outcome,
    released_outcome,
)
from tasker.model import Limit as Declared
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    SECOND,
    ManualWorker,
    StoreTests,
    chain_template,
    make_new_task,
    one_step_template,
    only_step_status,
    register_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest


def suite_limit_key(name: str) -> LimitKey:
    """Return a key of the suite's namespace."""
    return LimitKey("suite", name)


def with_limits(template: Template, *names: str) -> Template:
    """Return a copy of a template with limits on the named steps, or on all without names."""
    return replace(
        template,
        steps=tuple(
            replace(spec, limits=(Declared(key="declared"),))
            if not names or spec.name in names
            else spec
            for spec in template.steps
        ),
    )


async def create_limited_tasks(
    store: Store,
    template: TemplateId,
    *limits: tuple[str, LimitValues],
    count: int = 1,
    no: int = 1,
) -> list[TaskId]:
    """Create tasks whose step `no` has the given limits."""
    given = {no: tuple((suite_limit_key(name), values) for name, values in limits)}
    new = [make_new_task(template, limits=given) for _ in range(count)]
    return [task_id for task_id, _ in (await store.create_tasks(new)).tasks]


def concurrency_limit(concurrency: int) -> LimitValues:
    """Make a limit on the number of steps in progress."""
    return LimitValues(concurrency=concurrency)


class TestConcurrency(StoreTests):
    async def test_no_more_steps_run_than_the_limit_allows(self, store: Store) -> None:
        """The longest-due steps start first, and each step that ends makes room for one."""
        tasks = await create_limited_tasks(
            store,
            await register_template(store, with_limits(one_step_template())),
            ("a", concurrency_limit(2)),
            count=5,
        )
        worker = await ManualWorker.register(store)

        plain = await worker.claim()
        first = await worker.claim_limited()
        again = await worker.claim_limited()
        await worker.complete(first[0])
        second = await worker.claim_limited()

        assert [] == plain
        assert tasks[:2] == [claim.task_id for claim in first]
        assert all(claim.gated for claim in first)
        assert [] == again
        assert [tasks[2]] == [claim.task_id for claim in second]

    @pytest.mark.parametrize("end", ["complete", "fail", "retry", "release", "cancel", "resolve"])
    async def test_every_outcome_of_an_attempt_makes_room(self, store: Store, end: str) -> None:
        first, second = await create_limited_tasks(
            store,
            await register_template(store, with_limits(one_step_template())),
            ("a", concurrency_limit(1)),
            count=2,
        )
        worker = await ManualWorker.register(store)
        (claim,) = await worker.claim_limited()

        if end == "complete":
            await worker.complete(claim)
        elif end == "fail":
            await worker.fail(claim)
        elif end == "retry":
            await worker.fail_with_retry(claim, SECOND * 60)
        elif end == "release":
            await worker.settle(released_outcome(claim))
        elif end == "cancel":
            await store.cancel_task(first, ACT)
        else:
            await store.resolve_step(first, 1, None, ACT)
        claims = await worker.claim_limited()

        expected = {first, second} if end == "release" else {second}
        assert 1 == len(claims)
        assert claims[0].task_id in expected

    async def test_a_lost_attempt_makes_room_when_it_is_settled(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        await create_limited_tasks(
            store,
            await register_template(store, with_limits(one_step_template())),
            ("a", concurrency_limit(1)),
            count=2,
        )
        dead = await ManualWorker.register(store)
        (claim,) = await dead.claim_limited()
        await subject.advance(SECOND * 40)
        worker = await ManualWorker.register(store)

        before = await worker.claim_limited()
        (expired,) = await store.list_expired_attempts(10)
        await worker.fail_with_retry(expired.claim)
        after = await worker.claim_limited()

        assert claim.attempt_key == expired.claim.attempt_key
        assert [] == before
        assert 1 == len(after)

    async def test_a_step_that_waits_for_its_retry_takes_no_room(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        first, second = await create_limited_tasks(
            store,
            await register_template(store, with_limits(one_step_template())),
            ("a", concurrency_limit(1)),
            count=2,
        )
        worker = await ManualWorker.register(store)
        (claim,) = await worker.claim_limited()
        await worker.fail_with_retry(claim, SECOND * 5)

        (other,) = await worker.claim_limited()
        await subject.advance(SECOND * 6)
        full = await worker.claim_limited()
        await worker.complete(other)
        (again,) = await worker.claim_limited()

        assert [second, first] == [other.task_id, again.task_id]
        assert StepStatus.IN_PROGRESS == await only_step_status(store, first)
        assert 2 == again.attempt
        assert [] == full

    async def test_freed_steps_under_a_limit_are_not_claimed_by_the_settlement(
        self, store: Store
    ) -> None:
        """Neither settlements nor creations claim them for their caller."""
        template = with_limits(
            replace(
                one_step_template(),
                steps=(
                    *one_step_template().steps,
                    replace(one_step_template().steps[0], name="next", dependencies=("only",)),
                ),
            ),
            "next",
        )
        template_id = await register_template(store, template)
        (task_id,) = await create_limited_tasks(
            store, template_id, ("a", concurrency_limit(1)), no=2
        )
        worker = await ManualWorker.register(store)
        settled = await worker.settle(
            completed_outcome(await worker.claim_one(), JsonText("1")), claim_up_to=5
        )
        root = await register_template(store, with_limits(one_step_template("root")))
        worker = await ManualWorker.register(store)
        new = make_new_task(root, limits={1: ((suite_limit_key("b"), concurrency_limit(1)),)})
        created = await store.create_tasks([new], worker=worker.id, claim_up_to=5)

        claims = await worker.claim_limited()

        assert [] == list(settled.claims) == list(created.claims)
        assert {(task_id, 2), (new.id, 1)} == {claim.attempt_key[:2] for claim in claims}

    async def test_limit_keys_take_turns(self, store: Store) -> None:
        """A key with many steps gets no more claims than a key with few."""
        template = await register_template(store, with_limits(one_step_template()))
        noisy = await create_limited_tasks(
            store, template, ("noisy", concurrency_limit(3)), count=50
        )
        quiet = [
            task_id
            for name in ("b", "c", "d")
            for task_id in await create_limited_tasks(
                store, template, (name, concurrency_limit(3)), count=3
            )
        ]
        worker = await ManualWorker.register(store)

        claimed = [claim.task_id for _ in range(4) for claim in await worker.claim_limited(3)]

        assert {*noisy[:3], *quiet} == {*claimed}
        assert 12 == len(claimed)

    async def test_every_key_is_served_within_one_round(self, store: Store) -> None:
        """This holds for small claims, and while steps end."""
        template = await register_template(store, with_limits(one_step_template()))
        names = [f"k{number:02}" for number in range(20)]
        owner: dict[TaskId, str] = {}
        for name in names:
            for task_id in await create_limited_tasks(
                store, template, (name, concurrency_limit(2)), count=10
            ):
                owner[task_id] = name
        worker = await ManualWorker.register(store)
        served: Counter[str] = Counter()

        for _ in range(14):  # ceil(20 keys / (3 / 2)), and at most one visit cut short for each end
            claims = await worker.claim_limited(3)
            served.update(owner[claim.task_id] for claim in claims)
            await worker.complete(*claims)

        assert {*names} == {*served}
        assert max(served.values()) <= 4

    async def test_a_limit_holds_for_all_handlers_and_priorities(self, store: Store) -> None:
        """Urgent steps come first; steps that a worker does not serve do not block others."""
        template = await register_template(store, with_limits(one_step_template("one")))
        other = await register_template(
            store,
            with_limits(
                replace(
                    one_step_template("two"),
                    steps=(replace(one_step_template().steps[0], callable="elsewhere"),),
                )
            ),
        )
        given = {1: ((suite_limit_key("a"), concurrency_limit(2)),)}
        await store.create_tasks([make_new_task(other, limits=given) for _ in range(5)])
        low = await store.create_tasks([make_new_task(template, limits=given, priority=0)])
        high = await store.create_tasks([make_new_task(template, limits=given, priority=4)])
        worker = await ManualWorker.register(store, handlers={"only"})
        elsewhere = await ManualWorker.register(store, handlers={"elsewhere"})

        first = await worker.claim_limited(1)
        second = await elsewhere.claim_limited()
        third = await worker.claim_limited()
        await worker.complete(*first)
        fourth = await worker.claim_limited()

        assert [high.tasks[0][0]] == [claim.task_id for claim in first]
        assert 1 == len(second)
        assert [] == third
        assert [low.tasks[0][0]] == [claim.task_id for claim in fourth]

    async def test_several_workers_together_respect_the_limit(
        self, stores: Sequence[Store]
    ) -> None:
        store = stores[0]
        template = await register_template(store, with_limits(one_step_template()))
        await create_limited_tasks(store, template, ("a", concurrency_limit(3)), count=20)
        workers = [await ManualWorker.register(each) for each in stores]

        claims = [claim for worker in workers for claim in await worker.claim_limited(2)]

        assert 3 == len(claims)

    @pytest.mark.parametrize("what", ["task", "queue"])
    async def test_paused_steps_take_no_room(self, store: Store, what: str) -> None:
        task_id, other = await create_limited_tasks(
            store,
            await register_template(store, with_limits(one_step_template())),
            ("a", concurrency_limit(5)),
            count=2,
        )
        target = (
            PauseTarget.of_task(task_id)
            if what == "task"
            else PauseTarget.of_queue("suite", "only")
        )
        await store.pause(target, ACT)
        worker = await ManualWorker.register(store)

        held = await worker.claim_limited()
        await store.resume(target, ACT)
        resumed = await worker.claim_limited()

        assert {*[other][: what == "task"]} == {claim.task_id for claim in held}
        assert {task_id, other} == {claim.task_id for claim in held + resumed}

    @pytest.mark.parametrize("alone", [True, False])
    async def test_a_limited_step_that_is_freed_in_a_paused_task_waits(
        self, store: Store, *, alone: bool
    ) -> None:
        """The worker that frees it does not claim it."""
        template = await register_template(store, with_limits(chain_template(), "b"))
        tasks = await create_limited_tasks(
            store, template, ("a", concurrency_limit(5)), count=2, no=2
        )
        worker = await ManualWorker.register(store)
        claims = sorted(await worker.claim())[: 1 if alone else 2]
        for task_id in tasks:
            await store.pause(PauseTarget.of_task(task_id), ACT)

        outcomes = [completed_outcome(claim, JsonText("1")) for claim in claims]
        settled = await store.settle(worker.id, outcomes, claim_up_to=5)

        assert [] == list(settled.claims)
        assert [] == await worker.claim_limited()


class TestTwoLimits(StoreTests):
    async def test_a_step_with_two_limits_needs_room_under_both(self, store: Store) -> None:
        template = await register_template(store, with_limits(one_step_template()))
        for name in ("a", "b"):
            await create_limited_tasks(
                store,
                template,
                ("shared", concurrency_limit(3)),
                (name, concurrency_limit(2)),
                count=5,
            )
        worker = await ManualWorker.register(store)

        first = await worker.claim_limited()
        again = await worker.claim_limited()
        await worker.complete(*first)
        second = await worker.claim_limited()

        assert 3 == len(first)
        assert [] == again
        assert 3 == len(second)

    async def test_steps_with_and_without_a_second_limit_take_turns(self, store: Store) -> None:
        template = await register_template(store, with_limits(one_step_template()))
        await create_limited_tasks(
            store, template, ("shared", concurrency_limit(1)), ("a", concurrency_limit(2)), count=3
        )
        alone = await create_limited_tasks(store, template, ("a", concurrency_limit(2)), count=3)
        worker = await ManualWorker.register(store)

        first = await worker.claim_limited()
        await worker.complete(*first)
        second = await worker.claim_limited()

        assert {*alone[:2]} == {claim.task_id for claim in first}
        assert 1 == len({*alone} & {claim.task_id for claim in second})
        assert 2 == len(second)


class TestRates(StoreTests):
    async def test_steps_start_at_the_rate_after_a_burst(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The reply contains the time until the next step may start."""
        values = LimitValues(rate=Rate(2, "m"), burst=3)
        await create_limited_tasks(
            store,
            await register_template(store, with_limits(one_step_template())),
            ("a", values),
            count=20,
        )
        worker = await ManualWorker.register(store)

        first = await store.claim_limited_steps(worker.id, 10)
        again = await store.claim_limited_steps(worker.id, 10)
        await subject.advance(SECOND * 60)
        second = await store.claim_limited_steps(worker.id, 10)
        await subject.advance(SECOND * 3600)
        third = await store.claim_limited_steps(worker.id, 10)

        assert [3, 0, 2, 3] == [len(each.claims) for each in (first, again, second, third)]
        assert 0 < (again.next_due or 0) <= 30

    async def test_a_step_that_ends_returns_no_token_to_the_rate(self, store: Store) -> None:
        values = LimitValues(rate=Rate(1, "h"), burst=1)
        await create_limited_tasks(
            store,
            await register_template(store, with_limits(one_step_template())),
            ("a", values),
            count=2,
        )
        worker = await ManualWorker.register(store)
        await worker.complete(*await worker.claim_limited())

        assert [] == await worker.claim_limited()


class TestLimitSettings(StoreTests):
    async def test_the_most_specific_setting_overrides_the_template(self, store: Store) -> None:
        template = await register_template(store, with_limits(one_step_template()))
        await store.set_limit(suite_limit_key("customer:*"), LimitValues(concurrency=3), ACT)
        for name in ("customer:a", "customer:b", "other"):
            await create_limited_tasks(store, template, (name, concurrency_limit(1)), count=5)
        await store.set_limit(suite_limit_key("customer:b"), LimitValues(concurrency=2), ACT)
        worker = await ManualWorker.register(store)

        claims = await worker.claim_limited()
        infos = {info.key: info for info in await store.list_limits("suite")}

        assert 3 + 2 + 1 == len(claims)
        assert {"customer:a": "customer:*", "customer:b": "customer:b", "other": None} == {
            name: info.set_by for name, info in infos.items()
        }
        assert [(3, 3, 2), (2, 2, 3), (1, 1, 4)] == [
            (info.values.concurrency, info.running, info.waiting) for info in infos.values()
        ]

    async def test_a_setting_can_be_changed_and_removed(self, store: Store) -> None:
        """Changes apply immediately to keys in use; lowering a limit stops no running step."""
        template = await register_template(store, with_limits(one_step_template()))
        await create_limited_tasks(store, template, ("a", concurrency_limit(1)), count=9)
        worker = await ManualWorker.register(store)

        await store.set_limit(suite_limit_key("a"), LimitValues(concurrency=4), ACT)
        raised = await worker.claim_limited()
        await store.unset_limit(suite_limit_key("a"), ACT)
        await worker.complete(*raised[:3])
        lowered = await worker.claim_limited()
        await worker.complete(raised[3])
        after = await worker.claim_limited()

        assert [4, 0, 1] == [len(each) for each in (raised, lowered, after)]
        assert [] == await store.list_limit_settings("suite")
        with pytest.raises(NotFound):
            await store.unset_limit(suite_limit_key("a"), ACT)

    async def test_the_newest_template_determines_the_bounds_of_its_key(self, store: Store) -> None:
        old = await register_template(store, with_limits(one_step_template()))
        new = await register_template(
            store, replace(with_limits(one_step_template()), version="2.0.0")
        )
        await create_limited_tasks(store, new, ("a", concurrency_limit(2)), count=3)
        await create_limited_tasks(store, old, ("a", concurrency_limit(1)), count=3)
        worker = await ManualWorker.register(store)

        assert 2 == len(await worker.claim_limited())

    async def test_a_key_without_bounds_limits_nothing(self, store: Store) -> None:
        await create_limited_tasks(
            store,
            await register_template(store, with_limits(one_step_template())),
            ("a", LimitValues()),
            count=9,
        )
        worker = await ManualWorker.register(store)

        assert 9 == len(await worker.claim_limited())

    async def test_a_limit_of_zero_stops_a_key(self, store: Store) -> None:
        await store.set_limit(suite_limit_key("a"), LimitValues(concurrency=0), ACT)
        await create_limited_tasks(
            store,
            await register_template(store, with_limits(one_step_template())),
            ("a", concurrency_limit(2)),
        )
        worker = await ManualWorker.register(store)

        assert [] == await worker.claim_limited()

    async def test_a_step_names_the_limit_that_blocks_it(self, store: Store) -> None:
        """It also states the number of steps ahead of it."""
        template = await register_template(store, with_limits(one_step_template()))
        tasks = await create_limited_tasks(
            store, template, ("customer:acme", concurrency_limit(2)), count=5
        )
        rated = LimitValues(rate=Rate(1, "h"), burst=1)
        held = await create_limited_tasks(store, template, ("api", rated), count=2)
        worker = await ManualWorker.register(store)
        await worker.claim_limited()

        reasons = [
            step.limit_reason
            for task_id in [tasks[0], tasks[4], held[1]]
            for step in await store.list_steps(task_id)
        ]

        assert [
            None,
            "customer:acme has 2 of 2 steps running; steps ahead: 2",
            "api has reached its rate limit; steps ahead: 0",
        ] == reasons
