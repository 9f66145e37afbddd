"""Creations that arrive while another is in progress are stored together."""

import asyncio
from collections.abc import Sequence

import pytest
from tests.waiting import eventually

from tasker.errors import IdempotencyConflict, NotFound, StoreUnavailable
from tasker.model import Claim, CreateTasksResult, NewTask, TaskId, TemplateId
from tasker.store.creations import CreationBatcher, CreationBlocked, CreationRequest
from tasker.store.open import make_store
from tasker.store.postgres.address import Address
from tasker.store.postgres.store import PostgresStore
from tasker.testing.store_suite.factories import (
    ManualWorker,
    make_new_task,
    one_step_template,
    register_template,
)

pytestmark = pytest.mark.anyio

TEMPLATE = TemplateId(1)


class Recording:
    """A store that holds creations up until its gate is opened, and records them."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.calls: list[list[TaskId]] = []
        self.rejected: dict[TaskId, Exception] = {}

    async def __call__(self, creation: CreationRequest, impatient: bool) -> CreateTasksResult:
        ids = [task.id for task in creation.tasks]
        self.calls.append(ids)
        await self.gate.wait()
        for task_id in ids:
            error = self.rejected.get(task_id)
            if error is not None and (impatient or not isinstance(error, CreationBlocked)):
                raise error
        claims = [Claim(task_id, 1, 1, 1) for task_id in ids[: creation.claim_up_to]]
        return CreateTasksResult([(task_id, True) for task_id in ids], claims)


def creation(*tasks: NewTask, claim_up_to: int = 0) -> CreationRequest:
    return CreationRequest(tasks, None, claim_up_to)


async def under_way(
    creations: CreationBatcher, store: Recording, *waiting: CreationRequest
) -> list["asyncio.Task[CreateTasksResult]"]:
    """Let one creation be in progress while others arrive."""
    calls = [asyncio.create_task(creations.create_tasks(creation(make_new_task(TEMPLATE))))]
    await eventually(lambda: store.calls)
    calls += [asyncio.create_task(creations.create_tasks(one)) for one in waiting]
    await asyncio.sleep(0)
    return calls


def ids(parts: Sequence[CreationRequest]) -> list[TaskId]:
    return [task.id for part in parts for task in part.tasks]


async def test_concurrent_creations_are_limited() -> None:
    store = Recording()
    creations = CreationBatcher(store, at_once=2)
    tasks = [make_new_task(TEMPLATE) for _ in range(4)]
    calls = []
    for task in tasks:
        calls.append(asyncio.create_task(creations.create_tasks(creation(task))))
        await asyncio.sleep(0)
    await eventually(lambda: len(store.calls) == 2)
    store.gate.set()
    await asyncio.gather(*calls)
    first, second, *together = [task.id for task in tasks]
    assert [[first], [second], together] == store.calls


async def test_a_creation_that_arrives_as_the_last_one_ends_is_stored() -> None:
    store = Recording()
    store.gate.set()
    creations = CreationBatcher(store)

    async def create_again() -> CreateTasksResult:
        await creations.create_tasks(creation(make_new_task(TEMPLATE)))
        return await creations.create_tasks(
            creation(make_new_task(TEMPLATE))
        )  # before any other callback runs

    created = await asyncio.wait_for(create_again(), 60)
    assert 1 == len(created.tasks)


async def test_creations_that_arrive_during_another_are_stored_together() -> None:
    store = Recording()
    waiting = [
        creation(make_new_task(TEMPLATE), make_new_task(TEMPLATE)),
        creation(make_new_task(TEMPLATE)),
    ]
    calls = await under_way(CreationBatcher(store), store, *waiting)
    store.gate.set()
    _, *replies = await asyncio.gather(*calls)

    assert [1, 3] == [len(call) for call in store.calls]
    assert [ids([part]) for part in waiting] == [
        [task_id for task_id, _ in reply.tasks] for reply in replies
    ]


async def test_each_caller_receives_the_claims_of_its_own_tasks() -> None:
    store = Recording()
    waiting = [creation(make_new_task(TEMPLATE), claim_up_to=1) for _ in range(3)]
    calls = await under_way(CreationBatcher(store), store, *waiting)
    store.gate.set()
    _, *replies = await asyncio.gather(*calls)

    assert [ids([part]) for part in waiting] == [
        [claim.task_id for claim in reply.claims] for reply in replies
    ]


async def test_each_refused_creation_receives_its_own_error() -> None:
    store = Recording()
    waiting = [creation(make_new_task(TEMPLATE)) for _ in range(4)]
    first, second = ids(waiting)[1:3]
    store.rejected = {first: IdempotencyConflict("one"), second: NotFound("two")}
    calls = await under_way(CreationBatcher(store), store, *waiting)
    store.gate.set()
    _, *replies = await asyncio.gather(*calls, return_exceptions=True)

    assert [CreateTasksResult, IdempotencyConflict, NotFound, CreateTasksResult] == [
        type(reply) for reply in replies
    ]


async def test_a_lost_reply_fails_all_callers_and_nothing_is_stored_twice() -> None:
    """
    Whether the tasks exist is not known; callers that try again use the same ids.
    """
    store = Recording()
    waiting = [creation(make_new_task(TEMPLATE)) for _ in range(2)]
    store.rejected = {ids(waiting)[0]: StoreUnavailable("lost")}
    calls = await under_way(CreationBatcher(store), store, *waiting)
    store.gate.set()
    _, *replies = await asyncio.gather(*calls, return_exceptions=True)

    assert [StoreUnavailable, StoreUnavailable] == [type(reply) for reply in replies]
    assert [1, 2] == [len(call) for call in store.calls]


async def test_a_cancelled_caller_does_not_affect_the_others() -> None:
    store = Recording()
    waiting = [creation(make_new_task(TEMPLATE)) for _ in range(3)]
    calls = await under_way(CreationBatcher(store), store, *waiting)
    calls[0].cancel()
    calls[2].cancel()
    await asyncio.sleep(0)
    store.gate.set()
    await asyncio.gather(*calls, return_exceptions=True)

    assert ids([waiting[0], waiting[2]]) == store.calls[1]
    assert [True, False, True, False] == [call.cancelled() for call in calls]


async def test_creations_that_would_wait_for_others_are_stored_separately() -> None:
    store = Recording()
    waiting = [creation(make_new_task(TEMPLATE)) for _ in range(2)]
    store.rejected = {ids(waiting)[0]: CreationBlocked("the key is taken by another transaction")}
    calls = await under_way(CreationBatcher(store), store, *waiting)
    store.gate.set()
    replies = await asyncio.gather(*calls)

    assert 3 == len(replies)
    assert [1, 2, 1, 1] == [len(call) for call in store.calls]


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with_others"])
async def test_a_locked_key_does_not_delay_other_creations(
    postgres_schema_url: str, alone: bool
) -> None:
    """Whether the creation that waits for it was stored alone, or together with others."""
    async with make_store(postgres_schema_url) as store:
        assert isinstance(store, PostgresStore)
        await store.upgrade_schema()
        template = await register_template(store, one_step_template())
        connection = await Address.parse(postgres_schema_url).connect()
        transaction = connection.transaction()
        await transaction.start()
        holder = make_new_task(template, idempotency_key="k")
        await store.create_tasks([holder], connection=connection)

        same = asyncio.create_task(
            store.create_tasks([make_new_task(template, idempotency_key="k")])
        )
        if alone:
            await eventually(lambda: not store._dedicated.is_free)
        others = await asyncio.gather(
            *(store.create_tasks([make_new_task(template)]) for _ in range(20))
        )
        waits = not same.done()
        await transaction.commit()
        await connection.close()
        (holder_of_key,) = (await same).tasks

    assert [True] * 20 == [created.tasks[0][1] for created in others]
    assert waits
    assert (holder.id, False) == holder_of_key


async def test_tasks_that_are_created_concurrently_all_run(store_url: str) -> None:
    async with make_store(store_url) as store:
        await store.upgrade_schema()
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        made = await asyncio.gather(
            *(
                store.create_tasks([make_new_task(template)], worker=worker.id, claim_up_to=n % 2)
                for n in range(60)
            )
        )
        claimed = [claim.task_id for created in made for claim in created.claims]
        rest = [claim.task_id for claim in await worker.claim()]

    tasks = {task_id for created in made for task_id, _ in created.tasks}
    assert 60 == len(tasks)
    assert 30 == len(claimed)
    assert sorted(tasks) == sorted([*claimed, *rest])
