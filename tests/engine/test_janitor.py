"""Periodic duties: expired leases, deadlines, tasks that cannot go on."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.engine.factories import AT_ONCE, SOON, step, template

from tasker import LocalClient, StepStatus, TaskFailed, Worker
from tasker.engine.janitor import MOST_LOST
from tasker.model import AttemptOutcome, JsonText, lost, released
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("losses", "status"), [(MOST_LOST - 2, StepStatus.COMPLETE), (MOST_LOST - 1, StepStatus.ERROR)]
)
async def test_losses_have_a_bound_of_their_own(
    store: Store, losses: int, status: StepStatus
) -> None:
    """
    A step that may be attempted once survives nine workers, and fails with the tenth.
    """
    client = LocalClient(store)
    once = replace(AT_ONCE, max_attempts=1)
    await client.register(template("flow", step("only", retry=once)))
    task = await client.create_task("n.flow")
    dying = await store.register_worker("dying", lease=SOON, slots=1, handlers=[])
    queues = [no for queue in await store.queues() for no in queue.ids]
    for _ in range(losses):
        [claim] = (await store.claim(dying, queues, 1)).claims
        await store.settle(dying, [lost(claim, JsonText('{"code":"lost"}'), timedelta(0))])
    await store.claim(dying, queues, 1)
    await store.retire_worker(dying)

    async with Worker(store, [{"only": lambda: 1}], namespaces=["n"]):
        with suppress(TaskFailed):
            await client.wait(task.id, timeout=SOON)
        [step_] = await client.steps(task.id)

    assert status == step_.status


async def test_released_attempts_do_not_count_when_the_last_is_lost(store: Store) -> None:
    client = LocalClient(store)
    await client.register(template("flow", step("only", retry=AT_ONCE)))
    task = await client.create_task("n.flow")
    worker = await store.register_worker("other", lease=SOON, slots=1, handlers=[])
    queues = [no for queue in await store.queues() for no in queue.ids]
    for _ in range(AT_ONCE.max_attempts):
        [claim] = (await store.claim(worker, queues, 1)).claims
        await store.settle(worker, [released(claim)])
    [claim] = (await store.claim(worker, queues, 1)).claims
    await store.retire_worker(worker)

    async with Worker(store, [{"only": lambda: 1}], namespaces=["n"]):
        await client.wait(task.id, timeout=SOON)
        [step_] = await client.steps(task.id)
        outcomes = [row.outcome for row in await client.history(task.id)]

    assert (StepStatus.COMPLETE, 5) == (step_.status, step_.attempts)
    assert [AttemptOutcome.RELEASED] * 3 + [
        AttemptOutcome.LOST,
        AttemptOutcome.COMPLETE,
    ] == outcomes
