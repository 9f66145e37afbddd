"""The process in which DBOS Transact is measured: `python -m bench.peer_dbos ORDER`."""

import asyncio
import json
import os
import sys
import time
from typing import Any

from dbos import DBOS  # type: ignore[import-not-found, unused-ignore]

from bench.proc import cpu_of_family, memory
from bench.workloads import RESULT


async def _work() -> dict[str, str]:
    return RESULT


async def _chain() -> None:
    for step in _steps:
        await step()


_steps: list[Any] = [DBOS.step(name=f"s{no}")(_work) for no in range(1, 5)]
_workflow: Any = DBOS.workflow(name="chain")(_chain)


async def _measure(order: dict[str, Any]) -> dict[str, Any]:
    async def run_one() -> float:
        start = time.perf_counter()
        handle = await DBOS.start_workflow_async(_workflow)
        await handle.get_result()
        return time.perf_counter() - start

    def server_cpu() -> float:
        return cpu_of_family(order["postmaster"]) or 0.0

    for _ in range(10):
        await run_one()
    left = iter(range(order["tasks"]))

    async def run_one_after_the_other() -> None:
        for _ in left:
            await run_one()

    postgres = server_cpu()
    start, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(run_one_after_the_other() for _ in range(order["width"])))
    took, used = time.perf_counter() - start, time.process_time() - cpu
    postgres = server_cpu() - postgres
    alone = [await run_one() for _ in range(100)]
    rss = memory(os.getpid())
    return {"took": took, "cpu": used, "postgres": postgres, "alone": alone, "rss": rss}


def main() -> None:
    order = json.loads(sys.argv[1])
    config: Any = {"name": "bench", "system_database_url": order["url"], "log_level": "ERROR"}
    DBOS(config=config)
    DBOS.launch()
    result = asyncio.run(_measure(order))
    DBOS.destroy()
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
