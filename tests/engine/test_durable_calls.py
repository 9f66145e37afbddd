"""Durable calls in handlers: what is done once is not done again."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.engine.computing import call_once
from tests.engine.factories import SOON, template
from tests.waiting import eventually

from tasker import AsyncContext, PermanentError, RetryableError, SyncContext, TaskFailed, Worker
from tasker.client import Client
from tasker.durable import NewDurableCall
from tasker.errors import StoreUnavailable
from tasker.limits import DURABLE_CALLS
from tasker.model import StepStatus, Task
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("flow", "only")


async def run(store: Store, handler: object) -> Task:
    """Run a task of one step, which has three attempts."""
    async with Worker(store, [{"only": handler}], templates=[FLOW]) as worker:
        return await worker.client.run("n.flow", timeout=SOON)


async def code_of(store: Store, handler: object) -> tuple[str | None, str]:
    """Run a task whose step fails; return the code and the message of its error."""
    with pytest.raises(TaskFailed) as failure:
        await run(store, handler)
    failed = failure.value.task.failure
    assert failed is not None
    return failed.code, failed.message


async def test_recorded_calls_are_not_repeated_by_the_next_attempt(store: Store) -> None:
    """In an async handler, with functions of both kinds, and in loops."""
    calls: Counter[str] = Counter()

    async def fetch(name: str, *, times: int) -> dict[str, int]:
        calls[name] += 1
        return {"value": times}

    def add(number: int) -> int:
        calls[f"add-{number}"] += 1
        return number

    async def only(ctx: AsyncContext) -> Any:
        fetched = await ctx.once("fetch", fetch, "fetch", times=7)
        rows = [await ctx.once(f"row-{number}", add, number) for number in range(3)]
        if ctx.attempt < 3:
            raise RetryableError("again")
        return [fetched, rows]

    task = await run(store, only)

    assert [{"value": 7}, [0, 1, 2]] == task.result
    assert {"fetch": 1, "add-0": 1, "add-1": 1, "add-2": 1} == calls


async def test_a_sync_handler_has_the_same_calls(store: Store) -> None:
    calls: list[int] = []

    def only(ctx: SyncContext) -> Any:
        results = [ctx.once(f"row-{number}", lambda: calls.append(1)) for number in range(3)]
        results.append(ctx.once("last", divmod, 7, 2))
        if not ctx.is_retry:
            raise RetryableError("again")
        return results

    task = await run(store, only)

    assert [None, None, None, [3, 1]] == task.result
    assert [1, 1, 1] == calls


async def test_both_attempts_get_the_result_in_its_json_form(store: Store) -> None:
    seen: list[object] = []

    async def only(ctx: AsyncContext) -> None:
        seen.append(await ctx.once("pair", lambda: (1, {2})))
        if not ctx.is_retry:
            raise RetryableError("again")

    await run(store, only)

    assert [[1, [2]], [1, [2]]] == seen


async def test_a_failing_function_is_called_again(store: Store) -> None:
    attempts: list[int] = []

    async def only(ctx: AsyncContext) -> Any:
        def fails() -> str:
            attempts.append(ctx.attempt)
            if ctx.attempt < 3:
                raise OSError("not yet")
            return "done"

        return await ctx.once("fails", fails)

    task = await run(store, only)

    assert ("done", [1, 2, 3]) == (task.result, attempts)


async def test_two_calls_with_the_same_name_in_an_attempt_are_a_permanent_error(
    store: Store,
) -> None:
    async def only(ctx: AsyncContext) -> None:
        await ctx.once("charge", str)
        await ctx.once("charge", str)

    code, message = await code_of(store, only)

    assert "durable_call_conflict" == code
    assert "two durable calls with the name 'charge'" in message


async def test_calls_beyond_the_limit_are_a_permanent_error(store: Store) -> None:
    async def only(ctx: AsyncContext) -> None:
        await asyncio.gather(*(ctx.once(f"row-{n}", str) for n in range(DURABLE_CALLS)))
        await ctx.once("last", str)

    code, message = await code_of(store, only)

    assert "too_many_durable_calls" == code
    assert "1,000 durable calls" in message


async def test_values_beyond_the_limit_of_a_step_are_a_permanent_error(store: Store) -> None:
    """The limit counts all attempts together."""

    async def only(ctx: AsyncContext) -> None:
        if not ctx.is_retry:
            await ctx.once("half", lambda: "x" * 600_000)
            raise RetryableError("again")
        await ctx.once("other", lambda: "x" * 600_000)

    code, message = await code_of(store, only)

    assert "too_large" == code
    assert "the durable call data of step 'only' is" in message


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "must have 1 to 200 characters; '' has 0"),
        ("x" * 201, f"must have 1 to 200 characters; '{'x' * 50}' has 201"),
        ("nul\0", "must not contain NUL or unpaired surrogates"),
    ],
)
async def test_an_invalid_name_is_a_permanent_error(store: Store, name: str, problem: str) -> None:
    async def only(ctx: AsyncContext) -> None:
        await ctx.once(name, str)

    code, message = await code_of(store, only)

    assert "invalid_input" == code
    assert f"a durable call's name {problem}" in message


async def test_a_fresh_retry_repeats_the_recorded_calls(store: Store) -> None:
    calls: list[int] = []

    async def only(ctx: AsyncContext) -> Any:
        await ctx.once("charge", lambda: calls.append(1))
        if ctx.attempt < 3:
            raise PermanentError("stop")

    async with Worker(store, [{"only": only}], templates=[FLOW]) as worker:
        task = await worker.client.create_task("n.flow")
        for fresh in (False, True):
            with pytest.raises(TaskFailed):
                await worker.client.wait(task.id, timeout=SOON)
            await worker.client.retry(task.id, fresh=fresh)
        await worker.client.wait(task.id, timeout=SOON)

    assert [1, 1] == calls


async def test_calls_that_complete_together_share_a_statement(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calls may belong to one attempt or several."""
    sizes: list[int] = []
    record = store.record_durable_calls

    async def counted(calls: Sequence[NewDurableCall]) -> dict[int, float]:
        sizes.append(len(calls))
        return await record(calls)

    monkeypatch.setattr(store, "record_durable_calls", counted)

    async def only(ctx: AsyncContext) -> None:
        await asyncio.gather(*(ctx.once(f"call-{number}", str) for number in range(100)))

    await run(store, only)

    assert [100] == sizes


