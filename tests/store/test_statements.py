"""The SQL files of both stores: the same names, documented, valid, and served by indexes."""

import json
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import tasker.store
from tasker.engine.compensating import plan_compensating_steps as plan_of
from tasker.graph import Graph
from tasker.model import (
    ENGINE,
    JsonText,
    Outcome,
    StatusCode,
    StepSpec,
    Template,
    TemplateId,
    WorkerId,
    completed_outcome,
    failed_outcome,
)
from tasker.store import statements
from tasker.store.open import make_store
from tasker.store.postgres.address import Address as PostgresAddress
from tasker.store.postgres.session import settlement_parameters
from tasker.store.protocol import Store
from tasker.store.sqlite import connection as sqlite
from tasker.store.sqlite.address import Address
from tasker.testing.postgres import temporary_schema
from tasker.testing.store_suite.compensating import plan_and_add_compensating_steps, trip_template
from tasker.testing.store_suite.factories import (
    SECOND,
    ManualWorker,
    chain_template,
    create_task,
    fan_template,
    make_new_task,
    one_step_template,
    register_template,
)
from tasker.testing.store_suite.limits import concurrency_limit, create_limited_tasks, with_limits
from tasker.testing.store_suite.spawning import (
    create_task_and_claim_spawner,
    make_instances,
    map_template,
)

pytestmark = pytest.mark.anyio

SQLITE = statements.load_statements("tasker.store.sqlite", "sql")
POSTGRES = statements.load_statements("tasker.store.postgres", "sql")

# SQLite has no functions: what is one function on PostgreSQL is several statements there.
# PostgreSQL takes a list apart, where SQLite is given JSON.
PARTS = {
    "claim_steps": {"queues_to_claim_from", "seconds_until_step_due"},
    "claim_limited_steps": {
        "delete_ended_gate_claims",
        "first_enqueued_steps_of_gate_queue",
        "gate_capacity",
        "next_gate_queue_with_enqueued_steps",
        "add_gate_claims",
        "limited_queues_of_worker",
        "mark_limited_steps_claimed",
        "spend_gate_tokens",
    },
    "merge_minute_figures": {"delete_merged_minute_figures"},
    "create_tasks": {
        "create_task_attributes",
        "create_instance_gates",
        "create_step_gates",
        "take_idempotency_keys",
        "create_steps",
        "claim_roots_of_new_tasks",
        "holders_of_taken_idempotency_keys",
        "unknown_parent_tasks",
    },
    "prune_tasks": {
        "tasks_to_prune",
        "delete_durable_call_rows_of_tasks",
        "delete_approval_rows_of_tasks",
        "delete_completion_rows_of_tasks",
        "delete_signal_rows_of_tasks",
        "delete_wait_rows_of_tasks",
        "delete_attempt_rows_of_tasks",
        "delete_audit_rows_of_tasks",
        "delete_body_gate_rows_of_tasks",
        "delete_gate_claim_rows_of_tasks",
        "prune_limit_gates_of_maps",
        "delete_pause_rows_of_tasks",
        "delete_spawn_rows_of_tasks",
        "delete_step_rows_of_tasks",
        "delete_step_log_rows_of_tasks",
        "delete_task_rows_of_tasks",
        "delete_task_place_rows_of_tasks",
        "delete_task_attribute_rows_of_tasks",
        "delete_task_key_rows_of_tasks",
    },
    "end_failed_tasks": {
        "add_compensation_planner",
        "any_compensable_task",
        "begin_compensation",
        "cancel_unstarted_steps",
        "delete_waits_of_tasks",
    },
    "record_durable_calls": {"accepted_durable_calls"},
    "settle_outcomes": {
        "match_outcomes_to_attempts",
        "any_open_task_with_failed_step",
        "accepted_outcomes",
        "collect_children_of_outcomes",
        "lower_pending_parents_of_cancelled_children",
        "collect_children_of_successes",
        "count_down_sinks_and_complete_tasks",
        "add_outbox_event",
        "settled_tasks_with_failed_step",
        "mark_tasks_with_failed_step",
        "free_children",
        "store_attempt_history",
        "count_missed_parents_and_move_to_engine_queue",
        "range_of_child_numbers",
        "store_step_outcomes",
        "return_steps_to_handler_queue",
    },
}
SPAWNING = {
    *("add_spawn", "find_spawn", "increase_pending_parents_of_join", "insert_instances"),
    "load_spawn_body_if_claim_held",
}  #: parts of a function that has no statement of its name on SQLite
FUNCTIONS = {
    *("lock_mailboxes", "find_wait_cycle", "wake_steps_waiting_for_tasks"),
}  #: called by name on PostgreSQL
OF_POSTGRES = {
    *(
        "claim_limited_steps",
        "create_single_task",
        "prune_tasks",
        "settle_outcomes",
        "settle_success",
        "settle_outcomes_without_fsync",
        "settle_success_without_fsync",
        "find_oldest_database_snapshot",
    ),
    *(
        "settle_and_wake_workers",
        "settle_for_workers",
        "settle_with_events",
        "spawn_instances",
        "wake_workers",
    ),
}
AS_LISTS = {
    "claim_steps",
    "claim_for_workers",
    "create_tasks",
    "load_runtime_steps",
    "load_step_results",
    "lost_claims",
    "record_durable_calls",
}


def test_both_stores_have_the_same_statements() -> None:
    """
    Exceptions are parts of functions, functions called by name, and statements for PostgreSQL
    alone.
    """
    parts = set().union(SPAWNING, *PARTS.values())

    assert set(PARTS) <= set(POSTGRES)
    assert set(SQLITE) - parts == set(POSTGRES) - OF_POSTGRES | FUNCTIONS


def test_both_stores_pass_the_same_parameters_to_a_statement() -> None:
    """
    The parameters are the same except for the time, which PostgreSQL provides.
    """
    names = set(SQLITE) & set(POSTGRES) - AS_LISTS
    parameters = {name: set(SQLITE[name].names) - {"now"} for name in names}

    assert parameters == {name: set(POSTGRES[name].names) for name in names}


