"""Settlements in company: what they claim, what they wake, and one that cannot be stored."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.engine.factories import SOON, Unreliable, step, template
from tests.engine.pieces import assembled
from tests.waiting import eventually

from tasker import AsyncContext, Context, LocalClient, TaskFailed, Worker, WorkerSettings
from tasker.errors import RetryableError, StoreError
from tasker.model import StepStatus
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

PATIENT = WorkerSettings(poll=timedelta(minutes=5))


async def test_a_settlement_claims_the_step_that_it_frees(memory: Store) -> None:
    """No other claim is in progress, which would reserve the free slots."""
    claimed: list[int] = []

    class Counting(Unreliable):
        async def settle(self, *args: Any, **options: Any) -> Any:
            reply = await memory.settle(*args, **options)
            claimed.append(len(reply.claims))
            return reply

    chain = template("chain", step("first"), step("second", "first"))
    handlers = {"first": lambda: 1, "second": lambda: 2}
    async with assembled(Counting(memory), [handlers], [chain]) as pieces:
        pieces.background.start_loop("settle", pieces.settler.run())
        client = LocalClient(memory)
        task = await client.create_task("n.chain")
        pieces.claimer.accept_claims((await memory.claim(pieces.lease.id, 1)).claims)
        await client.wait(task.id, timeout=SOON)

    assert [1, 0] == claimed


async def test_a_retry_does_not_wait_for_the_poll(memory: Store) -> None:
    def only(context: Context) -> None:
        if context.attempt == 1:
            raise RetryableError("once more", retry_after=timedelta(milliseconds=50))

    async with Worker(
        memory, [{"only": only}], templates=[template("flow", "only")], settings=PATIENT
    ) as worker:
        await worker.client.run("n.flow", timeout=SOON)


async def test_a_result_that_cannot_be_stored_does_not_affect_others(memory: Store) -> None:
    """The other outcomes of the same settlement are stored."""
    gate = asyncio.Event()
    batches: list[int] = []
    ran: list[str] = []

    class Refusing(Unreliable):
        async def settle(self, worker: Any, outcomes: Any, **options: Any) -> Any:
            batches.append(len(outcomes))
            if len(batches) == 1:
                await gate.wait()
            if any(outcome.result == '"bad"' for outcome in outcomes):
                raise StoreError("it cannot be stored")
            return await memory.settle(worker, outcomes, **options)

    async def only(which: str) -> str:
        ran.append(which)
        return which

    async with Worker(
        Refusing(memory), [{"only": only}], templates=[template("flow", "only")]
    ) as worker:
        first = await worker.client.create_task("n.flow", {"which": "first"})
        await eventually(lambda: batches)
        bad, *good = [
            await worker.client.create_task("n.flow", {"which": which})
            for which in ("bad", "good", "good", "good")
        ]
        await eventually(lambda: len(ran) == 5)
        gate.set()
        for task in (first, *good):
            await worker.client.wait(task.id, timeout=SOON)
        with pytest.raises(TaskFailed):
            await worker.client.wait(bad.id, timeout=SOON)

    assert 4 in batches


async def test_a_step_that_is_being_parked_does_not_run_again(memory: Store) -> None:
    """When claims are recovered after a lost reply, the store still lists the step as held."""
    parking, gate = asyncio.Event(), asyncio.Event()
    attempts = 0

    class Late(Unreliable):
        async def park_until_task_ends(self, *args: Any) -> Any:
            parking.set()
            await gate.wait()
            return await memory.park_until_task_ends(*args)

    async def parent(context: AsyncContext) -> None:
        nonlocal attempts
        attempts += 1
        await context.client.run("n.child")

    await LocalClient(memory).register(template("child", "nobody"))
    store = Late(memory)
    async with Worker(
        store,
        [{"parent": parent}],
        templates=[template("flow", "parent")],
        settings=WorkerSettings(poll=timedelta(milliseconds=50)),
    ) as worker:
        await worker.client.create_task("n.flow")
        await parking.wait()
        looks = store.calls.count("list_held_claims")
        store.lose("claim")
        await eventually(lambda: store.calls.count("list_held_claims") > looks)
        claims = store.calls.count("claim")
        await eventually(lambda: store.calls.count("claim") > claims)
        gate.set()
        client = LocalClient(memory)

        async def parked() -> bool:
            tasks = await client.tasks()
            steps = [each for task in tasks for each in await client.steps(task.id)]
            return StepStatus.WAITING in [each.status for each in steps]

        await eventually(parked)

    assert 1 == attempts
