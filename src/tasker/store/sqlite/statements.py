"""The SQL files of the store, and running them on a connection."""

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from tasker import codec
from tasker.store import statements
from tasker.store.rows import RowReader

_LOADED = statements.load_statements(__package__, "sql")
STATEMENTS = {name: statement.text for name, statement in _LOADED.items()}
WITH_NOW = frozenset(name for name, statement in _LOADED.items() if "now" in statement.names)
_WITH_FILTERS = frozenset(
    name for name, statement in _LOADED.items() if statement.has_optional_filters
)
READ = RowReader(
    instant=lambda value: datetime.fromtimestamp(value, UTC),
    strings=lambda text: tuple(codec.loads(text)),
)

json_text = codec.dump_rows


def text_without_null_filters(statement: str, parameters: Mapping[str, object]) -> str:
    """Return a statement without the conditions whose parameters are null."""
    if statement not in _WITH_FILTERS:
        return STATEMENTS[statement]
    given = frozenset(name for name, value in parameters.items() if value is not None)
    return _text_without_unused_filters(statement, given)


@lru_cache(maxsize=1024)
def _text_without_unused_filters(statement: str, given: frozenset[str]) -> str:
    return _LOADED[statement].without_unused_filters(given).text


def execute(on: sqlite3.Connection, statement: str, /, **parameters: Any) -> sqlite3.Cursor:
    return on.execute(STATEMENTS[statement], parameters)


def fetch(on: sqlite3.Connection, statement: str, /, **parameters: Any) -> list[Any]:
    return on.execute(STATEMENTS[statement], parameters).fetchall()


def fetch_one(on: sqlite3.Connection, statement: str, /, **parameters: Any) -> Any:
    rows = fetch(on, statement, **parameters)
    return rows[0] if rows else None


def to_epoch_seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()
