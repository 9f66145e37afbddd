"""Periodic duties: expired leases, deadlines, tasks that cannot go on."""

import pytest
from tests.engine.factories import AT_ONCE, SOON, step, template

from tasker import LocalClient, StepStatus, Worker
from tasker.model import AttemptOutcome, released
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


async def test_released_attempts_do_not_count_when_the_last_is_lost(store: Store) -> None:
    client = LocalClient(store)
    await client.register(template("flow", step("only", retry=AT_ONCE)))
    task = await client.create_task("n.flow")
    worker = await store.register_worker("other", lease=SOON, slots=1, handlers=[])
    queues = [queue.id for queue in await store.queues()]
    for _ in range(AT_ONCE.max_attempts):
        [claim] = (await store.claim(worker, queues, 1)).claims
        await store.settle(worker, [released(claim)])
    [claim] = (await store.claim(worker, queues, 1)).claims
    await store.retire_worker(worker)

    async with Worker(store, [{"only": lambda: 1}]):
        await client.wait(task.id, timeout=SOON)
        [step_] = await client.steps(task.id)
        outcomes = [row.outcome for row in await client.history(task.id)]

    assert (StepStatus.COMPLETE, 5) == (step_.status, step_.attempts)
    assert [AttemptOutcome.RELEASED] * 3 + [
        AttemptOutcome.LOST,
        AttemptOutcome.COMPLETE,
    ] == outcomes
