"""What the web UI asks among millions of tasks.

The tasks are loaded by COPY: ended ones of several templates over a month, of which the newest have
steps and the failed ones errors; figures of each minute. Requests go to a server of its own.
"""

import asyncio
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from bench.databases import Database, Server, empty_database, execute
from bench.fleet import Settings
from bench.http_client import RunningServer, connect, require_success, serving
from bench.rows import Percentiles, Row
from tasker import LocalClient, parse_template
from tasker.model import StatusCode
from tasker.store.open import make_store
from tasker.store.postgres.address import Address

WITH_STEPS = 100_000  #: the newest tasks have steps
STEPS = 3
_DAYS = 30
_FIGURES_DAYS = 14
_REPEATS = 30
_TEMPLATES = [f"{space}.workflow_{no}" for space in ("shop", "billing", "mail") for no in range(4)]
_TASK = (
    "id template_id state open_sinks has_failed_step created_at ended_at correlation_id created_by"
    " reason tags context"
)
_STEP = (
    "task_id no state queue_id attempt pending_parents run_at enqueued_at claimed_at settled_at"
    " name children error"
)
_FIGURE = "minute template_id created completed failed cancelled steps retries seconds merged"
_WATCHED = ("task", "step", "attempt", "task_attribute")


class Question(NamedTuple):
    """A request that a page sends, with the most milliseconds that 95 % of them may take."""

    name: str
    path: str
    budget_ms: float


class Loaded(NamedTuple):
    """What was loaded, for the questions."""

    first: str  #: id of the oldest task
    last: str
    start: datetime


def questions(loaded: Loaded) -> Iterator[Question]:
    """List what the pages ask."""

    def listing(title: str, /, **query: Any) -> Question:
        return Question(f"list {title}", f"/v1/tasks?{urlencode({'limit': 50, **query})}", 200)

    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    yield listing("newest")
    yield listing("failed", status="error")
    yield listing("open", status="in_progress")
    yield listing("of a namespace", namespace="billing")
    yield listing("failed of a workflow", namespace="shop", name="workflow_1", status="error")
    yield listing("with a rare tag", tag="rare")
    yield listing("with a common tag", tag="batch")
    yield listing("with an unknown tag", tag="none")
    yield listing("of a rare caller", created_by="auditor")
    yield listing("of a correlation", correlation_id="c-7")
    yield listing("with an attribute", attribute="order_id=7")
    yield listing("by failed step", failed_step="step_2")
    yield listing("by error code", error_code="UNAVAILABLE")
    yield listing("of the last hour", created_after=hour_ago.isoformat())
    old = loaded.start + timedelta(days=1)
    yield listing("older than 29 days", created_before=old.isoformat())
    yield listing("of the last hour without a match", created_after=hour_ago.isoformat(), tag="x")
    for name, query in (
        ("all", {}),
        ("of a namespace", {"namespace": "mail"}),
        ("with a rare tag", {"tag": "rare"}),
        ("by error code", {"error_code": "UNAVAILABLE"}),
        ("of the last hour", {"created_after": hour_ago.isoformat()}),
    ):
        yield Question(f"counts {name}", f"/v1/tasks/counts?{urlencode(query)}", 100)
    for hours in (1, 24, 24 * _FIGURES_DAYS):
        yield Question(f"series of {hours} h", f"/v1/analytics/series?hours={hours}", 100)
    yield Question("search an id", f"/v1/search?q={loaded.last[:11]}", 50)
    yield Question("search a name", "/v1/search?q=workflow", 50)
    yield Question("search a correlation", "/v1/search?q=c-7", 50)
    yield Question("system", "/v1/system", 100)


def pages(settings: Settings, store: str, server: Server | None) -> list[Row]:
    """Measure what the pages ask among `settings.tasks` tasks.

    It prints which questions missed their budget, or scanned a large table as a whole.
    """
    with empty_database(store, server) as database:
        loaded = asyncio.run(load(database, settings.tasks))
        with serving(database.url) as process:
            return asyncio.run(ask(database, process, loaded, settings.tasks))


async def ask(database: Database, process: RunningServer, loaded: Loaded, tasks: int) -> list[Row]:
    """Ask all questions several times; print what each took, and which missed its budget."""
    rows, faults = [], []
    line = await connect(process.port)
    for question in questions(loaded):
        await line.request("GET", question.path)
        before = await _scans(database)
        cpu = _cpu(database, process)
        responses = [await line.request("GET", question.path) for _ in range(_REPEATS)]
        require_success(responses)
        cpu = (_cpu(database, process) - cpu) / _REPEATS * 1000
        took = Percentiles.of([one.took for one in responses])
        await asyncio.sleep(1.2)  # PostgreSQL publishes its counts once a second
        scanned = await _scans(database) - before
        if scanned:
            faults.append(f"{question.name}: {scanned} sequential scans")
        if took.p95 > question.budget_ms:
            faults.append(f"{question.name}: {took.p95:.0f} ms, {question.budget_ms:.0f} allowed")
        print(f"{question.name}: p95 {took.p95:.1f} ms, {cpu:.1f} ms of CPU each", flush=True)
        workload = f"ui {tasks / 1_000_000:g}M {question.name}"
        rows.append(Row(store=database.store, workload=workload, latency_ms=took))
    for fault in faults:
        print(f"MISSED {fault}")
    return rows


