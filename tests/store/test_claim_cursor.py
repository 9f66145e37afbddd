"""Claims begin where the last one ended, and lose no step by it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasker.model import JsonText, QueueId, TaskId, Template, completed_outcome
from tasker.store.open import make_store
from tasker.store.postgres import claim_cursor
from tasker.store.postgres.address import Address
from tasker.store.postgres.claim_cursor import ClaimCursor, QueuePosition
from tasker.store.postgres.session import STATEMENTS
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    ManualWorker,
    chain_template,
    create_task,
    make_new_task,
    one_step_template,
    register_template,
)

pytestmark = pytest.mark.anyio

NEVER = 1e9  #: seconds until claims return to the beginning


def one_queue() -> Template:
    """A chain whose steps all have one handler, and so one queue."""
    template = chain_template()
    return replace(template, steps=tuple(replace(spec, callable="x") for spec in template.steps))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await Address.parse(url).connect()
    try:
        yield connection
    finally:
        await connection.close()


async def buffers(
    connection: Any, worker: ManualWorker, positions: dict[Any, QueuePosition]
) -> int:
    """Count the pages that a claim of one step reads, and roll it back."""
    text, names = STATEMENTS["claim_steps"]
    values = {
        "worker": worker.id,
        "limit": 1,
        "after": 0,
        "from_queues": list(positions),
        "from_run_at": [one.run_at for one in positions.values()],
        "from_tasks": [one.task_id for one in positions.values()],
        "from_nos": [one.no for one in positions.values()],
    }
    undone = connection.transaction()
    await undone.start()
    [(plan,)] = await connection.fetch(
        f"explain (analyze, buffers, costs off, format json) {text}",
        *[values[name] for name in names],
    )
    await undone.rollback()
    node = json.loads(plan)[0]["Plan"]
    return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])


async def test_a_claim_skips_entries_claimed_during_an_open_snapshot(
    postgres_schema_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Dead rows stay for as long as a transaction is older; from the beginning all are read.
    """
    monkeypatch.setattr(claim_cursor, "RESTART_AFTER", NEVER)
    monkeypatch.setattr(claim_cursor, "RESTART_AT_MOST", NEVER)
    async with make_store(postgres_schema_url) as store:
        await store.upgrade_schema()
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        async with connected(postgres_schema_url) as forgotten:
            await forgotten.execute("begin isolation level repeatable read")
            await forgotten.fetchval("select count(*) from task")
            await store.create_tasks([make_new_task(template) for _ in range(2000)])
            await asyncio.sleep(0.1)  # the cursor stays 50 ms behind the present
            for _ in range(19):
                await worker.complete(*await worker.claim(100))
            positions = store._cursors[worker.id].start_positions()  # type: ignore[attr-defined]
            async with connected(postgres_schema_url) as connection:
                again = await buffers(connection, worker, {})
                onward = await buffers(connection, worker, positions)

    assert 1 == len(positions)
    assert onward < 50
    assert again > 1000


