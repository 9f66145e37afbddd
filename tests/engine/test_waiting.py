"""Handlers that wait for signals and broadcasts."""

from typing import Any

import pytest
from tests.engine.factories import SOON, template
from tests.waiting import eventually

from tasker import (
    AsyncContext,
    InvalidInput,
    LocalClient,
    RetryableError,
    Signal,
    SyncContext,
    TaskFailed,
    Worker,
)
from tasker.client import Client
from tasker.model import Task
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("flow", "only")


async def is_waiting(client: Client, task_id: str) -> bool:
    return (await client.get(task_id)).counts.waiting == 1


async def run_with(store: Store, handler: object, *signals: tuple[str, Any]) -> Task:
    """Run a task of one step; send each signal once the step waits."""
    async with Worker(store, [{"only": handler}], templates=[FLOW]) as worker:
        task = await worker.client.create_task("n.flow")
        for name, payload in signals:
            await eventually(lambda: is_waiting(worker.client, task.id))
            await worker.client.signal(task.id, name, payload)
        return await worker.client.wait(task.id, timeout=SOON)


async def test_a_handler_waits_for_a_signal_and_receives_its_payload(store: Store) -> None:
    """One after the other; attempts that end with a wait do not count."""

    async def only(ctx: AsyncContext) -> list[Any]:
        first = await ctx.wait_signal("n")
        second = await ctx.wait_signal("n", call_name="second")
        return [first, second, ctx.counted_attempts]

    task = await run_with(store, only, ("n", 1), ("n", 2))

    assert [1, 2, 1] == task.result


async def test_a_sync_handler_can_wait_for_a_signal(store: Store) -> None:
    def only(ctx: SyncContext) -> list[Any]:
        arrival = ctx.wait_any("a", "b")
        return [arrival.name, arrival.payload, ctx.wait_signal("c")]

    task = await run_with(store, only, ("b", 1), ("c", 2))

    assert ["b", 1, 2] == task.result


async def test_an_earlier_signal_is_received_without_parking(store: Store) -> None:
    async def only(ctx: AsyncContext) -> list[Any]:
        return [await ctx.wait_signal("n"), ctx.attempt]

    client = LocalClient(store)
    await client.register(FLOW)
    task = await client.create_task("n.flow")
    await client.signal(task.id, "n", 7)
    async with Worker(store, [{"only": only}], templates=[FLOW]) as worker:
        task = await worker.client.wait(task.id, timeout=SOON)

    assert [7, 1] == task.result


async def test_a_received_signal_is_kept_after_a_failure(store: Store) -> None:
    """Nothing is sent again, and the wait does not repeat."""

    async def only(ctx: AsyncContext) -> Any:
        payload = await ctx.wait_signal("n")
        if ctx.counted_attempts == 1:
            raise RetryableError("after the wait")
        return payload

    task = await run_with(store, only, ("n", 7))

    assert 7 == task.result


async def test_a_wait_with_a_key_receives_broadcasts(store: Store) -> None:
    """Each is received once and in order, and so are signals to its task."""

    async def only(ctx: AsyncContext) -> list[Any]:
        return [await ctx.wait_signal("rate", key="eur") for _ in range(3)]

    async with Worker(store, [{"only": only}], templates=[FLOW]) as worker:
        task = await worker.client.create_task("n.flow")
        for number in range(2):
            await worker.client.broadcast("rate", "eur", number, namespace="n")
        await worker.client.broadcast("rate", "usd", 9, namespace="n")
        await worker.client.broadcast("rate", "eur", 9)
        await eventually(lambda: is_waiting(worker.client, task.id))
        await worker.client.signal(task.id, "rate", 2)
        task = await worker.client.wait(task.id, timeout=SOON)

    assert [0, 1, 2] == task.result


async def test_a_handler_broadcasts_in_the_namespace_of_its_task(store: Store) -> None:
    async def only(ctx: AsyncContext) -> str:
        return (await ctx.client.broadcast("rate", "eur")).namespace

    assert "n" == (await run_with(store, only)).result


@pytest.mark.parametrize("on_timeout", ["fail", "continue"])
async def test_a_wait_ends_after_its_timeout(memory: Store, on_timeout: Any) -> None:
    async def only(ctx: AsyncContext) -> Any:
        any_of = await ctx.wait_any("n", timeout=0.01, on_timeout="continue")
        one = await ctx.wait_signal("n", timeout=0.01, on_timeout=on_timeout)
        return [any_of.timed_out, one]

    if on_timeout == "continue":
        assert [True, None] == (await run_with(memory, only)).result
        return
    with pytest.raises(TaskFailed) as failure:
        await run_with(memory, only)
    assert failure.value.task.failure is not None
    assert "wait_timeout" == failure.value.task.failure.code


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"signals": []}, "a wait needs 1 to 20 signals, not 0"),
        ({"signals": [""]}, "name must be a non-empty string"),
        ({"signals": ["x" * 201]}, "the name is 201 bytes"),
        ({"signals": [Signal("x", key="")]}, "key must be a non-empty string"),
        ({"signals": ["x"], "timeout": "5000d"}, "timeout must be at most ten years"),
        ({"signals": ["x"], "on_timeout": "stop"}, "on_timeout must be fail or continue"),
    ],
)
async def test_an_invalid_wait_is_a_permanent_error(
    memory: Store, given: dict[str, Any], problem: str
) -> None:
    async def only(ctx: AsyncContext) -> None:
        await ctx.wait_any(*given.pop("signals"), **given)

    with pytest.raises(TaskFailed) as failure:
        await run_with(memory, only)

    assert failure.value.task.failure is not None
    assert problem in failure.value.task.failure.message


async def test_a_wait_survives_a_lost_reply(store: Store) -> None:
    from tests.engine.factories import Unreliable

    async def only(ctx: AsyncContext) -> Any:
        return await ctx.wait_signal("n")

    unreliable = Unreliable(store)
    unreliable.lose("park_for_arrival")
    task = await run_with(unreliable, only, ("n", 7))

    assert 7 == task.result


async def test_a_payload_is_checked_before_it_is_sent(memory: Store) -> None:
    client = LocalClient(memory)

    with pytest.raises(InvalidInput, match="the payload is not valid JSON"):
        await client.broadcast("rate", "eur", object())
