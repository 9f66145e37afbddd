"""The process in which DBOS Transact is measured: `python -m bench.peer_dbos ORDER`."""

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dbos import DBOS  # type: ignore[import-not-found, unused-ignore]

from bench.proc import cpu_of_family, memory
from bench.workloads import CHAIN, RESULT

Order = dict[str, Any]
Result = dict[str, Any]

WARM_UP = 20  #: chains before the measurement, as many as of Tasker


async def _work() -> dict[str, str]:
    return RESULT


def _work_in_thread() -> dict[str, str]:
    return RESULT


_numbers = range(1, CHAIN.steps + 1)
_steps: list[Any] = [DBOS.step(name=f"s{no}")(_work) for no in _numbers]
_sync_steps: list[Any] = [DBOS.step(name=f"t{no}")(_work_in_thread) for no in _numbers]


async def _chain() -> dict[str, str]:
    for step in _steps:
        result: dict[str, str] = await step()
    return result


def _sync_chain() -> dict[str, str]:
    for step in _sync_steps:
        result: dict[str, str] = step()
    return result


_workflow: Any = DBOS.workflow(name="chain")(_chain)
_sync_workflow: Any = DBOS.workflow(name="sync_chain")(_sync_chain)


class _Meter:
    """The time and CPU of a block."""

    def __init__(self, order: Order) -> None:
        self._postmaster = order["postmaster"]

    def __enter__(self) -> "_Meter":
        self._postgres = self._server_cpu()
        self._start, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.took = time.perf_counter() - self._start
        self.cpu = time.process_time() - self._cpu
        self.postgres = self._server_cpu() - self._postgres

    def result(self, alone: list[float]) -> Result:
        return {
            "took": self.took,
            "cpu": self.cpu,
            "postgres": self.postgres,
            "alone": alone,
            "rss": memory(os.getpid()),
        }

    def _server_cpu(self) -> float:
        return cpu_of_family(self._postmaster) or 0.0


async def _measure_async(order: Order) -> Result:
    async def run_one() -> float:
        start = time.perf_counter()
        await _workflow()
        return time.perf_counter() - start

    async def run_some(left: Iterator[int]) -> None:
        for _ in left:
            await run_one()

    for _ in range(WARM_UP):
        await run_one()
    left = iter(range(order["tasks"]))
    with _Meter(order) as meter:
        await asyncio.gather(*(run_some(left) for _ in range(order["width"])))
    return meter.result([await run_one() for _ in range(order["alone"])])


def _measure_sync(order: Order) -> Result:
    def run_one(_: int) -> float:
        start = time.perf_counter()
        _sync_workflow()
        return time.perf_counter() - start

    with ThreadPoolExecutor(order["width"]) as pool:
        list(pool.map(run_one, range(WARM_UP)))
        with _Meter(order) as meter:
            list(pool.map(run_one, range(order["tasks"])))
    return meter.result([run_one(no) for no in range(order["alone"])])


def main() -> None:
    order: Order = json.loads(sys.argv[1])
    gc.set_threshold(10_000)  # as in the measured processes of Tasker
    config: Any = {"name": "bench", "system_database_url": order["url"], "log_level": "ERROR"}
    DBOS(config=config)
    DBOS.launch()
    if order["form"] == "sync":
        result = _measure_sync(order)
    else:
        factory = None
        if order["loop"] == "uvloop":
            import uvloop

            factory = uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            result = runner.run(_measure_async(order))
    DBOS.destroy()
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
