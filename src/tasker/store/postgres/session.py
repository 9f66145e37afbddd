"""A session on PostgreSQL."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from tasker.model import (
    STEP_STATUSES,
    Claim,
    NewEvent,
    Outcome,
    QueueId,
    Settled,
    TaskEnd,
    TaskStatus,
    WorkerId,
)
from tasker.store import statements
from tasker.store.postgres.address import Connection
from tasker.store.postgres.claim_cursor import Place
from tasker.store.rows import Reader, Row
from tasker.store.session import require_storable

_LOADED = statements.load(__package__, "sql")
STATEMENTS = {name: statement.numbered() for name, statement in _LOADED.items()}
_WITH_FILTERS = frozenset(name for name, statement in _LOADED.items() if statement.has_filters)
READ = Reader(instant=lambda value: value.astimezone(UTC), strings=tuple)


class PostgresSession:
    """Implements `tasker.store.session.Session`."""

    read = READ

    def __init__(self, connection: Connection) -> None:
        self.now = datetime.now(UTC)
        self.enqueued: list[tuple[QueueId, Place]] = []  #: the first step of each queue
        self._connection = connection

    async def all(self, statement: str, /, **values: object) -> Sequence[Row]:
        require_storable(values)
        text, names = _statement(statement, values)
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

    async def settle(self, outcomes: Sequence[Outcome], events: Sequence[NewEvent] = ()) -> Settled:
        given = settlement_parameters(None, outcomes, claim_up_to=0)
        if events:
            rows = await self.all("settle_with_events", **given, **event_parameters(events))
        else:
            rows = await self.all("settle", **given)
        self.enqueued += first_enqueued_steps(rows)
        return read_settled_rows(rows)


def settlement_parameters(
    worker: WorkerId | None,
    outcomes: Sequence[Outcome],
    *,
    claim_up_to: int,
) -> dict[str, object]:
    """Return the parameters of settle.sql; there is at least one outcome."""
    tasks, nos, attempts, kinds, results, errors, delays, choices, to_handler = zip(
        *outcomes, strict=True
    )
    return {
        "worker": worker,
        "tasks": tasks,
        "nos": nos,
        "attempts": attempts,
        "outcomes": kinds,
        "results": results,
        "errors": errors,
        "delays": delays,
        "choices": [_array_text(choice) for choice in choices]
        if any(choice is not None for choice in choices)
        else None,
        "to_handler": [place for place, given in enumerate(to_handler, start=1) if given]
        if any(to_handler)
        else None,
        "claim_up_to": claim_up_to,
    }


def event_parameters(events: Sequence[NewEvent]) -> dict[str, object]:
    """Return the parameters of settle_with_events.sql that describe events."""
    outcomes, templates, steps, correlations, names, payloads, durations = zip(*events, strict=True)
    return {
        "event_outcomes": [index + 1 for index in outcomes],
        "event_templates": templates,
        "event_steps": steps,
        "event_correlations": correlations,
        "event_names": names,
        "event_payloads": payloads,
        "event_durations": durations,
    }


def _array_text(choice: Sequence[int] | None) -> str | None:
    return None if choice is None else f"{{{','.join(map(str, choice))}}}"


def first_enqueued_steps(rows: Sequence[Any]) -> Iterator[tuple[QueueId, Place]]:
    """Yield the first step that a settlement enqueued in each queue, from its rows."""
    for kind, task_id, no, queue, run_at in reversed(rows):
        if kind != 3:
            return
        yield queue, Place(run_at, task_id, no)


def read_settled_rows(rows: Sequence[Any]) -> Settled:
    """Read the rows of settle.sql."""
    if len(rows) and rows[0][0] == rows[-1][0] == 1:  # claims only, the usual case
        return Settled((), [Claim(row[1], row[2], 1, 1) for row in rows], ())
    return Settled(
        [row[2] - 1 for row in rows if row[0] == 0],
        [Claim(row[1], row[2], 1, 1) for row in rows if row[0] == 1],
        [TaskEnd(row[1], TaskStatus(STEP_STATUSES[row[2]].value)) for row in rows if row[0] == 2],
    )


def _statement(name: str, values: Mapping[str, object]) -> statements.Statement:
    """Return a statement without the conditions whose values are None."""
    if name not in _WITH_FILTERS:
        return STATEMENTS[name]
    return _statement_with_filters(
        name, frozenset(key for key, value in values.items() if value is not None)
    )


@lru_cache(maxsize=1024)
def _statement_with_filters(name: str, given: frozenset[str]) -> statements.Statement:
    return _LOADED[name].without_unused_filters(given).numbered()
