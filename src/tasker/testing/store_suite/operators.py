"""Actions of operators: cancelling, retrying, resolving and completing, and their audit entries."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tasker.errors import NotFound, TaskChanged, WrongStatus
from tasker.model import (
    AccessChannel,
    AttemptOutcome,
    JsonText,
    StatusCode,
    StepResult,
    StepStatus,
    Task,
    TaskId,
    TaskStatus,
    completed_outcome,
)
from tasker.store.protocol import AuditNote, StepResolution, Store
from tasker.testing.store_suite.factories import (
    ACT,
    SECOND,
    UNKNOWN_TASK,
    ManualWorker,
    StoreTests,
    chain_template,
    create_and_run_task,
    create_task,
    diamond_template,
    make_template,
    one_step_template,
    register_and_create_task,
    register_template,
    statuses_by_name,
    steps_by_name,
)
from tasker.testing.store_suite.subject import StoreUnderTest

DONE = JsonText('{"by":"hand"}')
Operation = Callable[[Store, TaskId], Awaitable[Task]]
OPERATOR_ACTIONS: dict[str, Operation] = {
    "cancel": lambda store, task_id: store.cancel_task(task_id, ACT),
    "retry": lambda store, task_id: store.retry_steps(task_id, ACT),
    "resolve_step": lambda store, task_id: store.resolve_step(task_id, 1, DONE, ACT),
    "complete_step": lambda store, task_id: store.resolve_step(
        task_id, 1, DONE, ACT, action=StepResolution.COMPLETE
    ),
    "skip": lambda store, task_id: store.resolve_step(
        task_id, 1, None, ACT, action=StepResolution.SKIP
    ),
    "resolve_task": lambda store, task_id: store.resolve_task(task_id, ACT),
}


class TestCancelling(StoreTests):
    async def test_a_cancelled_task_has_ended(self, store: Store) -> None:
        """Its open steps are cancelled, including running attempts."""
        task_id = await register_and_create_task(
            store, make_template("some", a="", b="a", c="a", d="b")
        )
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        await worker.claim(1)

        task = await store.cancel_task(task_id, ACT)

        assert (TaskStatus.CANCELLED, True, None) == (task.status, task.has_ended, task.error)
        assert task.ended_at is not None
        assert {"a": "complete", "b": "cancelled", "c": "cancelled", "d": "cancelled"} == (
            await statuses_by_name(store, task_id)
        )
        assert [] == await worker.claim()
        outcomes = [row.outcome for row in await store.list_attempts(task_id)]
        assert [AttemptOutcome.COMPLETE, AttemptOutcome.CANCELLED] == outcomes

    async def test_a_failing_task_can_be_cancelled(self, store: Store) -> None:
        """Failed steps stay failed, and the task is cancelled."""
        task_id = await register_and_create_task(store, make_template("pair", a="", b=""))
        worker = await ManualWorker.register(store)
        await worker.fail((await worker.claim(1))[0])

        task = await store.cancel_task(task_id, ACT)

        assert TaskStatus.CANCELLED == task.status
        assert ["cancelled", "error"] == sorted((await statuses_by_name(store, task_id)).values())
        assert [] == await store.end_overdue_and_failed_tasks()

    async def test_a_cancelled_task_stays_cancelled(self, store: Store) -> None:
        """No action can reopen it."""
        task_id = await register_and_create_task(store, one_step_template())
        await store.cancel_task(task_id, ACT)

        for action in OPERATOR_ACTIONS.values():
            with pytest.raises(WrongStatus, match="cancelled"):
                await action(store, task_id)

    async def test_an_ended_task_cannot_be_cancelled(self, store: Store) -> None:
        """This holds for complete and for failed tasks."""
        for failing in ((), ("only",)):
            task = await create_and_run_task(store, one_step_template(), failing=failing)
            with pytest.raises(WrongStatus) as rejection:
                await store.cancel_task(task.id, ACT)
            assert task.status == rejection.value.status
            assert task == await store.get_task(task.id)


class TestRetrying(StoreTests):
    async def test_a_failed_task_can_be_retried(self, store: Store) -> None:
        """Its failed steps are enqueued with all their attempts, and it can complete."""
        task = await create_and_run_task(store, diamond_template(), failing=("b", "c"))
        worker = await ManualWorker.register(store)

        reopened = await store.retry_steps(task.id, ACT)

        assert (TaskStatus.IN_PROGRESS, None, None) == (
            reopened.status,
            reopened.ended_at,
            reopened.error,
        )
        claims = await worker.claim()
        assert {(2, 2, 1), (3, 2, 1)} == {claim[1:4] for claim in claims}
        await worker.complete(*claims)
        ended = (await worker.complete(await worker.claim_one())).ended
        assert [(task.id, TaskStatus.COMPLETE)] == list(ended)

    async def test_one_of_several_failed_steps_can_be_retried(self, store: Store) -> None:
        """Because of the other failures, the task ends in error when the retried step is done."""
        task = await create_and_run_task(
            store, make_template("pair", a="", b=""), failing=("a", "b")
        )
        worker = await ManualWorker.register(store)

        await store.retry_steps(task.id, ACT, steps=[2])
        settled = await worker.complete(await worker.claim_one())

        assert [(task.id, TaskStatus.ERROR)] == list(settled.ended)
        assert {"a": "error", "b": "complete"} == await statuses_by_name(store, task.id)
        error = (await store.get_task(task.id)).error
        assert {"message": "step 'a' failed: it broke", "steps": ["a"]} == error

    async def test_a_retry_may_keep_the_count_of_tries(self, store: Store) -> None:
        """The next attempt then follows the given number of counted attempts."""
        task = await create_and_run_task(store, one_step_template(), failing=("only",))
        worker = await ManualWorker.register(store)

        await store.retry_steps(task.id, ACT, counted_attempts={1: 2})

        assert (2, 3) == (await worker.claim_one())[2:4]

    async def test_a_step_of_an_open_task_can_be_retried(self, store: Store) -> None:
        """The operator need not wait until the task has ended."""
        task_id = await register_and_create_task(store, make_template("pair", a="", b=""))
        worker = await ManualWorker.register(store)
        claims = {claim.no: claim for claim in await worker.claim()}
        await worker.fail(claims[1])

        await store.retry_steps(task_id, ACT, steps=[1])
        await worker.complete(claims[2])
        ended = (await worker.complete(await worker.claim_one())).ended

        assert [(task_id, TaskStatus.COMPLETE)] == list(ended)

    async def test_only_failed_steps_can_be_retried(self, store: Store) -> None:
        """The error has step, status and action; no step is changed."""
        task = await create_and_run_task(
            store, make_template("some", a="", b="", c="a b"), failing=("a",)
        )
        before = await store.list_steps(task.id)

        for no, name, state in ((2, "b", "complete"), (3, "c", "pending")):
            with pytest.raises(WrongStatus) as rejection:
                await store.retry_steps(task.id, ACT, steps=[1, no])
            assert f"cannot retry step {name}: it is {state}, not error" == str(rejection.value)
            assert ("retry", state, ("error",)) == (
                rejection.value.action,
                rejection.value.status,
                rejection.value.allowed,
            )
        assert before == await store.list_steps(task.id)
        assert task == await store.get_task(task.id)

    async def test_a_complete_task_cannot_be_retried(self, store: Store) -> None:
        task = await create_and_run_task(store, one_step_template())

        with pytest.raises(WrongStatus, match=f"cannot retry task {task.id}: it is complete"):
            await store.retry_steps(task.id, ACT)

    async def test_a_task_without_failed_steps_cannot_be_retried(self, store: Store) -> None:
        """The request is rejected, and no audit entry is stored."""
        task_id = await register_and_create_task(store, one_step_template())

        with pytest.raises(WrongStatus):
            await store.retry_steps(task_id, ACT)

        assert [] == await store.list_audit_entries(task_id)

    async def test_an_overdue_task_can_be_retried(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Steps cancelled by the deadline may run, and the deadline is removed."""
        template = await register_template(store, diamond_template())
        task_id = await create_task(store, template, deadline=SECOND * 10)
        worker = await ManualWorker.register(store)
        await worker.complete(await worker.claim_one())
        await worker.claim(1)
        await subject.advance(SECOND * 11)
        await store.end_overdue_and_failed_tasks()

        reopened = await store.retry_steps(task_id, ACT)

        assert (TaskStatus.IN_PROGRESS, None) == (reopened.status, reopened.deadline)
        assert {"a": "complete", "b": "enqueued", "c": "enqueued", "d": "pending"} == (
            await statuses_by_name(store, task_id)
        )
        assert [] == await store.end_overdue_and_failed_tasks()
        assert 3 == await worker.complete_all_due()
        assert TaskStatus.COMPLETE == (await store.get_task(task_id)).status


