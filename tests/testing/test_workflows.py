"""Whole workflows on the production engine, with a clock that skips."""

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasker import (
    AsyncContext,
    Context,
    EventSpec,
    HttpCall,
    PermanentError,
    Retry,
    RetryableError,
    StepStatus,
    TaskStatus,
    Template,
    WorkerSettings,
    handler,
)
from tasker.clock import ManualClock
from tasker.errors import HandlerNotFound, InvalidInput, Misuse, WaitTimeout
from tasker.model import AttemptOutcome, Backoff, StepOverride, StepSpec
from tasker.notices import StepStarted, StepWaiting, TaskEnded
from tasker.testing import run_workflow, run_workflow_sync
from tasker.testing.virtual_time import VirtualTimeStore
from tasker.workflow import Workflow

HOURS = Retry(
    max_attempts=6,
    backoff=Backoff.EXPONENTIAL,
    initial_delay=timedelta(hours=1),
    max_delay=timedelta(hours=8),
    jitter=0,
)


def checkout() -> Workflow:
    workflow = Workflow("shop.checkout", version="1.2.0")

    @workflow.step
    def reserve(order_id: str) -> str:
        return f"hold-{order_id}"

    @workflow.step(retry=HOURS)
    async def charge(reserve: str, ctx: Context) -> dict[str, Any]:
        return {"hold": reserve, "attempt": ctx.attempt}

    @workflow.step
    def ship(charge: dict[str, Any]) -> str:
        return f"shipped {charge['hold']}"

    return workflow


def diamond(retry: Retry | None = None) -> Template:
    names = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    return Template(
        namespace="shop",
        name="diamond",
        version="1.0.0",
        steps=tuple(
            StepSpec(name=name, dependencies=waits, retry=retry or Retry())
            for name, waits in names.items()
        ),
    )


def test_a_workflow_runs_to_its_end() -> None:
    """The result has results, order, history and notices."""
    run = run_workflow_sync(checkout(), {"order_id": "7"})

    assert run.ok
    assert TaskStatus.COMPLETE == run.task.status
    assert ("reserve", "charge", "ship") == run.order
    assert {
        "reserve": "hold-7",
        "charge": {"hold": "hold-7", "attempt": 1},
        "ship": "shipped hold-7",
    } == run.results
    assert [1, 1, 1] == [step.attempts for step in run.steps.values()]
    assert ["reserve", "charge", "ship"] == [attempt.step for attempt in run.attempts]
    assert 3 == sum(isinstance(notice, StepStarted) for notice in run.notices)
    assert 1 == sum(isinstance(notice, TaskEnded) for notice in run.notices)
    assert timedelta(0) == run.slept
    assert () == run.children


def test_delays_with_jitter_are_skipped_too() -> None:
    """Also delays that are not whole microseconds, the resolution of clocks."""
    run = run_workflow_sync(
        diamond(Retry(max_attempts=21, jitter=0.5)),
        handlers={name: lambda: None for name in "abcd"},
        failures={"a": [ConnectionError("down")] * 20},
    )

    assert run.ok
    assert 21 == run.steps["a"].attempts


def test_hours_of_backoff_take_no_time() -> None:
    """The first attempts fail as configured; delays come from the template and the error."""
    began = time.monotonic()

    run = run_workflow_sync(
        checkout(),
        {"order_id": "7"},
        failures={
            "charge": [
                ConnectionError("a"),
                ConnectionError("b"),
                RetryableError("c", retry_after=timedelta(hours=20)),
            ]
        },
    )

    assert run.ok
    assert 4 == run.steps["charge"].attempts
    assert timedelta(hours=1 + 2 + 20) == run.slept
    assert [AttemptOutcome.RETRY] * 3 + [AttemptOutcome.COMPLETE] == [
        attempt.outcome for attempt in run.attempts if attempt.step == "charge"
    ]
    assert time.monotonic() - began < 60