async def test_a_step_that_this_process_frees_behind_its_cursor_is_claimed_next(
    postgres_schema_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Freed steps inherit the time of their task, which is before that of the last claim.
    """
    monkeypatch.setattr(claim_cursor, "RESTART_AFTER", NEVER)
    monkeypatch.setattr(claim_cursor, "RESTART_AT_MOST", NEVER)
    async with make_store(postgres_schema_url) as store:
        await store.upgrade_schema()
        template = await register_template(store, one_queue())
        for _ in range(4):
            await create_task(store, template)
        worker = await ManualWorker.register(store)
        first, second, third = await worker.claim(1), await worker.claim(1), await worker.claim(1)
        await worker.complete(*first)
        await worker.complete(*second, *third)

        freed = await worker.claim(3)

    assert {(claim.task_id, 2) for claim in (*first, *second, *third)} == {
        (claim.task_id, claim.no) for claim in freed
    }


async def test_a_step_that_another_process_frees_behind_the_cursor_is_claimed_within_the_bound(
    postgres_schema_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Until then the claim says when to look again.
    """
    now = 1000.0
    monkeypatch.setattr(claim_cursor, "monotonic", lambda: now)
    monkeypatch.setattr(claim_cursor, "RESTART_AFTER", 0.25)
    monkeypatch.setattr(claim_cursor, "RESTART_COST", 0)
    async with make_store(postgres_schema_url) as store, make_store(postgres_schema_url) as other:
        await store.upgrade_schema()
        template = await register_template(store, one_queue())
        for _ in range(2):
            await create_task(store, template)
        await asyncio.sleep(0.1)  # the cursor stays 50 ms behind the present
        worker = await ManualWorker.register(store)
        [first] = await worker.claim(1)
        await worker.claim(1)
        await other.settle(worker.id, [completed_outcome(first, JsonText("null"))])

        early = await store.claim(worker.id, 10)
        now += 0.25
        late = await store.claim(worker.id, 10)

    assert ([], 0.25) == (early.claims, early.next_due)
    assert [(first.task_id, 2)] == [(claim.task_id, claim.no) for claim in late.claims]


def test_a_cursor_restarts_at_the_documented_intervals() -> None:
    """
    However long the walk over dead rows takes.
    """
    pauses = []
    for cost in (0.001, 0.1, 30.0):
        cursor = ClaimCursor()
        cursor.note_restart(cost)
        pauses.append(cursor.seconds_until_restart())

    assert [0.2, 2.0, 10.0] == [round(pause, 1) for pause in pauses]


def test_a_cursor_moves_only_back_for_enqueued_steps() -> None:
    """
    A queue that nothing was claimed from has no cursor, so nothing is behind it.
    """
    used, unused = QueueId(10), QueueId(20)
    first, second = TaskId("a"), TaskId("b")
    cursor = ClaimCursor()
    cursor.note_restart(0.0)
    cursor.note_claimed(used, QueuePosition(5.0, second, 1))
    cursor.note_enqueued(used, QueuePosition(7.0, first, 1))
    cursor.note_enqueued(unused, QueuePosition(1.0, first, 1))
    ahead = dict(cursor.start_positions())
    cursor.note_enqueued(used, QueuePosition(5.0, first, 3))

    assert {used: QueuePosition(5.0, second, 1)} == ahead
    assert {used: QueuePosition(5.0, first, 3)} == cursor.start_positions()


async def test_a_step_that_an_operator_frees_behind_the_cursor_is_claimed_next(
    postgres_schema_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds in the operator's process; in others it is claimed within the bound."""
    monkeypatch.setattr(claim_cursor, "RESTART_AFTER", NEVER)
    monkeypatch.setattr(claim_cursor, "RESTART_AT_MOST", NEVER)
    async with make_store(postgres_schema_url) as store:
        await store.upgrade_schema()
        template = await register_template(store, one_queue())
        first, _ = [await create_task(store, template) for _ in range(2)]
        await asyncio.sleep(0.1)  # the cursor stays 50 ms behind the present
        worker = await ManualWorker.register(store)
        await worker.claim(1)
        await worker.claim(1)
        await store.resolve_step(first, 1, JsonText("1"), ACT)

        freed = await worker.claim()

    assert [(first, 2)] == [(claim.task_id, claim.no) for claim in freed]


async def test_a_claim_among_many_steps_reads_only_the_steps_that_it_claims(
    connection: Any, store: Store
) -> None:
    """
    With plans that were made while the tables were empty: not those of other queues, nor those
    that are not due.
    """
    await connection.execute("analyze")
    template, other = (
        await register_template(store, one_step_template()),
        await register_template(store, one_step_template("other")),
    )
    worker = await ManualWorker.register(store)
    await create_task(store, template)
    await buffers(connection, worker, {})  # which makes the plans
    late = datetime.now(UTC) + timedelta(hours=1)
    await store.create_tasks([make_new_task(template) for _ in range(3000)])
    await store.create_tasks([make_new_task(template, run_at=late) for _ in range(3000)])
    await store.create_tasks([make_new_task(other) for _ in range(3000)])

    read = await buffers(connection, worker, {})

    assert read < 60


async def test_cursors_of_ended_workers_are_dropped_when_another_one_claims(
    postgres_schema_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_store(postgres_schema_url) as store:
        await store.upgrade_schema()
        ended, living = await ManualWorker.register(store), await ManualWorker.register(store)
        await ended.claim(1)
        monkeypatch.setattr(claim_cursor, "UNUSED_AFTER", -NEVER)
        await living.claim(1)

    assert [living.id] == list(store._cursors)  # type: ignore[attr-defined]


async def test_cursors_of_workers_that_claim_are_kept(postgres_schema_url: str) -> None:
    async with make_store(postgres_schema_url) as store:
        await store.upgrade_schema()
        workers = [await ManualWorker.register(store) for _ in range(3)]
        for worker in workers:
            await worker.claim(1)

    assert [worker.id for worker in workers] == list(store._cursors)  # type: ignore[attr-defined]
