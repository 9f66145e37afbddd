"""Many workers, many operators, at once: every step is done once, every task ends."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from tests.engine.factories import of_kind, step, template
from tests.waiting import eventually

from tasker import LocalClient, TaskRequest, TaskStatus, Worker, WorkerSettings, open_store
from tasker.errors import Rejected
from tasker.model import AttemptOutcome, StepStatus, Task
from tasker.notices import Notice, SettlementRejected, StepStarted
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

DIAMOND = template(
    "diamond",
    step("top", callable="work"),
    *(step(f"middle_{n}", "top", callable="work") for n in range(3)),
    step("bottom", *(f"middle_{n}" for n in range(3)), callable="work"),
)


async def work() -> str:
    await asyncio.sleep(0)
    return "done"


async def ended(store: Store, tasks: list[Task]) -> bool:
    return all([(await store.get_task(task.id)).has_ended for task in tasks])


async def test_workers_share_tasks_but_never_a_step(url: str) -> None:
    """Each worker has its own connection, and all compete for the same steps."""
    events: list[Notice] = []
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(url, upgrade=True))
        await LocalClient(store).register(DIAMOND)
        for _ in range(3):
            own = store
            if url.startswith("postgres"):
                own = await stack.enter_async_context(open_store(url))
            settings = WorkerSettings(slots=7)
            await stack.enter_async_context(
                Worker(
                    own,
                    [{"work": work}],
                    namespaces=["n"],
                    observers=[events.append],
                    settings=settings,
                )
            )
        requests = [TaskRequest(template="n.diamond") for _ in range(60)]
        tasks = await LocalClient(store).create_tasks(requests)
        await eventually(lambda: ended(store, tasks))
        histories = [await store.list_attempts(task.id) for task in tasks]

    assert {(1, AttemptOutcome.COMPLETE)} == {
        (row.attempt, row.outcome) for history in histories for row in history
    }
    started = Counter((e.task_id, e.step, e.attempt) for e in of_kind(StepStarted, events))
    assert ({1}, 5 * 60) == (set(started.values()), len(started))
    assert [] == of_kind(SettlementRejected, events)


async def test_operators_may_act_on_running_tasks(store: Store) -> None:
    """
    They are refused only by status, and never see a deadlock. Each task ends according to the last
    action.
    """
    rng = random.Random(7)
    client = LocalClient(store)

    async def flaky() -> str:
        for _ in range(rng.randrange(200)):
            await asyncio.sleep(0)
        if rng.random() < 0.2:
            raise ValueError("now and then")
        return "done"

    async def operator(tasks: list[Task]) -> int:
        acted = 0
        for _ in range(25):
            task = rng.choice(tasks)
            name = rng.choice(DIAMOND.steps).name
            acts = (
                lambda: client.cancel(task.id),  # noqa: B023 - called at once
                lambda: client.retry(task.id),  # noqa: B023
                lambda: client.resolve(task.id, name, "by hand"),  # noqa: B023
                lambda: client.complete_step(task.id, name, "by hand"),  # noqa: B023
                lambda: client.resolve(task.id),  # noqa: B023
            )
            try:
                await rng.choice(acts)()
                acted += 1
            except Rejected:
                await asyncio.sleep(0)
        return acted

    await client.register(DIAMOND)
    tasks = await client.create_tasks([TaskRequest(template="n.diamond") for _ in range(40)])
    async with Worker(
        store, [{"work": flaky}], namespaces=["n"], settings=WorkerSettings(slots=10)
    ):
        acted = await asyncio.gather(*(operator(tasks) for _ in range(8)))
        await eventually(lambda: ended(store, tasks))
        await eventually(lambda: _none_running(store))

    assert sum(acted)
    for task in tasks:
        ended_task = await client.get(task.id)
        states = Counter(step.status for step in await client.steps(task.id))
        running = states[StepStatus.IN_PROGRESS] + states[StepStatus.ENQUEUED]
        assert 0 == running
        if ended_task.status is TaskStatus.COMPLETE:
            assert 5 == states[StepStatus.COMPLETE] + states[StepStatus.RESOLVED_MANUALLY]
        elif ended_task.status is TaskStatus.ERROR:
            assert states[StepStatus.ERROR]
        numbers = [(row.no, row.attempt) for row in await client.attempts(task.id)]
        assert len(numbers) == len(set(numbers))


async def _none_running(store: Store) -> bool:
    return not any(info.running for info in await store.list_workers())
