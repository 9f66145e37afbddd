"""How steps arrive at their children, as successes, failures or skipped; and the engine queue."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tasker import codec
from tasker.errors import ChildrenAlreadyRan
from tasker.model import (
    ENGINE,
    AttemptOutcome,
    Claim,
    JsonText,
    PauseTarget,
    StepSpec,
    StepStatus,
    StepType,
    TaskId,
    TaskStatus,
    Template,
    TriggerRule,
    completed_outcome,
    failed_outcome,
    released_outcome,
    requeued_for_handler_outcome,
    skipped_outcome,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    ERROR,
    LEASE,
    ManualWorker,
    StoreTests,
    make_template,
    register_and_create_task,
    statuses_by_name,
    steps_by_name,
)

REASON = JsonText('{"type":"Skipped","message":"all_success: it was not chosen"}')


def with_trigger_rules(template: Template, **rules: TriggerRule) -> Template:
    """Return a copy of a template with trigger rules for the named steps."""
    return replace(
        template,
        steps=tuple(
            replace(spec, trigger=rules.get(spec.name, spec.trigger)) for spec in template.steps
        ),
    )


def with_allowed_failures(template: Template, *names: str) -> Template:
    """Return a copy of a template whose named steps may fail without failing the task."""
    return replace(
        template,
        steps=tuple(
            replace(spec, allow_failure=spec.name in names or spec.allow_failure)
            for spec in template.steps
        ),
    )


def decision_template() -> Template:
    """Make the template route > a and b > end, in which `route` is a decision."""
    template = make_template("deciding", route="", a="route", b="route", end="a b")
    return replace(
        template,
        steps=(replace(template.steps[0], type=StepType.DECISION), *template.steps[1:]),
    )


async def register_engine_worker(store: Store) -> ManualWorker:
    """Register a worker that serves only the engine queues."""
    return await ManualWorker.register(store, "engine", handlers={ENGINE})


async def register_worker_except_engine(store: Store) -> ManualWorker:
    """Register a worker that serves all queues except the engine queues."""
    handlers = {queue.handler for queue in await store.list_queues()} - {ENGINE}
    return await ManualWorker.register(store, "others", handlers=handlers)


async def claim_due_steps_by_name(
    store: Store, worker: ManualWorker, task_id: TaskId
) -> dict[str, Claim]:
    """Claim all due steps, and return the claims by the names of their steps."""
    names = {step.no: step.name for step in await store.list_steps(task_id)}
    return {names[claim.no]: claim for claim in await worker.claim()}


class TestParentArrivals(StoreTests):
    """A step arrives at each of its children once."""

    async def test_a_decision_leaves_unchosen_children_to_the_engine(self, store: Store) -> None:
        task_id = await register_and_create_task(store, decision_template())
        others, engine = (
            await register_worker_except_engine(store),
            await register_engine_worker(store),
        )
        route = await others.claim_one()

        await others.settle(completed_outcome(route, JsonText("{}"))._replace(choice=(3,)))

        assert {"b"} == set(await claim_due_steps_by_name(store, others, task_id))
        assert {"a"} == set(await claim_due_steps_by_name(store, engine, task_id))

    async def test_choosing_all_children_equals_making_no_decision(self, store: Store) -> None:
        task_id = await register_and_create_task(store, decision_template())
        others = await register_worker_except_engine(store)
        route = await others.claim_one()

        await others.settle(completed_outcome(route, JsonText("{}"))._replace(choice=(2, 3)))

        assert {"a", "b"} == set(await claim_due_steps_by_name(store, others, task_id))

    async def test_choosing_no_child_skips_all_following_steps(self, store: Store) -> None:
        """The task is complete, because skipped sinks count as done."""
        task_id = await register_and_create_task(store, decision_template())
        others, engine = (
            await register_worker_except_engine(store),
            await register_engine_worker(store),
        )
        await others.settle(
            completed_outcome(await others.claim_one(), JsonText("{}"))._replace(choice=())
        )

        while claims := await engine.claim():
            await engine.settle(*(skipped_outcome(claim, REASON) for claim in claims))

        assert {
            "route": "complete",
            "a": "skipped",
            "b": "skipped",
            "end": "skipped",
        } == await statuses_by_name(store, task_id)
        task = await store.get_task(task_id)
        assert (TaskStatus.COMPLETE, None) == (task.status, task.error)
        end = (await steps_by_name(store, task_id))["end"]
        assert (None, None) == (end.result, end.error)
        assert "all_success: it was not chosen" == end.skip_reason
        assert AttemptOutcome.SKIPPED is (await store.list_attempts(task_id, no=4))[0].outcome

    async def test_a_failure_arrives_at_children_whose_rule_accepts_it(self, store: Store) -> None:
        """The other children stay pending, and the task fails when nothing else can run."""
        template = with_trigger_rules(
            make_template("graph", a="", b="a", c="a"), c=TriggerRule.ALL_DONE
        )
        task_id = await register_and_create_task(store, template)
        others, engine = (
            await register_worker_except_engine(store),
            await register_engine_worker(store),
        )

        assert () == tuple((await others.fail(await others.claim_one())).ended)
        claims = await claim_due_steps_by_name(store, engine, task_id)
        settled = await engine.complete(claims["c"])

        assert {"c"} == set(claims)
        assert [(task_id, TaskStatus.ERROR)] == list(settled.ended)
        assert {"a": "error", "b": "pending", "c": "complete"} == await statuses_by_name(
            store, task_id
        )

    async def test_a_failure_that_reaches_all_children_does_not_fail_the_task(
        self, store: Store
    ) -> None:
        task_id = await register_and_create_task(
            store, with_trigger_rules(make_template("graph", a="", b="a"), b=TriggerRule.ALL_FAILED)
        )
        worker = await ManualWorker.register(store)

        await worker.fail(await worker.claim_one())
        settled = await worker.complete(await worker.claim_one())

        assert [(task_id, TaskStatus.COMPLETE)] == list(settled.ended)
        task = await store.get_task(task_id)
        assert (None, None, 1) == (task.error, task.failure, task.counts.error)

    async def test_an_allowed_failure_of_the_last_step_completes_the_task(
        self, store: Store
    ) -> None:
        task_id = await register_and_create_task(
            store, with_allowed_failures(make_template("graph", a="", b="a"), "b")
        )
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())

        settled = await worker.fail(await worker.claim_one())

        assert [(task_id, TaskStatus.COMPLETE)] == list(settled.ended)
        assert (None, None) == (
            (await store.get_task(task_id)).result,
            (await store.get_task(task_id)).failure,
        )

    async def test_a_task_names_only_the_failures_that_failed_it(self, store: Store) -> None:
        template = with_allowed_failures(make_template("graph", a="", b="", c="a b"), "a")
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)

        await worker.fail(*await worker.claim())

        task = await store.get_task(task_id)
        assert task.error is not None
        assert ["b"] == task.error["steps"]
        assert task.failure is not None
        assert "b" == task.failure.step

    async def test_parents_that_end_together_each_arrive_once(self, store: Store) -> None:
        """One parent succeeds and the other fails in the same settlement."""
        template = with_allowed_failures(make_template("graph", a="", b="", c="a b"), "a")
        task_id = await register_and_create_task(store, template)
        others, engine = (
            await register_worker_except_engine(store),
            await register_engine_worker(store),
        )
        claims = await claim_due_steps_by_name(store, others, task_id)

        await others.settle(
            failed_outcome(claims["a"], ERROR), completed_outcome(claims["b"], JsonText("1"))
        )

        assert {"c"} == set(await claim_due_steps_by_name(store, engine, task_id))

    async def test_a_settlement_claims_the_engine_step_that_it_frees(self, store: Store) -> None:
        template = with_allowed_failures(make_template("graph", a="", b="a"), "a")
        await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()

        settled = await worker.settle(failed_outcome(claim, ERROR), claim_up_to=5)

        assert [2] == [freed.no for freed in settled.claims]


class TestEagerRules(StoreTests):
    """A step may be freed before all of its parents have ended."""

    async def test_one_success_frees_a_step_with_the_rule_any_success(self, store: Store) -> None:
        """The failure of the first parent and the success of the third have no effect."""
        template = with_trigger_rules(
            make_template("graph", a="", b="", c="", d="a b c"), d=TriggerRule.ONE_SUCCESS
        )
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        claims = await claim_due_steps_by_name(store, worker, task_id)

        await worker.fail(claims["a"])
        assert [] == await worker.claim()
        await worker.complete(claims["b"])
        d = await worker.claim_one()
        await worker.complete(claims["c"])
        assert [] == await worker.claim()
        settled = await worker.complete(d)

        assert [(task_id, TaskStatus.COMPLETE)] == list(settled.ended)

    async def test_a_task_is_complete_only_when_all_steps_have_ended(self, store: Store) -> None:
        template = with_trigger_rules(
            make_template("graph", a="", b="", c="a b"), c=TriggerRule.ONE_DONE
        )
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        claims = await claim_due_steps_by_name(store, worker, task_id)

        await worker.complete(claims["a"])
        early = await worker.complete(await worker.claim_one())
        late = await worker.complete(claims["b"])

        assert ([], [(task_id, TaskStatus.COMPLETE)]) == (list(early.ended), list(late.ended))

    async def test_a_failure_frees_a_step_that_runs_on_failure(self, store: Store) -> None:
        template = with_trigger_rules(
            make_template("graph", a="", b="", c="a b"), c=TriggerRule.ONE_FAILED
        )
        task_id = await register_and_create_task(store, template)
        others, engine = (
            await register_worker_except_engine(store),
            await register_engine_worker(store),
        )
        claims = await claim_due_steps_by_name(store, others, task_id)

        await others.complete(claims["a"])
        assert [] == await engine.claim()
        await others.fail(claims["b"])

        assert {"c"} == set(await claim_due_steps_by_name(store, engine, task_id))

    async def test_a_skipped_parent_does_not_free_a_step_that_requires_a_success(
        self, store: Store
    ) -> None:
        template = with_trigger_rules(
            make_template("graph", a="", b="", c="a b"), c=TriggerRule.ONE_SUCCESS
        )
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        claims = await claim_due_steps_by_name(store, worker, task_id)

        await worker.settle(skipped_outcome(claims["a"], REASON))
        assert [] == await worker.claim()
        await worker.complete(claims["b"])

        assert {"c"} == set(await claim_due_steps_by_name(store, worker, task_id))

    async def test_a_step_that_always_runs_does_not_wait_for_its_parents(
        self, store: Store
    ) -> None:
        template = with_trigger_rules(make_template("graph", a="", b="a"), b=TriggerRule.ALWAYS)
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        claims = await claim_due_steps_by_name(store, worker, task_id)

        assert {"a", "b"} == set(claims)
        first = await worker.complete(claims["b"])
        second = await worker.complete(claims["a"])

        assert ([], 1) == (list(first.ended), len(second.ended))


class TestParentArrivalsWithdrawn(StoreTests):
    """A step that an operator retries or resolves arrives again, exactly once."""

    async def _create_task_with_failed_step(
        self, store: Store
    ) -> tuple[TaskId, ManualWorker, Claim]:
        """Create a task whose step `a` has failed and arrived at `c`, which also waits for `b`."""
        template = with_trigger_rules(
            make_template("graph", a="", b="", c="a b"), c=TriggerRule.ALL_DONE
        )
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        claims = await claim_due_steps_by_name(store, worker, task_id)
        await worker.fail(claims["a"])
        assert 1 == (await steps_by_name(store, task_id))["c"].pending_parents
        return task_id, worker, claims["b"]

    async def test_retrying_a_parent_withdraws_its_failure(self, store: Store) -> None:
        task_id, worker, b = await self._create_task_with_failed_step(store)

        await store.retry_steps(task_id, ACT, steps=[1])
        assert 2 == (await steps_by_name(store, task_id))["c"].pending_parents
        await worker.complete(b)
        a = await worker.claim_one()
        await worker.complete(a)

        assert {"c"} == set(await claim_due_steps_by_name(store, worker, task_id))

    async def test_resolving_a_parent_withdraws_its_failure(self, store: Store) -> None:
        task_id, worker, b = await self._create_task_with_failed_step(store)

        await store.resolve_step(task_id, 1, None, ACT)
        assert 1 == (await steps_by_name(store, task_id))["c"].pending_parents
        await worker.complete(b)

        assert {"c"} == set(await claim_due_steps_by_name(store, worker, task_id))

    async def test_retrying_all_steps_leaves_handled_failures_alone(self, store: Store) -> None:
        template = with_allowed_failures(make_template("graph", a="", b=""), "a")
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        await worker.fail(*await worker.claim())
        assert TaskStatus.ERROR is (await store.get_task(task_id)).status

        await store.retry_steps(task_id, ACT)

        assert {"a": "error", "b": "enqueued"} == await statuses_by_name(store, task_id)
        settled = await worker.complete(await worker.claim_one())
        assert [(task_id, TaskStatus.COMPLETE)] == list(settled.ended)

    async def test_an_allowed_failure_of_a_last_step_can_be_retried(self, store: Store) -> None:
        """The task then waits for the step again."""
        template = with_allowed_failures(make_template("graph", a="", b=""), "a")
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        claims = await claim_due_steps_by_name(store, worker, task_id)
        await worker.fail(claims["a"])

        await store.retry_steps(task_id, ACT, steps=[1])
        early = await worker.complete(claims["b"])
        late = await worker.complete(await worker.claim_one())

        assert ([], [(task_id, TaskStatus.COMPLETE)]) == (list(early.ended), list(late.ended))

    async def test_retrying_a_failure_that_a_child_handled_is_rejected(self, store: Store) -> None:
        """The task would not wait for the retried step."""
        template = with_trigger_rules(
            make_template("graph", a="", b="a", c=""), b=TriggerRule.ALL_DONE
        )
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        claims = await claim_due_steps_by_name(store, worker, task_id)
        await worker.fail(claims["a"])
        await worker.claim_one()

        with pytest.raises(ChildrenAlreadyRan, match="cannot retry step a"):
            await store.retry_steps(task_id, ACT, steps=[1])

        assert StepStatus.ERROR is (await steps_by_name(store, task_id))["a"].status

    async def test_a_freed_child_is_not_freed_again_when_its_parent_is_retried(
        self, store: Store
    ) -> None:
        """The parent's other child waits for the retry."""
        template = with_trigger_rules(
            make_template("graph", a="", b="a", c="a"), b=TriggerRule.ALL_DONE
        )
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        await worker.fail(await worker.claim_one())
        b = await worker.claim_one()

        await store.retry_steps(task_id, ACT, steps=[1])
        await worker.complete(b)
        await worker.complete(await worker.claim_one())
        settled = await worker.complete(await worker.claim_one())

        assert {"a": "complete", "b": "complete", "c": "complete"} == await statuses_by_name(
            store, task_id
        )
        assert [(task_id, TaskStatus.COMPLETE)] == list(settled.ended)