def test_a_permanently_failed_step_is_reported() -> None:
    """
    As the end of the run, not as an exception.
    """
    run = run_workflow_sync(
        checkout(), {"order_id": "7"}, failures={"reserve": [PermanentError("none", code="OUT")]}
    )

    assert not run.ok
    assert (TaskStatus.ERROR, StepStatus.ERROR, StepStatus.PENDING) == (
        run.task.status,
        run.steps["reserve"].status,
        run.steps["charge"].status,
    )
    assert run.steps["reserve"].error is not None
    assert "OUT" == run.steps["reserve"].error["code"]
    assert ((), {}) == (run.order, run.results)


def test_attempts_are_exhausted() -> None:
    """
    When every attempt fails the step does.
    """
    run = run_workflow_sync(
        checkout(),
        {"order_id": "7"},
        failures={"charge": [ConnectionError(str(n)) for n in range(9)]},
    )

    assert (TaskStatus.ERROR, 6) == (run.task.status, run.steps["charge"].attempts)
    assert timedelta(hours=1 + 2 + 4 + 8 + 8) == run.slept


def test_stubs_replace_handlers() -> None:
    """
    A value is the result; a handler gets its parameters; an exception is raised.
    """

    async def charge(reserve: str, order_id: str, ctx: Context) -> str:
        return f"{ctx.step} {reserve} {order_id}"

    run = run_workflow_sync(
        checkout(),
        {"order_id": "7"},
        stubs={"reserve": "stubbed", "charge": charge, "ship": PermanentError("no")},
    )

    assert {"reserve": "stubbed", "charge": "charge stubbed 7"} == run.results
    assert StepStatus.ERROR == run.steps["ship"].status


def test_a_template_without_handlers_can_be_stubbed_completely() -> None:
    """Only its shape is tested then."""
    run = run_workflow_sync(diamond(), stubs={"a": 1, "b": None, "c": [3], "d": {"n": 4}})

    assert {"a": 1, "b": None, "c": [3], "d": {"n": 4}} == run.results
    assert ("a", "d") == (run.order[0], run.order[-1])


def test_two_steps_with_one_handler_can_be_stubbed_separately() -> None:
    """Stubs belong to steps, not to handlers."""
    template = Template(
        namespace="shop",
        name="twins",
        version="1.0.0",
        steps=(StepSpec(name="left", callable="work"), StepSpec(name="right", callable="work")),
    )

    run = run_workflow_sync(template, handlers={"work": lambda: "real"}, stubs={"left": "stub"})

    assert {"left": "stub", "right": "real"} == run.results


def test_a_template_can_be_read_from_its_file(tmp_path: Path) -> None:
    """
    Its handlers are given in all the ways that a worker takes them.
    """

    @handler("Shop.First")
    def first() -> int:
        return 1

    file = tmp_path / "two.yaml"
    file.write_text(
        "name: two\nnamespace_name: shop\nversion: 1.0.0\nsteps:\n"
        "  - {name: first, handler: {callable: 'Shop::First'}}\n"
        "  - {name: second, dependencies: [first]}\n"
    )

    run = run_workflow_sync(file, handlers=[first, {"second": lambda: 2}])

    assert {"first": 1, "second": 2} == run.results


@pytest.mark.anyio
async def test_a_run_can_be_awaited() -> None:
    """Async tests can await it."""
    run = await run_workflow(checkout(), {"order_id": "7"})

    assert run.ok


def test_branches_share_virtual_time() -> None:
    """Two delayed steps become due one after the other without waiting twice."""
    run = run_workflow_sync(
        diamond(HOURS),
        stubs={"a": 0, "b": 0, "c": 0, "d": 0},
        failures={"b": [ConnectionError()] * 3, "c": [RetryableError(retry_after=5 * 3600)]},
    )

    assert ("a", "c", "b", "d") == run.order
    assert timedelta(hours=7) == run.slept


