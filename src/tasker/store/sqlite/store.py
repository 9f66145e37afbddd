"""The store on SQLite: the operations of all stores, and the hot path in its own SQL."""

from tasker.store.operations.approvals import Approvals
from tasker.store.operations.bulk import BulkOperations
from tasker.store.operations.compensation import CompensationPlanning
from tasker.store.operations.events import Events
from tasker.store.operations.hooks import Hooks
from tasker.store.operations.schedules import Schedules
from tasker.store.operations.step_logs import StepLogs
from tasker.store.operations.teams import Teams
from tasker.store.operations.templates import Templates
from tasker.store.operations.waits import Waits
from tasker.store.operations.workers import Workers
from tasker.store.sqlite.analytics import Analytics
from tasker.store.sqlite.hotpath import HotPath
from tasker.store.sqlite.tasks import Tasks


class SqliteStore(
    Templates,
    Workers,
    CompensationPlanning,
    BulkOperations,
    Schedules,
    Waits,
    Approvals,
    Hooks,
    Teams,
    Events,
    StepLogs,
    Analytics,
    Tasks,
    HotPath,
):
    """Implements `tasker.store.protocol.Store`."""
