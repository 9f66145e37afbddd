"""A worker process that the crash tests kill: `python worker.py URL EFFECTS_FILE`.

The URL is that of a store, or of a server for a worker that uses the worker protocol.

Each handler leaves a line in the effects file before it returns, as a service that was
called would: what the database does not know of, the file does.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from tasker import (
    AsyncContext,
    Context,
    Event,
    RetryableError,
    Worker,
    WorkerSettings,
    on_event,
    open_store,
)
from tasker.remote.store import RemoteStore
from tasker.remote.worker import RemoteWorker

SETTINGS = WorkerSettings(
    slots=8,
    lease=timedelta(seconds=3),  # for which a busy machine may stop a process that lives
    poll=timedelta(seconds=0.2),
    subscriber_timeout=timedelta(seconds=1),
)


def effects(file: Path) -> Callable[[Context], None]:
    """Return a function that appends one line, in one write, for an attempt."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def record(context: Context) -> None:
        line = f"{context.task_id} {context.step} {context.attempt}\n"
        os.write(descriptor, line.encode())

    return record


def handlers(file: Path) -> dict[str, Callable[..., Any]]:
    """Return the handlers of the templates in `fleet`; each records its effect in the file."""
    record = effects(file)

    async def quick(context: Context) -> str:
        await asyncio.sleep(0.01)
        record(context)
        return context.step

    def blocking(context: Context) -> str:
        record(context)
        return context.step

    async def failing_first(context: Context) -> str:
        record(context)
        if context.counted_attempts == 1:
            raise RetryableError("once", retry_after=0.05)
        return context.step

    async def saving(context: AsyncContext) -> int:
        record(context)
        begun: int = context.last_checkpoint or 0
        for reached in range(begun + 1, 6):
            await context.checkpoint(reached)
        return 5

    async def asking(context: AsyncContext) -> str:
        record(context)
        child = await context.client.run("crash.chain")
        return str(child.status)

    return {
        "quick": quick,
        "blocking": blocking,
        "failing_first": failing_first,
        "saving": saving,
        "asking": asking,
    }


def subscriber(file: Path) -> Callable[[Event], None]:
    """Return a subscriber that appends the id of each event to a file beside the effects."""
    descriptor = os.open(events_file(file), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @on_event("*", namespace="crash")
    def record(event: Event) -> None:
        os.write(descriptor, f"{event.id}\n".encode())

    return record


def events_file(file: Path) -> Path:
    """Return the file of received events beside that of effects."""
    return file.with_name(f"{file.name}-events")


async def main(url: str, file: Path) -> None:
    if url.startswith("http://"):
        async with RemoteStore(url) as remote:
            await run(RemoteWorker(remote, [handlers(file)], namespaces="*", settings=SETTINGS))
        return
    async with open_store(url, upgrade=False) as store:
        await run(Worker(store, [handlers(file)], namespaces="*", settings=SETTINGS))


async def run(worker: Worker) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with worker:
        print("ready", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
