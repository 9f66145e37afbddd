"""Rules of one's own, and those of teams."""

import logging
from pathlib import Path
from typing import Any

import pytest
from tests.api.auth.scene import begin, calling, key, register, token, with_tokens

from tasker.api import create_app
from tasker.api.auth import (
    Coordinator,
    PermissionCoordinator,
    Principal,
    Resource,
    TeamCoordinator,
)
from tasker.api.auth.authorizer import Authorizer, LoadedAuthSettings
from tasker.api.auth.loading import create_configured_instance
from tasker.client import LocalClient
from tasker.errors import InvalidSettings
from tasker.settings import AuthSettings
from tasker.store.protocol import Store
from tasker.teams.permissions import ROLES, TASKS_LIST

pytestmark = pytest.mark.anyio

TEAMS = AuthSettings(enabled=True, coordinator="tasker.api.auth:TeamCoordinator")
HERE = "tests.api.auth.test_coordinators"


class GrowthCorpCoordinator(Coordinator):
    """The rules of the company: as its teams would write them."""

    def authorized(
        self, principal: Principal, resource: str, action: str, context: Resource
    ) -> bool:
        if resource != "tasks":
            return False
        team = (principal.team or "").lower()
        if action in ("create", "cancel", "retry"):
            return principal.admin or team == context.namespace
        if action in ("read", "list"):
            return principal.admin or context.namespace in (team, "shared")
        return False


class Patient(GrowthCorpCoordinator):
    """Has to ask elsewhere."""

    async def authorized(  # type: ignore[override]
        self, principal: Principal, resource: str, action: str, context: Resource
    ) -> bool:
        return super().authorized(principal, resource, action, context)


class Raising(Coordinator):
    def authorized(self, *_: Any) -> bool:
        raise RuntimeError("the rules are broken")


class Truthy(Coordinator):
    def authorized(self, *_: Any) -> Any:
        return "yes"


class AsyncTruthy(Coordinator):
    async def authorized(self, *_: Any) -> Any:
        return 1


class Picky(PermissionCoordinator):
    """Narrows what permissions say, by the name and version of templates."""

    def authorized(
        self, principal: Principal, resource: str, action: str, context: Resource
    ) -> bool:
        if context.name == "secret" or context.version == "0.0.1":
            return False
        return super().authorized(principal, resource, action, context)


class NeedsArguments(Coordinator):
    def __init__(self, rules: str) -> None:
        self.rules = rules


class NoCoordinator:
    pass


def by(coordinator: str, **changed: Any) -> AuthSettings:
    return with_tokens(coordinator=f"{HERE}:{coordinator}", **changed)


def member(team: str) -> str:
    return token(team=team, roles=None, namespaces=None)


@pytest.mark.parametrize("coordinator", ["GrowthCorpCoordinator", "Patient"])
async def test_custom_rules_decide(store: Store, coordinator: str) -> None:
    """A custom coordinator overrides permissions, also for each namespace of a list."""
    for namespace in ("payments", "orders", "shared"):
        await begin(store, namespace)
    foreign = await begin(store, "orders")
    shared = await begin(store, "shared")
    async with calling(store, member("Payments"), auth=by(coordinator)) as caller:
        made = await caller.post("/v1/tasks", json={"name": "payments.refund"})
        refused = await caller.post("/v1/tasks", json={"name": "orders.refund"})
        hidden = await caller.get(f"/v1/tasks/{foreign}")
        seen = await caller.get(f"/v1/tasks/{shared}")
        held_back = await caller.post(f"/v1/tasks/{shared}/cancel")
        listed = await caller.get("/v1/tasks")
        steps = await caller.get(f"/v1/tasks/{shared}/steps")

    assert (201, 403, 404) == (made.status_code, refused.status_code, hidden.status_code)
    assert (200, 403) == (seen.status_code, held_back.status_code)
    assert {"payments", "shared"} == {task["namespace"] for task in listed.json()["tasks"]}
    assert 404 == steps.status_code


