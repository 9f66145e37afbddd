"""The thread that owns a database connection, and commits queued operations together.

An operation is a function of the connection. Operations that arrive during a transaction
share the next one: each runs in its own savepoint, so its failure does not affect the others, and
one commit (one fsync) completes all of them.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from tasker.errors import SchemaMismatch, StoreError, StoreUnavailable

T = TypeVar("T")
_MOST = 200  #: operations in one transaction
_UNAVAILABLE = ("locked", "busy", "unable to open", "disk", "readonly", "out of memory")


class _Operation(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    writes: bool
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"


class _FinishedOperation(NamedTuple):
    operation: _Operation
    result: Any
    error: Exception | None


class DatabaseThread:
    """Runs operations on a connection that `connect` opens, in order."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], name: str) -> None:
        self._connect = connect
        self._name = name
        self._queue: SimpleQueue[_Operation | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._process_operations, name=f"tasker {name}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """Finish queued operations and close the connection."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    async def run(self, work: Callable[[sqlite3.Connection], T], *, writes: bool) -> T:
        """Run an operation; its effects are durable when this returns."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Operation(work, writes, loop, future))
        return await future

    def _process_operations(self) -> None:
        try:
            connection = self._connect()
        except Exception as error:  # no such directory, not permitted, not a database, ...
            self._fail_all_operations(translate_error(error, self._name))
            return
        while (first := self._queue.get()) is not None:
            batch = [first]
            stop = self._fill_batch(batch)
            _deliver_results(self._run_batch(connection, batch))
            if stop:
                break
        connection.close()

    def _fill_batch(self, batch: list[_Operation]) -> bool:
        """Add queued operations to the batch; return whether a stop was requested."""
        while len(batch) < _MOST:
            try:
                operation = self._queue.get_nowait()
            except Empty:
                return False
            if operation is None:
                return True
            batch.append(operation)
        return False

    def _run_batch(
        self, connection: sqlite3.Connection, batch: list[_Operation]
    ) -> list[_FinishedOperation]:
        writes = any(operation.writes for operation in batch)
        try:
            connection.execute("begin immediate" if writes else "begin")
            done = [
                self._run_operation(connection, operation, len(batch) > 1) for operation in batch
            ]
            connection.execute("commit" if connection.in_transaction else "select 1")
        except sqlite3.Error as error:
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("rollback")
            failure = translate_error(error, self._name)
            return [_FinishedOperation(operation, None, failure) for operation in batch]
        return done

    def _run_operation(
        self, connection: sqlite3.Connection, operation: _Operation, shared: bool
    ) -> _FinishedOperation:
        if shared and operation.writes:
            connection.execute("savepoint operation")
        try:
            result = operation.work(connection)
        except Exception as error:  # delivered to the caller of the operation
            if isinstance(error, sqlite3.Error) and not connection.in_transaction:
                raise  # SQLite rolled back the transaction with the writes of all operations
            if shared and operation.writes:
                connection.execute("rollback to operation")
                connection.execute("release operation")
            elif not shared and connection.in_transaction:
                connection.execute("rollback")
            return _FinishedOperation(operation, None, translate_error(error, self._name))
        if shared and operation.writes:
            connection.execute("release operation")
        return _FinishedOperation(operation, result, None)

    def _fail_all_operations(self, error: Exception) -> None:
        """Fail all operations with the error that prevented the connection."""
        while (operation := self._queue.get()) is not None:
            _deliver_results([_FinishedOperation(operation, None, error)])


def _deliver_results(done: list[_FinishedOperation]) -> None:
    loops = {item.operation.loop for item in done}
    for loop in loops:
        mine = [item for item in done if item.operation.loop is loop]
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve_futures, mine)


def _resolve_futures(done: list[_FinishedOperation]) -> None:
    for operation, result, error in done:
        if operation.future.cancelled():
            continue
        if error is None:
            operation.future.set_result(result)
        else:
            operation.future.set_exception(error)


def translate_error(error: Exception, name: str) -> Exception:
    """Translate an error of the driver into a store error; return others unchanged."""
    if isinstance(error, sqlite3.OperationalError):
        text = str(error)
        if "no such table" in text or "no such column" in text:
            return SchemaMismatch(f"the schema of {name} does not match this release ({text})")
        if any(trouble in text for trouble in _UNAVAILABLE):
            return StoreUnavailable(f"{name}: {text}")
    if isinstance(error, sqlite3.Error):
        return StoreError(f"{name}: {error}")
    if isinstance(error, OSError):
        return StoreUnavailable(f"{name}: {error}")
    return error
