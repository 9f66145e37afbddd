"""Fixtures for tests of workflows; pytest discovers them by itself.

Async fixtures run with anyio (`@pytest.mark.anyio`), or with pytest-asyncio in its auto mode.
Tasker is not imported until a test requests one of the fixtures.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from tasker.clock import ManualClock
    from tasker.engine import Worker
    from tasker.store.protocol import Store

pytest.register_assert_rewrite("tasker.testing.store_suite")

StartWorker: TypeAlias = "Callable[..., Awaitable[Worker]]"
"""The type of the fixture `tasker_worker`, a function that starts a worker."""


@pytest.fixture
def tasker_clock() -> "ManualClock":
    """The clock of `tasker_store`, which starts in 2030 and skips idle time."""
    from tasker.clock import ManualClock

    return ManualClock()


@pytest.fixture
async def tasker_store(tasker_clock: "ManualClock") -> "AsyncIterator[Store]":
    """An open, empty store in memory."""
    from tasker.testing.virtual_time import VirtualTimeStore

    async with VirtualTimeStore(tasker_clock) as store:
        await store.upgrade_schema()
        yield store


@pytest.fixture
async def tasker_worker(tasker_store: "Store") -> AsyncIterator[StartWorker]:
    """Start a worker on `tasker_store`: `await tasker_worker(handlers, templates=[...])`.

    The function takes the arguments of `Worker` after the store. The worker's `client` creates
    tasks and waits for them. The worker stops when the test ends.
    """
    from datetime import timedelta

    from tasker.engine import Worker
    from tasker.settings import WorkerSettings
    from tasker.testing.virtual_time import FOR_EVER

    async with AsyncExitStack() as stack:

        async def start_worker(
            *handlers: object, settings: WorkerSettings | None = None, **options: Any
        ) -> Worker:
            settings = (settings or WorkerSettings(grace=timedelta(0))).model_copy(
                update={"lease": FOR_EVER}
            )
            worker = Worker(tasker_store, handlers, settings=settings, **options)
            return await stack.enter_async_context(worker)

        yield start_worker
