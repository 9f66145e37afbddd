"""Refusals of bad input: a problem that says what is wrong, and nothing is stored."""

import json
from typing import Any

import pytest
from tests.api.api_client import UNKNOWN_TASK, ApiClient

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
REFUND = {"name": "shop.refund", "context": {"order": "o-1"}}


async def refused(one: ApiClient, body: Any, status: int = 400) -> Any:
    """Return the problem of a task that is refused."""
    problem = await one.call("/v1/tasks", body, status)
    assert [] == (await one.read("/v1/tasks"))["tasks"]
    return problem


async def test_a_problem_lists_each_error_with_its_path_and_the_allowed_values(
    one: ApiClient,
) -> None:
    problem = await refused(one, {"name": "shop.refund", "contxt": {}, "tags": [1]})

    assert {
        "type": "urn:tasker:problem:invalid_request",
        "title": "Invalid request",
        "status": 400,
        "code": "invalid_request",
        "instance": "/v1/tasks",
    }.items() <= problem.items()
    by_path = {fault["path"]: fault for fault in problem["errors"]}
    assert {"$.contxt", "$.tags[0]"} == set(by_path)
    assert "is unknown; did you mean 'context'?" == by_path["$.contxt"]["message"]
    assert {"name", "context", "idempotency_key"} <= set(by_path["$.contxt"]["allowed"])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b'{"name": }', "line 1 column 10"),
        (b'{"name":\n "x",}', "line 2 column 6"),
        (b"", "line 1 column 0"),
        (b"\xff\xfe", "line 1 column 1"),
        (b'{"name": "\xff"}', "line 1"),
        (b'{"name": "\\ud800"}', "line 1"),
        (b"[" * 100_000, "recursion limit"),
        (b'{"a":' * 100_000, "recursion limit"),
    ],
)
async def test_a_problem_locates_invalid_json(one: ApiClient, text: bytes, place: str) -> None:
    for path in ("/v1/tasks", "/v1/tasks/bulk", "/tasker/tasks", "/workflows/execute"):
        problem = one.json_of(await one.post(path, content=text, headers=JSON), 400)

        assert "malformed_json" == problem["code"]
        assert place in problem["detail"]


@pytest.mark.parametrize("body", [None, [], "x", 5, True])
async def test_a_body_must_be_an_object(one: ApiClient, body: Any) -> None:
    problem = one.json_of(await one.post("/v1/tasks", content=json.dumps(body), headers=JSON), 400)

    assert ("invalid_request", "$") == (problem["code"], problem["errors"][0]["path"])


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": 5}, "$.name"),
        ({"name": "shop refund;drop"}, "$.name"),
        ({"name": "x" * 500}, "$.name"),
        ({"namespace": "a-b"}, "$.namespace"),
        ({"version": "1.0.0\x00"}, "$.version"),
        ({"context": []}, "$.context"),
        ({"context": None}, "$.context"),
        ({"tags": "red"}, "$.tags"),
        ({"tags": ["x"] * 101}, "$.tags"),
        ({"tags": ["a\x00b"]}, "$.tags[0]"),
        ({"reason": "a\x00b"}, "$.reason"),
        ({"idempotency_key": ""}, "$.idempotency_key"),
        ({"idempotency_key": "k" * 1001}, "$.idempotency_key"),
        ({"correlation_id": "a\nb"}, "$.correlation_id"),
        ({"parent_id": "1234"}, "$.parent_id"),
        ({"run_at": "tomorrow"}, "$.run_at"),
        ({"run_at": "2026-01-01T00:00:00"}, "$.run_at"),
        ({"run_at": 5}, "$.run_at"),
        ({"run_at": "0001-01-01T00:00:00Z"}, "$.run_at"),
        ({"run_at": "9999-12-31T23:59:59Z"}, "$.run_at"),
        ({"delay_seconds": -1}, "$.delay_seconds"),
        ({"delay_seconds": "5m"}, "$.delay_seconds"),
        ({"delay_seconds": 5, "run_at": "2030-01-01T00:00:00Z"}, "$.delay_seconds"),
        ({"deadline_seconds": 0}, "$.deadline_seconds"),
        ({"deadline_seconds": "60"}, "$.deadline_seconds"),
        ({"deadline_seconds": 1e300}, "$.deadline_seconds"),
        ({"priority": 5}, "$.priority"),
        ({"initiator": "Bob"}, "$.initiator"),
    ],
)
async def test_fields_must_have_the_right_types(
    one: ApiClient, fields: dict[str, Any], path: str
) -> None:
    """Values are not converted: a number in quotes is a string."""
    problem = await refused(one, {**REFUND, **fields})

    assert (("invalid_request", path)) == (problem["code"], problem["errors"][0]["path"])


@pytest.mark.parametrize(
    ("context", "path"),
    [
        ({}, "$.context.order"),
        ({"order": 5}, "$.context.order"),
        ({"order": "o", "amount": -1}, "$.context.amount"),
        ({"order": "a\x00b"}, "$.context.order"),
        ({"order": "o", "big": 10**40}, "$.context.big"),
    ],
)
async def test_contexts_must_match_the_input_schema(
    one: ApiClient, context: dict[str, Any], path: str
) -> None:
    problem = await refused(one, {"name": "shop.refund", "context": context})

    assert ("invalid_input", path) == (problem["code"], problem["errors"][0]["path"])


async def test_numbers_that_are_not_json_are_refused(one: ApiClient) -> None:
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        text = '{"name": "shop.broken", "context": {"n": %s}}' % number  # noqa: UP031
        response = await one.post("/v1/tasks", content=text, headers=JSON)

        assert "$.context.n" == one.json_of(response, 400)["errors"][0]["path"]


