"""Periodic duties: expired leases, unclaimed steps, deadlines, tasks that cannot go on."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.engine.factories import AT_ONCE, SOON, Unreliable, of_kind, step, template
from tests.engine.pieces import assembled
from tests.waiting import eventually

from tasker import LocalClient, Retry, StepStatus, TaskFailed, TaskRequest, Worker, WorkerSettings
from tasker.clock import ManualClock
from tasker.engine.janitor import MOST, MOST_LOST, PRUNED, SWEPT
from tasker.errors import TaskerError
from tasker.model import (
    AttemptOutcome,
    JsonText,
    TaskFilter,
    TaskStatus,
    lost_outcome,
    released_outcome,
)
from tasker.notices import Notice, TaskEnded
from tasker.store.open import open_store
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("flow", "only")
NEVER = Retry(retryable=False)


@pytest.mark.parametrize(
    ("losses", "status"), [(MOST_LOST - 2, StepStatus.COMPLETE), (MOST_LOST - 1, StepStatus.ERROR)]
)
async def test_lost_attempts_have_a_separate_bound(
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
    await store.add_served_queues(dying, [queue.base for queue in await store.list_queues()])
    for _ in range(losses):
        [claim] = (await store.claim(dying, 1)).claims
        await store.settle(dying, [lost_outcome(claim, JsonText('{"code":"lost"}'), timedelta(0))])
    await store.claim(dying, 1)
    await store.retire_worker(dying)

    async with Worker(store, [{"only": lambda: 1}], namespaces=["n"]):
        with suppress(TaskFailed):
            await client.wait(task.id, timeout=SOON)
        [step_] = await client.steps(task.id)

    assert status == step_.status


async def test_released_attempts_do_not_count_towards_lost_attempts(store: Store) -> None:
    """They count neither as failed nor as lost."""
    client = LocalClient(store)
    await client.register(template("flow", step("only", retry=AT_ONCE)))
    task = await client.create_task("n.flow")
    worker = await store.register_worker("other", lease=SOON, slots=1, handlers=[])
    await store.add_served_queues(worker, [queue.base for queue in await store.list_queues()])
    for _ in range(MOST_LOST):
        [claim] = (await store.claim(worker, 1)).claims
        await store.settle(worker, [released_outcome(claim)])
    [claim] = (await store.claim(worker, 1)).claims
    await store.retire_worker(worker)

    async with Worker(store, [{"only": lambda: 1}], namespaces=["n"]):
        await client.wait(task.id, timeout=SOON)
        [step_] = await client.steps(task.id)
        outcomes = [row.outcome for row in await client.attempts(task.id)]

    assert (StepStatus.COMPLETE, MOST_LOST + 2) == (step_.status, step_.attempts)
    assert [AttemptOutcome.RELEASED] * MOST_LOST + [
        AttemptOutcome.LOST,
        AttemptOutcome.COMPLETE,
    ] == outcomes


async def lose(store: Store, most: int) -> None:
    """Claim steps for a worker whose lease then ends."""
    dying = await store.register_worker("dying", lease=SOON, slots=most, handlers=[])
    await store.add_served_queues(dying, [queue.base for queue in await store.list_queues()])
    await store.claim(dying, most)
    await store.retire_worker(dying)


async def test_a_lost_step_that_is_not_retryable_fails(memory: Store) -> None:
    flow = template("flow", step("only", retry=NEVER))
    async with assembled(memory, [{"only": lambda: 1}], [flow]) as pieces:
        task = await LocalClient(memory).create_task("n.flow")
        await lose(memory, 1)

        await pieces.janitor.settle_lost_attempts()

        [step_] = await memory.list_steps(task.id)
        assert (StepStatus.ERROR, "lease_lost") == (step_.status, (step_.error or {})["code"])


async def test_the_delay_after_a_lost_attempt_grows_with_the_losses(memory: Store) -> None:
    steady = Retry(backoff="linear", initial_delay="10m", max_delay="1d", jitter=0)
    flow = template("flow", step("only", retry=steady))
    async with assembled(memory, [{"only": lambda: 1}], [flow]) as pieces:
        await LocalClient(memory).create_task("n.flow")
        worker = await memory.register_worker("manual", lease=SOON, slots=1, handlers=[])
        await memory.add_served_queues(worker, [queue.base for queue in pieces.lease.served])
        for _ in range(2):
            [claim] = (await memory.claim(worker, 1)).claims
            await memory.settle(
                worker, [lost_outcome(claim, JsonText('{"code":"lost"}'), timedelta(0))]
            )
        await lose(memory, 1)

        await pieces.janitor.settle_lost_attempts()

        due = (await memory.claim(worker, 1)).next_due
        assert due is not None
        assert 29 * 60 < due <= 30 * 60


class Unreadable(Unreliable):
    """A store whose templates only a later release can read."""

    async def template_by_id(self, *args: Any) -> Any:
        raise TaskerError("unknown key")


async def test_a_lost_step_of_an_unreadable_template_is_left_to_other_workers(
    memory: Store,
) -> None:
    async with assembled(Unreadable(memory), [{"only": lambda: 1}], [FLOW]) as pieces:
        task = await LocalClient(memory).create_task("n.flow")
        await lose(memory, 1)

        await pieces.janitor.settle_lost_attempts()

        [step_] = await memory.list_steps(task.id)
        assert StepStatus.ENQUEUED == step_.status


async def test_all_expired_attempts_are_settled_in_one_call(memory: Store) -> None:
    """One run of the duty settles any number."""
    store = Unreliable(memory)
    async with assembled(store, [{"only": lambda: 1}], [FLOW]) as pieces:
        requests = [TaskRequest(template="n.flow") for _ in range(2 * MOST + 1)]
        await LocalClient(memory).create_tasks(requests)
        await lose(memory, len(requests))

        await pieces.janitor.settle_lost_attempts()

        assert [] == await memory.list_expired_attempts(1)
        assert 3 == store.calls.count("list_expired_attempts")


async def test_all_tasks_past_their_deadline_end_in_one_call() -> None:
    clock = ManualClock()
    async with open_store("sqlite::memory:", clock=clock) as memory:
        store = Unreliable(memory)
        async with assembled(store, [{"only": lambda: 1}], [FLOW]) as pieces:
            late = TaskRequest(template="n.flow", deadline=timedelta(seconds=1))
            client = LocalClient(memory)
            await client.create_tasks([late] * (2 * SWEPT + 1))
            clock.advance(timedelta(seconds=2))

            await pieces.janitor.end_overdue_and_failed_tasks()

            assert [] == await client.tasks(TaskFilter(status=TaskStatus.PENDING))
            assert 3 == store.calls.count("end_overdue_and_failed_tasks")


async def test_the_end_of_a_task_of_an_unreadable_template_is_reported() -> None:
    """The name of the template is missing; the janitor continues."""
    clock = ManualClock()
    events: list[Notice] = []
    async with open_store("sqlite::memory:", clock=clock) as memory:
        store = Unreadable(memory)
        async with assembled(store, [], [FLOW], observers=[events.append]) as pieces:
            task = await LocalClient(memory).create_task("n.flow", deadline=timedelta(seconds=1))
            clock.advance(timedelta(seconds=2))

            await pieces.janitor.end_overdue_and_failed_tasks()

    [ended] = of_kind(TaskEnded, events)
    assert (task.id, TaskStatus.ERROR, None) == (ended.task_id, ended.status, ended.template)


async def test_all_steps_past_their_queue_timeout_fail_in_one_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Each is logged, and the ends of their tasks are reported.
    """
    clock = ManualClock()
    events: list[Notice] = []
    async with open_store("sqlite::memory:", clock=clock) as memory:
        store = Unreliable(memory)
        flow = template("flow", step("only", queue_timeout=timedelta(seconds=1)))
        async with assembled(store, [], [flow], observers=[events.append]) as pieces:
            requests = [TaskRequest(template="n.flow")] * (2 * MOST + 1)
            tasks = await LocalClient(memory).create_tasks(requests)
            clock.advance(timedelta(seconds=2))

            await pieces.janitor.fail_unclaimed_steps()

            assert 3 == store.calls.count("fail_unclaimed_steps")
    ids = sorted(task.id for task in tasks)
    assert ids == sorted(ended.task_id for ended in of_kind(TaskEnded, events))
    logged = [vars(record) for record in caplog.records if record.message == "queue_timeout"]
    assert [(task_id, "only") for task_id in ids] == sorted(
        (record["task_id"], record["step"]) for record in logged
    )


