"""PostgreSQL plans the statements that look up rows by their keys once per connection.

That these plans use indexes is shown for all statements in test_statements.py.
"""

import pytest

from tasker.model import JsonText, completed_outcome
from tasker.store.postgres.store import PostgresStore
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ManualWorker,
    chain_template,
    create_task,
    register_template,
)

pytestmark = pytest.mark.anyio

LOOK_UPS = 6  #: statements; an ended task takes two


async def test_looking_up_a_task_plans_each_statement_once(store: Store) -> None:
    assert isinstance(store, PostgresStore)
    task_id = await create_task(store, await register_template(store, chain_template()))
    worker = await ManualWorker.register(store)
    while claims := await worker.claim():
        await worker.settle(*(completed_outcome(claim, JsonText("1")) for claim in claims))

    for _ in range(10):
        await store.get_task(task_id)
        await store.find_ended_tasks([task_id])
        await store.load_task_inputs([task_id])
        await store.load_step_results({task_id: [1]})
        await store.load_runtime_steps({task_id: [1]})

    async with store._look_ups.acquire() as connection:
        looked_up = await connection.fetch(
            "select generic_plans, custom_plans from pg_prepared_statements"
            " where generic_plans = 10"
        )
    assert [(10, 0)] * LOOK_UPS == [tuple(row) for row in looked_up]
