"""A process whose handler loops over durable calls, and that dies after a number of statements.

    python -m tests.crash.durable_loop STORE_URL EFFECTS_FILE STATEMENTS

runs the task `loop`, sends it the signals that it waits for, and kills itself with SIGKILL when it
has passed that many boundaries of statements. Started again, it continues.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

from tests.crash.boundaries import Boundary, Pass, watch_postgres, watch_sqlite
from tests.crash.worker import SETTINGS

from tasker import AsyncContext, Client, LocalClient, Retry, Worker, open_store
from tasker.errors import WrongStatus
from tasker.model import StepSpec, Template

ROUNDS = 20
ARMED = threading.Event()
"""Set when the process may die: the worker has started."""

LOOP = Template(
    namespace="crash",
    name="loop",
    version="1.0.0",
    steps=(StepSpec(name="loop", retry=Retry(max_attempts=3)),),
)


def handler(effects: Path) -> object:
    """Return the handler: each round has an effect, a sleep, and a wait for a signal."""
    descriptor = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def loop(ctx: AsyncContext) -> list[list[int]]:
        def act(number: int) -> int:
            os.write(descriptor, f"{number}\n".encode())
            return number

        rounds = []
        for number in range(ROUNDS):
            done = await ctx.once(f"act-{number}", act, number)
            await ctx.sleep(0.01)
            rounds.append([done, await ctx.wait_signal("next", timeout="1h")])
        return rounds

    return loop


async def send(client: Client, task_id: str) -> None:
    """Send the signals; those that were sent before are known by their ids."""
    for number in range(ROUNDS):
        await client.signal(task_id, "next", number, id=f"signal-{number}")
        await asyncio.sleep(0.01)


async def main(url: str, effects: Path) -> None:
    async with open_store(url, upgrade=True) as store:
        client = LocalClient(store)
        await client.register(LOOP)
        task = await client.create_task("crash.loop", idempotency_key="loop")
        worker = Worker(store, [{"loop": handler(effects)}], namespaces="*", settings=SETTINGS)
        running = asyncio.create_task(worker.run())
        ARMED.set()
        with contextlib.suppress(WrongStatus):  # it is complete
            await send(client, task.id)
        await client.wait(task.id)
        worker.stop()
        await running


def killer(after: int) -> Pass:
    """Return a function that ends the process when it is called for the last time."""
    left = after

    def passed(_: Boundary) -> None:
        nonlocal left
        left -= ARMED.is_set()
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return passed


if __name__ == "__main__":
    url, effects, statements = sys.argv[1:]
    (watch_sqlite if url.startswith("sqlite") else watch_postgres)(killer(int(statements)))
    asyncio.run(main(url, Path(effects)))