@pytest.mark.parametrize(("dialect", "loaded"), [("sqlite", SQLITE), ("postgres", POSTGRES)])
def test_every_file_starts_with_a_comment(
    dialect: str, loaded: dict[str, statements.Statement]
) -> None:
    """
    A sentence, and all parameters by name.
    """
    folder = Path(tasker.store.__path__[0]) / dialect / "sql"
    for file in folder.glob("*.sql"):
        text = file.read_text()
        head = "\n".join(re.findall(r"^--.*", text, re.MULTILINE))
        assert text.startswith("-- "), file.name
        if "See functions/" in head or "see create_tasks.sql" in head:
            continue
        names = loaded[file.stem].names
        assert not [name for name in names if f":{name}" not in head], file.name


@pytest.mark.parametrize(
    "file",
    [
        "sqlite/fragments/due_steps.sql",
        "sqlite/sql/queues_to_claim_from.sql",
        "sqlite/sql/claim_roots_of_new_tasks.sql",
        "sqlite/sql/free_children.sql",
        "postgres/functions/claim_steps.sql",
        "postgres/functions/create_single_task.sql",
        "postgres/functions/create_tasks.sql",
        "postgres/functions/settle_outcomes.sql",
    ],
)
def test_every_statement_that_claims_has_the_same_predicate(file: str) -> None:
    """The predicate is one fragment per dialect."""
    text = (Path(tasker.store.__path__[0]) / file).read_text()

    assert re.search(r"\{include (is_run_at_reached|is_claimed_for_settling_worker)\b", text)


@pytest.mark.parametrize("loaded", [SQLITE, POSTGRES], ids=["sqlite", "postgres"])
def test_no_placeholder_is_left_in_a_statement(loaded: dict[str, statements.Statement]) -> None:
    """
    Includes, and names of states and outcomes, are replaced when it is loaded.
    """
    assert [] == [
        name for name, statement in loaded.items() if re.search(r"\{[a-z]", statement.text)
    ]


# --------------------------------------------------------------------- SQLite


@pytest.fixture(scope="module")
def migrated() -> Iterator[sqlite3.Connection]:
    """A connection like a store's, in memory, for plans alone."""
    connection = sqlite.connect(Address(None), sqlite.unique_memory_name())
    connection.execute("begin")
    sqlite.upgrade_schema(connection, "sqlite")
    connection.execute("commit")
    yield connection
    connection.close()


def plan(on: sqlite3.Connection, name: str) -> list[str]:
    parameters: dict[str, Any] = dict.fromkeys(SQLITE[name].names)
    rows = on.execute(f"explain query plan {SQLITE[name].text}", parameters).fetchall()
    return [row[3] for row in rows]


GROWING = {
    *("approval", "attempt", "audit", "broadcast", "completion", "delivery", "due"),
    *("durable_call", "figure", "gate", "gate_claim", "body_gate", "outbox", "schedule_tick"),
    *(
        "signal",
        "spawn",
        "step",
        "step_log",
        "task",
        "task_attribute",
        "task_key",
        "task_place",
        "team_event",
    ),
    *("wait", "worker_queue"),
}
"""Tables that grow with tasks, events, keys and actions; others hold declarations."""

FEW = {
    *("due_latest_claim", "outbox_fresh", "pause_queue", "step_held", "step_queue_timeout"),
    *("task_attached", "task_has_failed_step", "task_place_waiting", "wait_approval"),
}
"""Partial indexes that hold only what is not done yet."""

PAGES = {
    "count_tasks_and_started_tasks": "up to a bound, newest first",
    "count_tasks": "up to a bound, newest first",
    "count_tasks_by_template": "up to a bound, newest first",
    "list_decided_approvals": "a page, newest first",
    "list_events": "a page, newest first",
    "list_tasks": "a page, newest first",
    "nth_newest_task": "up to an offset, newest first",
    "prune_deliveries": "as many as may be deleted, oldest first",
    "prune_events": "as many as may be deleted, oldest first",
    "list_recent_events": "a page, newest first",
    "task_statistics": "the newest of a window",
    "list_team_audit": "a page, newest first",
}
"""Statements that read a growing table in the order of an index, and stop."""

WHOLE = {
    "list_tasks_of_selective_filter": "those with a tag, by its index; on SQLite, without one, all",
    "delete_gate_claim_rows_of_tasks": "the gates that tasks of the last days used, once an hour",
    "prune_limit_gates": "the gates that tasks of the last days used, once an hour",
}
"""Statements that read a whole growing table."""


def test_every_statement_is_valid_on_sqlite(migrated: sqlite3.Connection) -> None:
    """
    It compiles against the schema that all migrations make.
    """
    problems: dict[str, str] = {}
    for name in SQLITE:
        try:
            plan(migrated, name)
        except sqlite3.Error as error:
            problems[name] = str(error)

    assert {} == problems


WAITING = (
    *(
        "first_unreceived_signal",
        "signal_by_id",
        "count_unreceived_signals",
        "mark_signal_received",
        "reset_received_signals",
    ),
    *(
        "waiters_of_signal",
        "lock_waiters_of_broadcast",
        "first_receivable_broadcast",
        "count_broadcasts",
    ),
    *(
        "find_broadcast",
        "interrupted_broadcasts",
        "mark_broadcast_delivered",
        "lock_steps_of_timed_out_waits",
        "delete_waits_of_step",
        "wake_step",
    ),
    *(
        "lock_running_step",
        "load_durable_calls",
        "find_external_completion",
        "step_of_completion_token",
    ),
    *("escalate_approvals", "store_parked_attempt", "lock_attached_tasks", "orphaned_tasks"),
    *(
        "revert_failures_at_children",
        "claim_deliveries",
        "record_delivery_attempt",
        "load_events_to_deliver",
    ),
    *(
        "undistributed_events",
        "mark_events_distributed",
        "add_deliveries",
        "delete_delivered_subscriber_deliveries",
        "list_deliveries",
    ),
    *(
        "list_due_schedules",
        "advance_schedule",
        "buffered_ticks",
        "ticks_without_task",
        "delete_buffered_ticks",
    ),
    *("extend_tick_record", "lock_due_schedule", "set_schedule_of_tasks"),
    *("steps_to_stop", "store_stopped_attempts", "stop_steps", "delete_waits_of_steps"),
    *(
        "steps_to_retry",
        "steps_by_number",
        "retry_steps",
        "revert_failed_sinks",
        "failed_steps_without_waiting_children",
    ),
    *(
        "delete_durable_calls_of_steps",
        "cancelled_steps_to_revive",
        "cancelled_children_of_step",
        "revive_cancelled_steps",
    ),
    *("add_step_audit_entries", "unfinished_steps"),
    "concurrency_keys_of_tasks_with_waiters",
)
"""Statements of waits, deliveries, schedules and pages of steps, on both stores."""

