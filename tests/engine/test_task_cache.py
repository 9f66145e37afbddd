"""What a worker keeps of tasks, and how much."""

import pytest
from tests.engine.factories import template

from tasker import LocalClient
from tasker.engine.task_cache import TaskCache
from tasker.handlers import Handlers
from tasker.model import Claim, JsonText, TaskId, TaskInput, TemplateId
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("flow", "only")


def task_input(template_id: TemplateId, number: int) -> TaskInput:
    context = JsonText('{"text": "' + "x" * 500 + '"}')
    return TaskInput(TaskId(f"{number:032x}"), template_id, context, "c", None, None)


async def test_forgotten_tasks_give_their_memory_back(memory: Store) -> None:
    await LocalClient(memory).register(FLOW)
    [stored] = await memory.templates()
    cache = TaskCache(memory, Handlers.of({"only": lambda: 1}), environment=None, limit=5_000)
    for number in range(100):
        task = task_input(stored.id, number)
        await cache.remember(task)
        cache.forget(task.task_id)
    last = task_input(stored.id, 100)
    await cache.remember(last)

    cached = cache.task(Claim(last.task_id, 1, 1, 1))
    assert cached is not None
    assert last == cached.input


async def test_the_task_remembered_first_is_forgotten_first(memory: Store) -> None:
    await LocalClient(memory).register(FLOW)
    [stored] = await memory.templates()
    cache = TaskCache(memory, Handlers.of({"only": lambda: 1}), environment=None, limit=5_000)
    for number in range(10):
        await cache.remember(task_input(stored.id, number))

    kept = [cache.task(Claim(TaskId(f"{number:032x}"), 1, 1, 1)) for number in range(10)]
    assert kept[0] is None
    assert kept[-1] is not None


async def test_results_count_towards_the_memory_of_tasks(memory: Store) -> None:
    await LocalClient(memory).register(FLOW)
    [stored] = await memory.templates()
    cache = TaskCache(memory, Handlers.of({"only": lambda: 1}), environment=None, limit=5_000)
    first, second = task_input(stored.id, 1), task_input(stored.id, 2)
    await cache.remember(first)
    cache.learn(first.task_id, 1, JsonText("1" * 4_000))
    await cache.remember(second)

    assert cache.task(Claim(first.task_id, 1, 1, 1)) is None
    assert cache.task(Claim(second.task_id, 1, 1, 1)) is not None
