"""A server with the web UI and workflows that run, fail and wait, and a guarded browser.

The browser is Debian's Chromium, or the one that `TASKER_CHROMIUM` names. Without one the tests are
skipped, unless `TASKER_REQUIRE` says that they must run.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

playwright_api = pytest.importorskip("playwright.sync_api", reason="make test-ui installs it")

ROOT = Path(__file__).resolve().parents[2]
SHOP = Path(__file__).parent / "shop"
AXE = ROOT / "ui" / "node_modules" / "axe-core" / "axe.min.js"
SOON = 20.0  #: seconds
SIZE = {"width": 1440, "height": 900}


def find_chromium() -> str | None:
    """Return the path of a browser, or None."""
    return (
        os.environ.get("TASKER_CHROMIUM")
        or shutil.which("chromium")
        or shutil.which("google-chrome")
    )


class Site:
    """A running server."""

    def __init__(self, url: str, base_path: str = "", key: str | None = None) -> None:
        self.origin = url
        self.url = url + base_path
        headers = {} if key is None else {"X-API-Key": key}
        self.api = httpx.Client(base_url=self.url, headers=headers, timeout=SOON)

    def create(self, name: str, **context: Any) -> str:
        """Create a task; return its id."""
        answer = self.api.post("/v1/tasks", json={"name": name, "context": context})
        assert answer.status_code in (200, 201), answer.text
        task: str = answer.json()["id"]
        return task

    def register(self, text: str) -> None:
        """Register a template from YAML."""
        headers = {"Content-Type": "application/yaml"}
        answer = self.api.post("/v1/templates", content=text, headers=headers)
        assert answer.status_code in (200, 201), answer.text

    def read(self, path: str) -> Any:
        answer = self.api.get(path)
        assert 200 == answer.status_code, answer.text
        return answer.json()

    def wait(self, task: str, *statuses: str) -> dict[str, Any]:
        """Wait until a task, or the work on it, has a status."""
        end = time.monotonic() + SOON
        while time.monotonic() < end:
            read: dict[str, Any] = self.read(f"/v1/tasks/{task}")
            if read["status"] in statuses or read["execution_status"] in statuses:
                return read
            time.sleep(0.05)
        raise AssertionError(f"{read['status']}, {read['execution_status']}")


@contextmanager
def serving(
    store: str,
    folder: Path,
    *options: str,
    config: str = "",
    key: str | None = None,
    base_path: str = "",
) -> Iterator[Site]:
    """Run a server with a worker as a process of its own."""
    (folder / "tasker.toml").write_text(config)
    command = [
        sys.executable, "-m", "tasker", "server", "--store", store, "--port", "0",
        "--with-worker", "--handlers", str(SHOP / "handlers.py"), "--templates", str(SHOP),
        "--namespace", "shop", *options,
    ]  # fmt: skip
    log = folder / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)
    try:
        end = time.monotonic() + SOON
        while not (match := re.search(r"url=(http://\S+)", log.read_text())):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        site = Site(match[1], base_path, key)
        with site.api:
            yield site
    finally:
        process.terminate()
        process.wait(SOON)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server without authentication, on a SQLite file, with tasks of each kind."""
    folder = tmp_path_factory.mktemp("site")
    with serving(f"sqlite:{folder}/tasker.db", folder) as site:
        fill(site)
        yield site


ORPHAN = """
name: orphan
namespace_name: shop
version: 1.0.0
description: No worker serves it
steps:
  - name: nobody
"""

ROWS = 400
IMPORT = (
    """
name: import
namespace_name: shop
version: 1.0.0
description: Many steps of one shape
steps:
  - name: list_rows
"""
    + "".join(
        f"  - {{name: row_{no}, handler: {{callable: process_row}}, dependencies: [list_rows]}}\n"
        for no in range(ROWS)
    )
    + "  - name: send_parcel\n    dependencies: ["
    + ", ".join(f"row_{no}" for no in range(ROWS))
    + "]\n"
)

TASKS: dict[str, str] = {}
"""The tasks of the site by what they show."""


def fill(site: Site) -> None:
    """Create tasks that are complete, failed, waiting for a retry, and without a worker."""
    site.api.put(
        "/v1/namespaces/shop/policy",
        json={"owner_team": "Shop team", "contact_email": "shop@growthcorp.test"},
    )
    site.register(ORPHAN)
    site.register(IMPORT)
    TASKS["complete"] = site.create("shop.order", order="A-1")
    TASKS["failed"] = site.create("shop.order", order="A-2", card="stolen")
    TASKS["retry"] = site.create("shop.order", order="A-3", card="slow bank")
    TASKS["markup"] = site.create("shop.markup", text="<img src=x onerror=alert(1)>")
    TASKS["orphan"] = site.create("shop.orphan")
    TASKS["many"] = site.create("shop.import")
    site.wait(TASKS["complete"], "complete")
    site.wait(TASKS["failed"], "error")
    site.wait(TASKS["markup"], "error")
    site.wait(TASKS["retry"], "waiting_for_retry")


@pytest.fixture(scope="session")
def browser(site: Site) -> Iterator[Any]:
    """Start the browser once, after everything that runs an event loop of its own."""
    path = find_chromium()
    if path is None:
        if os.environ.get("TASKER_REQUIRE"):
            pytest.fail("no Chromium: apt-get install chromium, or set TASKER_CHROMIUM")
        pytest.skip("no Chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


class Guard:
    """What a page must never do: ask other hosts, report errors, break its policy."""

    def __init__(self) -> None:
        self.origin = ""
        self.allowed = re.compile(r"(?!)")
        self.faults: list[str] = []

    def watch(self, page: Any, origin: str) -> None:
        self.origin = origin
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        page.on("console", self._on_console)
        page.on("request", self._on_request)

    def allow(self, pattern: str) -> None:
        """Expect console errors that match: those by which a browser reports refused requests."""
        self.allowed = re.compile(pattern)

    def _on_console(self, message: Any) -> None:
        text = f"{message.text} {message.location.get('url', '')}"
        if message.type in ("error", "warning") and not self.allowed.search(text):
            self.faults.append(f"console {message.type}: {text}")

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((self.origin, "data:")):
            self.faults.append(f"foreign request: {request.url}")


@pytest.fixture
def guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    assert [] == guard.faults


@pytest.fixture
def page(browser: Any, site: Site, guard: Guard) -> Iterator[Any]:
    """A new page, guarded; its addresses are relative to the UI."""
    with opened(browser, site, guard) as page:
        yield page


@contextmanager
def opened(browser: Any, site: Site, guard: Guard, **options: Any) -> Iterator[Any]:
    """Open a page of a site in a context of its own, with a guard."""
    settings = {"viewport": SIZE, "color_scheme": "light", "reduced_motion": "reduce", **options}
    context = browser.new_context(base_url=f"{site.url}/ui/", **settings)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.origin)
    context.set_default_timeout(SOON * 1000)
    page = context.new_page()
    guard.watch(page, site.origin)
    yield page
    context.close()


def violations(page: Any) -> list[str]:
    """Return what axe-core finds wrong with a page, by WCAG 2.2 A and AA."""
    if not AXE.is_file():
        if os.environ.get("TASKER_REQUIRE"):
            pytest.fail("no axe-core: run `make ui`")
        pytest.skip("no axe-core: `make ui` installs it")
    page.evaluate(AXE.read_text())
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    result = page.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", tags
    )
    return [
        f"{one['id']}: {node['html'][:200]} {node['any'][0]['message'] if node['any'] else ''}"
        for one in result["violations"]
        for node in one["nodes"]
    ]