def test_a_task_with_a_later_start_runs() -> None:
    """
    The wait for its `run_at` is skipped as well, from where the test's clock begins.
    """
    clock = ManualClock(datetime(2040, 2, 29, tzinfo=UTC))

    run = run_workflow_sync(
        checkout(),
        {"order_id": "7"},
        clock=clock,
        run_at=datetime(2040, 3, 7, 12, tzinfo=UTC),
        correlation_id="c-1",
    )

    assert run.ok
    assert timedelta(days=7, hours=12) == run.slept
    assert datetime(2040, 3, 7, 12, tzinfo=UTC) == run.task.ended_at == clock.now()
    assert "c-1" == run.task.correlation_id


def test_a_task_ends_at_its_deadline_in_virtual_time() -> None:
    """
    A task whose retries would take longer ends when its time is over.
    """
    run = run_workflow_sync(
        checkout(),
        {"order_id": "7"},
        deadline=timedelta(hours=2),
        failures={"charge": [ConnectionError()] * 5},
    )

    assert run.task.error is not None
    assert (TaskStatus.ERROR, "deadline_exceeded") == (run.task.status, run.task.error["code"])
    assert (timedelta(hours=2), 2) == (run.slept, run.steps["charge"].attempts)


def test_child_tasks_run_too() -> None:
    """All of them have ended at the end of the run."""
    child = Template(
        namespace="payments",
        name="refund",
        version="1.0.0",
        steps=(StepSpec(name="refund", retry=HOURS),),
    )
    parent = Workflow("support.refund", version="1.0.0")

    @parent.step
    async def delegate(ctx: AsyncContext, amount: int) -> str:
        await ctx.client.create_task("payments.refund", {"amount": amount}, tags=("unawaited",))
        return str((await ctx.client.run("payments.refund", {"amount": amount + 1})).status)

    def refund(amount: int, ctx: Context) -> int:
        if ctx.attempt == 1:
            raise ConnectionError
        return amount

    run = run_workflow_sync(parent, {"amount": 1}, handlers={"refund": refund}, templates=[child])

    assert {"delegate": "complete"} == run.results
    assert [TaskStatus.COMPLETE] * 2 == [task.status for task in run.children]
    assert [run.task.id] * 2 == [task.parent_id for task in run.children]
    assert [("unawaited",), ()] == sorted((task.tags for task in run.children), reverse=True)
    assert 1 == sum(isinstance(notice, StepWaiting) for notice in run.notices)
    assert timedelta(hours=1) == run.slept


def test_the_settings_of_a_worker_apply() -> None:
    """
    The environment, say.
    """
    template = Template(
        namespace="shop",
        name="one",
        version="1.0.0",
        steps=(StepSpec(name="x", config={"n": 1}),),
        environments={"test": {"x": StepOverride(config={"n": 2})}},
    )

    def x(ctx: Context) -> Any:
        return ctx.config["n"]

    settings = [WorkerSettings(), WorkerSettings(environment="test")]
    runs = [run_workflow_sync(template, handlers={"x": x}, settings=each) for each in settings]

    assert [1, 2] == [run.results["x"] for run in runs]


def test_an_unknown_step_is_an_error_of_the_test() -> None:
    """Raised before any step runs, with a suggestion."""
    with pytest.raises(Misuse, match="did you mean 'charge'"):
        run_workflow_sync(checkout(), {"order_id": "7"}, stubs={"chrage": 1})
    with pytest.raises(Misuse, match="no step 'other'"):
        run_workflow_sync(checkout(), {"order_id": "7"}, failures={"other": [ValueError()]})


def test_a_stub_of_a_step_without_a_handler_is_refused_with_what_to_pass_instead() -> None:
    flow = Workflow("shop.order", version="1.0.0")
    flow.task("refund", "payments.refund", {})
    flow.wait("paid", signal="paid")
    flow.approval("agree")

    for step, advice in (
        ("refund", "the workflow or template of payments.refund in `templates`"),
        ("paid", "the signals that it waits for in `signals`"),
        ("agree", "the form of the approval in `decisions`"),
    ):
        reason = f"step '{step}' of shop.order@1.0.0 has no handler that a stub could replace"
        with pytest.raises(Misuse, match=re.escape(f"{reason}; pass {advice}")):
            run_workflow_sync(flow, stubs={step: 1})


