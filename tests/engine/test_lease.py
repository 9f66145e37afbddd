"""A worker's lease: kept, lost, opened again, ended."""

import pytest
from tests.engine.factories import Unreliable, template
from tests.waiting import eventually

from tasker import LocalClient, StepStatus, Worker
from tasker.model import AttemptOutcome
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("flow", "only")


async def test_a_stopped_worker_releases_claims_whose_reply_was_lost(memory: Store) -> None:
    store = Unreliable(memory)
    async with Worker(store, [{"only": lambda: 1}], templates=[FLOW]) as worker:
        await eventually(lambda: "wait_for_work" in store.calls)
        store.lose("claim")
        store.refuse("schema_status", 1_000_000)  # so that it cannot recover the claim before
        task = await LocalClient(memory).create_task("n.flow")
        await eventually(lambda: memory.held(worker.id))
        worker.stop()

    [step] = await memory.list_steps(task.id)
    [attempt] = await memory.history(task.id)
    assert (StepStatus.ENQUEUED, 1) == (step.status, step.attempts)
    assert AttemptOutcome.RELEASED == attempt.outcome
