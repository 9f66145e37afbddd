"""A worker as programs hold it: how it starts, what it serves, how it fails."""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tests.engine.factories import ONE_SLOT, SOON, Unreliable, of_kind, step, template
from tests.waiting import eventually

from tasker import (
    AsyncContext,
    Context,
    LocalClient,
    Retry,
    StepStatus,
    TaskRequest,
    TaskStatus,
    Worker,
    WorkerSettings,
    Workflow,
    open_store,
)
from tasker.engine import claimer
from tasker.errors import (
    HandlerNotFound,
    InvalidSettings,
    InvalidTemplate,
    Misuse,
    SchemaMismatch,
    TaskFailed,
    TaskRegistrationError,
)
from tasker.model import AttemptOutcome, StepOverride, Task, TaskFilter
from tasker.notices import (
    EventLoopBlocked,
    Notice,
    SettlementRejected,
    StepSettled,
    StepStarted,
    TaskEnded,
)
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("flow", "only")


@dataclass
class Order:
    """What the workflow of a shop declares as its input."""

    sku: str


# ----------------------------------------------------------------------------- starting


async def test_a_step_without_a_handler_prevents_the_start(memory: Store) -> None:
    flow = template("flow", step("charge", callable="Payments::Charge"))
    with pytest.raises(HandlerNotFound) as refused:
        async with Worker(memory, [{"Payments.Charges": lambda: 1}], templates=[flow]):
            pass

    assert "n.flow@1.0.0, step charge: " in str(refused.value)
    assert "Payments.Charge" in str(refused.value)
    assert [] == await memory.list_approved_templates()
    assert [] == await memory.list_workers()


async def test_a_handler_that_does_not_match_its_step_prevents_the_start(memory: Store) -> None:
    from typing import Annotated

    from tasker import Result

    def only(reserved: Annotated[int, Result("reserve")]) -> int:
        return reserved

    with pytest.raises(Misuse, match=r"step 'only' of n\.flow@1\.0\.0: .*Result"):
        async with Worker(memory, [{"only": only}], templates=[FLOW]):
            pass


async def test_a_version_with_different_content_prevents_the_start(memory: Store) -> None:
    await LocalClient(memory, actor="ann").register(FLOW)
    other = template("flow", "only", description="another")
    with pytest.raises(TaskRegistrationError, match=r"n.*flow.*1\.0\.0.*ann"):
        async with Worker(memory, [{"only": lambda: 1}], templates=[other]):
            pass

    async with Worker(memory, [{"only": lambda: 1}], templates=[other], replace=True):
        assert "another" == (await memory.list_approved_templates())[0].template.description


async def test_the_traceback_of_a_refused_template_has_no_frames_of_the_store(
    memory: Store,
) -> None:
    await LocalClient(memory, actor="ann").register(FLOW)
    other = template("flow", "only", description="another")
    with pytest.raises(TaskRegistrationError) as by_worker:
        async with Worker(memory, [{"only": lambda: 1}], templates=[other]):
            pass
    with pytest.raises(TaskRegistrationError) as by_client:
        await LocalClient(memory).register(other)

    for refused in (by_worker, by_client):
        paths = [str(frame.path) for frame in refused.traceback]
        assert [] == [path for path in paths if "/tasker/store/" in path]
        assert refused.value.__suppress_context__


async def test_an_invalid_template_prevents_the_start(memory: Store) -> None:
    """A template made in Python is checked like a text, and not kept."""
    invalid = template("flow", "only", version="two")
    with pytest.raises(InvalidTemplate, match="two"):
        async with Worker(memory, [{"only": lambda: 1}], templates=[invalid]):
            pass

    assert [] == await memory.list_approved_templates()


async def test_a_parameter_that_matches_nothing_prevents_the_start(memory: Store) -> None:
    """
    Before the broken version is registered.
    """
    orders = Workflow("shop.orders", version="1.0.0", input=Order)

    @orders.step
    def charge(sku: str) -> str:
        return sku

    @orders.step
    def ship(chrage: str) -> str:
        return chrage

    with pytest.raises(Misuse) as refused:
        async with Worker(memory, [orders]):
            pass

    assert "shop.orders@1.0.0" in str(refused.value)
    assert "step 'ship': parameter 'chrage'" in str(refused.value)
    assert "did you mean 'charge'?" in str(refused.value)
    assert [] == await memory.list_approved_templates()


async def test_without_declared_inputs_a_parameter_is_an_input_of_the_task(memory: Store) -> None:
    orders = Workflow("shop.orders", version="1.0.0")

    @orders.step
    def ship(chrage: str) -> str:
        return chrage

    async with Worker(memory, [orders]) as worker:
        assert "now" == await worker.client.run(orders, {"chrage": "now"})


