"""What the client over a store of this process does beyond what every client does."""

import asyncio
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.engine.factories import SOON, Unreliable

from tasker import (
    AsyncContext,
    Client,
    JsonSchemaMismatchAction,
    LocalClient,
    TaskRequest,
    TaskStatus,
    Template,
    Worker,
    open_store,
)
from tasker.client import SyncClient
from tasker.client.templates import TemplateCache
from tasker.errors import (
    IdempotencyConflict,
    InvalidInput,
    Misuse,
    NotFound,
    StoreUnavailable,
    TooLarge,
    WaitTimeout,
    WrongStatus,
)
from tasker.model import StepSpec, StepStatus, TaskFilter, TaskId
from tasker.store.postgres.address import Address
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


def template(name: str = "greeting", version: str = "1.0.0", **options: Any) -> Template:
    options.setdefault("steps", (StepSpec(name="greet"),))
    return Template(namespace="hello", name=name, version=version, **options)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite::memory:") as store:
        yield store


@pytest.fixture
async def client(store: Store) -> LocalClient:
    client = LocalClient(store, actor="ann")
    for version in ("1.0.0", "1.2.0", "2.0.0", "10.0.0", "11.0.0-rc.1"):
        await client.register(template(version=version))
    return client


# --------------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("reference", "options", "version"),
    [
        ("hello.greeting", {}, "10.0.0"),
        ("greeting", {"namespace": "hello"}, "10.0.0"),
        ("hello.greeting@1.0.0", {}, "1.0.0"),
        ("hello.greeting", {"version": "1.0.0"}, "1.0.0"),
        ("hello.greeting@^1.0", {}, "1.2.0"),
        ("hello.greeting@~1.0", {}, "1.0.0"),
        ("hello.greeting@>=1,<3", {}, "2.0.0"),
        ("hello.greeting@11.0.0-rc.1", {}, "11.0.0-rc.1"),
        ("hello.greeting@^1.0", {"namespace": "hello", "version": "^1.0"}, "1.2.0"),
    ],
)
async def test_a_reference_selects_the_latest_matching_version(
    client: LocalClient, reference: str, options: dict[str, Any], version: str
) -> None:
    task = await client.create_task(reference, **options)

    assert ("hello", "greeting", version) == task.template


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "hello.greeting@^3",
            r"no version of .* matches \^3; available: 1\.0\.0, .*10\.0",
        ),
        ("greeting", r"template default\.greeting not found; did you mean .*hello\.greeting"),
        ("hello.greting", r"template hello\.greting not found; did you mean .*hello\.greeting"),
        ("nowhere.nothing", r"template nowhere\.nothing not found$"),
    ],
)
async def test_a_template_that_is_not_found_is_reported_with_similar_ones(
    client: LocalClient, reference: str, message: str
) -> None:
    with pytest.raises(NotFound, match=message):
        await client.create_task(reference)


@pytest.mark.parametrize(
    ("options", "path"),
    [({"namespace": "other"}, "$.namespace"), ({"version": "2.0.0"}, "$.version")],
)
async def test_a_version_given_twice_must_agree(
    client: LocalClient, options: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidInput, match="given twice") as refused:
        await client.create_task("hello.greeting@1.0.0", **options)

    assert path == refused.value.path


async def test_a_resolved_name_is_cached_for_a_second(
    store: Store, client: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it sees registrations of others; its own it sees at once."""
    now = time.monotonic()
    monkeypatch.setattr(client, "_templates", TemplateCache(store, clock=lambda: now))

    async def latest() -> str:
        return (await client.create_task("hello.greeting")).template.version

    versions = [await latest()]
    await LocalClient(store).register(template(version="12.0.0"))
    versions.append(await latest())
    now += 0.9
    versions.append(await latest())
    now += 0.2
    versions.append(await latest())
    await client.register(template(version="13.0.0"))
    versions.append(await latest())

    assert ["10.0.0", "10.0.0", "10.0.0", "12.0.0", "13.0.0"] == versions


async def test_the_cache_of_template_names_is_bounded(
    store: Store, client: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasker.client.templates._MOST", 20)
    cache = TemplateCache(store)
    for patch in range(50):
        await cache.load_by_name(f"hello.greeting@>=1.0.{patch},<2", None, None)

    assert 20 == len(cache._by_name)


async def test_concurrent_callers_share_one_lookup_of_a_template(
    store: Store, client: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when one of them is cancelled, and when the template does not exist."""
    look_ups = 0
    real = store.list_approved_versions

    async def counted(namespace: str, name: str) -> list[str]:
        nonlocal look_ups
        look_ups += 1
        return await real(namespace, name)

    monkeypatch.setattr(store, "list_approved_versions", counted)
    cache = TemplateCache(store)
    first, *others = [
        asyncio.create_task(cache.load_by_name("hello.greeting", None, None)) for _ in range(50)
    ]
    await asyncio.sleep(0)
    first.cancel()
    loaded = await asyncio.gather(*others)
    missing = await asyncio.gather(
        *(cache.load_by_name("hello.nothing", None, None) for _ in range(50)),
        return_exceptions=True,
    )

    assert {"hello.greeting@10.0.0"} == {each.stored.template.full_name for each in loaded}
    assert {NotFound} == {type(each) for each in missing}
    assert 2 == look_ups


# ----------------------------------------------------------------------------- inputs

SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "polite": {"type": "boolean", "default": True}},
}


