"""Logging in, what a role may do, and a key that is revoked meanwhile; below a base path."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.browser.conftest import ORPHAN, Guard, Site, opened, serving, violations

TASKER = [sys.executable, "-m", "tasker"]
CONFIG = """
[auth]
enabled = true
cache = "0s"

[server]
base_path = "/tools/tasker"
"""


def make_key(store: str, folder: Path, *options: str) -> str:
    command = [*TASKER, "key", "create", *options, "--store", store, "--json"]
    read = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    key: str = json.loads(read.stdout)["text"]
    return key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def store(folder: Path) -> str:
    return f"sqlite:{folder}/tasker.db"


@pytest.fixture(scope="module")
def guarded(folder: Path, store: str) -> Iterator[Site]:
    """A server with authentication, below a base path."""
    subprocess.run([*TASKER, "db", "upgrade", "--store", store], cwd=folder, check=True)
    key = make_key(store, folder, "root", "--role", "admin", "--namespace", "*")
    with serving(store, folder, config=CONFIG, key=key, base_path="/tools/tasker") as site:
        site.register(ORPHAN)
        site.create("shop.orphan")
        yield site


def log_in(page: Any, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Log in").click()


def test_a_person_logs_in_works_and_logs_out(
    browser: Any, guarded: Site, guard: Guard, folder: Path, store: str
) -> None:
    """The address asked for is shown afterwards; no key stays in the page."""
    key = make_key(store, folder, "ann", "--role", "operator", "--namespace", "shop")
    guard.allow(r"status of 401")
    with opened(browser, guarded, guard) as page:
        page.goto("tasks?status=pending")
        page.get_by_role("heading", name="Log in").wait_for()
        assert [] == violations(page)
        log_in(page, "tsk_wrong")
        page.get_by_role("alert").wait_for()
        log_in(page, key)
        page.locator("tbody tr").first.wait_for()
        assert "status=pending" in page.url
        assert key not in page.content()
        assert "" == page.evaluate("document.cookie")

        page.locator("tbody a").first.click()
        page.get_by_role("button", name="Cancel…").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("a test")
        dialog.get_by_role("button", name="Cancel 1 task").click()
        page.locator(".hd").get_by_text("Cancelled").wait_for()

        page.get_by_role("button", name="Log out").click()
        page.get_by_role("heading", name="Log in").wait_for()
        page.goto("tasks")
        page.get_by_role("heading", name="Log in").wait_for()


def test_a_viewer_sees_why_a_button_cannot_be_used(
    browser: Any, guarded: Site, guard: Guard, folder: Path, store: str
) -> None:
    """It stays visible, and names the permission."""
    task = guarded.create("shop.orphan")
    key = make_key(store, folder, "vic", "--role", "viewer", "--namespace", "shop")
    with opened(browser, guarded, guard) as page:
        page.goto(f"tasks/{task}")
        log_in(page, key)
        button = page.get_by_role("button", name="Cancel…")
        button.wait_for()

        assert "true" == button.get_attribute("aria-disabled")
        assert "needs the permission tasks:cancel in shop" == button.get_attribute("title")
        button.click(force=True)
        assert 0 == page.get_by_role("dialog").count()


def test_a_revoked_key_ends_at_the_login(
    browser: Any, guarded: Site, guard: Guard, folder: Path, store: str
) -> None:
    """The next request to the server shows it without a reload."""
    key = make_key(store, folder, "eve", "--role", "viewer", "--namespace", "shop")
    guard.allow(r"status of 401")
    with opened(browser, guarded, guard) as page:
        page.goto("tasks")
        log_in(page, key)
        page.locator("tbody tr").first.wait_for()
        subprocess.run(
            [*TASKER, "key", "revoke", key, "--store", store],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        page.get_by_role("heading", name="Log in").wait_for()
        assert not re.search("A-1", page.content())


def test_a_revoked_key_loses_no_input(
    browser: Any, guarded: Site, guard: Guard, folder: Path, store: str
) -> None:
    """The page says what happened; after another login of the same person it is there again."""
    task = guarded.create("shop.orphan")
    key = make_key(store, folder, "ann", "--role", "operator", "--namespace", "shop")
    guard.allow(r"status of 401")
    with opened(browser, guarded, guard) as page:
        page.goto(f"tasks/{task}")
        log_in(page, key)
        page.get_by_role("button", name="Cancel…").click()
        page.get_by_role("dialog").get_by_label("Reason").fill("a long explanation")
        subprocess.run(
            [*TASKER, "key", "revoke", key, "--store", store],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        page.get_by_text("Your key was revoked").wait_for()
        assert [] == violations(page)
        log_in(page, make_key(store, folder, "ann", "--role", "operator", "--namespace", "shop"))
        page.get_by_role("button", name="Cancel…").click()

        assert (
            "a long explanation" == page.get_by_role("dialog").get_by_label("Reason").input_value()
        )


def test_each_role_may_use_its_own_buttons(
    browser: Any, guarded: Site, guard: Guard, folder: Path, store: str
) -> None:
    """The others are disabled, and name the permission and the namespace."""
    task = guarded.create("shop.orphan")
    allowed = {
        "viewer": {"Cancel…": False, "Pause": False, "New task": False, "Set a limit…": False},
        "operator": {"Cancel…": True, "Pause": True, "New task": True, "Set a limit…": True},
        "admin": {"Cancel…": True, "Pause": True, "New task": True, "Set a limit…": True},
    }
    usable: dict[str, dict[str, bool]] = {}
    for role in allowed:
        key = make_key(store, folder, role, "--role", role, "--namespace", "shop")
        with opened(browser, guarded, guard) as page:
            page.goto(f"tasks/{task}")
            log_in(page, key)
            page.get_by_role("button", name="Log out").wait_for()  # else `goto` aborts the login
            usable[role] = {}
            for path, names in (
                (f"tasks/{task}", ["Cancel…", "Pause"]),
                ("workflows/shop/orphan", ["New task"]),
                ("limits", ["Set a limit…"]),
            ):
                page.goto(path)
                for name in names:
                    button = page.get_by_role("button", name=name, exact=True)
                    button.first.wait_for()
                    usable[role][name] = "true" != button.first.get_attribute("aria-disabled")
                    if not usable[role][name]:
                        title = button.first.get_attribute("title") or ""
                        assert title.startswith("needs the permission ")

    assert allowed == usable
