"""What callers see: their namespaces, whole pages of them, and no trace of others."""

from typing import Any

import httpx
import pytest
from tests.api.auth.scene import (
    UNKNOWN_TASK,
    begin,
    begin_many,
    calling,
    key,
    register,
    template,
)

from tasker.model import TaskFilter, TaskId
from tasker.store.operator_rules import unknown_task_error
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import ManualWorker

pytestmark = pytest.mark.anyio


def without_ids(answer: httpx.Response) -> dict[str, Any]:
    """Return a problem without the members that differ from request to request."""
    body: dict[str, Any] = answer.json()
    return {
        name: body[name] for name in body if name not in ("correlation_id", "instance", "error")
    }


# -------------------------------------------------------------------------------- lists


async def test_pages_are_filled_with_visible_items(either: Store) -> None:
    """Even with ten times as many invisible tasks in between; without repetition or gaps."""
    own: list[TaskId] = []
    templates = {
        namespace: (await either.get_template(template(namespace).key)).id
        for namespace in ("payments", "orders")
    }
    for _ in range(12):
        await begin_many(either, templates["orders"], 10)
        own += await begin_many(either, templates["payments"], 1)
    seen: list[str] = []
    cursor = ""
    async with calling(either, await key(either, "viewer")) as caller:
        for count in (5, 5, 2):
            page = (await caller.get(f"/v1/tasks?limit=5{cursor}")).json()
            assert count == len(page["tasks"])
            seen += [task["id"] for task in page["tasks"]]
            cursor = f"&cursor={page['pagination']['next_cursor']}"
        last = page["pagination"]
        asked_for = (await caller.get("/v1/tasks?namespace=orders")).json()

    assert sorted(own, reverse=True) == seen
    assert (None, False) == (last["next_cursor"], last["has_next"])
    assert [] == asked_for["tasks"]


async def test_filters_find_nothing_in_other_namespaces(either: Store) -> None:
    """This holds for parent, correlation id, name, tag and creator."""
    task = await either.get_task(await begin(either, "orders"))
    filters = {
        "namespace": "orders",
        "name": "refund",
        "correlation_id": task.correlation_id,
        "created_by": "the tests",
        "cursor": "ffffffff-ffff-ffff-ffff-ffffffffffff",
    }
    async with calling(either, await key(either, "viewer")) as caller:
        for name, value in filters.items():
            assert [] == (await caller.get(f"/v1/tasks?{name}={value}")).json()["tasks"]


async def test_figures_count_only_visible_tasks(either: Store) -> None:
    await begin(either, "payments")
    for _ in range(3):
        await begin(either, "orders")
    async with calling(either, await key(either, "viewer")) as caller:
        totals = [
            (await caller.get(f"/v1/analytics/{kind}")).json()
            for kind in ("performance", "performance?namespace=payments")
        ]
        bottlenecks = await caller.get("/v1/analytics/bottlenecks")
        hidden = await caller.get("/v1/analytics/performance?namespace=orders")
    async with calling(either, await key(either, "viewer", namespaces=["*"])) as caller:
        everything = (await caller.get("/v1/analytics/performance")).json()

    assert [1, 1, 4] == [each["total_tasks"] for each in (*totals, everything)]
    assert "orders" not in bottlenecks.text
    assert 404 == hidden.status_code


async def test_the_audit_shows_only_visible_namespaces(either: Store) -> None:
    """In full pages, without entries of keys."""
    for version in range(1, 13):
        for namespace in ("orders", "payments"):
            await either.register_template(
                template(namespace, "other", f"{version}.0.0"), registered_by="the tests"
            )
    async with calling(either, await key(either, "viewer")) as caller:
        page = (await caller.get("/v1/audit?limit=5")).json()
        rest = (await caller.get(f"/v1/audit?limit=100&cursor={page['next_cursor']}")).json()
        hidden = await caller.get("/v1/namespaces/orders/audit")

    assert 5 == len(page["events"])
    assert 13 == len(page["events"] + rest["events"])
    assert {"payments"} == {event["namespace"] for event in page["events"] + rest["events"]}
    assert 404 == hidden.status_code