async def strict(
    store: Store, mode: JsonSchemaMismatchAction = JsonSchemaMismatchAction.ENFORCE
) -> LocalClient:
    client = LocalClient(store, inputs=mode)
    await client.register(template("strict", input_schema=SCHEMA))
    return client


async def test_defaults_of_the_schema_are_filled_in(store: Store) -> None:
    client = await strict(store)
    task = await client.create_task("hello.strict", {"name": "Ann"})

    assert {"name": "Ann", "polite": True} == (await client.get(task.id)).context


async def test_an_invalid_input_is_refused(store: Store) -> None:
    client = await strict(store)
    with pytest.raises(InvalidInput, match="name") as refused:
        await client.create_task("hello.strict", {"name": 5})

    assert "$.name" == refused.value.path
    assert [] == await client.tasks()


async def test_an_invalid_input_can_be_a_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    client = await strict(store, JsonSchemaMismatchAction.WARN)
    task = await client.create_task("hello.strict", {"name": 5})

    assert {"name": 5, "polite": True} == task.context
    assert "input_schema_mismatch" in caplog.messages


async def test_validation_of_inputs_can_be_switched_off(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    client = await strict(store, JsonSchemaMismatchAction.OFF)
    task = await client.create_task("hello.strict", {"name": 5})

    assert {"name": 5} == task.context
    assert "input_schema_mismatch" not in caplog.messages


@pytest.mark.parametrize("context", [[1], "text", 5, True])
@pytest.mark.parametrize("mode", list(JsonSchemaMismatchAction))
async def test_a_context_must_be_an_object_in_every_mode(
    store: Store, mode: JsonSchemaMismatchAction, context: Any
) -> None:
    client = await strict(store, mode)
    with pytest.raises(InvalidInput):
        await client.create_task("hello.strict", context)


async def test_a_context_that_is_too_large_is_refused(store: Store) -> None:
    client = LocalClient(store, context_limit=100)
    await client.register(template())
    with pytest.raises(TooLarge, match=r"the context is 1[0-9][0-9] bytes; the limit is 100"):
        await client.create_task("hello.greeting", {"text": "x" * 100})


async def test_creating_many_tasks_is_atomic(client: LocalClient) -> None:
    await client.register(template("strict", input_schema=SCHEMA))
    good = TaskRequest(template="hello.strict", context={"name": "Ann"}, idempotency_key="k")
    bad = TaskRequest(template="hello.strict", context={"name": 5})
    clash = TaskRequest(template="hello.greeting", idempotency_key="k")

    with pytest.raises(InvalidInput, match="task 1: ") as refused:
        await client.create_tasks([good, bad])
    with pytest.raises(IdempotencyConflict):
        await client.create_tasks([good, clash])

    assert "$[1].name" == refused.value.path
    assert [] == await client.tasks()
    first, second = await client.create_tasks([good, good])
    assert (first.id, True, False) == (second.id, first.created, second.created)


async def test_an_empty_list_creates_no_tasks(client: LocalClient) -> None:
    assert [] == await client.create_tasks([])


# ---------------------------------------------------------------------------- waiting


async def test_a_wait_outlasts_a_restart_of_the_store(store: Store, client: LocalClient) -> None:
    unreliable = Unreliable(store)
    task = await client.create_task("hello.greeting")
    unreliable.refuse("find_ended_tasks", 1)
    unreliable.refuse("get_task", 1)
    waiting = asyncio.create_task(LocalClient(unreliable).wait(task.id, timeout=SOON))
    await client.complete_step(task.id, "greet", "hi")

    assert TaskStatus.COMPLETE == (await waiting).status


async def test_a_wait_times_out_during_a_store_outage(store: Store, client: LocalClient) -> None:
    unreliable = Unreliable(store)
    task = await client.create_task("hello.greeting")
    unreliable.refuse("find_ended_tasks", 10**6)
    unreliable.refuse("get_task", 10**6)
    with pytest.raises(StoreUnavailable):
        await LocalClient(unreliable).wait(task.id, timeout=timedelta(seconds=0.1))


async def test_tasks_awaited_together_are_read_together(store: Store, client: LocalClient) -> None:
    counting = Unreliable(store)
    tasks = await client.create_tasks([TaskRequest(template="hello.greeting")] * 200)
    together = LocalClient(counting)
    waiting = asyncio.gather(*(together.wait(task.id, timeout=SOON) for task in tasks))
    for task in tasks:
        await client.complete_step(task.id, "greet", "hi")

    assert {TaskStatus.COMPLETE} == {task.status for task in await waiting}
    assert 200 == counting.calls.count("get_task")
    assert counting.calls.count("find_ended_tasks") < 200


async def test_a_wait_ends_with_the_workers_settlement_without_another_read(store: Store) -> None:
    """
    The worker of this process reports the end; the store is read for the task only.
    """
    reading = Unreliable(store)
    started = asyncio.Event()
    goes_on = asyncio.Event()

    async def greet(_: AsyncContext) -> str:
        started.set()
        await goes_on.wait()
        return "hi"

    async with Worker(reading, [greet], templates=[template()]) as worker:
        running = asyncio.create_task(worker.client.run("hello.greeting"))
        await started.wait()
        reading.refuse("find_ended_tasks", 10**6)
        goes_on.set()
        task = await running

    assert "hi" == task.result


# ------------------------------------------------------------------ threads and scripts


async def test_a_thread_can_use_a_blocking_client(store: Store, client: LocalClient) -> None:
    def program(blocking: SyncClient) -> list[object]:
        cancelled = blocking.create_task("hello.other", {"name": "Ann"})
        seen: list[object] = [blocking.get(cancelled.id).status]
        seen.append(blocking.cancel(cancelled.id, reason="test").status)
        with pytest.raises(WrongStatus):
            blocking.retry(cancelled.id)
        with pytest.raises(WaitTimeout):
            blocking.run("hello.other", timeout=timedelta(0))
        seen.append(blocking.run("hello.greeting", {"name": "Bob"}, timeout=SOON).status)
        task = blocking.create_task("hello.greeting", {"name": "Cy"})
        seen.append(blocking.wait(task.id, timeout=SOON).status)
        return seen

    await client.register(template("other", steps=(StepSpec(name="nobody"),)))
    blocking = SyncClient(client, asyncio.get_running_loop())
    async with Worker(store, [{"greet": lambda name: f"hello {name}"}], namespaces="*"):
        seen = await asyncio.to_thread(program, blocking)

    assert seen[1:] == [TaskStatus.CANCELLED, TaskStatus.COMPLETE, TaskStatus.COMPLETE]


# ------------------------------------------------------------- the caller's transaction


@pytest.fixture
async def postgres(postgres_schema_url: str) -> AsyncIterator[Store]:
    async with open_store(postgres_schema_url, upgrade=True) as store:
        await LocalClient(store).register(template())
        yield store


@pytest.fixture
async def connection(postgres_schema_url: str, postgres: Store) -> AsyncIterator[Any]:
    """Open a connection of the caller's own, whose search path does not know Tasker."""
    import asyncpg

    connection = await asyncpg.connect(Address.parse(postgres_schema_url).dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def test_a_task_exists_when_the_callers_transaction_commits(
    postgres: Store, connection: Any
) -> None:
    client = LocalClient(postgres)
    async with Worker(postgres, [{"greet": lambda: "hi"}], namespaces="*"):
        async with connection.transaction():
            task = await client.create_task("hello.greeting", connection=connection)
            with pytest.raises(NotFound):
                await client.get(task.id)
        ended = await client.wait(task.id, timeout=SOON)

    assert TaskStatus.COMPLETE == ended.status


async def test_a_task_does_not_exist_when_the_callers_transaction_fails(
    postgres: Store, connection: Any
) -> None:
    client = LocalClient(postgres)
    with pytest.raises(ZeroDivisionError):
        async with connection.transaction():
            await client.create_task("hello.greeting", connection=connection, idempotency_key="k")
            raise ZeroDivisionError

    assert [] == await client.tasks()
    again = await client.create_task("hello.greeting", idempotency_key="k")
    assert again.created


async def test_an_idempotency_key_is_honoured_in_the_callers_transaction(
    postgres: Store, connection: Any
) -> None:
    client = LocalClient(postgres)
    options: dict[str, Any] = {"connection": connection, "idempotency_key": "k"}
    async with connection.transaction():
        first = await client.create_task("hello.greeting", **options)
        second = await client.create_task("hello.greeting", **options)
    third = await client.create_task("hello.greeting", idempotency_key="k")

    assert (first.id, False) == (second.id, second.created)
    assert (first.id, False) == (third.id, third.created)
    assert 1 == len(await client.tasks())


async def test_a_transaction_is_refused_by_a_store_without_them(
    client: LocalClient,
) -> None:
    with pytest.raises(Misuse, match="SQLite"):
        await client.create_task("hello.greeting", connection=object())  # type: ignore[call-overload]


# ------------------------------------------------------------------------------- acting


async def test_the_actor_is_audited(client: LocalClient) -> None:
    task = await client.create_task("hello.greeting")
    await client.acting_as("bob").resolve(task.id, "greet", "hi", reason="by phone")
    [entry] = await client.task_audit(task.id)

    assert "ann" == task.created_by
    assert ("bob", "resolve_step", "greet", "by phone") == (
        entry.actor,
        entry.action,
        entry.step,
        entry.reason,
    )
    assert (StepStatus.ENQUEUED, StepStatus.RESOLVED_MANUALLY) == (entry.before, entry.after)


@pytest.fixture(params=["sqlite", "postgres"])
def any_url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return "sqlite::memory:"
    return str(request.getfixturevalue("postgres_schema_url"))


@pytest.fixture
async def any_store(any_url: str) -> AsyncIterator[Store]:
    async with open_store(any_url, upgrade=True) as store:
        yield store


@pytest.mark.parametrize("task_id", ["", "nothing", "01890a5d-ac96-774b-bcce-b302099a8057"])
async def test_every_call_reports_an_unknown_task_as_not_found(
    any_store: Store, task_id: str
) -> None:
    client: Client = LocalClient(any_store)
    unknown_task = TaskId(task_id)
    for call in (
        client.get(unknown_task),
        client.wait(unknown_task),
        client.steps(unknown_task),
        client.attempts(unknown_task),
        client.attempts(unknown_task, step="greet"),
        client.task_audit(unknown_task),
        client.cancel(unknown_task),
        client.retry(unknown_task),
        client.resolve(unknown_task),
        client.resolve(unknown_task, "greet"),
        client.complete_step(unknown_task, "greet", 1),
    ):
        with pytest.raises(NotFound, match=f"task {task_id} not found"):
            await call


async def test_an_unknown_step_is_reported_with_the_existing_ones(
    client: LocalClient,
) -> None:
    task = await client.create_task("hello.greeting")
    with pytest.raises(NotFound, match=r"has no step 'great'; did you mean 'greet'\? It has greet"):
        await client.retry(task.id, steps=["great"])


async def test_a_later_attempt_finds_the_tasks_of_an_earlier_one(store: Store) -> None:
    async def greet(context: AsyncContext) -> str:
        made = await context.client.create_task("hello.child")
        if context.attempt == 1:
            raise ConnectionError("after it was made")
        return str(made.created)

    client = LocalClient(store)
    await client.register(template("child", steps=(StepSpec(name="nobody"),)))
    async with Worker(store, [{"greet": greet}], templates=[template()]):
        task = await client.run("hello.greeting", timeout=SOON)

    [step] = await client.steps(task.id)
    assert "False" == step.result
    assert 1 == len(await client.tasks(TaskFilter(parent_id=task.id)))


async def test_many_tasks_are_prepared_in_slices(
    client: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop is free between slices of at most 50."""
    prepared: Counter[int] = Counter()
    real, turn = LocalClient._build_new_task, 0

    async def counted(client: LocalClient, request: TaskRequest, loaded: Any) -> Any:
        prepared[turn] += 1
        return await real(client, request, loaded)

    async def take_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(LocalClient, "_build_new_task", counted)
    turns = asyncio.create_task(take_turns())
    created = await client.create_tasks([TaskRequest(template="hello.greeting")] * 220)
    turns.cancel()

    assert 220 == len(created) == prepared.total()
    assert 50 >= max(prepared.values())


# --------------------------------------------------------------------------- refusals


async def test_tracebacks_of_refusals_end_at_the_client(any_store: Store) -> None:
    """They contain no frames of the store or its driver, and no earlier error."""
    client = LocalClient(any_store)
    await client.register(template())
    task = await client.create_task("hello.greeting", idempotency_key="k")
    sync = SyncClient(client, asyncio.get_running_loop())

    async def conflict() -> object:
        return await client.run("hello.greeting", {"n": 1}, idempotency_key="k")

    async def sync_conflict() -> object:
        return await asyncio.to_thread(sync.run, "hello.greeting", {"n": 1}, idempotency_key="k")

    async def retry() -> object:
        return await client.retry(task.id, steps=["nothing"])

    async def complete() -> object:
        await client.cancel(task.id)
        return await client.complete_step(task.id, "greet", 1)

    async def missing() -> object:
        return await client.get(str(uuid4()))

    for call, error in (
        (conflict, IdempotencyConflict),
        (sync_conflict, IdempotencyConflict),
        (retry, NotFound),
        (complete, WrongStatus),
        (missing, NotFound),
    ):
        with pytest.raises(error) as refused:
            await call()

        text = "".join(traceback.format_exception(refused.value))
        assert 1 == text.count("Traceback")
        assert call.__name__ in text
        assert "/store/" not in text
        assert "asyncpg" not in text
