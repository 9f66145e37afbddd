"""A session on SQLite. Its calls never wait, because they run in the database's thread."""

import sqlite3
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar

from tasker.model import NewEvent, Outcome, SettleResult, TaskEnd, TaskId
from tasker.store.rows import Row
from tasker.store.session import require_storable_strings
from tasker.store.sqlite import settlement
from tasker.store.sqlite.statements import READ, WITH_NOW, json_text, text_without_null_filters

T = TypeVar("T")
_NOTIFICATIONS = frozenset({"wake_workers", "notify_revocation"})


class SqliteSession:
    """Implements `tasker.store.session.Session`.

    Attributes:
        notifications: Notifications to send: `wake_workers`, `notify_revocation`.
    """

    read = READ

    def __init__(self, connection: sqlite3.Connection, now: datetime) -> None:
        self.now = now
        self.ended: list[TaskId] = []
        self.notifications: set[str] = set()
        self.connection = connection
        self._cursor = connection.cursor()
        self._cursor.row_factory = sqlite3.Row

    async def fetch_all(self, statement: str, /, **values: object) -> Sequence[Row]:
        require_storable_strings(values)
        adapted = {name: _adapt_value(value) for name, value in values.items()}
        if statement in WITH_NOW:
            adapted["now"] = self.now.timestamp()
        return self._cursor.execute(
            text_without_null_filters(statement, adapted), adapted
        ).fetchall()

    async def fetch_one(self, statement: str, /, **values: object) -> Row | None:
        rows = await self.fetch_all(statement, **values)
        return rows[0] if rows else None

    async def lock_rows(self, statement: str, /, **values: object) -> Sequence[Row]:
        return await self.fetch_all(statement, **values)  # a writing transaction is alone

    async def call_function(self, function: str, /, **values: object) -> Sequence[Row]:
        self.notifications.add(function if function in _NOTIFICATIONS else "wake_workers")
        return [] if function in _NOTIFICATIONS else await self.fetch_all(function, **values)

    async def end_failed_tasks(self, tasks: Sequence[TaskId]) -> list[TaskEnd]:
        self.notifications.add("wake_workers")
        ended = settlement.end_failed_tasks(self.connection, tasks, self.now.timestamp())
        self.ended += [end.task_id for end in ended]
        return ended

    async def settle(
        self, outcomes: Sequence[Outcome], events: Sequence[NewEvent] = ()
    ) -> SettleResult:
        connection, given, now = self.connection, json_text(outcomes), self.now.timestamp()
        settled, _ = settlement.settle_outcomes(connection, None, outcomes, given, 0, now, events)
        self.notifications.add("wake_workers")
        self.ended += [end.task_id for end in settled.ended]
        return settled


def run_synchronously(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that awaits only calls of a session."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise AssertionError("a transaction awaited something other than its session")


def _adapt_value(value: object) -> object:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, (list, tuple, set, frozenset)):
        return json_text([_adapt_item(item) for item in value])
    return value


def _adapt_item(value: object) -> object:
    return value.timestamp() if isinstance(value, datetime) else value
