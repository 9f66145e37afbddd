"""Instants follow the order of events, whichever transaction began first."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tasker.model import JsonText, StatusCode, completed_outcome
from tasker.store.operations.operators import end_task_with_steps
from tasker.store.postgres.session import PostgresSession
from tasker.store.protocol import AuditNote, Store
from tasker.store.sqlite import SqliteStore
from tasker.testing.store_suite.factories import (
    ManualWorker,
    chain_template,
    make_template,
    register_and_create_task,
)

pytestmark = pytest.mark.anyio

NOTE = AuditNote(actor="me")


async def test_a_step_is_claimed_after_its_parent_was_settled(
    store: Store, connection: Any
) -> None:
    """The claiming transaction may have started before that settlement."""
    task_id = await register_and_create_task(store, chain_template())
    worker = await ManualWorker.register(store)
    claim = await worker.claim_one()
    await connection.execute("begin; select now()")
    await worker.complete(claim)

    await connection.fetch("select claim_steps($1, 1, 0, '{}', '{}', '{}', '{}')", worker.id)
    await connection.execute("commit")

    parent, child, *_ = await store.list_steps(task_id)
    assert parent.settled_at is not None
    assert child.claimed_at is not None
    assert parent.settled_at <= child.claimed_at


async def test_a_task_ends_after_its_attempts(store: Store, connection: Any) -> None:
    """
    Even if the settlement that ends it began before the others.
    """
    task_id = await register_and_create_task(store, make_template("pair", a="", b=""))
    worker = await ManualWorker.register(store)
    first, last = await worker.claim()
    await connection.execute("begin; select now()")
    await worker.complete(first)

    await PostgresSession(connection).settle([completed_outcome(last, JsonText("1"))])
    await connection.execute("commit")

    task = await store.get_task(task_id)
    assert task.ended_at is not None
    assert (
        max(attempt.settled_at for attempt in await store.list_attempts(task_id)) <= task.ended_at
    )


async def test_each_action_of_an_operator_moves_updated_at_forward(
    store: Store, connection: Any
) -> None:
    """
    Even that of a transaction that began before the action it follows.
    """
    task_id = await register_and_create_task(store, chain_template())
    await connection.execute("begin; select now()")
    await store.cancel_task(task_id, NOTE)
    updated = "select updated_at from task where id = $1"
    before = await connection.fetchval(updated, task_id)

    await end_task_with_steps(PostgresSession(connection), task_id, StatusCode.CANCELLED)

    assert before < await connection.fetchval(updated, task_id)


async def test_updated_at_does_not_go_back_with_the_clock() -> None:
    """
    On SQLite, whose clock is the process's.
    """
    clock = Clock()
    async with SqliteStore("sqlite::memory:", clock=clock) as store:
        await store.upgrade_schema()
        task_id = await register_and_create_task(store, chain_template())
        await store.cancel_task(task_id, NOTE)
        before = await updated_at(store)
        clock.at = datetime(2029, 1, 1, tzinfo=UTC)

        await store._in_write_transaction(
            lambda tx: end_task_with_steps(tx, task_id, StatusCode.CANCELLED)
        )

        assert before < await updated_at(store)


async def updated_at(store: SqliteStore) -> float:
    updated: float = await store._in_shared_transaction(
        lambda on: on.execute("select updated_at from task").fetchone()[0]
    )
    return updated


class Clock:
    """A clock that can be set back."""

    at = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at
