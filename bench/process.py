"""A measured process: `python -m bench.process ORDER`, started by `bench.fleet`.

It writes one line when it is ready, waits for a line that releases it, and writes its result
as the last line. Nothing is imported here that a worker would not import.
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

from bench.counters import Count, Counters
from bench.proc import cpu_of_family, memory
from bench.workloads import (
    CHAIN,
    HANDLERS,
    NAMESPACE,
    PACED,
    SIGNALLED,
    TIMED,
    WAKE,
    adapted_handler,
    wake_delays,
)
from tasker import LocalClient, TaskRequest, Worker, WorkerSettings
from tasker.engine.figures import OutcomeCounter
from tasker.model import ClaimResult, Outcome, SettleResult, Template, WorkerId
from tasker.settings import StepLogMode
from tasker.store.open import open_store
from tasker.store.protocol import Store

_BULK = 500  #: tasks created in one call
Order: TypeAlias = dict[str, Any]
Report: TypeAlias = dict[str, Any]


class CountingStore:
    """A store that counts settlements, and claims nothing while its gate is closed."""

    def __init__(self, store: Store, count: Callable[[int, SettleResult], None]) -> None:
        self._store = store
        self._count = count
        self.gate = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def claim(self, worker: WorkerId, limit: int) -> ClaimResult:
        await self.gate.wait()
        return await self._store.claim(worker, limit)

    async def claim_limited_steps(self, worker: WorkerId, limit: int) -> ClaimResult:
        await self.gate.wait()
        return await self._store.claim_limited_steps(worker, limit)

    async def settle(
        self, worker: WorkerId, outcomes: Sequence[Outcome], **more: Any
    ) -> SettleResult:
        settled = await self._store.settle(worker, outcomes, **more)
        self._count(len(outcomes), settled)
        return settled


@asynccontextmanager
async def _working(
    order: Order, templates: Sequence[Template], count: Callable[[int, SettleResult], None]
) -> AsyncIterator[tuple[Worker, CountingStore]]:
    """Run a worker that has already done some work, so that nothing is left to set up."""
    extras = order.get("extras", True)
    logs = StepLogMode.ALL if extras else StepLogMode.OFF
    settings = WorkerSettings(slots=order["slots"], step_logs=logs)
    if not extras:
        _count_no_figures()
    async with open_store(order["url"]) as store:
        counting = CountingStore(store, count)
        counting.gate.set()
        called = {spec.handler for template in templates for spec in template.steps} | {
            "numbers",
            "earlier",
            "once",
        }
        handlers = {name: HANDLERS[name] for name in HANDLERS if name in called}
        worker = Worker(
            cast(Store, counting),
            handlers=[handlers],
            templates=templates,
            namespaces=[NAMESPACE],
            settings=settings,
        )
        async with worker:
            for _ in range(20):
                await worker.client.run(f"{CHAIN.template.full_name}")
            yield worker, counting


def _count_no_figures() -> None:
    """Let the worker of this process count nothing for charts."""

    def nothing(*_: Any) -> None:
        pass

    for method in (
        OutcomeCounter.count_settlement,
        OutcomeCounter.count_remote_outcomes,
        OutcomeCounter.count_ended_tasks,
    ):
        setattr(OutcomeCounter, method.__name__, nothing)


async def work(order: Order) -> Report:
    """Work off the backlog until signalled to stop."""
    counters = Counters(Path(order["counters"]), order["processes"])
    settled = ended = 0

    def count(many: int, settlement: SettleResult) -> None:
        nonlocal settled, ended
        settled += many
        ended += len(settlement.ended)
        write()

    def write() -> None:
        counters.write(order["index"], Count(settled, ended, time.monotonic(), time.process_time()))

    async with _working(order, [CHAIN.template], count) as (_, counting):
        if order["uses_earlier"]:
            adapted_handler()
        counting.gate.clear()
        write()  # what starting cost, the import of `tasker_core` included, is not measured
        await _release()
        counting.gate.set()
        await _line()
    return {}


async def paced(order: Order) -> Report:
    """Run the steps of `PACED`, as many per second as they take, until signalled to stop."""
    async with _working(order, [CHAIN.template, PACED], lambda *_: None) as (_, counting):
        counting.gate.clear()
        await _release()
        counting.gate.set()
        await _line()
    return {}


async def latency(order: Order) -> Report:
    """Run tasks one after the other in an idle worker, and return the seconds of each."""
    ends: dict[str, asyncio.Future[None]] = {}
    loop = asyncio.get_running_loop()

    def count(_many: int, settlement: SettleResult) -> None:
        for task_id, _ in settlement.ended:
            ends.setdefault(task_id, loop.create_future()).set_result(None)

    took = []
    async with _working(order, [CHAIN.template], count) as (worker, _):
        await _release()
        began = time.process_time()
        for _ in range(order["tasks"]):
            await asyncio.sleep(0.005)  # the worker is idle again
            start = time.perf_counter()
            task = await worker.client.create_task(CHAIN.template.full_name, {"n": 1})
            await ends.setdefault(task.id, loop.create_future())
            took.append(time.perf_counter() - start)
        cpu = time.process_time() - began
    return {"took": took, "cpu": cpu}


async def create_and_wait(order: Order) -> Report:
    """Create tasks and await each in the worker's process: `slots` at a time, then one by one."""

    def server_cpu() -> float:
        return cpu_of_family(order["postmaster"]) or 0.0

    async with _working(order, [CHAIN.template], lambda *_: None) as (worker, _):

        async def run_one() -> float:
            start = time.perf_counter()
            await worker.client.run(CHAIN.template.full_name, {"n": 1})
            return time.perf_counter() - start

        async def run_some() -> None:
            for _ in left:
                await run_one()

        await _release()
        left = iter(range(order["tasks"]))
        postgres = server_cpu()
        start, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(run_some() for _ in range(order["slots"])))
        took, used = time.perf_counter() - start, time.process_time() - cpu
        postgres = server_cpu() - postgres
        alone = [await run_one() for _ in range(order["alone"])]
    return {"took": took, "cpu": used, "postgres": postgres, "alone": alone}


