"""History: first successes have no row of their own, and no reader notices."""

import re
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bench
import pytest
from tests.store.test_ownership import query

import tasker
from tasker.analytics.model import AnalysisWindow
from tasker.clock import ManualClock
from tasker.model import (
    AttemptOutcome,
    JsonText,
    StepStatus,
    TaskFilter,
    lost_outcome,
    released_outcome,
    skipped_outcome,
)
from tasker.store import operator_rules, statements
from tasker.store.open import make_store
from tasker.store.postgres.address import Address
from tasker.store.postgres.driver import Driver
from tasker.store.postgres.store import PostgresStore
from tasker.store.protocol import StepResolution, Store
from tasker.store.sqlite.store import SqliteStore
from tasker.testing.store_suite.factories import (
    ACT,
    ERROR,
    ManualWorker,
    chain_template,
    create_task,
    diamond_template,
    make_template,
    one_step_template,
    register_and_create_task,
    register_template,
)

pytestmark = pytest.mark.anyio

FIRST_SUCCESS = "outcome = 0 and attempt = 1"
AFTER_ALL = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """An empty store of each kind; on SQLite the clock stands still."""
    async with make_store(store_url, clock=ManualClock()) as store:
        await store.upgrade_schema()
        yield store


async def rows_of(store: Store, condition: str = "true") -> int:
    """Count rows of `attempt` itself."""
    return int((await query(store, f"select count(*) from attempt where {condition}"))[0][0])


async def everything(store: Store) -> dict[str, Any]:
    """Read all that comes from history, without the times of the reading itself."""
    tasks = await store.list_tasks(TaskFilter(), limit=100)
    read: dict[str, Any] = {"tasks": tasks, "queues": await store.count_backlog_by_queue()}
    for task in tasks:
        read[f"history {task.id}"] = await store.list_attempts(task.id)
        read[f"newest {task.id}"] = await store.list_attempts(task.id, no=1, limit=1)
        read[f"steps {task.id}"] = await store.list_steps(task.id)
        read[f"audit {task.id}"] = await store.list_audit_entries(task.id)
    for name in (None, "chain", "diamond"):
        window = AnalysisWindow(name=name)
        for figures in (await store.performance(window), await store.bottlenecks(window)):
            read[f"{type(figures).__name__} {name}"] = {
                figure.name: value
                for figure in fields(figures)
                if not isinstance(value := getattr(figures, figure.name), datetime)
            }
    read["prunable"] = await store.count_prunable_tasks(ended_before=AFTER_ALL)
    return read


async def attempts_of_all_kinds(store: Store) -> None:
    """Leave attempts of every outcome, several of them followed by another; no task is open."""
    single, child = (
        await register_template(store, one_step_template()),
        await register_template(store, make_template("child", x="")),
    )
    chains, diamonds = (
        await register_template(store, chain_template()),
        await register_template(store, diamond_template()),
    )
    worker = await ManualWorker.register(store, "bob")
    for template in (chains, chains, diamonds):
        await create_task(store, template)
    await worker.complete_all_due()
    claims = []
    for _ in range(7):
        await create_task(store, single)
        claims.append(await worker.claim_one())
    failing, again, handed, forgotten, waiting, cancelled, left_out = claims
    resolved, completed = await create_task(store, single), await create_task(store, single)
    await store.resolve_step(resolved, 1, JsonText("1"), ACT)
    await store.resolve_step(completed, 1, JsonText("1"), ACT, action=StepResolution.COMPLETE)
    await store.cancel_task(cancelled.task_id, ACT)
    await store.park_until_task_ends(waiting, await create_task(store, child))
    await worker.fail(failing)
    await worker.fail_with_retry(again)
    await worker.settle(
        released_outcome(handed),
        lost_outcome(forgotten, ERROR, timedelta(0)),
        skipped_outcome(left_out, ERROR),
    )
    await store.retry_steps(failing.task_id, ACT)
    await worker.complete_all_due()


async def write_first_successes(store: Store) -> int:
    """Give all first successes the row that they get before their step is overwritten."""
    assert isinstance(store, PostgresStore | SqliteStore)
    rows = await query(store, f"select task_id, no from attempt_history where {FIRST_SUCCESS}")
    for task_id, no in rows:
        await store._execute_in_transaction(
            "store_overwritten_attempt", task_id=str(task_id), no=no
        )
    return len(rows)


