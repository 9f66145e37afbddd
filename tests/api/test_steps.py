"""Steps over HTTP: listed, found by three names, and settled by operators."""

from uuid import UUID

import pytest
from tests.api.asking import NOBODY, Asking

pytestmark = pytest.mark.anyio


async def test_steps_tell_what_they_wait_for(api: Asking) -> None:
    """
    In the template's order, at both paths, with the fields that earlier clients read.
    """
    task = await api.create()
    place = f"/v1/tasks/{task['id']}"

    steps = await api.read(f"{place}/steps")

    assert steps == await api.read(f"{place}/workflow_steps")
    assert [(1, "look_up", "enqueued"), (2, "pay", "pending")] == [
        (step["no"], step["name"], step["current_state"]) for step in steps[:2]
    ]
    assert {
        "task_uuid": task["id"],
        "dependencies_satisfied": False,
        "ready_for_execution": False,
        "retry_eligible": True,
        "total_parents": 2,
        "completed_parents": 0,
        "attempts": 0,
        "max_attempts": 3,
        "results": None,
        "dependencies": ["pay", "tell"],
        "last_attempted_at": None,
    }.items() <= steps[3].items()


async def test_a_step_has_three_names(api: Asking) -> None:
    """
    Its name, its number, and an id that is the same wherever it is told.
    """
    task = await api.create()
    place = f"/v1/tasks/{task['id']}/steps"

    by_name = await api.read(f"{place}/pay")
    by_number = await api.read(f"{place}/2")
    by_id = await api.read(f"{place}/{by_name['step_uuid']}")

    assert by_name == by_number == by_id
    assert 5 == UUID(by_name["step_uuid"]).version
    assert "pay" == by_name["name"]


@pytest.mark.parametrize("step", ["nope", "5", "0", NOBODY])
async def test_what_is_no_step_is_not_found(one: Asking, step: str) -> None:
    task = await one.create()

    for path in (f"/steps/{step}", f"/steps/{step}/history", f"/workflow_steps/{step}/audit"):
        refused = await one.read(f"/v1/tasks/{task['id']}{path}", 404)
        assert "not_found" == refused["code"]


async def test_a_step_that_failed_tells_why(api: Asking) -> None:
    task = await api.create("shop.broken")
    place = f"/v1/tasks/{task['id']}"
    async with api.worker():
        await api.read(f"{place}/wait", params={"timeout": 20})

    step = await api.read(f"{place}/steps/fail")
    history = await api.read(f"{place}/steps/fail/history")
    audit = await api.read(f"{place}/workflow_steps/fail/audit")

    assert ("error", "LOCKED", False) == (
        step["current_state"],
        step["error"]["code"],
        step["retry_eligible"],
    )
    assert step["last_failure_at"] == step["completed_at"] == step["settled_at"]
    assert [(1, "error", "LOCKED")] == [
        (attempt["attempt"], attempt["outcome"], attempt["error"]["code"]) for attempt in history
    ]
    assert {
        "workflow_step_uuid": step["step_uuid"],
        "task_uuid": task["id"],
        "success": False,
        "step_name": "fail",
        "to_state": "error",
        "result": None,
    }.items() <= audit[0].items()


async def test_an_operator_settles_steps_by_hand(api: Asking) -> None:
    """
    Each action names who and why; the task goes on from there.
    """
    task = await api.create("shop.broken")
    place = f"/v1/tasks/{task['id']}"
    async with api.worker():
        await api.read(f"{place}/wait", params={"timeout": 20})

    reset = await api.ask(
        f"{place}/workflow_steps/fail",
        {"action_type": "reset_for_retry", "reason": "unlocked", "reset_by": "Ann"},
        method="PATCH",
    )
    resolved = await api.ask(
        f"{place}/steps/fail",
        {"action_type": "resolve_manually", "reason": "by hand", "resolved_by": "Bob"},
        method="PATCH",
    )
    completed = await api.ask(
        f"{place}/steps/2",
        {
            "action_type": "complete_manually",
            "completion_data": {"result": {"sum": 3}, "metadata": {"ticket": 7}},
            "reason": "counted",
            "completed_by": "Cid",
        },
        method="PATCH",
    )

    assert ("enqueued", 1, True) == (
        reset["current_state"],
        reset["attempts"],
        reset["retry_eligible"],
    )
    assert ("resolved_manually", None) == (resolved["current_state"], resolved["results"])
    assert ("complete", {"sum": 3}) == (completed["current_state"], completed["results"])
    assert "complete" == (await api.read(place))["status"]
    assert [
        ("Ann", "fail", "unlocked"),
        ("Bob", "fail", "by hand"),
        ("Cid", "after", 'counted (metadata: {"ticket":7})'),
    ] == [
        (entry["actor"], entry["step"], entry["reason"])
        for entry in await api.read(f"{place}/audit")
    ]


async def test_an_action_that_the_state_forbids_changes_nothing(api: Asking) -> None:
    task = await api.create()
    place = f"/v1/tasks/{task['id']}/steps/close"

    refused = await api.ask(place, {"action_type": "reset_for_retry"}, 409, method="PATCH")

    assert ("wrong_state", "pending") == (refused["code"], refused["state"])
    assert "pending" == (await api.read(place))["current_state"]


async def test_an_unknown_action_is_told_which_there_are(one: Asking) -> None:
    task = await one.create()

    refused = await one.ask(
        f"/v1/tasks/{task['id']}/steps/1", {"action_type": "explode"}, 400, method="PATCH"
    )

    assert ["reset_for_retry", "resolve_manually", "complete_manually"] == refused["errors"][0][
        "allowed"
    ]
