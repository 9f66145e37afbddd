"""Flaws that workflow engines have had. Each test shows one that is not here."""

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.engine.factories import SOON, Unreliable, of_kind, step, template
from tests.waiting import eventually

from tasker import (
    Context,
    InvalidTemplate,
    LocalClient,
    Retry,
    RetryableError,
    StepStatus,
    TaskStatus,
    Worker,
    WorkerSettings,
    open_store,
    parse_template,
)
from tasker.clock import ManualClock
from tasker.errors import IdempotencyConflict, StoreError, TaskFailed
from tasker.model import Backoff, JsonText, Step, Task, WorkerId, completed_outcome
from tasker.notices import Notice, SettlementRejected, StepSettled
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("flow", "only")


async def steps_of(store: Store, task: Task) -> dict[str, Step]:
    return {step.name: step for step in await store.list_steps(task.id)}


async def register_worker(store: Store, name: str) -> WorkerId:
    """Register a worker that serves all queues."""
    worker = await store.register_worker(name, lease=SOON, slots=1, handlers=[])
    await store.add_served_queues(worker, [queue.base for queue in await store.list_queues()])
    return worker


def broken() -> None:
    raise ValueError("broken")


# ------------------------------------------------------------------- lost work


async def test_a_step_survives_the_worker_that_claimed_it(store: Store) -> None:
    """
    A step that was handed to a worker is not gone with it.
    """
    client = LocalClient(store)
    await client.register(FLOW)
    task = await client.create_task("n.flow")
    dead = await register_worker(store, "dead")
    assert 1 == len((await store.claim(dead, 1)).claims)
    await store.retire_worker(dead)  # as if its lease had expired

    async with Worker(store, [{"only": lambda: "done"}], namespaces=["n"]):
        task = await client.wait(task.id, timeout=SOON)

    assert TaskStatus.COMPLETE == task.status
    assert 2 == (await steps_of(store, task))["only"].attempts


async def test_steps_without_a_notification_are_found(store: Store) -> None:
    """
    There is no message to lose between a stored step and its worker: the row is the message.
    """
    client = LocalClient(store)
    await client.register(template("chain", "first", step("second", "first")))
    task = await client.create_task("n.chain")
    worker = await register_worker(store, "manual")
    [claim] = (await store.claim(worker, 1)).claims
    await store.settle(
        worker, [completed_outcome(claim, JsonText("1"))]
    )  # and dies before it tells anybody

    async with Worker(
        store, [{"first": lambda: 1, "second": lambda first: first}], namespaces=["n"]
    ):
        task = await client.wait(task.id, timeout=SOON)

    assert TaskStatus.COMPLETE == task.status


async def test_a_result_waits_for_an_unavailable_store(memory: Store) -> None:
    """No circuit breaker drops finished results."""
    calls = 0

    def only() -> int:
        nonlocal calls
        calls += 1
        return calls

    store = Unreliable(memory)
    async with Worker(store, [{"only": only}], templates=[FLOW]) as worker:
        store.refuse("settle", 4)
        task = await worker.client.run("n.flow", timeout=SOON)

    assert (1, 1) == (calls, (await steps_of(memory, task))["only"].result)


async def test_a_store_call_is_atomic(tmp_path: Path) -> None:
    """A transition and its columns are written in one transaction."""
    file = tmp_path / "tasker.db"
    async with open_store(f"sqlite:{file}") as store:
        client = LocalClient(store)
        await client.register(template("chain", "first", step("second", "first")))
        task = await client.create_task("n.chain")
        worker = await register_worker(store, "manual")
        [claim] = (await store.claim(worker, 1)).claims
        before = await store.list_steps(task.id)
        with sqlite3.connect(file) as other:
            other.execute(
                "create trigger no_children before update on step when new.no = 2"
                " begin select raise(abort, 'the disk has a hole here'); end"
            )
        other.close()
        with pytest.raises(StoreError, match="the disk has a hole here"):
            await store.settle(worker, [completed_outcome(claim, JsonText("1"))])

        assert before == await store.list_steps(task.id)
        assert [] == await store.list_attempts(task.id)