async def test_readers_return_the_same_with_and_without_rows_of_first_successes(
    store: Store,
) -> None:
    """History, steps, tasks, audit, analytics and pruning, for attempts of every outcome."""
    await attempts_of_all_kinds(store)
    outcomes = {
        attempt.outcome
        for task in await store.list_tasks(TaskFilter(), limit=100)
        for attempt in await store.list_attempts(task.id)
    }
    assert set(AttemptOutcome) == outcomes
    assert 0 == await rows_of(store, FIRST_SUCCESS)
    without = await everything(store)

    written = await write_first_successes(store)

    assert 12 == written == await rows_of(store, FIRST_SUCCESS)
    assert without == await everything(store)
    assert 13 == await store.prune_tasks(ended_before=AFTER_ALL)
    assert 0 == await rows_of(store)


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "batched"])
async def test_only_first_successes_have_no_row(
    store: Store, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    """Whether a success is settled by the statement for one alone, or by that for all."""
    monkeypatch.setattr(Driver, "SCALAR", alone)
    await register_and_create_task(store, chain_template())
    worker = await ManualWorker.register(store)
    await worker.complete(await worker.claim_one())
    await worker.fail_with_retry(await worker.claim_one())
    await worker.complete(await worker.claim_one())
    await worker.fail(await worker.claim_one())

    rows = await query(store, "select no, attempt, outcome from attempt order by no, attempt")

    assert [(2, 1, 1), (2, 2, 0), (3, 1, 2)] == [tuple(row) for row in rows]


async def test_an_overwritten_step_keeps_its_first_success(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Operators may not take a completed step; were they allowed to, its attempt would stay known.
    """
    allowed = operator_rules.RESOLVABLE | {StepStatus.COMPLETE}
    monkeypatch.setattr(operator_rules, "RESOLVABLE", allowed)
    task_id = await register_and_create_task(store, chain_template())
    worker = await ManualWorker.register(store, "bob")
    await worker.complete(await worker.claim_one())
    (first,) = await store.list_attempts(task_id)

    await store.resolve_step(task_id, 1, JsonText("2"), ACT)

    assert (AttemptOutcome.COMPLETE, "bob") == (first.outcome, first.worker)
    before, after = await store.list_attempts(task_id)
    assert first == before
    assert (2, AttemptOutcome.RESOLVED_MANUALLY) == (after.attempt, after.outcome)


def test_only_the_view_reads_the_attempt_table() -> None:
    """All other statements that need them read `attempt_history`; pruning deletes them."""
    reading = re.compile(r"(?<!delete )\b(?:from|join|using)\s+attempt\b", re.IGNORECASE)
    readers = [
        file.name
        for package in (tasker, bench)
        for file in Path(package.__path__[0]).rglob("*")
        if file.suffix in (".sql", ".py")
        for _ in reading.findall(file.read_text())
    ]

    assert ["0001_schema.sql", "0001_schema.sql"] == readers


@pytest.fixture
async def filled(postgres_schema_url: str) -> AsyncIterator[Any]:
    """A connection to 5,000 ended tasks of four steps, the first of which needed two attempts."""
    async with make_store(postgres_schema_url) as store:
        await store.upgrade_schema()
    connection = await Address.parse(postgres_schema_url).connect()
    await connection.execute(
        "insert into template (namespace, name, version, digest, document, sinks, status,"
        " registered_by) values ('n', 't', '1.0.0', '', '{}', 1, 'approved', '')"
    )
    await connection.execute(
        "insert into task (id, template_id, state, open_sinks, ended_at, correlation_id,"
        " created_by, reason, tags, context) select lpad(to_hex(n), 32, '0')::uuid, 1, 4, 0,"
        " now(), '', '', '', '{}', '{}' from generate_series(1, 5000) n"
    )
    await connection.execute(
        "insert into step (task_id, no, state, queue_id, attempt, pending_parents, name, children,"
        " claimed_at, settled_at) select id, no, 4, 5, case when no = 1 then 2 else 1 end, 0, 's',"
        " '{}', now(), now() from task cross join generate_series(1, 4) no"
    )
    await connection.execute(
        "insert into attempt (task_id, no, attempt, outcome, settled_at)"
        " select task_id, 1, a, case a when 1 then 3 else 0 end, now() from step"
        " cross join generate_series(1, 2) a where no = 1"
    )
    await connection.execute("analyze")
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("name", "pages"),
    [
        ("list_attempts", 40),
        ("attempt_statistics", 1200),
        ("error_patterns", 1200),
        ("retry_statistics", 1200),
        ("step_statistics", 3000),
    ],
)
async def test_history_is_read_by_primary_keys(filled: Any, name: str, pages: int) -> None:
    """Of one task, and of the newest 100 of 5,000, as an analysis of so many reads it."""
    values = {
        "task_id": "'00000000-0000-0000-0000-000000000007'",
        "first": "0",
        "last": "10000",
        "limit": "1000",
        "templates": "null",
        "since": "'00000000-0000-0000-0000-000000000000'",
        "most": "100",
        "most_attempts": "1000",
        "min_executions": "1",
        "most_kinds": "100",
    }
    statement = statements.load_statements("tasker.store.postgres", "sql")[
        name
    ].with_numbered_parameters()
    await filled.execute(f"prepare asked as {statement.text}")
    call = f"execute asked ({', '.join(values[each] for each in statement.names)})"

    lines = [row[0] for row in await filled.fetch(f"explain (analyze, buffers) {call}")]

    assert [] == [line for line in lines if re.search(r"Seq Scan on (step|attempt)\b", line)]
    for index in ("step_pkey", "attempt_pkey"):
        assert [] != [line for line in lines if re.search(rf"Index.* Scan .*{index}\b", line)]
    buffers = next(line for line in lines if "Buffers" in line)
    assert sum(int(count) for count in re.findall(r"(?:hit|read)=(\d+)", buffers)) < pages
