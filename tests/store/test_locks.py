"""Rows that another transaction has locked: who passes them over, who waits, in which order."""

import asyncio
from typing import Any

import pytest
from tests.waiting import eventually

from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import ManualWorker, create, new_task, one, put

pytestmark = pytest.mark.anyio

BLOCKED = """
    select count(*) from pg_stat_activity where pg_backend_pid() = any (pg_blocking_pids(pid))
"""


async def test_a_claim_passes_over_a_step_that_another_has_locked(
    store: Store, connection: Any
) -> None:
    template = await put(store, one())
    locked, other = await create(store, template), await create(store, template)
    worker = await ManualWorker.hire(store)
    async with connection.transaction():
        await connection.fetch("select from step where task_id = $1 for update", locked)
        async with asyncio.timeout(10):
            claims = await worker.claim(1)

    assert [other] == [claim.task_id for claim in claims]


async def test_a_settlement_locks_its_steps_by_their_tasks(store: Store, connection: Any) -> None:
    """
    Not as its outcomes are given: two with the same steps would lock each other out.
    """
    template = await put(store, one())
    for _ in range(2):
        await create(store, template)
    worker = await ManualWorker.hire(store)
    first, last = sorted(await worker.claim())
    lock = "select from step where task_id = $1 for update"
    async with connection.transaction():
        await connection.fetch(lock, first.task_id)
        settling = asyncio.create_task(worker.complete(last, first))
        await eventually(lambda: connection.fetchval(BLOCKED))

        await connection.fetch(f"{lock} nowait", last.task_id)
    settled = await settling

    assert {first.task_id, last.task_id} == {end.task_id for end in settled.ended}


async def test_a_settlement_locks_the_tasks_that_it_may_end_by_their_ids(
    store: Store, connection: Any
) -> None:
    """
    In id order, not in storage order: otherwise two settlements of the same tasks could deadlock.
    """
    template = await put(store, one())
    first, last = sorted((new_task(template), new_task(template)), key=lambda new: new.id)
    await store.create_tasks([last])
    await store.create_tasks([first])
    worker = await ManualWorker.hire(store)
    claims = await worker.claim()
    async with connection.transaction():
        await connection.fetch("select from task where id = $1 for update", first.id)
        settling = asyncio.create_task(worker.fail(*claims))
        await eventually(lambda: connection.fetchval(BLOCKED))

        await connection.fetch("select from task where id = $1 for update nowait", last.id)
    settled = await settling

    assert {first.id, last.id} == {end.task_id for end in settled.ended}