async def test_a_worker_fails_unclaimed_steps_at_their_queue_timeout(store: Store) -> None:
    """
    Whichever worker it is; the step's retry policy does not matter, no handler failed.
    """
    brief = timedelta(seconds=0.3)
    client = LocalClient(store)
    await client.register(template("flow", step("elsewhere", queue_timeout=brief, retry=AT_ONCE)))
    task = await client.create_task("n.flow")

    async with Worker(store, [{"other": lambda: 1}], namespaces=["n"]):
        with pytest.raises(TaskFailed) as failed:
            await client.wait(task.id, timeout=SOON)
        [step_] = await client.steps(task.id)

    assert "queue_timeout" == failed.value.details["code"]
    assert (StepStatus.ERROR, 1, None) == (step_.status, step_.attempts, step_.worker)


async def test_ended_tasks_are_deleted_after_their_retention(memory: Store) -> None:
    """In portions, until none is left; others are kept according to the setting."""
    store = Unreliable(memory)
    brief = replace(FLOW, name="brief", retention=timedelta(microseconds=1))
    async with assembled(store, [{"only": lambda: 1}], [brief, FLOW]) as pieces:
        client = LocalClient(memory)
        await client.create_tasks([TaskRequest(template="n.brief")] * (2 * PRUNED + 1))
        kept = await client.create_task("n.flow")
        for task in await client.tasks(limit=500):
            await client.cancel(task.id)

        await pieces.janitor.prune_tasks()

        assert [kept.id] == [task.id for task in await client.tasks(limit=500)]
        assert 3 == store.calls.count("prune_tasks")

        short = WorkerSettings(retention=timedelta(seconds=1))
        async with assembled(memory, [], [], short) as others:

            async def is_gone() -> bool:
                await others.janitor.prune_tasks()
                return [] == await client.tasks()

            await eventually(is_gone)


