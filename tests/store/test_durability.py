"""Which commits wait for the disk."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tasker.model import JsonText, Outcome, completed_outcome, failed_outcome, retry_outcome
from tasker.store.postgres.session import STATEMENTS, settlement_parameters
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ERROR,
    ManualWorker,
    make_template,
    register_and_create_task,
)

pytestmark = pytest.mark.anyio

PAIR = make_template("pair", a="", b="a")
LATER = timedelta(seconds=1)
ALL_RELAXED = ("settle_outcomes_without_fsync", "settle_success_without_fsync")


async def commit_of(
    connection: Any, statement: str, worker: ManualWorker, outcomes: Sequence[Outcome]
) -> str:
    """Settle in a transaction that is rolled back; return its `synchronous_commit` at the end."""
    text, names = STATEMENTS[statement]
    values = settlement_parameters(worker.id, outcomes, claim_up_to=1)
    if "success" in statement:
        task_id, no, attempt, _, result, *_ = outcomes[0]
        values |= {"task": task_id, "no": no, "attempt": attempt, "result": result}
    transaction = connection.transaction()
    await transaction.start()
    await connection.fetch(text, *[values[name] for name in names])
    shown = str(await connection.fetchval("show synchronous_commit"))
    await transaction.rollback()
    return shown


@pytest.mark.parametrize("statement", ["settle_outcomes", "settle_success", *ALL_RELAXED])
async def test_a_settlement_that_ends_a_task_is_flushed_to_disk(
    store: Store, connection: Any, statement: str
) -> None:
    """The one before it, which only frees a step, waits unless it is relaxed."""
    await register_and_create_task(store, PAIR)
    worker = await ManualWorker.register(store)
    first = await worker.claim_one()
    of_first = await commit_of(
        connection, statement, worker, [completed_outcome(first, JsonText("1"))]
    )
    await worker.complete(first)
    last = await worker.claim_one()
    of_last = await commit_of(
        connection, statement, worker, [completed_outcome(last, JsonText("1"))]
    )

    assert ("off" if statement in ALL_RELAXED else "on", "on") == (of_first, of_last)
    assert "on" == await connection.fetchval("show synchronous_commit")


async def test_a_relaxed_settlement_of_many_outcomes_is_flushed_if_one_ends_a_task(
    store: Store, connection: Any
) -> None:
    for _ in range(3):
        await register_and_create_task(store, PAIR)
    worker = await ManualWorker.register(store)
    first, second, third = await worker.claim()
    await worker.complete(third)
    last = await worker.claim_one()

    async def settled(*outcomes: Outcome) -> str:
        return await commit_of(connection, "settle_outcomes_without_fsync", worker, outcomes)

    done = completed_outcome(first, JsonText("1"))
    assert "off" == await settled(done, retry_outcome(second, ERROR, LATER))
    assert "on" == await settled(done, completed_outcome(last, JsonText("1")))
    assert "on" == await settled(done, failed_outcome(second, ERROR))


async def test_a_relaxed_settlement_with_only_refused_outcomes_writes_nothing(
    store: Store, connection: Any
) -> None:
    await register_and_create_task(store, PAIR)
    worker = await ManualWorker.register(store)
    first = await worker.claim_one()
    await worker.complete(first)
    again = await store.settle(worker.id, [completed_outcome(first, JsonText("2"))], relaxed=True)

    assert [0] == list(again.rejected)