GATED = (
    "gate_states_of_limited_steps",
    "mark_limited_steps_claimed",
    "delete_ended_gate_claims",
    "first_enqueued_steps_of_gate_queue",
    "gate_capacity",
    "next_gate_queue_with_enqueued_steps",
    "add_gate_claims",
)


COMPENSATING = (
    *(
        "add_compensating_steps",
        "add_compensation_planner",
        "first_compensating_step_no",
        "delete_compensation_planner",
    ),
    *(
        "lock_compensation_planner_if_claim_held",
        "mark_task_compensating",
        "set_greatest_step_no",
        "reserve_compensating_step_numbers",
        "unmark_task_compensating",
    ),
)
"""Statements of compensation that read some steps of a task."""

PLACES = (
    *(
        "add_concurrency_place",
        "mark_concurrency_place_admitted",
        "mark_ended_concurrency_places",
        "lock_concurrency_key",
        "list_concurrency_places",
        "reopen_concurrency_place",
    ),
    *("template_and_pauses_of_task", "concurrency_keys_with_waiting_tasks"),
)


def test_no_statement_scans_a_table_that_grows(migrated: sqlite3.Connection) -> None:
    """Exceptions are pages and rows that are not done yet."""
    scans = {name: scanned(plan(migrated, name), SQLITE[name].text) for name in SQLITE}

    assert {} == {
        name: lines for name, lines in scans.items() if lines and name not in {*PAGES, *WHOLE}
    }


def scanned(plan: Sequence[str], text: str) -> list[str]:
    """List the lines of a plan that scan all rows of a table that grows."""
    tables: dict[str, set[str]] = {}
    sources = re.findall(
        r"\b(?:from|join|update|,)\s+(\w+)(?:\s+(?:as\s+)?(\w+))?", re.sub("--[^\n]*", "", text)
    )
    for table, alias in sources:
        tables.setdefault(alias, set()).add(table)
    scans = (re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?$", line) for line in plan)
    return [
        scan[0]
        for scan in scans
        if scan and scan[2] not in FEW and GROWING & {scan[1], *tables.get(scan[1], ())}
    ]


def test_a_statement_reads_few_steps_of_a_large_task(migrated: sqlite3.Connection) -> None:
    """It reads only the steps that it needs of a task with 100,000 steps."""
    whole = re.compile(r"SEARCH (s|c|o|step) USING PRIMARY KEY \(task_id=\?\)")
    names = {*WAITING, *GATED, *COMPENSATING, *PLACES}
    names -= {"delete_compensation_planner"}  # once

    assert [] == [
        (name, line) for name in names for line in plan(migrated, name) if whole.match(line)
    ]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("claim_steps", "step_due"),
        ("queues_to_claim_from", "step_due"),
        ("seconds_until_step_due", "step_due"),
        ("list_held_claims", "step_held"),
        ("list_expired_attempts", "step_held"),
        ("open_tasks_with_failed_step", "task_has_failed_step"),
        ("lock_overdue_tasks", "task_overdue"),
        ("lock_steps_past_queue_timeout", "step_queue_timeout"),
        ("list_due_schedules", "schedule_look_at"),
        ("count_backlog_by_queue", "step_due"),
        ("tasks_to_prune", "task_template"),
        ("count_prunable_tasks", "task_template"),
        ("wake_steps_waiting_for_tasks", "step_waiting"),
        ("lock_steps_of_timed_out_waits", "wait_late"),
        ("lock_waiters_of_broadcast", "wait_broadcast"),
        ("first_unreceived_signal", "signal_name"),
        ("count_unreceived_signals", "signal_untaken"),
        ("first_receivable_broadcast", "broadcast_key"),
        ("interrupted_broadcasts", "broadcast_undelivered"),
        ("escalate_approvals", "approval_escalation"),
        ("lock_attached_tasks", "task_attached"),
        ("orphaned_tasks", "task_attached"),
        ("find_limit_gates", "sqlite_autoindex_gate_1 (namespace=? AND key=?)"),
        ("next_gate_queue_with_enqueued_steps", "step_gate"),
        ("first_enqueued_steps_of_gate_queue", "step_gate"),
        ("claim_deliveries", "delivery_due"),
        ("claim_deliveries", "delivery_of_task"),
        ("undistributed_events", "outbox_fresh"),
    ],
)
def test_a_hot_statement_uses_its_partial_index(
    migrated: sqlite3.Connection, name: str, index: str
) -> None:
    """The index contains only rows that the statement may need."""
    assert any(f"INDEX {index}" in line for line in plan(migrated, name))


SEARCHES = {
    "step_failed": {"failed_step"},
    "step_error_code": {"error_code"},
    "task_attribute_pkey": {"attribute_name", "attribute_value"},
}
SEARCHES_ON_POSTGRES = {
    **SEARCHES,
    "task_tags": {"tag"},
    "task_creator": {"created_by"},
    "task_pkey": {"created_after", "first_id"},
}
"""The index that a list of tasks uses -> the parameters that it is given."""


@pytest.mark.parametrize("index", SEARCHES)
@pytest.mark.parametrize("more", [set(), {"templates", "created_after", "after"}])
def test_a_search_for_tasks_uses_its_index(
    migrated: sqlite3.Connection, index: str, more: set[str]
) -> None:
    """In any combination of filters, only matching tasks are read."""
    statement = SQLITE["list_tasks"].without_unused_filters(SEARCHES[index] | more)
    lines = [
        row[3]
        for row in migrated.execute(
            f"explain query plan {statement.text}", dict.fromkeys(statement.names)
        )
    ]

    if index == "task_attribute_pkey":  # of a table without rowids
        assert "SEARCH a USING PRIMARY KEY (namespace=? AND name=? AND value=?)" in lines
    else:
        assert any(re.match(rf"SEARCH s USING (COVERING )?INDEX {index} ", x) for x in lines)
    assert [] == [line for line in lines if re.match(r"SCAN (task|s|a)\b", line)]


def test_compensated_tasks_are_found_by_their_index(migrated: sqlite3.Connection) -> None:
    """Which has no other tasks."""
    statement = SQLITE["list_tasks"].without_unused_filters({"compensation"})
    explain = f"explain query plan {statement.text}"
    lines = [row[3] for row in migrated.execute(explain, dict.fromkeys(statement.names))]

    assert [line for line in lines if re.match("(SCAN|SEARCH) task USING INDEX task_ending", line)]


