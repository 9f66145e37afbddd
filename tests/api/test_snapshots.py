"""The snapshot of a task: its steps in columns, and many of one shape as a group."""

from typing import Any

import pytest
from tests.api.api_client import UNKNOWN_TASK, ApiClient

from tasker import Template
from tasker.model import StepSpec, TaskId
from tasker.testing.store_suite.factories import ACT
from tasker.testing.store_suite.spawning import (
    create_task_and_claim_spawner,
    make_instances,
    map_template,
)

pytestmark = pytest.mark.anyio

COLUMNS = [
    "no",
    "name",
    "status",
    "handler",
    "attempts",
    "counted_attempts",
    "max_attempts",
    "enqueued",
    "run_at",
    "claimed",
    "settled",
    "worker",
    "error",
    "parents",
    "group",
    "paused",
    "no_worker",
    "waits_for",
    "undoes",
]


def columns(snapshot: dict[str, Any]) -> set[int]:
    return {len(snapshot[name]) for name in COLUMNS}


async def test_a_snapshot_contains_steps_attempts_and_errors(api: ApiClient) -> None:
    """Columns have equal lengths; times are relative to the task's creation."""
    task = await api.create("shop.broken", context={})
    async with api.worker() as worker:
        await worker.client.run("shop.refund", {"order": "o-1"}, timeout=60)
    snapshot = await api.read(f"/v1/tasks/{task['id']}/snapshot")

    assert {2} == columns(snapshot)
    assert ["fail", "after"] == snapshot["name"]
    assert ["error", "pending"] == snapshot["status"]
    assert [[], [1]] == snapshot["parents"]
    assert 0 <= snapshot["claimed"][0] <= snapshot["settled"][0] <= snapshot["now"]
    assert snapshot["errors"][snapshot["error"][0]]["message"]
    (attempt,) = snapshot["history"]
    assert (1, 1, "error") == (attempt["no"], attempt["attempt"], attempt["outcome"])
    assert snapshot["workers"][attempt["worker"]]
    assert task["id"] == snapshot["task"]["id"]
    assert [] == snapshot["groups"]


async def test_a_snapshot_that_the_caller_has_is_not_sent_again(api: ApiClient) -> None:
    """Until the task changes."""
    task = await api.create("shop.broken", context={})
    place = f"/v1/tasks/{task['id']}/snapshot"
    first = await api.get(place)
    known = {"If-None-Match": first.headers["etag"]}

    again = await api.get(place, headers=known)
    await api.store.cancel_task(TaskId(task["id"]), ACT)
    changed = await api.get(place, headers=known)

    assert (304, b"") == (again.status_code, again.content)
    assert first.headers["etag"] == again.headers["etag"]
    assert 200 == changed.status_code
    assert first.headers["etag"] != changed.headers["etag"]


async def test_many_similar_steps_are_grouped(one: ApiClient) -> None:
    """A request may expand a group or list all steps."""
    rows = tuple(
        StepSpec(name=f"process_{no}", callable="process", dependencies=("list",))
        for no in range(1000)
    )
    last = StepSpec(name="sum", dependencies=tuple(row.name for row in rows))
    fan = Template(
        namespace="shop", name="fan", version="1.0.0", steps=(StepSpec(name="list"), *rows, last)
    )
    await one.store.register_template(fan, registered_by="tests")
    task = await one.create("shop.fan", context={})
    path = f"/v1/tasks/{task['id']}/snapshot"

    folded = await one.read(path)
    opened = await one.read(path, params={"open": "g2"})
    flat = await one.read(path, params={"grouped": "false"})

    (group,) = folded["groups"]
    assert ["list", "sum"] == folded["name"]
    assert (1000, {"pending": 1000}) == (group["count"], group["by_status"])
    assert ("g2", "process", [1], [1002]) == (
        group["id"],
        group["label"],
        group["parents"],
        group["children"],
    )
    assert {1002} == columns(opened) == columns(flat)
    assert "g2" == opened["group"][1]
    assert [None] * 1002 == flat["group"]


