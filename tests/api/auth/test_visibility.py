"""What callers see: their namespaces, whole pages of them, and no trace of others."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.api.auth.scene import (
    ACT,
    NOBODY,
    begin,
    begin_many,
    calling,
    key,
    register,
    template,
    token,
    with_tokens,
)

from tasker import open_store
from tasker.api import create_app
from tasker.api.auth import PermissionCoordinator, Principal, Touched
from tasker.api.routes import waiting
from tasker.api.server import serving
from tasker.keys import parse_key
from tasker.model import TaskId
from tasker.settings import AuthSettings, ServerSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Tell the URL of an empty store of either kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_schema_url"))
    return "sqlite::memory:"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """Open an empty store, with a template in each of three namespaces."""
    async with open_store(url, upgrade=True) as store:
        await register(store, "payments", "orders", "shared")
        yield store


def without_ids(answer: httpx.Response) -> dict[str, Any]:
    """Tell a problem without what differs from request to request."""
    body: dict[str, Any] = answer.json()
    return {name: body[name] for name in body if name not in ("correlation_id", "instance")}


# -------------------------------------------------------------------------------- lists


async def test_pages_are_full_of_what_may_be_seen(store: Store) -> None:
    """
    Though ten times as much of others lies between; neither do they repeat nor skip.
    """
    own: list[TaskId] = []
    templates = {
        namespace: (await store.template(template(namespace).key)).id
        for namespace in ("payments", "orders")
    }
    for _ in range(12):
        await begin_many(store, templates["orders"], 10)
        own += await begin_many(store, templates["payments"], 1)
    seen: list[str] = []
    cursor = ""
    async with calling(store, await key(store, "viewer")) as caller:
        for count in (5, 5, 2):
            page = (await caller.get(f"/v1/tasks?limit=5{cursor}")).json()
            assert count == len(page["tasks"])
            seen += [task["task_uuid"] for task in page["tasks"]]
            cursor = f"&cursor={page['pagination']['next_cursor']}"
        last = page["pagination"]
        asked_for = (await caller.get("/v1/tasks?namespace=orders")).json()

    assert sorted(own, reverse=True) == seen
    assert (None, False) == (last["next_cursor"], last["has_next"])
    assert [] == asked_for["tasks"]


async def test_filters_find_nothing_in_other_namespaces(store: Store) -> None:
    """
    Not by parent, correlation id, name, tag or creator.
    """
    task = await store.get_task(await begin(store, "orders"))
    filters = {
        "namespace": "orders",
        "name": "refund",
        "correlation_id": task.correlation_id,
        "created_by": "the tests",
        "cursor": "ffffffff-ffff-ffff-ffff-ffffffffffff",
    }
    async with calling(store, await key(store, "viewer")) as caller:
        for name, value in filters.items():
            assert [] == (await caller.get(f"/v1/tasks?{name}={value}")).json()["tasks"]


async def test_figures_count_only_what_may_be_seen(store: Store) -> None:
    """
    Those of a namespace that may not be seen are not there.
    """
    await begin(store, "payments")
    for _ in range(3):
        await begin(store, "orders")
    async with calling(store, await key(store, "viewer")) as caller:
        totals = [
            (await caller.get(f"/v1/analytics/{kind}")).json()
            for kind in ("performance", "performance?namespace=payments")
        ]
        bottlenecks = await caller.get("/v1/analytics/bottlenecks")
        hidden = await caller.get("/v1/analytics/performance?namespace=orders")
    async with calling(store, await key(store, "viewer", namespaces=["*"])) as caller:
        everything = (await caller.get("/v1/analytics/performance")).json()

    assert [1, 1, 4] == [each["total_tasks"] for each in (*totals, everything)]
    assert "orders" not in bottlenecks.text
    assert 404 == hidden.status_code


async def test_the_audit_shows_what_belongs_to_ones_namespaces(store: Store) -> None:
    """
    Whole pages, and nothing about keys.
    """
    for version in range(1, 13):
        for namespace in ("orders", "payments"):
            await store.register_template(
                template(namespace, "other", f"{version}.0.0"), registered_by="the tests"
            )
    async with calling(store, await key(store, "viewer")) as caller:
        page = (await caller.get("/v1/audit?limit=5")).json()
        rest = (await caller.get(f"/v1/audit?limit=100&cursor={page['next_cursor']}")).json()
        hidden = await caller.get("/v1/namespaces/orders/audit")

    assert 5 == len(page["events"])
    assert 13 == len(page["events"] + rest["events"])
    assert {"payments"} == {event["namespace"] for event in page["events"] + rest["events"]}
    assert 404 == hidden.status_code


async def test_workers_tell_the_handlers_that_ones_templates_ask_for(store: Store) -> None:
    """
    Of others they tell nothing.
    """
    from tasker import Worker

    def check() -> None: ...
    def launch_rocket() -> None: ...

    async with Worker(store, [check, launch_rocket], name="w"):
        async with calling(store, await key(store, "viewer")) as caller:
            some = (await caller.get("/v1/workers")).json()["workers"]
        async with calling(store, await key(store, "viewer", namespaces=["*"])) as caller:
            everything = (await caller.get("/v1/workers")).json()["workers"]

    assert (["check"], ["check", "launch_rocket"]) == (
        some[0]["handlers"],
        sorted(everything[0]["handlers"]),
    )


# --------------------------------------------------------------------------- existence


async def test_what_may_not_be_seen_answers_as_what_is_not_there(store: Store) -> None:
    """
    To the letter, whatever is asked of it.
    """
    hidden = await begin(store, "orders")
    requests = [
        ("GET", "/v1/tasks/{}", None),
        ("GET", "/v1/tasks/{}/summary", None),
        ("GET", "/v1/tasks/{}/wait?timeout=0", None),
        ("GET", "/v1/tasks/{}/events", None),
        ("GET", "/v1/tasks/{}/steps", None),
        ("GET", "/v1/tasks/{}/steps/check", None),
        ("GET", "/v1/tasks/{}/steps/nothing", None),
        ("GET", "/tasker/tasks/{}", None),
        ("DELETE", "/v1/tasks/{}", None),
        ("POST", "/v1/tasks/{}/cancel", {}),
        ("POST", "/v1/tasks/{}/retry", {"steps": ["nothing"]}),
        ("PATCH", "/v1/tasks/{}/steps/check", {"action_type": "resolve_manually"}),
    ]
    async with calling(store, await key(store, "developer")) as caller:
        for method, path, body in requests:
            there = await caller.request(method, path.format(hidden.upper()), json=body)
            nowhere = await caller.request(method, path.format(NOBODY), json=body)
            expected = {**without_ids(nowhere), "detail": f"there is no task {hidden}"}
            assert (404, expected) == (there.status_code, without_ids(there))

    assert (await store.get_task(hidden)).ended_at is None


async def test_templates_of_others_are_not_there(store: Store) -> None:
    """
    By their right names they answer as by wrong ones.
    """
    requests = [
        ("GET", "/v1/templates/{}/refund", None),
        ("GET", "/v1/templates/{}/refund/1.0.0", None),
        ("GET", "/v1/templates/{}/refund/diff?from=1.0.0", None),
        ("GET", "/v1/handlers/{}", None),
        ("GET", "/v1/handlers/{}/refund", None),
        ("GET", "/v1/namespaces/{}", None),
        ("POST", "/v1/templates/{}/refund/1.0.0/retire", {}),
        ("POST", "/v1/tasks", {"name": "refund", "namespace": "{}"}),
        ("POST", "/v1/tasks", {"name": "{}.refund"}),
        ("POST", "/v1/tasks", {"name": "{}.refund", "context": 7}),
    ]
    async with calling(store, await key(store, "developer")) as caller:
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


async def test_a_guess_at_what_was_meant_tells_nothing_of_others(store: Store) -> None:
    """
    It is made in the namespace that was asked for only.
    """
    await register(store, "orders", name="fraud_review")
    async with calling(store, await key(store, "operator")) as caller:
        near = await caller.post("/v1/tasks", json={"name": "payments.refnud"})
        elsewhere = await caller.post("/v1/tasks", json={"name": "payments.fraud_review"})

    assert "did you mean 'payments.refund'?" in near.json()["detail"]
    assert "orders" not in elsewhere.text


# ------------------------------------------------------------------------------ creating


async def test_tasks_are_created_all_or_none(store: Store) -> None:
    """
    One that is not allowed keeps all of them from being created, and is named.
    """
    names = ["payments.refund", "payments.refund", "orders.refund", "payments.refund"]
    async with calling(store, await key(store, "operator")) as caller:
        refused = await caller.post("/v1/tasks/bulk", json={"tasks": [{"name": n} for n in names]})
        listed = await caller.get("/v1/tasks")
    both = await key(store, "operator", namespaces=["payments", "orders"])
    async with calling(store, both) as caller:
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


async def test_a_key_of_one_namespace_does_not_find_tasks_of_another(store: Store) -> None:
    """
    An idempotency key belongs to its namespace.
    """
    async with calling(store, await key(store, "operator", namespaces=["orders"])) as caller:
        first = await caller.post(
            "/v1/tasks", json={"name": "orders.refund", "idempotency_key": "k"}
        )
    async with calling(store, await key(store, "operator")) as caller:
        second = await caller.post(
            "/v1/tasks", json={"name": "payments.refund", "idempotency_key": "k"}
        )

    assert (201, 201) == (first.status_code, second.status_code)
    assert first.json()["task_uuid"] != second.json()["task_uuid"]


# ------------------------------------------------------------------------------ approving

SARAH: dict[str, Any] = {"sub": "auth0|42", "email": "sarah@growthcorp.com", "email_verified": True}


async def test_an_approver_is_known_by_the_verified_address(store: Store) -> None:
    """
    Beside the permission it takes that: the policy of the namespace names who decides.
    """
    auth = with_tokens()
    namespaces = ["payments"]

    def who(**said: Any) -> str:
        return token(roles=["developer", "approver"], **{"namespaces": namespaces, **said})

    admin = token(sub="admin", roles=["admin"], namespaces=None)
    async with calling(store, auth=auth) as caller:

        async def ask(text: str, method: str, path: str, body: Any) -> httpx.Response:
            headers = {"Authorization": f"Bearer {text}"}
            return await caller.request(method, path, json=body, headers=headers)

        policy = {"requires_approval": True, "approvers": [SARAH["email"]]}
        await ask(admin, "PUT", "/v1/namespaces/payments/policy", policy)
        version = {
            "name": "refund",
            "namespace": "payments",
            "version": "2.0.0",
            "steps": [{"name": "check", "handler": {"callable": "check"}}],
        }
        registered = await ask(who(sub="jake"), "POST", "/v1/templates", version)
        path = "/v1/templates/payments/refund/2.0.0/approve"
        answers = [
            await ask(text, "POST", path, {})
            for text in (
                who(sub="jake"),
                who(sub="sarah@growthcorp.co"),
                who(**{**SARAH, "email_verified": False}),
                who(**{**SARAH, "namespaces": ["orders"]}),
                token(**{**SARAH, "roles": ["viewer"]}),
                who(**SARAH),
            )
        ]
        audit = (await ask(admin, "GET", "/v1/namespaces/payments/audit", None)).json()["events"]

    assert 201 == registered.status_code
    assert [
        (403, "not_an_approver"),
        (403, "not_an_approver"),
        (403, "not_an_approver"),
        (404, "not_found"),
        (403, "forbidden"),
        (200, None),
    ] == [(answer.status_code, answer.json().get("code")) for answer in answers]
    assert [
        ("approve_template", "sarah@growthcorp.com"),
        ("register_template", "jake"),
        ("put_policy", "admin"),
        ("register_template", "the tests"),
    ] == [(event["action"], event["actor"]) for event in audit]


# ------------------------------------------------------------------------------- waiting


class Fickle(PermissionCoordinator):
    """Decides by permissions, until it changes its mind."""

    willing = True

    def authorized(
        self, principal: Principal, resource: str, action: str, context: Touched
    ) -> bool:
        return self.willing and super().authorized(principal, resource, action, context)


async def events_until(
    store: Store, end: Callable[[str], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Follow a task, and do something when its first events have come; tell all events."""
    monkeypatch.setattr(waiting, "MAY_STILL", 0.05)
    monkeypatch.setattr(waiting, "_SLICE", 0.05)
    settings = ServerSettings(port=0)
    rules = f"{__name__}:Fickle"
    auth = AuthSettings(enabled=True, cache=timedelta(0), coordinator=rules)
    app = create_app(store, settings=settings, auth=auth)
    text, task = await key(store, "viewer"), await begin(store, "payments")
    events: list[str] = []
    async with (
        asyncio.timeout(15),
        serving(app, settings) as server,
        httpx.AsyncClient(base_url=server.url, headers={"X-API-Key": text}) as caller,
        caller.stream("GET", f"/v1/tasks/{task}/events") as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("event:"):
                events.append(line.removeprefix("event: "))
            if line.startswith("data:") and events[-1] == "problem":
                events.append(line)
            if events == ["task", "step", "step"]:
                await end(text)
                events.append("the end")
    return events


ENDED = ["task", "step", "step", "the end", "problem", 'data: {"code":"forbidden"}']


async def test_a_stream_ends_with_its_callers_key(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Soon after that was revoked.
    """

    async def revoke(text: str) -> None:
        parts = parse_key(text)
        assert parts is not None
        await store.revoke_api_key(parts.prefix, ACT)

    assert ENDED == await events_until(store, revoke, monkeypatch)


async def test_a_stream_ends_with_the_right_to_see_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Soon after the rules have changed.
    """

    async def change(_: str) -> None:
        monkeypatch.setattr(sys.modules[__name__].Fickle, "willing", False)

    assert ENDED == await events_until(store, change, monkeypatch)


async def test_a_wait_needs_the_right_to_see_the_task(store: Store) -> None:
    """
    As everything does that tells of it.
    """
    own, hidden = await begin(store, "payments"), await begin(store, "orders")
    await store.cancel_task(own, ACT)
    async with calling(store, await key(store, "viewer")) as caller:
        statuses = [
            (await caller.get(f"/v1/tasks/{task}/{way}")).status_code
            for task in (own, hidden, TaskId(NOBODY))
            for way in ("wait?timeout=0", "events")
        ]

    assert [200, 200, 404, 404, 404, 404] == statuses
