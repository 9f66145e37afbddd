"""The embedded store on SQLite 3.35 or later: one file, or memory."""

from tasker.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