async def test_a_large_snapshot_is_compressed_for_callers_that_accept_it(one: ApiClient) -> None:
    """A page that follows a large task reads one after the other."""
    steps = tuple(StepSpec(name=f"step_{no}") for no in range(1000))
    wide = Template(namespace="shop", name="wide", version="1.0.0", steps=steps)
    await one.store.register_template(wide, registered_by="tests")
    task = await one.create("shop.wide", context={})
    small = await one.create("shop.broken", context={})
    flat = f"/v1/tasks/{task['id']}/snapshot?grouped=false"

    plain = await one.get(flat, headers={"Accept-Encoding": "identity"})
    packed = await one.get(flat, headers={"Accept-Encoding": "gzip, br"})
    short = await one.get(f"/v1/tasks/{small['id']}/snapshot")

    assert ("gzip", "Accept-Encoding") == (
        packed.headers["content-encoding"],
        packed.headers["vary"],
    )
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in short.headers
    assert {**plain.json(), "now": 0} == {**packed.json(), "now": 0}
    assert 5 * int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    assert plain.headers["etag"] == packed.headers["etag"]


FETCH_AND_PACK = (StepSpec(name="fetch"), StepSpec(name="pack", dependencies=("fetch",)))


def parents(snapshot: dict[str, Any]) -> dict[str, list[str]]:
    """Return the names of each step's parents."""
    names = dict(zip(snapshot["no"], snapshot["name"], strict=True))
    lists = zip(snapshot["name"], snapshot["parents"], strict=True)
    return {name: [names[no] for no in numbers] for name, numbers in lists}


async def test_instances_are_between_the_step_that_made_them_and_the_one_that_waits(
    one: ApiClient,
) -> None:
    """And within an instance, steps are in the order of its body."""
    worker, spawner = await create_task_and_claim_spawner(one.store, map_template(*FETCH_AND_PACK))
    await one.store.spawn_instances(spawner, make_instances(["1", "2"]))
    await worker.complete(spawner)

    snapshot = await one.read(f"/v1/tasks/{spawner.task_id}/snapshot")

    assert {
        "list": [],
        "work.map": ["list"],
        "work": ["work[0].pack", "work[1].pack"],
        "end": ["work"],
        "work[0].fetch": ["work.map"],
        "work[0].pack": ["work[0].fetch"],
        "work[1].fetch": ["work.map"],
        "work[1].pack": ["work[1].fetch"],
    } == parents(snapshot)


async def test_the_same_step_of_many_instances_is_a_group(one: ApiClient) -> None:
    """Also where the instances have several steps; the groups name each other's first step."""
    worker, spawner = await create_task_and_claim_spawner(one.store, map_template(*FETCH_AND_PACK))
    await one.store.spawn_instances(spawner, make_instances(["1"] * 20))
    await worker.complete(spawner)

    snapshot = await one.read(f"/v1/tasks/{spawner.task_id}/snapshot")

    assert {"list": [], "work.map": ["list"], "work": [], "end": ["work"]} == parents(snapshot)
    fetch, pack = snapshot["groups"]
    assert ("work[].fetch", 20, [spawner.no], [pack["first"]]) == (
        *(fetch["label"], fetch["count"]),
        *(fetch["parents"], fetch["children"][:1]),
    )
    assert ("work[].pack", 20, [fetch["first"]], [3]) == (
        *(pack["label"], pack["count"]),
        *(pack["parents"], pack["children"]),
    )


async def test_unknown_tasks_have_no_snapshot(one: ApiClient) -> None:
    """They have no reasons either."""
    for what in ("snapshot", "why"):
        await one.read(f"/v1/tasks/{UNKNOWN_TASK}/{what}", 404)


async def test_why_explains_a_task_and_a_step(one: ApiClient) -> None:
    """With a code for programs, and a sentence for people."""
    task = await one.create()

    (ready,) = await one.read(f"/v1/tasks/{task['id']}/why")
    (waits,) = await one.read(f"/v1/tasks/{task['id']}/why", params={"step": "close"})

    assert ("no_worker", "look_up") == (ready["code"], ready["step"])
    assert "close waits for pay and tell." == waits["text"]
    await one.read(f"/v1/tasks/{task['id']}/why", 404, params={"step": "none"})


async def test_a_list_shows_the_most_significant_step_on_request(one: ApiClient) -> None:
    """One statement for all tasks of the page."""
    task = await one.create()

    (with_step,) = (await one.read("/v1/tasks", params={"current": "true"}))["tasks"]
    (without,) = (await one.read("/v1/tasks"))["tasks"]

    assert ("look_up", "enqueued") == (with_step["current"]["step"], with_step["current"]["status"])
    assert None is without["current"]
    assert task["id"] == without["id"]
