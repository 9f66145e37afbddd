"""Rules for all actions of operators: auditing and concurrency."""

import asyncio
from datetime import datetime

import pytest

from tasker.errors import NotFound, WrongStatus
from tasker.model import (
    AttemptOutcome,
    JsonText,
    SettleResult,
    Task,
    TaskId,
    TaskStatus,
    completed_outcome,
)
from tasker.store.protocol import AuditNote, StepResolution, Store
from tasker.testing.store_suite.factories import (
    ACT,
    UNKNOWN_TASK,
    ManualWorker,
    StoreTests,
    chain_template,
    create_and_run_task,
    create_task,
    make_template,
    one_step_template,
    register_and_create_task,
    register_template,
    statuses_by_name,
    steps_by_name,
)
from tasker.testing.store_suite.operators import DONE, OPERATOR_ACTIONS


class TestOperatorActions(StoreTests):
    @pytest.mark.parametrize("action", OPERATOR_ACTIONS)
    async def test_an_action_needs_an_existing_task(self, store: Store, action: str) -> None:
        """Unknown and malformed ids are rejected."""
        for task_id in (UNKNOWN_TASK, TaskId("no such task"), TaskId("")):
            with pytest.raises(NotFound):
                await OPERATOR_ACTIONS[action](store, task_id)

    async def test_an_action_needs_existing_steps(self, store: Store) -> None:
        """The error names the missing ones, and nothing is changed."""
        task = await create_and_run_task(store, one_step_template(), failing=("only",))

        with pytest.raises(NotFound, match="7, 9"):
            await store.retry_steps(task.id, ACT, steps=[9, 1, 7])
        with pytest.raises(NotFound, match="8"):
            await store.resolve_step(task.id, 8, DONE, ACT)

        assert task == await store.get_task(task.id)
        assert [] == await store.list_audit_entries(task.id)

    async def test_every_action_is_audited(self, store: Store) -> None:
        """Entries contain actor, action, time, reason and change, and are listed oldest first."""
        task = await create_and_run_task(
            store, make_template("pair", a="", b=""), failing=("a", "b")
        )
        acts = [AuditNote(actor=f"actor {n}", reason=f"it's reason {n}") for n in range(5)]

        await store.retry_steps(task.id, acts[0])
        await store.resolve_step(task.id, 1, None, acts[1])
        await store.resolve_step(task.id, 2, DONE, acts[2], action=StepResolution.COMPLETE)
        other = await register_and_create_task(store, one_step_template())
        await store.cancel_task(other, acts[3])
        third = await create_and_run_task(store, one_step_template(), failing=("only",))
        await store.resolve_task(third.id, acts[4])

        audit = await store.list_audit_entries(task.id)
        assert [
            ("actor 0", "it's reason 0", "a", "retry", "error", "enqueued"),
            ("actor 0", "it's reason 0", "b", "retry", "error", "enqueued"),
            ("actor 1", "it's reason 1", "a", "resolve_step", "enqueued", "resolved_manually"),
            ("actor 2", "it's reason 2", "b", "complete_step", "enqueued", "complete"),
        ] == [
            (each.actor, each.reason, each.step, each.action, each.before, each.after)
            for each in audit
        ]
        assert all(isinstance(entry.at, datetime) for entry in audit)
        (cancelled,) = await store.list_audit_entries(other)
        assert (None, "cancel", "pending", "cancelled") == (
            cancelled.step,
            cancelled.action,
            cancelled.before,
            cancelled.after,
        )
        (resolved,) = await store.list_audit_entries(third.id)
        assert ("resolve_task", "error", "resolved_manually") == (
            resolved.action,
            resolved.before,
            resolved.after,
        )

    async def test_concurrent_equal_actions_take_effect_once(self, stores: list[Store]) -> None:
        """The other actions are rejected."""
        for action in ("cancel", "resolve_task", "resolve_step"):
            if action == "cancel":
                task_id = await register_and_create_task(stores[0], one_step_template())
            else:
                task_id = (
                    await create_and_run_task(stores[0], one_step_template(), failing=("only",))
                ).id

            results = await asyncio.gather(
                *(OPERATOR_ACTIONS[action](store, task_id) for store in stores * 2),
                return_exceptions=True,
            )

            assert 1 == sum(isinstance(each, Task) for each in results)
            assert 5 == sum(isinstance(each, WrongStatus) for each in results)
            assert 1 == len(await stores[0].list_audit_entries(task_id))

    async def test_a_cancellation_concurrent_with_settlements_succeeds_or_is_rejected(
        self, stores: list[Store]
    ) -> None:
        """The cancellation is rejected only if the task is already complete."""
        steps = {f"s{number}": "" for number in range(8)}
        template = await register_template(stores[0], make_template("sinks", **steps))
        workers = [await ManualWorker.register(store) for store in stores]
        for _ in range(15):
            task_id = await create_task(stores[0], template)
            claims = await workers[0].claim()

            *_, cancelled = await asyncio.gather(
                *(workers[n % 3].complete(claim) for n, claim in enumerate(claims)),
                stores[2].cancel_task(task_id, ACT),
                return_exceptions=True,
            )

            task = await stores[0].get_task(task_id)
            if isinstance(cancelled, Task):
                assert TaskStatus.CANCELLED == task.status
            else:
                assert isinstance(cancelled, WrongStatus)
                assert TaskStatus.COMPLETE == task.status
            states = set((await statuses_by_name(stores[0], task_id)).values())
            assert states <= {"complete", "cancelled"}

    async def test_an_operator_and_a_worker_that_end_a_step_concurrently_end_it_once(
        self, stores: list[Store]
    ) -> None:
        """Either the result or the resolution counts, and the other is rejected."""
        template = await register_template(stores[0], chain_template())
        worker = await ManualWorker.register(stores[0])
        for _ in range(15):
            task_id = await create_task(stores[0], template)
            claim = await worker.claim_one()

            settled, resolved = await asyncio.gather(
                worker.settle(completed_outcome(claim, JsonText('"worker"'))),
                stores[1].resolve_step(task_id, 1, JsonText('"operator"'), ACT),
                return_exceptions=True,
            )

            assert isinstance(settled, SettleResult)
            step = (await steps_by_name(stores[0], task_id))["a"]
            history = [row.outcome for row in await stores[0].list_attempts(task_id)]
            if settled.rejected:
                assert isinstance(resolved, Task)
                assert "operator" == step.result
                assert [AttemptOutcome.CANCELLED, AttemptOutcome.RESOLVED_MANUALLY] == history
            else:
                assert isinstance(resolved, WrongStatus)
                assert "worker" == step.result
                assert [AttemptOutcome.COMPLETE] == history
            assert 2 == (await worker.claim_one()).no
            await stores[0].cancel_task(task_id, ACT)
