"""Credentials of one's own, beside keys and tokens."""

import asyncio
import logging
from typing import Any

import pytest
from tests.api.auth.scene import begin, calling, key, token, with_tokens

from tasker.api import create_app
from tasker.api.auth import Authenticator, AuthRequest, Principal, authenticators
from tasker.api.auth.principal import ANONYMOUS
from tasker.errors import InvalidSettings
from tasker.settings import AuthSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

HERE = "tests.api.auth.test_authenticators"


class Headers(Authenticator):
    """Takes the caller from headers."""

    def authenticate(self, request: AuthRequest) -> Principal | None:
        name = request.headers.get("x-user")
        if name is None:
            return None
        return Principal(
            name=name,
            roles=frozenset(request.headers.get("x-roles", "operator").split()),
            namespaces=frozenset(request.headers.get("x-namespaces", "payments").split()),
        )


class Patient(Headers):
    """Has to ask elsewhere."""

    async def authenticate(self, request: AuthRequest) -> Principal | None:  # type: ignore[override]
        return super().authenticate(request)


class Raising(Authenticator):
    def authenticate(self, request: AuthRequest) -> Principal | None:
        raise RuntimeError("the directory is down")


class Hanging(Authenticator):
    async def authenticate(self, request: AuthRequest) -> Principal | None:
        await asyncio.Event().wait()
        return None


class Text(Authenticator):
    def authenticate(self, request: AuthRequest) -> Any:
        return "ann"


class OneNamespaceAsText(Authenticator):
    def authenticate(self, request: AuthRequest) -> Any:
        spaces: Any = "payments"
        return Principal(name="ann", roles=frozenset({"operator"}), namespaces=spaces)


class Nameless(Authenticator):
    def authenticate(self, request: AuthRequest) -> Any:
        return Principal(name="", roles=frozenset({"admin"}), namespaces=None)


class Anonymous(Authenticator):
    def authenticate(self, request: AuthRequest) -> Any:
        return ANONYMOUS


class SelfMadeAdmin(Authenticator):
    def authenticate(self, request: AuthRequest) -> Any:
        return Principal(name="eve", admin=True, namespaces=frozenset({"payments"}))


class NoAuthenticator:
    pass


def by(authenticator: str, **changed: Any) -> AuthSettings:
    return AuthSettings(enabled=True, authenticator=f"{HERE}:{authenticator}", **changed)


@pytest.mark.parametrize("authenticator", ["Headers", "Patient"])
async def test_a_principal_has_its_roles_in_its_namespaces(
    store: Store, authenticator: str
) -> None:
    """It has no roles in other namespaces."""
    foreign = await begin(store, "orders")
    async with calling(store, auth=by(authenticator)) as caller:
        caller.headers["X-User"] = "ann@growthcorp.com"
        made = await caller.post("/v1/tasks", json={"name": "payments.refund"})
        refused = await caller.post("/v1/tasks", json={"name": "orders.refund"})
        hidden = await caller.get(f"/v1/tasks/{foreign}")
        listed = await caller.get("/v1/tasks")
        registering = await caller.post(
            "/v1/templates",
            json={"name": "x", "namespace": "payments", "version": "1.0.0", "steps": []},
        )

    assert (201, 403, 404) == (made.status_code, refused.status_code, hidden.status_code)
    assert 403 == registering.status_code
    assert {"payments"} == {task["namespace"] for task in listed.json()["tasks"]}
    assert "ann@growthcorp.com" == made.json()["created_by"]


async def test_only_the_role_admin_in_all_namespaces_makes_an_administrator(store: Store) -> None:
    await begin(store, "orders")
    async with calling(store, auth=by("Headers")) as caller:
        caller.headers["X-User"] = "ann"
        caller.headers["X-Roles"] = "admin unknown"
        bound = await caller.get("/v1/tasks")
        caller.headers["X-Namespaces"] = "*"
        everywhere = await caller.get("/v1/tasks")
    async with calling(store, auth=by("SelfMadeAdmin")) as caller:
        self_made = await caller.get("/v1/tasks")

    assert ([], ["orders"]) == tuple(
        [task["namespace"] for task in answer.json()["tasks"]] for answer in (bound, everywhere)
    )
    assert 403 == self_made.status_code


