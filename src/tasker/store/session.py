"""The interface of transactions that both stores share: statements by name.

Such a transaction is a coroutine function of a `Session`. PostgreSQL awaits it. In SQLite's
thread no call of the session waits, so the coroutine runs to its end at the first `send`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from tasker.codec import UNSTORABLE
from tasker.errors import InvalidInput, StoreUnavailable
from tasker.model import (
    Claim,
    CreateTasksResult,
    NewEvent,
    NewTask,
    Outcome,
    RenewedLease,
    SettleResult,
    TaskEnd,
    TaskId,
    WorkerId,
)
from tasker.store.rows import Row, RowReader

T = TypeVar("T")


class Session(Protocol):
    """A connection, within a transaction or for reading.

    Values are adapted by type: on SQLite, lists become JSON text and instants seconds since
    1970. A statement that names `:now` gets the time of the store's clock.
    """

    read: RowReader
    ended: list[TaskId]
    """Tasks that ended or whose compensation began in this transaction. After it commits,
    tasks that were waiting for the places of these tasks are started."""

    @property
    def now(self) -> datetime:
        """The time at which the session was opened, by the clock of this process."""
        ...

    async def fetch_all(self, statement: str, /, **values: object) -> Sequence[Row]:
        """Run a statement and return its rows.

        Raises:
            InvalidInput: A string contains a NUL character or an unpaired surrogate.
        """
        ...

    async def fetch_one(self, statement: str, /, **values: object) -> Row | None:
        """Run a statement and return its first row, or None if there is no row."""
        ...

    async def lock_rows(self, statement: str, /, **values: object) -> Sequence[Row]:
        """Return the rows of a query, locked until the transaction ends."""
        ...

    async def call_function(self, function: str, /, **values: object) -> Sequence[Row]:
        """Call a function of the database or, on SQLite, the statement with its name.

        The functions `wake_workers` and `notify_revocation` notify waiting workers when the
        transaction commits.
        """
        ...

    async def end_failed_tasks(self, tasks: Sequence[TaskId]) -> list[TaskEnd]:
        """End failed and cancelled tasks in which nothing can run, or start their compensation.

        Steps that wait for the ended tasks are enqueued.
        """
        ...

    async def settle(
        self, outcomes: Sequence[Outcome], events: Sequence[NewEvent] = ()
    ) -> SettleResult:
        """Record outcomes of attempts that no worker holds, and their consequences."""
        ...


def require_storable_strings(values: Mapping[str, object]) -> None:
    """Raise InvalidInput for a string that databases reject."""
    for name, value in values.items():
        if isinstance(value, str) and UNSTORABLE.search(value):
            raise InvalidInput(
                f"the {name} contains a NUL character or an unpaired surrogate", path=f"$.{name}"
            )


Transaction = Callable[[Session], Coroutine[Any, Any, T]]


class TransactionalStore(ABC):
    """Base class of the store operations, which run in the transactions of a dialect's driver."""

    @abstractmethod
    async def _in_read_transaction(self, transaction: Transaction[T]) -> T:
        """Run reading statements."""

    async def _in_read_by_id(self, transaction: Transaction[T]) -> T:
        """Run reading statements that look up a few rows by their keys."""
        return await self._in_read_transaction(transaction)

    @abstractmethod
    async def _in_write_transaction(self, transaction: Transaction[T]) -> T:
        """Run a transaction, completely or not at all."""

    @abstractmethod
    async def _in_yielding_transaction(self, transaction: Transaction[T]) -> T:
        """Run a transaction on one task that yields to settlements of the same task."""

    @abstractmethod
    async def _execute_in_transaction(self, statement: str, /, **values: object) -> Sequence[Row]:
        """Run one writing statement in its own transaction."""

    @abstractmethod
    async def _create_tasks_in_transaction(
        self, tx: Session, tasks: Sequence[NewTask]
    ) -> CreateTasksResult:
        """Create tasks, none of which replaces another, in a transaction.

        Raises: IdempotencyConflict, Rejected (a template accepts no new tasks).
        """

    @abstractmethod
    async def renew_leases(
        self, held: Mapping[WorkerId, Sequence[Claim]], *, lease: timedelta
    ) -> Mapping[WorkerId, RenewedLease]:
        """Renew the leases of several workers; see `WorkerStore.renew_leases`."""

    @abstractmethod
    async def admit_tasks_to_freed_places(self, ended: Collection[TaskId]) -> int:
        """See `WorkerStore.admit_tasks_to_freed_places`."""

    async def _try_admit_tasks_to_freed_places(self, ended: Collection[TaskId]) -> None:
        """Start tasks that waited for the end of the given tasks; if that fails,
        `admit_waiting_tasks` does it."""
        if ended:
            with suppress(StoreUnavailable):
                await self.admit_tasks_to_freed_places(ended)

    async def _fetch_all(self, statement: str, /, **values: object) -> Sequence[Row]:
        return await self._in_read_transaction(lambda tx: tx.fetch_all(statement, **values))

    async def _fetch_one(self, statement: str, /, **values: object) -> Row | None:
        return await self._in_read_transaction(lambda tx: tx.fetch_one(statement, **values))
