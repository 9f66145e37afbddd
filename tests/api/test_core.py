"""Routes and field names of the Rust core, at `/compat/core/v1`."""

from uuid import UUID

import pytest
from tests.api.api_client import UNKNOWN_TASK, ApiClient

pytestmark = pytest.mark.anyio

V1 = "/compat/core/v1"
REFUND = {"name": "refund", "namespace": "shop", "context": {"order": "o-1"}}


async def fail(api: ApiClient) -> str:
    """Create a task, run it until it has failed, and return its id."""
    task = await api.create("shop.broken")
    async with api.worker():
        await api.read(f"/v1/tasks/{task['id']}/wait", params={"timeout": 20})
    return str(task["id"])


async def test_a_created_task_has_the_fields_of_tasker_core(api: ApiClient) -> None:
    body = {
        **REFUND,
        "version": "1.0.0",
        "initiator": "billing",
        "source_system": "crm",
        "reason": "it broke",
        "tags": ["vip"],
        "parent_correlation_id": "case-9",
        "requested_at": "2026-01-01T00:00:00",
        "options": None,
        "priority": 3,
    }

    task = await api.call(f"{V1}/tasks", body, 201)

    assert {
        "name": "refund",
        "namespace": "shop",
        "version": "1.0.0",
        "status": "pending",
        "initiator": "billing",
        "source_system": "crm",
        "reason": "it broke",
        "parent_correlation_id": "case-9",
        "correlation_id": task["task_uuid"],
        "context": {"order": "o-1", "amount": 1},
        "total_steps": 4,
        "pending_steps": 3,
        "ready_steps": 1,
        "completed_steps": 0,
        "failed_steps": 0,
        "execution_status": "has_ready_steps",
        "recommended_action": "execute_ready_steps",
        "completion_percentage": 0.0,
        "health_status": "healthy",
        "completed_at": None,
    }.items() <= task.items()
    read = await api.read(f"{V1}/tasks/{task['task_uuid']}")
    assert ["look_up", "pay", "tell", "close"] == [step["name"] for step in read["steps"]]


async def test_an_idempotency_key_returns_the_same_task(one: ApiClient) -> None:
    body = {**REFUND, "idempotency_key": "k"}

    first = await one.call(f"{V1}/tasks", body, 201)
    again = await one.call(f"{V1}/tasks", body, 200)

    assert first["task_uuid"] == again["task_uuid"]


async def test_tasks_are_listed_in_numbered_pages(api: ApiClient) -> None:
    ids = [(await api.create())["id"] for _ in range(5)]

    pages = [
        await api.read(f"{V1}/tasks", params={"page": page, "per_page": 2}) for page in (1, 2, 3)
    ]

    assert list(reversed(ids)) == [task["task_uuid"] for page in pages for task in page["tasks"]]
    assert [(True, False), (True, True), (False, True)] == [
        (page["pagination"]["has_next"], page["pagination"]["has_previous"]) for page in pages
    ]


async def test_pages_end_at_task_1000(one: ApiClient) -> None:
    refused = await one.read(f"{V1}/tasks", 400, params={"page": 11, "per_page": 100})

    assert "invalid_request" == refused["code"]


async def test_lists_are_filtered_by_the_statuses_of_tasker_core(api: ApiClient) -> None:
    broken = await fail(api)
    other = await api.call(
        f"{V1}/tasks", {**REFUND, "initiator": "Bob", "source_system": "crm"}, 201
    )

    for query, expected in (
        ({"status": "failed"}, broken),
        ({"status": "error"}, broken),
        ({"status": "pending"}, other["task_uuid"]),
        ({"initiator": "Bob"}, other["task_uuid"]),
        ({"source_system": "crm"}, other["task_uuid"]),
    ):
        page = await api.read(f"{V1}/tasks", params=query)
        assert [expected] == [task["task_uuid"] for task in page["tasks"]], query
    assert [] == (await api.read(f"{V1}/tasks", params={"status": "completed"}))["tasks"]


async def test_delete_cancels_a_task(api: ApiClient) -> None:
    task = await api.create()

    cancelled = await api.call(f"{V1}/tasks/{task['id']}", method="DELETE")
    again = await api.call(f"{V1}/tasks/{task['id']}", status=409, method="DELETE")

    assert ("cancelled", "wrong_status") == (cancelled["status"], again["code"])


async def test_a_summary_omits_context_and_result(api: ApiClient) -> None:
    task_id = await fail(api)

    response = await api.get(f"{V1}/tasks/{task_id}/summary")

    summary = api.json_of(response, 200)
    assert "till" not in response.text
    assert ["fail", "after"] == [step["name"] for step in summary["template"]["steps"]]
    assert {"error_type": "PermanentError", "retryable": False, "status_code": None} == (
        summary["steps"][0]["error"]
    )
    assert f"{V1}/tasks/{task_id}" == summary["links"]["task"]
    await api.read(summary["links"]["task"])
    await api.read(summary["links"]["steps"])


