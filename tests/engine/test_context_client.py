"""What handlers create through their context: whose it is, and that it is made once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.engine.factories import SOON, template

from tasker import AsyncContext, Context, LocalClient, SyncContext, TaskStatus, Worker
from tasker.errors import WaitTimeout
from tasker.model import Task, TaskFilter, TaskId
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

CHILDREN = [template("small"), template("large")]  # nobody runs them


async def run(store: Store, handler: object) -> tuple[Task, list[Task]]:
    """Run a task whose one step creates others: return it, and them."""
    client = LocalClient(store)
    for child in CHILDREN:
        await client.register(child)
    async with Worker(store, [{"only": handler}], templates=[template("flow", "only")]) as worker:
        task = await worker.client.run("n.flow", timeout=SOON, correlation_id="c-7")
    children = await client.tasks(TaskFilter(parent_id=task.id))
    return task, children


async def test_a_task_created_by_a_handler_has_its_parent_and_correlation_id(store: Store) -> None:
    async def only(context: AsyncContext) -> None:
        await context.client.create_task("n.small", {"a": 1})

    task, [child] = await run(store, only)

    assert (task.id, "c-7") == (child.parent_id, child.correlation_id)
    assert {"a": 1} == child.context
    assert TaskStatus.PENDING == child.status


async def test_a_sync_handler_has_a_blocking_client(store: Store) -> None:
    def only(context: SyncContext) -> None:
        made = context.client.create_task("n.small", {"a": 1})
        assert made.id == context.client.get(made.id).id

    task, [child] = await run(store, only)

    assert (task.id, "c-7") == (child.parent_id, child.correlation_id)


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_later_attempt_finds_the_same_tasks(store: Store, kind: str) -> None:
    """Tasks are matched in order of creation for each template."""
    made: list[list[tuple[TaskId, bool]]] = [[], []]

    def only(context: SyncContext) -> None:
        for name, number in (("small", 1), ("large", 1), ("small", 2)):
            task = context.client.create_task(f"n.{name}", {"number": number})
            made[context.attempt - 1].append((task.id, task.created))
        if not context.is_retry:
            raise ConnectionError("after all was done")

    async def only_async(context: AsyncContext) -> None:
        for name, number in (("small", 1), ("large", 1), ("small", 2)):
            task = await context.client.create_task(f"n.{name}", {"number": number})
            made[context.attempt - 1].append((task.id, task.created))
        if not context.is_retry:
            raise ConnectionError("after all was done")

    _, children = await run(store, only if kind == "sync" else only_async)
    first, second = made
    by_id = {child.id: (child.template.name, child.context) for child in children}

    assert [("small", {"number": 1}), ("large", {"number": 1}), ("small", {"number": 2})] == [
        by_id[task_id] for task_id, _ in first
    ]
    assert first == [(task_id, True) for task_id, _ in second]
    assert {False} == {created for _, created in second}


async def test_tasks_created_concurrently_are_found_by_a_later_attempt(store: Store) -> None:
    async def only(context: AsyncContext) -> None:
        versions = ("n.small", "n.small@1.0.0", "n.small@^1", "small")
        for wave in range(3):
            await asyncio.gather(
                *(
                    context.client.create_task(name, {"number": [wave, n]}, namespace="n")
                    for n, name in enumerate(versions)
                )
            )
        if not context.is_retry:
            raise ConnectionError("after all was done")

    _, children = await run(store, only)

    assert 12 == len(children)


async def test_idempotency_keys_of_the_handler_are_kept(store: Store) -> None:
    async def only(context: AsyncContext) -> list[bool]:
        key = context.idempotency_key
        made = [await context.client.create_task("n.small", idempotency_key=key) for _ in range(2)]
        return [task.created for task in made]

    task, [child] = await run(store, only)

    assert f"{task.id}:only" == child.idempotency_key


async def test_explicit_arguments_are_not_replaced(store: Store) -> None:
    async def only(context: AsyncContext) -> None:
        await context.client.create_task("n.small", correlation_id="other", created_by="ann")

    _, [child] = await run(store, only)

    assert ("other", "ann") == (child.correlation_id, child.created_by)


async def test_other_steps_and_tasks_create_other_tasks(store: Store) -> None:
    async def only(context: AsyncContext) -> None:
        await context.client.create_task("n.small")

    client = LocalClient(store)
    await client.register(CHILDREN[0])
    flow = template("flow", "one", "two")
    async with Worker(store, [{"one": only, "two": only}], templates=[flow]) as worker:
        for _ in range(2):
            await worker.client.run("n.flow", timeout=SOON)

    assert 4 == len(await client.tasks(TaskFilter(name="small")))


async def test_a_wait_with_a_timeout_does_not_park(store: Store) -> None:
    """The handler continues and decides about the open task."""

    async def only(context: AsyncContext) -> str:
        child = await context.client.create_task("n.small")
        try:
            await context.client.wait(child.id, timeout=timedelta(milliseconds=50))
        except WaitTimeout:
            return f"open at attempt {context.attempt}"
        return "ended"

    task, _ = await run(store, only)

    [step] = await LocalClient(store).steps(task.id)
    assert "open at attempt 1" == step.result


async def test_now_in_a_handler_is_the_clock_of_the_machine(store: Store) -> None:
    seen: list[datetime] = []

    def only(context: Context) -> None:
        seen.append(context.now())

    before = datetime.now(UTC)
    await run(store, only)

    assert before <= seen[0] <= datetime.now(UTC)
