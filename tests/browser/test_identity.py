"""Logging in with an identity provider, and what only some of its people may reveal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.auth.provider import CLIENT, CLIENT_SECRET, Provider
from tests.api.auth.provider import serving as serving_provider
from tests.browser.conftest import Guard, Site, opened, serving, violations
from tests.browser.test_login import make_key

CARD = "4111222233334444"
CONFIG = """
[auth]
enabled = true
cache = "0s"
issuer = "{issuer}"

[auth.oidc]
client_id = "{client}"
client_secret = "{secret}"
"""
TEMPLATE = """
name: deposit
namespace_name: shop
version: 1.0.0
sensitive: [input.card]
steps:
  - name: book
    handler: {callable: nobody_books}
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with serving_provider() as provider:
        provider.claims["namespaces"] = "shop"
        yield provider


@pytest.fixture(scope="module")
def known(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose people log in with the provider, with one task that has a secret."""
    folder: Path = tmp_path_factory.mktemp("identity")
    store = f"sqlite:{folder}/tasker.db"
    key = make_key(store, folder, "root", "--role", "admin", "--namespace", "*")
    config = CONFIG.format(issuer=provider.issuer, client=CLIENT, secret=CLIENT_SECRET)
    with serving(store, folder, config=config, key=key) as site:
        site.register(TEMPLATE)
        site.tasks["deposit"] = site.create("shop.deposit", card=CARD, amount=5)
        yield site


def log_in(page: Any, path: str) -> None:
    """Open a page as the person whom the provider knows."""
    page.goto(path)
    page.get_by_role("link", name="Log in with your organization").click()


def test_a_person_logs_in_with_the_identity_provider(
    browser: Any, known: Site, guard: Guard, provider: Provider
) -> None:
    """The page asked for is shown afterwards; neither token nor secret is in the browser."""
    provider.claims |= {"sub": "ann", "roles": ["operator"]}
    guard.origins.append(provider.issuer)
    with opened(browser, known, guard) as page:
        page.goto("tasks?name=deposit")
        page.get_by_role("heading", name="Log in").wait_for()
        assert [] == violations(page)
        page.get_by_role("link", name="Log in with your organization").click()
        page.locator("tbody tr").first.wait_for()
        assert page.url.endswith("/ui/tasks?name=deposit")
        page.get_by_text("ann", exact=True).first.wait_for()
        stored = page.evaluate("document.cookie + JSON.stringify([localStorage, sessionStorage])")
        assert not any(secret in stored + page.content() for secret in (CLIENT_SECRET, "eyJ"))

        page.get_by_role("button", name="Log out").click()
        page.get_by_role("heading", name="Log in").wait_for()


@pytest.mark.parametrize(
    ("claims", "shown"),
    [
        ({"roles": None}, "has no role on this server"),
        ({"roles": ["operator"], "aud": "another program"}, "could not be verified"),
    ],
)
def test_a_refused_login_says_why(
    browser: Any,
    known: Site,
    guard: Guard,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    claims: dict[str, Any],
    shown: str,
) -> None:
    """On the login page, where it can be tried again."""
    monkeypatch.setattr(provider, "claims", provider.claims | claims)
    guard.origins.append(provider.issuer)
    with opened(browser, known, guard) as page:
        log_in(page, "tasks")
        page.get_by_role("alert").get_by_text(shown).wait_for()
        page.get_by_role("link", name="Log in with your organization").wait_for()
        assert [] == violations(page)


def test_sensitive_data_is_revealed_for_a_reason(
    browser: Any, known: Site, guard: Guard, provider: Provider
) -> None:
    """Only to who may, until the page is loaded again; the audit has the reason."""
    provider.claims |= {"sub": "ann", "roles": ["operator"]}
    guard.origins.append(provider.issuer)
    task = known.tasks["deposit"]
    address = f"tasks/{task}?step=book&tab=input"
    with opened(browser, known, guard) as page:
        log_in(page, address)
        button = page.get_by_role("button", name="Reveal…")
        button.wait_for()
        assert "true" == button.get_attribute("aria-disabled")
        assert "payloads:reveal" in (button.get_attribute("title") or "")
        assert CARD not in page.content()

    provider.claims |= {"sub": "eve", "roles": ["admin"]}
    with opened(browser, known, guard) as page:
        log_in(page, address)
        page.get_by_role("button", name="Reveal…").click()
        assert CARD not in page.content()
        dialog = page.get_by_role("dialog")
        reveal = dialog.get_by_role("button", name="Reveal 1 step")
        assert "true" == reveal.get_attribute("aria-disabled")
        dialog.get_by_label("Reason").fill("a complaint")
        assert [] == violations(page)
        reveal.click()
        page.get_by_text(CARD).wait_for()
        (entry,) = known.read(f"/v1/tasks/{task}/audit")
        assert ("eve", "a complaint", "ui") == (entry["actor"], entry["reason"], entry["via"])

        page.reload()
        page.get_by_role("button", name="Reveal…").wait_for()
        assert CARD not in page.content()
