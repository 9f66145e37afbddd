"""Login to the web UI with an identity provider."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr
from tests.api.auth.provider import CLIENT, CLIENT_SECRET, Provider, serving
from tests.api.auth.scene import begin, calling, key, register, rsa_key

from tasker.settings import AuthSettings, OidcSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

START = "/v1/session/oidc/start"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving() as provider:
        yield provider


def browser(store: Store, provider: Provider, **more: Any) -> httpx.AsyncClient:
    """Return a client that keeps cookies, of a server that logs in with the provider."""
    oidc = OidcSettings(client_id=CLIENT, client_secret=SecretStr(CLIENT_SECRET))
    auth = AuthSettings(enabled=True, issuer=provider.issuer, oidc=oidc, cache=timedelta(0), **more)
    caller = calling(store, auth=auth)
    caller.base_url = httpx.URL("http://127.0.0.1")
    return caller


async def way_back(caller: httpx.AsyncClient, page: str = "/") -> httpx.URL:
    """Begin a login, log in at the provider, and return where it sends the browser."""
    begun = await caller.get(START, params={"next": page})
    assert 307 == begun.status_code, begun.text
    async with httpx.AsyncClient() as elsewhere:
        return httpx.URL((await elsewhere.get(begun.headers["Location"])).headers["Location"])


async def log_in(caller: httpx.AsyncClient, page: str = "/") -> httpx.Response:
    return await caller.get(await way_back(caller, page))


async def test_a_person_logs_in_and_out(store: Store, provider: Provider) -> None:
    """With the roles and namespaces of the ID token, and CSRF as for other sessions."""
    await register(store, "payments", "inventory")
    task, hidden = await begin(store, "payments"), await begin(store, "inventory")
    async with browser(store, provider) as caller:
        before = (await caller.get("/v1/session")).json()
        done = await log_in(caller, f"/tasks/{task}?view=table")
        view = (await caller.get("/v1/session")).json()
        without = await caller.post(f"/v1/tasks/{task}/cancel")
        own = {"X-CSRF": view["csrf"], "Sec-Fetch-Site": "same-origin"}
        cancelled = await caller.post(f"/v1/tasks/{task}/cancel", headers=own)
        audit = (await caller.get(f"/v1/tasks/{task}/audit")).json()
        other = await caller.get(f"/v1/tasks/{hidden}")
        await caller.delete("/v1/session", headers=own)
        after = (await caller.get("/v1/session")).json()

    assert (None, ["api_key", "oidc"]) == (before["name"], before["methods"])
    assert (303, f"/ui/tasks/{task}?view=table") == (done.status_code, done.headers["Location"])
    assert ("ann", ["payments"]) == (view["name"], list(view["permissions"]))
    assert [403, 200, 404] == [answer.status_code for answer in (without, cancelled, other)]
    assert [("ann", "ui")] == [(entry["actor"], entry["via"]) for entry in audit]
    assert after["name"] is None


async def test_no_token_and_no_secret_reaches_the_browser(store: Store, provider: Provider) -> None:
    async with browser(store, provider) as caller:
        begun = await caller.get(START)
        query = parse_qs(urlsplit(begun.headers["Location"]).query)
        done = await log_in(caller)

    assert "S256" == query["code_challenge_method"][0]
    for answer in (begun, done):
        text = str(answer.headers) + answer.text
        assert CLIENT_SECRET not in text
        assert "eyJ" not in text  # the beginning of every token
        for cookie in answer.headers.get_list("set-cookie"):
            assert "httponly" in cookie.lower()


TOKENS = [
    ({"nonce": "another"}, {}, "token"),
    ({"nonce": None}, {}, "token"),
    ({"exp": int(time.time()) - 3600}, {}, "token"),
    ({"exp": None}, {}, "token"),
    ({"aud": "another program"}, {}, "token"),
    ({"aud": [CLIENT, "another program"]}, {}, "token"),
    ({"aud": [CLIENT, "another program"], "azp": "another program"}, {}, "token"),
    ({"iss": "https://elsewhere.example"}, {}, "token"),
    ({"sub": None}, {}, "token"),
    ({}, {"algorithm": "none", "key": None}, "token"),
    ({}, {"algorithm": "HS256", "key": "k" * 32}, "token"),
    ({}, {"algorithm": "RS256", "key": rsa_key(8)}, "token"),
    ({"roles": None}, {}, "unmapped"),
    ({"roles": ["stranger"]}, {}, "unmapped"),
    ({"namespaces": None}, {}, "unmapped"),
]


@pytest.mark.parametrize(("claims", "signed", "problem"), TOKENS)
async def test_a_wrong_token_begins_no_session(
    store: Store,
    provider: Provider,
    claims: dict[str, Any],
    signed: dict[str, Any],
    problem: str,
) -> None:
    provider.claims |= claims
    provider.signed |= signed
    async with browser(store, provider) as caller:
        refused = await log_in(caller)
        view = (await caller.get("/v1/session")).json()

    assert f"/ui/login?problem={problem}" == refused.headers["Location"]
    assert view["name"] is None


async def test_an_answer_must_belong_to_the_login_of_the_browser(
    store: Store, provider: Provider
) -> None:
    """Its state is that of the cookie, the cookie serves once, and a code serves once."""
    async with browser(store, provider) as caller, browser(store, provider) as victim:
        foreign = await way_back(caller)
        without_cookie = await victim.get(foreign)
        await victim.get(START)
        other_login = await victim.get(foreign)
        declined = await way_back(caller)
        refused = await caller.get(
            declined.copy_merge_params({"error": "access_denied"}).copy_remove_param("code")
        )
        back = await way_back(caller)
        assert "/ui/" == (await caller.get(back)).headers["Location"]
        again = await caller.get(back)

    assert ["state", "state", "rejected", "state"] == [
        answer.headers["Location"].partition("problem=")[2]
        for answer in (without_cookie, other_login, refused, again)
    ]


async def test_an_answer_of_another_provider_is_refused(store: Store, provider: Provider) -> None:
    """Providers may say who they are (RFC 9207): no code goes to another one."""
    async with browser(store, provider) as caller:
        other = (await way_back(caller)).copy_merge_params({"iss": "https://evil.example"})
        refused = await caller.get(other)
        own = (await way_back(caller)).copy_merge_params({"iss": provider.issuer})
        accepted = await caller.get(own)

    assert "/ui/login?problem=token" == refused.headers["Location"]
    assert "/ui/" == accepted.headers["Location"]


async def test_sessions_of_keys_end_if_keys_are_no_longer_accepted(
    store: Store, provider: Provider
) -> None:
    async with browser(store, provider) as caller:
        text = await key(store, "viewer")
        assert 201 == (await caller.post("/v1/session", json={"api_key": text})).status_code
        assert 200 == (await caller.get("/v1/tasks")).status_code
        cookies = caller.cookies
    async with browser(store, provider, api_keys=False) as changed:
        changed.cookies = cookies
        answer = await changed.get("/v1/tasks")

    assert (401, "revoked") == (answer.status_code, answer.json()["reason"])


async def test_a_login_leads_to_pages_of_this_server_only(store: Store, provider: Provider) -> None:
    async with browser(store, provider) as caller:
        for path in ("//evil.example", "https://evil.example", "/\\evil.example", ""):
            assert "/ui/" == (await log_in(caller, path)).headers["Location"]


async def test_a_provider_that_is_down_is_named_on_the_login_page(store: Store) -> None:
    with serving() as provider:
        pass
    async with browser(store, provider) as caller:
        answer = await caller.get(START)

    assert "/ui/login?problem=unavailable" == answer.headers["Location"]


async def test_roles_of_a_session_follow_the_settings(store: Store, provider: Provider) -> None:
    """A role that is taken out of the settings ends what its people may do at once."""
    provider.claims["roles"] = ["support"]
    async with browser(store, provider, roles={"support": ("tasks:list",)}) as caller:
        assert "/ui/" == (await log_in(caller)).headers["Location"]
        cookies = caller.cookies
    async with browser(store, provider) as changed:
        changed.cookies = cookies
        answer = await changed.get("/v1/tasks")

    assert 403 == answer.status_code