@pytest.mark.parametrize(
    ("name", "version", "hint"),
    [
        ("shop.refnd", None, "did you mean 'shop.refund'?"),
        ("refund", None, "shop.refund"),
        ("shop.refund", "2.0.0", "available: 1.0.0"),
        ("shop.refund", "^2", "available: 1.0.0"),
    ],
)
async def test_an_unknown_template_is_not_found(
    one: ApiClient, name: str, version: str | None, hint: str
) -> None:
    problem = await refused(one, {"name": name, "version": version, "context": {}}, 404)

    assert "not_found" == problem["code"]
    assert hint in problem["detail"]


async def test_a_contradictory_reference_is_refused(one: ApiClient) -> None:
    """
    Two namespaces, two versions, or an invalid version.
    """
    for fields, path in (
        ({"name": "shop.refund", "namespace": "other"}, "$.namespace"),
        ({"name": "shop.refund@1.0.0", "version": "1.0.1"}, "$.version"),
        ({"name": "shop.refund", "version": "newest"}, "$.version"),
    ):
        problem = await refused(one, {"context": {}, **fields})

        assert ("invalid_input", path) == (problem["code"], problem["errors"][0]["path"])


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", ""])
async def test_a_body_of_another_type_is_refused(one: ApiClient, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    response = await one.post("/v1/tasks", content=json.dumps(REFUND), headers=headers)

    problem = one.json_of(response, 415)
    assert "unsupported_media_type" == problem["code"]
    assert "application/json" == response.headers["accept"]


async def test_all_json_media_types_are_accepted(one: ApiClient) -> None:
    for kind in ("application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.x+json"):
        headers = {"Content-Type": kind}
        response = await one.post("/v1/tasks", content=json.dumps(REFUND), headers=headers)

        assert 201 == response.status_code


@pytest.mark.parametrize(
    "id",
    [
        "1",
        "not-a-uuid",
        "' or 1=1 --",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "0" * 5000,
        UNKNOWN_TASK + "0",
        "００000000-0000-7000-8000-000000000000",
    ],
)
async def test_an_invalid_id_is_refused(one: ApiClient, id: str) -> None:
    """The response is a problem, and no statement runs."""
    for path in ("", "/summary", "/wait", "/stream", "/steps", "/attempts", "/audit"):
        response = await one.get(f"/v1/tasks/{id}{path}")

        assert response.status_code in (400, 404)
        assert response.json()["code"] in ("invalid_request", "no_such_route")
    assert 400 == (await one.get("/v1/tasks", params={"cursor": id})).status_code
    assert 400 == (await one.get("/v1/tasks", params={"parent_id": id})).status_code


async def test_missing_objects_are_not_found(one: ApiClient) -> None:
    place = f"/v1/tasks/{UNKNOWN_TASK}"
    for method, path in (
        ("GET", place),
        ("GET", place.upper().replace("/V1/TASKS", "/v1/tasks")),
        ("GET", f"{place}/summary"),
        ("GET", f"{place}/steps"),
        ("GET", f"{place}/steps/1"),
        ("GET", f"{place}/attempts"),
        ("GET", f"{place}/audit"),
        ("GET", f"{place}/stream"),
        ("POST", f"{place}/cancel"),
        ("POST", f"{place}/retry"),
        ("GET", f"/tasker/tasks/{UNKNOWN_TASK}"),
        ("GET", "/v1/templates/shop/nothing"),
        ("GET", "/v1/templates/shop/refund/9.9.9"),
        ("GET", "/v1/namespaces/nowhere"),
        ("GET", "/tasker/handlers/nowhere"),
        ("GET", "/tasker/handlers/shop/nothing"),
    ):
        problem = one.json_of(await one.request(method, path), 404)

        assert "not_found" == problem["code"], path


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "ten"},
        {"page": "2"},
        {"status": "completed"},
        {"created_after": "yesterday"},
        {"created_after": "2026-01-01"},
        {"created_after": "0001-01-01T00:00:00+01:00"},
        {"created_before": "9999-12-31T23:59:59-01:00"},
        {"cursor": "zzz"},
        {"tag": "\x00"},
        {"namespace": "a b"},
        {"source_system": "b"},
    ],
)
async def test_unknown_and_invalid_query_parameters_are_refused(
    one: ApiClient, query: dict[str, str]
) -> None:
    problem = await one.read("/v1/tasks", 400, params=query)

    assert "invalid_request" == problem["code"]


@pytest.mark.parametrize("name", ["cursor", "task_id"])
async def test_an_invalid_id_in_the_query_of_approvals_is_refused(
    one: ApiClient, name: str
) -> None:
    problem = await one.read("/v1/approvals", 400, params={name: "zzz"})

    assert "invalid_request" == problem["code"]


async def test_a_refused_status_lists_the_allowed_ones(one: ApiClient) -> None:
    problem = await one.read("/v1/tasks", 400, params={"status": "completed"})

    assert "complete" in problem["errors"][0]["allowed"]


async def test_unknown_paths_are_not_found(one: ApiClient) -> None:
    for path in ("/", "/v1", "/v1/", "/v1/tasks/", "/v2/tasks", "/docs", "/admin", "/%00"):
        assert "no_such_route" == one.json_of(await one.get(path), 404)["code"], path


async def test_methods_without_a_route_are_refused(one: ApiClient) -> None:
    """`Allow` lists all methods of the path."""
    for method, path, allowed in (
        ("PUT", "/v1/tasks", "GET, POST"),
        ("PATCH", f"/v1/tasks/{UNKNOWN_TASK}", "GET"),
        ("POST", "/health", "GET"),
    ):
        response = await one.request(method, path)
        problem = one.json_of(response, 405)
        assert ("method_not_allowed", allowed) == (problem["code"], response.headers["allow"])
