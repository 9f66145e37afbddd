"""Tasks with many steps, which actions change in several transactions and readers count in part."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from tasker import limits
from tasker.errors import ChildrenAlreadyRan, NotFound, WrongStatus
from tasker.model import (
    CompensateSpec,
    Compensation,
    JsonText,
    PauseTarget,
    StepCounts,
    StepStatus,
    TaskFilter,
    TaskId,
    TaskStatus,
    Template,
    TriggerRule,
    released_outcome,
)
from tasker.store.operations import pausing, retrying, stopping, tasks
from tasker.store.operations.operators import Operators
from tasker.store.protocol import Store
from tasker.testing.store_suite.arrivals import with_trigger_rules
from tasker.testing.store_suite.factories import (
    ACT,
    ManualWorker,
    StoreTests,
    create_task,
    fan_template,
    make_template,
    one_step_template,
    register_and_create_task,
    register_template,
)
from tasker.testing.store_suite.spawning import (
    create_task_and_claim_spawner,
    make_instances,
    map_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest

WIDE = fan_template(7)
HANDLED = with_trigger_rules(
    make_template("handled", a="", b="", c="", handled="", after="handled"),
    after=TriggerRule.ALL_DONE,
)


def fan_template_with_compensation() -> Template:
    """Make a fan whose first step can be undone."""
    first, *others = WIDE.steps
    undo = replace(first, compensate=CompensateSpec(callable="undo"))
    return replace(WIDE, compensation=Compensation(on=("cancelled",)), steps=(undo, *others))


async def read_distinct_step_statuses(store: Store, task_id: TaskId) -> set[StepStatus]:
    return {step.status for step in await store.list_steps(task_id)}


async def count_failed_and_enqueued(store: Store, task_id: TaskId) -> tuple[int, int]:
    """Count the failed and the enqueued steps of a task."""
    counts = (await store.get_task(task_id)).counts
    return counts.error, counts.enqueued


async def create_child_of_cancelled_task(
    store: Store, template: Template
) -> tuple[ManualWorker, TaskId]:
    """Complete the first step of a task, and cancel its parent.

    The remaining steps of the task are left to a sweep, as if the cancelling process had died.
    """
    parent = await register_and_create_task(store, one_step_template())
    idle = await ManualWorker.register(store, handlers=["only"])
    child = await create_task(
        store, await register_template(store, template), parent_id=parent, attached=True
    )
    worker = await ManualWorker.register(store, handlers=["start", "between", "end", "undo"])
    await worker.complete(await worker.claim_one())
    await store.cancel_task(parent, ACT)
    assert [] == await idle.claim()
    return worker, child


class TestEndingInPages(StoreTests):
    @pytest.fixture(autouse=True)
    def two_steps_per_transaction(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let a transaction end at most two steps."""
        monkeypatch.setattr(stopping, "PAGE", 2)

    async def test_cancelling_ends_all_steps(self, store: Store) -> None:
        """This includes steps in progress, in every page."""
        task_id = await register_and_create_task(store, WIDE)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        claims = await worker.claim(4)

        task = await store.cancel_task(task_id, ACT)

        assert TaskStatus.CANCELLED is task.status
        assert {StepStatus.COMPLETE, StepStatus.CANCELLED} == await read_distinct_step_statuses(
            store, task_id
        )
        assert claims == await store.renew_lease(worker.id, claims, lease=timedelta(seconds=30))
        assert [] == await worker.claim()
        assert 4 == len(
            [one for one in await store.list_attempts(task_id) if one.outcome == "cancelled"]
        )
        with pytest.raises(WrongStatus):
            await store.cancel_task(task_id, ACT)

    async def test_resolving_skips_all_pending_steps(self, store: Store) -> None:
        task_id = await register_and_create_task(store, WIDE)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        await worker.fail(*await worker.claim())

        await store.resolve_task(task_id, ACT)

        assert StepStatus.SKIPPED in await read_distinct_step_statuses(store, task_id)
        assert StepStatus.PENDING not in await read_distinct_step_statuses(store, task_id)

    async def test_a_sweep_ends_the_remaining_steps_of_an_ended_task(self, store: Store) -> None:
        worker, child = await create_child_of_cancelled_task(store, WIDE)

        task = await store.get_task(child)
        assert TaskStatus.CANCELLED is task.status
        assert {"cancelled": 2, "enqueued": 5, "pending": 1} == {
            "cancelled": task.counts.cancelled,
            "enqueued": task.counts.enqueued,
            "pending": task.counts.pending,
        }
        assert [] == list(await store.end_overdue_and_failed_tasks())

        assert {StepStatus.COMPLETE, StepStatus.CANCELLED} == await read_distinct_step_statuses(
            store, child
        )
        assert [] == await worker.claim()

    async def test_a_step_of_an_ended_task_may_settle_until_its_page_is_ended(
        self, store: Store
    ) -> None:
        worker, child = await create_child_of_cancelled_task(store, WIDE)
        settled, lost = await worker.claim(2)

        assert not (await worker.complete(settled)).rejected
        await store.end_overdue_and_failed_tasks()

        assert [0] == list((await worker.complete(lost)).rejected)
        assert TaskStatus.CANCELLED is (await store.get_task(child)).status
        assert 2 == (await store.get_task(child)).counts.complete

    async def test_running_attempts_end_with_their_task(self, store: Store) -> None:
        """The first transaction ends them, before the pages that follow."""
        parent = await register_and_create_task(store, one_step_template())
        child = await create_task(
            store, await register_template(store, WIDE), parent_id=parent, attached=True
        )
        worker = await ManualWorker.register(store, handlers=["start", "between"])
        await worker.complete(await worker.claim_one())
        claims = await worker.claim()

        await store.cancel_task(parent, ACT)

        assert [*range(7)] == sorted((await worker.complete(*claims)).rejected)
        assert 1 == (await store.get_task(child)).counts.pending

    async def test_compensation_begins_after_the_last_page(self, store: Store) -> None:
        """Steps in progress may end in the meantime without starting the compensation."""
        worker, child = await create_child_of_cancelled_task(
            store, fan_template_with_compensation()
        )
        await worker.complete(*await worker.claim(1))
        assert [] == [step for step in await store.list_steps(child) if step.undoes is not None]

        await store.end_overdue_and_failed_tasks()

        task = await store.get_task(child)
        assert (TaskStatus.IN_PROGRESS, 1) == (task.status, task.counts.enqueued)
        planners = [
            step.undoes for step in await store.list_steps(child) if step.undoes is not None
        ]
        assert [0] == planners

    async def test_a_sweep_leaves_the_steps_of_an_open_task(self, store: Store) -> None:
        worker, child = await create_child_of_cancelled_task(
            store, fan_template_with_compensation()
        )
        await worker.fail(*await worker.claim(1))

        await store.retry_steps(child, ACT)
        await store.end_overdue_and_failed_tasks()

        assert 7 == len(await worker.claim())
        assert 0 == (await store.get_task(child)).counts.cancelled

    async def test_a_task_is_pruned_after_all_its_steps_have_ended(self, store: Store) -> None:
        _, child = await create_child_of_cancelled_task(store, WIDE)
        later = store.clock.now() + timedelta(minutes=1)

        assert (1, 1) == (
            await store.count_prunable_tasks(ended_before=later),
            await store.prune_tasks(ended_before=later),
        )
        await store.end_overdue_and_failed_tasks()

        assert 1 == await store.prune_tasks(ended_before=later)
        assert {child} == await store.find_ended_tasks([child])


