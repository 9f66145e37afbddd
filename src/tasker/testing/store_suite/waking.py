"""Wake-ups: hints that shorten the wait for work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tasker.model import JsonText, completed_outcome, released_outcome
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    ManualWorker,
    StoreTests,
    chain_template,
    create_and_run_task,
    create_task,
    make_template,
    one_step_template,
    register_and_create_task,
    register_template,
)

LONG = 60.0  #: seconds, far beyond what a test may take
SOON = 60.0


async def wait_and_claim_nothing(store: Store, worker: ManualWorker) -> None:
    """Let a worker wait for work, and check that no step is due."""
    await store.wait_for_work(0.05)
    assert [] == await worker.claim()


async def require_wake_up(wait: Callable[[float], Awaitable[None]], action: Awaitable[Any]) -> None:
    """Act while a worker waits, and fail unless the wait then ends."""
    waiting = asyncio.ensure_future(wait(LONG))
    await action
    async with asyncio.timeout(SOON):
        await waiting


class TestWaking(StoreTests):
    async def test_a_wait_ends_after_its_timeout(self, store: Store) -> None:
        async with asyncio.timeout(SOON):
            await store.wait_for_work(0.01)
            await store.wait_for_revocation(0.01)

    async def test_a_new_task_wakes_a_waiting_worker(self, stores: list[Store]) -> None:
        """The worker may be in this process or another."""
        template = await register_template(stores[0], one_step_template())
        for store in stores[:2]:
            worker = await ManualWorker.register(store)
            await wait_and_claim_nothing(store, worker)

            await require_wake_up(store.wait_for_work, create_task(stores[0], template))

            await worker.complete(await worker.claim_one())

    async def test_a_freed_step_wakes_a_waiting_worker(self, stores: list[Store]) -> None:
        """The settling worker does not claim the step itself."""
        await register_and_create_task(stores[0], chain_template())
        busy, idle = await ManualWorker.register(stores[0]), await ManualWorker.register(stores[1])
        claim = await busy.claim_one()
        await wait_and_claim_nothing(stores[1], idle)

        await require_wake_up(stores[1].wait_for_work, busy.complete(claim))

        assert 2 == (await idle.claim_one()).no

    async def test_an_operator_wakes_a_waiting_worker(self, stores: list[Store]) -> None:
        """Both a retry and a resolution wake it."""
        failed = await create_and_run_task(stores[0], chain_template(), failing=("a",))
        idle = await ManualWorker.register(stores[1])
        await wait_and_claim_nothing(stores[1], idle)
        await require_wake_up(stores[1].wait_for_work, stores[0].retry_steps(failed.id, ACT))
        await idle.fail(await idle.claim_one())
        await wait_and_claim_nothing(stores[1], idle)

        await require_wake_up(
            stores[1].wait_for_work, stores[0].resolve_step(failed.id, 1, JsonText("1"), ACT)
        )

        assert 2 == (await idle.claim_one()).no

    async def test_a_released_attempt_wakes_a_waiting_worker(self, stores: list[Store]) -> None:
        """Steps of a worker that shuts down do not wait for another worker's next poll."""
        await register_and_create_task(stores[0], one_step_template())
        leaving, idle = (
            await ManualWorker.register(stores[0]),
            await ManualWorker.register(stores[1]),
        )
        claim = await leaving.claim_one()
        await wait_and_claim_nothing(stores[1], idle)

        await require_wake_up(stores[1].wait_for_work, leaving.settle(released_outcome(claim)))

        assert 2 == (await idle.claim_one()).attempt

    async def test_the_end_of_a_task_wakes_the_worker_of_the_step_that_awaits_it(
        self, stores: list[Store]
    ) -> None:
        """The parked step does not wait for a poll."""
        await register_and_create_task(stores[0], one_step_template())
        worker = await ManualWorker.register(stores[0])
        claim = await worker.claim_one()
        child = await register_and_create_task(stores[0], make_template("child", x=""))
        await stores[0].park_until_task_ends(claim, child)
        running = await (await ManualWorker.register(stores[0], handlers={"x"})).claim_one()
        await wait_and_claim_nothing(stores[0], worker)

        await require_wake_up(
            stores[0].wait_for_work, worker.settle(completed_outcome(running, JsonText("1")))
        )

        assert 2 == (await worker.claim_one()).attempt

    @pytest.mark.parametrize("how", ["cancel", "resolve"])
    async def test_a_worker_that_loses_steps_is_notified(
        self, stores: list[Store], how: str
    ) -> None:
        """It learns of the loss long before it renews its lease."""
        task_id = await register_and_create_task(stores[0], one_step_template())
        await (await ManualWorker.register(stores[1])).claim_one()
        await stores[1].wait_for_revocation(0.05)

        await require_wake_up(
            stores[1].wait_for_revocation,
            stores[0].cancel_task(task_id, ACT)
            if how == "cancel"
            else stores[0].resolve_step(task_id, 1, None, ACT),
        )
