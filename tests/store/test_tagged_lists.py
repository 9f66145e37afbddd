"""Lists and counts that read a bounded number of tasks, whatever the database's estimates are."""

from collections.abc import AsyncIterator

import pytest

from tasker.model import TaskFilter, TaskId, TaskStatus
from tasker.store.open import open_store
from tasker.store.operations import tasks
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ManualWorker,
    create_task,
    one_step_template,
    register_template,
)

pytestmark = pytest.mark.anyio

TAGS = ["rare", "usual", "usual", "rare", "usual", "usual", "usual"]


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    async with open_store(store_url, upgrade=True) as opened:
        yield opened


async def pages(store: Store, tag: str, limit: int) -> list[TaskId]:
    """Return the tasks with a tag, page by page."""
    listed: list[TaskId] = []
    while True:
        after = listed[-1] if listed else None
        page = await store.list_tasks(TaskFilter(tag=tag), after=after, limit=limit)
        listed += [task.id for task in page]
        if len(page) < limit:
            return listed


@pytest.mark.parametrize("among", [1, 3, 100])
@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_tasks_with_a_tag_are_listed_however_rare_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch, among: int, limit: int
) -> None:
    """Newest first, from the newest tasks or from all."""
    monkeypatch.setattr(tasks, "TAGGED_AMONG", among)
    template = await register_template(store, one_step_template())
    made = [await create_task(store, template, tags=(tag,)) for tag in TAGS]

    for tag in ("rare", "usual", "none"):
        expected = [task for task, own in zip(made, TAGS, strict=True) if own == tag]
        assert expected[::-1] == await pages(store, tag, limit)


async def test_the_newest_open_tasks_are_divided_into_pending_and_started(store: Store) -> None:
    """Of others, which may be very many, nothing is read."""
    template = await register_template(store, one_step_template())
    for _ in range(4):
        await create_task(store, template)
    await (await ManualWorker.register(store)).claim(limit=1)

    everything = await store.count_tasks(TaskFilter(), most=5)
    newest = await store.count_tasks(TaskFilter(), most=3)

    assert (3, 1) == (everything[TaskStatus.PENDING], everything[TaskStatus.IN_PROGRESS])
    assert 3 == newest[TaskStatus.PENDING] + newest[TaskStatus.IN_PROGRESS]
