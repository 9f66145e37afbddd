"""Settlements: batched, repeated after a lost reply, and isolated from what cannot be stored."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from tests.engine.factories import SOON, Unreliable, step, template
from tests.waiting import eventually

from tasker import Worker, WorkerSettings
from tasker.model import AttemptOutcome
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

SHORT = WorkerSettings(lease=timedelta(seconds=1))
AWAY = ("settle", "schema_status", "renew", "held", "expired", "sweep")
CHAIN = template("chain", step("first"), step("second", "first"))


class Recording(Unreliable):
    """A store that records how many steps each settlement may claim."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.claim_up_to: list[int] = []

    async def settle(self, worker: Any, outcomes: Any, **options: Any) -> Any:
        reply = await Unreliable.__getattr__(self, "settle")(worker, outcomes, **options)
        self.claim_up_to.append(options.get("claim_up_to", 0))
        return reply


async def test_an_outcome_is_settled_under_the_former_lease(memory: Store) -> None:
    """
    The store has not got it, and lists its claim under the id of the lease before.
    """
    store = Unreliable(memory)
    async with Worker(
        store, [{"only": lambda: 1}], templates=[template("flow", "only")], settings=SHORT
    ) as worker:
        before = worker.id
        for name in AWAY:
            store.refuse(name, 1_000_000)
        task = await worker.client.create_task("n.flow")
        await eventually(lambda: worker.id != before)
        for name in AWAY:
            if name != "expired":  # nobody else takes the step over
                store.refuse(name, 0)
        await worker.client.wait(task.id, timeout=SOON)
        history = await memory.history(task.id)

    assert [AttemptOutcome.COMPLETE] == [row.outcome for row in history]


async def test_a_settlement_without_a_lease_claims_nothing(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    release = asyncio.Event()

    async def first() -> None:
        await release.wait()

    store = Recording(memory)
    async with Worker(
        store, [{"first": first, "second": lambda: 1}], templates=[CHAIN], settings=SHORT
    ) as worker:
        task = await worker.client.create_task("n.chain")
        for name in (*AWAY, "register_worker"):
            store.refuse(name, 1_000_000)
        release.set()
        await eventually(lambda: "lease_lost" in caplog.messages)
        for name in ("settle", "schema_status", "held"):
            store.refuse(name, 0)
        await eventually(lambda: store.claim_up_to)
        for name in ("renew", "expired", "sweep", "register_worker"):
            store.refuse(name, 0)
        await worker.client.wait(task.id, timeout=SOON)

    assert 0 == store.claim_up_to[0]