async def test_steps_have_uuids_as_ids(api: ApiClient) -> None:
    """
    Derived from the task's id and the step's name, and accepted in paths.
    """
    task = await api.create()
    place = f"{V1}/tasks/{task['id']}/workflow_steps"

    steps = await api.read(place)
    read = await api.read(f"{place}/{steps[1]['step_uuid']}")

    assert [5] * 4 == [UUID(step["step_uuid"]).version for step in steps]
    assert read == steps[1]
    assert {
        "task_uuid": task["id"],
        "name": "close",
        "current_state": "pending",
        "dependencies_satisfied": False,
        "retry_eligible": True,
        "ready_for_execution": False,
        "total_parents": 2,
        "completed_parents": 0,
        "attempts": 0,
        "max_attempts": 3,
        "results": None,
    }.items() <= steps[3].items()


@pytest.mark.parametrize("step", ["nope", UNKNOWN_TASK])
async def test_a_missing_step_is_not_found(one: ApiClient, step: str) -> None:
    """
    With the error in the form that the core's clients read.
    """
    task = await one.create()

    for path in (step, f"{step}/audit"):
        refused = await one.read(f"{V1}/tasks/{task['id']}/workflow_steps/{path}", 404)
        assert "NOT_FOUND" == refused["error"]["code"]
        assert refused["detail"] == refused["error"]["message"]


async def test_the_audit_of_a_step_lists_its_attempts(api: ApiClient) -> None:
    task_id = await fail(api)
    place = f"{V1}/tasks/{task_id}/workflow_steps/fail"

    step, audit = await api.read(place), await api.read(f"{place}/audit")

    assert step["last_failure_at"] == step["completed_at"] == audit[0]["recorded_at"]
    assert {
        "workflow_step_uuid": step["step_uuid"],
        "task_uuid": task_id,
        "success": False,
        "step_name": "fail",
        "to_state": "error",
        "result": None,
    }.items() <= audit[0].items()


async def test_patch_settles_a_step(api: ApiClient) -> None:
    """Without authentication, the actor is the one in the body."""
    task_id = await fail(api)
    place = f"{V1}/tasks/{task_id}/workflow_steps"

    async def patch(step: str, **body: object) -> tuple[object, object]:
        answer = await api.call(f"{place}/{step}", body, method="PATCH")
        return answer["current_state"], answer["results"]

    assert ("enqueued", None) == await patch(
        "fail", action_type="reset_for_retry", reason="unlocked", reset_by="Ann"
    )
    assert ("resolved_manually", None) == await patch(
        "fail", action_type="resolve_manually", reason="by hand", resolved_by="Bob"
    )
    assert ("complete", {"sum": 3}) == await patch(
        "after",
        action_type="complete_manually",
        completion_data={"result": {"sum": 3}, "metadata": {"ticket": 7}},
        reason="counted",
        completed_by="Cid",
    )
    assert [
        ("Ann", "fail", "unlocked"),
        ("Bob", "fail", "by hand"),
        ("Cid", "after", 'counted (metadata: {"ticket":7})'),
    ] == [
        (entry["actor"], entry["step"], entry["reason"])
        for entry in await api.read(f"/v1/tasks/{task_id}/audit")
    ]


async def test_an_unknown_action_lists_the_allowed_ones(one: ApiClient) -> None:
    task = await one.create()

    refused = await one.call(
        f"{V1}/tasks/{task['id']}/workflow_steps/look_up",
        {"action_type": "explode"},
        400,
        method="PATCH",
    )

    assert ["reset_for_retry", "resolve_manually", "complete_manually"] == (
        refused["errors"][0]["allowed"]
    )
    assert "BAD_REQUEST" == refused["error"]["code"]


async def test_templates_are_listed_and_read(one: ApiClient) -> None:
    listed = await one.read(f"{V1}/templates")
    read = await one.read(f"{V1}/templates/shop/refund/1.0.0")

    assert [{"name": "shop", "description": "", "template_count": 2}] == listed["namespaces"]
    assert 2 == listed["total_count"] == len(listed["templates"])
    assert ("refund", 3) == (read["name"], read["steps"][0]["default_max_attempts"])


async def test_analytics_have_the_fields_of_tasker_core(api: ApiClient) -> None:
    await fail(api)

    performance = await api.read(f"{V1}/analytics/performance", params={"hours": 1})
    bottlenecks = await api.read(f"{V1}/analytics/bottlenecks", params={"min_executions": 1})

    assert (1, 1, 100.0) == (
        performance["total_tasks"],
        performance["failed_tasks"],
        performance["error_rate"],
    )
    assert 1 == bottlenecks["resource_utilization"]["system_health"]["total_tasks"]
    assert {"slow_steps", "slow_tasks", "recommendations"} <= bottlenecks.keys()
    assert ("shop", "fail") == (
        bottlenecks["slow_steps"][0]["namespace_name"],
        bottlenecks["slow_steps"][0]["step_name"],
    )
    assert "task_name" in bottlenecks["slow_tasks"][0]
