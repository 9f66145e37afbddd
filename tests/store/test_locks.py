"""Rows that another transaction has locked: who passes them over, who waits, in which order."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
from tests.waiting import eventually

from tasker.errors import LeaseLost
from tasker.model import (
    AtCapacityAction,
    JsonText,
    LimitKey,
    OpenTaskBound,
    PauseTarget,
    StepSpec,
    TaskId,
    Template,
    lost_outcome,
    released_outcome,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.contradictions import find_contradictions
from tasker.testing.store_suite.factories import (
    ACT,
    ManualWorker,
    create_task,
    make_new_task,
    one_step_template,
    register_template,
)

pytestmark = pytest.mark.anyio

EnqueueAgain: TypeAlias = Callable[[Store, ManualWorker, TaskId], Awaitable[None]]

BLOCKED = """
    select count(*) from pg_stat_activity where pg_backend_pid() = any (pg_blocking_pids(pid))
"""

HOLD_PLACES = """
    create function hold_place() returns trigger language plpgsql as $$ begin
        while not pg_try_advisory_xact_lock_shared(7) loop
            perform pg_sleep(0.01);
        end loop;
        return new;
    end $$;
    create trigger hold_place before insert on task_place for each row
    when (new.task_id = '{task_id}') execute function hold_place()
"""
RENEWAL_WAITS = "select count(*) from pg_locks where not granted"

PLACE_TAKEN = """
    select count(*) from pg_locks
    where relation = 'task_place'::regclass and mode = 'RowExclusiveLock' and granted
"""
PLACE_AWAITED = """
    select count(*) from pg_locks
    where not granted and pg_blocking_pids(pid) && array(
        select pid from pg_locks where relation = 'task_place'::regclass
    )
