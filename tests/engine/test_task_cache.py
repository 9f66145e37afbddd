"""What a worker keeps of tasks, and how much."""

from collections.abc import Callable
from typing import Annotated, Any, cast

import pytest
from tests.engine.factories import SOON, Unreliable, step, template
from tests.engine.pieces import assembled

from tasker import LocalClient, Result, Template, WorkerSettings
from tasker.engine import task_cache
from tasker.engine.task_cache import TaskCache
from tasker.handlers import Handlers
from tasker.model import Claim, JsonText, TaskId, TaskInput, TemplateId
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("flow", "only")


def task_input(template_id: TemplateId, number: int) -> TaskInput:
    context = JsonText('{"text": "' + "x" * 500 + '"}')
    return TaskInput(TaskId(f"{number:032x}"), template_id, context, "c", None, None)


async def test_removed_tasks_free_their_memory(memory: Store) -> None:
    await LocalClient(memory).register(FLOW)
    [stored] = await memory.list_approved_templates()
    cache = TaskCache(memory, Handlers.collect({"only": lambda: 1}), environment=None, limit=5_000)
    for number in range(100):
        task = task_input(stored.id, number)
        await cache.add_created_task(task)
        cache.remove_task(task.task_id)
    last = task_input(stored.id, 100)
    await cache.add_created_task(last)

    cached = cache.find_task_with_needed_results(Claim(last.task_id, 1, 1, 1))
    assert cached is not None
    assert last == cached.input


async def test_the_oldest_task_is_removed_first(memory: Store) -> None:
    await LocalClient(memory).register(FLOW)
    [stored] = await memory.list_approved_templates()
    cache = TaskCache(memory, Handlers.collect({"only": lambda: 1}), environment=None, limit=5_000)
    for number in range(10):
        await cache.add_created_task(task_input(stored.id, number))

    kept = [
        cache.find_task_with_needed_results(Claim(TaskId(f"{number:032x}"), 1, 1, 1))
        for number in range(10)
    ]
    assert kept[0] is None
    assert kept[-1] is not None


async def test_results_count_towards_the_memory_of_tasks(memory: Store) -> None:
    await LocalClient(memory).register(template("flow", *[step(f"s{no}") for no in range(1, 10)]))
    [stored] = await memory.list_approved_templates()
    cache = TaskCache(memory, Handlers.collect({}), environment=None, limit=5_000)
    first, second = task_input(stored.id, 1), task_input(stored.id, 2)
    await cache.add_created_task(first)
    for no in range(1, 10):  # each is small enough to be kept
        cache.add_result(first.task_id, no, JsonText("1" * 500))
    await cache.add_created_task(second)

    assert cache.find_task_with_needed_results(Claim(first.task_id, 1, 1, 1)) is None
    assert cache.find_task_with_needed_results(Claim(second.task_id, 1, 1, 1)) is not None


