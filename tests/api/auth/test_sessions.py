"""Sessions: a cookie in place of an API key, for pages of the web UI."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.api.auth.scene import ACT, begin, calling, key, register

from tasker.settings import AuthSettings, ServerSettings
from tasker.store.protocol import Store
from tasker.teams.api_keys import parse_key

pytestmark = pytest.mark.anyio

AT_ONCE = AuthSettings(enabled=True, cache=timedelta(0))


def browser(store: Store, url: str = "http://127.0.0.1", base_path: str = "") -> httpx.AsyncClient:
    """Return a client that keeps cookies, on the server's own machine."""
    settings = ServerSettings(base_path=base_path)
    caller = calling(store, auth=AT_ONCE, settings=settings)
    caller.base_url = httpx.URL(url)
    return caller


async def log_in(caller: httpx.AsyncClient, text: str) -> dict[str, Any]:
    answer = await caller.post("/v1/session", json={"api_key": text})
    assert 201 == answer.status_code, answer.text
    view: dict[str, Any] = answer.json()
    return view


async def test_a_session_has_the_permissions_of_its_key(store: Store) -> None:
    """The browser sends only the cookie."""
    await register(store, "payments", "inventory")
    task, hidden = await begin(store, "payments"), await begin(store, "inventory")
    async with browser(store) as caller:
        view = await log_in(caller, await key(store, "operator", namespaces=["payments"]))

        assert "payments" in view["permissions"]
        assert "tasks:cancel" in view["permissions"]["payments"]
        assert view["csrf"] == (await caller.get("/v1/session")).json()["csrf"]
        assert 200 == (await caller.get(f"/v1/tasks/{task}")).status_code
        assert 404 == (await caller.get(f"/v1/tasks/{hidden}")).status_code


async def test_the_cookie_is_http_only_and_same_site(store: Store) -> None:
    """It is sent only over HTTPS, except on the local machine."""
    text = await key(store, "viewer")
    for url, base, starts, secure in (
        ("http://127.0.0.1:8080", "", "tasker_session=", False),
        ("http://tasker.example.com", "", "__Host-tasker_session=", True),
        ("https://tasker.example.com", "/tools", "tasker_session=", True),
    ):
        async with browser(store, url, base) as caller:
            answer = await caller.post("/v1/session", json={"api_key": text})
        cookie = answer.headers["set-cookie"]
        parts = {part.strip().lower() for part in cookie.split(";")}
        assert cookie.startswith(starts)
        assert {"httponly", "samesite=strict", f"path={base or ''}/"} <= parts
        assert secure == ("secure" in parts)


async def test_a_cookie_that_another_host_can_have_set_counts_only_where_it_must(
    store: Store,
) -> None:
    """Pages of a sibling host could log a person in as somebody else."""
    text = await key(store, "viewer")
    for url, base, name, status in (
        ("https://tasker.example.com", "", "tasker_session", 401),
        ("https://tasker.example.com", "", "__Host-tasker_session", 200),
        ("https://tasker.example.com", "/tools", "tasker_session", 200),
        ("http://127.0.0.1:8080", "", "tasker_session", 200),
    ):
        async with browser(store, url, base) as caller:
            begun = await caller.post("/v1/session", json={"api_key": text})
            secret = begun.headers["set-cookie"].partition("=")[2].partition(";")[0]
            caller.cookies.clear()
            answer = await caller.get("/v1/tasks", headers={"Cookie": f"{name}={secret}"})
        assert status == answer.status_code, (url, base, name)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-CSRF": "0" * 64},
        {"X-CSRF": b"\xe9"},
        {"Origin": "https://evil.example.com"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_request_from_another_site_changes_nothing(
    store: Store, headers: dict[str, Any]
) -> None:
    """A browser sends the cookie without being asked; the token only this server's pages know."""
    await register(store, "payments")
    task = await begin(store, "payments")
    async with browser(store) as caller:
        view = await log_in(caller, await key(store, "operator"))
        if "X-CSRF" not in headers and headers:
            headers = {"X-CSRF": view["csrf"], **headers}
        refused = await caller.post(f"/v1/tasks/{task}/cancel", headers=headers)

        assert (403, "csrf_rejected") == (refused.status_code, refused.json()["code"])
        own = {"X-CSRF": view["csrf"], "Sec-Fetch-Site": "same-origin"}
        assert 200 == (await caller.post(f"/v1/tasks/{task}/cancel", headers=own)).status_code


async def test_a_request_with_a_key_header_needs_no_csrf_token(store: Store) -> None:
    """No browser sends it by itself."""
    await register(store, "payments")
    task = await begin(store, "payments")
    text = await key(store, "operator")
    async with browser(store) as caller:
        await log_in(caller, text)
        answer = await caller.post(f"/v1/tasks/{task}/cancel", headers={"X-API-Key": text})

        assert 200 == answer.status_code


async def test_revoking_a_key_ends_its_sessions(store: Store) -> None:
    """A revoked key ends the sessions that began with it."""
    text = await key(store, "viewer")
    async with browser(store) as caller:
        await log_in(caller, text)
        parts = parse_key(text)
        assert parts is not None
        await store.revoke_api_key(parts.prefix, ACT)

        refused = await caller.get("/v1/tasks")
        assert (401, "revoked") == (refused.status_code, refused.json()["reason"])
        assert (await caller.get("/v1/session")).json()["name"] is None


async def test_logging_out_ends_the_session(store: Store) -> None:
    """For everyone who has the cookie, not only in this browser."""
    async with browser(store) as caller:
        view = await log_in(caller, await key(store, "viewer"))
        cookies = dict(caller.cookies)
        assert 403 == (await caller.delete("/v1/session")).status_code  # without the token
        ended = await caller.delete("/v1/session", headers={"X-CSRF": view["csrf"]})

        assert 204 == ended.status_code
        header = "; ".join(f"{name}={value}" for name, value in cookies.items())
        again = await caller.get("/v1/tasks", headers={"Cookie": header})
        assert (401, "expired") == (again.status_code, again.json()["reason"])


async def test_a_wrong_key_starts_no_session(store: Store) -> None:
    """The answer is that of any request with it."""
    async with browser(store) as caller:
        answer = await caller.post("/v1/session", json={"api_key": "tsk_wrong"})

        assert (401, "invalid") == (answer.status_code, answer.json()["reason"])
        assert "set-cookie" not in answer.headers


async def test_the_session_can_be_queried_without_logging_in(store: Store) -> None:
    """The answer is no error: browsers report those."""
    async with browser(store) as caller:
        view = (await caller.get("/v1/session")).json()

        assert (None, True, ["api_key"]) == (view["name"], view["auth"], view["methods"])
        assert {} == view["permissions"]
