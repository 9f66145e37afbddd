"""How the store's methods reach the database."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Self, TypeVar

from tasker import codec
from tasker.clock import Clock, SystemClock
from tasker.model import (
    Code,
    SchemaStatus,
    TaskId,
)
from tasker.store import statements
from tasker.store.rows import Reader
from tasker.store.sqlite import connection as database
from tasker.store.sqlite.address import Address
from tasker.store.sqlite.change_watcher import ChangeWatcher
from tasker.store.sqlite.thread import DatabaseThread

T = TypeVar("T")
STATEMENTS = {
    name: statement.text for name, statement in statements.load(__package__, "sql").items()
}
READ = Reader(
    instant=lambda value: datetime.fromtimestamp(value, UTC),
    strings=lambda text: tuple(codec.loads(text)),
)


class Driver:
    """Opens the database, and runs statements by name.

    One process writes at a time; several may, each waiting for the others' transactions.

    Args:
        url: `sqlite`, `sqlite:FILE[?synchronous=normal]` or `sqlite::memory:`.
        clock: The store's own clock.
    """

    def __init__(self, url: str = "sqlite", *, clock: Clock | None = None) -> None:
        self.address = Address.parse(url)
        self.url = self.address.shown
        self._clock = clock or SystemClock()
        memory = database.memory_name()
        self._thread = DatabaseThread(lambda: database.connect(self.address, memory), self.url)
        self._work = asyncio.Event()
        self._revocation = asyncio.Event()
        self._bell: ChangeWatcher | None = (
            None  #: of the other processes; nobody shares a database in memory
        )
        if self.address.path is not None:
            self._bell = ChangeWatcher(
                self.address.path, self._data_version, self._another_process_wrote
            )

    async def __aenter__(self) -> Self:
        self._thread.start()
        try:
            await self._read(database.status)
        except BaseException:
            await self._thread.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bell is not None:
            await self._bell.close()
        await self._thread.stop()

    async def schema_status(self) -> SchemaStatus:
        return await self._read(database.status)

    async def upgrade(self) -> SchemaStatus:
        await self._write(lambda on: database.upgrade(on, self.url))
        return await self.schema_status()

    def _now(self) -> float:
        return self._clock.now().timestamp()

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._thread.run(work, writes=False)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._thread.run(work, writes=True)

    async def _all(self, statement: str, /, **parameters: Any) -> list[Any]:
        return await self._read(lambda on: fetch(on, statement, **parameters))

    async def _first(self, statement: str, /, **parameters: Any) -> Any:
        rows = await self._all(statement, **parameters)
        return rows[0] if rows else None

    async def _change(self, statement: str, /, **parameters: Any) -> list[Any]:
        return await self._write(lambda on: fetch(on, statement, **parameters))

    async def _wait(self, event: asyncio.Event, timeout: float) -> None:
        """Wait for this process's event, or for another process's commit."""
        if self._bell is not None:
            self._bell.listen()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await event.wait()
        event.clear()

    async def _data_version(self) -> int:
        found: int = await self._read(lambda on: on.execute("pragma data_version").fetchone()[0])
        return found

    def _another_process_wrote(self) -> None:
        self._work.set()
        self._revocation.set()


json_text = codec.orjson_text


@lru_cache(maxsize=1024)
def listing(statement: str, given: frozenset[str]) -> str:
    """Tell a statement without the conditions whose parameters are not given."""
    return statements.load(__package__, "sql")[statement].narrowed(given).text


def fetch(on: sqlite3.Connection, statement: str, /, **parameters: Any) -> list[Any]:
    return on.execute(STATEMENTS[statement], parameters).fetchall()


def fetch_one(on: sqlite3.Connection, statement: str, /, **parameters: Any) -> Any:
    rows = fetch(on, statement, **parameters)
    return rows[0] if rows else None


def execute(on: sqlite3.Connection, statement: str, /, **parameters: Any) -> sqlite3.Cursor:
    return on.execute(STATEMENTS[statement], parameters)


def stop_task(
    on: sqlite3.Connection, task_id: TaskId, code: Code, error: str | None, now: float
) -> None:
    """End a task and what of it has not ended."""
    steps = Code.SKIPPED if code is Code.RESOLVED_MANUALLY else Code.CANCELLED
    execute(on, "stop_attempts", task_id=task_id, now=now)
    execute(on, "stop_steps", task_id=task_id, state=int(steps), now=now)
    execute(on, "end_task", task_id=task_id, state=int(code), error=error, now=now)
    execute(on, "wake_parents", ended=json_text([task_id]), now=now)


def seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()
