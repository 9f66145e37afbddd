"""The store on SQLite: each method is one statement file, or a short transaction of some."""

from tasker.store.sqlite.analytics import Analytics
from tasker.store.sqlite.hotpath import HotPath
from tasker.store.sqlite.operators import Operators
from tasker.store.sqlite.teams import Teams
from tasker.store.sqlite.templates import Templates
from tasker.store.sqlite.workers import Workers


class SqliteStore(Templates, Operators, HotPath, Workers, Teams, Analytics):
    """Implements `tasker.store.protocol.Store`."""
