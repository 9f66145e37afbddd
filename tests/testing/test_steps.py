"""One step without an engine."""

import asyncio
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from tasker import (
    AsyncContext,
    Config,
    Context,
    Input,
    PermanentError,
    Result,
    Retry,
    RetryableError,
    StepHandler,
    SyncContext,
    TaskRequest,
    TaskStatus,
    handler,
)
from tasker.errors import InvalidInput, Misuse, NotFound
from tasker.model import AttemptOutcome, StepSpec
from tasker.testing import ManualClock, StepRun, make_context, run_step


class Hold(BaseModel):
    id: str
    cents: int = 0


@dataclass
class Receipt:
    number: int
    at: timedelta


def test_parameters_are_bound_as_in_a_worker() -> None:
    """
    From the input, results and configuration, converted to their types.
    """

    def charge(
        reserve: Hold,
        cents: int,
        fee: Annotated[int, Config("fee")],
        order: Annotated[dict[str, Any], Input()],
        first: Annotated[Hold, Result("earlier")],
        express: bool = False,
    ) -> str:
        return f"{reserve.id} {cents + fee} {order['note']} {first.id} {express}"

    run = run_step(
        charge,
        input={"cents": "500", "note": "n"},
        results={"reserve": {"id": "h"}, "earlier": Hold(id="e")},
        config={"fee": 7},
    )

    assert "h 507 n e False" == run.value
    assert run.ok


def test_the_value_is_the_result_that_the_next_step_receives() -> None:
    """Models, dataclasses and tuples are converted to JSON and back."""

    def handler() -> object:
        return {"hold": Hold(id="h"), "pair": (1, 2), "set": {3}}

    assert {"hold": {"id": "h", "cents": 0}, "pair": [1, 2], "set": [3]} == run_step(handler).value


