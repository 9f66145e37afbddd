"""Several worker processes that work off one backlog."""

import asyncio
import tempfile
import time
from pathlib import Path

from bench.counters import Count, Counters
from bench.side.order import (
    RESULT,
    WARM_UP,
    Cpu,
    Member,
    Order,
    Sample,
    cpu_of,
    lines,
)
from bench.side.shapes import create, make_workflow
from tasker import LocalClient, Worker, open_store


class _WorkerOrder(Order):
    """What a worker process is asked for."""

    counters: str
    index: int


async def processes(order: Order) -> Sample:
    """Work off `amount` chains with `size` processes, and return the CPU per step of all."""
    workflow = make_workflow("chain")
    total = order["amount"] * len(workflow.template.steps)
    with tempfile.TemporaryDirectory(prefix="tasker-bench-") as directory:
        path = Path(directory) / "counters"
        counters = Counters(path, order["size"])
        async with open_store(order["url"], upgrade=True) as store:
            client = LocalClient(store)
            await client.register(workflow.template)
            await create(client, workflow, order["amount"])
        workers = [
            await Member.start(order, program="worker", counters=str(path), index=index)
            for index in range(order["size"])
        ]
        for worker in workers:
            worker.send()
        begin, first = await _reach(order, counters, int(total * WARM_UP), all_begun=True)
        end, last = await _reach(order, counters, total)
        for worker in workers:
            await worker.stop()
    return {"run": end.since(begin, last - first)}


async def _reach(
    order: Order, counters: Counters, steps: int, *, all_begun: bool = False
) -> tuple[Cpu, int]:
    """Return the CPU used by workers and server, and the steps begun, once they are so many."""
    while True:
        counts = counters.read()
        begun = sum(count.settled for count in counts)
        if begun >= steps and (not all_begun or all(count.settled for count in counts)):
            return cpu_of(order)._replace(process=sum(count.cpu for count in counts)), begun
        await asyncio.sleep(0.002)


async def work(order: _WorkerOrder) -> Sample:
    """Work until the input ends."""
    counters = Counters(Path(order["counters"]), order["size"])
    calls = 0

    async def step() -> dict[str, str]:
        nonlocal calls
        calls += 1
        count = Count(calls, 0, time.monotonic(), time.process_time())
        counters.write(order["index"], count)
        return RESULT

    async with open_store(order["url"]) as store:
        received = await lines()
        await received.readline()
        async with Worker(store, handlers=[make_workflow("chain", step)]):
            await received.readline()
    return {}
