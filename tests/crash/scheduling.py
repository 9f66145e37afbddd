"""A process that handles due ticks until it is done or dies: see `tests.crash.boundaries`.

python -m tests.crash.scheduling STORE_URL BOUNDARIES_FILE [BOUNDARY OCCURRENCE]
"""

import asyncio
import sys
from pathlib import Path

from tests.crash.boundaries import Boundary, recorder, watch_postgres, watch_sqlite

from tasker import LocalClient, open_store
from tasker.engine.reporting import Reporter
from tasker.engine.scheduler import Scheduler
from tasker.store.protocol import Store


async def handle_ticks(store: Store) -> None:
    client = LocalClient(store)
    await Scheduler(store, client, Reporter("crash", [], client.task_end_waiter)).create_due_tasks()


async def main(url: str) -> None:
    async with open_store(url, upgrade=False) as store:
        await handle_ticks(store)


if __name__ == "__main__":
    at = Boundary(*sys.argv[3].split(" ", 1)) if len(sys.argv) > 3 else None
    passed = recorder(Path(sys.argv[2]), at, int(sys.argv[4]) if at else 0)
    watch_sqlite(passed)
    watch_postgres(passed)
    asyncio.run(main(sys.argv[1]))
