"""Short work that a worker does not end without."""

import asyncio

import pytest

from tasker.engine.background import BackgroundTasks

pytestmark = pytest.mark.anyio

SECONDS = 60  #: only a test that fails takes so long


async def test_the_end_of_spawned_work_is_signalled() -> None:
    """A stopping worker waits for it."""
    background = BackgroundTasks("w")
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()

    background.start_operation(work())
    assert 1 == len(background.pending)
    gate.set()
    async with asyncio.timeout(SECONDS):
        await background.changed.wait()

    assert not background.pending
    assert background.failure is None


async def test_the_first_failure_is_reported() -> None:
    background = BackgroundTasks("w")

    async def fail(number: int) -> None:
        raise RuntimeError(str(number))

    for number in range(2):
        background.start_operation(fail(number))
        async with asyncio.timeout(SECONDS):
            await background.changed.wait()
        background.changed.clear()

    assert background.failed.is_set()
    assert "0" == str(background.failure)
