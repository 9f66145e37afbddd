"""A server with the web UI and workflows that run, fail and wait, and a guarded browser.

The browser is Debian's Chromium, or the one that `TASKER_CHROMIUM` names. Without one the tests are
skipped, unless `TASKER_REQUIRE` says that they must run.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from bench.browser import find_chromium, launched
from tests.ports import reserve, reserved_port

pytest.importorskip("playwright.sync_api", reason="make test-ui installs it")

ROOT = Path(__file__).resolve().parents[2]
SHOP = Path(__file__).parent / "shop"
AXE = ROOT / "ui" / "node_modules" / "axe-core" / "axe.min.js"
SOON = 60.0  #: seconds that a page may take on a busy machine
STARTED = 300.0  #: seconds; only on a busy machine does a server take long to start
SIZE = {"width": 1440, "height": 900}


@pytest.fixture(scope="module", autouse=True)
def _reused_connections() -> None:
    """Reuse none: Playwright's own event loop runs in this thread."""


class Site:
    """A running server, with the tasks made for the tests by what they show."""

    def __init__(
        self, server: "Server", url: str, base_path: str = "", key: str | None = None
    ) -> None:
        self.server = server
        self.origin = url
        self.url = url + base_path
        self.tasks: dict[str, str] = {}
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

    def send(self, method: str, path: str, body: Any = None) -> None:
        """Send a request that must succeed."""
        answer = self.api.request(method, path, json=body)
        assert answer.is_success, answer.text

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


class Server:
    """The process of a server with a worker, which can be stopped and started again."""

    def __init__(self, store: str, folder: Path, options: Sequence[str]) -> None:
        self._command = [
            sys.executable, "-m", "tasker", "server", "--store", store,
            "--with-worker", "--handlers", str(SHOP / "handlers.py"), "--templates", str(SHOP),
            "--namespace", "shop", *options,
        ]  # fmt: skip
        self._folder = folder
        self._port = reserve()  # the same after a restart
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Return the URL, which is the same at each start."""
        log = self._folder / "server.log"
        command = [*self._command, "--port", str(self._port.getsockname()[1])]
        with log.open("w") as out:
            process = subprocess.Popen(command, cwd=self._folder, stdout=out, stderr=out)
        self._process = process
        end = time.monotonic() + STARTED
        while not (match := re.search(r"url=(http://\S+)\s", log.read_text())):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        return match[1]

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(SOON)

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._port.close()


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
    server = Server(store, folder, options)
    try:
        site = Site(server, server.start(), base_path, key)
        with site.api:
            yield site
    finally:
        server.close()


@pytest.fixture(scope="session")
def sqlite_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server without authentication, on a SQLite file, with tasks of each kind."""
    folder = tmp_path_factory.mktemp("site")
    config = '[server]\ntimeout = "120s"\n'  # for templates of 10,000 steps
    with serving(f"sqlite:{folder}/tasker.db", folder, config=config) as site:
        fill(site)
        yield site


@pytest.fixture(scope="session")
def postgres_site(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same on PostgreSQL."""
    folder = tmp_path_factory.mktemp("postgres")
    store = f"{postgres_url}&schema=browser"
    upgrade = [sys.executable, "-m", "tasker", "db", "upgrade", "--store", store]
    subprocess.run(upgrade, cwd=folder, check=True, capture_output=True)
    with serving(store, folder) as site:
        fill(site)
        yield site


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "both_stores: run on SQLite and on PostgreSQL")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Use SQLite, and for what the stores answer differently PostgreSQL too."""
    if "site" in metafunc.fixturenames:
        both = metafunc.definition.get_closest_marker("both_stores")
        stores = ["sqlite", "postgres"] if both else ["sqlite"]
        metafunc.parametrize("site", stores, indirect=True)


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Site:
    site: Site = request.getfixturevalue(f"{request.param}_site")
    return site


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


def fill(site: Site) -> None:
    """Create tasks that are complete, failed, waiting for a retry, and without a worker."""
    site.api.put(
        "/v1/namespaces/shop/policy",
        json={"owner_team": "Shop team", "contact_email": "shop@growthcorp.test"},
    )
    site.register(ORPHAN)
    site.register(IMPORT)
    site.tasks["complete"] = site.create("shop.order", order="A-1")
    site.tasks["failed"] = site.create("shop.order", order="A-2", card="stolen")
    site.tasks["retry"] = site.create("shop.order", order="A-3", card="slow bank")
    site.tasks["markup"] = site.create("shop.markup", text="<img src=x onerror=alert(1)>")
    site.tasks["orphan"] = site.create("shop.orphan")
    site.tasks["many"] = site.create("shop.import")
    site.tasks["approval"] = site.create("shop.refund", order="R-0")
    site.wait(site.tasks["complete"], "complete")
    site.wait(site.tasks["failed"], "error")
    site.wait(site.tasks["markup"], "error")
    site.wait(site.tasks["retry"], "waiting_for_retry")
    site.wait(site.tasks["approval"], "waiting_for_dependencies")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with reserved_port() as port:
        yield port


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start the browser once."""
    path = find_chromium()
    if path is None:
        if os.environ.get("TASKER_REQUIRE"):
            pytest.fail("no Chromium: apt-get install chromium, or set TASKER_CHROMIUM")
        pytest.skip("no Chromium")
    with launched(path) as browser:
        yield browser


class Guard:
    """What a page must never do: ask other hosts, report errors, break its policy."""

    def __init__(self) -> None:
        self.origins: list[str] = []
        self.allowed = re.compile(r"(?!)")
        self.faults: list[str] = []

    def watch(self, page: Any, origin: str) -> None:
        self.origins.append(origin)
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
        if not request.url.startswith((*self.origins, "data:")):
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