async def test_each_duty_of_the_janitor_is_repeated(memory: Store) -> None:
    """
    Whether or not it found something to do.
    """
    store = Unreliable(memory)
    settings = WorkerSettings(lease=timedelta(seconds=1))
    async with Worker(store, [{"only": lambda: 1}], templates=[FLOW], settings=settings):
        duties = ("list_expired_attempts", "fail_unclaimed_steps", "end_overdue_and_failed_tasks")
        await eventually(lambda: all(store.calls.count(call) > 1 for call in duties))
        assert "prune_tasks" in store.calls


async def test_steps_that_no_worker_can_run_are_logged_as_warnings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The record has the reason; other namespaces are left to their workers."""
    clock = ManualClock()
    async with open_store("sqlite::memory:", clock=clock) as memory:
        ours = template("flow", step("here"), step("render", requires={"gpu": "true"}))
        theirs = replace(template("other", "foreign"), namespace="elsewhere")
        client = LocalClient(memory)
        await client.register(theirs)
        handlers = [{"here": lambda: 1, "render": lambda: 2}]
        long = WorkerSettings(lease=timedelta(hours=1))
        async with assembled(memory, handlers, [ours], long) as pieces:
            for name in ("n.flow", "elsewhere.other"):
                await client.create_task(name)
            await pieces.janitor.warn_of_unserved_steps()
            early = list(caplog.messages)
            clock.advance(timedelta(seconds=90))

            await pieces.janitor.warn_of_unserved_steps()

    assert [] == early
    [warning] = [record for record in caplog.records if record.msg == "steps_without_worker"]
    assert (
        "n",
        "render",
        90,
        "no live worker with handler 'render' has the required label gpu=true",
    ) == tuple(vars(warning)[name] for name in ("namespace", "handler", "due_s", "reason"))


async def test_steps_of_a_served_namespace_are_logged_even_without_handlers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    async with open_store("sqlite::memory:", clock=clock) as memory:
        client = LocalClient(memory)
        await client.register(template("flow", "nobody"))
        await client.create_task("n.flow")
        clock.advance(timedelta(seconds=90))
        long = WorkerSettings(lease=timedelta(hours=1))
        async with assembled(memory, [{"x": lambda: 1}], [], long, namespaces=["n"]) as pieces:
            await pieces.janitor.warn_of_unserved_steps()

    [warning] = [record for record in caplog.records if record.msg == "steps_without_worker"]
    assert ("n", "nobody") == (vars(warning)["namespace"], vars(warning)["handler"])
