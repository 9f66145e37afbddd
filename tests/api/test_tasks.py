"""Tasks over HTTP: creating, listing, reading, and operators' actions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.api_client import ApiClient, templates

from tasker.model import StepSpec

pytestmark = pytest.mark.anyio

REFUND = {"name": "refund", "namespace": "shop", "context": {"order": "o-1"}}


# --------------------------------------------------------------------- creating


async def test_a_created_task_is_returned_with_its_location(api: ApiClient) -> None:
    """
    With its full name, and the defaults of its inputs filled in.
    """
    response = await api.post("/v1/tasks", json={**REFUND, "reason": "it broke", "tags": ["vip"]})

    task = api.json_of(response, 201)
    assert f"/v1/tasks/{task['id']}" == response.headers["location"]
    assert {"order": "o-1", "amount": 1} == task["context"]
    assert {
        "namespace": "shop",
        "name": "refund",
        "version": "1.0.0",
        "full_name": "shop.refund@1.0.0",
        "status": "pending",
        "reason": "it broke",
        "tags": ["vip"],
        "created_by": "anonymous",
        "correlation_id": task["id"],
        "execution_status": "no_worker",
        "recommended_action": "start_worker",
        "completion_percentage": 0.0,
        "health_status": "blocked",
        "ended_at": None,
        "result": None,
        "error": None,
    }.items() <= task.items()
    assert (1, 3) == (task["counts"]["enqueued"], task["counts"]["pending"])
    read = await api.read(response.headers["location"])
    assert {key: task[key] for key in ("id", "context", "reason", "tags", "correlation_id")} == {
        key: read[key] for key in ("id", "context", "reason", "tags", "correlation_id")
    }


async def test_the_response_to_a_creation_states_whether_a_worker_can_run_the_task(
    api: ApiClient,
) -> None:
    """
    The same as a later read; of a task for later it says nothing of workers.
    """
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    template = replace(templates()[1], name="unserved", steps=(StepSpec(name="nobody"),))
    await api.store.register_template(template, registered_by="tests")
    async with api.worker():
        served = await api.create("shop.broken")
        unserved = await api.create("shop.unserved")
        (in_bulk,) = (
            await api.call("/v1/tasks/bulk", {"tasks": [{"name": "shop.unserved"}]}, 201)
        )["tasks"]
        for_later = await api.create("shop.unserved", run_at=later)

    assert ["has_ready_steps", "no_worker", "no_worker", "has_ready_steps"] == [
        task["execution_status"] for task in (served, unserved, in_bulk, for_later)
    ]
    read = await api.read(f"/v1/tasks/{unserved['id']}")
    assert {key: read[key] for key in ("execution_status", "health_status", "counts")} == {
        key: unserved[key] for key in ("execution_status", "health_status", "counts")
    }


async def test_the_same_key_returns_the_same_task(api: ApiClient) -> None:
    """
    201 once, then 200 with the task; 409 if the content differs.
    """
    headers = {"Idempotency-Key": "refund-1"}
    first = await api.call("/v1/tasks", REFUND, 201, headers=headers)
    again = await api.call("/v1/tasks", REFUND, 200, headers=headers)
    in_body = await api.call("/v1/tasks", {**REFUND, "idempotency_key": "refund-1"}, 200)
    other = await api.call(
        "/v1/tasks", {**REFUND, "context": {"order": "o-2"}}, 409, headers=headers
    )

    assert (first["id"], True) == (again["id"], first["created"])
    assert (first["id"], False) == (in_body["id"], in_body["created"])
    assert "idempotency_conflict" == other["code"]
    assert "refund-1" == first["idempotency_key"]


async def test_a_taken_key_is_rejected_or_its_task_replaced(api: ApiClient) -> None:
    """`if_exists` decides; the key may be given in the header."""
    headers = {"Idempotency-Key": "k"}
    first = await api.call("/v1/tasks", REFUND, 201, headers=headers)
    rejected = await api.call("/v1/tasks", {**REFUND, "if_exists": "reject"}, 409, headers=headers)
    second = await api.call("/v1/tasks", {**REFUND, "if_exists": "replace"}, 201, headers=headers)

    assert ("task_exists", "k", first["id"]) == (
        rejected["code"],
        rejected["key"],
        rejected["task_id"],
    )
    assert "cancelled" == (await api.read(f"/v1/tasks/{first['id']}"))["status"]
    assert second["id"] != first["id"]


async def test_options_for_idempotency_keys_need_a_key(one: ApiClient) -> None:
    """
    The problem names the field, and in bulk the task.
    """
    alone = await one.call("/v1/tasks", {**REFUND, "unique_while": "open"}, 400)
    in_bulk = await one.call(
        "/v1/tasks/bulk", {"tasks": [REFUND, {**REFUND, "if_exists": "return"}]}, 400
    )
    unknown = await one.call("/v1/tasks", {**REFUND, "if_exists": "ignore"}, 400)

    assert [
        {"path": "$.unique_while", "message": "unique_while needs an idempotency_key"}
    ] == alone["errors"]
    assert "$.tasks[1].if_exists" == in_bulk["errors"][0]["path"]
    assert ["return", "reject", "replace"] == unknown["errors"][0]["allowed"]


async def test_a_list_is_filtered_by_attributes(api: ApiClient) -> None:
    """
    By `attribute=NAME=VALUE`, as often as needed; a name that is given twice is refused.
    """
    template = replace(
        templates()[0],
        version="1.1.0",
        title="Refund {input.order}",
        attributes={"order": "input.order", "amount": "input.amount"},
    )
    await api.store.register_template(template, registered_by="tests")
    first, _ = [await api.create(context={"order": order}) for order in ("a=1", "b")]

    by_one = await api.read("/v1/tasks?attribute=order=a=1")
    by_two = await api.read("/v1/tasks?attribute=order%3Da%3D1&attribute=amount=1")
    none = await api.read("/v1/tasks?attribute=order=b&attribute=amount=2")
    twice = await api.read("/v1/tasks?attribute=order=b&attribute=order=c", 400)
    wrong = await api.read("/v1/tasks?attribute=order", 400)

    assert ("Refund a=1", {"order": "a=1", "amount": "1"}) == (first["title"], first["attributes"])
    assert [first["id"]] == [task["id"] for task in by_one["tasks"]]
    assert by_one == by_two
    assert [] == none["tasks"]
    assert [{"path": "query.attribute", "message": "has order twice"}] == twice["errors"]
    assert "query.attribute.0" == wrong["errors"][0]["path"]


async def test_an_unchanged_task_is_answered_with_304(api: ApiClient) -> None:
    """
    304 without a body for its ETag, also a weak one or one of several.
    """
    path = f"/v1/tasks/{(await api.create())['id']}"
    first = await api.get(path)
    etag = first.headers["etag"]

    same = [
        await api.get(path, headers={"If-None-Match": sent})
        for sent in (etag, f"W/{etag}", f'"other", {etag}')
    ]
    cancelled = await api.post(f"{path}/cancel")
    changed = await api.get(path, headers={"If-None-Match": etag})

    assert f'"{first.json()["etag"]}"' == etag
    assert [(304, b"", etag)] * 3 == [(r.status_code, r.content, r.headers["etag"]) for r in same]
    assert 200 == changed.status_code
    assert cancelled.headers["etag"] == changed.headers["etag"] != etag


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("cancel", None),
        ("retry", None),
        ("resolve", None),
        ("steps/look_up/retry", None),
        ("steps/look_up/resolve", {"result": 1}),
        ("steps/look_up/complete", {"result": 1}),
        ("steps/look_up/skip", None),
    ],
)
async def test_an_action_with_an_outdated_etag_is_answered_with_412(
    one: ApiClient, action: str, body: Any
) -> None:
    path = f"/v1/tasks/{(await one.create())['id']}"
    etag = (await one.get(path)).headers["etag"]
    await one.call(f"{path}/steps/look_up/complete", {"result": 1}, headers={"If-Match": etag})

    refused = await one.call(f"{path}/{action}", body, 412, headers={"If-Match": etag})

    now = await one.read(path)
    assert ("task_changed", now["id"], now["etag"]) == (
        refused["code"],
        refused["task_id"],
        refused["etag"],
    )
    assert "in_progress" == now["status"]


async def test_if_match_accepts_etags_and_an_asterisk(one: ApiClient) -> None:
    path = f"/v1/tasks/{(await one.create())['id']}"

    for wrong in ("abc", '"a", "b"', ""):
        refused = await one.call(f"{path}/cancel", None, 400, headers={"If-Match": wrong})
        assert "header.If-Match" == refused["errors"][0]["path"]
    await one.call(f"{path}/cancel", None, 200, headers={"If-Match": "*"})


async def test_a_quoted_key_is_the_same_key(one: ApiClient) -> None:
    first = await one.call("/v1/tasks", REFUND, 201, headers={"Idempotency-Key": '"a b"'})
    again = await one.call("/v1/tasks", {**REFUND, "idempotency_key": "a b"}, 200)

    assert first["id"] == again["id"]


async def test_contradictory_idempotency_keys_are_refused(one: ApiClient) -> None:
    refused = await one.call(
        "/v1/tasks", {**REFUND, "idempotency_key": "a"}, 400, headers={"Idempotency-Key": "b"}
    )

    assert "header.Idempotency-Key" == refused["errors"][0]["path"]


async def test_the_correlation_id_is_taken_from_the_request_and_returned(one: ApiClient) -> None:
    """A response about a task has the task's, any other response the caller's."""
    sent = await one.post("/v1/tasks", json=REFUND, headers={"X-Correlation-Id": "order-77"})
    own = await one.post("/v1/tasks", json=REFUND)
    refused = await one.get("/v1/nothing", headers={"X-Correlation-Id": "order-78"})
    forged = await one.get("/v1/nothing", headers={"X-Correlation-Id": "a b\tc"})
    invalid = await one.call("/v1/tasks", REFUND, 400, headers={"X-Correlation-Id": "a b"})

    assert "order-77" == sent.headers["x-correlation-id"] == sent.json()["correlation_id"]
    assert own.json()["id"] == own.headers["x-correlation-id"]
    assert "order-78" == refused.headers["x-correlation-id"] == refused.json()["correlation_id"]
    assert forged.headers["x-correlation-id"] not in ("", "a b\tc")
    assert "header.X-Correlation-Id" == invalid["errors"][0]["path"]


async def test_the_trace_of_the_request_is_stored_with_the_task(one: ApiClient) -> None:
    """
    An invalid traceparent is dropped.
    """
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced = await one.call("/v1/tasks", REFUND, 201, headers={"traceparent": trace})
    untraced = await one.call("/v1/tasks", REFUND, 201, headers={"traceparent": "00-zz"})

    kept = await one.store.load_task_inputs([traced["id"], untraced["id"]])
    assert {traced["id"]: trace, untraced["id"]: None} == {
        task.task_id: task.trace for task in kept
    }


async def test_many_tasks_are_created_in_one_request(api: ApiClient) -> None:
    body = {"tasks": [{**REFUND, "idempotency_key": f"k{no}"} for no in range(3)]}

    made = await api.call("/v1/tasks/bulk", body, 201)
    again = await api.call("/v1/tasks/bulk", body, 200)
    more = await api.call("/v1/tasks/bulk", {"tasks": [*body["tasks"], REFUND]}, 201)

    assert (3, 0, 1) == (made["created"], again["created"], more["created"])
    assert [task["id"] for task in made["tasks"]] == [task["id"] for task in again["tasks"]]
    assert 4 == len((await api.read("/v1/tasks"))["tasks"])


@pytest.mark.parametrize(
    ("wrong", "status", "code", "path"),
    [
        ({"name": "shop.refund", "context": {}}, 400, "invalid_input", "$.tasks[1].context.order"),
        ({"name": "shop.nothing"}, 404, "not_found", None),
        ({**REFUND, "idempotency_key": "taken"}, 409, "idempotency_conflict", None),
        ({"nam": "shop.refund"}, 400, "invalid_request", "$.tasks[1].name"),
        ({**REFUND, "version": "two"}, 400, "invalid_input", "$.tasks[1].version"),
    ],
)
async def test_one_invalid_task_of_many_prevents_all(
    api: ApiClient, wrong: dict[str, Any], status: int, code: str, path: str | None
) -> None:
    """
    The problem names its index.
    """
    await api.create("shop.broken", idempotency_key="taken")

    refused = await api.call("/v1/tasks/bulk", {"tasks": [REFUND, wrong, REFUND]}, status)

    assert code == refused["code"]
    assert path == (refused["errors"][0]["path"] if path else None)
    assert 1 == len((await api.read("/v1/tasks"))["tasks"])


async def test_the_start_of_a_task_is_limited_to_a_range(api: ApiClient) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)

    task = await api.create(run_at=later.isoformat(), deadline_seconds=7200)

    read = await api.read(f"/v1/tasks/{task['id']}")
    assert read["steps"][0]["ready"] is False
    assert datetime.fromisoformat(read["created_at"]) + timedelta(
        hours=2
    ) == datetime.fromisoformat(read["deadline"])


# ---------------------------------------------------------------------- listing


async def ids(api: ApiClient, **query: Any) -> list[str]:
    return [task["id"] for task in (await api.read("/v1/tasks", params=query))["tasks"]]


async def test_pages_neither_repeat_nor_skip_while_tasks_are_created(api: ApiClient) -> None:
    """New tasks come before all pages."""
    made = [(await api.create())["id"] for _ in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await api.read(
            "/v1/tasks", params={"limit": 3, **({"cursor": cursor} if cursor else {})}
        )
        seen += [task["id"] for task in page["tasks"]]
        cursor = page["pagination"]["next_cursor"]
        assert page["pagination"]["has_next"] is (cursor is not None)
        if cursor is None:
            break
        await api.create()

    assert list(reversed(made)) == seen


async def test_a_full_page_may_be_the_last(one: ApiClient) -> None:
    for _ in range(2):
        await one.create()

    page = await one.read("/v1/tasks", params={"limit": 2})

    assert (2, None, False) == (
        len(page["tasks"]),
        page["pagination"]["next_cursor"],
        page["pagination"]["has_next"],
    )


async def test_lists_are_filtered_by_each_field_of_tasks(api: ApiClient) -> None:
    other = await api.create(correlation_id="c-0")
    task = await api.create(
        "shop.broken",
        correlation_id="c-1",
        parent_id=other["id"],
        tags=["red"],
        created_by="Bob",
        idempotency_key="k-1",
    )
    stored = await api.call(f"/v1/tasks/{task['id']}/cancel")

    for filter in (
        {"name": "broken"},
        {"version": "0.9.0"},
        {"status": "cancelled"},
        {"correlation_id": "c-1"},
        {"parent_id": other["id"]},
        {"tag": "red"},
        {"created_by": "Bob"},
        {"idempotency_key": "k-1"},
        {"created_after": stored["created_at"], "name": "broken"},
        {"namespace": "shop", "name": "broken", "status": "cancelled", "tag": "red"},
    ):
        assert [task["id"]] == await ids(api, **filter), filter
    assert [other["id"]] == await ids(api, status="pending")
    assert [] == await ids(api, namespace="elsewhere")
    assert [] == await ids(api, created_before="2020-01-01T00:00:00Z")


async def test_failed_tasks_are_listed_by_step_and_code(api: ApiClient) -> None:
    task = await api.create("shop.broken")
    async with api.worker():
        await api.read(f"/v1/tasks/{task['id']}/wait", params={"timeout": 20})

    assert [task["id"]] == await ids(api, failed_step="fail", error_code="LOCKED")
    assert [] == await ids(api, failed_step="after")
    assert [] == await ids(api, error_code="LOCK")


# ---------------------------------------------------------------------- reading


async def test_a_list_omits_contexts_and_results(api: ApiClient) -> None:
    """Error messages are omitted too, because they may contain either."""
    task = await api.create("shop.broken", context={"secret": "swordfish"})
    async with api.worker():
        await api.read(f"/v1/tasks/{task['id']}/wait", params={"timeout": 20})

    response = await api.get(f"/v1/tasks/{task['id']}/summary")

    summary = api.json_of(response, 200)
    assert "swordfish" not in response.text
    assert "till" not in response.text
    assert ("error", "blocked_by_failures", "handle_failures") == (
        summary["task"]["status"],
        summary["task"]["execution_status"],
        summary["task"]["recommended_action"],
    )
    assert [("fail", {"type": "PermanentError", "code": "LOCKED"}), ("after", None)] == [
        (step["name"], step["error"]) for step in summary["steps"]
    ]


async def test_a_task_that_ran_has_a_history(api: ApiClient) -> None:
    task = await api.create()
    async with api.worker():
        ended = await api.read(f"/v1/tasks/{task['id']}/wait", params={"timeout": 20})

    history = await api.read(f"/v1/tasks/{task['id']}/attempts")
    assert ("complete", "all_complete", "none", 100.0) == (
        ended["status"],
        ended["execution_status"],
        ended["recommended_action"],
        ended["completion_percentage"],
    )
    assert ended["ended_at"] is not None
    assert ["complete"] * 4 == [step["status"] for step in ended["steps"]]
    assert {"look_up", "pay", "tell", "close"} == {attempt["step"] for attempt in history}


async def test_a_task_states_where_its_time_went(api: ApiClient) -> None:
    """It has times in total and by step; lists and responses to a creation have none."""
    task = await api.create()
    async with api.worker():
        ended = await api.read(f"/v1/tasks/{task['id']}/wait", params={"timeout": 20})
    place = f"/v1/tasks/{task['id']}"
    read, listed = await api.read(place), await api.read("/v1/tasks")
    steps, history = await api.read(f"{place}/steps"), await api.read(f"{place}/attempts")

    ran = {attempt["step"]: attempt["ran"] for attempt in history}
    assert ran == {step["name"]: step["times"]["ran"] for step in steps}
    assert [step["times"] for step in steps] == [step["times"] for step in read["steps"]]
    assert [step["times"] for step in steps] == [
        (await api.read(f"{place}/steps/{step['name']}"))["times"] for step in steps
    ]
    assert {"started_after", "queued", "ran", "backoff", "parked"} == set(read["times"])
    assert read["times"] == ended["times"]
    assert (None, None) == (task["times"], listed["tasks"][0]["times"])


async def test_a_task_has_the_result_of_its_last_step(api: ApiClient) -> None:
    """The result of several last steps is an object; it is null until the task is complete."""
    for name, last in (("one", ("c",)), ("two", ("c", "d"))):
        steps = [{"name": "a"}, *({"name": step, "dependencies": ["a"]} for step in last)]
        document = {"name": name, "namespace_name": "shop", "version": "1.0.0", "steps": steps}
        await api.call("/v1/templates", document, 201)

    results = {}
    for name, last in (("one", ("c",)), ("two", ("c", "d"))):
        task = await api.create(f"shop.{name}")
        place = f"/v1/tasks/{task['id']}"
        for step in ("a", *last):
            assert None is (await api.read(place))["result"]
            await api.call(f"{place}/steps/{step}/complete", {"result": step.upper()})
        results[name] = (await api.read(place))["result"]

    assert {"one": "C", "two": {"c": "C", "d": "D"}} == results


async def test_a_failed_task_names_the_step_and_its_error(api: ApiClient) -> None:
    task = await api.create("shop.broken")
    async with api.worker():
        failed = await api.read(f"/v1/tasks/{task['id']}/wait", params={"timeout": 20})

    assert {
        "step": "fail",
        "type": "PermanentError",
        "message": "the till is locked",
        "code": "LOCKED",
    } == failed["failure"]
    assert failed == await api.read(f"/v1/tasks/{task['id']}")


# ----------------------------------------------------------------------- acting


async def test_a_task_is_cancelled_once(api: ApiClient) -> None:
    task = await api.create()
    place = f"/v1/tasks/{task['id']}"

    cancelled = await api.call(f"{place}/cancel", {"reason": "gone"})
    again = await api.call(f"{place}/cancel", status=409)

    assert ("cancelled", "cancelled") == (cancelled["status"], cancelled["execution_status"])
    assert ("wrong_status", "cancelled", ["in_progress", "pending"]) == (
        again["code"],
        again["current_status"],
        again["allowed"],
    )
    audit = await api.read(f"{place}/audit")
    assert [("anonymous", "cancel", "gone")] == [
        (entry["actor"], entry["action"], entry["reason"]) for entry in audit
    ]


async def test_failed_steps_are_retried_and_failed_tasks_resolved(api: ApiClient) -> None:
    task = await api.create("shop.broken")
    place = f"/v1/tasks/{task['id']}"
    async with api.worker():
        await api.read(f"{place}/wait", params={"timeout": 20})

    retried = await api.call(f"{place}/retry", {"steps": ["fail"], "reason": "unlocked"})
    unknown = await api.call(f"{place}/retry", {"steps": ["nope"]}, 404)
    async with api.worker():
        await api.read(f"{place}/wait", params={"timeout": 20})
    resolved = await api.call(f"{place}/resolve", {"reason": "let it be"})

    assert ("in_progress", "no_worker") == (retried["status"], retried["execution_status"])
    assert "not_found" == unknown["code"]
    assert ("resolved_manually", "healthy") == (resolved["status"], resolved["health_status"])