@pytest.mark.parametrize("coordinator", ["Raising", "Truthy", "AsyncTruthy", "Coordinator"])
async def test_only_true_grants_access(
    store: Store, coordinator: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A coordinator that raises or returns another value denies access; the log reports it."""
    admin = token(roles=["admin"], namespaces=["*"])
    with caplog.at_level(logging.ERROR):
        async with calling(store, admin, auth=by(coordinator)) as caller:
            made = await caller.post("/v1/tasks", json={"name": "payments.refund"})
            listed = await caller.get("/v1/tasks")
            metrics = await caller.get("/metrics")

    assert (403, 200, 403) == (made.status_code, listed.status_code, metrics.status_code)
    assert [] == listed.json()["tasks"]
    assert "broken" not in made.text
    assert ("Coordinator" != coordinator) == bool(caplog.records)


async def test_rules_receive_the_resource(store: Store) -> None:
    """The coordinator gets namespace, name and version from any part of the request."""
    from tests.api.auth.scene import register, template

    await register(store, "payments", name="secret")
    await store.register_template(template("payments", "refund", "0.0.1"), registered_by="x")
    secret = await begin(store, "payments", "secret")
    text = await key(store, "developer", namespaces=["payments"])
    async with calling(store, text, auth=by("Picky")) as caller:
        answers = [
            await caller.get(f"/v1/tasks/{secret}"),
            await caller.get(f"/v1/tasks/{secret}/steps"),
            await caller.get(f"/tasker/tasks/{secret}"),
            await caller.get("/v1/templates/payments/secret"),
            await caller.get("/v1/templates/payments/secret/1.0.0"),
            await caller.get("/v1/templates/payments/refund/0.0.1"),
            await caller.get("/v1/templates/payments/refund/diff?from=0.0.1"),
            await caller.get("/v1/handlers/payments/refund?version=0.0.1"),
            await caller.post("/v1/tasks", json={"name": "payments.secret"}),
            await caller.post("/v1/tasks", json={"name": "refund@0.0.1", "namespace": "payments"}),
            await caller.post(
                "/tasker/tasks",
                json={
                    "workflow_name": "refund",
                    "namespace": "payments",
                    "workflow_version": "0.0.1",
                },
            ),
        ]
        allowed = await caller.post("/v1/tasks", json={"name": "payments.refund"})

    assert [404] * 8 + [403] * 3 == [answer.status_code for answer in answers]
    assert 201 == allowed.status_code


async def test_bulk_actions_leave_out_tasks_that_the_rules_deny(store: Store) -> None:
    """A filter may select such a task."""
    await register(store, "payments", name="secret")
    secret = await begin(store, "payments", "secret")
    usual = await begin(store, "payments")
    text = await key(store, "operator", namespaces=["payments"])
    body = {"action": "cancel", "filter": {"namespace": "payments"}}
    async with calling(store, text, auth=by("Picky")) as caller:
        counted = await caller.post("/v1/bulk", json={**body, "dry_run": True})
        acted = await caller.post("/v1/bulk", json=body)
        await LocalClient(store).bulk.execute_batch_if_due()
        listed = await caller.post("/v1/bulk", json={"action": "cancel", "ids": [secret]})

    assert (1, 202) == (counted.json()["matches"], acted.status_code)
    assert "cancelled" == (await store.get_task(usual)).status.value
    assert 404 == listed.status_code
    assert "pending" == (await store.get_task(secret)).status.value


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("GrowthCorpCoordinator", "write it as package.module:Class"),
        ("a.module:", "write it as package.module:Class"),
        ("no.such.module:Class", "no.such.module cannot be imported .*No module named"),
        (f"{HERE}:Missing", f"{HERE} has no Missing"),
        (f"{HERE}:NoCoordinator", "NoCoordinator is not a subclass of tasker.api.auth.Coordinator"),
        (f"{HERE}:HERE", "HERE is not a subclass"),
        (f"{HERE}:NeedsArguments", "without arguments failed: .*rules"),
    ],
)
def test_a_coordinator_that_cannot_be_made_prevents_the_start(path: str, message: str) -> None:
    """The error names the class and the reason."""
    with pytest.raises(InvalidSettings, match=message) as refusal:
        create_app("sqlite::memory:", auth=AuthSettings(enabled=True, coordinator=path))

    assert f"auth.coordinator = {path!r}" in str(refusal.value)


def test_an_error_in_the_module_of_a_coordinator_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Modules in the current directory are found.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    (tmp_path / "our_rules.py").write_text("1 / 0")
    (tmp_path / "their_rules.py").write_text(
        "from tasker.api.auth import TeamCoordinator\nclass Rules(TeamCoordinator): pass"
    )

    with pytest.raises(InvalidSettings, match=r"our_rules cannot be imported \(ZeroDivisionError"):
        create_configured_instance("auth.coordinator", "our_rules:Rules", Coordinator)
    theirs = create_configured_instance("auth.coordinator", "their_rules:Rules", Coordinator)
    assert isinstance(theirs, TeamCoordinator)


# ------------------------------------------------------------------------------- teams


def may(principal: Principal, resource: str, action: str, namespace: str | None) -> bool:
    return TeamCoordinator().authorized(principal, resource, action, Resource(namespace))


def of_team(team: str | None, **facts: Any) -> Principal:
    return Principal(name="priya", team=team, **{"permissions": None, **facts})


@pytest.mark.parametrize(
    ("team", "namespace"),
    [
        ("payments", "payments"),
        ("Payments", "payments"),
        ("PAYMENTS", "payments"),
        ("Customer Success", "customer_success"),
        ("customer-success", "customer_success"),
        ("Customer_Success", "CustomeR_success"),
    ],
)
def test_the_namespace_of_a_team_has_its_name(team: str, namespace: str) -> None:
    """Case, spaces and hyphens do not matter."""
    assert may(of_team(team), "tasks", "create", namespace)
    assert not may(of_team(team), "tasks", "create", namespace + "_")


def test_a_team_manages_its_namespace_and_views_the_shared_one() -> None:
    team = of_team("payments")
    manage = [("tasks", "create"), ("tasks", "cancel"), ("tasks", "retry"), ("steps", "resolve")]
    view = [("tasks", "read"), ("tasks", "list"), ("steps", "read"), ("templates", "read")]

    for resource, action in manage + view:
        assert may(team, resource, action, "payments")
        assert not may(team, resource, action, "orders")
        assert may(team, resource, action, "shared") == ((resource, action) in view)


def test_a_principal_without_a_team_has_no_permissions() -> None:
    """It cannot even read shared templates."""
    for namespace in ("payments", "shared", ""):
        assert not may(of_team(None), "tasks", "read", namespace)


def test_administrators_may_do_everything() -> None:
    admin = of_team("platform", admin=True)

    assert may(admin, "tasks", "create", "payments")
    assert may(admin, "system", "metrics_read", None)
    assert not may(of_team("payments"), "system", "metrics_read", None)


def test_permissions_restrict_a_team() -> None:
    """This holds only if permissions are given."""
    viewer = of_team("payments", permissions=ROLES["viewer"])

    assert may(viewer, "tasks", "read", "payments")
    assert not may(viewer, "tasks", "create", "payments")
    assert not may(of_team("payments", permissions=frozenset()), "tasks", "read", "payments")


def test_a_key_is_restricted_to_its_namespaces() -> None:
    """Keys have no team."""
    key = of_team(None, permissions=ROLES["operator"], namespaces=frozenset({"payments"}))

    assert may(key, "tasks", "create", "payments")
    assert may(key, "tasks", "read", "shared")
    assert not may(key, "tasks", "create", "shared")
    assert not may(key, "tasks", "read", "orders")


async def test_a_key_with_the_role_admin_is_restricted_to_its_namespaces(store: Store) -> None:
    """
    An admin of one namespace is no admin of the others.
    """
    await register(store, "payments", "orders")
    admin = await key(store, "admin", namespaces=["payments"])
    async with calling(store, admin, auth=TEAMS) as api:
        own = await api.post("/v1/tasks", json={"name": "payments.refund", "context": {}})
        other = await api.post("/v1/tasks", json={"name": "orders.refund", "context": {}})

    assert (201, 403) == (own.status_code, other.status_code)


async def test_nothing_is_visible_without_the_permission_to_list(store: Store) -> None:
    authorizer = Authorizer(store, LoadedAuthSettings.load(AuthSettings(enabled=True)))
    viewer = of_team(None, permissions=ROLES["viewer"], namespaces=frozenset({"payments"}))
    nobody = of_team(None, permissions=frozenset(), namespaces=frozenset({"payments"}))

    assert frozenset({"payments"}) == await authorizer.visible_namespaces(viewer, TASKS_LIST)
    assert frozenset() == await authorizer.visible_namespaces(nobody, TASKS_LIST)


async def test_a_bulk_action_affects_only_tasks_that_the_caller_may_list_and_change(
    store: Store,
) -> None:
    """Tasks that may only be listed, or only be cancelled, do not match."""
    tasks = {}
    for namespace in ("payments", "orders", "shared"):
        await register(store, namespace)
        tasks[namespace] = await begin(store, namespace)
    body = {"action": "cancel", "filter": {"name": "refund"}}
    async with calling(store, await key(store, permissions=["tasks:cancel"])) as caller:
        unlisted = await caller.post("/v1/bulk", json={**body, "dry_run": True})
    teams = with_tokens(coordinator=TEAMS.coordinator)
    async with calling(store, member("Payments"), auth=teams) as caller:
        both = await caller.post("/v1/bulk", json=body)
    await LocalClient(store).bulk.execute_batch_if_due()

    assert (200, 0) == (unlisted.status_code, unlisted.json()["matches"])
    assert (202, 1) == (both.status_code, both.json()["matches"])
    assert {"payments": "cancelled", "orders": "pending", "shared": "pending"} == {
        namespace: (await store.get_task(task_id)).status.value
        for namespace, task_id in tasks.items()
    }


async def test_each_action_on_a_list_of_tasks_needs_its_permission(store: Store) -> None:
    await register(store, "payments")
    task_id = await begin(store, "payments")
    permissions = ["tasks:read", "tasks:list", "tasks:retry"]
    async with calling(store, await key(store, permissions=permissions)) as caller:
        refused = await caller.post("/v1/bulk", json={"action": "cancel", "ids": [task_id]})

    assert 403 == refused.status_code
    assert "tasks:cancel" in refused.text
