"""Pauses of tasks, templates, queues and namespaces."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tasker.errors import NotFound, TaskChanged, WrongStatus
from tasker.model import (
    JsonText,
    PauseKind,
    PauseTarget,
    StepStatus,
    TaskId,
    TaskStatus,
    completed_outcome,
    lost_outcome,
    released_outcome,
)
from tasker.store.protocol import AuditNote, Store
from tasker.testing.store_suite.factories import (
    ACT,
    ERROR,
    SECOND,
    UNKNOWN_TASK,
    ManualWorker,
    StoreTests,
    chain_template,
    create_task,
    make_new_task,
    make_template,
    one_step_template,
    only_step_status,
    register_and_create_task,
    register_template,
    statuses_by_name,
    steps_by_name,
)
from tasker.testing.store_suite.queue_timeouts import with_queue_timeout
from tasker.testing.store_suite.subject import StoreUnderTest

TARGETS: dict[PauseKind, Callable[[TaskId], PauseTarget]] = {
    PauseKind.TASK: PauseTarget.of_task,
    PauseKind.TEMPLATE: lambda task_id: PauseTarget.of_template("suite", "chain"),
    PauseKind.QUEUE: lambda task_id: PauseTarget.of_queue("suite", "a"),
    PauseKind.NAMESPACE: lambda task_id: PauseTarget.of_namespace("suite"),
}
DONE = JsonText("1")
KINDS = pytest.mark.parametrize("kind", TARGETS, ids=str)


class TestPausing(StoreTests):
    @KINDS
    async def test_no_step_is_claimed_during_a_pause(self, store: Store, kind: PauseKind) -> None:
        """After the pause, steps are claimed in their previous order."""
        task_id = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)
        target = TARGETS[kind](task_id)

        pause = await store.pause(target, ACT)
        during = await worker.claim()
        resumed = await store.resume(target, ACT)
        after = await worker.claim()

        assert (kind, "suite", "alice", "because") == (
            pause.kind,
            pause.namespace,
            pause.paused_by,
            pause.reason,
        )
        assert [] == during
        assert resumed
        assert [(task_id, 1)] == [claim[:2] for claim in after]

    @KINDS
    async def test_a_running_attempt_ends_normally_during_a_pause(
        self, store: Store, kind: PauseKind
    ) -> None:
        """The steps that it frees wait, and the settling worker does not claim them."""
        task_id = await register_and_create_task(store, make_template("chain", a="", b="a"))
        worker = await ManualWorker.register(store)
        target = TARGETS[kind](task_id)
        if kind is PauseKind.QUEUE:
            target = PauseTarget.of_queue("suite", "b")
        claim = await worker.claim_one()
        await store.pause(target, ACT)

        settled = await worker.settle(completed_outcome(claim, DONE), claim_up_to=1)

        assert ([], []) == (list(settled.rejected), list(settled.claims))
        assert [] == await worker.claim()
        assert {"a": "complete", "b": "enqueued"} == await statuses_by_name(store, task_id)
        await store.resume(target, ACT)
        assert [(task_id, 2)] == [claim[:2] for claim in await worker.claim()]

    @KINDS
    async def test_pausing_or_resuming_again_changes_nothing(
        self, store: Store, kind: PauseKind
    ) -> None:
        """The first pause keeps its reason, and the second resumption returns False."""
        task_id = await register_and_create_task(store, chain_template())
        target = TARGETS[kind](task_id)
        first = await store.pause(target, ACT)

        second = await store.pause(target, AuditNote(actor="bob", reason="other"))

        assert first == second
        assert [first] == await store.list_pauses()
        assert [first] == await store.list_pauses(namespace="suite")
        assert [] == await store.list_pauses(namespace="other")
        assert (True, False) == (
            await store.resume(target, ACT),
            await store.resume(target, ACT),
        )
        assert [] == await store.list_pauses()

    @KINDS
    async def test_a_pause_is_shown_as_the_reason_that_blocks_a_step(
        self, store: Store, kind: PauseKind
    ) -> None:
        """It is shown on the paused steps, and on the task if all of its steps are paused."""
        task_id = await register_and_create_task(store, chain_template())

        pause = await store.pause(TARGETS[kind](task_id), ACT)

        task, steps = await store.get_task(task_id), await steps_by_name(store, task_id)
        assert pause == steps["a"].pause
        assert (pause if kind is not PauseKind.QUEUE else None) == steps["b"].pause
        assert ((pause,) if kind is not PauseKind.QUEUE else ()) == task.pauses
        assert (0, False) == (task.counts.no_worker, steps["a"].no_worker) or (
            kind in (PauseKind.QUEUE, PauseKind.NAMESPACE)  # whose steps no worker serves either
        )

    @KINDS
    async def test_paused_steps_are_counted_as_paused(self, store: Store, kind: PauseKind) -> None:
        """They count neither as due nor as steps without a worker."""
        task_id = await register_and_create_task(store, chain_template())
        target = TARGETS[kind](task_id)

        await store.pause(target, ACT)

        counted = {
            row.handler: (row.due, row.scheduled, row.running, row.paused)
            for row in await store.count_backlog_by_queue()
        }
        assert {"a": (0, 0, 0, 1), "b": (0, 0, 0, 0), "c": (0, 0, 0, 0)} == counted
        await store.resume(target, ACT)
        assert [(1, 0)] == [
            (row.due, row.paused)
            for row in await store.count_backlog_by_queue()
            if row.handler == "a"
        ]

    async def test_an_unknown_target_cannot_be_paused(self, store: Store) -> None:
        """It cannot be resumed either."""
        await register_template(store, chain_template())
        for target in (
            PauseTarget.of_task(UNKNOWN_TASK),
            PauseTarget.of_task("no id"),
            PauseTarget.of_template("suite", "other"),
            PauseTarget.of_queue("suite", "other"),
            PauseTarget.of_namespace("other"),
        ):
            with pytest.raises(NotFound):
                await store.pause(target, ACT)
            with pytest.raises(NotFound):
                await store.resume(target, ACT)

    async def test_other_steps_continue_during_a_pause(self, store: Store) -> None:
        """A pause of a queue affects one handler in one namespace."""
        await register_and_create_task(store, make_template("pair", a="", b=""))
        other = await register_template(
            store, replace(make_template("pair", a="", b=""), namespace="other")
        )
        await create_task(store, other)
        worker = await ManualWorker.register(store)

        await store.pause(PauseTarget.of_queue("suite", "a"), ACT)

        assert 3 == len(await worker.claim())


class TestPausedTasks(StoreTests):
    async def test_a_pause_of_a_task_is_audited(self, store: Store) -> None:
        """Repeated requests add no entries."""
        task_id = await register_and_create_task(store, one_step_template())
        for _ in range(2):
            await store.pause(PauseTarget.of_task(task_id), ACT)
        for _ in range(2):
            await store.resume(PauseTarget.of_task(task_id), ACT)

        entries = [
            (row.action, row.before, row.after) for row in await store.list_audit_entries(task_id)
        ]

        assert [("pause", "pending", "paused"), ("resume", "paused", "pending")] == entries

    async def test_an_ended_task_cannot_be_paused(self, store: Store) -> None:
        task_id = await register_and_create_task(store, one_step_template())
        await (await ManualWorker.register(store)).complete_all_due()

        with pytest.raises(WrongStatus):
            await store.pause(PauseTarget.of_task(task_id), ACT)

    async def test_a_pause_changes_the_etag(self, store: Store) -> None:
        """An action with an outdated ETag is rejected."""
        task_id = await register_and_create_task(store, one_step_template())
        target = PauseTarget.of_task(task_id)
        before = (await store.get_task(task_id)).etag

        await store.pause(target, ACT, if_match=before)

        assert before != (await store.get_task(task_id)).etag
        with pytest.raises(TaskChanged):
            await store.resume(target, ACT, if_match=before)

    @pytest.mark.parametrize("way", ["retry", "released", "lost", "parked", "failed"])
    async def test_a_step_enqueued_during_a_pause_stays_paused(
        self, store: Store, way: str
    ) -> None:
        """This holds for retries, lost and released attempts, ended waits and manual retries."""
        task_id = await register_and_create_task(store, one_step_template())
        awaited = await register_and_create_task(store, make_template("awaited", x=""))
        worker = await ManualWorker.register(store, handlers={"only"})
        other = await ManualWorker.register(store, handlers={"x"})
        claim = await worker.claim_one()
        await store.pause(PauseTarget.of_task(task_id), ACT)
        if way == "retry":
            await worker.fail_with_retry(claim)
        elif way == "released":
            await worker.settle(released_outcome(claim))
        elif way == "lost":
            await worker.settle(lost_outcome(claim, ERROR, timedelta(0)))
        elif way == "parked":
            await store.park_until_task_ends(claim, awaited)
            await other.complete(await other.claim_one())
        else:
            await worker.fail(claim)
            await store.retry_steps(task_id, ACT)

        assert StepStatus.ENQUEUED is await only_step_status(store, task_id)
        assert [] == await worker.claim()
        await store.resume(PauseTarget.of_task(task_id), ACT)
        assert [(task_id, 1)] == [claim[:2] for claim in await worker.claim()]

    async def test_a_paused_task_can_be_cancelled_and_pruned(self, store: Store) -> None:
        """Its pause is deleted with it."""
        task_id = await register_and_create_task(store, chain_template())
        await store.pause(PauseTarget.of_task(task_id), ACT)

        task = await store.cancel_task(task_id, ACT)

        assert TaskStatus.CANCELLED is task.status
        assert task.ended_at is not None
        assert 1 == await store.prune_tasks(ended_before=task.ended_at + SECOND)
        assert [] == await store.list_pauses()

    async def test_a_queue_timeout_does_not_run_during_a_pause(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """It starts over when the pause ends."""
        task_id = await register_and_create_task(
            store, with_queue_timeout(one_step_template(), "only")
        )
        for target in (PauseTarget.of_task(task_id), PauseTarget.of_queue("suite", "only")):
            await store.pause(target, ACT)
            await subject.advance(SECOND * 61)
            during = await store.fail_unclaimed_steps(10)
            await store.resume(target, ACT)
            soon = await store.fail_unclaimed_steps(10)
            assert ([], []) == (list(during.steps), list(soon.steps))
        await subject.advance(SECOND * 61)

        late = await store.fail_unclaimed_steps(10)

        assert [(task_id, "only")] == list(late.steps)

    async def test_paused_queues_are_found_among_those_given(self, store: Store) -> None:
        """A queue also counts as paused if its namespace is."""
        await register_and_create_task(store, chain_template())
        await register_and_create_task(store, replace(chain_template(), namespace="other"))
        queues = [PauseTarget.of_queue(space, "a") for space in ("suite", "other")]
        queues.append(PauseTarget.of_queue("suite", "b"))

        assert set() == await store.find_paused_queues(queues)
        await store.pause(queues[0], ACT)
        await store.pause(PauseTarget.of_namespace("other"), ACT)

        assert set(queues[:2]) == await store.find_paused_queues(queues)
        assert set() == await store.find_paused_queues(queues[2:])
        await store.resume(queues[0], ACT)
        assert {queues[1]} == await store.find_paused_queues(queues)


class TestPausedTemplates(StoreTests):
    async def test_new_tasks_and_versions_of_a_paused_template_are_paused(
        self, store: Store
    ) -> None:
        """They run when the template is resumed."""
        await register_template(store, one_step_template())
        target = PauseTarget.of_template("suite", "one")
        await store.pause(target, ACT)
        later = await register_template(store, make_template("one", "2.0.0", only=""))
        worker = await ManualWorker.register(store)

        created = await store.create_tasks([make_new_task(later)], worker=worker.id, claim_up_to=1)

        assert [] == list(created.claims)
        assert [] == await worker.claim()
        await store.resume(target, ACT)
        assert [created.tasks[0][0]] == [claim.task_id for claim in await worker.claim()]

    async def test_a_paused_task_stays_paused_when_its_template_is_resumed(
        self, store: Store
    ) -> None:
        """Nor does resuming the task resume the template."""
        template = await register_template(store, one_step_template())
        tasks = [await create_task(store, template) for _ in range(2)]
        worker = await ManualWorker.register(store)
        itself, whole = PauseTarget.of_task(tasks[0]), PauseTarget.of_template("suite", "one")
        for ends_first in (itself, whole):
            await store.pause(itself, ACT)
            await store.pause(whole, ACT)
            await store.resume(ends_first, ACT)
            claimed = [claim.task_id for claim in await worker.claim(1)]
            assert ([] if ends_first is itself else tasks[1:]) == claimed
            await store.resume(itself, ACT)
            await store.resume(whole, ACT)

        assert [tasks[0]] == [claim.task_id for claim in await worker.claim()]

    async def test_a_pause_reaches_more_tasks_than_one_transaction_takes(
        self, store: Store
    ) -> None:
        """All of the tasks are resumed, too."""
        template = await register_template(store, one_step_template())
        await store.create_tasks([make_new_task(template) for _ in range(250)])
        worker = await ManualWorker.register(store)
        target = PauseTarget.of_template("suite", "one")

        await store.pause(target, ACT)
        during = await worker.claim()
        await store.resume(target, ACT)

        assert [] == during
        assert 250 == len(await worker.claim())

    async def test_a_reopened_task_of_a_paused_template_is_paused(self, store: Store) -> None:
        template = await register_template(store, one_step_template())
        task_id = await create_task(store, template)
        worker = await ManualWorker.register(store)
        await worker.fail(await worker.claim_one())
        target = PauseTarget.of_template("suite", "one")
        await store.pause(target, ACT)

        await store.retry_steps(task_id, ACT)

        assert [] == await worker.claim()
        await store.resume(target, ACT)
        assert [task_id] == [claim.task_id for claim in await worker.claim()]

    async def test_pauses_of_namespaces_and_templates_are_audited(self, store: Store) -> None:
        await register_template(store, one_step_template())
        for target in (
            PauseTarget.of_template("suite", "one"),
            PauseTarget.of_queue("suite", "only"),
            PauseTarget.of_namespace("suite"),
        ):
            for _ in range(2):
                await store.pause(target, ACT)
            await store.resume(target, ACT)

        events = [
            (row.action, row.subject, row.actor, row.reason, row.before, row.after)
            for row in await store.list_team_audit(namespace="suite", limit=6)
        ]

        expected = []
        for kind, subject in (
            ("template", "suite.one"),
            ("queue", "queue only"),
            ("namespace", "suite"),
        ):
            facts = (subject, "alice", "because")
            expected.append((f"pause_{kind}", *facts, "running", "paused"))
            expected.append((f"resume_{kind}", *facts, "paused", "running"))
        assert expected[::-1] == events

    async def test_a_new_queue_of_a_paused_namespace_is_paused(self, store: Store) -> None:
        await register_template(store, one_step_template())
        await store.pause(PauseTarget.of_namespace("suite"), ACT)
        await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)

        assert [] == await worker.claim()
