"""Limits are exact while several connections claim, settle and lose attempts."""

import asyncio
import random
from dataclasses import replace

import pytest

from tasker import Limit
from tasker.model import Claim, LimitKey, LimitValues, released_outcome
from tasker.store.open import make_store
from tasker.store.postgres.address import Address
from tasker.testing.store_suite.factories import (
    ManualWorker,
    make_new_task,
    one_step_template,
    register_template,
)

pytestmark = pytest.mark.anyio

KEYS, LIMIT, TASKS = 5, 3, 300


async def test_no_commit_shows_more_steps_than_a_limit_allows(postgres_schema_url: str) -> None:
    """Counted by a connection of its own; every step ends, although attempts are released."""
    url = postgres_schema_url
    drawn = random.Random(7)
    async with make_store(url) as store, make_store(url) as second, make_store(url) as third:
        await store.upgrade_schema()
        limited = replace(one_step_template().steps[0], limits=(Limit("declared"),))
        template = await register_template(store, replace(one_step_template(), steps=(limited,)))
        await store.create_tasks(
            [
                make_new_task(
                    template,
                    limits={
                        1: (
                            (LimitKey("suite", "all"), LimitValues(concurrency=2 * LIMIT)),
                            (LimitKey("suite", f"k{n % KEYS}"), LimitValues(concurrency=LIMIT)),
                        )
                    },
                )
                for n in range(TASKS)
            ]
        )
        workers = [await ManualWorker.register(each) for each in (store, second, third)]
        done: set[str] = set()
        most = {"by key": 0, "all": 0}

        async def work(worker: ManualWorker) -> None:
            while len(done) < TASKS:
                claims = await worker.claim_limited(drawn.randint(1, 8))
                kept: list[Claim] = []
                for claim in claims:
                    if drawn.random() < 0.1:
                        await worker.settle(released_outcome(claim))
                    else:
                        kept.append(claim)
                if kept:
                    await worker.complete(*kept)
                    done.update(claim.task_id for claim in kept)

        async def count() -> None:
            connection = await Address.parse(url).connect()
            try:
                while len(done) < TASKS:
                    rows = await connection.fetch(
                        "select count(*) as n from step where state = 2 group by gate_id"
                    )
                    counts = [row["n"] for row in rows]
                    most["by key"] = max([most["by key"], *counts])
                    most["all"] = max(most["all"], sum(counts))
            finally:
                await connection.close()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(count())
            for worker in workers:
                group.create_task(work(worker))

    assert TASKS == len(done)
    assert 0 < most["by key"] <= LIMIT
    assert most["all"] <= 2 * LIMIT
