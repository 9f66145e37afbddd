"""Compensation: undoing the completed steps of failed and cancelled tasks."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tasker.engine.compensating import plan_compensating_steps
from tasker.errors import CompensationStarted
from tasker.graph import Graph
from tasker.model import (
    Claim,
    CompensateSpec,
    Compensation,
    CompensationStatus,
    JsonText,
    PauseTarget,
    RuntimeStep,
    Settlement,
    StepSpec,
    TaskFilter,
    TaskId,
    TaskStatus,
    Template,
    TriggerRule,
    UnsuccessfulEndName,
    completed_outcome,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    ManualWorker,
    StoreTests,
    register_and_create_task,
    statuses_by_name,
    steps_by_name,
)
from tasker.testing.store_suite.spawning import make_instances, map_template
from tasker.testing.store_suite.subject import StoreUnderTest

UNDO = CompensateSpec(callable="undo")


def trip_template(compensation: Compensation | None = None) -> Template:
    """Make the template flight > hotel > pay, in which `flight` and `hotel` can be undone."""
    return Template(
        namespace="suite",
        name="trip",
        version="1.0.0",
        compensation=compensation or Compensation(),
        steps=(
            StepSpec(name="flight", compensate=UNDO),
            StepSpec(name="hotel", dependencies=("flight",), compensate=UNDO),
            StepSpec(name="pay", dependencies=("hotel",)),
        ),
    )


async def plan_and_add_compensating_steps(store: Store, claim: Claim, template: Template) -> int:
    """Plan and add the compensating steps, as the planning step does, and return their number."""
    graph = Graph(template)
    nodes = graph.layout.undone_node_by_compensating_node.values()
    steps = plan_compensating_steps(
        graph, await store.list_completed_steps_of_nodes(claim.task_id, list(nodes))
    )
    keep_going = template.compensation.keep_going
    assert await store.add_compensating_steps(claim, steps, len(steps), keep_going=keep_going)
    return len(steps)


async def run_planning_step(store: Store, worker: ManualWorker, template: Template) -> int:
    """Claim and complete the planning step, and return the number of steps that it adds."""
    claim = await worker.claim_one()
    count = await plan_and_add_compensating_steps(store, claim, template)
    await worker.complete(claim)
    return count


async def run_trip_until_failure(
    store: Store, template: Template, completed: int = 2
) -> tuple[ManualWorker, TaskId]:
    """Create a trip, complete its first `completed` steps, and let the next one fail."""
    task_id = await register_and_create_task(store, template)
    worker = await ManualWorker.register(store)
    for _ in range(completed):
        await worker.complete(await worker.claim_one())
    await worker.fail(await worker.claim_one())
    return worker, task_id


async def read_task_and_compensation_status(
    store: Store, task_id: TaskId
) -> tuple[TaskStatus, CompensationStatus | None]:
    task = await store.get_task(task_id)
    return task.status, task.compensation


async def list_matching_compensation_filters(
    store: Store, task_id: TaskId
) -> list[CompensationStatus]:
    """List the compensation statuses by which a task is found."""
    return [
        state
        for state in CompensationStatus
        for task in await store.list_tasks(TaskFilter(compensation=state))
        if task.id == task_id
    ]


RUNNING = (TaskStatus.IN_PROGRESS, CompensationStatus.RUNNING)
UNDONE = (TaskStatus.ERROR, CompensationStatus.COMPLETE)
INCOMPLETE = (TaskStatus.ERROR, CompensationStatus.INCOMPLETE)


class TestCompensation(StoreTests):
    async def test_completed_steps_are_undone_in_reverse_order(self, store: Store) -> None:
        """The task then ends with its original error."""
        worker, task_id = await run_trip_until_failure(store, trip_template())

        assert await read_task_and_compensation_status(store, task_id) == RUNNING
        assert 2 == await run_planning_step(store, worker, trip_template())
        names = []
        while claims := await worker.claim():
            steps = {step.no: step for step in await store.list_steps(task_id)}
            names += [(steps[claim.no].name, steps[claim.no].undoes) for claim in claims]
            assert await read_task_and_compensation_status(store, task_id) == RUNNING
            await worker.complete(*claims)

        assert [("hotel.compensation", 2), ("flight.compensation", 1)] == names
        assert await read_task_and_compensation_status(store, task_id) == UNDONE
        error = (await store.get_task(task_id)).error
        assert error == {"message": "step 'pay' failed: it broke", "steps": ["pay"]}

    async def test_a_settlement_reports_the_end_of_a_compensated_task(self, store: Store) -> None:
        worker, task_id = await run_trip_until_failure(store, trip_template(), completed=1)
        await run_planning_step(store, worker, trip_template())

        settled = await worker.complete(await worker.claim_one())

        assert [(task_id, TaskStatus.ERROR)] == [tuple(end) for end in settled.ended]

    @pytest.mark.parametrize("on", [("error", "cancelled"), ("cancelled",)])
    async def test_steps_that_did_not_complete_are_not_undone(
        self, store: Store, on: Sequence[UnsuccessfulEndName]
    ) -> None:
        """Nor are any steps if the template declares no compensation for failed tasks."""
        template = trip_template(Compensation(on=on))
        _, task_id = await run_trip_until_failure(store, template, completed=2 * (len(on) == 1))

        assert await read_task_and_compensation_status(store, task_id) == (TaskStatus.ERROR, None)

    async def test_remaining_steps_run_before_compensation_starts(self, store: Store) -> None:
        """The remaining steps run as in any task with a failed step."""
        apart = replace(
            trip_template(), steps=(*trip_template().steps, StepSpec(name="apart", compensate=UNDO))
        )
        task_id = await register_and_create_task(store, apart)
        worker = await ManualWorker.register(store)
        first, other = sorted(await worker.claim())

        await worker.complete(first)
        await worker.fail(await worker.claim_one())

        assert await read_task_and_compensation_status(store, task_id) == (
            TaskStatus.IN_PROGRESS,
            None,
        )
        await worker.complete(other)
        assert 2 == await run_planning_step(store, worker, apart)

    async def test_instances_are_undone_one_by_one(self, store: Store) -> None:
        """Each compensating step receives the input of its instance."""
        body = replace(StepSpec(name="fetch"), compensate=UNDO)
        template = map_template(body)
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        spawner = await worker.claim_one()
        await store.spawn_instances(spawner, make_instances(["1", "2", "3"]))
        await worker.complete(spawner)
        first, second, third = sorted(await worker.claim())
        await worker.complete(first, third)
        await worker.fail(second)

        assert 2 == await run_planning_step(store, worker, template)

        steps = await steps_by_name(store, task_id)
        undo = steps["work[2].fetch.compensation"]
        assert (third.no, 2, 2) == (undo.undoes, undo.spawned_by, undo.instance)
        assert [
            RuntimeStep(task_id, undo.no, undo.template_node, 2, 2, JsonText("3"), third.no)
        ] == await store.load_runtime_steps({task_id: [undo.no]})
        assert "work[1].fetch.compensation" not in steps
        await worker.complete_all_due()
        assert await read_task_and_compensation_status(store, task_id) == UNDONE

    async def test_adding_compensating_steps_again_changes_nothing(self, store: Store) -> None:
        """An attempt that lost its claim adds none either."""
        worker, task_id = await run_trip_until_failure(store, trip_template())
        claim = await worker.claim_one()
        await plan_and_add_compensating_steps(store, claim, trip_template())
        before = await statuses_by_name(store, task_id)

        await plan_and_add_compensating_steps(store, claim, trip_template())
        lost = claim._replace(attempt=claim.attempt + 1)
        assert not await store.add_compensating_steps(lost, [], 0, keep_going=True)

        assert before == await statuses_by_name(store, task_id)

    async def test_a_paused_task_is_compensated_after_it_is_resumed(self, store: Store) -> None:
        task_id = await register_and_create_task(store, trip_template())
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        claim = await worker.claim_one()
        await store.pause(PauseTarget.of_task(task_id), ACT)
        await worker.fail(claim)

        assert [] == await worker.claim()
        await store.resume(PauseTarget.of_task(task_id), ACT)
        assert 1 == await run_planning_step(store, worker, trip_template())


class TestCompensationOfCancelledTasks(StoreTests):
    async def test_a_cancelled_task_ends_after_its_steps_are_undone(self, store: Store) -> None:
        task_id = await register_and_create_task(store, trip_template())
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())

        await store.cancel_task(task_id, ACT)

        assert await read_task_and_compensation_status(store, task_id) == RUNNING
        states = await statuses_by_name(store, task_id)
        assert ("cancelled", "cancelled") == (states["hotel"], states["pay"])
        assert 1 == await run_planning_step(store, worker, trip_template())
        await worker.complete_all_due()
        task = await store.get_task(task_id)
        assert (TaskStatus.CANCELLED, CompensationStatus.COMPLETE, None) == (
            task.status,
            task.compensation,
            task.error,
        )

    async def test_a_step_that_completes_after_the_cancellation_is_undone_too(
        self, store: Store
    ) -> None:
        """Its completion neither completes the task nor frees a step."""
        template = replace(trip_template(), steps=trip_template().steps[:2])
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        last = await worker.claim_one()

        await store.cancel_task(task_id, ACT)

        assert [] == await worker.claim()
        await worker.complete(last)
        assert await read_task_and_compensation_status(store, task_id) == RUNNING
        assert 2 == await run_planning_step(store, worker, template)

    async def test_a_step_of_a_cancelled_task_gets_no_further_attempt(self, store: Store) -> None:
        task_id = await register_and_create_task(store, trip_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        await store.cancel_task(task_id, ACT)

        await worker.fail_with_retry(claim)

        assert [] == await worker.claim()
        assert TaskStatus.CANCELLED == (await store.get_task(task_id)).status

    @pytest.mark.parametrize("grouped", [False, True])
    async def test_a_step_that_completes_after_the_cancellation_stays_complete_in_a_retry(
        self, store: Store, *, grouped: bool
    ) -> None:
        """The retry ends the compensation, and the cancelled steps run."""
        task_id = await register_and_create_task(store, trip_template())
        worker = await ManualWorker.register(store)
        flight = await worker.claim_one()
        await store.cancel_task(task_id, ACT)
        if grouped:
            await store.settle_for_workers(
                [Settlement(worker.id, [completed_outcome(flight, JsonText("1"))], 0)]
            )
        else:
            await worker.complete(flight)

        await store.retry_steps(task_id, ACT)

        assert {
            "flight": "complete",
            "hotel": "enqueued",
            "pay": "pending",
        } == await statuses_by_name(store, task_id)
        assert 2 == await worker.complete_all_due()
        assert await read_task_and_compensation_status(store, task_id) == (
            TaskStatus.COMPLETE,
            None,
        )

    async def test_retrying_a_step_withdraws_its_failure_from_cancelled_children(
        self, store: Store
    ) -> None:
        """A child of the retried step and of another step runs once, after both."""
        steps = (
            StepSpec(name="flight", compensate=UNDO),
            StepSpec(name="car"),
            StepSpec(name="hotel"),
            StepSpec(name="report", dependencies=("car", "hotel"), trigger=TriggerRule.ALL_DONE),
            StepSpec(name="drive", dependencies=("car",)),
        )
        task_id = await register_and_create_task(store, replace(trip_template(), steps=steps))
        worker = await ManualWorker.register(store)
        flight, car, hotel = sorted(await worker.claim())
        await worker.fail(car)
        await store.cancel_task(task_id, ACT)

        await store.retry_steps(task_id, ACT, steps=[car.no])
        await worker.complete(await worker.claim_one(), flight)

        assert "pending" == (await statuses_by_name(store, task_id))["report"]
        await worker.complete(hotel)
        await worker.complete_all_due()
        assert await read_task_and_compensation_status(store, task_id) == (
            TaskStatus.COMPLETE,
            None,
        )

    async def test_a_task_whose_compensation_has_started_cannot_be_cancelled(
        self, store: Store
    ) -> None:
        worker, task_id = await run_trip_until_failure(store, trip_template())

        with pytest.raises(CompensationStarted, match="cannot cancel task"):
            await store.cancel_task(task_id, ACT)

        assert 2 == await run_planning_step(store, worker, trip_template())

    async def test_a_task_past_its_deadline_is_compensated(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """It is compensated once, and its error still names the deadline."""
        task_id = await register_and_create_task(
            store, trip_template(), deadline=timedelta(seconds=10)
        )
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        await subject.advance(timedelta(seconds=11))

        assert [] == list(await store.end_overdue_and_failed_tasks())
        assert [] == list(await store.end_overdue_and_failed_tasks())

        assert 1 == await run_planning_step(store, worker, trip_template())
        await worker.complete_all_due()
        task = await store.get_task(task_id)
        assert (TaskStatus.ERROR, "deadline_exceeded") == (task.status, (task.error or {})["code"])


class TestFailedCompensation(StoreTests):
    @pytest.mark.parametrize("keep_going", [True, False])
    async def test_a_failure_leaves_the_compensation_incomplete(
        self, store: Store, *, keep_going: bool
    ) -> None:
        """The remaining steps are undone if the template sets `keep_going`; a retry continues."""
        template = trip_template(Compensation(keep_going=keep_going))
        task_id = await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)
        for _ in range(2):
            await worker.complete(await worker.claim_one())
        await store.cancel_task(task_id, ACT)
        await run_planning_step(store, worker, template)

        await worker.fail(await worker.claim_one())
        assert int(keep_going) == await worker.complete_all_due()

        assert await read_task_and_compensation_status(store, task_id) == INCOMPLETE
        assert [CompensationStatus.INCOMPLETE] == await list_matching_compensation_filters(
            store, task_id
        )
        message = "step 'hotel.compensation' failed: it broke"
        error = (await store.get_task(task_id)).error
        assert error == {"message": message, "steps": ["hotel.compensation"]}
        await store.retry_steps(task_id, ACT)
        assert await read_task_and_compensation_status(store, task_id) == RUNNING
        assert [CompensationStatus.RUNNING] == await list_matching_compensation_filters(
            store, task_id
        )
        assert 2 - keep_going == await worker.complete_all_due()
        assert await read_task_and_compensation_status(store, task_id) == (
            TaskStatus.CANCELLED,
            CompensationStatus.COMPLETE,
        )
        assert [CompensationStatus.COMPLETE] == await list_matching_compensation_filters(
            store, task_id
        )

    async def test_resolving_a_failed_compensating_step_completes_the_compensation(
        self, store: Store
    ) -> None:
        worker, task_id = await run_trip_until_failure(store, trip_template(), completed=1)
        await run_planning_step(store, worker, trip_template())
        claim = await worker.claim_one()
        await worker.fail(claim)
        assert await read_task_and_compensation_status(store, task_id) == INCOMPLETE

        await store.resolve_step(task_id, claim.no, None, ACT)

        assert await read_task_and_compensation_status(store, task_id) == UNDONE

    async def test_resolving_the_planning_step_ends_the_compensation(self, store: Store) -> None:
        """The operator who resolves it has undone the steps manually."""
        worker, task_id = await run_trip_until_failure(
            store, trip_template(Compensation(hold=timedelta(minutes=15)))
        )
        planner = max(step.no for step in await store.list_steps(task_id))

        await store.resolve_step(task_id, planner, None, ACT)

        assert await read_task_and_compensation_status(store, task_id) == UNDONE
        assert [] == await worker.claim()

    async def test_only_compensating_steps_can_be_retried_and_resolved(self, store: Store) -> None:
        """Actions on other steps of the task are rejected."""
        worker, task_id = await run_trip_until_failure(store, trip_template())
        await worker.claim_one()

        for act in (
            store.retry_steps(task_id, ACT),
            store.retry_steps(task_id, ACT, steps=[3]),
            store.resolve_step(task_id, 3, None, ACT),
        ):
            with pytest.raises(
                CompensationStarted, match="Only compensating steps can still be retried"
            ):
                await act

    @pytest.mark.parametrize("resolved", [True, False])
    async def test_a_failed_task_can_be_retried_until_its_first_step_is_undone(
        self, store: Store, subject: StoreUnderTest, *, resolved: bool
    ) -> None:
        """The template's `hold` delays the first compensating step."""
        template = trip_template(Compensation(hold=timedelta(minutes=15)))
        worker, task_id = await run_trip_until_failure(store, template)
        assert [] == await worker.claim()

        if resolved:
            await store.resolve_step(task_id, 3, None, ACT)
        else:
            await store.retry_steps(task_id, ACT)
            await worker.fail(await worker.claim_one())
            await subject.advance(timedelta(minutes=14))
            assert [] == await worker.claim()
            await store.retry_steps(task_id, ACT, steps=[3])
            await worker.complete(await worker.claim_one())

        assert await read_task_and_compensation_status(store, task_id) == (
            TaskStatus.COMPLETE,
            None,
        )
        assert {"flight", "hotel", "pay"} == set(await statuses_by_name(store, task_id))