class ProcessDied(Exception):
    """Simulates the death of a process between two pages of an action."""


@contextmanager
def fail_after_first_page() -> Iterator[None]:
    """Let an action fail after its first page, as if its process had died."""

    async def raise_process_died(_: Operators, task_id: TaskId) -> None:
        raise ProcessDied(task_id)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(ProcessDied):
        patch.setattr(Operators, "_finish_actions", raise_process_died)
        yield


class TestActionsInPages(StoreTests):
    @pytest.fixture(autouse=True)
    def two_steps_per_transaction(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let a transaction change at most two steps."""
        for module in (pausing, retrying, stopping):
            monkeypatch.setattr(module, "PAGE", 2)

    async def test_pausing_takes_all_steps_out_of_their_queues(self, store: Store) -> None:
        """Resuming puts the steps back."""
        task_id = await register_and_create_task(store, WIDE)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        (claim,) = await worker.claim(1)
        target = PauseTarget.of_task(task_id)

        await store.pause(target, ACT)
        await worker.settle(released_outcome(claim))
        during = await worker.claim()
        await store.resume(target, ACT)

        assert [] == during
        assert {3, 4, 5, 6, 7, 8, claim.no} == {claim.no for claim in await worker.claim()}

    async def test_a_sweep_pauses_and_resumes_the_remaining_steps(self, store: Store) -> None:
        """It completes the latest action."""
        task_id = await register_and_create_task(store, WIDE)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        target = PauseTarget.of_task(task_id)
        with fail_after_first_page():
            await store.pause(target, ACT)
        between = await worker.claim(1)

        await store.end_overdue_and_failed_tasks()

        assert 1 == len(between)
        assert [] == await worker.claim()
        with fail_after_first_page():
            await store.resume(target, ACT)
        assert 2 == len(await worker.claim())
        await store.end_overdue_and_failed_tasks()
        assert 4 == len(await worker.claim())  # beside the one that is in progress

    async def test_resuming_ends_a_pause_that_has_pages_left(self, store: Store) -> None:
        task_id = await register_and_create_task(store, WIDE)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        target = PauseTarget.of_task(task_id)
        with fail_after_first_page():
            await store.pause(target, ACT)

        await store.resume(target, ACT)
        await store.end_overdue_and_failed_tasks()

        assert 7 == len(await worker.claim())

    @pytest.mark.parametrize("way", ["failed", "overdue"])
    async def test_nothing_runs_before_all_steps_are_retried(
        self, store: Store, subject: StoreUnderTest, way: str
    ) -> None:
        """A step that ran earlier would not free its children; a sweep retries the rest."""
        task_id = await register_and_create_task(store, WIDE, deadline=timedelta(hours=1))
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        if way == "failed":
            await worker.fail(*await worker.claim())
        else:
            await subject.advance(timedelta(hours=2))
            await store.end_overdue_and_failed_tasks()
        assert TaskStatus.ERROR is (await store.get_task(task_id)).status

        with fail_after_first_page():
            await store.retry_steps(task_id, ACT)
        between = await worker.claim()
        open_again = await store.get_task(task_id)
        await store.end_overdue_and_failed_tasks()

        assert [] == between
        assert TaskStatus.IN_PROGRESS is open_again.status
        await worker.complete(*await worker.claim(7))
        await worker.complete(await worker.claim_one())
        assert TaskStatus.COMPLETE is (await store.get_task(task_id)).status
        actions = ["retry"] * 7 if way == "failed" else ["retry"]
        assert actions == [entry.action for entry in await store.list_audit_entries(task_id)]

    async def test_the_given_steps_are_retried_in_pages(self, store: Store) -> None:
        """No other steps are retried; a sweep retries those of the later pages."""
        task_id = await register_and_create_task(store, WIDE)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        await worker.fail(*await worker.claim())

        with fail_after_first_page():
            await store.retry_steps(task_id, ACT, steps=[8, 2, 3, 5, 3])
        between = await worker.claim()
        await store.end_overdue_and_failed_tasks()

        assert [] == between
        assert [2, 3, 5, 8] == sorted(claim.no for claim in await worker.claim())
        assert 4 == len(await store.list_audit_entries(task_id))

    @pytest.mark.parametrize("last", [8, 9, 10])
    async def test_a_retry_that_names_an_invalid_step_changes_nothing(
        self, store: Store, last: int
    ) -> None:
        """The invalid step, which has not failed or does not exist, is in a later page."""
        task_id = await register_and_create_task(store, WIDE)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        claims = sorted(await worker.claim())
        await worker.complete(claims.pop())
        await worker.fail(*claims)

        with pytest.raises(NotFound if last == 10 else WrongStatus):
            await store.retry_steps(task_id, ACT, steps=[2, 3, 4, last])

        assert (6, 0) == await count_failed_and_enqueued(store, task_id)
        assert [] == await store.list_audit_entries(task_id)

    async def test_a_retry_of_a_handled_failure_changes_nothing(self, store: Store) -> None:
        """The step that handles it has started; the other failed steps can still be retried."""
        task_id = await register_and_create_task(store, HANDLED)
        worker = await ManualWorker.register(store)
        await worker.fail(*await worker.claim())
        assert 5 == (await worker.claim_one()).no

        with pytest.raises(ChildrenAlreadyRan, match="cannot retry step handled"):
            await store.retry_steps(task_id, ACT, steps=[1, 2, 3, 4])

        assert (4, 0) == await count_failed_and_enqueued(store, task_id)
        await store.retry_steps(task_id, ACT)
        assert (1, 3) == await count_failed_and_enqueued(store, task_id)

    async def test_resolving_a_step_revives_all_steps_of_an_overdue_task(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """None runs before all are revived, so that no step ends before its child waits for it."""
        task_id = await register_and_create_task(store, WIDE, deadline=timedelta(hours=1))
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        (failing,) = await worker.claim(1)
        await worker.fail(failing)
        await subject.advance(timedelta(hours=2))
        await store.end_overdue_and_failed_tasks()
        assert 7 == (await store.get_task(task_id)).counts.cancelled

        with fail_after_first_page():
            await store.resolve_step(task_id, failing.no, JsonText("1"), ACT)
        between = await worker.claim()
        await store.end_overdue_and_failed_tasks()

        assert [] == between
        await worker.complete(*await worker.claim(6))
        assert 9 == (await worker.claim_one()).no

    async def test_a_step_can_be_resolved_between_the_pages_of_a_retry(self, store: Store) -> None:
        task_id = await register_and_create_task(store, WIDE)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        await worker.fail(*await worker.claim())
        with fail_after_first_page():
            await store.retry_steps(task_id, ACT)

        with fail_after_first_page():
            await store.resolve_step(task_id, 8, JsonText("1"), ACT)
        assert [] == await worker.claim()
        await store.end_overdue_and_failed_tasks()

        await worker.complete(*await worker.claim(6))
        await worker.complete(await worker.claim_one())
        assert TaskStatus.COMPLETE is (await store.get_task(task_id)).status

    async def test_a_retried_task_that_is_paused_stays_paused(self, store: Store) -> None:
        """This also holds if it is paused or resumed between two pages."""
        task_id = await register_and_create_task(store, WIDE)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        await worker.fail(*await worker.claim())
        target = PauseTarget.of_task(task_id)
        with fail_after_first_page():
            await store.retry_steps(task_id, ACT)
        with fail_after_first_page():
            await store.pause(target, ACT)
        with fail_after_first_page():
            await store.resume(target, ACT)
        between = await worker.claim()
        with fail_after_first_page():
            await store.pause(target, ACT)
        await store.end_overdue_and_failed_tasks()

        assert [] == between == await worker.claim()
        await store.resume(target, ACT)
        assert 7 == len(await worker.claim())

    async def test_a_task_that_is_cancelled_between_two_pages_of_a_retry_ends(
        self, store: Store
    ) -> None:
        task_id = await register_and_create_task(store, WIDE)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        await worker.fail(*await worker.claim())
        with fail_after_first_page():
            await store.retry_steps(task_id, ACT)

        await store.cancel_task(task_id, ACT)
        await store.end_overdue_and_failed_tasks()

        assert {
            StepStatus.COMPLETE,
            StepStatus.CANCELLED,
            StepStatus.ERROR,
        } == await read_distinct_step_statuses(store, task_id)
        assert [] == await worker.claim()


class TestReadingManySteps(StoreTests):
    @pytest.fixture(autouse=True)
    def small_page_limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Limit the counted steps of a task to four, and to three in lists."""
        monkeypatch.setattr(limits, "STEPS_PAGE", 4)
        monkeypatch.setattr(tasks, "COUNTED_IN_LISTS", 3)

    async def test_counts_of_a_large_task_cover_only_its_first_steps(self, store: Store) -> None:
        task_id = await register_and_create_task(store, WIDE)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        await worker.complete(*await worker.claim())

        (listed,) = await store.list_tasks(TaskFilter())
        task = await store.get_task(task_id)

        assert StepCounts(complete=4, uncounted=5) == task.counts
        assert StepCounts(complete=3, uncounted=6) == listed.counts
        assert 9 == task.counts.total == listed.counts.total
        assert [1, 2, 3, 4] == sorted(one.no for one in await store.list_attempts(task_id))
        assert [8] == [one.no for one in await store.list_attempts(task_id, no=8)]

    async def test_a_claim_of_any_step_puts_its_task_in_progress(self, store: Store) -> None:
        await register_and_create_task(store, make_template(a="", b="", c="", d="", e="", late=""))
        worker = await ManualWorker.register(store, handlers=["late"])
        await worker.claim_one()

        (listed,) = await store.list_tasks(TaskFilter())
        assert TaskStatus.IN_PROGRESS is listed.status

    async def test_the_end_of_an_instance_changes_the_etag(self, store: Store) -> None:
        """This includes instances beyond the counted steps."""
        worker, spawner = await create_task_and_claim_spawner(store, map_template())
        await store.spawn_instances(spawner, make_instances(["1", "2"]))
        claims = await worker.claim()
        before = await store.get_task(spawner.task_id)

        await worker.complete(claims[1])

        assert before.etag != (await store.get_task(spawner.task_id)).etag

    async def test_unfinished_steps_are_listed(self, store: Store) -> None:
        """These are the failed steps and the steps that have not ended."""
        task_id = await register_and_create_task(store, fan_template(3))
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        first, second, _ = await worker.claim()
        await worker.complete(first)
        await worker.fail(second)

        steps = await store.list_steps(task_id, unfinished=True)

        assert [second.no, 4, 5] == [step.no for step in steps]
        assert [4] == [
            step.no for step in await store.list_steps(task_id, after=3, limit=1, unfinished=True)
        ]
