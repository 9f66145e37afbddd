"""Workers keep to the limits of steps."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from tasker import (
    AsyncContext,
    InvalidInput,
    Limit,
    Retry,
    TaskConcurrency,
    TaskRequest,
    TaskStatus,
    Worker,
    Workflow,
    open_store,
    parse_template,
)
from tasker.engine import janitor
from tasker.errors import RetryableError, TaskFailed
from tasker.settings import WorkerSettings
from tasker.testing.virtual_time import VirtualTimeStore

pytestmark = pytest.mark.anyio

SOON = timedelta(seconds=60)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that several store objects can open."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'tasks.db'}"
    return str(request.getfixturevalue("postgres_store_url"))


class Gauge:
    """Counts calls in progress by customer, and records the greatest numbers."""

    def __init__(self) -> None:
        self.running: dict[str, int] = {}
        self.most: dict[str, int] = {}

    def begin(self, customer: str) -> None:
        self.running[customer] = self.running.get(customer, 0) + 1
        self.most[customer] = max(self.most.get(customer, 0), self.running[customer])

    def end(self, customer: str) -> None:
        self.running[customer] -= 1


async def test_the_end_of_a_task_starts_the_next_that_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At once: no janitor looks for it within this test. A failure counts as well."""
    monkeypatch.setattr(janitor, "PERIOD", 3600.0)
    flow = Workflow(
        "n.imports",
        version="1.0.0",
        concurrency=TaskConcurrency("import:{input.customer}", tasks=1),
    )

    @flow.step(retry=Retry(max_attempts=1))
    async def load(customer: str, fails: bool) -> None:
        if fails:
            raise ValueError("no")

    settings = WorkerSettings(lease=timedelta(hours=1))
    async with (
        open_store("sqlite::memory:") as store,
        Worker(store, [flow], settings=settings) as one,
    ):
        requests = [{"customer": "a", "fails": fails} for fails in (False, True, False, False)]
        tasks = [await one.client.create_task(flow, request) for request in requests]
        for task in tasks:
            with suppress(TaskFailed):
                await one.client.wait(task.id, timeout=SOON)
        ends = [(await one.client.get(task.id)).status for task in tasks]

    assert ["complete", "error", "complete", "complete"] == ends


async def test_two_workers_together_respect_a_limit_by_customer(url: str) -> None:
    """Steps without the limit are not held up, and all tasks end."""
    gauge = Gauge()
    flow = Workflow("n.calls", version="1.0.0")
    limit = Limit("customer:{input.customer}", concurrency=2)

    @flow.step(limits=[limit], retry=Retry(initial_delay=0.01, jitter=0))
    async def call(customer: str, fails: bool) -> str:
        gauge.begin(customer)
        await asyncio.sleep(0.005)
        gauge.end(customer)
        if fails and gauge.running.setdefault(f"{customer} failed", 0) == 0:
            gauge.running[f"{customer} failed"] = 1
            raise RetryableError("once")
        return customer

    @flow.step
    def note(call: str) -> str:
        return call

    settings = WorkerSettings(slots=10, poll=timedelta(seconds=30))
    async with (
        open_store(url, upgrade=True) as store,
        open_store(url) as second_store,
        Worker(store, [flow], settings=settings) as worker,
        Worker(second_store, [flow], settings=settings),
    ):
        tasks = await worker.client.create_tasks(
            [
                TaskRequest(template="n.calls", context={"customer": customer, "fails": n == 3})
                for n in range(10)
                for customer in ("a", "b", "c")
            ]
        )
        ended = [await worker.client.wait(task.id, timeout=SOON) for task in tasks]

    assert {TaskStatus.COMPLETE} == {task.status for task in ended}
    assert {"a": 2, "b": 2, "c": 2} == gauge.most