def test_an_http_step_without_a_stub_is_refused() -> None:
    flow = Workflow("shop.rates", version="1.0.0")
    flow.add("rate", http=HttpCall(url="https://rates.example.com"))

    with pytest.raises(HandlerNotFound, match="step rate: an http step needs a stub in a test"):
        run_workflow_sync(flow)


def test_a_step_without_handler_or_stub_is_reported() -> None:
    """The error is that of a worker's start."""
    with pytest.raises(HandlerNotFound, match="step c"):
        run_workflow_sync(diamond(), stubs={"a": 1, "b": 2})


def test_an_invalid_context_is_refused() -> None:
    """The error is that of every client."""
    workflow = Workflow("shop.strict", version="1.0.0", input={"required": ["n"]})
    workflow.add("x")

    with pytest.raises(InvalidInput):
        run_workflow_sync(workflow, {}, stubs={"x": 1})


def test_a_handler_that_hangs_does_not_hang_the_test() -> None:
    """The error names the step."""
    hangs, timeout = False, 0.2

    async def reserve() -> None:
        nonlocal hangs
        hangs = True
        await asyncio.sleep(3600)

    while not hangs:  # the time may be over before a step begins
        with pytest.raises(WaitTimeout) as raised:
            run_workflow_sync(checkout(), {}, stubs={"reserve": reserve}, timeout=timeout)
        timeout *= 2

    assert "reserve is in_progress" in str(raised.value)


def test_a_task_that_cannot_continue_is_reported() -> None:
    """A step waits for a task whose steps have no handler here."""
    parent = Workflow("support.stuck", version="1.0.0")

    @parent.step
    async def delegate(ctx: AsyncContext) -> None:
        await ctx.client.register(
            Template(namespace="x", name="y", version="1.0.0", steps=(StepSpec(name="z"),))
        )
        await ctx.client.run("x.y")

    with pytest.raises(WaitTimeout, match=r"no worker can continue it.*delegate is waiting"):
        run_workflow_sync(parent)


def test_many_steps_run_quickly() -> None:
    """
    Fan-outs of hundreds are fine in a unit test.
    """
    wide = [f"s{n}" for n in range(300)]
    template = Template(
        namespace="shop",
        name="wide",
        version="1.0.0",
        steps=(
            *(StepSpec(name=name, callable="work", retry=HOURS) for name in wide),
            StepSpec(name="end", dependencies=tuple(wide)),
        ),
    )

    run = run_workflow_sync(
        template,
        handlers={"work": lambda: 1, "end": lambda: 2},
        failures={name: [ConnectionError()] for name in wide[::10]},
    )

    assert run.ok
    assert 301 + 30 == len(run.attempts)
    assert timedelta(hours=1) == run.slept


# ------------------------------------------------------------------------------- time


def test_now_in_a_handler_is_the_clock_of_the_test() -> None:
    seen: list[datetime] = []

    def only(ctx: Context) -> None:
        seen.append(ctx.now())
        if ctx.attempt == 1:
            raise RetryableError("later", retry_after="1d")

    start = datetime(2040, 2, 28, tzinfo=UTC)
    template = Template(
        namespace="n", name="t", version="1.0.0", steps=(StepSpec(name="only", retry=HOURS),)
    )
    run_workflow_sync(template, handlers={"only": only}, clock=ManualClock(start))

    assert [start, start + timedelta(days=1)] == seen


@pytest.mark.parametrize("way", ["delay", "run_at"])
def test_a_child_that_starts_in_a_day_is_awaited_in_virtual_time(way: str) -> None:
    child = Workflow("n.child")
    child.step(name="only")(lambda: 1)
    parent = Workflow("n.parent")

    @parent.step
    async def wait(ctx: AsyncContext) -> float:
        began = datetime.fromisoformat(ctx.last_checkpoint or ctx.now().isoformat())
        await ctx.checkpoint(began.isoformat())
        if way == "delay":
            await ctx.client.run(child, delay="1d")
        else:
            await ctx.client.run(child, run_at=ctx.now() + timedelta(days=1))
        return (ctx.now() - began) / timedelta(days=1)

    run = run_workflow_sync(parent, templates=[child])

    assert (1.0, timedelta(days=1)) == (run.result, run.slept)


