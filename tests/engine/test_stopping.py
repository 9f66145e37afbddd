"""What stops attempts and workers: timeouts, cancels, lost leases, shutdowns."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.engine import computing
from tests.engine.factories import ONE_SLOT, SOON, Unreliable, of_kind, step, template
from tests.engine.pieces import assembled
from tests.waiting import eventually

from tasker import (
    AsyncContext,
    AttemptCancelled,
    Context,
    LocalClient,
    Retry,
    StepStatus,
    TaskRequest,
    TaskStatus,
    Worker,
    WorkerSettings,
)
from tasker.engine import executor, janitor
from tasker.errors import TaskFailed
from tasker.model import AttemptOutcome, Backoff, Step, StepSpec, Task, TaskFilter
from tasker.notices import Notice, SettlementRejected, StepStarted
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

BRIEF = timedelta(seconds=0.05)
FLOW = template("flow", "only")


class Obstinate:
    """A handler that runs until it is released or stopped."""

    def __init__(self) -> None:
        self.began = 0
        self.stopped: list[str] = []
        self.released = asyncio.Event()

    async def only(self, context: Context) -> int:
        self.began += 1
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            try:
                context.heartbeat()
            except AttemptCancelled as why:
                self.stopped.append(str(why))
            raise
        return context.counted_attempts


class ObstinateThread:
    """The same in a thread, where only `heartbeat` tells."""

    def __init__(self) -> None:
        self.began = 0
        self.stopped: list[str] = []
        self.released = threading.Event()

    def only(self, context: Context) -> int:
        self.began += 1
        try:
            while not self.released.wait(0.002):
                context.heartbeat()
        except AttemptCancelled as why:
            self.stopped.append(str(why))
            return -1  # a late result, which nobody wants
        return context.counted_attempts


KINDS = pytest.mark.parametrize("kind", [Obstinate, ObstinateThread])
Kind = Callable[[], Obstinate | ObstinateThread]


async def only_step(store: Store, task: Task) -> Step:
    [step] = await store.list_steps(task.id)
    return step


# --------------------------------------------------------------------------- timeouts


@KINDS
async def test_an_attempt_that_exceeds_its_timeout_is_stopped_and_retried(
    store: Store, kind: Kind
) -> None:
    obstinate = kind()
    flow = template("flow", step("only", timeout=BRIEF))
    async with Worker(store, [{"only": obstinate.only}], templates=[flow]) as worker:
        task = await worker.client.create_task("n.flow")
        with pytest.raises(TaskFailed):
            await worker.client.wait(task.id, timeout=SOON)
        ended = await only_step(store, task)
        await eventually(lambda: 3 == len(obstinate.stopped))

    assert 3 == obstinate.began
    assert all("it took too long" in why for why in obstinate.stopped)
    assert (StepStatus.ERROR, 3, None) == (ended.status, ended.attempts, ended.result)
    assert ended.error is not None
    assert "timeout" == ended.error["code"]
    assert "attempt 3 took longer than 50 ms" == ended.error["message"]


async def test_a_process_that_exceeds_its_timeout_is_killed(memory: Store) -> None:
    once = Retry(max_attempts=1)
    endless = step("endless", timeout=timedelta(seconds=0.2), retry=once)
    flow = template("flow", endless, step("where"))
    async with Worker(
        memory, [computing], templates=[flow], settings=WorkerSettings(processes=1)
    ) as worker:
        task = await worker.client.create_task("n.flow", {"amount": 1, "give": 2})
        with pytest.raises(TaskFailed):
            await worker.client.wait(task.id, timeout=SOON)
        killed, other = await worker.client.steps(task.id)

    assert killed.error is not None
    assert "timeout" == killed.error["code"]
    assert StepStatus.COMPLETE == other.status


async def test_a_slot_blocked_by_a_timed_out_handler_is_reported(
    memory: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(executor, "STUBBORN", 0.01)
    release = threading.Event()

    def only() -> None:
        release.wait(SOON.total_seconds())

    def complaints() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.message == "handler_does_not_stop"]

    flow = template("flow", step("only", timeout=BRIEF, retry=Retry(retryable=False)))
    async with Worker(memory, [{"only": only}], templates=[flow], settings=ONE_SLOT) as worker:
        task = await worker.client.create_task("n.flow")
        [complaint] = await eventually(complaints)
        release.set()

    assert (task.id, "only", 1, 1) == tuple(
        getattr(complaint, name) for name in ("task_id", "step", "slots_lost", "slots")
    )


async def test_a_slot_is_not_free_while_a_timed_out_handler_runs(memory: Store) -> None:
    release = threading.Event()

    def only() -> None:
        release.wait(SOON.total_seconds())

    flow = template("flow", step("only", timeout=BRIEF))
    async with assembled(memory, [{"only": only}], [flow], ONE_SLOT) as pieces:
        await LocalClient(memory).create_task("n.flow")
        claimed = await memory.claim(pieces.lease.id, 1)
        pieces.claimer.accept_claims(claimed.claims)
        await eventually(pieces.settler.unsettled_attempt_keys)  # its outcome is decided

        assert (1, 0) == (pieces.slots.taken, pieces.slots.free_count)

        release.set()
        await eventually(lambda: not pieces.executor.running)
        assert (0, 1) == (pieces.slots.taken, pieces.slots.free_count)


async def test_steps_without_a_timeout_use_the_timeout_of_the_worker(memory: Store) -> None:
    settings = WorkerSettings(attempt_timeout=BRIEF)
    async with Worker(
        memory, [{"only": Obstinate().only}], templates=[FLOW], settings=settings
    ) as worker:
        with pytest.raises(TaskFailed):
            await worker.client.run("n.flow", timeout=SOON)


async def test_a_timeout_that_is_not_reached_has_no_effect(memory: Store) -> None:
    flow = template("flow", step("only", timeout=timedelta(seconds=60)))
    async with Worker(memory, [{"only": lambda: 1}], templates=[flow]) as worker:
        task = await worker.client.run("n.flow", timeout=SOON)

    assert TaskStatus.COMPLETE == task.status


# ------------------------------------------------------------------------- heartbeats


class Hanging:
    """A handler that gives no heartbeat in its first attempt, and plenty in its second."""

    def __init__(self) -> None:
        self.stopped: list[str] = []
        self.released = threading.Event()

    async def in_loop(self, context: Context) -> int:
        if context.attempt > 1:
            for _ in range(30):
                await asyncio.sleep(0.02)
                context.heartbeat()
            return context.attempt
        try:
            await asyncio.sleep(SOON.total_seconds())
        except asyncio.CancelledError:
            self._ask(context)
            raise
        return -1

    def in_thread(self, context: Context) -> int:
        if context.attempt > 1:
            for _ in range(30):
                time.sleep(0.02)
                context.heartbeat()
            return context.attempt
        self.released.wait(SOON.total_seconds())
        self._ask(context)
        return -1  # a late result, which nobody wants

    def _ask(self, context: Context) -> None:
        try:
            context.heartbeat()
        except AttemptCancelled as why:
            self.stopped.append(str(why))


BUSY = 20  #: attempts for a machine that may stop a process for longer than is allowed


def silent(name: str, allowed: float = 0.5, attempts: int = 2) -> StepSpec:
    retry = Retry(max_attempts=attempts, backoff=Backoff.NONE)
    return step(name, heartbeat_timeout=timedelta(seconds=allowed), retry=retry)


@pytest.mark.parametrize("name", ["in_loop", "in_thread"])
async def test_an_attempt_without_heartbeats_is_stopped_and_retried(
    store: Store, name: str
) -> None:
    hanging = Hanging()
    flow = template("flow", silent(name, attempts=BUSY))
    handlers = {name: getattr(hanging, name)}
    async with Worker(store, [handlers], templates=[flow]) as worker:
        task = await worker.client.run("n.flow", timeout=SOON)
        history = await worker.client.attempts(task.id)
        hanging.released.set()
        await eventually(lambda: hanging.stopped)

    outcomes = [row.outcome for row in history]
    assert [AttemptOutcome.RETRY, AttemptOutcome.COMPLETE] == [outcomes[0], outcomes[-1]]
    assert 2 <= task.result == len(history)
    assert ("heartbeat_timeout", "attempt 1 sent no heartbeat for 500 ms", True) == tuple(
        (history[0].error or {})[name] for name in ("code", "message", "retryable")
    )
    assert "it sent no heartbeat for too long" in hanging.stopped[0]


async def test_a_process_without_heartbeats_is_killed(memory: Store) -> None:
    settings = WorkerSettings(processes=1)
    flow = template("flow", silent("endless"))
    async with Worker(memory, [computing], templates=[flow], settings=settings) as worker:
        with pytest.raises(TaskFailed) as failed:
            await worker.client.run("n.flow", timeout=SOON)

    assert "heartbeat_timeout" == failed.value.details["code"]


async def test_heartbeats_of_a_process_keep_its_attempt_alive(memory: Store) -> None:
    settings = WorkerSettings(processes=1)
    flow = template("flow", silent("tick", 1.5))
    async with Worker(memory, [computing], templates=[flow], settings=settings) as worker:
        task = await worker.client.run("n.flow", timeout=SOON)

    assert 1 == task.result


async def test_an_attempt_that_waits_for_a_process_needs_no_heartbeat(memory: Store) -> None:
    settings = WorkerSettings(processes=1)
    flow = template("flow", silent("tick", 1.5))
    async with Worker(memory, [computing], templates=[flow], settings=settings) as worker:
        tasks = [await worker.client.create_task("n.flow") for _ in range(3)]
        ended = [await worker.client.wait(task.id, timeout=SOON) for task in tasks]

    assert [1, 1, 1] == [task.result for task in ended]


async def test_a_checkpoint_is_a_heartbeat(memory: Store) -> None:
    async def only(context: AsyncContext) -> int:
        for number in range(15):
            await asyncio.sleep(0.05)
            await context.checkpoint(number)
        return context.attempt

    async with Worker(
        memory, [{"only": only}], templates=[template("flow", silent("only", attempts=BUSY))]
    ) as worker:
        task = await worker.client.run("n.flow", timeout=SOON)

    assert TaskStatus.COMPLETE == task.status


async def test_a_blocked_loop_does_not_time_an_attempt_out(memory: Store) -> None:
    beating = asyncio.Event()

    async def beat(context: Context) -> int:
        for _ in range(8):
            await asyncio.sleep(0.05)
            context.heartbeat()
            beating.set()
        return context.attempt

    async def block() -> None:
        await beating.wait()
        time.sleep(1)  # noqa: ASYNC251 - it blocks the loop on purpose

    flow = template("flow", silent("beat"), step("block"))
    async with Worker(memory, [{"beat": beat, "block": block}], templates=[flow]) as worker:
        task = await worker.client.run("n.flow", timeout=SOON)
        steps = await worker.client.steps(task.id)

    assert [1, 1] == [step.attempts for step in steps]


# ---------------------------------------------------------------------------- cancels


@KINDS
async def test_cancelling_a_task_stops_its_running_handlers_immediately(
    store: Store, kind: Kind
) -> None:
    """
    Long before the next renewal of a lease of an hour.
    """
    obstinate, settings = kind(), WorkerSettings(lease=timedelta(hours=1))
    events: list[Notice] = []
    async with Worker(
        store,
        [{"only": obstinate.only}],
        templates=[FLOW],
        settings=settings,
        observers=[events.append],
    ) as worker:
        task = await worker.client.create_task("n.flow")
        await eventually(lambda: obstinate.began)
        cancelled = await LocalClient(store).cancel(task.id, reason="not wanted")
        await eventually(lambda: obstinate.stopped)
        ended = await only_step(store, task)

    assert "it no longer holds its step" in obstinate.stopped[0]
    assert (TaskStatus.CANCELLED, StepStatus.CANCELLED) == (cancelled.status, ended.status)
    assert [] == of_kind(SettlementRejected, events)


async def test_resolving_a_step_stops_its_running_attempt(store: Store) -> None:
    obstinate = Obstinate()
    async with Worker(store, [{"only": obstinate.only}], templates=[FLOW]) as worker:
        task = await worker.client.create_task("n.flow")
        await eventually(lambda: obstinate.began)
        task = await worker.client.resolve(task.id, "only", {"by": "hand"}, reason="urgent")
        await eventually(lambda: obstinate.stopped)
        ended = await only_step(store, task)

    assert TaskStatus.COMPLETE == task.status
    assert {"by": "hand"} == ended.result


async def test_a_task_that_misses_its_deadline_ends(store: Store) -> None:
    obstinate = Obstinate()
    async with Worker(store, [{"only": obstinate.only}], templates=[FLOW]) as worker:
        task = await worker.client.create_task("n.flow", deadline=timedelta(seconds=0.3))
        with pytest.raises(TaskFailed) as failed:
            await worker.client.wait(task.id, timeout=SOON)
        await eventually(lambda: obstinate.stopped)

    assert (failed.value.task.error or {})["code"] == "deadline_exceeded"


async def test_all_tasks_that_miss_their_deadline_end_in_one_call(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "PERIOD", 3600)
    await store.register_template(FLOW, registered_by="test")
    client = LocalClient(store)
    late = TaskRequest(template="n.flow", deadline=timedelta(milliseconds=1))
    await client.create_tasks([late] * 250)

    async def still_open() -> int:
        tasks = await client.tasks(TaskFilter(status=TaskStatus.PENDING), limit=250)
        return len(tasks)

    assert 250 == await still_open()
    async with Worker(store):

        async def none_is_open() -> bool:
            return await still_open() == 0

        await eventually(none_is_open)


# -------------------------------------------------------------------------- lost lease


async def test_a_worker_that_lost_its_lease_drops_its_claims_and_continues(store: Store) -> None:
    """
    As after a long sleep of the machine. The attempt counts as lost, and another follows.
    """
    obstinate = Obstinate()
    events: list[Notice] = []
    settings = WorkerSettings(lease=timedelta(seconds=1))
    async with Worker(
        store,
        [{"only": obstinate.only}],
        templates=[FLOW],
        settings=settings,
        observers=[events.append],
    ) as worker:
        task = await worker.client.create_task("n.flow")
        await eventually(lambda: obstinate.began)
        before = worker.id
        await store.retire_worker(before)
        await eventually(lambda: obstinate.stopped)
        obstinate.released.set()
        task = await worker.client.wait(task.id, timeout=SOON)
        history = await worker.client.attempts(task.id)

    assert before != worker.id
    assert TaskStatus.COMPLETE == task.status
    assert [AttemptOutcome.LOST, AttemptOutcome.COMPLETE] == [row.outcome for row in history]
    assert "lease_lost" == (history[0].error or {})["code"]
    assert [] == of_kind(SettlementRejected, events)


async def test_claims_under_a_lost_lease_are_released(memory: Store) -> None:
    """Otherwise they would expire and count as lost attempts."""
    store = Unreliable(memory)
    settings = WorkerSettings(lease=timedelta(seconds=1))
    async with Worker(
        store,
        [{"only": lambda context: context.counted_attempts}],
        templates=[FLOW],
        settings=settings,
    ) as worker:
        before = worker.id
        store.held_up["claim"] = asyncio.Event()
        task = await LocalClient(memory).create_task("n.flow")
        await eventually(lambda: memory.list_held_claims(before))
        await memory.retire_worker(before)
        await eventually(lambda: worker.id != before and worker.is_ready)
        store.held_up.pop("claim").set()
        await worker.client.wait(task.id, timeout=SOON)
        history = await worker.client.attempts(task.id)
        ended = await only_step(memory, task)

    assert [AttemptOutcome.RELEASED, AttemptOutcome.COMPLETE] == [row.outcome for row in history]
    assert (2, None) == (ended.attempts, ended.error)


# --------------------------------------------------------------------------- shutdown


@KINDS
async def test_running_attempts_may_finish_within_the_grace(store: Store, kind: Kind) -> None:
    obstinate = kind()
    async with Worker(store, [{"only": obstinate.only}], templates=[FLOW]) as worker:
        task = await worker.client.create_task("n.flow")
        await eventually(lambda: obstinate.began)
        worker.stop(SOON)
        obstinate.released.set()
        await worker.wait_until_ended()
        ended = await only_step(store, task)

    assert (StepStatus.COMPLETE, 1) == (ended.status, ended.attempts)
    assert [] == obstinate.stopped


@KINDS
async def test_attempts_that_do_not_finish_in_time_are_released_and_not_counted(
    store: Store, kind: Kind
) -> None:
    obstinate = kind()
    settings = WorkerSettings(grace=BRIEF)
    once = template("flow", step("only", retry=Retry(max_attempts=1, backoff=Backoff.NONE)))
    async with Worker(
        store, [{"only": obstinate.only}], templates=[once], settings=settings
    ) as worker:
        task = await worker.client.create_task("n.flow")
        await eventually(lambda: obstinate.began)
    handed_back = await only_step(store, task)
    await eventually(lambda: obstinate.stopped)
    obstinate.released.set()
    async with Worker(store, [{"only": obstinate.only}], namespaces=["n"]) as worker:
        await worker.client.wait(task.id, timeout=SOON)
        ended = await only_step(store, task)
        history = await worker.client.attempts(task.id)

    assert "the worker is shutting down" in obstinate.stopped[0]
    assert (StepStatus.ENQUEUED, 1) == (handed_back.status, handed_back.attempts)
    assert (2, 1) == (ended.attempts, ended.result)  # the second attempt is the first try
    assert [AttemptOutcome.RELEASED, AttemptOutcome.COMPLETE] == [row.outcome for row in history]


async def test_a_second_stop_is_immediate(memory: Store) -> None:
    obstinate = Obstinate()
    settings = WorkerSettings(grace=timedelta(hours=1))
    async with Worker(
        memory, [{"only": obstinate.only}], templates=[FLOW], settings=settings
    ) as worker:
        task = await worker.client.create_task("n.flow")
        await eventually(lambda: obstinate.began)
        worker.stop()
        await asyncio.sleep(0)
        worker.stop(timedelta(0))
        async with asyncio.timeout(SOON.total_seconds()):
            await worker.wait_until_ended()

    assert StepStatus.ENQUEUED == (await only_step(memory, task)).status


async def test_a_cancelled_worker_releases_its_attempts(store: Store) -> None:
    """This happens when its program is interrupted."""
    obstinate = Obstinate()
    worker = Worker(store, [{"only": obstinate.only}], templates=[FLOW])
    running = asyncio.create_task(worker.run())
    client = LocalClient(store)
    await eventually(lambda: worker.id)
    task = await client.create_task("n.flow")
    await eventually(lambda: obstinate.began)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert ["the worker is shutting down"] == [why.rpartition(": ")[2] for why in obstinate.stopped]
    assert StepStatus.ENQUEUED == (await only_step(store, task)).status
    assert [AttemptOutcome.RELEASED] == [row.outcome for row in await client.attempts(task.id)]
    assert not any(info.alive for info in await store.list_workers())


async def test_claims_that_arrive_after_the_stop_are_released(memory: Store) -> None:
    store = Unreliable(memory)
    events: list[Notice] = []
    async with Worker(
        store, [{"only": lambda: 1}], templates=[FLOW], observers=[events.append]
    ) as worker:
        store.held_up["claim"] = asyncio.Event()
        task = await LocalClient(memory).create_task("n.flow")
        await eventually(lambda: memory.list_held_claims(worker.id))
        worker.stop()
        store.held_up.pop("claim").set()

    ended = await only_step(memory, task)
    assert [] == of_kind(StepStarted, events)
    assert (StepStatus.ENQUEUED, 1) == (ended.status, ended.attempts)
    [released] = await memory.list_attempts(task.id)
    assert AttemptOutcome.RELEASED == released.outcome


async def test_a_stopping_worker_claims_nothing(memory: Store) -> None:
    obstinate = Obstinate()
    chain = template("chain", step("only"), step("next", "only"))
    async with Worker(
        memory, [{"only": obstinate.only, "next": lambda: 1}], templates=[chain]
    ) as worker:
        task = await worker.client.create_task("n.chain")
        await eventually(lambda: obstinate.began)
        worker.stop(SOON)
        late = await worker.client.create_task("n.chain")
        obstinate.released.set()
        await worker.wait_until_ended()
        steps = await memory.list_steps(task.id) + await memory.list_steps(late.id)

    assert [StepStatus.COMPLETE, StepStatus.ENQUEUED, StepStatus.ENQUEUED, StepStatus.PENDING] == [
        step.status for step in steps
    ]


async def test_handlers_clean_up_before_a_worker_ends(memory: Store) -> None:
    cleaned: list[str] = []
    began = asyncio.Event()

    async def only() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            cleaned.append("up")

    settings = WorkerSettings(grace=timedelta(0))
    async with Worker(memory, [{"only": only}], templates=[FLOW], settings=settings) as worker:
        await worker.client.create_task("n.flow")
        await began.wait()

    assert ["up"] == cleaned


async def test_a_handler_that_ignores_cancellation_does_not_keep_the_loop_alive(
    memory: Store,
) -> None:
    began = asyncio.Event()

    async def only() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                began.set()
                await asyncio.Event().wait()

    settings = WorkerSettings(grace=timedelta(0))
    before = asyncio.all_tasks()
    async with Worker(memory, [{"only": only}], templates=[FLOW], settings=settings) as worker:
        task = await worker.client.create_task("n.flow")
        await began.wait()

    await eventually(lambda: asyncio.all_tasks() <= before)
    assert StepStatus.ENQUEUED == (await only_step(memory, task)).status


async def test_a_stopped_worker_is_no_longer_listed_as_alive(store: Store) -> None:
    async with Worker(store, [{"only": lambda: 1}], templates=[FLOW], settings=ONE_SLOT):
        [alive] = await store.list_workers()
    [gone] = await store.list_workers()

    assert (True, False) == (alive.alive, gone.alive)