class TestEngineQueue(StoreTests):
    """Steps with conditions wait in the engine queue of their namespace."""

    def _template_with_condition(self) -> Template:
        template = make_template("conditional", a="", b="a")
        a, b = template.steps
        return replace(template, steps=(a, replace(b, when="input.x == 1")))

    async def _create_task_and_claim_conditional_step(
        self, store: Store, **fields: object
    ) -> tuple[TaskId, Sequence[ManualWorker], Claim]:
        task_id = await register_and_create_task(store, self._template_with_condition(), **fields)
        others, engine = (
            await register_worker_except_engine(store),
            await register_engine_worker(store),
        )
        await others.complete(await others.claim_one())
        assert [] == await others.claim()
        return task_id, (others, engine), await engine.claim_one()

    async def test_a_step_with_a_condition_starts_in_the_engine_queue(self, store: Store) -> None:
        """The engine then moves it to its handler's queue; the engine's attempt does not count."""
        task_id, (others, engine), claim = await self._create_task_and_claim_conditional_step(store)

        await engine.settle(requeued_for_handler_outcome(claim))

        again = await others.claim_one()
        assert (2, 1) == (again.attempt, again.counted_attempts)
        assert AttemptOutcome.RELEASED is (await store.list_attempts(task_id, no=2))[0].outcome

    async def test_a_release_at_shutdown_leaves_a_step_in_the_engine_queue(
        self, store: Store
    ) -> None:
        _, (others, engine), claim = await self._create_task_and_claim_conditional_step(store)

        await engine.settle(released_outcome(claim))

        assert [] == await others.claim()
        assert 2 == (await engine.claim_one()).no

    async def test_a_step_in_the_engine_queue_keeps_its_priority(self, store: Store) -> None:
        """The priority is the same in both queues."""
        low = await register_and_create_task(store, self._template_with_condition(), priority=0)
        high = await register_and_create_task(store, self._template_with_condition(), priority=4)
        others, engine = (
            await register_worker_except_engine(store),
            await register_engine_worker(store),
        )
        await others.complete(*await others.claim())

        claims = await engine.claim()
        await engine.settle(*(requeued_for_handler_outcome(claim) for claim in reversed(claims)))

        assert [high, low] == [claim.task_id for claim in claims]
        assert [high, low] == [claim.task_id for claim in await others.claim()]

    async def test_a_paused_task_stays_paused_in_the_engine_queue(self, store: Store) -> None:
        """A step that the engine moves to its handler's queue is not claimed either."""
        task_id, (others, engine), claim = await self._create_task_and_claim_conditional_step(store)
        await store.pause(PauseTarget.of_task(task_id), ACT)

        await engine.settle(requeued_for_handler_outcome(claim))
        assert [] == await others.claim()
        assert [] == await engine.claim()
        await store.resume(PauseTarget.of_task(task_id), ACT)

        assert 2 == (await others.claim_one()).no

    async def test_a_server_serves_the_engine_queue_where_no_live_worker_does(
        self, store: Store
    ) -> None:
        await register_and_create_task(
            store, replace(make_template("graph", a=""), steps=(StepSpec(name="a", when="true"),))
        )
        fallback = await store.register_worker("server", lease=LEASE, slots=1, handlers=[ENGINE])
        second = await store.register_worker("server", lease=LEASE, slots=1, handlers=[ENGINE])
        await store.serve_unserved_engine_queues(second)
        own = await ManualWorker.register(store, handlers={"a", ENGINE})

        await store.serve_unserved_engine_queues(fallback)
        await store.serve_unserved_engine_queues(second)
        assert [] == list((await store.claim(fallback, 1)).claims)
        assert [] == list((await store.claim(second, 1)).claims)
        await store.retire_worker(own.id)
        await store.serve_unserved_engine_queues(fallback)
        await store.serve_unserved_engine_queues(second)

        assert 1 == len((await store.claim(fallback, 1)).claims)

    async def test_a_plain_template_creates_no_engine_queue(self, store: Store) -> None:
        await register_and_create_task(store, make_template("graph", a=""))

        assert ENGINE not in {queue.handler for queue in await store.list_queues()}

    async def test_outcomes_of_parents_are_loaded_with_step_results(self, store: Store) -> None:
        template = with_allowed_failures(make_template("graph", a="", b="", c="", d="a b c"), "a")
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        claims = await claim_due_steps_by_name(store, worker, task_id)
        await worker.fail(claims["a"])
        await worker.settle(skipped_outcome(claims["b"], REASON))

        rows = {row.no: row for row in await store.load_step_results({task_id: [1, 2, 3]})}

        assert {1, 2} == set(rows)
        assert StepStatus.ERROR == list(StepStatus)[rows[1].state]
        assert codec.loads(ERROR) == codec.loads(rows[1].error or "null")
        assert StepStatus.SKIPPED == list(StepStatus)[rows[2].state]