async def test_a_missing_schema_prevents_the_start(postgres_schema_url: str) -> None:
    with pytest.raises(SchemaMismatch, match="tasker db upgrade"):
        async with open_store(postgres_schema_url) as store, Worker(store, []):
            pass


@pytest.mark.parametrize(
    ("setting", "wrong", "message"),
    [
        ("slots", 0, "slots: must be at least 1, not 0"),
        ("lease", 0.9, "lease: must be at least 1s, not 900ms"),
        ("grace", -1, "grace: must not be negative, but is -1"),
        ("poll", timedelta(0), "poll: must be at least 1ms, not 0s"),
        ("attempt_timeout", 0, "attempt_timeout: must be at least 1ms, not 0s"),
        ("result_limit", 0, "result_limit: must be at least 1, not 0"),
        ("memory", -1, "memory: must be at least 0, not -1"),
        ("processes", -1, "processes: must be at least 0, not -1"),
        ("blocked_after", timedelta(0), "blocked_after: must be at least 10ms, not 0s"),
    ],
)
def test_settings_out_of_bounds_are_refused(setting: str, wrong: object, message: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        WorkerSettings(**{setting: wrong})  # type: ignore[arg-type]
    assert message == str(caught.value)


async def test_the_client_of_a_worker_works_before_during_and_after_its_run(memory: Store) -> None:
    worker = Worker(memory, [{"only": lambda: 1}], templates=[FLOW])
    await LocalClient(memory).register(FLOW)
    before = await worker.client.create_task("n.flow")
    async with worker:
        during = await worker.client.create_task("n.flow")
        for task in (before, during):
            await worker.client.wait(task.id, timeout=SOON)
    after = await worker.client.create_task("n.flow")

    assert TaskStatus.PENDING == (await worker.client.get(after.id)).status


async def test_a_worker_that_is_stopped_before_it_runs_ends_immediately(memory: Store) -> None:
    worker = Worker(memory, [])
    worker.stop()
    async with asyncio.timeout(SOON.total_seconds()):
        await worker.run()


async def test_a_worker_runs_tasks_that_were_created_before_it_started(store: Store) -> None:
    client = LocalClient(store)
    await client.register(FLOW)
    tasks = await client.create_tasks([TaskRequest(template="n.flow") for _ in range(30)])
    async with Worker(
        store, [{"only": lambda: 1}], namespaces=["n"], settings=WorkerSettings(slots=4)
    ):
        for task in tasks:
            await client.wait(task.id, timeout=SOON)


async def test_a_worker_does_not_claim_steps_that_it_cannot_run(store: Store) -> None:
    client = LocalClient(store)
    await client.register(FLOW)
    await client.register(template("other"))
    mine, other = [await client.create_task(f"n.{name}") for name in ("flow", "other")]
    async with Worker(store, [{"only": lambda: 1}], namespaces=["n"]):
        await client.wait(mine.id, timeout=SOON)

    assert TaskStatus.PENDING == (await client.get(other.id)).status


@pytest.mark.parametrize("busy", [0, 20])
async def test_templates_that_are_registered_later_are_served_too(
    store: Store, busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Registered by another process; and even while the worker has more than enough to do.
    """
    monkeypatch.setattr(claimer, "_NEW_QUEUES_BUSY", 0.2)
    stop = False

    async def spin(context: AsyncContext) -> None:
        if not stop:
            await context.client.create_task("n.endless")

    async with Worker(
        store,
        [{"spin": spin, "only": lambda: 1}],
        templates=[template("endless", "spin")],
        namespaces=["n"],
        settings=WorkerSettings(slots=4, poll=timedelta(seconds=0.2)),
    ):
        client = LocalClient(store)
        await client.create_tasks([TaskRequest(template="n.endless") for _ in range(busy)])
        await client.register(FLOW)
        await client.run("n.flow", timeout=SOON)
        counts = await store.count_tasks(TaskFilter(name="endless"), most=100)
        stop = True

    assert bool(busy) == bool(sum(counts.values()) - counts[TaskStatus.COMPLETE])


async def test_a_handler_is_found_only_for_its_namespace(memory: Store) -> None:
    """Queues of other namespaces are different queues, even with equal handler names."""
    async with Worker(memory, [{"n.only": lambda: "mine"}], templates=[FLOW]) as worker:
        task = await worker.client.run("n.flow", timeout=SOON)
        [ended] = await worker.client.steps(task.id)

    assert "mine" == ended.result


# --------------------------------------------------------------------------- fairness


async def test_a_long_task_does_not_delay_older_ones(store: Store) -> None:
    """
    Freed steps go to the worker that freed them, but not all the time.
    """
    client = LocalClient(store)
    chain = template(
        "chain",
        *(step(f"s{n}", *([f"s{n - 1}"] if n else []), callable="only") for n in range(60)),
    )
    await client.register(FLOW)
    await client.register(chain)
    old = await client.create_tasks([TaskRequest(template="n.flow") for _ in range(10)])
    events: list[Notice] = []
    ended = of_kind
    async with Worker(
        store, [{"only": lambda: 1}], namespaces=["n"], settings=ONE_SLOT, observers=[events.append]
    ) as worker:
        long = await worker.client.create_task("n.chain")
        await worker.client.wait(long.id, timeout=SOON)

    order = [event.task_id for event in ended(TaskEnded, events)]
    assert {task.id for task in old} <= set(order[: order.index(long.id)])


async def test_free_slots_are_used_while_other_slots_are_busy(store: Store) -> None:
    release = asyncio.Event()

    async def long() -> None:
        await release.wait()

    settings = WorkerSettings(slots=8)
    async with Worker(
        store,
        [{"long": long, "short": lambda: "done"}],
        templates=[template("long"), template("short")],
        settings=settings,
    ) as worker:
        for _ in range(7):
            await worker.client.create_task("n.long")
        outside = LocalClient(store)
        short = await outside.create_tasks([TaskRequest(template="n.short")] * 3)
        for task in short:
            assert TaskStatus.COMPLETE == (await outside.wait(task.id, timeout=SOON)).status
        release.set()


async def test_the_step_that_has_been_due_longest_runs_first(memory: Store) -> None:
    client = LocalClient(memory)
    await client.register(FLOW)
    tasks = [await client.create_task("n.flow") for _ in range(20)]
    events: list[Notice] = []
    async with Worker(
        memory,
        [{"only": lambda: 1}],
        namespaces=["n"],
        settings=ONE_SLOT,
        observers=[events.append],
    ) as worker:
        await worker.client.wait(tasks[-1].id, timeout=SOON)

    assert [task.id for task in tasks] == [event.task_id for event in of_kind(StepStarted, events)]


# -------------------------------------------------------------------------- observers


async def test_observers_receive_notices_in_order(memory: Store) -> None:
    def only(context: Context) -> str:
        if context.attempt == 1:
            raise ValueError("once")
        return "done"

    events: list[Notice] = []
    async with Worker(
        memory, [{"only": only}], templates=[FLOW], observers=[events.append]
    ) as worker:
        task = await worker.client.run("n.flow", timeout=SOON, correlation_id="c-1")
        await eventually(lambda: of_kind(TaskEnded, events))

    seen = [(type(event), getattr(event, "attempt", None)) for event in events]
    assert [
        (StepStarted, 1),
        (StepSettled, 1),
        (StepStarted, 2),
        (StepSettled, 2),
        (TaskEnded, None),
    ] == seen
    first, second = of_kind(StepSettled, events)
    assert (AttemptOutcome.RETRY, AttemptOutcome.COMPLETE) == (first.outcome, second.outcome)
    assert "once" in first.error
    assert ("c-1", task.id, "only", FLOW.key) == (
        first.correlation_id,
        first.task_id,
        first.step,
        first.template,
    )


async def test_an_observer_that_raises_harms_neither_work_nor_others(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: Notice) -> None:
        raise RuntimeError("not interested")

    events: list[Notice] = []
    async with Worker(
        store, [{"only": lambda: 1}], templates=[FLOW], observers=[broken, events.append]
    ) as worker:
        task = await worker.client.run("n.flow", timeout=SOON)
        await eventually(lambda: of_kind(TaskEnded, events))

    assert TaskStatus.COMPLETE == task.status
    assert "observer_failed" in caplog.messages


async def test_an_observer_may_be_added_later(memory: Store) -> None:
    events: list[Notice] = []
    async with Worker(memory, [{"only": lambda: 1}], templates=[FLOW]) as worker:
        worker.observers.append(events.append)
        await worker.client.run("n.flow", timeout=SOON)
        await eventually(lambda: of_kind(TaskEnded, events))


async def test_a_handler_that_blocks_the_loop_is_named(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async def only() -> None:
        end = time.monotonic() + SOON.total_seconds()
        while "loop_blocked" not in caplog.messages and time.monotonic() < end:
            pass

    events: list[Notice] = []
    settings = WorkerSettings(blocked_after=timedelta(seconds=0.1))
    async with Worker(
        memory, [{"only": only}], templates=[FLOW], settings=settings, observers=[events.append]
    ) as worker:
        task = await worker.client.run("n.flow", timeout=SOON)
        [blocked] = await eventually(lambda: of_kind(EventLoopBlocked, events))

    assert (task.id, "only") == (blocked.task_id, blocked.step)
    [record] = [record for record in caplog.records if record.msg == "loop_blocked"]
    assert ("only", task.id) == (record.__dict__["step"], record.__dict__["task_id"])


# ------------------------------------------------------------------------ environments


async def test_an_environment_overrides_its_templates(store: Store) -> None:
    override = StepOverride(
        config={"url": "http://test"}, retry=Retry(max_attempts=1), timeout=timedelta(seconds=5)
    )
    flow = template(
        "flow",
        step("only", config={"url": "http://live", "kept": 1}),
        environments={"test": {"only": override}},
    )

    def only(context: Context) -> None:
        seen.append((dict(context.config), context.max_attempts))
        raise ValueError("once is enough")

    seen: list[Any] = []
    for environment in ("test", None):
        settings = WorkerSettings(environment=environment)
        async with Worker(store, [{"only": only}], templates=[flow], settings=settings) as worker:
            with pytest.raises(TaskFailed):
                await worker.client.run("n.flow", timeout=SOON)

    assert [({"url": "http://test", "kept": 1}, 1)] + [
        ({"url": "http://live", "kept": 1}, 3)
    ] * 3 == seen


@pytest.mark.parametrize(
    ("environment", "hints"),
    [
        (
            "tset",
            [
                "no template given to this worker declares it;"
                " did you mean 'test'? Allowed: live, test"
            ],
        ),
        ("test", []),
        (None, []),
    ],
)
async def test_an_environment_that_no_template_declares_is_a_warning(
    memory: Store, caplog: pytest.LogCaptureFixture, environment: str | None, hints: list[str]
) -> None:
    """Otherwise a misspelled one would apply no override without a word."""
    environments = {name: {"only": StepOverride(config={})} for name in ("test", "live")}
    flow = template("flow", step("only"), environments=environments)
    settings = WorkerSettings(environment=environment)

    async with Worker(memory, [{"only": lambda: 1}], templates=[flow], settings=settings):
        pass

    warnings = [one for one in caplog.records if one.msg == "environment_unknown"]
    assert hints == [vars(one)["hint"] for one in warnings]


# ------------------------------------------------------------------------------ memory


async def test_a_worker_with_little_memory_reads_values_again(store: Store) -> None:
    """
    Inputs and results that it cannot keep are read when they are needed, and no claim is
    forgotten meanwhile.
    """

    def make(text: str, n: int) -> str:
        return text[:1000] + str(n)

    def join(context: Context) -> int:
        return sum(len(context.results[name]) for name in context.results)

    makers = [step(f"make_{n}", callable="make") for n in range(6)]
    flow = template("big", *makers, step("join", *(maker.name for maker in makers)))
    settings = WorkerSettings(memory=1, slots=8)
    async with Worker(
        store, [{"make": make, "join": join}], templates=[flow], settings=settings
    ) as worker:
        client = LocalClient(store)
        tasks = await client.create_tasks(
            [TaskRequest(template="n.big", context={"text": "x" * 5000, "n": n}) for n in range(10)]
        )
        for task in tasks:
            await worker.client.wait(task.id, timeout=SOON)
            *_, joined = await client.steps(task.id)
            assert 6 * 1001 == joined.result


async def test_a_late_result_is_not_used(memory: Store) -> None:
    """The worker whose late result was refused uses the stored one."""
    began, go_on = asyncio.Event(), asyncio.Event()

    async def first() -> str:
        began.set()
        await go_on.wait()
        return "late"

    flow = template("flow", step("first"), step("second", "first"))
    store = Unreliable(memory)
    events: list[Notice] = []
    async with Worker(
        store,
        [{"first": first, "second": lambda first: first}],
        templates=[flow],
        observers=[events.append],
    ) as worker:
        task = await worker.client.create_task("n.flow")
        await began.wait()
        store.held_up["renew_lease"] = store.held_up["claim"] = gate = asyncio.Event()
        await LocalClient(memory).complete_step(task.id, "first", "by hand")
        await eventually(lambda: memory.list_held_claims(worker.id))  # the second step, claimed
        go_on.set()
        await eventually(lambda: of_kind(SettlementRejected, events))
        gate.set()
        await worker.client.wait(task.id, timeout=SOON)
        _, second = await worker.client.steps(task.id)

    assert "by hand" == second.result


# ------------------------------------------------------------------------------ failing


class Surprising(Unreliable):
    """A store one method of which fails as no store should."""

    def __init__(self, store: Store, name: str) -> None:
        super().__init__(store)
        self.name = name
        self.surprises = False

    def __getattr__(self, name: str) -> Any:
        if name == self.name and self.surprises:
            return self._surprise
        return super().__getattr__(name)

    async def _surprise(self, *_: object, **__: object) -> Any:
        raise ZeroDivisionError("who would have thought")


@pytest.mark.parametrize(
    "name",
    [
        "renew_lease",
        "list_expired_attempts",
        "end_overdue_and_failed_tasks",
        "settle",
        "claim",
        "load_task_inputs",
    ],
)
async def test_a_failing_background_task_ends_the_worker_with_its_error(
    memory: Store, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """A partially working worker stops."""
    store = Surprising(memory, name)
    settings = WorkerSettings(lease=timedelta(seconds=1))
    inside = False
    with pytest.raises(ZeroDivisionError, match="who would have thought"):
        async with Worker(store, [{"only": lambda: 1}], templates=[FLOW], settings=settings):
            inside = True
            store.surprises = True
            await LocalClient(memory).create_task("n.flow")
            await asyncio.Event().wait()

    assert inside
    [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert "worker_failed" == record.msg
    assert record.exc_info is not None
    assert not any(info.alive for info in await memory.list_workers())


async def test_a_failed_worker_releases_its_claims(memory: Store) -> None:
    began = asyncio.Event()

    async def only() -> None:
        began.set()
        await asyncio.Event().wait()

    store = Surprising(memory, "end_overdue_and_failed_tasks")
    with pytest.raises(ZeroDivisionError):
        async with Worker(store, [{"only": only}], templates=[FLOW]) as worker:
            task = await worker.client.create_task("n.flow")
            await began.wait()
            store.surprises = True
            await asyncio.Event().wait()
    [handed_back] = await memory.list_steps(task.id)
    [attempt] = await memory.list_attempts(task.id)

    assert StepStatus.ENQUEUED == handed_back.status
    assert AttemptOutcome.RELEASED == attempt.outcome


async def test_the_error_of_the_block_is_raised(memory: Store) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with Worker(memory, []):
            raise KeyError("mine")


async def test_ended_reports_the_reason(memory: Store) -> None:
    store = Surprising(memory, "end_overdue_and_failed_tasks")
    with pytest.raises(ZeroDivisionError):
        async with Worker(store, []) as worker:
            store.surprises = True
            await worker.wait_until_ended()


async def test_a_step_whose_task_cannot_be_read_is_postponed(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Its template may have been written by a later release. Other steps run."""

    class Illiterate(Unreliable):
        def __getattr__(self, name: str) -> Any:
            return self._load if name == "load_task_inputs" else super().__getattr__(name)

        async def _load(self, ids: Any) -> Any:
            if odd in ids:
                raise Misuse("what is this?")
            return await memory.load_task_inputs(ids)

    client = LocalClient(memory)
    await client.register(FLOW)
    tasks = await client.create_tasks([TaskRequest(template="n.flow") for _ in range(7)])
    odd = tasks[3].id
    others = [task for task in tasks if task.id != odd]
    async with Worker(Illiterate(memory), [{"only": lambda: 1}], namespaces=["n"]):
        for task in others:
            await client.wait(task.id, timeout=SOON)
        step = await eventually(lambda: _postpone(memory, tasks[3]))

    assert "what is this?" == step.error["message"]
    assert "task_unreadable" in caplog.messages


async def _postpone(store: Store, task: Task) -> Any:
    [step] = await store.list_steps(task.id)
    return step if step.status is StepStatus.ENQUEUED and step.attempts == 1 else None


async def test_a_worker_stops_immediately_after_its_last_background_task(memory: Store) -> None:
    """
    It does not wait for the end of its grace.
    """

    async def only(context: AsyncContext) -> None:
        child = await context.client.create_task("n.child")
        await context.client.wait(child.id)

    store = Unreliable(memory)
    await LocalClient(memory).register(template("child"))  # nobody runs it
    settings = WorkerSettings(grace=timedelta(hours=1))
    async with Worker(store, [{"only": only}], templates=[FLOW], settings=settings) as worker:
        store.held_up["park_until_task_ends"] = asyncio.Event()
        await worker.client.create_task("n.flow")
        await eventually(lambda: "park_until_task_ends" in store.calls)
        worker.stop()
        await asyncio.sleep(0)
        store.held_up["park_until_task_ends"].set()
        try:
            async with asyncio.timeout(SOON.total_seconds()):
                await worker.wait_until_ended()
        finally:
            worker.stop(timedelta(0))
