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
    Settlement,
    SettleResult,
    TaskEnd,
    TaskId,
    TaskStatus,
    WorkerId,
)
from tasker.store import statements
from tasker.store.postgres.address import Connection
from tasker.store.postgres.claim_cursor import QueuePosition
from tasker.store.rows import Row, RowReader
from tasker.store.session import require_storable_strings

_LOADED = statements.load_statements(__package__, "sql")
STATEMENTS = {name: statement.with_numbered_parameters() for name, statement in _LOADED.items()}
_WITH_FILTERS = frozenset(
    name for name, statement in _LOADED.items() if statement.has_optional_filters
)
READ = RowReader(instant=lambda value: value.astimezone(UTC), strings=tuple)


class PostgresSession:
    """Implements `tasker.store.session.Session`."""

    read = READ

    def __init__(self, connection: Connection) -> None:
        self.now = datetime.now(UTC)
        self.ended: list[TaskId] = []
        self.enqueued: list[tuple[QueueId, QueuePosition]] = []  #: the first step of each queue
        self._connection = connection

    async def fetch_all(self, statement: str, /, **values: object) -> Sequence[Row]:
        require_storable_strings(values)
        text, names = _statement_without_unused_filters(statement, values)
        return await self._connection.fetch(text, *[values[name] for name in names])

    async def fetch_one(self, statement: str, /, **values: object) -> Row | None:
        rows = await self.fetch_all(statement, **values)
        return rows[0] if rows else None

    async def lock_rows(self, statement: str, /, **values: object) -> Sequence[Row]:
        require_storable_strings(values)
        text, names = STATEMENTS[statement]
        return await self._connection.fetch(f"{text} for update", *[values[name] for name in names])

    async def call_function(self, function: str, /, **values: object) -> Sequence[Row]:
        places = ", ".join(f"${place}" for place in range(1, len(values) + 1))
        text = f"select id::text as id from {function}({places}) as id"  # noqa: S608, a name of ours
        return await self._connection.fetch(text, *values.values())

    async def end_failed_tasks(self, tasks: Sequence[TaskId]) -> list[TaskEnd]:
        rows = await self.fetch_all("end_failed_tasks", tasks=list(tasks))
        ended = [TaskEnd(TaskId(row["id"]), _ended_task_status(row["state"])) for row in rows]
        self.ended += [end.task_id for end in ended]
        return ended

    async def settle(
        self, outcomes: Sequence[Outcome], events: Sequence[NewEvent] = ()
    ) -> SettleResult:
        given = settlement_parameters(None, outcomes, claim_up_to=0)
        if events:
            rows = await self.fetch_all("settle_with_events", **given, **event_parameters(events))
        else:
            rows = await self.fetch_all("settle_outcomes", **given)
        self.enqueued += first_enqueued_steps(rows)
        settled = parse_settle_result(rows)
        self.ended += [end.task_id for end in settled.ended]
        return settled


def settlement_parameters(
    worker: WorkerId | None,
    outcomes: Sequence[Outcome],
    *,
    claim_up_to: int,
) -> dict[str, object]:
    """Return the parameters of settle_outcomes.sql; there is at least one outcome.

    Numbers are sent as text: the driver asks of each element of an array whether it is a
    collection, which takes longer than the rest of the settlement's parameters.
    """
    tasks, nos, attempts, kinds, results, errors, delays, choices, to_handler = zip(
        *outcomes, strict=True
    )
    return {
        "worker": worker,
        "tasks": tasks,
        "nos": _array_literal(nos),
        "attempts": _array_literal(attempts),
        "outcomes": _array_literal(kinds),
        "results": results,
        "errors": errors if any(errors) else None,
        "delays": delays if any(delays) else None,
        "choices": [None if choice is None else _array_literal(choice) for choice in choices]
        if choices.count(None) < len(choices)
        else None,
        "to_handler": [place for place, given in enumerate(to_handler, start=1) if given]
        if any(to_handler)
        else None,
        "claim_up_to": claim_up_to,
    }


