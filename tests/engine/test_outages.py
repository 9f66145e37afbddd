"""A store that goes away, loses replies, comes back: nothing is lost, nothing runs twice."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest
from tests.engine.factories import SOON, Unreliable, of_kind, step, template
from tests.waiting import eventually

from tasker import (
    AsyncContext,
    Context,
    LocalClient,
    StepStatus,
    TaskRequest,
    TaskStatus,
    Worker,
    WorkerSettings,
    open_store,
)
from tasker.errors import StoreError, StoreUnavailable
from tasker.model import AttemptOutcome, Outcome, Task
from tasker.notices import Notice, SettlementRejected, StepStarted, StepWaiting
from tasker.store.postgres.address import Address
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

DIAMOND = template(
    "diamond",
    step("top", callable="work"),
    step("left", "top", callable="work"),
    step("right", "top", callable="work"),
    step("bottom", "left", "right", callable="work"),
)


async def work() -> str:
    await asyncio.sleep(0)
    return "done"


def attempts(events: list[Notice]) -> Counter[Any]:
    """Count how often each attempt was begun."""
    return Counter((e.task_id, e.step, e.attempt) for e in of_kind(StepStarted, events))


async def assert_each_step_ran_once(store: Store, tasks: list[Task], events: list[Notice]) -> None:
    """Each attempt was begun once, the first did, and none was refused."""
    for task in tasks:
        history = await store.list_attempts(task.id)
        assert [1] * 4 == [row.attempt for row in history]
        assert {AttemptOutcome.COMPLETE} == {row.outcome for row in history}
    assert {1} == set(attempts(events).values())
    assert 4 * len(tasks) == len(attempts(events))
    assert [] == of_kind(SettlementRejected, events)


# ------------------------------------------------------------------------ lost replies


@pytest.mark.parametrize(
    "name", ["settle", "claim", "load_task_inputs", "load_step_results", "list_held_claims"]
)
@pytest.mark.parametrize("how", ["lose", "refuse"])
async def test_a_lost_reply_loses_and_repeats_nothing(memory: Store, name: str, how: str) -> None:
    store = Unreliable(memory)
    events: list[Notice] = []
    async with Worker(
        store, [{"work": work}], templates=[DIAMOND], observers=[events.append]
    ) as worker:
        tasks = []
        for _ in range(3):
            getattr(store, how)(name, 2)
            tasks += [await LocalClient(memory).create_task("n.diamond") for _ in range(5)]
            store.lose("settle")
        for task in tasks:
            await worker.client.wait(task.id, timeout=SOON)
        await assert_each_step_ran_once(memory, tasks, events)
        assert [] == await memory.list_held_claims(worker.id)


async def test_a_task_whose_creation_got_no_reply_still_runs(memory: Store) -> None:
    """Its root was claimed for this worker, which never received the reply."""
    store = Unreliable(memory)
    events: list[Notice] = []
    async with Worker(
        store, [{"work": work}], templates=[DIAMOND], observers=[events.append]
    ) as worker:
        await eventually(lambda: "wait_for_work" in store.calls)
        store.lose("create_tasks")
        with pytest.raises(StoreUnavailable):
            await worker.client.create_task("n.diamond", idempotency_key="k")
        task = await worker.client.create_task("n.diamond", idempotency_key="k")
        await worker.client.wait(task.id, timeout=SOON)
        await assert_each_step_ran_once(memory, [task], events)

    assert not task.created


async def test_a_cancelled_creation_harms_nothing(memory: Store) -> None:
    store = Unreliable(memory)
    events: list[Notice] = []
    async with Worker(
        store, [{"work": work}], templates=[DIAMOND], observers=[events.append]
    ) as worker:
        await eventually(lambda: "wait_for_work" in store.calls)  # it has slots to spare
        store.held_up["create_tasks"] = gate = asyncio.Event()
        creation = asyncio.create_task(worker.client.create_task("n.diamond", idempotency_key="k"))
        await eventually(lambda: memory.list_held_claims(worker.id))
        creation.cancel()
        await asyncio.wait({creation})
        gate.set()
        held = await memory.find_task_by_idempotency_key("n", "k")
        assert held is not None
        await worker.client.wait(held.id, timeout=SOON)
        await assert_each_step_ran_once(memory, [held], events)


async def test_recovery_ignores_claims_that_are_in_transit(memory: Store) -> None:
    """
    Claims whose input is being read, and roots of tasks that are being made, are not
    taken for forgotten.
    """
    store = Unreliable(memory)
    events: list[Notice] = []
    async with Worker(
        store, [{"work": work}], templates=[DIAMOND], observers=[events.append]
    ) as worker:
        await eventually(lambda: "wait_for_work" in store.calls)
        store.held_up["load_task_inputs"] = asyncio.Event()
        fetched = await LocalClient(memory).create_task("n.diamond")
        await eventually(lambda: "load_task_inputs" in store.calls)
        store.held_up["create_tasks"] = asyncio.Event()
        creation = asyncio.create_task(worker.client.create_task("n.diamond"))
        await eventually(lambda: _count(memory.list_held_claims(worker.id), 2))
        store.lose("claim")
        other = await LocalClient(memory).create_task("n.diamond")
        await eventually(lambda: store.calls.count("list_held_claims") >= 1)
        await eventually(lambda: store.calls[-1] == "wait_for_work")
        for gate in store.held_up.values():
            gate.set()
        tasks = [fetched, await creation, other]
        for task in tasks:
            await worker.client.wait(task.id, timeout=SOON)
        await assert_each_step_ran_once(memory, tasks, events)


async def _count(answer: Any, least: int) -> bool:
    return len(await answer) >= least


@pytest.mark.parametrize("how", ["lose", "refuse"])
async def test_a_step_parks_once_despite_a_lost_reply(memory: Store, how: str) -> None:
    async def parent(context: AsyncContext) -> str:
        return str((await context.client.run("n.diamond")).status)

    store = Unreliable(memory)
    events: list[Notice] = []
    async with Worker(
        store,
        [{"work": work, "parent": parent}],
        templates=[DIAMOND, template("parent")],
        observers=[events.append],
    ) as worker:
        getattr(store, how)("park_until_task_ends")
        task = await worker.client.run("n.parent", timeout=SOON)
        history = await worker.client.attempts(task.id)

    assert [AttemptOutcome.PARKED, AttemptOutcome.COMPLETE] == [row.outcome for row in history]
    assert 1 == len(of_kind(StepWaiting, events))
    assert [] == of_kind(SettlementRejected, events)
    assert {1} == set(attempts(events).values())


async def test_results_survive_an_outage_that_is_longer_than_the_lease(memory: Store) -> None:
    """Results are settled after the outage under another lease."""
    store = Unreliable(memory)
    events: list[Notice] = []
    settings = WorkerSettings(lease=timedelta(seconds=1))
    async with Worker(
        store,
        [{"work": work}],
        templates=[DIAMOND],
        settings=settings,
        observers=[events.append],
    ) as worker:
        before = worker.id
        for name in (
            "settle",
            "schema_status",
            "renew_lease",
            "list_held_claims",
            "claim",
            "list_expired_attempts",
            "end_overdue_and_failed_tasks",
        ):
            store.refuse(name, 1_000_000)
        task = await LocalClient(memory).create_task("n.diamond")
        store.refuse("claim", 0)
        await eventually(lambda: worker.id != before)
        for name in (
            "settle",
            "schema_status",
            "renew_lease",
            "list_held_claims",
            "list_expired_attempts",
            "end_overdue_and_failed_tasks",
        ):
            store.refuse(name, 0)
        task = await worker.client.wait(task.id, timeout=SOON)

    assert TaskStatus.COMPLETE == task.status
    assert [] == of_kind(SettlementRejected, events)


# ------------------------------------------------------------------------- poison


class Picky(Unreliable):
    """A store that cannot keep certain results, as others might not keep some JSON."""

    def __getattr__(self, name: str) -> Any:
        return self._picky if name == "settle" else super().__getattr__(name)

    async def _picky(self, worker: Any, outcomes: list[Outcome], **options: Any) -> Any:
        if any("poison" in (outcome.result or "") for outcome in outcomes):
            raise StoreError("no such text, please")
        return await self._store.settle(worker, outcomes, **options)


async def test_a_result_that_the_store_refuses_does_not_affect_others(memory: Store) -> None:
    def only(context: Context, n: int) -> object:
        return "poison" if n == 7 else n

    async with Worker(Picky(memory), [{"only": only}], templates=[template("only")]) as worker:
        tasks = [await worker.client.create_task("n.only", {"n": n}) for n in range(20)]
        ended = await eventually(lambda: _ended(memory, tasks))
        [poisoned] = await memory.list_steps(tasks[7].id)

    assert [TaskStatus.ERROR if n == 7 else TaskStatus.COMPLETE for n in range(20)] == [
        task.status for task in ended
    ]
    assert (StepStatus.ERROR, 1) == (poisoned.status, poisoned.attempts)
    assert poisoned.error is not None
    assert "the outcome could not be stored: no such text, please" == poisoned.error["message"]


async def _ended(store: Store, tasks: list[Task]) -> list[Task]:
    ended = [await store.get_task(task.id) for task in tasks]
    return ended if all(task.has_ended for task in ended) else []


async def test_large_results_are_settled_in_batches(memory: Store) -> None:
    """The size of one settlement is bounded."""
    sizes: list[int] = []

    class Weighing(Unreliable):
        def __getattr__(self, name: str) -> Any:
            return self._weigh if name == "settle" else super().__getattr__(name)

        async def _weigh(self, worker: Any, outcomes: list[Outcome], **options: Any) -> Any:
            sizes.append(sum(len(outcome.result or "") for outcome in outcomes))
            return await self._store.settle(worker, outcomes, **options)

    async def only() -> str:
        return "x" * 1_000_000

    async with Worker(Weighing(memory), [{"only": only}], templates=[template("only")]) as worker:
        requests = [TaskRequest(template="n.only") for _ in range(60)]
        tasks = await LocalClient(memory).create_tasks(requests)
        for task in tasks:
            await worker.client.wait(task.id, timeout=SOON)

    assert 60 * 1_000_002 == sum(sizes)
    assert max(sizes) <= 8 << 20


# ----------------------------------------------------------------------- PostgreSQL


async def test_broken_connections_lose_and_repeat_nothing(postgres_schema_url: str) -> None:
    """
    Every session of the worker is ended again and again while it works.
    """
    events: list[Notice] = []
    flow = template("wide", *(step(f"s{n}", *([f"s{n - 20}"] if n >= 20 else []), callable="work")
                              for n in range(200)))  # fmt: skip
    other = await Address.parse(postgres_schema_url).connect()
    try:
        async with (
            open_store(postgres_schema_url, upgrade=True) as store,
            Worker(
                store,
                [{"work": work}],
                templates=[flow],
                observers=[events.append],
                settings=WorkerSettings(slots=20),
            ) as worker,
        ):
            task = await LocalClient(store).create_task("n.wide")
            for done in range(10, 150, 20):
                await eventually(partial(_seen, other, task, done))
                await other.execute(
                    """select pg_terminate_backend(pid) from pg_stat_activity
                       where pid <> pg_backend_pid() and application_name = 'tasker'"""
                )
            task = await worker.client.wait(task.id, timeout=SOON)
            history = await worker.client.attempts(task.id)
    finally:
        await other.close()

    assert TaskStatus.COMPLETE == task.status
    assert [1] * 200 == [row.attempt for row in history]
    assert {1} == set(attempts(events).values())
    assert [] == of_kind(SettlementRejected, events)


async def test_a_busy_pool_does_not_delay_lease_renewals(
    postgres_schema_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Renewals do not wait for other statements."""
    began, stopped = asyncio.Event(), False

    async def only() -> None:
        nonlocal stopped
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped = True
            raise

    settings = WorkerSettings(lease=timedelta(seconds=1), grace=timedelta(0))
    other = await Address.parse(postgres_schema_url).connect()
    try:
        async with (
            open_store(postgres_schema_url, upgrade=True) as store,
            Worker(store, [{"only": only}], templates=[template("only")], settings=settings),
        ):
            await LocalClient(store).create_task("n.only")
            await began.wait()
            async with AsyncExitStack() as busy:
                for _ in range(10):
                    await busy.enter_async_context(store._pool.acquire())  # type: ignore[attr-defined]
                before = await other.fetchval("select lease_until from worker")
                await eventually(partial(_renewed, other, before))

                assert not stopped
                assert "lease_lost" not in caplog.messages
    finally:
        await other.close()


async def _renewed(connection: "asyncpg.Connection[Any]", before: datetime) -> bool:
    """Return whether the lease was renewed for twice its length."""
    until: datetime = await connection.fetchval("select lease_until from worker")
    return until > before + timedelta(seconds=2)


async def _seen(connection: "asyncpg.Connection[Any]", task: Task, done: int) -> bool:
    """Return whether so many steps are done."""
    question = "select count(*) >= $2 from step where task_id = $1 and state = 4"
    return bool(await connection.fetchval(question, task.id, done))