async def create_steadily(order: Order) -> Report:
    """Create `rate` tasks per second, one by one."""
    async with open_store(order["url"]) as store:
        client = LocalClient(store)
        await client.register(CHAIN.template)
        await _release()
        start = time.monotonic()
        for no in range(order["tasks"]):
            await asyncio.sleep(max(0.0, start + no / order["rate"] - time.monotonic()))
            await client.create_task(CHAIN.template.full_name, {"n": 1})
    return {}


async def create(order: Order) -> Report:
    """Create tasks: many in a call, or one by one from 50 coroutines."""
    name = CHAIN.template.full_name
    async with open_store(order["url"]) as store:
        client = LocalClient(store)
        await client.register(CHAIN.template)
        await client.create_tasks([TaskRequest(template=name, context={"n": 0})] * 10)
        await _release()
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


async def idle(order: Order) -> Report:
    """Run an idle worker; return its CPU share and the delays of tasks that are woken.

    `parked`: steps that wait for a signal meanwhile.
    """
    templates = [CHAIN.template, WAKE, SIGNALLED]
    async with _working(order, templates, lambda *_: None) as (worker, _):
        for _ in range(0, order.get("parked", 0), _BULK):
            await worker.client.create_tasks([TaskRequest(template=SIGNALLED.full_name)] * _BULK)
        await _until_parked(worker.client.store)
        await _release()
        start, cpu = time.perf_counter(), time.process_time()
        await _line()
        share = (time.process_time() - cpu) / (time.perf_counter() - start)
    return {"delays": wake_delays, "idle": share}


async def timers(order: Order) -> Report:
    """Run steps that sleep until the same time; return how much later each of them started."""
    many = order["tasks"]
    async with _working(order, [CHAIN.template, TIMED], lambda *_: None) as (worker, _):
        await _release()
        at = time.time() + 2 + many / 500
        request = TaskRequest(template=TIMED.full_name, context={"at": at})
        for _ in range(0, many, _BULK):
            await worker.client.create_tasks([request] * _BULK)
        left = many
        while left:
            await asyncio.sleep(0.05)
            left = many - len(wake_delays)
    return {"delays": wake_delays}


async def _until_parked(store: Store) -> None:
    """Wait until no step is due or running."""
    busy = True
    while busy:
        await asyncio.sleep(0.1)
        busy = any(row.due or row.running for row in await store.count_backlog_by_queue())


async def send(order: Order) -> Report:
    """Create a task that waits for a signal, and send it, every 200 ms."""
    async with open_store(order["url"]) as store:
        client = LocalClient(store)
        await _release()
        for _ in range(order["tasks"]):
            task = await client.create_task(SIGNALLED.full_name)
            await asyncio.sleep(0.1)  # it waits, and all processes are idle again
            await client.signal(task.id, "go", time.monotonic())
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.3)
    return {}


async def submit(order: Order) -> Report:
    """Create a `wake` task every 100 ms."""
    async with open_store(order["url"]) as store:
        client = LocalClient(store)
        await client.create_task(WAKE.full_name, {"at": time.monotonic()})
        await _release()
        for _ in range(order["tasks"]):
            await asyncio.sleep(0.1)  # all processes are idle again
            await client.create_task(WAKE.full_name, {"at": time.monotonic()})
        await asyncio.sleep(0.3)
    return {}


async def feed(order: Order) -> Report:
    """Keep a backlog of 5,000 tasks for `seconds`."""
    counters = Counters(Path(order["counters"]), order["processes"])
    name, created = CHAIN.template.full_name, 0
    async with open_store(order["url"]) as store:
        client = LocalClient(store)
        await _release()
        done = sum(count.ended for count in counters.read())
        end = time.monotonic() + order["seconds"]
        while time.monotonic() < end:
            if created - (sum(count.ended for count in counters.read()) - done) < 5_000:
                await client.create_tasks([TaskRequest(template=name, context={"n": 1})] * 500)
                created += 500
            else:
                await asyncio.sleep(0.005)
    return {"created": created}


async def _release() -> None:
    """Report that this process is ready, and wait for its release."""
    print(json.dumps({"ready": os.getpid()}), flush=True)
    await _line()


async def _line() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


_ROLES: dict[str, Callable[[Order], Coroutine[None, None, Report]]] = {
    "work": work,
    "paced": paced,
    "latency": latency,
    "create-and-wait": create_and_wait,
    "create": create,
    "create-steadily": create_steadily,
    "idle": idle,
    "submit": submit,
    "send": send,
    "timers": timers,
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
        report = runner.run(_ROLES[order["role"]](order))
    report["rss"] = memory(os.getpid())
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