async def test_keys_and_tokens_are_accepted_beside_an_authenticator(store: Store) -> None:
    """Custom authenticators are not called for keys and tokens; an invalid one is refused."""
    settings = with_tokens(authenticator=f"{HERE}:Headers")
    text = await key(store, "viewer", name="a program")
    wrong = text[:-1] + ("1" if text.endswith("0") else "0")
    async with calling(store, auth=settings) as caller:
        caller.headers.update({"X-User": "ann", "X-Roles": "admin", "X-Namespaces": "*"})
        statuses = []
        for headers in (
            {"Authorization": f"Bearer {text}"},
            {"X-API-Key": text},
            {"Authorization": f"Bearer {token(roles=['viewer'])}"},
            {"Authorization": f"Bearer {wrong}"},
            {"Authorization": "Bearer not-a-token"},
            {"Authorization": "Basic YW5uOnNlY3JldA=="},
            {"X-API-Key": "of-another-kind"},
            {},
        ):
            answer = await caller.get("/metrics", headers=headers)
            statuses.append(answer.status_code)

    assert [403, 403, 403, 401, 401, 200, 200, 200] == statuses


async def test_an_authenticator_that_returns_none_refuses_the_request(store: Store) -> None:
    async with calling(store, auth=by("Headers")) as caller:
        missing = await caller.get("/v1/tasks")
        invalid = await caller.get("/v1/tasks", headers={"Authorization": "Basic YTpi"})

    assert (401, 401) == (missing.status_code, invalid.status_code)
    assert ("missing", "invalid") == (missing.json()["reason"], invalid.json()["reason"])


@pytest.mark.parametrize(
    "authenticator", ["Raising", "Hanging", "Text", "OneNamespaceAsText", "Nameless", "Anonymous"]
)
async def test_a_failing_authenticator_refuses_every_request(
    store: Store,
    authenticator: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    503 without its reason, which the log has; keys still work.
    """
    monkeypatch.setattr(authenticators, "TIME_LIMIT", 0.05)
    text = await key(store, "viewer")
    with caplog.at_level(logging.ERROR):
        async with calling(store, auth=by(authenticator)) as caller:
            failed = await caller.get("/v1/tasks")
            works = await caller.get("/v1/tasks", headers={"X-API-Key": text})

    assert (503, "auth_unavailable") == (failed.status_code, failed.json()["code"])
    assert "directory" not in failed.text
    assert ["authenticator_failed"] == [record.getMessage() for record in caplog.records]
    assert 200 == works.status_code


async def test_a_repeated_header_has_all_its_values(store: Store) -> None:
    """Otherwise the second value could replace the first."""
    scope = {
        "method": "GET",
        "path": "/",
        "headers": [(b"x-user", b"ann"), (b"x-user", b"eve")],
        "client": ("10.0.0.7", 1),
    }

    request = authenticators.to_auth_request(scope)

    assert ("ann, eve", "10.0.0.7") == (request.headers["x-user"], request.address)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("Headers", "write it as package.module:Class"),
        ("no.such.module:Class", "cannot be imported"),
        (f"{HERE}:NoAuthenticator", "not a subclass of tasker.api.auth.Authenticator"),
    ],
)
def test_an_authenticator_that_cannot_be_loaded_prevents_the_start(path: str, message: str) -> None:
    with pytest.raises(InvalidSettings, match=message) as refusal:
        create_app("sqlite::memory:", auth=AuthSettings(enabled=True, authenticator=path))

    assert f"auth.authenticator = {path!r}" in str(refusal.value)