async def test_workers_show_only_handlers_of_visible_templates(either: Store) -> None:
    """Handlers that only foreign templates name are hidden."""
    from tasker import Worker

    def check() -> None: ...
    def launch_rocket() -> None: ...

    async with Worker(either, [check, launch_rocket], namespaces="*", name="w"):
        async with calling(either, await key(either, "viewer")) as caller:
            some = (await caller.get("/v1/workers")).json()["workers"]
        async with calling(either, await key(either, "viewer", namespaces=["*"])) as caller:
            everything = (await caller.get("/v1/workers")).json()["workers"]

    assert (["check"], ["check", "launch_rocket"]) == (
        some[0]["handlers"],
        sorted(everything[0]["handlers"]),
    )


# --------------------------------------------------------------------------- existence


async def test_an_invisible_object_is_reported_as_not_found(either: Store) -> None:
    """The responses are identical on every route."""
    hidden = await begin(either, "orders")
    requests = [
        ("GET", "/v1/tasks/{}", None),
        ("GET", "/v1/tasks/{}/summary", None),
        ("GET", "/v1/tasks/{}/wait?timeout=0", None),
        ("GET", "/v1/tasks/{}/stream", None),
        ("GET", "/v1/tasks/{}/steps", None),
        ("GET", "/v1/tasks/{}/steps/check", None),
        ("GET", "/v1/tasks/{}/steps/nothing", None),
        ("GET", "/tasker/tasks/{}", None),
        ("DELETE", "/compat/core/v1/tasks/{}", None),
        ("POST", "/v1/tasks/{}/cancel", {}),
        ("POST", "/v1/tasks/{}/retry", {"steps": ["nothing"]}),
        ("POST", "/v1/tasks/{}/steps/check/resolve", {}),
    ]
    async with calling(either, await key(either, "developer")) as caller:
        for method, path, body in requests:
            there = await caller.request(method, path.format(hidden.upper()), json=body)
            unknown = await caller.request(method, path.format(UNKNOWN_TASK), json=body)
            expected = {**without_ids(unknown), "detail": str(unknown_task_error(hidden))}
            assert (404, expected) == (there.status_code, without_ids(there))

    assert (await either.get_task(hidden)).ended_at is None


async def test_the_parent_of_a_new_task_must_be_visible(either: Store) -> None:
    """A hidden parent is reported like an unknown one; no task is created."""
    own, hidden = await begin(either, "payments"), await begin(either, "orders")
    body = {"name": "refund", "namespace": "payments", "context": {}}
    async with calling(either, await key(either, "operator")) as caller:
        for parent, status in ((own, 201), (hidden, 404), (UNKNOWN_TASK, 404)):
            single = await caller.post("/v1/tasks", json={**body, "parent_id": parent})
            bulk = await caller.post(
                "/v1/tasks/bulk", json={"tasks": [{**body, "parent_id": parent}]}
            )
            assert (status, status) == (single.status_code, bulk.status_code)
            if status == 404:
                assert f"task {parent} not found" == single.json()["detail"]

    assert 3 == len(await either.list_tasks(TaskFilter(namespace="payments")))


async def test_templates_of_other_namespaces_are_not_found(either: Store) -> None:
    """The response is the same for existing and missing names."""
    requests = [
        ("GET", "/v1/templates/{}/refund", None),
        ("GET", "/v1/templates/{}/refund/1.0.0", None),
        ("GET", "/v1/templates/{}/refund/diff?from=1.0.0", None),
        ("GET", "/tasker/handlers/{}", None),
        ("GET", "/tasker/handlers/{}/refund", None),
        ("GET", "/v1/namespaces/{}", None),
        ("POST", "/v1/templates/{}/refund/1.0.0/retire", {}),
        ("POST", "/v1/tasks", {"name": "refund", "namespace": "{}"}),
        ("POST", "/v1/tasks", {"name": "{}.refund"}),
        ("POST", "/v1/tasks", {"name": "{}.refund", "context": 7}),
    ]
    async with calling(either, await key(either, "developer")) as caller:
        for method, path, body in requests:
            answers = []
            for namespace in ("orders", "nowhere"):
                filled = body and {
                    name: value.format(namespace) if isinstance(value, str) else value
                    for name, value in body.items()
                }
                answer = await caller.request(method, path.format(namespace), json=filled)
                answers.append((answer.status_code, str(without_ids(answer))))
            assert answers[0] == (answers[1][0], answers[1][1].replace("nowhere", "orders"))


