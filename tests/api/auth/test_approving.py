"""Who may decide about templates: those with the permission whom the policy names."""

from typing import Any

import httpx
import pytest
from tests.api.auth.scene import (
    calling,
    token,
    with_tokens,
)

from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


SARAH: dict[str, Any] = {"sub": "auth0|42", "email": "sarah@growthcorp.com", "email_verified": True}


async def test_an_approver_is_identified_by_a_verified_address(store: Store) -> None:
    """An approver needs both the permission and an entry in the namespace's policy."""
    auth = with_tokens()
    namespaces = ["payments"]

    def who(**claims: Any) -> str:
        return token(roles=["developer", "approver"], **{"namespaces": namespaces, **claims})

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
        path = "/v1/template_versions/payments/refund/2.0.0/review"
        answers = [
            await ask(text, "POST", path, {"approve": True})
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