"""


async def test_a_claim_skips_a_locked_step(store: Store, connection: Any) -> None:
    template = await register_template(store, one_step_template())
    locked, other = await create_task(store, template), await create_task(store, template)
    worker = await ManualWorker.register(store)
    async with connection.transaction():
        await connection.fetch("select from step where task_id = $1 for update", locked)
        async with asyncio.timeout(60):
            claims = await worker.claim(1)

    assert [other] == [claim.task_id for claim in claims]


async def test_a_settlement_locks_its_steps_in_order_of_their_tasks(
    store: Store, connection: Any
) -> None:
    """Otherwise two settlements of the same steps could deadlock."""
    template = await register_template(store, one_step_template())
    for _ in range(2):
        await create_task(store, template)
    worker = await ManualWorker.register(store)
    first, last = sorted(await worker.claim())
    lock = "select from step where task_id = $1 for update"
    async with connection.transaction():
        await connection.fetch(lock, first.task_id)
        settling = asyncio.create_task(worker.complete(last, first))
        await eventually(lambda: connection.fetchval(BLOCKED))

        await connection.fetch(f"{lock} nowait", last.task_id)
    settled = await settling

    assert {first.task_id, last.task_id} == {end.task_id for end in settled.ended}


async def test_a_settlement_locks_the_tasks_that_it_may_end_in_order_of_their_ids(
    store: Store, connection: Any
) -> None:
    """
    In id order, not in storage order: otherwise two settlements of the same tasks could deadlock.
    """
    template = await register_template(store, one_step_template())
    first, last = sorted((make_new_task(template), make_new_task(template)), key=lambda new: new.id)
    await store.create_tasks([last])
    await store.create_tasks([first])
    worker = await ManualWorker.register(store)
    claims = await worker.claim()
    async with connection.transaction():
        await connection.fetch("select from task where id = $1 for update", first.id)
        settling = asyncio.create_task(worker.fail(*claims))
        await eventually(lambda: connection.fetchval(BLOCKED))

        await connection.fetch("select from task where id = $1 for update nowait", last.id)
    settled = await settling

    assert {first.id, last.id} == {end.task_id for end in settled.ended}


async def test_a_renewal_does_not_undo_the_end_of_a_lease_that_it_waited_for(
    store: Store, connection: Any
) -> None:
    worker = await ManualWorker.register(store)
    retire = "update worker set lease_until = clock_timestamp() where id = $1"
    async with connection.transaction():
        await connection.execute("select from worker where id = $1 for update", worker.id)
        renewing = asyncio.create_task(store.renew_lease(worker.id, [], lease=timedelta(minutes=1)))
        await eventually(lambda: connection.fetchval(RENEWAL_WAITS))
        await connection.execute(retire, worker.id)

    with pytest.raises(LeaseLost):
        await renewing


async def test_creations_under_a_bound_of_open_tasks_come_one_after_the_other(
    store: Store, connection: Any
) -> None:
    """The second counts the first, although that was not committed when the second began."""
    place = OpenTaskBound(LimitKey("suite", "customer:acme"), 1, AtCapacityAction.WAIT)
    template = await register_template(store, one_step_template())
    worker = await ManualWorker.register(store)
    first, second = (make_new_task(template, place=place) for _ in range(2))
    await connection.execute(HOLD_PLACES.format(task_id=first.id))
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(7)")
        creating = [asyncio.create_task(store.create_tasks([first]))]
        await eventually(lambda: connection.fetchval(PLACE_TAKEN))
        creating.append(asyncio.create_task(store.create_tasks([second])))
        await eventually(lambda: one_of(creating[1].done(), connection.fetchval(PLACE_AWAITED)))
    await asyncio.gather(*creating)

    assert 1 == len(await worker.claim())


async def one_of(done: bool, waits: Awaitable[bool]) -> bool:
    return await waits or done


async def pause_resumed(store: Store, other: ManualWorker, task_id: TaskId) -> None:
    await store.pause(PauseTarget.of_task(task_id), ACT)
    await store.resume(PauseTarget.of_task(task_id), ACT)


async def queue_resumed(store: Store, other: ManualWorker, task_id: TaskId) -> None:
    """Resume the queue, by which the queue timeouts of its steps start over."""
    await store.pause(PauseTarget.of_queue("suite", "only"), ACT)
    await store.resume(PauseTarget.of_queue("suite", "only"), ACT)


async def retried(store: Store, other: ManualWorker, task_id: TaskId) -> None:
    await other.fail_with_retry(await other.claim_one())


async def released_again(store: Store, other: ManualWorker, task_id: TaskId) -> None:
    await other.settle(released_outcome(await other.claim_one()))


async def lost_again(store: Store, other: ManualWorker, task_id: TaskId) -> None:
    claim = await other.claim_one()
    await store.retire_worker(other.id)
    (expired,) = await store.list_expired_attempts(10)
    assert claim.attempt_key == expired.claim.attempt_key
    await other.settle(lost_outcome(claim, JsonText('{"message": "lost"}'), timedelta(0)))


async def retried_by_an_operator(store: Store, other: ManualWorker, task_id: TaskId) -> None:
    await other.fail(await other.claim_one())
    await store.retry_steps(task_id, ACT)


@pytest.mark.parametrize(
    "enqueue_again",
    [
        *(pause_resumed, queue_resumed, retried, released_again, lost_again),
        retried_by_an_operator,
    ],
)
async def test_a_step_that_is_enqueued_again_during_a_claim_is_claimed_once(
    store: Store, connection: Any, enqueue_again: EnqueueAgain
) -> None:
    """The step is enqueued between the snapshot of the claim and its lock."""
    steps = (StepSpec(name="only", queue_timeout=timedelta(hours=1)),)
    template = Template(namespace="suite", name="only", version="1.0.0", steps=steps)
    task_id = await create_task(store, await register_template(store, template))
    worker, other = await ManualWorker.register(store), await ManualWorker.register(store)
    await hold_claims_of(connection, worker)
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(7)")
        claiming = asyncio.create_task(worker.claim())
        await eventually(lambda: connection.fetchval(BLOCKED))
        await enqueue_again(store, other, task_id)
    claims = [*await claiming, *await worker.claim()]

    (step,) = await store.list_steps(task_id)
    assert [(task_id, 1, step.attempts)] == [claim.attempt_key for claim in claims]
    assert [] == list(await find_contradictions(connection))


async def hold_claims_of(connection: Any, worker: ManualWorker) -> None:
    """Let the claims of a worker wait between reading a step and locking it."""
    source = await connection.fetchval(
        "select pg_get_functiondef(oid) from pg_proc"
        " where proname = 'claim_steps' and pronamespace = current_schema()::regnamespace"
    )
    lock = "for update skip locked"
    assert source.count(lock) == 1
    wait = f"and (p_worker <> {worker.id} or pg_advisory_xact_lock_shared(7) is not null)"
    await connection.execute(source.replace(lock, f"{wait} {lock}"))
