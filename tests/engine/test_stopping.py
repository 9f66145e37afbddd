"""How a worker ends."""

import asyncio
from datetime import timedelta

import pytest

from tasker import StepState, Template, Worker, WorkerSettings, open_store
from tasker.model import StepSpec

pytestmark = pytest.mark.anyio

TEMPLATE = Template(namespace="n", name="hang", version="1.0.0", steps=(StepSpec(name="hang"),))
PATIENT = WorkerSettings(grace=timedelta(hours=1))


async def test_a_worker_told_to_hurry_does_not_become_patient_again_at_the_end() -> None:
    """
    Leaving the block stops a worker; one that was stopped with less grace keeps that.
    """
    began = asyncio.Event()

    async def hang() -> None:
        began.set()
        await asyncio.Event().wait()

    async with open_store("sqlite::memory:") as store:
        async with asyncio.timeout(20):
            async with Worker(
                store, [{"hang": hang}], templates=[TEMPLATE], settings=PATIENT
            ) as worker:
                task = await worker.client.create_task("n.hang")
                await began.wait()
                worker.stop(timedelta(0))
        steps = await store.list_steps(task.id)

    assert [StepState.ENQUEUED] == [step.state for step in steps]


async def test_one_can_wait_for_a_worker_to_end() -> None:
    async with open_store("sqlite::memory:") as store, Worker(store) as worker:
        ended = asyncio.create_task(worker.ended())
        worker.stop()
        async with asyncio.timeout(20):
            await ended
