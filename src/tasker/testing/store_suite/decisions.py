"""Decisions about approvals, and completions of external steps by other systems."""

import asyncio
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import pytest

from tasker import codec
from tasker.approvals import (
    DEFAULT_FORM,
    Approval,
    ApprovalStatus,
    NewApproval,
    NotAnAssignee,
    decode_decision,
)
from tasker.completions import CALL, hash_token
from tasker.durable import DurableCallKind
from tasker.errors import NotFound, WrongStatus
from tasker.model import (
    Claim,
    JsonText,
    StepStatus,
    StepWait,
    TaskId,
    TaskStatus,
    Template,
    WaitKind,
    completed_outcome,
    failed_outcome,
    released_outcome,
    retry_outcome,
)
from tasker.store.protocol import AuditNote, Store
from tasker.testing.store_suite.factories import (
    ACT,
    ManualWorker,
    StoreTests,
    make_template,
    one_step_template,
    only_step_status,
    register_and_create_task,
)
from tasker.testing.store_suite.queue_timeouts import with_queue_timeout
from tasker.testing.store_suite.subject import StoreUnderTest
from tasker.waits import TIMED_OUT, AwaitedArrival, NewWait

FORM = codec.dumps({"approved": True, "comment": "fine"})
HOUR = timedelta(hours=1)


def make_approval_wait(
    assignees: Collection[str] = (),
    *,
    call: str = "approval",
    timeout: float | None = None,
    **new: Any,
) -> NewWait:
    """Make a wait for an approval."""
    approval = NewApproval(codec.new_task_id(), codec.dumps(DEFAULT_FORM), list(assignees), **new)
    awaited = AwaitedArrival(WaitKind.APPROVAL, call, namespace="suite")
    return NewWait(call, DurableCallKind.WAIT_APPROVAL, [awaited], timeout, approval=approval)


async def create_open_approval(
    store: Store, *assignees: str, **options: Any
) -> tuple[TaskId, Approval]:
    """Create a task whose step waits for an approval, and return the ids of both."""
    task_id = await register_and_create_task(store, one_step_template())
    worker = await ManualWorker.register(store)
    claim = next(claim for claim in await worker.claim() if claim.task_id == task_id)
    assert await store.park_for_arrival(claim, make_approval_wait(assignees, **options))
    (approval,) = await store.list_open_approvals(task_id=task_id)
    return task_id, approval


async def decide_approval(
    store: Store,
    approval: Approval,
    by: str = "ana",
    groups: Collection[str] = (),
    form: JsonText = FORM,
) -> Approval:
    """Decide an approval."""
    return await store.decide_approval(
        approval.id, form, groups=groups, act=AuditNote(actor=by, reason="seen")
    )


async def read_durable_call_value(
    store: Store, claim: Claim, call: str = "approval"
) -> JsonText | None:
    """Read the value of a durable call."""
    return {each.name: each.value for each in await store.load_durable_calls(claim)}.get(call)