async def test_a_call_is_recorded_once_the_store_can_be_reached_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its function is not called a second time."""
    calls: list[int] = []
    record = store.record_durable_calls
    outages = iter([True])

    async def unreachable_first(given: Sequence[NewDurableCall]) -> dict[int, float]:
        if next(outages, False):
            raise StoreUnavailable("gone")
        return await record(given)

    monkeypatch.setattr(store, "record_durable_calls", unreachable_first)

    async def only(ctx: AsyncContext) -> None:
        await ctx.once("charge", lambda: calls.append(ctx.attempt))

    await run(store, only)

    assert [1] == calls


async def test_a_handler_in_a_process_has_no_durable_calls(store: Store) -> None:
    code, message = await code_of(store, call_once)

    assert "misuse" == code
    assert "a handler in a separate process cannot make durable calls" in message


# -------------------------------------------------------------------- sleeps


async def test_a_sleeping_handler_holds_no_slot(store: Store) -> None:
    """Each sleep happens once, in async and in sync handlers."""
    attempts: list[int] = []

    async def only(ctx: AsyncContext) -> int:
        attempts.append(ctx.attempt)
        await ctx.sleep(0.05)
        await ctx.sleep(until=ctx.now() + timedelta(milliseconds=500))
        await ctx.sleep(0)
        return ctx.counted_attempts

    def blocking(ctx: SyncContext) -> int:
        ctx.sleep("50ms", call_name="cool_down")
        return ctx.attempt

    flow = template("flow", "only", "blocking")
    async with Worker(store, [{"only": only, "blocking": blocking}], templates=[flow]) as worker:
        task = await worker.client.run("n.flow", timeout=SOON)

    assert {"only": 1, "blocking": 2} == task.result
    assert [1, 2, 3] == attempts


async def test_a_sleeping_step_is_shown_as_waiting_until_its_time(store: Store) -> None:
    async def only(ctx: AsyncContext) -> None:
        await ctx.sleep("1h")

    async with Worker(store, [{"only": only}], templates=[FLOW]) as worker:
        task = await worker.client.create_task("n.flow")
        await eventually(lambda: _is_waiting(worker.client, task.id))
        [step] = await worker.client.steps(task.id)

    assert StepStatus.WAITING == step.status
    assert step.waits_until is not None
    assert step.claimed_at is not None
    assert timedelta(minutes=59) < step.waits_until - step.claimed_at <= timedelta(minutes=61)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "exactly one of `delay` and `until`"),
        ({"delay": 1, "until": datetime.now(UTC)}, "exactly one of `delay` and `until`"),
        ({"delay": -1}, "must not be negative"),
        ({"delay": "soon"}, "must be a number of seconds"),
        ({"delay": "5000d"}, "delay must be at most ten years"),
        ({"until": datetime(2030, 1, 1)}, "must have a time zone"),
        ({"until": datetime(2100, 1, 1, tzinfo=UTC)}, "until must be at most ten years from now"),
    ],
)
async def test_an_invalid_sleep_is_a_permanent_error(
    memory: Store, given: dict[str, Any], problem: str
) -> None:
    async def only(ctx: AsyncContext) -> None:
        await ctx.sleep(**given)

    code, message = await code_of(memory, only)

    assert "invalid_input" == code
    assert problem in message


async def test_a_recorded_call_of_another_kind_is_a_permanent_error(store: Store) -> None:
    """The code changed between two attempts; the message names both kinds."""

    async def only(ctx: AsyncContext) -> None:
        if ctx.is_retry:
            await ctx.once("sleep-1", str)
        await ctx.sleep(0.01)

    code, message = await code_of(store, only)

    assert "durable_call_conflict" == code
    assert "recorded 'sleep-1' as a call of `sleep`, but now calls `once`" in message


async def _is_waiting(client: Client, task_id: str) -> bool:
    return (await client.get(task_id)).counts.waiting == 1
