"""Log records tell which attempt they were written for."""

import asyncio
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest
from tests.engine.factories import SOON, template

from tasker import AsyncContext, Context, Worker
from tasker.engine import AttemptLogFilter
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("flow", "only")


class Kept(logging.Handler):
    """Keeps records, as they pass the filter."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.addFilter(AttemptLogFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


async def logged(store: Store, handler: object, *names: str) -> tuple[str, list[dict[str, Any]]]:
    """Run `handler`; return its task, and what the records named so carry."""
    kept = Kept()
    logging.getLogger().addHandler(kept)
    try:
        async with Worker(store, [{"only": handler}], templates=[FLOW]) as worker:
            task = await worker.client.run("n.flow", timeout=SOON, correlation_id="c-7")
    finally:
        logging.getLogger().removeHandler(kept)
    return task.id, [record.__dict__ for record in kept.records if record.msg in names]


def which(record: dict[str, Any]) -> tuple[object, ...]:
    return tuple(
        record.get(name) for name in ("task_id", "step", "attempt", "correlation_id", "template")
    )


async def test_records_of_any_logger_contain_their_attempt(memory: Store) -> None:
    """Also records of libraries, and from tasks and threads that the handler starts."""

    async def helper() -> None:
        logging.getLogger("library").warning("from a task")

    async def only(context: Context) -> None:
        logging.getLogger("mine").warning("first")
        await asyncio.gather(helper(), helper())
        await asyncio.to_thread(logging.getLogger("library").warning, "from a thread")

    task_id, records = await logged(memory, only, "first", "from a task", "from a thread")

    assert 4 == len(records)
    assert {(task_id, "only", 1, "c-7", FLOW.key)} == {which(record) for record in records}


async def test_records_of_sync_handlers_contain_their_attempt(memory: Store) -> None:
    def only(context: Context) -> None:
        logging.getLogger("mine").warning("attempt")
        if not context.is_retry:
            raise ValueError("once")

    task_id, records = await logged(memory, only, "attempt")

    assert [(task_id, "only", n, "c-7", FLOW.key) for n in (1, 2)] == [
        which(record) for record in records
    ]


async def test_records_outside_attempts_are_unchanged(memory: Store) -> None:
    """
    A thread and a loop that ran attempts do not keep their names.
    """

    def only() -> None:
        threads.append(threading.current_thread())

    threads: list[threading.Thread] = []
    kept = Kept()
    record = logging.LogRecord("other", logging.INFO, "", 0, "outside", None, None)

    async with Worker(memory, [{"only": only}], templates=[FLOW]) as worker:
        await worker.client.run("n.flow", timeout=SOON)
        kept.handle(record)

    assert [record] == kept.records
    assert (None,) * 5 == which(record.__dict__)


async def test_fields_of_a_log_record_are_not_replaced(memory: Store) -> None:
    async def only(context: Context) -> None:
        logging.getLogger("mine").warning("moved", extra={"step": "my own"})

    _, [record] = await logged(memory, only, "moved")

    assert "my own" == record["step"]


async def test_attempts_do_not_inherit_the_context_of_the_creating_task(memory: Store) -> None:
    """Records of a child's attempt do not name the parent's."""

    async def child(context: Context) -> None:
        logging.getLogger("mine").warning("child")

    async def parent(context: AsyncContext) -> None:
        await context.client.run("n.child")

    kept = Kept()
    logging.getLogger("mine").addHandler(kept)
    try:
        async with Worker(
            memory,
            [{"child": child, "parent": parent}],
            templates=[template("child"), template("parent")],
        ) as worker:
            await worker.client.run("n.parent", timeout=SOON)
    finally:
        logging.getLogger("mine").removeHandler(kept)

    assert ["child"] == [record.__dict__["step"] for record in kept.records]


async def test_the_logger_of_the_step_context_needs_no_filter(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def only(context: Context) -> None:
        context.logger.warning("charging", extra={"amount": 5})

    async with Worker(memory, [{"only": only}], templates=[FLOW]) as worker:
        task = await worker.client.run("n.flow", timeout=SOON)

    [record] = [record for record in caplog.records if record.msg == "charging"]
    assert (task.id, "only", 1) == which(record.__dict__)[:3]
    assert 5 == record.__dict__["amount"]


FALLBACK = """
import asyncio
from tasker import Retry, TaskFailed, Worker, Workflow, open_store

w = Workflow("shop.sell", version="1.0.0")

@w.step(retry=Retry(max_attempts=1))
def charge():
    raise KeyError("postgresql://ann:hunter2@db/x")

async def main():
    async with open_store("sqlite::memory:") as store, Worker(store, [w]) as worker:
        try:
            await worker.client.run("shop.sell", {})
        except TaskFailed:
            pass

asyncio.run(main())
"""


def test_warnings_of_a_program_without_logging_have_their_fields() -> None:
    """
    Python's own fallback would print the event's name alone.
    """
    ran = subprocess.run(
        [sys.executable, "-c", FALLBACK], capture_output=True, text=True, check=True, timeout=60
    )

    failed, ended = ran.stderr.splitlines()
    assert failed.startswith("tasker: attempt_failed  task_id=")
    assert "step=charge" in failed
    assert "hunter2" not in failed
    assert ended.startswith("tasker: task_failed  task_id=")
