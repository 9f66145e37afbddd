"""The thread that owns the database connection: operations that share a transaction."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tasker.errors import StoreError, StoreUnavailable
from tasker.store.sqlite.thread import DatabaseThread

pytestmark = pytest.mark.anyio

Work = Callable[[sqlite3.Connection], Any]


def connect() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("create table t (n integer primary key)")
    return connection


def add(n: int, *, and_fail: bool = False) -> Work:
    def work(on: sqlite3.Connection) -> int:
        on.execute("insert into t values (?)", (n,))
        if and_fail:
            raise ZeroDivisionError
        return n

    return work


def numbers(on: sqlite3.Connection) -> list[int]:
    return [row[0] for row in on.execute("select n from t order by n")]


def broken_read(on: sqlite3.Connection) -> None:
    on.execute("select ?", ("\ud800",))


async def together(thread: DatabaseThread, *works: tuple[Work, bool]) -> list[Any]:
    """Run operations that have all queued before the first of them began."""
    gate = threading.Event()
    blocking = asyncio.ensure_future(thread.run(lambda _: gate.wait(10), writes=False))
    waiting = [asyncio.ensure_future(thread.run(work, writes=writes)) for work, writes in works]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(blocking, return_exceptions=True)
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_failing_read_rolls_back_no_write() -> None:
    """
    Writes that shared its transaction are done, and their callers get their results.
    """
    thread = DatabaseThread(connect, "test")
    thread.start()

    first, read, second = await together(
        thread, (add(1), True), (broken_read, False), (add(2), True)
    )

    assert (1, 2) == (first, second)
    assert isinstance(read, UnicodeEncodeError)
    assert [1, 2] == await thread.run(numbers, writes=False)
    await thread.stop()


async def test_a_failing_write_rolls_back_only_itself() -> None:
    """Only that write is rolled back, for any error."""
    thread = DatabaseThread(connect, "test")
    thread.start()

    done = await together(
        thread,
        (add(1), True),
        (add(2, and_fail=True), True),
        (add(1), True),
        (add(3), True),
    )

    assert (1, 3) == (done[0], done[3])
    assert isinstance(done[1], ZeroDivisionError)
    assert isinstance(done[2], StoreError)
    assert [1, 3] == await thread.run(numbers, writes=False)
    await thread.stop()


async def test_a_single_failing_write_stores_nothing() -> None:
    """
    The next one finds the database as it was.
    """
    thread = DatabaseThread(connect, "test")
    thread.start()

    with pytest.raises(ZeroDivisionError):
        await thread.run(add(1, and_fail=True), writes=True)

    assert [] == await thread.run(numbers, writes=False)
    assert 1 == await thread.run(add(1), writes=True)
    await thread.stop()


@pytest.mark.parametrize("writes", [True, False])
async def test_a_transaction_that_sqlite_rolls_back_fails_all_its_operations(writes: bool) -> None:
    """
    On a full disk SQLite may roll it back itself: no write is reported as done.
    """

    def give_up(on: sqlite3.Connection) -> None:
        on.execute("rollback")
        raise sqlite3.OperationalError("database or disk is full")

    thread = DatabaseThread(connect, "test")
    thread.start()

    done = await together(thread, (add(1), True), (give_up, writes), (add(2), True))

    assert [StoreUnavailable] * 3 == [type(error) for error in done]
    assert [] == await thread.run(numbers, writes=False)
    assert 1 == await thread.run(add(1), writes=True)
    await thread.stop()


@pytest.mark.parametrize(
    "trouble",
    [
        sqlite3.OperationalError("unable to open database file"),
        FileExistsError(17, "File exists", ".tasker"),
        PermissionError(13, "Permission denied", ".tasker"),
    ],
)
async def test_without_a_connection_every_operation_reports_it(trouble: Exception) -> None:
    """No operation waits for a database that cannot be opened."""

    def unable() -> sqlite3.Connection:
        raise trouble

    thread = DatabaseThread(unable, "sqlite:nowhere")
    thread.start()

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="sqlite:nowhere"):
            await thread.run(numbers, writes=False)
    await thread.stop()


async def test_stopping_completes_queued_operations() -> None:
    """
    A write that was asked for before is durable.
    """
    thread = DatabaseThread(connect, "test")
    thread.start()
    writing = [asyncio.ensure_future(thread.run(add(n), writes=True)) for n in range(300)]
    await asyncio.sleep(0)

    await thread.stop()

    assert list(range(300)) == await asyncio.gather(*writing)
