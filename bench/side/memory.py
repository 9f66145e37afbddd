"""The memory of a worker that ran large tasks, each of a template of its own."""

import asyncio
import time

from bench.proc import memory as resident
from bench.side.order import RESULT, Member, Order, Sample, lines
from tasker import LocalClient, StepSpec, Template, Worker, open_store

_SETTLED = 60.0  #: most seconds after the task's end until memory is measured
_LAYER = 100  #: steps of a layer
_LARGE = 10_000  #: most steps of a template
_PATIENCE = 120.0  #: seconds for one task
_SMALL = 200  #: chains that run before, so that nothing is left to set up


def _lattice(name: str, steps: int) -> Template:
    """Return layers of 100 steps, each with three parents in the layer before."""
    specs = []
    for layer in range(steps // _LAYER):
        for column in range(_LAYER):
            parents = {(column + shift) % _LAYER for shift in (-1, 0, 1)} if layer else ()
            specs.append(
                StepSpec(
                    name=f"s{layer}_{column}",
                    callable="work",
                    dependencies=tuple(f"s{layer - 1}_{parent}" for parent in sorted(parents)),
                )
            )
    return Template(namespace="bench", name=name, version="1.0.0", steps=tuple(specs))


async def memory(order: Order) -> Sample:
    """Return the worker's memory before tasks of `amount` steps in all, at most, and after them.

    It is measured a minute after the end of 50,000 steps, and sooner after fewer.
    """
    small = _lattice("small", _LAYER)
    each = min(_LARGE, order["amount"])
    large = [_lattice(f"large{no}", each) for no in range(order["amount"] // each)]
    async with open_store(order["url"], upgrade=True) as store:
        client = LocalClient(store)
        await client.register(small)
        for template in large:
            await client.register(template)
        worker = await Member.start(order, program="serve")
        for _ in range(_SMALL // 20):
            await client.run(small.full_name)
        before = most = resident(worker.pid) or 0.0
        for template in large:
            running = asyncio.create_task(client.run(template.full_name, timeout=_PATIENCE))
            while not running.done():
                await asyncio.wait({running}, timeout=0.1)
                most = max(most, resident(worker.pid) or 0.0)
            await running
        end = time.monotonic() + min(_SETTLED, order["amount"] / 500)
        while time.monotonic() < end:
            await asyncio.sleep(0.5)
            most = max(most, resident(worker.pid) or 0.0)
        after = resident(worker.pid) or 0.0
        await worker.stop()
    return {"before": {"rss": before}, "peak": {"rss": most}, "after": {"rss": after}}


async def serve(order: Order) -> Sample:
    """Serve the handler of all steps until the input ends."""

    async def work() -> dict[str, str]:
        return RESULT

    async with (
        open_store(order["url"]) as store,
        Worker(store, handlers=[{"work": work}], namespaces=["bench"]),
    ):
        received = await lines()
        await received.read()
    return {}
