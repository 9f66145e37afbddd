"""Handlers that wait for the decisions of people."""

from datetime import timedelta
from typing import Any

import pytest

from tasker import AsyncContext, Retry, StepStatus, SyncContext, TaskStatus, Workflow
from tasker.testing import WorkflowRun, make_context, run_workflow
from tasker.waits import ParkedForArrival

pytestmark = pytest.mark.anyio
CHOICE: dict[str, Any] = {"type": "object", "properties": {"color": {"enum": ["red", "blue"]}}}


async def run(step: Any, *decisions: Any, retry: Retry | None = None) -> WorkflowRun[Any]:
    flow = Workflow("shop.ask", version="1.0.0")
    flow.step(name="ask", retry=retry)(step)
    return await run_workflow(flow, decisions=decisions)


async def test_a_handler_asks_and_continues() -> None:
    """It runs again from its beginning; attempts that wait do not count."""
    starts = []

    async def ask(ctx: AsyncContext) -> Any:
        starts.append(ctx.counted_attempts)
        first = await ctx.wait_approval("user:ana")
        second = await ctx.wait_approval(form=CHOICE, call_name="color")
        assert first is not None
        assert second is not None
        return [first.form["approved"], first.decided_by, second.form["color"]]

    result = await run(ask, {"approved": True}, {"color": "red"})

    assert [True, "test", "red"] == result.result
    assert [1, 1, 1] == starts


async def test_a_blocking_handler_asks_and_continues() -> None:
    def ask(ctx: SyncContext) -> Any:
        decision = ctx.wait_approval()
        assert decision is not None
        return decision.form

    assert {"approved": False} == (await run(ask, {"approved": False})).result


async def test_a_decision_survives_a_failed_attempt() -> None:
    failures = [ValueError("later")]

    async def ask(ctx: AsyncContext) -> Any:
        decision = await ctx.wait_approval()
        if failures:
            raise failures.pop()
        return decision and decision.form["approved"]

    result = await run(ask, {"approved": True}, retry=Retry(max_attempts=2))

    assert True is result.result
    assert 3 == result.steps["ask"].attempts


async def test_an_approval_times_out() -> None:
    """The step fails, or goes on without a decision."""

    async def fails(ctx: AsyncContext) -> Any:
        return await ctx.wait_approval(timeout="2d", escalate_after="1d", escalate_to=["user:bob"])

    async def goes_on(ctx: AsyncContext) -> Any:
        return await ctx.wait_approval(timeout="2d", on_timeout="continue") is None

    failed, continued = await run(fails), await run(goes_on)

    assert TaskStatus.ERROR is failed.task.status
    assert failed.task.failure is not None
    assert "wait_timeout" == failed.task.failure.code
    assert timedelta(days=2) <= failed.slept < timedelta(days=2, minutes=1)
    assert True is continued.result


@pytest.mark.parametrize(
    ("assignees", "options", "message"),
    [
        (("ana",), {}, "an assignee must be user:NAME or role:NAME, not 'ana'"),
        (("group:x",), {}, "not 'group:x'"),
        (("user:",), {}, "not 'user:'"),
        (("user:x",) * 101, {}, "at most 100 assignees, not 101"),
        ((), {"form": {"type": "objekt"}}, "form is not a valid JSON Schema"),
        ((), {"timeout": "soon"}, "timeout"),
        ((), {"on_timeout": "skip"}, "on_timeout must be fail or continue, not 'skip'"),
        ((), {"escalate_after": 5}, "escalate_after and escalate_to must be given together"),
        ((), {"escalate_to": ["user:x"]}, "escalate_after and escalate_to must be given together"),
        ((), {"escalate_to": ["x"], "escalate_after": 5}, "not 'x'"),
    ],
)
async def test_invalid_questions_fail_permanently(
    assignees: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    async def ask(ctx: AsyncContext) -> Any:
        return await ctx.wait_approval(*assignees, **options)

    result = await run(ask, retry=Retry(max_attempts=3))

    assert StepStatus.ERROR is result.steps["ask"].status
    assert 1 == result.steps["ask"].attempts
    assert result.task.failure is not None
    assert message in result.task.failure.message


async def test_asking_outside_a_worker_ends_the_attempt() -> None:
    with pytest.raises(ParkedForArrival):
        await make_context().wait_approval()
