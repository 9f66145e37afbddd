"""What is counted, and under which labels."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.waiting import eventually

from tasker import (
    AsyncContext,
    Context,
    LocalClient,
    PermanentError,
    Retry,
    RetryableError,
    Worker,
    WorkerSettings,
    Workflow,
    open_store,
)
from tasker.analytics.model import HandlerBacklog, OldestSnapshot
from tasker.events import Subscription, SubscriptionId
from tasker.model import AttemptOutcome, TaskId, TaskStatus, TemplateName
from tasker.notices import AttemptStopped, Notice, StepSettled, StepStarted, StepWaiting, TaskEnded
from tasker.observe.metrics import MOST_VALUES, Metrics
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite::memory:") as store:
        yield store


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Return the values by name and label values, in the order of label names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render_text().decode())
        for sample in family.samples
    }


def snapshot(name: str, age: float | None) -> OldestSnapshot:
    return OldestSnapshot(
        kind="session", name=name, user="alice", pid=1, state="", age_seconds=age, transactions=7
    )


def child_workflow(ready: Callable[[], bool] = lambda: True) -> Workflow:
    """Return a workflow whose only step completes when it is `ready`."""
    workflow = Workflow("n.child")

    @workflow.step
    async def work() -> None:
        await eventually(ready)

    return workflow


def endings() -> Workflow:
    """Return a workflow whose attempts end in every way but at shutdown."""
    workflow = Workflow("n.endings")

    @workflow.step
    async def completes() -> None:
        return None

    @workflow.step(retry=Retry(max_attempts=2, backoff="none"))
    async def retries(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise RetryableError("once more")

    @workflow.step
    async def waits(ctx: AsyncContext) -> None:
        await ctx.client.run("n.child")

    @workflow.step(timeout=0.05, retry=Retry(max_attempts=1))
    async def takes_too_long() -> None:
        await asyncio.Event().wait()

    @workflow.step
    async def fails() -> None:
        raise PermanentError("no")

    return workflow


async def test_the_gauge_of_running_attempts_returns_to_zero(store: Store) -> None:
    """
    Whether it completed, was retried, parked, timed out, failed, or was interrupted at shutdown.
    """
    metrics, started = Metrics(), asyncio.Event()
    endless = Workflow("n.endless")

    @endless.step
    async def never_ends() -> None:
        started.set()
        await asyncio.Event().wait()

    parked = ("tasker_attempts_total", "n", "parked", "waits", "endings")
    workflows = [endings(), child_workflow(lambda: parked in samples(metrics)), endless]
    settings = WorkerSettings(grace=timedelta(0))
    async with Worker(
        store, workflows, settings=settings, observers=[metrics.count_notice]
    ) as worker:
        await worker.client.create_task("n.endless")
        await worker.client.create_task("n.endings")
        await started.wait()
        ended = ("tasker_tasks_ended_total", "n", "error", "endings")
        await eventually(lambda: ended in samples(metrics))
        assert 1 == samples(metrics)["tasker_attempts_running",]

    values = samples(metrics)
    assert 0 == values["tasker_attempts_running",]
    assert {
        ("n", "complete", "completes", "endings"),
        ("n", "retry", "retries", "endings"),
        ("n", "parked", "waits", "endings"),
        ("n", "error", "takes_too_long", "endings"),
        ("n", "error", "fails", "endings"),
    } <= {name[1:] for name in values if name[0] == "tasker_attempts_total"}


async def test_tasks_are_counted_and_timed_by_namespace_and_template(store: Store) -> None:
    metrics = Metrics()
    async with Worker(store, [child_workflow()], observers=[metrics.count_notice]) as worker:
        for _ in range(2):
            metrics.count_created_tasks([await worker.client.create_task("n.child")])
        key = ("tasker_tasks_ended_total", "n", "complete", "child")
        await eventually(lambda: samples(metrics).get(key) == 2)

    values = samples(metrics)
    assert 2 == values["tasker_tasks_created_total", "n", "child"]
    assert 2 == values["tasker_task_duration_seconds_count", "n", "child"]
    assert 0 < values["tasker_task_duration_seconds_sum", "n", "child"] < 60


async def test_the_time_of_steps_is_counted_by_status(store: Store) -> None:
    """The times are those of the history; time in a queue has its own histogram."""
    metrics, workflow = Metrics(), Workflow("n.times")

    @workflow.step(retry=Retry(max_attempts=2, backoff="fixed", initial_delay=0.1, jitter=0))
    async def retries(ctx: Context) -> None:
        await asyncio.sleep(0.01)
        if ctx.attempt == 1:
            raise RetryableError("once more")

    @workflow.step
    async def waits(ctx: AsyncContext, retries: None) -> None:
        await ctx.client.run("n.child")

    parked = ("tasker_attempts_total", "n", "parked", "waits", "times")
    workflows = [workflow, child_workflow(lambda: parked in samples(metrics))]
    async with Worker(store, workflows, observers=[metrics.count_notice]) as worker:
        task = await worker.client.run("n.times")
        timeline = await worker.client.task_times(task.id)

    values = samples(metrics)
    total = {
        kind: sum(getattr(times, kind) for times in timeline.steps.values())
        for kind in ("queued", "ran", "backoff", "parked")
    }
    assert 0.1 <= total["backoff"]
    assert 0 < total["parked"]
    counted = {
        name[1]: value
        for name, value in values.items()
        if name[0] == "tasker_step_seconds_total" and name[2:] == ("n", "times")
    }
    ran = total.pop("ran")  # in the history until the settlement, which a busy machine delays
    assert 0.02 <= counted.pop("ran") <= ran + 0.05
    assert {kind: pytest.approx(seconds, abs=0.05) for kind, seconds in total.items()} == counted
    assert 4 == values["tasker_attempt_queued_seconds_count", "n", "times"]


async def test_attempts_lost_with_their_worker_are_counted(store: Store) -> None:
    metrics, begun, released = Metrics(), asyncio.Event(), asyncio.Event()
    workflow = Workflow("n.lost")

    @workflow.step
    async def once(ctx: Context) -> None:
        if ctx.attempt == 1:
            begun.set()
            await released.wait()

    async with Worker(store, [workflow]) as first:
        await first.client.create_task("n.lost")
        await begun.wait()
        await store.retire_worker(first.id)
        async with Worker(store, [workflow], observers=[metrics.count_notice]):
            key = ("tasker_attempts_total", "n", "lost", "once", "lost")
            await eventually(lambda: samples(metrics).get(key) == 1)
        released.set()

    assert 0 < samples(metrics)["tasker_step_seconds_total", "backoff", "n", "lost"]


async def test_a_task_that_an_operator_ends_is_counted(store: Store) -> None:
    metrics = Metrics()
    await store.register_template(child_workflow().template, registered_by="tests")
    client = LocalClient(store, observers=[metrics.count_notice])
    task = await client.create_task("n.child")
    await client.cancel(task.id)

    assert 1 == samples(metrics)["tasker_tasks_ended_total", "n", "cancelled", "child"]


def test_no_series_has_a_creation_time() -> None:
    metrics = Metrics()
    metrics.count_request("GET", "/v1/tasks", 200, 0.1)

    assert [] == [name for name, *_ in samples(metrics) if name.endswith("_created")]


def test_the_backlog_is_replaced_at_each_scrape() -> None:
    """
    A queue that is gone leaves no series behind.
    """
    metrics = Metrics()
    metrics.set_backlog_gauges([HandlerBacklog("n", "old", 5, 0, 0, 0, 1.0)])
    metrics.set_backlog_gauges([HandlerBacklog("n", "new", 1, 2, 3, 4, 1.0)])

    assert {
        ("new", "n", "due"): 1,
        ("new", "n", "scheduled"): 2,
        ("new", "n", "running"): 3,
        ("new", "n", "paused"): 4,
    } == {name[1:]: value for name, value in samples(metrics).items() if "queue" in name[0]}


def test_deliveries_of_events_are_counted_with_the_age_of_the_oldest() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    waiting = Subscription(
        id=SubscriptionId(1),
        namespace="n",
        name="crm",
        events=("*",),
        url=None,
        pending=3,
        dead=2,
        oldest_pending=now - timedelta(seconds=90),
        created_by="alice",
        created_at=now,
        served_at=now,
    )
    metrics = Metrics()
    metrics.set_delivery_gauges(
        [waiting, replace(waiting, name="bi", pending=0, oldest_pending=None)], now
    )

    assert {
        ("tasker_event_deliveries", "n", "pending", "crm"): 3,
        ("tasker_event_deliveries", "n", "dead", "crm"): 2,
        ("tasker_event_deliveries", "n", "pending", "bi"): 0,
        ("tasker_event_deliveries", "n", "dead", "bi"): 2,
        ("tasker_oldest_event_delivery_seconds", "n", "crm"): 90,
    } == {name: value for name, value in samples(metrics).items() if "deliver" in name[0]}


def test_labels_beyond_the_limit_are_counted_as_other() -> None:
    """
    Templates registered without end make no endless metrics, and no step is missing in the sum.
    """
    metrics = Metrics()
    metrics.set_backlog_gauges(
        [HandlerBacklog("n", f"h{no}", 1, 0, 0, 0, 1.0) for no in range(MOST_VALUES + 10)]
    )

    values = samples(metrics)
    assert 1 == values["tasker_queue_steps", "h0", "n", "due"]
    assert 10 == values["tasker_queue_steps", "other", "n", "due"]


async def test_the_oldest_snapshot_has_one_series() -> None:
    """It is that of the current holder; the age is absent if it is hidden."""
    metrics = Metrics()
    metrics.set_oldest_snapshot_gauges(snapshot("psql", 90.0))
    known = samples(metrics)
    metrics.set_oldest_snapshot_gauges(snapshot("pg_dump", None))
    hidden = samples(metrics)
    metrics.set_oldest_snapshot_gauges(None)

    holder = ("session", "psql", "alice")
    assert 90.0 == known["tasker_oldest_snapshot_seconds", *holder]
    assert 7.0 == known["tasker_oldest_snapshot_transactions", *holder]
    assert [("tasker_oldest_snapshot_transactions", "session", "pg_dump", "alice")] == [
        key for key in hidden if key[0].startswith("tasker_oldest")
    ]
    assert [] == [key for key in samples(metrics) if key[0].startswith("tasker_oldest")]


def test_notices_are_counted_alike_together_and_one_by_one() -> None:
    pay, ship = (TemplateName("n", name, "1.0.0") for name in ("pay", "ship"))
    first, second = TaskId("a"), TaskId("b")
    started = (first, pay, "one", 1, "c")
    none, short, long = (timedelta(seconds=seconds) for seconds in (0, 0.001, 500))
    complete, retry = AttemptOutcome.COMPLETE, AttemptOutcome.RETRY
    notices: list[Notice] = [
        StepStarted(*started, none, none),
        StepStarted(*started, -short, long, is_remote=True),
        StepStarted(second, ship, "two", 1, "c", long, none),
        StepSettled(*started, complete, short, None, none),
        StepSettled(*started, complete, long * 10, None, none, is_remote=True),
        StepSettled(second, ship, "two", 1, "c", retry, -short, "E", long),
        StepWaiting(*started, awaits=None, ran_for=short),
        AttemptStopped(*started, ran_for=short),
        TaskEnded(first, TaskStatus.COMPLETE, pay, long),
        TaskEnded(second, TaskStatus.COMPLETE, pay, short),
        TaskEnded(second, TaskStatus.ERROR, None, None),
    ]
    together, separately = Metrics(), Metrics()
    together.count_notices(notices)
    for notice in notices:
        separately.count_notice(notice)

    assert samples(separately) == pytest.approx(samples(together))
