"""What handlers log and print is kept with their attempts."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.engine import computing
from tests.engine.factories import SOON, step, template
from tests.waiting import eventually

from tasker import AsyncContext, Context, PermanentError, SyncContext, Worker, WorkerSettings
from tasker.engine.step_logs import STEP_LOGGER
from tasker.errors import TaskFailed
from tasker.limits import LOG_RECORDS
from tasker.redact import MASK
from tasker.settings import StepLogMode
from tasker.step_logs import LogRecord
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


async def logs_of(
    store: Store,
    handler: Callable[..., Any],
    mode: StepLogMode = StepLogMode.ALL,
    *,
    at_least: int = 0,
) -> list[LogRecord]:
    """Run a task of one step, and return what was kept of it once the worker has stopped."""
    flow = template("flow", step("only"))
    settings = WorkerSettings(step_logs=mode)
    async with Worker(store, [{"only": handler}], templates=[flow], settings=settings) as worker:
        try:
            task = await worker.client.run("n.flow", {"amount": 7}, timeout=SOON)
        except TaskFailed as failed:
            task = failed.task

        async def all_kept() -> bool:
            return len(await store.list_logs(task.id)) >= at_least

        await eventually(all_kept)
    return await store.list_logs(task.id, limit=2 * LOG_RECORDS)


async def in_loop(ctx: AsyncContext) -> None:
    ctx.logger.debug("left out")
    ctx.logger.info("paid %d", 7, extra={"order": 3, "api_token": "t"})
    await asyncio.sleep(0)
    print("printed")
    STEP_LOGGER.warning("of the step's logger")
    try:
        raise ValueError("reason")
    except ValueError:
        ctx.logger.exception("failed")


def in_thread(ctx: SyncContext) -> None:
    ctx.logger.info("paid %d", 7, extra={"order": 3, "api_token": "t"})
    print("printed")
    STEP_LOGGER.warning("of the step's logger")
    try:
        raise ValueError("reason")
    except ValueError:
        ctx.logger.exception("failed")


@pytest.fixture(params=[False, True])
def is_configured(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether a log handler of the program writes records to the present `sys.stderr`."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    root.handlers = [logging.lastResort] if request.param and logging.lastResort else []
    yield request.param
    root.handlers = before


@pytest.mark.parametrize("handler", [in_loop, in_thread])
async def test_logged_records_and_printed_lines_are_kept(
    memory: Store, handler: Callable[..., Any], is_configured: bool
) -> None:
    """Once, whether or not logging is configured; values of secret fields are masked."""
    paid, printed, warned, failed = await logs_of(memory, handler)

    assert ("info", __name__, "paid 7", {"order": 3, "api_token": MASK}) == (
        *(paid.level, paid.source, paid.message, dict(paid.fields)),
    )
    assert ("only", 1, 0) == (paid.step, paid.attempt, paid.number)
    assert ("stdout", "printed") == (printed.source, printed.message)
    assert ("warning", "tasker.step") == (warned.level, warned.source)
    assert "error" == failed.level
    assert failed.message.startswith("failed\nTraceback")
    assert failed.message.endswith("ValueError: reason")


@pytest.mark.parametrize("mode", [StepLogMode.ALL, StepLogMode.ERRORS])
async def test_the_last_report_of_progress_is_kept_with_the_logs(
    memory: Store, mode: StepLogMode
) -> None:
    def only(ctx: Context) -> None:
        for row in range(3_000):
            ctx.progress(row / 1_000, f"row {row}")
        raise PermanentError("no")

    *others, last = await logs_of(memory, only, mode)

    assert len(others) < LOG_RECORDS
    assert ("progress", "row 2999", {"fraction": 1.0}) == (
        *(last.source, last.message, dict(last.fields)),
    )


async def test_handlers_in_processes_have_logs_too(memory: Store) -> None:
    kept = await logs_of(memory, computing.chatter, at_least=3)

    assert [
        ("tests.engine.computing", "computing 7", {"row": 1}),
        ("stdout", "printed", {}),
        ("stdout", "open", {}),
    ] == [(one.source, one.message, dict(one.fields)) for one in kept]


async def test_the_setting_says_which_logs_are_kept(memory: Store) -> None:
    def only(ctx: Context) -> None:
        ctx.logger.info("fine")
        print("a line that does not end", end="")

    def failing(ctx: Context) -> None:
        ctx.logger.info("before the failure")
        raise PermanentError("no")

    modes = (StepLogMode.ALL, StepLogMode.ERRORS, StepLogMode.OFF)
    kept = [[len(await logs_of(memory, h, mode)) for mode in modes] for h in (only, failing)]

    assert [[2, 0, 0], [1, 1, 0]] == kept


async def test_an_attempt_that_logs_too_much_says_so(memory: Store) -> None:
    def only(ctx: Context) -> None:
        for number in range(LOG_RECORDS + 10):
            ctx.logger.info("record %d", number)

    kept = await logs_of(memory, only)

    assert LOG_RECORDS + 1 == len(kept)
    assert "further records of this attempt are not kept" in kept[-1].message


async def test_logs_are_stored_while_the_attempt_runs(memory: Store) -> None:
    """And its settlement waits for no log."""
    seen = asyncio.Event()

    async def only(ctx: AsyncContext) -> None:
        ctx.logger.info("begins")
        await seen.wait()

    flow = template("flow", step("only"))
    async with Worker(memory, [{"only": only}], templates=[flow]) as worker:
        task = await worker.client.create_task("n.flow", {"amount": 7})
        await eventually(lambda: memory.list_logs(task.id))
        seen.set()
        await worker.client.wait(task.id, timeout=SOON)


async def test_a_logger_names_the_line_of_its_caller(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def only(ctx: Context) -> None:
        ctx.logger.warning("here")

    await logs_of(memory, only)

    (record,) = [each for each in caplog.records if each.message == "here"]
    assert ("only", logging.WARNING) == (record.funcName, record.levelno)