async def test_a_late_result_does_not_overwrite_a_newer_one(store: Store) -> None:
    """
    Every transition compares before it sets.
    """
    client = LocalClient(store)
    await client.register(FLOW)
    task = await client.create_task("n.flow")
    slow = await register_worker(store, "slow")
    [late] = (await store.claim(slow, 1)).claims
    await store.retire_worker(slow)  # as if its lease had expired
    async with Worker(store, [{"only": lambda: "in time"}], namespaces=["n"]):
        await client.wait(task.id, timeout=SOON)
    settled = await store.settle(slow, [completed_outcome(late, JsonText('"late"'))])

    assert [0] == list(settled.rejected)
    assert "in time" == (await steps_of(store, task))["only"].result


# --------------------------------------------------------------- retries and times


async def test_a_retry_waits_for_the_backoff_of_the_template(memory: Store) -> None:
    flow = parse_template(
        """
        name: flow
        namespace_name: n
        version: 1.0.0
        steps:
          - name: only
            handler: {callable: only}
            retry: {max_attempts: 4, backoff: exponential, backoff_base_ms: 20, max_backoff_ms: 50}
        """
    )
    assert Backoff.EXPONENTIAL == flow.steps[0].retry.backoff
    events: list[Notice] = []
    async with Worker(
        memory, [{"only": broken}], templates=[flow], observers=[events.append]
    ) as worker:
        with pytest.raises(TaskFailed):
            await worker.client.run("n.flow", timeout=SOON)
        await eventually(lambda: 4 == len(of_kind(StepSettled, events)))

    jitter = flow.steps[0].retry.jitter
    delays = [event.delay.total_seconds() for event in of_kind(StepSettled, events)]
    for wanted, delay in zip([0.02, 0.04, 0.05, 0], delays, strict=True):
        assert wanted * (1 - jitter) <= delay <= wanted * (1 + jitter)


async def test_the_timeout_of_the_template_is_enforced(memory: Store) -> None:
    flow = parse_template(
        """
        name: flow
        namespace_name: n
        version: 1.0.0
        steps:
          - name: only
            handler: {callable: only}
            timeout_seconds: 0.05
            retry: {max_attempts: 1}
        """
    )

    async def only() -> None:
        await asyncio.Event().wait()

    async with Worker(memory, [{"only": only}], templates=[flow]) as worker:
        with pytest.raises(TaskFailed) as failed:
            await worker.client.run("n.flow", timeout=SOON)

    ended = (await steps_of(memory, failed.value.task))["only"]
    assert "timeout" == (ended.error or {})["code"]


@pytest.mark.parametrize("hours", [1, 20])
async def test_a_long_delay_ends_on_time(hours: int) -> None:
    """No discovery or staleness window ends it."""

    def only(context: Context) -> str:
        if context.attempt == 1:
            raise RetryableError("tomorrow", retry_after=timedelta(hours=hours))
        return "done"

    clock = ManualClock()
    settings = WorkerSettings(poll=timedelta(seconds=0.01), lease=timedelta(days=2))
    async with (
        open_store("sqlite::memory:", clock=clock) as store,
        Worker(store, [{"only": only}], templates=[FLOW], settings=settings) as worker,
    ):
        task = await worker.client.create_task("n.flow")
        await eventually(lambda: _waits_for_retry(store, task))
        clock.advance(timedelta(hours=hours))
        task = await worker.client.wait(task.id, timeout=SOON)

    assert TaskStatus.COMPLETE == task.status


async def _waits_for_retry(store: Store, task: Task) -> bool:
    return (await store.get_task(task.id)).counts.waiting_for_retry == 1


async def test_a_step_that_is_not_retryable_ignores_requests_for_a_retry(
    store: Store,
) -> None:
    """Such a step is neither retried nor left open."""

    def only() -> None:
        raise RetryableError("again, please", retry_after=3600)

    flow = template("flow", step("only", retry=Retry(retryable=False)))
    async with Worker(store, [{"only": only}], templates=[flow]) as worker:
        with pytest.raises(TaskFailed) as failed:
            await worker.client.run("n.flow", timeout=SOON)

    assert (StepStatus.ERROR, 1) == (
        (ended := (await steps_of(store, failed.value.task))["only"]).status,
        ended.attempts,
    )


# ------------------------------------------------------------------- tasks that hang