def test_a_task_with_a_delay_starts_after_it() -> None:
    run = run_workflow_sync(checkout(), {"order_id": "7"}, delay="36h")

    assert run.ok
    assert timedelta(hours=36) == run.slept


# ------------------------------------------------------------- signals and days of waiting


def test_days_of_waiting_and_signals_take_milliseconds() -> None:
    """A signal is sent when a step waits for it; a wait without one times out."""
    flow = Workflow("shop.order", version="1.0.0")

    @flow.step
    async def order(ctx: AsyncContext) -> list[Any]:
        await ctx.sleep("2d")
        paid = await ctx.wait_signal("paid", key="o-1", timeout="3d")
        late = await ctx.wait_signal("shipped", timeout="30d", on_timeout="continue")
        return [paid, late, await ctx.wait_signal("paid")]

    run = run_workflow_sync(flow, signals=[("paid", 1), ("paid", 2)])

    assert [1, None, 2] == run.result
    assert timedelta(days=32) == run.slept


@pytest.mark.anyio
async def test_a_task_that_is_created_during_a_look_for_idle_time_runs_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The look saw nothing to do, but there is something when it ends."""

    looking, created = asyncio.Event(), asyncio.Event()
    create = VirtualTimeStore._create_in_own_transaction

    async def look(self: VirtualTimeStore) -> bool:
        looking.set()
        await created.wait()
        for _ in range(50):  # `run_workflow` goes on in the meantime
            await asyncio.sleep(0)
        return False

    async def create_during_look(self: VirtualTimeStore, creation: Any, *how: bool) -> Any:
        await looking.wait()
        result = await create(self, creation, *how)
        created.set()
        return result

    monkeypatch.setattr(VirtualTimeStore, "_send_next_signal", look)
    monkeypatch.setattr(VirtualTimeStore, "_create_in_own_transaction", create_during_look)

    assert (await run_workflow(checkout(), {"order_id": "7"})).ok


def test_a_signal_that_never_comes_is_named() -> None:
    flow = Workflow("shop.order", version="1.0.0")

    @flow.step
    async def order(ctx: AsyncContext) -> None:
        await ctx.wait_signal("paid")

    unused = (
        r"order is waiting; the signal 'sent' was not used \(steps waited for signals: 'paid'\)"
    )
    with pytest.raises(WaitTimeout, match=unused):
        run_workflow_sync(flow, signals=[("sent", 1)])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"signals": [("paid", 1), ("payed", 2), ("paid", 3)]},
            "the signals 'payed', 'paid' were not used (steps waited for signals: 'paid');"
            " the task ended as complete",
        ),
        (
            {"signals": [("paid", 1)], "decisions": [{"approved": True}]},
            'the decision {"approved":true} was not used (no step waited for approvals);'
            " the task ended as complete",
        ),
        (
            {"signals": [("paid", 0)], "completions": [{"result": 1}]},
            'the completion {"result":1} was not used (no step waited for other systems);'
            " the task ended as error, order: not a cent",
        ),
    ],
)
def test_what_nothing_waited_for_is_an_error(given: Any, message: str) -> None:
    """It names what was not used, and what the workflow waited for."""
    flow = Workflow("shop.order", version="1.0.0")

    @flow.step
    async def order(ctx: AsyncContext) -> None:
        if not await ctx.wait_signal("paid"):
            raise PermanentError("not a cent")

    with pytest.raises(Misuse, match=re.escape(message)):
        run_workflow_sync(flow, **given)


def test_the_result_contains_the_published_events() -> None:
    flow = Workflow("order")

    @flow.step(events=["payment.charged", EventSpec("payment.refused", "failure")])
    def charge(cents: int) -> int:
        return cents

    ran = run_workflow_sync(flow, {"cents": 5})

    assert [("payment.charged", 5)] == [(event.name, event.payload) for event in ran.events]