def test_the_tasks_of_a_schedule_are_found_by_their_index(migrated: sqlite3.Connection) -> None:
    statement = SQLITE["list_tasks"].without_unused_filters({"schedule_id"})
    lines = [
        row[3]
        for row in migrated.execute(
            f"explain query plan {statement.text}", dict.fromkeys(statement.names)
        )
    ]

    assert "SEARCH task USING INDEX task_schedule (schedule_id=?)" in lines


# ----------------------------------------------------------------- PostgreSQL


@pytest.fixture
async def connection(postgres_schema_url: str) -> AsyncIterator[Any]:
    """A connection to a schema with everything in it."""
    async with make_store(postgres_schema_url) as store:
        await store.upgrade_schema()
    connection = await PostgresAddress.parse(postgres_schema_url).connect()
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
def planning_url(postgres_url: str) -> Iterator[str]:
    """The URL of a schema for plans alone."""
    with temporary_schema(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
async def _tables_to_plan(planning_url: str) -> None:
    async with make_store(planning_url) as store:
        await store.upgrade_schema()


@pytest.fixture
async def planning(planning_url: str, _tables_to_plan: None) -> AsyncIterator[Any]:
    """A connection to tables without rows, which other tests may have let PostgreSQL analyze."""
    connection = await PostgresAddress.parse(planning_url).connect()
    yield connection
    await connection.close()


async def test_every_statement_is_valid_on_postgres(planning: Any) -> None:
    """It can be prepared, and its parameters are those named in its file."""
    for name, statement in POSTGRES.items():
        prepared = await planning.prepare(statement.with_numbered_parameters().text)
        assert len(statement.names) == len(prepared.get_parameters()), name


async def test_the_hot_path_of_postgres_never_scans_a_table_that_grows(
    connection: Any, postgres_schema_url: str
) -> None:
    """
    Creating, claiming, settling, failing and saving use indexes, the partial ones among them.
    """
    async with make_store(postgres_schema_url) as store:
        template, wide = (
            await register_template(store, chain_template()),
            await register_template(store, fan_template(30)),
        )
        for _ in range(20):
            await create_task(store, template, deadline=SECOND * 3600)
            await create_task(store, wide, idempotency_key=None)
        await connection.execute("analyze")  # with statistics a scan of so little would be cheaper
        before = await scans(connection)
        worker = await ManualWorker.register(store)
        while claims := await worker.claim(64):
            outcomes = [completed_outcome(claim, JsonText("1")) for claim in claims[1:]]
            settled = await worker.settle(
                failed_outcome(claims[0], JsonText('{"message":"x"}')), *outcomes, claim_up_to=8
            )
            await worker.complete(*settled.claims)
            await store.store_checkpoint(claims[0], JsonText("1"))
    after = await scans(connection)

    grown = {name: after[name] - before.get(name, 0) for name in after}
    tables = ("step", "due", "task", "attempt", "task_key", "spawn")
    assert {f"seq {table}": 0 for table in tables} == {
        name: grown[name] for name in grown if name.startswith("seq ")
    }
    assert grown["index due_pkey"] > 0
    assert grown["index step_pkey"] > 0
    assert grown["index task_pkey"] + grown["index task_status"] > 0


async def test_every_statement_is_valid_without_its_optional_conditions(planning: Any) -> None:
    """It is also valid with each filter alone."""
    for name, statement in POSTGRES.items():
        for given in [set[str](), *({parameter} for parameter in statement.names)]:
            narrowed = statement.without_unused_filters(given).with_numbered_parameters()
            prepared = await planning.prepare(narrowed.text)
            assert len(narrowed.names) == len(prepared.get_parameters()), (name, given)


@pytest.fixture(scope="module")
def searched_url(postgres_url: str) -> Iterator[str]:
    """The URL of a schema for searches."""
    with temporary_schema(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
async def searched(searched_url: str) -> AsyncIterator[Any]:
    """A connection to 20,000 tasks that no search matches."""
    async with make_store(searched_url) as store:
        await store.upgrade_schema()
    connection = await PostgresAddress.parse(searched_url).connect()
    await connection.execute(
        "insert into template (namespace, name, version, digest, document, sinks, status,"
        " registered_by) values ('n', 't', '1.0.0', '', '{}', 1, 'approved', '')"
    )
    await connection.execute(
        "insert into task (id, template_id, state, open_sinks, correlation_id, created_by, reason,"
        " tags, context) select lpad(to_hex(n), 32, '0')::uuid, 1, case when n % 10 = 0 then 5"
        " else 4 end, 0, '', '', '', '{}', '{}' from generate_series(1, 20000) n"
    )
    await connection.execute(
        "insert into step (task_id, no, state, queue_id, pending_parents, name, children, error)"
        " select id, 1, state, 5, 0, 'a', '{}', json_build_object('code', 'A') from task"
    )
    await connection.execute("insert into task_attribute select 'n', 'a', id::text, id from task")
    await connection.execute("analyze")
    yield connection
    await connection.close()


@pytest.mark.parametrize("index", SEARCHES_ON_POSTGRES)
@pytest.mark.parametrize("more", [set(), {"templates", "created_after"}])
async def test_a_search_for_tasks_uses_its_index_on_postgres(
    searched: Any, index: str, more: set[str]
) -> None:
    """
    Among 20,000 tasks that do not match, it reads a few dozen pages, including the catalogue's.
    """
    statement = POSTGRES["list_tasks_of_selective_filter" if index == "task_tags" else "list_tasks"]
    statement = statement.without_unused_filters(
        SEARCHES_ON_POSTGRES[index] | more
    ).with_numbered_parameters()
    values = {
        "failed_step": "'b'",
        "error_code": "'B'",
        "attribute_name": "'a'",
        "attribute_value": "'b'",
        "templates": "'{1}'",
        "created_after": "'2026-01-01'",
        "first_id": "'01900000-0000-7000-8000-000000000000'",
        "tag": "'b'",
        "created_by": "'b'",
        "limit": "26",
        "counted": "1000",
    }

    await searched.execute(f"prepare asked as {statement.text}")
    call = f"execute asked ({', '.join(values[name] for name in statement.names)})"
    rows = await searched.fetch(f"explain (analyze, buffers) {call}")
    await searched.execute("deallocate asked")
    lines = [row[0] for row in rows]

    assert any(re.search(rf"Index.* Scan.* (using|on) {index}", line) for line in lines)
    assert [] == [line for line in lines if re.search(r"Seq Scan on (task|step)\b", line)]
    buffers = next(line for line in lines if "Buffers" in line)
    assert sum(int(count) for count in re.findall(r"(?:hit|read)=(\d+)", buffers)) < 60


async def test_compensated_tasks_are_found_by_their_index_on_postgres(planning: Any) -> None:
    """Which has no other tasks."""
    await planning.execute("set enable_seqscan = off")
    statement = (
        POSTGRES["list_tasks"].without_unused_filters({"compensation"}).with_numbered_parameters()
    )
    values = {"compensation": "'incomplete'", "limit": "26", "counted": "1000"}

    await planning.execute(f"prepare asked as {statement.text}")
    call = f"execute asked ({', '.join(values[name] for name in statement.names)})"
    lines = [row[0] for row in await planning.fetch(f"explain {call}")]

    assert [line for line in lines if re.search("Index.* Scan.* task_ending", line)]


INDEXES = {
    "nth_newest_task": {"task_pkey"},
    "lock_steps_of_timed_out_waits": {"wait_late"},
    "waiters_of_signal": {"wait_pkey"},
    "lock_waiters_of_broadcast": {"wait_broadcast", "step_pkey"},
    "first_unreceived_signal": {"signal_pkey"},
    "signal_by_id": {"signal_id"},
    "count_unreceived_signals": {"signal_untaken"},
    "first_receivable_broadcast": {"broadcast_pkey"},
    "find_broadcast": {"broadcast_id"},
    "interrupted_broadcasts": {"broadcast_undelivered"},
    "step_of_completion_token": {"completion_pkey", "step_pkey", "wait_pkey", "durable_call_pkey"},
    "find_external_completion": {"durable_call_pkey"},
    "escalate_approvals": {"approval_escalation"},
    "lock_attached_tasks": {"task_attached"},
    "orphaned_tasks": {"task_attached"},
    "claim_deliveries": {"delivery_due", "delivery_of_task"},
    "undistributed_events": {"outbox_fresh"},
    "steps_to_stop": {"step_pkey"},
    "stop_steps": {"step_pkey", "due_pkey"},
    "steps_to_retry": {"step_pkey"},
    "steps_by_number": {"step_pkey"},
    "retry_steps": {"step_pkey"},
    "failed_steps_without_waiting_children": {"step_pkey"},
    "delete_durable_calls_of_steps": {"durable_call_pkey"},
    "free_idempotency_keys_of_child_tasks": {"task_key_pkey", "task_pkey"},
    "cancelled_children_of_step": {"step_pkey"},
    "unfinished_steps": {"step_pkey"},
    "concurrency_keys_of_tasks_with_waiters": {"task_place_waiting", "task_place_pkey"},
    "delete_waits_of_steps": {"wait_pkey"},
    "mark_ended_concurrency_places": {"task_place_open"},
    "list_concurrency_places": {"task_place_open"},
    "concurrency_keys_with_waiting_tasks": {"task_place_waiting"},
    "mark_concurrency_place_admitted": {"task_place_pkey"},
    "reopen_concurrency_place": {"task_place_pkey"},
    "list_completed_steps_of_nodes": {"step_pkey"},
    "find_task_if_compensable": {"step_pkey"},
    "lock_compensation_planner_if_claim_held": {"step_pkey"},
    "list_expired_attempts": {"claim_batch_pkey"},
    "lock_overdue_tasks": {"task_overdue"},
    "open_tasks_with_failed_step": {"task_has_failed_step"},
}
"""Statements and indexes that each of them uses on PostgreSQL."""


OUTER = {
    "list_limits": "the keys of a namespace, and their waiting steps",
    "count_prunable_tasks": "counts for an operator; joins from the other side with tasks",
    "restart_queue_timeouts": "joins from the other side once there are steps",
}
"""Statements that read a growing table first while it is empty."""


async def test_no_statement_scans_a_table_that_grows_on_postgres(connection: Any) -> None:
    """The planner takes the index that each has for what it wants when the tables have grown."""
    for way in ("seqscan", "hashjoin", "mergejoin"):
        await connection.execute(f"set enable_{way} = off")
    await connection.execute("set plan_cache_mode = force_generic_plan")
    for name in sorted({*POSTGRES} - {"lock_queues"}):  # which has no plan
        nodes = [*nodes_of(await generic_plan(connection, name))]
        whole = {
            node["Relation Name"]
            for node in nodes
            if node["Node Type"] in ("Seq Scan", "Index Scan", "Index Only Scan")
            and "Index Cond" not in node
            and node.get("Index Name") not in FEW
        }
        assert not whole & GROWING or name in {*PAGES, *WHOLE, *OUTER}, name
        used = {node.get("Index Name") for node in nodes}
        assert INDEXES.get(name, set()) <= used, name


async def generic_plan(connection: Any, name: str) -> dict[str, Any]:
    """Return the plan of a statement whatever its parameters are."""
    statement = POSTGRES[name].with_numbered_parameters()
    prepared = await connection.prepare(statement.text)
    nulls = ", ".join(f"null::{kind.name}" for kind in prepared.get_parameters())
    await connection.execute(f"prepare asked as {statement.text}")
    call = f"execute asked ({nulls})" if nulls else "execute asked"
    rows = await connection.fetch(f"explain (format json) {call}")
    await connection.execute("deallocate asked")
    plan: dict[str, Any] = json.loads(rows[0][0])[0]["Plan"]
    return plan


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes_of(part)


async def test_a_claim_of_limited_steps_reads_only_what_it_claims_on_postgres(
    connection: Any, postgres_schema_url: str
) -> None:
    """The key has 2,000 due steps, and plans were made while the tables were empty."""
    async with make_store(postgres_schema_url) as store:
        template_id = await register_template(store, with_limits(one_step_template()))
        await connection.execute("analyze")
        worker = await ManualWorker.register(store)
        values: dict[str, object] = {"worker": worker.id, "limit": 5, "after_outer": 0, "after": 0}
        counts = []
        for count in (10, 2_000):
            await create_limited_tasks(store, template_id, ("a", concurrency_limit(5)), count=count)
            counts.append(await buffers(connection, "claim_limited_steps", values))

    assert counts[0] > 10
    assert counts[1] < 250


@pytest.mark.parametrize(
    ("name", "filters", "index"),
    [
        ("list_due_schedules", set(), "schedule_look_at"),
        ("list_tasks", {"schedule_id"}, "task_schedule"),
        ("buffered_ticks", set(), "schedule_tick_pkey"),
    ],
)
async def test_schedules_and_their_tasks_are_found_by_their_indexes_on_postgres(
    planning: Any, name: str, filters: set[str], index: str
) -> None:
    await planning.execute("set enable_seqscan = off")
    statement = POSTGRES[name].without_unused_filters(filters).with_numbered_parameters()
    prepared = await planning.prepare(statement.text)
    types = [parameter.name for parameter in prepared.get_parameters()]
    nulls = ", ".join(f"null::{kind}" for kind in types)
    await planning.execute("set plan_cache_mode = force_generic_plan")
    await planning.execute(f"prepare asked as {statement.text}")
    call = f"execute asked ({nulls})" if nulls else "execute asked"

    lines = [row[0] for row in await planning.fetch(f"explain {call}")]

    assert any(re.search(rf" {index}\b", line) for line in lines), lines


async def test_unclaimed_steps_are_found_by_their_index_on_postgres(
    connection: Any, postgres_schema_url: str
) -> None:
    """
    The index has only steps with a `queue_timeout`, ordered by time: of 200 enqueued steps only the
    few late ones are read.
    """
    hour = timedelta(hours=1)
    async with make_store(postgres_schema_url) as store:
        for name, timeout, number in (
            ("for_ever", None, 200),
            ("long", hour, 200),
            ("short", SECOND / 1000, 2),
        ):
            steps = (StepSpec(name="only", queue_timeout=timeout),)
            template = Template(namespace="suite", name=name, version="1.0.0", steps=steps)
            template_id = await register_template(store, template)
            await store.create_tasks([make_new_task(template_id) for _ in range(number)])
    await connection.execute("analyze")
    await connection.execute("set enable_seqscan = off")  # as the planner decides for many
    text = (
        POSTGRES["lock_steps_past_queue_timeout"]
        .text.replace(":limit", "100")
        .replace(":external", "'none'")
    )

    rows = await connection.fetch(f"explain (analyze, buffers) {text}")

    lines = [row[0] for row in rows]
    lines = lines[: lines.index("Planning:")]
    (late,) = [line for line in lines if re.search("Index Scan.* due_latest_claim", line)]
    assert "rows=2 " in late.split("actual")[1]
    assert any("Index Scan using step_pkey on step" in line for line in lines)
    assert max(int(hit) for hit in re.findall(r"shared hit=(\d+)", "".join(lines))) <= 20


async def test_a_queue_is_counted_by_its_index_on_postgres(
    connection: Any, postgres_schema_url: str
) -> None:
    """All five priorities are counted; no more steps are read than the bound."""
    async with make_store(postgres_schema_url) as store:
        template_id = await register_template(store, one_step_template())
        await store.create_tasks([make_new_task(template_id) for _ in range(2000)])
    await connection.execute("analyze")
    await connection.execute("set enable_seqscan = off")  # as the planner decides for many
    text = POSTGRES["count_backlog_by_queue"].text.replace(":most", "500")

    rows = await connection.fetch(f"explain (analyze, buffers) {text}")

    lines = [row[0] for row in rows]
    scan, of_paused_tasks = [
        line for line in lines if re.search("Index.* Scan using due_pkey", line)
    ]
    assert "rows=500 loops=1" in scan
    assert "rows=0 loops=1" in of_paused_tasks
    assert [] == [line for line in lines if re.search(r"Seq Scan on (step|due)\b", line)]
    buffers = next(line for line in lines if "Buffers" in line)
    assert sum(int(count) for count in re.findall(r"(?:hit|read)=(\d+)", buffers)) < 550


async def test_tasks_to_prune_are_found_by_their_index_on_postgres(
    connection: Any, postgres_schema_url: str
) -> None:
    """Those of 300 ended tasks with a longer retention are not read."""
    async with make_store(postgres_schema_url) as store:
        for name, retention, number in (("long", 3600, 300), ("short", 1e-6, 2)):
            template = replace(one_step_template(name), retention=timedelta(seconds=retention))
            template_id = await register_template(store, template)
            await store.create_tasks([make_new_task(template_id) for _ in range(number)])
        await (await ManualWorker.register(store)).complete_all_due()
    await connection.execute("set enable_seqscan = off")  # as the planner decides for many
    text = POSTGRES["prune_tasks"].text.replace(":ended_before", "null").replace(":limit", "100")

    rows = await connection.fetch(f"explain (analyze, buffers) {text}")

    plan = "\n".join(row[0] for row in rows)
    scan = plan[plan.index("Index Scan using task_template on task ") :].splitlines()
    assert "rows=1 loops=2" in scan[0]
    assert re.search(r"Index Cond: \(\(template_id = \w+\.id\) AND \(id < ", scan[1])
    removed, hits = scan[2:4]
    assert "Filter: " in removed
    assert int(re.findall(r"shared hit=(\d+)", hits)[0]) <= 12


@pytest.mark.parametrize("name", ["list_held_claims", "list_expired_attempts"])
async def test_the_steps_of_a_worker_are_found_by_its_claims_on_postgres(
    connection: Any, postgres_schema_url: str, name: str
) -> None:
    """Among 200 claims of other workers, and steps that are enqueued or ended."""
    async with make_store(postgres_schema_url) as store:
        template_id = await register_template(store, one_step_template())
        await store.create_tasks([make_new_task(template_id) for _ in range(2000)])
        gone = await ManualWorker.register(store)
        claims = await gone.claim(3)
        worker = await ManualWorker.register(store)
        for _ in range(200):
            await worker.claim(5)
        await worker.complete(*await worker.claim(500))
        await store.retire_worker(gone.id)
    await connection.execute("analyze")
    await connection.execute("set enable_seqscan = off")  # as the planner decides for many
    text = POSTGRES[name].text.replace(":worker", str(gone.id)).replace(":limit", "100")

    rows = await connection.fetch(f"explain (analyze, buffers) {text}")

    lines = [row[0] for row in rows]
    lines = lines[: lines.index("Planning:")]
    assert any(re.search("Index Scan.* claim_batch_pkey", line) for line in lines)
    assert any("using step_pkey on step" in line for line in lines)
    assert f"rows={len(claims)} " in lines[0].split("actual")[1]
    assert max(int(hit) for hit in re.findall(r"shared hit=(\d+)", "".join(lines))) <= 40


@pytest.mark.parametrize("many", [1, 2])
async def test_a_settlement_finds_the_claims_that_it_ends_by_their_index_on_postgres(
    connection: Any, postgres_schema_url: str, many: int
) -> None:
    """Among 300 claims of the same worker, with plans made while the tables were empty."""
    async with make_store(postgres_schema_url) as store:
        template_id = await register_template(store, one_step_template())
        await connection.execute("analyze")
        worker = await ManualWorker.register(store)
        counts = []
        for claiming in (1, 300):
            await store.create_tasks([make_new_task(template_id) for _ in range(2 * claiming)])
            for _ in range(claiming):
                claims = await worker.claim(2)
            outcomes = [completed_outcome(claim, JsonText("1")) for claim in claims[:many]]
            values = settlement_parameters(worker.id, outcomes, claim_up_to=0)
            counts.append(
                await buffers(connection, "settle_outcomes", values)
            )  # the first makes the plans

    assert counts[1] < 80


async def test_retrying_some_steps_reads_few_of_a_large_task_on_postgres(
    connection: Any, postgres_schema_url: str
) -> None:
    """Two of 3,000 failed instances, with plans made while the tables were empty.

    Each has created a task.
    """
    await connection.execute("set plan_cache_mode = force_generic_plan")
    async with make_store(postgres_schema_url) as store:
        await connection.execute("analyze")
        _, claim = await create_task_and_claim_spawner(store, map_template())
        for begin in range(0, 3000, 1000):
            await store.spawn_instances(
                claim, make_instances(["1"] * 1000, begin=begin, total=3000)
            )
        await connection.execute(
            "update step set state = $1 where spawned_by = 2", StatusCode.ERROR
        )
        child = await register_template(store, one_step_template())
        for first in range(0, 3000, 1000):
            made = range(first, first + 1000)
            keys = [f"{claim.task_id}:{no}:child" for no in made]
            await store.create_tasks(
                [make_new_task(child, parent_id=claim.task_id, idempotency_key=key) for key in keys]
            )
        steps: dict[str, object] = {"task_id": claim.task_id, "nos": [1000, 2000]}
        some: dict[str, object] = {
            "task_id": claim.task_id,
            "last_no": 1000,
            "until": 1002,
            "limit": 2,
        }
        audited = {**dict.fromkeys(("actor", "action", "reason", "before", "after"), "x")}
        given: dict[str, dict[str, object]] = {
            "steps_by_number": steps,
            "steps_to_retry": {**some, "undoing": False},
            "cancelled_children_of_step": {"task_id": claim.task_id, "no": 1000},
            "failed_steps_without_waiting_children": steps,
            "revert_failures_at_children": steps,
            "revert_failed_sinks": steps,
            "delete_durable_calls_of_steps": steps,
            "free_idempotency_keys_of_child_tasks": steps,
            "reset_received_signals": steps,
            "retry_steps": {**steps, "counted_attempts": 0, "held": True},
            "add_step_audit_entries": {**steps, **audited, "via": None, "bulk_id": None},
        }
        read = {name: await buffers(connection, name, values) for name, values in given.items()}

    assert {} == {name: pages for name, pages in read.items() if pages >= 60}


@pytest.mark.parametrize(
    "name",
    [
        "load_runtime_steps",
        "load_step_results",
        "lost_claims",
        "lock_steps_past_queue_timeout",
        "lock_steps_of_timed_out_waits",
    ],
)
async def test_a_worker_reads_only_the_steps_that_it_asks_for_on_postgres(
    connection: Any, postgres_schema_url: str, name: str
) -> None:
    """At most a hundred of 3,000 instances, which all wait: it looks each of them up."""
    async with make_store(postgres_schema_url) as store:
        await connection.execute("analyze")
        _, claim = await create_task_and_claim_spawner(store, map_template())
        for begin in range(0, 3000, 1000):
            await store.spawn_instances(
                claim, make_instances(["1"] * 1000, begin=begin, total=3000)
            )
        await connection.execute(
            "insert into wait (task_id, no, kind, namespace, name, key, call, call_kind, wake_at)"
            " select task_id, no, 'signal', '', 'a', '', 'a', 'wait_signal', now() + interval '1 h'"
            " from step where spawned_by is not null"
        )
        values: dict[str, object] = {
            "tasks": [claim.task_id] * 100,
            "nos": [*range(1000, 1100)],
            "attempts": [0] * 100,
            "workers": [1] * 100,
            "external": "none",
            "limit": 100,
        }
        steps = await connection.fetch(
            f"explain {POSTGRES[name].with_numbered_parameters().text}",
            *[values[parameter] for parameter in POSTGRES[name].with_numbered_parameters().names],
        )

    assert [] == [row[0] for row in steps if re.search(r"Seq Scan on (step|wait)\b", row[0])]


async def buffers(connection: Any, name: str, values: dict[str, object]) -> int:
    """Count the pages that a statement reads, and roll it back."""
    statement = POSTGRES[name].with_numbered_parameters()
    undone = connection.transaction()
    await undone.start()
    [(plan,)] = await connection.fetch(
        f"explain (analyze, buffers, costs off, format json) {statement.text}",
        *[values[parameter] for parameter in statement.names],
    )
    await undone.rollback()
    node = json.loads(plan)[0]["Plan"]
    return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])


