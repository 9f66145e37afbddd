"""`tasker db ...`"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.cli.conftest import Here, words
from tests.ports import reserved_port

from tasker.store.postgres.address import Address


@contextmanager
def open_snapshot(url: str) -> Iterator[int]:
    """Keep a session named `forgotten` with an open snapshot, and yield its pid."""
    with asyncio.Runner() as runner:
        connection = runner.run(Address.parse(url).connect(application_name="forgotten"))
        runner.run(connection.execute("begin isolation level repeatable read"))
        try:
            yield runner.run(connection.fetchval("select pg_backend_pid() as secret_of_a_query"))
        finally:
            runner.run(connection.close())


def test_a_store_is_created_and_its_state_shown(tasker: Here) -> None:
    missing = tasker("db", "status")
    made = tasker("db", "upgrade")
    again = tasker("db", "upgrade")
    status = tasker("db", "status", "--json")

    assert 3 == missing.code
    assert "schema upgraded from 0" in made.out
    assert "is up to date" in again.out
    assert (0, True, []) == (
        status.code, status.document["schema"]["ready"], status.document["workers"],
    )  # fmt: skip


def test_only_upgrade_changes_a_postgres_schema(tasker: Here, postgres_schema_url: str) -> None:
    """Until then, commands that need it exit with code 3 and say so."""
    store = ("--store", postgres_schema_url)
    before = tasker("db", "status", *store)
    refused = tasker.run(*store)
    upgraded = tasker("db", "upgrade", *store)
    ran = tasker.run(*store)

    assert 3 == before.code
    assert "run `tasker db upgrade`" in before.out
    assert 3 == refused.code
    assert "run `tasker db upgrade`" in refused.err
    assert (0, 0) == (upgraded.code, ran.code)


def test_the_status_shows_the_holder_of_the_oldest_snapshot(
    tasker: Here, postgres_schema_url: str
) -> None:
    tasker("db", "upgrade", "--store", postgres_schema_url)
    with open_snapshot(postgres_schema_url) as pid:
        shown = tasker("db", "status", "--store", postgres_schema_url)
        oldest = tasker("db", "status", "--store", postgres_schema_url, "--json").document[
            "oldest_snapshot"
        ]
    assert f"session forgotten, user {oldest['user']}, pid {pid}, idle in transaction" in shown.out
    assert ("session", "forgotten", pid, "idle in transaction") == tuple(
        oldest[name] for name in ("kind", "name", "pid", "state")
    )
    assert "secret_of_a_query" not in shown.out + str(oldest)


def test_old_ended_tasks_are_pruned(tasker: Here) -> None:
    """A dry run only counts; open tasks stay."""
    for _ in range(2):
        tasker.task()
    tasker("task", "create", "shop.sell", "-c", '{"sku": "open"}')

    young = tasker("db", "prune", "--older-than", "1h")
    dry = tasker("db", "prune", "--older-than", "1ms", "--dry-run", "--json")
    wet = tasker("db", "prune", "--older-than", "1ms")

    assert "0 tasks deleted\n" == young.out
    assert (2, False) == (dry.document["tasks"], dry.document["deleted"])
    assert "2 tasks deleted\n" == wet.out
    left = tasker("task", "list", "--json").document["tasks"]
    assert ["pending"] == [task["status"] for task in left]


def test_pruning_without_an_age_follows_the_templates(tasker: Here) -> None:
    tasker.task()

    assert "0 tasks deleted\n" == tasker("db", "prune").out
    assert tasker("db", "prune", "--json").document["ended_before"] is None


@pytest.mark.parametrize("span", ["soon", "-1d", "0s", "1x", "99999999999d"])
def test_an_invalid_duration_is_refused(tasker: Here, span: str) -> None:
    tasker("db", "upgrade")
    ran = tasker("db", "prune", f"--older-than={span}")

    assert 2 == ran.code
    assert "--older-than" in words(ran.err)


def test_upgrade_can_wait_for_the_database(tasker: Here) -> None:
    with reserved_port() as port:
        store = ("--store", f"postgresql://t:secret@127.0.0.1:{port}/t")
        at_once = tasker("db", "upgrade", *store)
        began = time.monotonic()
        later = tasker("db", "upgrade", "--wait", "2s", *store)

    assert (3, 3) == (at_once.code, later.code)
    assert time.monotonic() - began > 1
    assert "store_unavailable" in later.err
    assert "secret" not in at_once.err + later.err