def _cpu(database: Database, process: RunningServer) -> float:
    """Return the CPU seconds of the server and of PostgreSQL so far."""
    server = database.server.cpu if database.server else None
    return process.cpu + (server or 0.0)


async def _scans(database: Database) -> int:
    """Return the number of sequential scans of large tables so far."""
    connection = await Address.parse(database.url).connect()
    try:
        scans: int = await connection.fetchval(
            "select coalesce(sum(seq_scan), 0)::bigint from pg_stat_user_tables"
            " where schemaname = current_schema() and relname = any ($1) and n_live_tup > 1000",
            list(_WATCHED),
        )
    finally:
        await connection.close()
    return scans


# --------------------------------------------------------------------- loading


async def load(database: Database, tasks: int) -> Loaded:
    """Load templates, tasks, the steps of the newest ones, attributes and figures."""
    async with make_store(database.url) as store:
        client = LocalClient(store)
        templates = [
            (await client.register(parse_template(_template(name)))).stored.id
            for name in _TEMPLATES
        ]
    end = datetime.now(UTC)
    start = end - timedelta(days=_DAYS)
    step = timedelta(days=_DAYS) / tasks
    chance = random.Random(1)

    def task(no: int) -> tuple[object, ...]:
        at = start + no * step
        state = _state(no)
        return (
            _id(at, no), templates[no % len(templates)], int(state), int(state is StatusCode.OPEN),
            state is StatusCode.ERROR, at,
            None if state is StatusCode.OPEN else at + timedelta(seconds=3),
            f"c-{no // 2}", "auditor" if no % 500_000 == 3 else f"caller-{no % 7}", "",
            ["rare"] if no % 200_000 == 5 else ["batch"] if no % 10 == 0 else [], "{}",
        )  # fmt: skip

    def steps() -> Iterator[tuple[object, ...]]:
        for no in range(max(0, tasks - WITH_STEPS), tasks):
            at, state = start + no * step, _state(no)
            for which in range(1, STEPS + 1):
                failed = state is StatusCode.ERROR and which == 2
                error = {"type": "E", "message": f"no {no}", "code": _code(chance)}
                yield (
                    _id(at, no), which, int(StatusCode.ERROR if failed else StatusCode.COMPLETE),
                    5, 1, 0, at, at, at, at + timedelta(seconds=1), f"step_{which}", [],
                    json.dumps(error) if failed else None,
                )  # fmt: skip

    def attributes() -> Iterator[tuple[object, ...]]:
        for no in range(0, tasks, 10):
            name = _TEMPLATES[no % len(_TEMPLATES)].partition(".")[0]
            yield (name, "order_id", str(no // 100), _id(start + no * step, no))

    def figures() -> Iterator[tuple[object, ...]]:
        now = int(end.timestamp()) // 60
        for minute in range(now - _FIGURES_DAYS * 1440, now):
            for template in templates:
                yield (minute, template, 7, 6, 1, 0, 21, 2, 12.5, True)

    connection = await Address.parse(database.url).connect()
    try:
        for table, columns, records in (
            ("task", _TASK, map(task, range(tasks))),
            ("step", _STEP, steps()),
            ("task_attribute", "namespace name value task_id", attributes()),
            ("figure", _FIGURE, figures()),
        ):
            await connection.copy_records_to_table(
                table, records=records, columns=columns.split(), timeout=3600
            )
    finally:
        await connection.close()
    await execute(database.url, "vacuum analyze")
    return Loaded(str(_id(start, 0)), str(_id(start + (tasks - 1) * step, tasks - 1)), start)


def _template(name: str) -> str:
    space, _, short = name.partition(".")
    steps = "".join(f"  - name: step_{which}\n" for which in range(1, STEPS + 1))
    return f"name: {short}\nnamespace_name: {space}\nversion: 1.0.0\nsteps:\n{steps}"


def _state(no: int) -> StatusCode:
    """One task of 50 failed, one of 200 was cancelled, one of 1,000 is open."""
    if no % 50 == 1:
        return StatusCode.ERROR
    if no % 200 == 2:
        return StatusCode.CANCELLED
    return StatusCode.OPEN if no % 1000 == 4 else StatusCode.COMPLETE


def _code(chance: random.Random) -> str:
    return chance.choice(["UNAVAILABLE", "CARD_REFUSED", "TIMEOUT"])


def _id(at: datetime, no: int) -> UUID:
    """Return an id as of that time: a UUID of version 7."""
    return UUID(int=int(at.timestamp() * 1000) << 80 | 0x7000_8000 << 48 | no)
