"""The store on PostgreSQL: each method is one statement file, or a short transaction of some."""

from tasker.store.postgres.analytics import Analytics
from tasker.store.postgres.hotpath import HotPath
from tasker.store.postgres.operators import Operators
from tasker.store.postgres.teams import Teams
from tasker.store.postgres.templates import Templates
from tasker.store.postgres.workers import Workers


class PostgresStore(Templates, Operators, HotPath, Workers, Teams, Analytics):
    """Implements `tasker.store.protocol.Store`."""
