"""Who deletes the rows of each table: all tables are named, and pruning leaves nothing."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tasker.durable import DurableCallKind, NewDurableCall
from tasker.model import JsonText
from tasker.store.open import make_store
from tasker.store.ownership import KEPT, OF_OPEN_TASKS, OF_TASK
from tasker.store.postgres.address import Address
from tasker.store.postgres.store import PostgresStore
from tasker.store.protocol import Store
from tasker.store.sqlite.store import SqliteStore
from tasker.testing.store_suite.factories import (
    ACT,
    ManualWorker,
    chain_template,
    create_task,
    make_template,
    one_step_template,
    register_template,
)
from tasker.waits import NewSignal

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """An empty store of each kind."""
    async with make_store(store_url) as store:
        await store.upgrade_schema()
        yield store


async def query(store: Store, text: str) -> list[Any]:
    """Run a statement behind the store's back."""
    if isinstance(store, PostgresStore):
        connection = await Address.parse(store.address.dsn).connect()
        await connection.execute(f'set search_path to "{store.address.schema}"')
        rows = await connection.fetch(text)
        await connection.close()
        return list(rows)
    assert isinstance(store, SqliteStore)
    return await store._in_shared_transaction(lambda on: on.execute(text).fetchall())


async def tables(store: Store) -> set[str]:
    catalogue = (
        "select tablename from pg_tables where schemaname = current_schema()"
        if isinstance(store, PostgresStore)
        else "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"
    )
    return {row[0] for row in await query(store, catalogue)}


async def test_every_table_has_an_owner_that_deletes_its_rows(store: Store) -> None:
    of_open_tasks = set(OF_OPEN_TASKS) if isinstance(store, PostgresStore) else set()

    assert await tables(store) == {*OF_TASK, *KEPT, *of_open_tasks}


async def test_pruning_all_ended_tasks_deletes_all_their_rows(store: Store) -> None:
    """For every outcome: completed, failed, retried, parked, cancelled, resolved."""
    single, child = (
        await register_template(store, one_step_template()),
        await register_template(store, make_template("child", x="")),
    )
    tasks = [
        await create_task(store, single, idempotency_key=f"k{n}", attributes={"n": str(n)})
        for n in range(5)
    ]
    worker = await ManualWorker.register(store, handlers={"only"})
    claims = {claim.task_id: claim for claim in await worker.claim()}
    awaited = await create_task(store, child)
    await store.record_durable_calls(
        [NewDurableCall(*claims[tasks[0]].attempt_key, "a", DurableCallKind.ONCE)]
    )
    await store.send_signal(NewSignal(tasks[0], "paid", JsonText("1")), ACT)
    await store.park_until_task_ends(claims[tasks[0]], awaited)
    await worker.fail(claims[tasks[1]], claims[tasks[2]])
    await store.resolve_task(tasks[1], ACT)
    await store.retry_steps(tasks[2], ACT)
    await store.cancel_task(tasks[3], ACT)
    await store.resolve_step(tasks[4], 1, None, ACT)
    await create_task(store, await register_template(store, chain_template()))
    await (await ManualWorker.register(store)).complete_all_due()
    newest = await store.get_task(tasks[2])
    assert newest.ended_at is not None

    pruned = await store.prune_tasks(ended_before=newest.ended_at + timedelta(days=1))

    assert 7 == pruned
    owned = {*OF_TASK, *OF_OPEN_TASKS} & await tables(store)
    left = {table: (await query(store, f"select count(*) from {table}"))[0][0] for table in owned}
    assert dict.fromkeys(owned, 0) == left
