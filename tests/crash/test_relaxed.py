"""A database server that crashes right after a relaxed settlement."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import asyncpg
import pytest

from tasker import LocalClient, Task, TaskStatus, Template, Worker, WorkerSettings, open_store
from tasker.errors import StoreUnavailable
from tasker.model import Attempt, AttemptOutcome, SettlementDurability, StepSpec, StepStatus
from tasker.store.protocol import Store
from tasker.testing.postgres import temporary_postgres

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

TRIES = 5  #: since the server may have written the settlement for another reason
WITHIN = 60.0  #: seconds
SETTINGS = WorkerSettings(lease=timedelta(seconds=30))  #: renewed every 10 s
CHAIN = Template(
    namespace="crash",
    name="relaxed",
    version="1.0.0",
    durability=SettlementDurability.RELAXED,
    steps=(
        StepSpec(name="first"),
        StepSpec(name="second", dependencies=("first",)),
        StepSpec(name="third", dependencies=("second",)),
    ),
)


class Handlers:
    """The first step returns how often it ran; the second crashes the server until it ran again.

    It does so at once, before this or another session writes to the disk what the first one's
    settlement left in the server's memory.

    Args:
        server: The process of a session; when it is killed, the whole server starts again.
    """

    def __init__(self, server: int) -> None:
        self._server = server
        self.runs = 0
        self.crashed = asyncio.Event()
        self.stopped = asyncio.Event()

    async def first(self) -> int:
        self.runs += 1
        return self.runs

    async def second(self, first: int) -> int:
        if first == 1:
            os.kill(self._server, signal.SIGKILL)
            self.crashed.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped.set()
        return first

    async def third(self, second: int) -> int:
        return second


async def wait_for_recovery(url: str) -> None:
    """Wait until the server accepts sessions, as it does not while it recovers."""
    while True:
        with suppress(OSError, asyncpg.PostgresError):
            await (await asyncpg.connect(url)).close()
            return
        await asyncio.sleep(0.05)


async def is_undone(store: Store, task: Task, handlers: Handlers) -> bool:
    """Return whether the first step runs or ran again."""
    while True:
        with suppress(StoreUnavailable):
            steps = {step.name: step.status for step in await store.list_steps(task.id)}
            return handlers.runs > 1 or steps["first"] is not StepStatus.COMPLETE
        await asyncio.sleep(0.05)


async def crash_after_the_first_step(
    store: Store, url: str
) -> tuple[Handlers, Task, Sequence[Attempt]] | None:
    """Run a task over a crash; None if the first step's settlement was on the disk by then."""
    session = await asyncpg.connect(url)
    handlers = Handlers(session.get_server_pid())
    given = {name: getattr(handlers, name) for name in ("first", "second", "third")}
    noticed = asyncio.Event()  # until then, others answer from the memory that will be lost
    witness = await asyncpg.connect(url)
    witness.add_termination_listener(lambda _: noticed.set())
    async with Worker(store, [given], templates=[CHAIN], settings=SETTINGS) as worker:
        task = await worker.client.create_task("crash.relaxed")
        await handlers.crashed.wait()
        await noticed.wait()
        await wait_for_recovery(url)
        session.terminate()
        if not await is_undone(store, task, handlers):
            worker.stop(timedelta(0))
            return None
        await handlers.stopped.wait()
        done = await LocalClient(store).wait(task.id, timeout=WITHIN)
        return handlers, done, await store.list_attempts(task.id)


async def test_a_crash_repeats_relaxed_steps_and_those_that_used_their_results() -> None:
    """
    The attempt whose claim was lost with the settlement stops, and never settles: the task's result
    is that of the repeated steps, and the history knows one attempt of each.
    """
    settings = {"wal_writer_delay": "10s", "shared_buffers": "16MB"}
    ran = None
    async with asyncio.timeout(WITHIN * 2):
        for _ in range(TRIES):
            with temporary_postgres(settings=settings) as url:
                async with open_store(url, upgrade=True) as store:
                    ran = await crash_after_the_first_step(store, url)
            if ran is not None:
                break
    assert ran is not None
    handlers, task, history = ran

    assert (TaskStatus.COMPLETE, 2, 2) == (task.status, task.result, handlers.runs)
    assert [(name, 1, AttemptOutcome.COMPLETE) for name in ("first", "second", "third")] == [
        (row.step, row.attempt, row.outcome) for row in history
    ]
