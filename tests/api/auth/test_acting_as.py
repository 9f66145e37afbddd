"""The name of the operator for whom the owner of a key acts."""

import httpx
import pytest
from tests.api.auth.scene import ACT, begin, calling, key

from tasker.api import create_app
from tasker.client.http import HttpClient
from tasker.settings import AuthSettings
from tasker.store.protocol import Store
from tasker.teams.model import NamespacePolicy

pytestmark = pytest.mark.anyio

TEMPLATE = {
    "name": "new",
    "namespace": "payments",
    "version": "1.0.0",
    "steps": [{"name": "a", "handler": {"callable": "payments.a"}}],
}


async def test_the_audit_names_both_the_principal_and_the_actor(store: Store) -> None:
    task = await begin(store, "payments")
    app = create_app(store, auth=AuthSettings(enabled=True))
    text = await key(store, "operator", name="deploy key")
    async with HttpClient(
        "http://server", api_key=text, acting_as="ann", transport=httpx.ASGITransport(app)
    ) as client:
        await client.cancel(task, reason="ordered twice")
        (entry,) = await client.task_audit(task)

    assert ("deploy key (as ann)", "ordered twice") == (entry.actor, entry.reason)


async def test_acting_as_another_does_not_change_permissions(store: Store) -> None:
    """The creator of a task and the author of a version are those of the principal."""
    await store.put_policy(
        NamespacePolicy(
            namespace="payments", requires_approval=True, approvers=("ann@growthcorp.com",)
        ),
        ACT,
    )
    task = await begin(store, "payments")
    viewer = await key(store, "viewer", name="v")
    developer = await key(store, "developer", "approver", name="d")
    async with calling(store, viewer) as caller:
        refused = await caller.post(f"/v1/tasks/{task}/cancel", headers={"X-Acting-As": "admin"})
    async with calling(store, developer) as caller:
        caller.headers["X-Acting-As"] = "ann@growthcorp.com"
        created = await caller.post("/v1/tasks", json={"name": "payments.refund"})
        await caller.post("/v1/templates", json=TEMPLATE)
        reviewed = await caller.post(
            "/v1/template_versions/payments/new/1.0.0/review", json={"approve": True}
        )
        (version,) = (await caller.get("/v1/templates/payments/new")).json()["versions"]

    assert 403 == refused.status_code
    assert ("d", "d") == (created.json()["created_by"], version["registered_by"])
    assert (403, "not_an_approver") == (reviewed.status_code, reviewed.json()["code"])


@pytest.mark.parametrize("name", ["", "x)", "a\tb", "x" * 101, "\xe9", " ann"])
async def test_an_actor_without_permission_is_refused(store: Store, name: str) -> None:
    task = await begin(store, "payments")
    async with calling(store, await key(store, "operator")) as caller:
        headers = [(b"x-acting-as", name.encode("latin-1"))]
        answer = await caller.post(f"/v1/tasks/{task}/cancel", headers=headers)

    assert (400, "invalid_request") == (answer.status_code, answer.json()["code"])
    assert "pending" == (await store.get_task(task)).status.value