async def test_a_step_starts_as_soon_as_its_limit_has_room(url: str) -> None:
    """It does not wait for the next poll, also if another worker makes room."""
    started: list[str] = []
    begun, let_go = asyncio.Event(), asyncio.Event()

    def flow_of(name: str) -> Workflow[dict[str, object], object]:
        flow: Workflow[dict[str, object], object] = Workflow(f"n.{name}", version="1.0.0")

        async def run() -> None:
            started.append(name)
            begun.set()
            await let_go.wait()

        flow.step(name=name, limits=[Limit("shared:one", concurrency=1)])(run)
        return flow

    first, second = flow_of("first"), flow_of("second")
    settings = WorkerSettings(slots=1, poll=timedelta(seconds=30))
    async with (
        open_store(url, upgrade=True) as store,
        open_store(url) as second_store,
        Worker(store, [first], settings=settings) as worker,
        Worker(second_store, [second], settings=settings) as other,
    ):
        one = await worker.client.create_task(first, {})
        await begun.wait()
        two = await other.client.create_task(second, {})
        let_go.set()
        ended = [await worker.client.wait(task.id, timeout=SOON) for task in (one, two)]

    assert ["first", "second"] == started
    assert {TaskStatus.COMPLETE} == {task.status for task in ended}


async def test_starts_follow_the_rate_of_a_limit() -> None:
    flow = Workflow("n.rated", version="1.0.0", limits=[Limit("api", rate="2/s", burst=2)])
    starts: list[float] = []
    store = VirtualTimeStore()

    @flow.step
    def call() -> None:
        starts.append(store.clock.now().timestamp())

    async with store:
        await store.upgrade_schema()
        async with Worker(store, [flow], settings=WorkerSettings(slots=10)) as worker:
            tasks = [await worker.client.create_task(flow, {}) for _ in range(6)]
            for task in tasks:
                await worker.client.wait(task.id, timeout=SOON)

    def spans(count: int) -> Sequence[float]:
        return [later - start for start, later in zip(starts, starts[count:], strict=False)]

    assert 6 == len(starts)
    assert min(spans(2)) >= 0.5 - 1e-6  # in t seconds at most 2 + 2 t
    assert starts[-1] - starts[0] <= 2.1


async def test_a_task_is_refused_if_a_limit_has_no_key(url: str) -> None:
    flow = Workflow("n.keyed", version="1.0.0", limits=[Limit("customer:{input.customer}")])
    flow.step(name="call")(lambda: None)
    async with open_store(url, upgrade=True) as store, Worker(store, [flow]) as worker:
        for context in ({}, {"customer": None}, {"customer": ["a"]}):
            with pytest.raises(InvalidInput) as refused:
                await worker.client.create_task(flow, context)
            assert "$.customer" == refused.value.path


async def test_a_step_with_a_condition_respects_its_limit(url: str) -> None:
    """It begins in the queue of the engine, which decides whether it runs."""
    gauge = Gauge()
    template = parse_template("""
name: conditional
namespace: n
steps: [{name: call, when: input.runs, limits: [{key: one, concurrency: 1}]}]
""")

    async def call() -> str:
        gauge.begin("one")
        await asyncio.sleep(0.005)
        gauge.end("one")
        return "called"

    async with (
        open_store(url, upgrade=True) as store,
        Worker(store, [{"call": call}], templates=[template]) as worker,
    ):
        tasks = await worker.client.create_tasks(
            [
                TaskRequest(template="n.conditional", context={"runs": runs})
                for runs in (True, False, True, True)
            ]
        )
        ended = [await worker.client.wait(task.id, timeout=SOON) for task in tasks]

    assert ["called", None, "called", "called"] == [task.result for task in ended]
    assert {"one": 1} == gauge.most


async def test_the_instances_of_a_map_respect_its_limits(url: str) -> None:
    """The `max_concurrency` of the map and the limits of its steps apply."""
    gauge = Gauge()
    template = parse_template("""
name: mapped
namespace: n
limits: [{key: all, concurrency: 5}]
steps:
  - name: lines
    map: {over: input.lines, as: line, max_concurrency: 2}
    handler: call
""")

    async def call(context: AsyncContext) -> str:
        gauge.begin(context.task_id)
        gauge.begin("all")
        await asyncio.sleep(0.005)
        gauge.end("all")
        gauge.end(context.task_id)
        return "called"

    async with (
        open_store(url, upgrade=True) as store,
        Worker(store, [{"call": call}], templates=[template]) as worker,
    ):
        tasks = await worker.client.create_tasks(
            [TaskRequest(template="n.mapped", context={"lines": [*range(8)]}) for _ in range(4)]
        )
        ended = [await worker.client.wait(task.id, timeout=SOON) for task in tasks]

    assert [["called"] * 8] * 4 == [task.result for task in ended]
    assert 5 == gauge.most.pop("all")
    assert {str(task.id): 2 for task in tasks} == gauge.most