async def test_a_task_that_cannot_continue_ends(store: Store) -> None:
    """After a failure, the remaining runnable steps run, then the task ends."""
    flow = template(
        "flow", step("bad", retry=Retry(max_attempts=1)), "good", step("after", "bad", "good")
    )
    async with Worker(
        store, [{"bad": broken, "good": lambda: 1, "after": lambda: 1}], templates=[flow]
    ) as worker:
        with pytest.raises(TaskFailed) as failed:
            await worker.client.run("n.flow", timeout=SOON)

    task, steps = failed.value.task, await steps_of(store, failed.value.task)
    assert [StepStatus.ERROR, StepStatus.COMPLETE, StepStatus.PENDING] == [
        steps[name].status for name in ("bad", "good", "after")
    ]
    assert (TaskStatus.ERROR, ["bad"]) == (task.status, (task.error or {})["steps"])


@pytest.mark.parametrize("how", ["resolve", "complete", "retry"])
async def test_a_resolved_step_reopens_its_task(store: Store, how: str) -> None:
    mended = False

    def bad() -> str:
        if not mended:
            raise ValueError("not yet")
        return "mended"

    flow = template("flow", step("bad", retry=Retry(max_attempts=1)), step("after", "bad"))
    async with Worker(store, [{"bad": bad, "after": lambda bad: bad}], templates=[flow]) as worker:
        client = worker.client
        with pytest.raises(TaskFailed) as failed:
            await client.run("n.flow", timeout=SOON)
        task, mended = failed.value.task, True
        if how == "resolve":
            await client.resolve(task.id, "bad", "by hand", reason="test")
        elif how == "complete":
            await client.complete_step(task.id, "bad", "by hand", reason="test")
        else:
            await client.retry(task.id, reason="test")
        task = await client.wait(task.id, timeout=SOON)

    assert TaskStatus.COMPLETE == task.status
    assert ("mended" if how == "retry" else "by hand") == (await steps_of(store, task))[
        "after"
    ].result
    assert task.ended_at is not None


async def test_a_retry_restores_all_attempts(store: Store) -> None:
    """
    A step that used up its attempts is not left ineligible after its reset.
    """
    flow = template("flow", step("only", retry=Retry(max_attempts=3, backoff=Backoff.NONE)))
    async with Worker(store, [{"only": broken}], templates=[flow]) as worker:
        client = worker.client
        with pytest.raises(TaskFailed) as failed:
            await client.run("n.flow", timeout=SOON)
        task = failed.value.task
        attempts = []
        for reset in (False, True):
            await client.retry(task.id, reset_attempts=reset, reason="test")
            with pytest.raises(TaskFailed):
                await client.wait(task.id, timeout=SOON)
            attempts.append((await steps_of(store, task))["only"].attempts)

    assert [3 + 1, 3 + 1 + 3] == attempts


async def test_every_way_to_end_sets_the_end_time(store: Store) -> None:
    flow = template("flow", step("only", retry=Retry(max_attempts=1)))
    client = LocalClient(store)
    await client.register(flow)
    await client.register(template("fine"))
    cancelled = await client.create_task("n.flow")
    await client.cancel(cancelled.id)
    async with Worker(store, [{"only": broken, "fine": lambda: 1}], namespaces=["n"]):
        failing, fine = [await client.create_task(f"n.{name}") for name in ("flow", "fine")]
        await client.wait(fine.id, timeout=SOON)
        with pytest.raises(TaskFailed):
            await client.wait(failing.id, timeout=SOON)
    resolved = await client.create_task("n.flow")

    for task in (cancelled, failing, fine):
        ended = await client.get(task.id)
        assert ended.ended_at is not None
        assert ended.created_at <= ended.ended_at
    assert (await client.get(resolved.id)).ended_at is None


# ------------------------------------------------------------------------ templates


async def test_cycles_are_refused_with_their_steps(memory: Store) -> None:
    """Cycles of any length, from text or from values."""
    knot = template("knot", step("a", "c"), step("b", "a"), step("c", "b"))
    with pytest.raises(InvalidTemplate, match=r"a.*c.*b.*a"):
        await LocalClient(memory).register(knot)