async def scans(connection: Any) -> dict[str, int]:
    """Count scans of tables and indexes, as far as sessions that have ended reported them."""
    await connection.execute("select pg_stat_force_next_flush()")
    await connection.execute("select pg_stat_clear_snapshot()")
    tables = await connection.fetch(
        "select 'seq ' || relname, coalesce(seq_scan, 0) from pg_stat_user_tables"
        " where schemaname = current_schema()"
        " and relname in ('step', 'due', 'task', 'attempt', 'task_key', 'spawn')"
    )
    indexes = await connection.fetch(
        "select 'index ' || indexrelname, coalesce(idx_scan, 0) from pg_stat_user_indexes"
        " where schemaname = current_schema()"
    )
    return {row[0]: row[1] for row in (*tables, *indexes)}


async def spread(connection: Any, worker: WorkerId, queues: int) -> None:
    """Let a worker serve many queues, and spread the enqueued steps over all of them."""
    await connection.execute(
        """
        with added as (
            insert into queue (namespace, handler)
            select 'spread', $2::int || '_' || n from generate_series(1, $2::int) n
            returning id
        )
        insert into worker_queue (worker, queue_id) select $1::bigint, id from added
        """,
        worker,
        queues,
    )
    await connection.execute(
        """
        create temp table moved as
        select d.task_id, d.no, q.id
        from (select task_id, no, row_number() over (order by task_id) as n from due) d
        join (
            select id, row_number() over (order by id) as n from queue where namespace = 'spread'
        ) q on q.n = d.n
        """
    )
    for table in ("due", "step"):
        await connection.execute(
            f"update {table} t set queue_id = m.id + 2 from moved m"
            " where t.task_id = m.task_id and t.no = m.no"
        )
    await connection.execute("drop table moved")


