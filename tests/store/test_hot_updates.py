"""The updates that every step has write no index of `step` on PostgreSQL."""

from typing import Any

import pytest

from tasker.model import JsonText, completed_outcome
from tasker.store.open import make_store
from tasker.store.postgres.hotpath import HotPath
from tasker.testing.store_suite.factories import (
    ManualWorker,
    chain_template,
    create_task,
    register_template,
)

pytestmark = pytest.mark.anyio

UPDATES = """
    select n_tup_upd as updates, n_tup_hot_upd as heap_only from pg_stat_user_tables
    where schemaname = current_schema() and relname = 'step'
"""


@pytest.mark.parametrize("scalar", [False, True], ids=["batches", "scalar"])
@pytest.mark.parametrize("freed_for_caller", [0, 10])
async def test_a_step_that_succeeds_is_updated_twice_without_touching_an_index(
    connection: Any,
    postgres_schema_url: str,
    monkeypatch: pytest.MonkeyPatch,
    scalar: bool,
    freed_for_caller: int,
) -> None:
    """
    A root when it is claimed and settled; its descendants when they are freed for the settling
    worker and settled, or one time more when another statement claims them.
    """
    monkeypatch.setattr(HotPath, "SCALAR", scalar)
    async with make_store(postgres_schema_url) as store:
        template = await register_template(store, chain_template())
        for _ in range(2):
            await create_task(store, template)
        worker = await ManualWorker.register(store)
        while claims := await worker.claim():
            while claims:
                ended, *claims = claims
                settled = await worker.settle(
                    completed_outcome(ended, JsonText("1")), claim_up_to=freed_for_caller
                )
                claims += settled.claims

    await connection.execute("select pg_stat_force_next_flush()")
    row = await connection.fetchrow(UPDATES)

    roots, others = 2, 4
    expected = 2 * roots + (2 if freed_for_caller else 3) * others
    assert (expected, expected) == (row["updates"], row["heap_only"])