class TestResolving(StoreTests):
    @pytest.mark.parametrize(
        ("action", "state", "outcome"),
        [
            (
                StepResolution.RESOLVE,
                StepStatus.RESOLVED_MANUALLY,
                AttemptOutcome.RESOLVED_MANUALLY,
            ),
            (StepResolution.COMPLETE, StepStatus.COMPLETE, AttemptOutcome.COMPLETE),
        ],
    )
    async def test_a_failed_step_can_be_resolved(
        self,
        store: Store,
        action: StepResolution,
        state: StepStatus,
        outcome: AttemptOutcome,
    ) -> None:
        """Its result goes to its children, and the task is open again."""
        task = await create_and_run_task(store, chain_template(), failing=("a",))
        worker = await ManualWorker.register(store)

        reopened = await store.resolve_step(task.id, 1, DONE, ACT, action=action)

        assert TaskStatus.IN_PROGRESS == reopened.status
        step = (await steps_by_name(store, task.id))["a"]
        assert (state, {"by": "hand"}, None) == (step.status, step.result, step.error)
        history = await store.list_attempts(task.id)
        assert [AttemptOutcome.ERROR, outcome] == [row.outcome for row in history]
        (entry,) = await store.list_audit_entries(task.id)
        assert (action, "error", state) == (entry.action, entry.before, entry.after)
        assert 2 == await worker.complete_all_due()
        assert TaskStatus.COMPLETE == (await store.get_task(task.id)).status

    async def test_a_step_can_be_resolved_without_a_result(self, store: Store) -> None:
        task = await create_and_run_task(store, chain_template(), failing=("a",))

        await store.resolve_step(task.id, 1, None, ACT)

        (result,) = await store.load_step_results({task.id: [1]})
        assert StepResult(task.id, 1, None, StatusCode.RESOLVED_MANUALLY) == result
        assert (await steps_by_name(store, task.id))["a"].result is None

    async def test_a_skipped_step_frees_its_children_without_a_result(self, store: Store) -> None:
        """The step counts as resolved manually; the audit log records that it was skipped."""
        task = await create_and_run_task(store, chain_template(), failing=("a",))
        worker = await ManualWorker.register(store)

        await store.resolve_step(task.id, 1, None, ACT, action=StepResolution.SKIP)

        step = (await steps_by_name(store, task.id))["a"]
        assert (StepStatus.RESOLVED_MANUALLY, None, None) == (step.status, step.result, step.error)
        (entry,) = await store.list_audit_entries(task.id)
        assert ("skip", "error", "resolved_manually") == (entry.action, entry.before, entry.after)
        assert 2 == await worker.complete_all_due()
        assert TaskStatus.COMPLETE == (await store.get_task(task.id)).status

    async def test_resolving_the_last_failed_step_completes_the_task(self, store: Store) -> None:
        """It does so immediately if the step is the only sink."""
        task = await create_and_run_task(store, one_step_template(), failing=("only",))

        assert TaskStatus.COMPLETE == (await store.resolve_step(task.id, 1, DONE, ACT)).status

    async def test_a_task_with_another_failure_stays_failed(self, store: Store) -> None:
        """The error of the task then names only the other step."""
        task = await create_and_run_task(
            store, make_template("pair", a="", b=""), failing=("a", "b")
        )

        resolved = await store.resolve_step(task.id, 1, DONE, ACT)

        assert TaskStatus.ERROR == resolved.status
        assert {"message": "step 'b' failed: it broke", "steps": ["b"]} == resolved.error

    async def test_resolving_a_running_step_revokes_its_claim(self, store: Store) -> None:
        """The attempt can no longer settle, and the history shows it as cancelled."""
        task_id = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store, "bob")
        claim = await worker.claim_one()

        await store.resolve_step(task_id, 1, DONE, ACT)

        assert [0] == list(
            (await worker.settle(completed_outcome(claim, JsonText('"late"')))).rejected
        )
        assert {"by": "hand"} == (await steps_by_name(store, task_id))["a"].result
        assert [
            (1, AttemptOutcome.CANCELLED, "bob"),
            (2, AttemptOutcome.RESOLVED_MANUALLY, None),
        ] == [(row.attempt, row.outcome, row.worker) for row in await store.list_attempts(task_id)]

    async def test_a_step_that_waits_for_its_retry_can_be_resolved(self, store: Store) -> None:
        """Its children are freed; the same step of another task is not affected."""
        template = await register_template(store, chain_template())
        fresh, failed = await create_task(store, template), await create_task(store, template)
        worker = await ManualWorker.register(store)
        for claim in await worker.claim():
            if claim.task_id == failed:
                await worker.fail_with_retry(claim, SECOND * 60)

        await store.resolve_step(failed, 1, DONE, ACT)

        assert "resolved_manually" == (await statuses_by_name(store, failed))["a"]
        assert "enqueued" == (await statuses_by_name(store, failed))["b"]
        assert "in_progress" == (await statuses_by_name(store, fresh))["a"]

    async def test_completed_and_pending_steps_cannot_be_resolved(self, store: Store) -> None:
        """A completed step keeps its result, and a pending step waits for its parents."""
        task = await create_and_run_task(
            store, make_template("some", a="", b="", c="a b"), failing=("a",)
        )

        for no, state in ((2, "complete"), (3, "pending")):
            with pytest.raises(WrongStatus) as rejection:
                await store.resolve_step(task.id, no, DONE, ACT)
            assert state == rejection.value.status
        assert task == await store.get_task(task.id)
        assert [] == await store.list_audit_entries(task.id)

    async def test_a_failed_task_can_be_resolved(self, store: Store) -> None:
        """Open steps are skipped; failed steps keep their status."""
        task = await create_and_run_task(store, chain_template(), failing=("b",))

        resolved = await store.resolve_task(task.id, ACT)

        assert (TaskStatus.RESOLVED_MANUALLY, True) == (resolved.status, resolved.has_ended)
        assert {"a": "complete", "b": "error", "c": "skipped"} == await statuses_by_name(
            store, task.id
        )
        with pytest.raises(WrongStatus):
            await store.retry_steps(task.id, ACT)
        with pytest.raises(WrongStatus):
            await store.resolve_task(task.id, ACT)

    async def test_only_a_failed_task_can_be_resolved(self, store: Store) -> None:
        """An open task can be cancelled instead, or its steps resolved."""
        task_id = await register_and_create_task(store, one_step_template())

        with pytest.raises(WrongStatus, match="pending, not error"):
            await store.resolve_task(task_id, ACT)