def group_settlement_parameters(settlements: Sequence[Settlement]) -> dict[str, object]:
    """Return the parameters of settle_for_workers.sql; there is at least one outcome."""
    outcomes: list[Outcome] = []
    owners: list[int] = []
    events: list[NewEvent] = []
    for owner, each in enumerate(settlements, start=1):
        first = len(outcomes)
        events += [event._replace(outcome=first + event.outcome) for event in each.events]
        outcomes += each.outcomes
        owners += [owner] * len(each.outcomes)
    given = settlement_parameters(None, outcomes, claim_up_to=0) | event_parameters(events)
    del given["worker"], given["claim_up_to"]
    return {
        **given,
        "owners": owners,
        "workers": [each.worker for each in settlements],
        "rooms": [each.claim_up_to for each in settlements],
        "wakes": any(each.gated for each in settlements),
    }


def event_parameters(events: Sequence[NewEvent]) -> dict[str, object]:
    """Return the parameters of publish_events.sql."""
    outcomes, templates, steps, correlations, names, payloads, durations = (
        zip(*events, strict=True) if events else ((),) * 7
    )
    return {
        "event_outcomes": [index + 1 for index in outcomes],
        "event_templates": templates,
        "event_steps": steps,
        "event_correlations": correlations,
        "event_names": names,
        "event_payloads": payloads,
        "event_durations": durations,
    }


def _array_literal(numbers: Sequence[int]) -> str:
    return f"{{{','.join(map(str, numbers))}}}"


def first_enqueued_steps(rows: Sequence[Any]) -> Iterator[tuple[QueueId, QueuePosition]]:
    """Yield the first step that a settlement enqueued in each queue, from its rows."""
    for kind, task_id, no, queue, run_at in reversed(rows):
        if kind != 3:
            return
        yield queue, QueuePosition(run_at, task_id, no)


def parse_settle_result(rows: Sequence[Any]) -> SettleResult:
    """Read the rows of settle_outcomes.sql."""
    if len(rows) and rows[0][0] == rows[-1][0] == 1:  # claims only, the usual case
        return SettleResult((), [Claim(row[1], row[2], 1, 1) for row in rows], ())
    return SettleResult(
        [row[2] - 1 for row in rows if row[0] == 0],
        [Claim(row[1], row[2], 1, 1) for row in rows if row[0] == 1],
        [TaskEnd(row[1], _ended_task_status(row[2])) for row in rows if row[0] == 2],
    )


def parse_group_settle_results(
    rows: Sequence[Any], settlements: Sequence[Settlement]
) -> list[SettleResult]:
    """Read the rows of settle_for_workers.sql: the result of each settlement."""
    claims: list[list[Claim]] = [[] for _ in settlements]
    rejected: set[int] = set()
    ended: dict[TaskId, TaskEnd] = {}
    for kind, task_id, no, owner, _ in rows:
        if kind == 0:
            rejected.add(no - 1)
        elif kind == 1:
            claims[owner - 1].append(Claim(task_id, no, 1, 1))
        elif kind == 2:
            ended[task_id] = TaskEnd(task_id, _ended_task_status(no))
    settled, first = [], 0
    for (_, outcomes, *_), own in zip(settlements, claims, strict=True):
        late = (
            [place for place in range(len(outcomes)) if first + place in rejected]
            if rejected
            else []
        )
        tasks = dict.fromkeys(outcome.task_id for outcome in outcomes) if ended else ()
        ends = [ended[task_id] for task_id in tasks if task_id in ended]
        settled.append(SettleResult(late, own, ends))
        first += len(outcomes)
    return settled


def _ended_task_status(state: int) -> TaskStatus:
    """Return the status of an ended task."""
    return TaskStatus(STEP_STATUSES[state].value)


def _statement_without_unused_filters(
    name: str, values: Mapping[str, object]
) -> statements.Statement:
    """Return a statement without the conditions whose values are None."""
    if name not in _WITH_FILTERS:
        return STATEMENTS[name]
    return _statement_with_filters(
        name, frozenset(key for key, value in values.items() if value is not None)
    )


@lru_cache(maxsize=1024)
def _statement_with_filters(name: str, given: frozenset[str]) -> statements.Statement:
    return _LOADED[name].without_unused_filters(given).with_numbered_parameters()
