"""What a task costs: calls of the store, and transactions that write."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasker import Task, TaskStatus, Template, Worker, WorkerSettings
from tasker.model import JsonObject
from tasker.notices import Notice, TaskEnded
from tasker.store.open import open_store
from tasker.store.protocol import Store
from tasker.template.load import parse_template
from tasker.testing.store_suite.factories import fan_template, make_template

pytestmark = pytest.mark.anyio

FOUR = make_template("four", a="", b="a", c="b", d="c")
WIDE = fan_template(50)
MAPPED = parse_template(
    "name: mapped\nnamespace: suite\nsteps:\n- {name: start}\n"
    "- {name: each, dependencies: [start], map: {over: input.items}, collect: none}\n"
)
CALLS = (
    "create_tasks",
    "spawn_instances",
    "claim",
    "settle",
    "load_task_inputs",
    "load_step_results",
    "get_task",
    "park_until_task_ends",
    "list_held_claims",
)
SOON = timedelta(seconds=60)


async def work() -> int:
    return 1


HANDLERS = dict.fromkeys(["a", "b", "c", "d", "start", "between", "end", "each"], work)


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of each kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_schema_url"))
    return (
        f"sqlite:{tmp_path / 'tasker.db'}" if request.param == "sqlite-file" else "sqlite::memory:"
    )


def counted(store: Store) -> Counter[str]:
    """Count the calls of a store from now on."""
    counts: Counter[str] = Counter()

    def counting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*given: Any, **options: Any) -> Any:
            counts[name] += 1
            return await method(*given, **options)

        return call

    for name in CALLS:
        setattr(store, name, counting(name, getattr(store, name)))
    return counts


@asynccontextmanager
async def working(url: str, template: Template) -> AsyncIterator[Worker]:
    """Run a worker that has nothing to do yet, and will not look again for a while."""
    settings = WorkerSettings(poll=timedelta(seconds=60), lease=timedelta(seconds=300))
    async with (
        open_store(url, upgrade=True) as store,
        Worker(store, [HANDLERS], templates=[template], settings=settings) as worker,
    ):
        await run(worker, template, {"items": []})
        yield worker


async def run(worker: Worker, template: Template, context: JsonObject | None = None) -> Task:
    """Run a task by the worker's own client; wait by what the worker tells, not by polling."""
    ended = asyncio.Event()

    def observe(event: Notice) -> None:
        if isinstance(event, TaskEnded):
            ended.set()

    worker.observers.append(observe)
    task = await worker.client.create_task(template.full_name, context or {})
    async with asyncio.timeout(SOON.total_seconds()):
        await ended.wait()
    worker.observers.remove(observe)
    return task


async def test_a_chain_of_four_steps_takes_five_calls(url: str) -> None:
    """
    One creates the task and claims its first step; each of four settles a step and claims the next.
    There are no reads in between, except one claim that finds nothing.
    """
    async with working(url, FOUR) as worker:
        counts = counted(worker.store)
        task = await run(worker, FOUR)
        made = {name: many for name, many in counts.items() if name != "claim"}
        ended = await worker.store.get_task(task.id)

    assert {"create_tasks": 1, "settle": 4} == made
    assert TaskStatus.COMPLETE == ended.status


async def test_a_fan_out_takes_a_few_calls(url: str) -> None:
    """
    Fifty steps that end together are settled together.
    """
    async with working(url, WIDE) as worker:
        counts = counted(worker.store)
        await run(worker, WIDE)

    assert 1 == counts["create_tasks"]
    assert counts["settle"] <= 8
    assert counts["claim"] <= 8
    assert 0 == counts["load_task_inputs"] + counts["load_step_results"] + counts["get_task"]


async def test_a_map_inserts_its_instances_in_few_calls(url: str) -> None:
    """
    Up to a thousand in one, whatever else the task costs.
    """
    async with working(url, MAPPED) as worker:
        counts = counted(worker.store)
        await run(worker, MAPPED, {"items": list(range(2001))})

    assert 3 == counts["spawn_instances"]
    assert 1 == counts["create_tasks"]
    assert 0 == counts["get_task"] + counts["park_until_task_ends"]


async def test_a_chain_of_four_steps_takes_five_commits(postgres_schema_url: str) -> None:
    """
    Counted by PostgreSQL's transaction ids, which only the server's own analyses take as well.
    """
    async with working(postgres_schema_url, FOUR) as worker:
        trips = []
        for _ in range(5):
            before = await transactions(worker.store)
            await run(worker, FOUR)
            trips.append(await transactions(worker.store) - before - 1)  # asking takes one

    assert [5, 5, 5] == sorted(trips)[:3], trips


async def transactions(store: Any) -> int:
    """Return the number of the next transaction that writes."""
    connection = await store.address.connect()
    try:
        return int(await connection.fetchval("select pg_current_xact_id()::text::bigint"))
    finally:
        await connection.close()
