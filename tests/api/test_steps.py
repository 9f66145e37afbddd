"""Steps over HTTP: listing, reading, and operators' actions."""

from functools import partial

import pytest
from tests.api.api_client import UNKNOWN_TASK, ApiClient
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


async def test_steps_are_listed_in_the_order_of_the_template(api: ApiClient) -> None:
    """With status, dependencies and whether they are claimable."""
    task = await api.create()
    place = f"/v1/tasks/{task['id']}"

    steps = await api.read(f"{place}/steps")

    assert [
        (1, "look_up", "enqueued", True),
        (2, "pay", "pending", False),
        (3, "tell", "pending", False),
        (4, "close", "pending", False),
    ] == [(step["no"], step["name"], step["status"], step["ready"]) for step in steps]
    assert {
        "task_id": task["id"],
        "handler": "close",
        "dependencies": ["pay", "tell"],
        "pending_parents": 2,
        "waits_for": None,
        "attempts": 0,
        "max_attempts": 3,
        "result": None,
        "error": None,
        "claimed_at": None,
        "settled_at": None,
    }.items() <= steps[3].items()


async def test_a_task_lists_its_steps_without_their_results(api: ApiClient) -> None:
    task = await api.create()
    async with api.worker():
        await api.read(f"/v1/tasks/{task['id']}/wait", params={"timeout": 20})
    place = f"/v1/tasks/{task['id']}"

    steps = await api.read(f"{place}/steps")

    assert [
        {key: value for key, value in step.items() if key not in ("result", "checkpoint")}
        for step in steps
    ] == (await api.read(place))["steps"]


async def test_a_step_is_found_by_name_and_number(api: ApiClient) -> None:
    task = await api.create()
    place = f"/v1/tasks/{task['id']}/steps"

    by_name = await api.read(f"{place}/pay")
    by_number = await api.read(f"{place}/2")

    assert by_name == by_number
    assert "pay" == by_name["name"]


@pytest.mark.parametrize("step", ["nope", "5", "0", UNKNOWN_TASK])
async def test_a_missing_step_is_not_found(one: ApiClient, step: str) -> None:
    task = await one.create()

    for path in (f"/steps/{step}", f"/steps/{step}/attempts"):
        refused = await one.read(f"/v1/tasks/{task['id']}{path}", 404)
        assert "not_found" == refused["code"]


async def test_a_failed_step_has_its_error(api: ApiClient) -> None:
    task = await api.create("shop.broken")
    place = f"/v1/tasks/{task['id']}"
    async with api.worker():
        await api.read(f"{place}/wait", params={"timeout": 20})

    step = await api.read(f"{place}/steps/fail")
    history = await api.read(f"{place}/steps/fail/attempts")

    assert ("error", "LOCKED", False) == (step["status"], step["error"]["code"], step["ready"])
    assert [(1, "error", "LOCKED", step["settled_at"])] == [
        (one["attempt"], one["outcome"], one["error"]["code"], one["settled_at"]) for one in history
    ]


async def test_a_step_that_waits_for_a_retry_has_its_own_status(api: ApiClient) -> None:
    await api.call(
        "/v1/templates",
        {
            "name": "flaky",
            "namespace_name": "shop",
            "version": "1.0.0",
            "steps": [
                {
                    "name": "look_up",
                    "handler": {"callable": "unstable"},
                    "retry": {"initial_delay": 3600},
                }
            ],
        },
        201,
    )
    task = await api.create("shop.flaky")
    place = f"/v1/tasks/{task['id']}"

    async with api.worker():
        await eventually(partial(waits_for_retry, api, place))
    step = await api.read(f"{place}/steps/look_up")

    assert ("waiting_for_retry", 1, False) == (step["status"], step["attempts"], step["ready"])
    assert "connection reset" == step["error"]["message"]


async def waits_for_retry(api: ApiClient, place: str) -> bool:
    """Return whether a step of the task waits for its next attempt."""
    return bool(1 == (await api.read(place))["counts"]["waiting_for_retry"])


async def test_operators_resolve_steps(api: ApiClient) -> None:
    """
    The audit names who and why; the task continues.
    """
    task = await api.create("shop.broken")
    place = f"/v1/tasks/{task['id']}"
    async with api.worker():
        await api.read(f"{place}/wait", params={"timeout": 20})

    retried = await api.call(
        f"{place}/steps/fail/retry", {"reset_attempts": True, "reason": "unlocked"}
    )
    resolved = await api.call(
        f"{place}/steps/fail/resolve", {"result": {"sum": 2}, "reason": "by hand"}
    )
    completed = await api.call(
        f"{place}/steps/2/complete", {"result": {"sum": 3}, "reason": "counted"}
    )

    assert ("enqueued", 1, True) == (retried["status"], retried["attempts"], retried["ready"])
    assert ("resolved_manually", {"sum": 2}) == (resolved["status"], resolved["result"])
    assert ("complete", {"sum": 3}) == (completed["status"], completed["result"])
    task = await api.read(place)
    assert ("complete", {"sum": 3}) == (task["status"], task["result"])
    assert [
        ("anonymous", "fail", "unlocked"),
        ("anonymous", "fail", "by hand"),
        ("anonymous", "after", "counted"),
    ] == [
        (entry["actor"], entry["step"], entry["reason"])
        for entry in await api.read(f"{place}/audit")
    ]


@pytest.mark.parametrize("action", ["retry", "resolve"])
async def test_an_action_may_have_no_body(api: ApiClient, action: str) -> None:
    task = await api.create("shop.broken")
    place = f"/v1/tasks/{task['id']}"
    async with api.worker():
        await api.read(f"{place}/wait", params={"timeout": 20})

    response = await api.post(f"{place}/steps/fail/{action}")

    assert 200 == response.status_code


async def test_an_action_that_the_status_does_not_allow_changes_nothing(api: ApiClient) -> None:
    task = await api.create()
    place = f"/v1/tasks/{task['id']}/steps/close"

    refused = await api.call(f"{place}/retry", status=409)

    assert ("wrong_status", "pending", "retry") == (
        refused["code"],
        refused["current_status"],
        refused["action"],
    )
    assert "pending" == (await api.read(place))["status"]


async def test_completing_a_step_needs_a_result(one: ApiClient) -> None:
    task = await one.create()

    refused = await one.call(f"/v1/tasks/{task['id']}/steps/1/complete", {}, 400)

    assert ["$.result"] == [fault["path"] for fault in refused["errors"]]
