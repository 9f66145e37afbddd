"""A worker under load while another session keeps a snapshot open (PostgreSQL)."""

import asyncio
from contextlib import suppress

from bench.side.order import Cpu, Member, Order, Sample, Steps, connect, cpu_of, lines
from bench.side.shapes import create, make_workflow
from tasker import LocalClient, Worker, open_store

_AHEAD = 20_000  #: steps that are kept enqueued
_BATCH = 500  #: tasks created by one call
_MEASURED = 60.0  #: most seconds that are measured


async def snapshot(order: Order) -> Sample:
    """Return the CPU per step before a snapshot is opened, and after `amount` seconds of it.

    The database's part includes the creation of the tasks, which another process does.
    """
    measured = min(_MEASURED, order["amount"] / 4)
    steps = Steps(order)
    workflow = make_workflow("chain", steps.work)
    async with open_store(order["url"], upgrade=True) as store:
        await LocalClient(store).register(workflow.template)
        feeder = await Member.start(order, program="feed")
        feeding = asyncio.create_task(_keep_enqueued(feeder, steps))
        async with Worker(store, handlers=[workflow]):
            await asyncio.sleep(min(measured, 5.0))
            before = await _measure(order, steps, measured)
            connection = await connect(order["url"])
            try:
                async with connection.transaction(isolation="repeatable_read"):
                    await connection.fetchval("select count(*) from pg_class")
                    await asyncio.sleep(order["amount"] - measured)
                    opened = await _measure(order, steps, measured)
            finally:
                await connection.close()
            feeding.cancel()
            with suppress(asyncio.CancelledError):
                await feeding
            await feeder.stop()
    return {"before": before, "open": opened}


async def feed(order: Order) -> Sample:
    """Create tasks for each line received."""
    workflow = make_workflow("chain")
    async with open_store(order["url"]) as store:
        client = LocalClient(store)
        received = await lines()
        while await received.readline():
            await create(client, workflow, _BATCH)
    return {}


async def _keep_enqueued(feeder: Member, steps: Steps) -> None:
    requested = 0
    while True:
        while requested - steps.calls < _AHEAD:
            feeder.send()
            requested += _BATCH * 4
        await asyncio.sleep(0.005)


async def _measure(order: Order, steps: Steps, seconds: float) -> dict[str, float]:
    start: Cpu = cpu_of(order)
    calls = steps.calls
    await asyncio.sleep(seconds)
    count = steps.calls - calls
    if not count:
        raise SystemExit(f"no step ran within {seconds:g} s")
    return cpu_of(order).since(start, count)
