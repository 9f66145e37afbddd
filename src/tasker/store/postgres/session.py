"""A session on PostgreSQL."""

from collections.abc import Sequence
from datetime import UTC, datetime

from tasker.model import Outcome
from tasker.store import statements
from tasker.store.postgres.address import Connection
from tasker.store.rows import Reader, Row
from tasker.store.session import require_storable

STATEMENTS = {
    name: statement.numbered() for name, statement in statements.load(__package__, "sql").items()
}
READ = Reader(instant=lambda value: value.astimezone(UTC), strings=tuple)


class PostgresSession:
    """Implements `tasker.store.session.Session`."""

    read = READ

    def __init__(self, connection: Connection) -> None:
        self.now = datetime.now(UTC)
        self._connection = connection

    async def all(self, statement: str, /, **values: object) -> Sequence[Row]:
        require_storable(values)
        text, names = STATEMENTS[statement]
        return await self._connection.fetch(text, *[values[name] for name in names])

    async def one(self, statement: str, /, **values: object) -> Row | None:
        rows = await self.all(statement, **values)
        return rows[0] if rows else None

    async def lock(self, statement: str, /, **values: object) -> Sequence[Row]:
        require_storable(values)
        text, names = STATEMENTS[statement]
        return await self._connection.fetch(f"{text} for update", *[values[name] for name in names])

    async def call(self, function: str, /, **values: object) -> Sequence[Row]:
        places = ", ".join(f"${place}" for place in range(1, len(values) + 1))
        text = f"select id::text as id from {function}({places}) as id"  # noqa: S608, a name of ours
        return await self._connection.fetch(text, *values.values())

    async def settle(self, outcome: Outcome) -> None:
        await self.all(
            "settle",
            worker=None,
            tasks=[outcome.task_id],
            nos=[outcome.no],
            attempts=[outcome.attempt],
            outcomes=[outcome.outcome],
            results=[outcome.result],
            errors=[outcome.error],
            delays=[outcome.delay],
            queues=[],
            claim_up_to=0,
        )