@pytest.mark.parametrize(("most", "per_step"), [(1, 600), (100, 40)])
async def test_a_claim_reads_some_of_ten_thousand_queues_on_postgres(
    connection: Any, postgres_schema_url: str, most: int, per_step: int
) -> None:
    """
    With plans made while the tables were empty: at most twenty queues, or as many as it claims
    steps, are looked at; of those without steps none is.
    """
    async with make_store(postgres_schema_url) as store:
        template_id = await register_template(store, one_step_template())
        await connection.execute("analyze")
        worker = await ManualWorker.register(store)
        values = {
            "worker": worker.id,
            "limit": most,
            "after": 0,
            "from_queues": [],
            "from_run_at": [],
            "from_tasks": [],
            "from_nos": [],
        }
        await store.create_tasks([make_new_task(template_id)])
        single = await buffers(connection, "claim_steps", values)  # the first makes the plans
        single = await buffers(connection, "claim_steps", values)
        await store.create_tasks([make_new_task(template_id) for _ in range(2000)])
        await spread(connection, worker.id, 10_000)
        many = await buffers(connection, "claim_steps", values)
        claims = await worker.claim(most)

    assert most == len(claims)
    assert single < 60
    assert many < per_step * most


async def test_a_claim_reads_one_of_ten_thousand_queues_on_postgres(
    connection: Any, postgres_schema_url: str
) -> None:
    """By settlements and creations, with plans made while the tables were empty."""
    counts = []
    async with make_store(postgres_schema_url) as store:
        template_id = await register_template(store, chain_template())
        await connection.execute("analyze")
        worker = await ManualWorker.register(store)
        for queues in (1, 10_000):
            await spread(connection, worker.id, queues)
            await store.create_tasks([make_new_task(template_id) for _ in range(2)])
            claims = await worker.claim(2)
            outcomes = [completed_outcome(claim, JsonText("1")) for claim in claims]
            values = settlement_parameters(worker.id, outcomes, claim_up_to=2)
            for _ in range(2):  # the first makes the plans
                read = await buffers(connection, "settle_outcomes", values)
            counts.append(read)

    assert counts[1] < counts[0] + 20


