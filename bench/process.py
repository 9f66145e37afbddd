"""A process that is measured: `python -m bench.process ORDER`, started by `bench.fleet`.

It writes one line when it is ready, waits for the line that lets it go, and writes what
it found as its last line. Nothing is imported here that a worker would not import.
"""

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

from bench.proc import memory
from bench.tally import Count, Tally
from bench.workloads import CHAIN, HANDLERS, HEAR, heard
from tasker import LocalClient, TaskRequest, Worker, WorkerSettings
from tasker.model import Claimed, Outcome, QueueId, Settled, Template, WorkerId
from tasker.store.open import open_store
from tasker.store.protocol import Store

Order: TypeAlias = dict[str, Any]
Found: TypeAlias = dict[str, Any]


class Watched:
    """A store that counts what is settled, and claims nothing while its gate is closed."""

    def __init__(self, store: Store, count: Callable[[int, Settled], None]) -> None:
        self._store = store
        self._count = count
        self.gate = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def claim(self, worker: WorkerId, queues: Sequence[QueueId], limit: int) -> Claimed:
        await self.gate.wait()
        return await self._store.claim(worker, queues, limit)

    async def settle(self, worker: WorkerId, outcomes: Sequence[Outcome], **more: Any) -> Settled:
        settled = await self._store.settle(worker, outcomes, **more)
        self._count(len(outcomes), settled)
        return settled


@asynccontextmanager
async def _working(
    order: Order, templates: Sequence[Template], count: Callable[[int, Settled], None]
) -> AsyncIterator[tuple[Worker, Watched]]:
    """Run a worker that has done some work already, so that all it needs once is there."""
    settings = WorkerSettings(slots=order["slots"])
    async with open_store(order["url"]) as store:
        watched = Watched(store, count)
        watched.gate.set()
        worker = Worker(
            cast(Store, watched), handlers=[HANDLERS], templates=templates, settings=settings
        )
        async with worker:
            for _ in range(20):
                await worker.client.run(f"{CHAIN.template.full_name}")
            yield worker, watched


async def work(order: Order) -> Found:
    """Work off what is there, until told to stop."""
    tally = Tally(Path(order["tally"]), order["processes"])
    settled = ended = 0

    def count(many: int, said: Settled) -> None:
        nonlocal settled, ended
        settled += many
        ended += len(said.ended)
        tally.write(order["index"], Count(settled, ended, time.monotonic(), time.process_time()))

    async with _working(order, [CHAIN.template], count) as (_, watched):
        watched.gate.clear()
        await _released()
        watched.gate.set()
        await _line()
    return {}


async def latency(order: Order) -> Found:
    """Run tasks one after the other in an idle worker; tell how long each took, in seconds."""
    ends: dict[str, asyncio.Future[None]] = {}
    loop = asyncio.get_running_loop()

    def count(_many: int, said: Settled) -> None:
        for task_id, _ in said.ended:
            ends.setdefault(task_id, loop.create_future()).set_result(None)

    took = []
    async with _working(order, [CHAIN.template], count) as (worker, _):
        await _released()
        began = time.process_time()
        for _ in range(order["tasks"]):
            await asyncio.sleep(0.005)  # nothing else is under way
            start = time.perf_counter()
            task = await worker.client.create_task(CHAIN.template.full_name, {"n": 1})
            await ends.setdefault(task.id, loop.create_future())
            took.append(time.perf_counter() - start)
        cpu = time.process_time() - began
    return {"took": took, "cpu": cpu}


async def create(order: Order) -> Found:
    """Create tasks, many at once or one by one from many coroutines."""
    name = CHAIN.template.full_name
    async with open_store(order["url"]) as store:
        client = LocalClient(store)
        await client.register(CHAIN.template)
        await client.create_tasks([TaskRequest(template=name, context={"n": 0})] * 10)
        await _released()
        start, cpu = time.perf_counter(), time.process_time()
        if order["bulk"]:
            for _ in range(order["tasks"] // order["bulk"]):
                await client.create_tasks(
                    [TaskRequest(template=name, context={"n": 1})] * order["bulk"]
                )
        else:
            left = iter(range(order["tasks"]))

            async def one_by_one() -> None:
                for n in left:
                    await client.create_task(name, {"n": n})

            await asyncio.gather(*(one_by_one() for _ in range(50)))
        return {"took": time.perf_counter() - start, "cpu": time.process_time() - cpu}


async def listen(order: Order) -> Found:
    """Idle, but for the tasks that another process makes; tell how soon each began."""
    async with _working(order, [CHAIN.template, HEAR], lambda *_: None):
        await _released()
        start, cpu = time.perf_counter(), time.process_time()
        await _line()
        idle = (time.process_time() - cpu) / (time.perf_counter() - start)
    return {"heard": heard, "idle": idle}


async def ring(order: Order) -> Found:
    """Create a task now and then, each telling when."""
    async with open_store(order["url"]) as store:
        client = LocalClient(store)
        await client.create_task(HEAR.full_name, {"at": time.monotonic()})
        await _released()
        for _ in range(order["tasks"]):
            await asyncio.sleep(0.1)  # all are idle again
            await client.create_task(HEAR.full_name, {"at": time.monotonic()})
        await asyncio.sleep(0.3)
    return {}


async def feed(order: Order) -> Found:
    """Keep a backlog for workers as long as told to."""
    tally = Tally(Path(order["tally"]), order["processes"])
    name, created = CHAIN.template.full_name, 0
    async with open_store(order["url"]) as store:
        client = LocalClient(store)
        await _released()
        done = sum(count.ended for count in tally.read())
        end = time.monotonic() + order["seconds"]
        while time.monotonic() < end:
            if created - (sum(count.ended for count in tally.read()) - done) < 5_000:
                await client.create_tasks([TaskRequest(template=name, context={"n": 1})] * 500)
                created += 500
            else:
                await asyncio.sleep(0.005)
    return {"created": created}


async def _released() -> None:
    """Say that this process is ready, and wait until all are."""
    print(json.dumps({"ready": os.getpid()}), flush=True)
    await _line()


async def _line() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


_ROLES: dict[str, Callable[[Order], Coroutine[None, None, Found]]] = {
    "work": work,
    "latency": latency,
    "create": create,
    "listen": listen,
    "ring": ring,
    "feed": feed,
}


def main() -> None:
    order: Order = json.loads(sys.argv[1])
    gc.set_threshold(10_000)  # as `tasker worker` does
    factory = None
    if order["loop"] == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        found = runner.run(_ROLES[order["role"]](order))
    found["rss"] = memory(os.getpid())
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