class TestApprovalDecisions(StoreTests):
    async def test_a_decision_wakes_the_waiting_step(self, store: Store) -> None:
        """The decision becomes the value of the durable call, and stays readable."""
        task_id, approval = await create_open_approval(store, "user:ana", timeout=3600.0)
        assert StepStatus.WAITING is await only_step_status(store, task_id)
        assert ("only", "suite", "suite.one@1.0.0", DEFAULT_FORM, ("user:ana",)) == (
            approval.step,
            approval.namespace,
            approval.template,
            approval.form,
            approval.assignees,
        )
        assert ApprovalStatus.OPEN is approval.status
        assert approval.due_at is not None
        assert HOUR == approval.due_at - approval.opened_at
        (step,) = await store.list_steps(task_id)
        assert (
            StepWait(
                kind=WaitKind.APPROVAL,
                name="approval",
                approval=approval.id,
                assignees=("user:ana",),
            ),
        ) == step.waits

        decided = await decide_approval(store, approval)

        assert (ApprovalStatus.DECIDED, "ana", codec.loads(FORM)) == (
            decided.status,
            decided.decided_by,
            decided.decision,
        )
        claim = await (await ManualWorker.register(store)).claim_one()
        assert (2, 1) == claim[2:4]
        text = await read_durable_call_value(store, claim)
        assert text is not None
        read = decode_decision(text)
        assert read is not None
        assert (codec.loads(FORM), "ana", decided.decided_at) == (
            read.form,
            read.decided_by,
            read.decided_at,
        )
        assert [] == await store.list_open_approvals()
        assert [decided] == await store.list_decided_approvals()
        assert decided == await store.get_approval(approval.id)

    async def test_only_assignees_can_decide(self, store: Store) -> None:
        """Assignees are given by name or group; without assignees everyone can decide."""
        _, approval = await create_open_approval(store, "user:ana", "role:support")
        for by, groups in (
            ("eve", ()),
            ("eve", ("user:ana", "sales")),
            ("support", ()),
            ("Ana", ()),
        ):
            with pytest.raises(NotAnAssignee, match="user:ana, role:support"):
                await decide_approval(store, approval, by, groups)

        assert ApprovalStatus.OPEN is (await store.get_approval(approval.id)).status
        assert (
            "eve"
            == (await decide_approval(store, approval, "eve", ("sales", "support"))).decided_by
        )
        _, free = await create_open_approval(store)
        assert "eve" == (await decide_approval(store, free, "eve")).decided_by

    async def test_one_of_several_concurrent_decisions_counts(self, stores: list[Store]) -> None:
        """The others are rejected, because the approval is already decided."""
        _, approval = await create_open_approval(stores[0])
        forms = [codec.dumps({"approved": number % 2 == 0, "n": number}) for number in range(6)]

        results = await asyncio.gather(
            *(
                decide_approval(stores[number % len(stores)], approval, f"user{number}", form=form)
                for number, form in enumerate(forms)
            ),
            return_exceptions=True,
        )

        (won,) = [each for each in results if isinstance(each, Approval)]
        lost = [each for each in results if isinstance(each, WrongStatus)]
        assert 5 == len(lost)
        assert {"decided"} == {each.status for each in lost}
        assert won == await stores[0].get_approval(approval.id)
        claim = await (await ManualWorker.register(stores[0])).claim_one()
        text = await read_durable_call_value(stores[0], claim)
        assert text is not None
        assert won.decision == codec.loads(text)["form"]

    async def test_a_late_decision_is_rejected(self, store: Store, subject: StoreUnderTest) -> None:
        """A decision is late after the timeout, the cancellation of the task, or a resolution."""
        timed_out, cancelled, resolved = [
            await create_open_approval(store, timeout=100.0) for _ in range(3)
        ]
        await store.cancel_task(cancelled[0], ACT)
        await store.resolve_step(resolved[0], 1, codec.dumps(1), ACT)
        await subject.advance(timedelta(seconds=101))
        assert 1 == await store.end_timed_out_waits(10)

        for _, approval in (timed_out, cancelled, resolved):
            with pytest.raises(WrongStatus, match="closed"):
                await decide_approval(store, approval)

        assert [] == await store.list_open_approvals()
        assert [] == await store.list_decided_approvals()
        claim = await (await ManualWorker.register(store)).claim_one()
        assert TIMED_OUT == await read_durable_call_value(store, claim)

    async def test_a_concurrent_timeout_and_decision_end_a_wait_once(
        self, stores: list[Store], subject: StoreUnderTest
    ) -> None:
        for _ in range(5):
            _, approval = await create_open_approval(stores[0], timeout=1.0)
            await subject.advance(timedelta(seconds=2))

            decided, *_ = await asyncio.gather(
                decide_approval(stores[0], approval),
                *(store.end_timed_out_waits(10) for store in stores[1:]),
                return_exceptions=True,
            )

            await stores[0].end_timed_out_waits(10)
            claim = await (await ManualWorker.register(stores[0])).claim_one()
            text = await read_durable_call_value(stores[0], claim)
            if isinstance(decided, Approval):
                assert text != TIMED_OUT
            else:
                assert isinstance(decided, WrongStatus)
                assert TIMED_OUT == text

    async def test_an_escalation_adds_assignees(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """It happens once, only while the approval is open, and is audited."""
        options: dict[str, Any] = {
            "escalate_after": 100.0,
            "escalate_to": ["role:heads", "user:ana"],
        }
        task_id, approval = await create_open_approval(store, "user:ana", **options)
        _, decided = await create_open_approval(store, "user:ana", **options)
        gone, _ = await create_open_approval(store, "user:ana", **options)
        await decide_approval(store, decided)
        await store.cancel_task(gone, ACT)
        await subject.advance(timedelta(seconds=50))
        assert 0 == await store.escalate_approvals(10)
        with pytest.raises(NotAnAssignee):
            await decide_approval(store, approval, "bob", ("heads",))
        await subject.advance(timedelta(seconds=51))

        counts = [await store.escalate_approvals(10) for _ in range(2)]

        assert [2, 0] == counts
        (escalated,) = await store.list_open_approvals()
        assert approval.id == escalated.id
        assert ("role:heads", "user:ana") == escalated.assignees
        assert escalated.escalated_at is not None
        assert "bob" == (await decide_approval(store, approval, "bob", ("heads",))).decided_by
        entries = [(entry.action, entry.actor) for entry in await store.list_audit_entries(task_id)]
        assert [("escalate", "tasker"), ("decide", "bob")] == sorted(entries, reverse=True)
        assert [] == [
            entry for entry in await store.list_audit_entries(gone) if entry.action == "escalate"
        ]

    async def test_the_inbox_lists_the_approvals_of_a_person(self, store: Store) -> None:
        """It is filtered by assignee and namespace, sorted oldest first, and paged."""
        ana = [(await create_open_approval(store, "user:ana"))[1].id for _ in range(3)]
        support = (await create_open_approval(store, "role:support", "user:bob"))[1].id
        anyone = (await create_open_approval(store))[1].id

        async def list_approval_ids(**filters: Any) -> list[str]:
            return [approval.id for approval in await store.list_open_approvals(**filters)]

        assert [*ana, anyone] == await list_approval_ids(assignee=["user:ana", "role:sales"])
        assert [support, anyone] == await list_approval_ids(assignee=["user:eve", "role:support"])
        assert [*ana, support, anyone] == await list_approval_ids()
        assert [*ana, support, anyone] == await list_approval_ids(
            namespace="suite", visible=["suite", "x"]
        )
        assert [] == await list_approval_ids(namespace="other")
        assert [] == await list_approval_ids(visible=["other"])
        assert ana[:2] == await list_approval_ids(limit=2)
        assert [ana[2], support] == await list_approval_ids(after=ana[1], limit=2)

    async def test_a_step_may_wait_for_several_approvals(self, store: Store) -> None:
        """It waits for one after the other, each in its own call; a fresh retry asks again."""
        task_id, first = await create_open_approval(store, call="first")
        await decide_approval(store, first)
        worker = await ManualWorker.register(store)
        assert await store.park_for_arrival(
            await worker.claim_one(), make_approval_wait(call="second")
        )
        (second,) = await store.list_open_approvals()
        await decide_approval(store, second, "bob")
        claim = await worker.claim_one()
        assert [None, "bob", "ana"] == [
            text and codec.loads(text)["decided_by"]
            for text in [
                await read_durable_call_value(store, claim, call)
                for call in ("x", "second", "first")
            ]
        ]
        error = codec.dumps({"type": "E", "message": "m"})
        await worker.settle(failed_outcome(claim, error))
        await store.retry_steps(task_id, ACT, fresh=True)
        again = await worker.claim_one()
        assert await store.park_for_arrival(again, make_approval_wait(call="first"))

        (asked,) = await store.list_open_approvals()
        assert ("first", None) == (asked.call, asked.decided_by)
        assert asked.id != first.id
        with pytest.raises(NotFound):
            await decide_approval(store, first)
        await decide_approval(store, asked, "eve")
        await worker.settle(completed_outcome(await worker.claim_one(), codec.dumps(1)))
        assert StepStatus.COMPLETE is await only_step_status(store, task_id)

    @pytest.mark.parametrize("unknown", ["", "x", "00000000-0000-7000-8000-000000000000", "\0"])
    async def test_an_unknown_approval_is_not_found(self, store: Store, unknown: str) -> None:
        with pytest.raises(NotFound):
            await store.get_approval(unknown)
        with pytest.raises(NotFound):
            await store.decide_approval(unknown, FORM, groups=(), act=ACT)

    async def test_a_lost_claim_opens_no_approval(self, store: Store) -> None:
        task_id = await register_and_create_task(store, make_template("lost", only=""))
        claim = await (await ManualWorker.register(store)).claim_one()
        await store.cancel_task(task_id, ACT)

        assert not await store.park_for_arrival(claim, make_approval_wait())
        assert [] == await store.list_open_approvals()


RESULT = codec.dumps({"result": {"id": 7}})


def make_external_wait(timeout: float | None = None) -> NewWait:
    """Make the wait of an external step."""
    return NewWait(
        CALL, DurableCallKind.EXTERNAL, [AwaitedArrival(WaitKind.EXTERNAL, CALL)], timeout
    )


async def begin_external_attempt(
    store: Store, token: str, template: Template | None = None
) -> tuple[TaskId, ManualWorker, Claim]:
    """Create a task, claim its external step, and store the token that completes it."""
    task_id = await register_and_create_task(store, template or one_step_template())
    worker = await ManualWorker.register(store)
    claim = next(claim for claim in await worker.claim() if claim.task_id == task_id)
    assert await store.add_token_and_find_completion(claim, hash_token(token)) is None
    return task_id, worker, claim


class TestExternalCompletions(StoreTests):
    async def test_a_completion_ends_the_wait(self, store: Store) -> None:
        """The wait ends once, and the next attempt reads the completion."""
        task_id, worker, claim = await begin_external_attempt(store, "t")
        assert await store.park_for_arrival(claim, make_external_wait())
        assert not await store.complete_external_step(hash_token("other"), RESULT)

        assert await store.complete_external_step(hash_token("t"), RESULT)
        assert not await store.complete_external_step(hash_token("t"), codec.dumps({"result": 8}))

        again = await worker.claim_one()
        kept = await store.add_token_and_find_completion(again, hash_token("u"))
        assert kept is not None
        assert {"result": {"id": 7}} == codec.loads(kept.value or JsonText("null"))
        assert ["complete_external"] == [
            entry.action for entry in await store.list_audit_entries(task_id)
        ]

    async def test_a_completion_during_the_attempt_is_kept(self, store: Store) -> None:
        """The step then does not wait, not even in an attempt after a failure."""
        _, worker, claim = await begin_external_attempt(store, "t")
        assert await store.complete_external_step(hash_token("t"), RESULT)
        assert not await store.complete_external_step(hash_token("t"), RESULT)

        assert await store.park_for_arrival(claim, make_external_wait())
        again = await worker.claim_one()
        assert await store.add_token_and_find_completion(again, hash_token("u")) is not None
        error = codec.dumps({"type": "E", "message": "m"})
        await worker.settle(retry_outcome(again, error, timedelta(0)))
        last = await worker.claim_one()
        assert await store.add_token_and_find_completion(last, hash_token("v")) is not None

    async def test_tokens_of_earlier_attempts_stay_valid(self, store: Store) -> None:
        _, worker, claim = await begin_external_attempt(store, "first")
        error = codec.dumps({"type": "E", "message": "m"})
        await worker.settle(retry_outcome(claim, error, timedelta(0)))
        again = await worker.claim_one()
        assert await store.add_token_and_find_completion(again, hash_token("second")) is None
        assert await store.park_for_arrival(again, make_external_wait())

        assert await store.complete_external_step(hash_token("first"), RESULT)
        assert not await store.complete_external_step(hash_token("second"), RESULT)

    async def test_an_ended_step_cannot_be_completed(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Its token is no longer valid."""
        done, worker, claim = await begin_external_attempt(store, "done")
        await worker.settle(completed_outcome(claim, codec.dumps(1)))
        cancelled, _, _ = await begin_external_attempt(store, "cancelled")
        await store.cancel_task(cancelled, ACT)

        assert not await store.complete_external_step(hash_token("done"), RESULT)
        assert not await store.complete_external_step(hash_token("cancelled"), RESULT)
        assert StepStatus.COMPLETE is await only_step_status(store, done)

    async def test_a_completed_step_cannot_fail(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The attempt and the queue timeout cannot fail it; the next attempt completes it."""
        template = with_queue_timeout(one_step_template(), "only")
        task_id, worker, claim = await begin_external_attempt(store, "t", template)
        outcome = failed_outcome(claim, codec.dumps({"type": "E", "message": "m"}))
        assert await store.complete_external_step(hash_token("t"), RESULT)

        assert await store.fail_external_step_unless_completed(outcome) is None

        await worker.settle(released_outcome(claim))
        await subject.advance(timedelta(seconds=61))
        assert [] == list((await store.fail_unclaimed_steps(10)).steps)
        again = await worker.claim_one()
        assert await store.add_token_and_find_completion(again, hash_token("u")) is not None
        late = await store.fail_external_step_unless_completed(outcome)
        assert late is not None
        assert [0] == list(late.rejected)
        assert StepStatus.IN_PROGRESS is await only_step_status(store, task_id)

    async def test_a_failed_step_cannot_be_completed(self, stores: list[Store]) -> None:
        """If a failure and a completion are concurrent, one of them counts."""
        for number in range(10):
            task_id, _, claim = await begin_external_attempt(stores[0], f"t{number}")
            outcome = failed_outcome(claim, codec.dumps({"type": "E", "message": "m"}))

            settled, completes = await asyncio.gather(
                stores[0].fail_external_step_unless_completed(outcome),
                stores[-1].complete_external_step(hash_token(f"t{number}"), RESULT),
            )

            assert completes == (settled is None)
            if settled is None:
                assert await stores[0].fail_external_step_unless_completed(outcome) is None
                assert StepStatus.IN_PROGRESS is await only_step_status(stores[0], task_id)
            else:
                assert [(task_id, TaskStatus.ERROR)] == list(settled.ended)

    async def test_a_wait_for_a_completion_times_out(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        _, worker, claim = await begin_external_attempt(store, "t")
        assert await store.park_for_arrival(claim, make_external_wait(100.0))
        await subject.advance(timedelta(seconds=101))

        assert 1 == await store.end_timed_out_waits(10)

        assert not await store.complete_external_step(hash_token("t"), RESULT)
        kept = await store.add_token_and_find_completion(await worker.claim_one(), hash_token("u"))
        assert kept is not None
        assert TIMED_OUT == kept.value

    async def test_one_of_several_concurrent_completions_counts(self, stores: list[Store]) -> None:
        """This also holds while the step begins to wait."""
        for number in range(5):
            _, worker, claim = await begin_external_attempt(stores[0], f"t{number}")
            digest = hash_token(f"t{number}")

            parked, *used = await asyncio.gather(
                stores[0].park_for_arrival(claim, make_external_wait()),
                *(
                    store.complete_external_step(digest, RESULT)
                    for store in stores
                    for _ in range(2)
                ),
            )

            assert parked
            assert 1 == sum(map(bool, used))
            again = await worker.claim_one()
            assert (
                await stores[0].add_token_and_find_completion(again, hash_token(f"u{number}"))
                is not None
            )
            await worker.settle(completed_outcome(again, codec.dumps(1)))
