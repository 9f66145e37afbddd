"""One worker process: what `tasker worker` does."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta

from tasker.cli.serving import Loaded, on_signals
from tasker.cli.watching import Watching
from tasker.config import WorkerSettings
from tasker.engine import Worker
from tasker.store.protocol import Store

log = logging.getLogger("tasker.cli")


async def work(
    store: Store,
    loaded: Loaded,
    settings: WorkerSettings,
    *,
    name: str | None = None,
    replace: bool = False,
    supervisor: int | None = None,
    watching: Watching | None = None,
) -> None:
    """Run a worker until a signal.

    Args:
        store: Where the work is.
        loaded: Its handlers and templates.
        settings: How it behaves.
        name: What operators see.
        replace: Whether templates that exist with other content are replaced.
        supervisor: The descriptor of a socket to the process that started this one: it is
            told when the worker has started, and its end ends the worker.
        watching: Who is told what it does; None: nobody.
    """
    worker = Worker(
        store,
        [loaded.handlers],
        templates=loaded.templates,
        settings=settings,
        name=f"{name}:{os.getpid()}" if name else None,
        replace=replace,
        observers=watching.observers if watching else (),
        around=watching.around if watching else None,
    )

    def signalled(which: signal.Signals, count: int) -> None:
        log.info("stopping", extra={"signal": which.name, "at_once": count > 1})
        worker.stop(None if count == 1 else timedelta(0))

    with on_signals(signalled):
        async with worker:
            with nullcontext() if supervisor is None else _linked(supervisor, worker):
                await worker.ended()


@contextmanager
def _linked(descriptor: int, worker: Worker) -> Iterator[None]:
    """Tell the supervisor that the worker has started; stop it when the supervisor is gone."""
    loop = asyncio.get_running_loop()
    link = socket.socket(fileno=descriptor)
    link.set_inheritable(False)
    link.setblocking(False)

    def gone() -> None:
        loop.remove_reader(link)
        log.warning("supervisor_gone")
        worker.stop()

    loop.add_reader(link, gone)
    with suppress(OSError):  # it is gone already, which the reader tells
        link.send(b"+")
    try:
        yield
    finally:
        loop.remove_reader(link)
        link.close()
