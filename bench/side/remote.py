"""Remote workers of a server. The server is a process of its own, from the same checkout."""

import asyncio

from bench.http_client import serving
from bench.remote import PlainWorker, create
from bench.side.api import cpu_of_both
from bench.side.order import WARM_UP, Order, Sample
from bench.workloads import CHAIN
from tasker import LocalClient, open_store


async def remote(order: Order) -> Sample:
    """Let remote workers run `amount` chains, and return the cost of a step to the server.

    The program's name ends with the number of workers and the slots of each: `remote-8x5`.
    """
    workers, slots = map(int, order["program"].partition("-")[2].split("x"))
    async with open_store(order["url"], upgrade=True) as store:
        await LocalClient(store).register(CHAIN.template)
    await create(order["url"], order["amount"])
    total = order["amount"] * CHAIN.steps
    left = [int(total * WARM_UP)]
    with serving(order["url"]) as server:
        registered = [await PlainWorker.register(server.port, slots) for _ in range(workers)]
        await asyncio.gather(*(worker.work(left) for worker in registered))
        left[0] += total - int(total * WARM_UP)
        start, steps = cpu_of_both(server, order), left[0]
        await asyncio.gather(*(worker.work(left) for worker in registered))
        return {"run": cpu_of_both(server, order).since(start, steps)}