def test_async_handlers_classes_and_objects_run_alike() -> None:
    """Every kind of handler that a template can name."""

    async def function(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    class Handler(StepHandler):
        def call(self, context: Context) -> Any:
            return context.get_input("n") + 1

    class Plain:
        async def call(self, n: int) -> int:
            return n + 1

    runs = [run_step(handler, input={"n": 1}) for handler in (function, Handler, Plain, Plain())]

    assert [2, 2, 2, 2] == [run.value for run in runs]


@pytest.mark.anyio
async def test_a_step_can_be_run_inside_a_running_loop() -> None:
    """
    There the handler runs in a thread, as sync handlers always do in a worker.
    """
    threads = []

    def plain() -> str:
        threads.append(threading.current_thread())
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return "plain"

    async def asynchronous() -> str:
        await asyncio.sleep(0)
        return "async"

    assert ["plain", "async"] == [run_step(plain).value, run_step(asynchronous).value]
    assert threads[0] is not threading.main_thread()


def test_errors_are_classified_as_in_a_worker() -> None:
    """
    Permanent, retryable with the delay asked for, anything else, and the last attempt.
    """
    policy = Retry(max_attempts=3, initial_delay=timedelta(seconds=10), jitter=0)

    def run(error: Exception, attempt: int = 1, counted_attempts: int | None = None) -> StepRun:
        def handler() -> None:
            raise error

        if counted_attempts is None:
            return run_step(handler, attempt=attempt, retry=policy)
        return run_step(handler, attempt=attempt, counted_attempts=counted_attempts, retry=policy)

    permanent = PermanentError("no", code="NO")
    assert StepRun(outcome=AttemptOutcome.ERROR, error=permanent) == run(permanent)
    asked = run(RetryableError("later", retry_after=45))
    assert (AttemptOutcome.RETRY, timedelta(seconds=45)) == (asked.outcome, asked.delay)
    other = run(ValueError("x"), attempt=2)
    assert (AttemptOutcome.RETRY, timedelta(seconds=20)) == (other.outcome, other.delay)
    assert AttemptOutcome.ERROR == run(ValueError("x"), attempt=3).outcome
    assert AttemptOutcome.RETRY == run(ValueError("x"), attempt=9, counted_attempts=2).outcome
    assert not other.ok


def test_a_parameter_without_a_value_fails_the_step() -> None:
    """It fails permanently, with the code that operators see."""

    def handler(order_id: int) -> int:
        return order_id

    missing, wrong = run_step(handler), run_step(handler, input={"order_id": "x"})

    assert [AttemptOutcome.ERROR] * 2 == [missing.outcome, wrong.outcome]
    assert isinstance(missing.error, PermanentError)
    assert isinstance(wrong.error, PermanentError)
    assert ("MISSING_INPUT", "INVALID_INPUT") == (missing.error.code, wrong.error.code)


def test_a_result_that_is_not_json_fails_the_step() -> None:
    """It fails permanently, and the error names the part."""
    run = run_step(lambda: {"lock": threading.Lock()})

    assert AttemptOutcome.ERROR == run.outcome
    assert isinstance(run.error, InvalidInput)
    assert "$.lock" == run.error.path


def test_a_result_that_does_not_match_its_schema_is_reported() -> None:
    """
    A worker would warn of it.
    """
    spec = StepSpec(name="x", result_schema={"type": "object", "required": ["id"]})

    assert [()] == [run_step(lambda: {"id": 1}, spec=spec).problems]
    (problem,) = run_step(lambda: {"i": 1}, spec=spec).problems
    assert "id" in problem


def test_the_spec_of_a_template_can_be_given() -> None:
    """With its configuration, retry policy and method; dependencies without a result are None."""
    spec = StepSpec(
        name="charge",
        config={"url": "x"},
        method="refund",
        retry=Retry(retryable=False),
        dependencies=("reserve",),
    )

    class Gateway:
        @handler
        def refund(
            self, url: Annotated[str, Config("url")], reserve: Hold | None, ctx: Context
        ) -> object:
            return [url, reserve, ctx.step, ctx.max_attempts, list(ctx.results)]

    assert ["x", None, "charge", 1, ["reserve"]] == run_step(Gateway, spec=spec).value


def test_a_handler_that_no_step_can_call_is_refused() -> None:
    """It raises instead of returning an outcome."""

    def handler(other: Annotated[int, Result("other")]) -> int:
        return other

    with pytest.raises(Misuse, match="other"):
        run_step(handler)


def test_checkpoints_are_recorded() -> None:
    """Saved ones are recorded, and the previous attempt's can be given."""

    def plain(rows: list[int], ctx: SyncContext) -> int:
        for row in rows[ctx.last_checkpoint or 0 :]:
            ctx.checkpoint(row)
        return len(rows)

    async def asynchronous(ctx: AsyncContext) -> Any:
        await ctx.checkpoint({"a": 1})
        return ctx.last_checkpoint

    run = run_step(plain, input={"rows": [1, 2, 3]}, checkpoint=1, attempt=2)

    assert ((2, 3), 3) == (run.checkpoints, run.value)
    assert ({"a": 1},) == run_step(asynchronous).checkpoints


def test_tasks_that_a_handler_creates_are_recorded() -> None:
    """
    Without a store: template, context and options; the handler gets a pending task.
    """

    async def delegate(ctx: AsyncContext) -> object:
        task = await ctx.client.create_task("payments.refund@2.1.0", {"n": 1}, reason="r")
        assert task == await ctx.client.get(task.id)
        return {"id": task.id, "state": task.status, "template": str(task.template)}

    def blocking(ctx: SyncContext) -> str:
        return str(ctx.client.create_task("payments.refund").template)

    run = run_step(delegate)

    assert {"payments.refund@2.1.0", TaskStatus.PENDING} == set(run.value.values()) - {
        run.value["id"]
    }
    assert (TaskRequest(template="payments.refund@2.1.0", context={"n": 1}, reason="r"),) == (
        run.created
    )
    assert "payments.refund@" == run_step(blocking).value
    with pytest.raises(NotFound):
        raise run_step(_get_unknown).error or AssertionError


async def _get_unknown(ctx: AsyncContext) -> None:
    await ctx.client.get("unknown")


def test_a_wait_for_a_task_parks_the_step() -> None:
    """
    As in a worker, which would call the handler again when the task has ended.
    """

    async def running(ctx: AsyncContext) -> None:
        await ctx.client.run("payments.refund", {"n": 1})

    def waiting(ctx: SyncContext) -> None:
        ctx.client.wait(ctx.client.create_task("payments.refund").id)

    runs = [run_step(running), run_step(waiting)]

    assert [AttemptOutcome.PARKED] * 2 == [run.outcome for run in runs]
    assert [1, 1] == [len(run.created) for run in runs]


def test_a_given_client_is_used() -> None:
    class Fake:
        async def run(self, template: str, context: object) -> str:
            return f"{template} ran"

    async def handler(ctx: AsyncContext) -> Any:
        return await ctx.client.run("a.b", {})

    run = run_step(handler, client=Fake())

    assert ("a.b ran", ()) == (run.value, run.created)


def test_the_context_knows_its_attempt() -> None:
    def handler(ctx: Context) -> object:
        return [
            ctx.attempt,
            ctx.counted_attempts,
            ctx.is_retry,
            ctx.is_last_attempt,
            ctx.correlation_id,
        ]

    first = run_step(handler, correlation_id="c")
    last = run_step(handler, attempt=5, counted_attempts=3)

    assert [1, 1, False, False, "c"] == first.value
    assert [5, 3, True, True, "correlation"] == last.value


def test_a_context_can_be_made_without_a_step() -> None:
    """It can be passed to a handler's code."""
    context = make_context(
        input={"n": 1},
        results={"reserve": {"id": "h"}},
        config={"fee": 2},
        attempt=2,
        blocking=True,
    )

    assert 1 == context.get_input("n")
    assert "h" == context.get_dependency_field("reserve", "id")
    assert 2 == context.get_config("fee")
    assert context.is_retry
    assert TaskStatus.PENDING == context.client.create_task("a.b").status
    context.heartbeat()
    context.checkpoint(5)
    assert 5 == context.last_checkpoint


def test_a_step_uses_the_given_clock() -> None:
    clock = ManualClock(datetime(2040, 2, 29, tzinfo=UTC))

    def only(ctx: Context) -> str:
        return ctx.now().isoformat()

    assert "2040-02-29T00:00:00+00:00" == run_step(only, clock=clock).value