async def test_unknown_keys_in_a_template_are_refused() -> None:
    with pytest.raises(InvalidTemplate, match=r"timeout_secs.*timeout_seconds"):
        parse_template(
            """
            name: flow
            namespace_name: n
            version: 1.0.0
            steps:
              - name: only
                handler: {callable: only}
                timeout_secs: 5
            """
        )


async def test_a_replaced_template_does_not_affect_running_tasks(store: Store) -> None:
    client = LocalClient(store)
    await client.register(FLOW)
    old = await client.create_task("n.flow")
    await client.register(template("flow", "only", "another"), replace=True)
    new = await client.create_task("n.flow")
    async with Worker(store, [{"only": lambda: 1, "another": lambda: 2}], namespaces=["n"]):
        for task in (old, new):
            await client.wait(task.id, timeout=SOON)

    assert ["only"] == list(await steps_of(store, old))
    assert ["only", "another"] == list(await steps_of(store, new))


async def test_a_step_waits_for_all_its_dependencies(store: Store) -> None:
    """Other dependencies may have ended long before."""
    gate = asyncio.Event()

    async def slow() -> str:
        await gate.wait()
        return "slow"

    flow = template("flow", "slow", "quick", step("join", "slow", "quick"))
    async with Worker(
        store,
        [{"slow": slow, "quick": lambda: "quick", "join": lambda slow, quick: [slow, quick]}],
        templates=[flow],
    ) as worker:
        task = await worker.client.create_task("n.flow")
        await eventually(lambda: _done(store, task, "quick"))
        waiting = (await steps_of(store, task))["join"]
        gate.set()
        await worker.client.wait(task.id, timeout=SOON)

    assert (StepStatus.PENDING, 1) == (waiting.status, waiting.pending_parents)
    assert ["slow", "quick"] == (await steps_of(store, task))["join"].result


async def _done(store: Store, task: Task, name: str) -> bool:
    return (await steps_of(store, task))[name].status is StepStatus.COMPLETE


# --------------------------------------------------------------------------- inputs


async def test_an_idempotency_key_creates_one_task(store: Store) -> None:
    client = LocalClient(store)
    await client.register(FLOW)
    first = await client.create_task("n.flow", {"a": 1}, idempotency_key="k")
    again = await client.create_task("n.flow", {"a": 1}, idempotency_key="k")

    assert (first.id, True, False) == (again.id, first.created, again.created)
    with pytest.raises(IdempotencyConflict):
        await client.create_task("n.flow", {"a": 2}, idempotency_key="k")


async def test_values_are_returned_unchanged(store: Store) -> None:
    """Values are not sanitised: neither keys that begin with "on", nor markup, nor code."""
    given: dict[str, Any] = {
        "on": True,
        "onboarding": {"one": 1, "onclick": "alert(1)"},
        "<script>": "</script><!-- -->",
        "$ref": "../../etc/passwd",
        "quote": "'; drop table task; --",
        "null": None,
        "deep": [[[{"": ["\u2028", "\U0001f600", "\\u0041"]}]]],
        "number": [0.1, -0.0, 1e300, 2**63 - 1, -(2**63)],
    }

    def only(context: Context) -> object:
        return dict(context.input)

    async with Worker(store, [{"only": only}], templates=[FLOW]) as worker:
        task = await worker.client.run("n.flow", given, timeout=SOON)

    assert given == task.context
    assert given == (await steps_of(store, task))["only"].result


async def test_a_step_that_no_worker_can_run_does_not_delay_others(store: Store) -> None:
    """It stays in its queue until a worker serves it."""
    client = LocalClient(store)
    await client.register(template("flow", step("foreign"), step("own")))
    events: list[Notice] = []
    async with Worker(store, [{"own": lambda: 1}], namespaces=["n"], observers=[events.append]):
        task = await client.create_task("n.flow")
        await eventually(lambda: _done(store, task, "own"))
        foreign = (await steps_of(store, task))["foreign"]
    async with Worker(store, [{"foreign": lambda: 2}], namespaces=["n"]):
        await client.wait(task.id, timeout=SOON)

    assert (StepStatus.ENQUEUED, 0) == (foreign.status, foreign.attempts)
    assert [] == of_kind(SettlementRejected, events)