async def test_templates_are_cached_up_to_a_number_of_steps(
    memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One with more steps is kept for as long as a task of it is.
    """
    monkeypatch.setattr(task_cache, "TEMPLATE_STEPS", 3)
    store = Unreliable(memory)
    client = LocalClient(memory)
    ids = {}
    for name, steps in (("one", 1), ("two", 2), ("large", 4)):
        registered = await client.register(template(name, *[f"s{no}" for no in range(steps)]))
        ids[name] = registered.stored.id
    cache = TaskCache(cast(Store, store), Handlers.collect(), environment=None, limit=5_000)

    async def loads(*names: str) -> int:
        before = len(store.calls)
        for name in names:
            await cache.load_template(ids[name])
        return len(store.calls) - before

    assert 3 == await loads("one", "two", "large")
    assert 0 == await loads("one", "two")
    assert 2 == await loads("large", "large")
    await cache.add_created_task(task_input(ids["large"], 1))
    assert 0 == await loads("large", "one", "two")
    cache.remove_task(task_input(ids["large"], 1).task_id)
    assert 1 == await loads("large")


async def test_compiled_calls_are_cached_up_to_a_number(
    memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_cache, "MOST_PLANS", 2)
    await LocalClient(memory).register(template("three", "a", "b", "c"))
    [stored] = await memory.list_approved_templates()
    cache = TaskCache(memory, Handlers.collect({"a": int, "b": int}), environment=None, limit=5_000)
    compiled = await cache.load_template(stored.id)
    first = compiled.call_plan(1)

    assert first is compiled.call_plan(1)
    compiled.call_plan(2)
    compiled.call_plan(3)
    assert first is not compiled.call_plan(1)


def growing_chain(length: int) -> tuple[Template, dict[str, Callable[..., Any]]]:
    """Return a chain whose steps read the result before them and return 20 kB, and its handlers."""

    def handler(no: int) -> Callable[..., Any]:
        async def grow(before: Any) -> str:
            assert "x" * 20_000 == before
            return "x" * 20_000

        grow.__annotations__["before"] = Annotated[str, Result(f"s{no - 1}")]
        return grow

    async def first() -> str:
        return "x" * 20_000

    steps = [step(f"s{no}", *([f"s{no - 1}"] if no else [])) for no in range(length)]
    return template("chain", *steps), {
        f"s{no}": handler(no) if no else first for no in range(length)
    }


@pytest.mark.parametrize("limit", [0, 5_000, 60_000])
async def test_a_chain_whose_results_do_not_fit_is_not_read_again(
    memory: Store, limit: int
) -> None:
    """
    Each step reads the result before it, which the attempt that wrote it still has.
    """
    store = Unreliable(memory)
    chain, handlers = growing_chain(9)
    settings = WorkerSettings(memory=limit)
    client = LocalClient(memory)
    async with assembled(cast(Store, store), [handlers], [chain], settings) as pieces:
        task = await client.create_task("n.chain")
        [root] = (await memory.claim(pieces.lease.id, 1)).claims
        pieces.background.start_loop("settle", pieces.settler.run())
        pieces.claimer.accept_claims([root])
        await client.wait(task.id, timeout=SOON)

    assert ["load_task_inputs"] == [call for call in store.calls if call.startswith("load_")]


async def test_an_evicted_task_that_an_attempt_still_has_is_found_with_its_results(
    memory: Store,
) -> None:
    chain, handlers = growing_chain(2)
    await LocalClient(memory).register(chain)
    [stored] = await memory.list_approved_templates()
    cache = TaskCache(memory, Handlers.collect(handlers), environment=None, limit=5_000)
    task = task_input(stored.id, 1)
    await cache.add_created_task(task)
    running = cache.find_task_with_needed_results(Claim(task.task_id, 1, 1, 1))
    cache.add_result(task.task_id, 1, JsonText("1" * 6_000))

    cached = cache.find_task_with_needed_results(Claim(task.task_id, 2, 1, 1))
    assert running is not None
    assert cached is not None
    assert "1" * 6_000 == cached.results[1]


async def test_a_large_result_does_not_remove_other_tasks(memory: Store) -> None:
    await LocalClient(memory).register(FLOW)
    [stored] = await memory.list_approved_templates()
    cache = TaskCache(memory, Handlers.collect({"only": lambda: 1}), environment=None, limit=5_000)
    first, second = task_input(stored.id, 1), task_input(stored.id, 2)
    await cache.add_created_task(first)
    await cache.add_created_task(second)
    running = cache.find_task_with_needed_results(Claim(second.task_id, 1, 1, 1))
    cache.add_result(second.task_id, 1, JsonText("1" * 6_000))

    assert cache.find_task_with_needed_results(Claim(first.task_id, 1, 1, 1)) is not None
    assert running is not None
    assert "1" * 6_000 == running.results[1]


async def test_an_instance_of_a_task_that_was_removed_is_read_again(memory: Store) -> None:
    await LocalClient(memory).register(FLOW)
    [stored] = await memory.list_approved_templates()
    cache = TaskCache(memory, Handlers.collect({"only": lambda: 1}), environment=None, limit=5_000)
    task = task_input(stored.id, 1)
    await cache.add_created_task(task)
    running = cache.find_task_with_needed_results(Claim(task.task_id, 1, 1, 1))
    cache.add_result(task.task_id, 1, JsonText("1" * 6_000))

    assert running is not None  # which keeps the removed task in use
    assert (
        cache.find_task_with_needed_results(Claim(task.task_id, len(FLOW.steps) + 1, 1, 1)) is None
    )