async def test_compensating_reads_the_same_among_ten_thousand_queues_on_postgres(
    connection: Any, postgres_schema_url: str
) -> None:
    """And among a thousand tasks, with plans made while the tables were empty."""
    counts = []
    async with make_store(postgres_schema_url) as store:
        template_id, other_id = (
            await register_template(store, trip_template()),
            await register_template(store, one_step_template()),
        )
        await connection.execute("analyze")
        handlers = [ENGINE, "undo", *(step.name for step in trip_template().steps)]
        worker = await ManualWorker.register(store, handlers=handlers)
        other = await ManualWorker.register(store, handlers=["only"])
        for queues in (1, 10_000):
            await store.create_tasks([make_new_task(other_id) for _ in range(queues // 10)])
            await spread(connection, other.id, queues)
            counts.append(await pages_of_compensation(store, connection, worker, template_id))

    assert counts[0] > 100
    assert counts[1] < counts[0] + 6 * 20  # of each statement: larger indexes


async def pages_of_compensation(
    store: Store, connection: Any, worker: ManualWorker, template_id: TemplateId
) -> int:
    """Count the pages that are read from the failure of a task until it is compensated."""

    async def read(outcome: Outcome) -> int:
        values = settlement_parameters(worker.id, [outcome], claim_up_to=2)
        await buffers(connection, "settle_outcomes", values)  # makes the plans
        count = await buffers(connection, "settle_outcomes", values)
        await worker.settle(outcome)
        return count

    task_id = await create_task(store, template_id)
    for _ in range(2):
        await worker.complete(await worker.claim_one())
    pages = await read(failed_outcome(await worker.claim_one(), JsonText('{"message":"x"}')))
    planner = await worker.claim_one()
    nodes = [*Graph(trip_template()).layout.undone_node_by_compensating_node.values()]
    steps = plan_of(
        Graph(trip_template()), await store.list_completed_steps_of_nodes(task_id, nodes)
    )
    values = {"task_id": task_id, "first_no": 100, "keep_going": True, "steps": json.dumps(steps)}
    pages += await buffers(connection, "add_compensating_steps", values)
    await plan_and_add_compensating_steps(store, planner, trip_template())
    pages += await read(completed_outcome(planner, JsonText("1")))
    while claims := await worker.claim():
        for claim in claims:
            pages += await read(completed_outcome(claim, JsonText("1")))
    assert (await store.get_task(task_id)).has_ended
    return pages


async def test_spawning_scans_no_table_that_grows(
    connection: Any, postgres_schema_url: str
) -> None:
    """
    Planned while the tables are empty, and repeated when they are not.
    """
    await connection.execute("analyze")
    before = await scans(connection)
    async with make_store(postgres_schema_url) as store:
        _, claim = await create_task_and_claim_spawner(store, map_template())
        for begin in range(0, 3000, 1000):
            for _ in range(2):
                await store.spawn_instances(
                    claim, make_instances(["1"] * 1000, begin=begin, total=3000)
                )
        await store.load_runtime_steps({claim.task_id: [6, 7, 8]})
    after = await scans(connection)

    grown = {name: after[name] - before.get(name, 0) for name in after}
    tables = ("step", "due", "task", "spawn")
    assert dict.fromkeys(tables, 0) == {name: grown[f"seq {name}"] for name in tables}
