"""One measured run of one checkout: `python -P -m bench.side ORDER`, started by `bench.compare`.

Uses only public names of Tasker, because the same file measures old and new revisions.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import tasker
from bench.proc import cpu_of_family
from tasker import LocalClient, TaskRequest, Worker, Workflow, open_store

_RESULT = {"data": "x" * 89}  #: 100 bytes as JSON
_BATCH_STEPS = 2_000  #: steps created by one call
_WARM_UP = 0.1  #: share of the steps that run before the measurement begins


class _Cpu(NamedTuple):
    """CPU seconds used so far."""

    process: float
    postgres: float

    def since(self, start: "_Cpu", steps: int) -> dict[str, float]:
        """Return the microseconds per step since `start`."""
        return {
            "process": (self.process - start.process) / steps * 1e6,
            "postgres": (self.postgres - start.postgres) / steps * 1e6,
        }


class _Steps:
    """The handler of all steps: counts its calls, and takes the CPU time at two of them."""

    def __init__(self, total: int, cpu: Callable[[], _Cpu]) -> None:
        self.first = int(total * _WARM_UP)
        self.total = total
        self.done = asyncio.Event()
        self._cpu = cpu
        self._calls = 0
        self.begin = self.end = _Cpu(0.0, 0.0)

    async def work(self) -> dict[str, str]:
        self._calls += 1
        if self._calls == self.first:
            self.begin = self._cpu()
        elif self._calls == self.total:
            self.end = self._cpu()
            self.done.set()
        return _RESULT


def _workflow(shape: str, work: Callable[[], Coroutine[None, None, dict[str, str]]]) -> Workflow:
    """Return the workflow `chain` (4 steps in a row) or `fan50` (1-50-1)."""

    async def handler() -> dict[str, str]:
        return await work()

    workflow = Workflow(f"bench.{shape}", version="1.0.0")
    if shape == "chain":
        for no in range(1, 5):
            workflow.step(name=f"s{no}", after=f"s{no - 1}" if no > 1 else ())(handler)
    else:
        middle = [f"m{no}" for no in range(50)]
        workflow.step(name="first")(handler)
        for name in middle:
            workflow.step(name=name, after="first")(handler)
        workflow.step(name="last", after=middle)(handler)
    return workflow


async def run(order: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Create the tasks, work them off, and return the CPU per step of both."""

    def cpu() -> _Cpu:
        pid = order["postmaster"]
        return _Cpu(time.process_time(), (cpu_of_family(pid) or 0.0) if pid else 0.0)

    each = len(_workflow(order["workload"], _Steps(0, cpu).work).template.steps)
    steps = _Steps(order["tasks"] * each, cpu)
    workflow = _workflow(order["workload"], steps.work)
    async with open_store(order["url"], upgrade=True) as store:
        client = LocalClient(store)
        await client.register(workflow.template)
        request = TaskRequest(template=workflow.template.full_name, context={"n": 1})
        batch = max(1, _BATCH_STEPS // each)
        created, start = [], cpu()
        for done in range(0, order["tasks"], batch):
            created = await client.create_tasks([request] * min(batch, order["tasks"] - done))
        creating = cpu().since(start, steps.total)
        async with Worker(store, handlers=[workflow]):
            await steps.done.wait()
            for task in created:
                await client.wait(task.id)
    return {"create": creating, "run": steps.end.since(steps.begin, steps.total - steps.first)}


def main() -> None:
    order = json.loads(sys.argv[1])
    loaded = Path(tasker.__file__ or "").resolve()
    if not loaded.is_relative_to(order["source"]):
        raise SystemExit(f"tasker was imported from {loaded}, not from {order['source']}")
    gc.set_threshold(10_000)  # as `tasker worker` does
    factory = None
    if order["loop"] == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        print(json.dumps(runner.run(run(order))), flush=True)


if __name__ == "__main__":
    main()
