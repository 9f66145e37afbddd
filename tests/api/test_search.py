"""Search, counts, the state of the store, and previews of actions."""

from typing import Any

import pytest
from tests.api.api_client import ApiClient

from tasker.errors import TaskFailed

pytestmark = pytest.mark.anyio


async def test_a_search_finds_ids_names_and_correlation_ids(one: ApiClient) -> None:
    """Tasks by the beginning of an id, with or without dashes; of each kind at most eight."""
    task = await one.create("shop.refund", correlation_id="ticket 7")
    for text in (task["id"], task["id"].upper(), task["id"][:30], "ticket 7"):
        matches = (await one.read(f"/v1/search?q={text}"))["matches"]
        assert [("task", task["id"])] == [(each["kind"], each["id"]) for each in matches]
    matches = (await one.read("/v1/search?q=REFUND"))["matches"]
    assert ("workflow", "shop.refund") in [(each["kind"], each["id"]) for each in matches]
    assert [] == (await one.read("/v1/search?q=nothing-like-it"))["matches"]
    await one.call("/v1/search?q=", None, 400, method="GET")


async def test_tasks_are_counted_by_status(one: ApiClient) -> None:
    """The counts use the filters of the list."""
    for order in ("a", "b"):
        await one.create("shop.refund", tags=[order])

    everything = await one.read("/v1/tasks/counts?name=refund")
    tagged = await one.read("/v1/tasks/counts?tag=a")

    assert (2, 0, True) == (
        everything["by_status"]["pending"],
        everything["by_status"]["error"],
        everything["exact"],
    )
    assert 1 == sum(tagged["by_status"].values())


async def test_the_system_is_reported(one: ApiClient) -> None:
    system = await one.read("/v1/system")

    assert system["store"] in ("postgresql", "sqlite")
    assert (0, 0) == (system["running"], system["utilization"]["running_steps"])


PREVIEWS: list[tuple[str, list[str] | None, list[str | None], dict[str, Any]]] = [
    ("retry", None, [], {"runs_again": ["fail"], "continues": ["after"]}),
    ("retry", ["fail"], [], {"attempts_left": {"fail": 1}}),
    ("retry", ["after"], ["after"], {"runs_again": []}),
    ("retry", ["none"], ["none"], {}),
    ("complete_step", ["fail"], [], {"continues": ["after"], "runs_again": []}),
    ("skip_step", ["after"], ["after"], {}),
    ("cancel", None, [None], {"cancels": []}),
    ("resolve", None, [], {"cancels": ["after"]}),
]
"""Actions on a failed task of two steps: action, steps, what is refused, fields."""


async def test_actions_are_previewed(one: ApiClient) -> None:
    """They change nothing; an action with a preview's ETag is refused once the task has changed."""
    task = await one.create("shop.broken", context={})
    path = f"/v1/tasks/{task['id']}"
    seen = await one.call(f"{path}/preview", {"action": "cancel"})
    assert ([], ["fail", "after"]) == (seen["rejected"], seen["cancels"])
    async with one.worker() as worker:
        with pytest.raises(TaskFailed):
            await worker.client.wait(task["id"], timeout=60)
    outdated = {"If-Match": f'"{seen["etag"]}"'}
    await one.call(f"{path}/retry", {}, 412, headers=outdated)
    before = await one.read(path)

    for action, steps, refused, expected in PREVIEWS:
        seen = await one.call(f"{path}/preview", {"action": action, "steps": steps})
        assert refused == [each["step"] for each in seen["rejected"]], action
        assert expected == {name: seen[name] for name in expected}, action
        assert seen["effects"], action
        assert seen["command"].startswith("tasker task "), action
    assert before == await one.read(path)