class TestEtags(StoreTests):
    """ETags, and actions that depend on them."""

    async def test_every_change_gives_a_task_a_new_etag(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """This includes changes of steps, but not reads; `updated_at` never decreases."""
        task_id = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)
        seen = [await store.get_task(task_id)]

        async def read_and_record_task() -> None:
            seen.append(await store.get_task(task_id))
            assert seen[-1].etag == (await store.get_task(task_id)).etag

        claim = await worker.claim_one()
        await read_and_record_task()
        await worker.fail_with_retry(claim)
        await read_and_record_task()
        claim = await worker.claim_one()
        await read_and_record_task()
        await worker.complete(claim)
        await read_and_record_task()
        await worker.fail(await worker.claim_one())
        await read_and_record_task()
        await store.retry_steps(task_id, ACT)
        await read_and_record_task()
        await store.cancel_task(task_id, ACT)
        await read_and_record_task()

        assert 8 == len({task.etag for task in seen})
        times = [task.updated_at for task in seen]
        assert sorted(times) == times
        assert seen[0].created_at == times[0]
        assert seen[-1].ended_at is not None
        assert seen[-1].ended_at <= times[-1]

    async def test_a_retry_that_becomes_due_changes_the_etag(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The counts of the task change, although nothing is written."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        await worker.fail_with_retry(await worker.claim_one(), delay=SECOND * 60)
        before = await store.get_task(task_id)

        await subject.advance(SECOND * 61)

        assert before.etag != (await store.get_task(task_id)).etag

    async def test_the_audit_records_a_reveal_and_the_access_channel(self, store: Store) -> None:
        task_id = await register_and_create_task(store, chain_template())
        act = AuditNote(actor="ann", reason="a complaint", via=AccessChannel.UI)
        await store.record_reveal(task_id, act)
        await store.record_reveal(task_id, ACT, no=1)
        with pytest.raises(NotFound):
            await store.record_reveal(UNKNOWN_TASK, act)

        entries = [
            (entry.actor, entry.via, entry.action, entry.step, entry.reason)
            for entry in await store.list_audit_entries(task_id)
        ]
        assert [
            ("ann", AccessChannel.UI, "reveal", None, "a complaint"),
            ("alice", None, "reveal", (await store.list_steps(task_id))[0].name, "because"),
        ] == entries

    @pytest.mark.parametrize("action", ["cancel", "retry", "resolve_step", "resolve_task"])
    async def test_an_action_is_rejected_once_the_task_has_changed(
        self, store: Store, action: str
    ) -> None:
        """The rejected action changes nothing; with the current ETag, the action succeeds."""
        task_id = await register_and_create_task(store, make_template("pair", a="", b=""))
        worker = await ManualWorker.register(store)
        first, second = await worker.claim()
        await worker.fail(first)
        stale = await store.get_task(task_id)
        if action == "cancel":
            await worker.complete(second)
            await store.retry_steps(task_id, ACT)
        else:
            await worker.fail(second)
        current = await store.get_task(task_id)

        async def perform_action(if_match: str | None) -> Task:
            if action == "cancel":
                return await store.cancel_task(task_id, ACT, if_match=if_match)
            if action == "retry":
                return await store.retry_steps(task_id, ACT, if_match=if_match)
            if action == "resolve_step":
                return await store.resolve_step(task_id, 1, None, ACT, if_match=if_match)
            return await store.resolve_task(task_id, ACT, if_match=if_match)

        with pytest.raises(TaskChanged, match="read it again") as caught:
            await perform_action(stale.etag)

        assert (task_id, current.etag) == (caught.value.task_id, caught.value.etag)
        assert current == await store.get_task(task_id)
        assert current.etag != (await perform_action(current.etag)).etag

    async def test_one_of_several_actions_on_the_same_state_takes_effect(
        self, stores: list[Store]
    ) -> None:
        """All operators have read the same ETag, and the other actions are rejected."""
        task_id = await register_and_create_task(stores[0], one_step_template())
        worker = await ManualWorker.register(stores[0])
        for _ in range(5):
            await worker.fail(await worker.claim_one())
            task = await stores[0].get_task(task_id)

            results = await asyncio.gather(
                *(store.retry_steps(task_id, ACT, if_match=task.etag) for store in stores * 2),
                return_exceptions=True,
            )

            rejected = [result for result in results if isinstance(result, TaskChanged)]
            assert len(results) - 1 == len(rejected)

    async def test_an_unknown_task_is_not_found_with_any_etag(self, store: Store) -> None:
        with pytest.raises(NotFound):
            await store.cancel_task(UNKNOWN_TASK, ACT, if_match="x")