async def test_suggestions_reveal_no_names_of_other_namespaces(either: Store) -> None:
    """Only names of the requested namespace are suggested."""
    await register(either, "orders", name="fraud_review")
    async with calling(either, await key(either, "operator")) as caller:
        near = await caller.post("/v1/tasks", json={"name": "payments.refnud"})
        elsewhere = await caller.post("/v1/tasks", json={"name": "payments.fraud_review"})

    assert "did you mean 'payments.refund'?" in near.json()["detail"]
    assert "orders" not in elsewhere.text


# ------------------------------------------------------------------------------ creating


async def test_creating_tasks_is_atomic(either: Store) -> None:
    """
    One that is not allowed keeps all of them from being created, and is named.
    """
    names = ["payments.refund", "payments.refund", "orders.refund", "payments.refund"]
    async with calling(either, await key(either, "operator")) as caller:
        refused = await caller.post("/v1/tasks/bulk", json={"tasks": [{"name": n} for n in names]})
        listed = await caller.get("/v1/tasks")
    both = await key(either, "operator", namespaces=["payments", "orders"])
    async with calling(either, both) as caller:
        made = await caller.post("/v1/tasks/bulk", json={"tasks": [{"name": n} for n in names]})

    problem = refused.json()
    assert (403, "tasks:create", "orders") == (
        refused.status_code,
        problem["permission"],
        problem["namespace"],
    )
    assert ["$.tasks[2]"] == [fault["path"] for fault in problem["errors"]]
    assert [] == listed.json()["tasks"]
    assert (201, 4) == (made.status_code, made.json()["created"])


async def test_a_key_of_one_namespace_does_not_find_tasks_of_another(either: Store) -> None:
    """Idempotency keys belong to a namespace."""
    async with calling(either, await key(either, "operator", namespaces=["orders"])) as caller:
        first = await caller.post(
            "/v1/tasks", json={"name": "orders.refund", "idempotency_key": "k"}
        )
    async with calling(either, await key(either, "operator")) as caller:
        second = await caller.post(
            "/v1/tasks", json={"name": "payments.refund", "idempotency_key": "k"}
        )

    assert (201, 201) == (first.status_code, second.status_code)
    assert first.json()["id"] != second.json()["id"]


async def test_a_worker_shows_only_the_steps_of_tasks_that_the_caller_may_list(
    either: Store,
) -> None:
    """And the queues of the caller's namespaces."""
    own, _ = await begin(either, "payments"), await begin(either, "orders")
    worker = await ManualWorker.register(either)
    claims = await worker.claim()
    assert 2 == len(claims)
    async with calling(either, await key(either, "operator", namespaces=["payments"])) as caller:
        shown = (await caller.get(f"/v1/workers/{worker.id}")).json()
        missing = await caller.get("/v1/workers/4711")

        await worker.complete(*claims)
        attempts = (await caller.get(f"/v1/workers/{worker.id}/attempts")).json()["attempts"]
        some = await caller.get(f"/v1/workers/{worker.id}/attempts?limit=201")

    assert [own] == [step["task_id"] for step in shown["steps"]]
    assert [own] == [attempt["task_id"] for attempt in attempts]
    assert 400 == some.status_code
    assert {"payments"} == {queue["namespace"] for queue in shown["queues"]}
    assert 404 == missing.status_code
