"""The applications of examples/polyglot: each alone, and two that share a refund."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx
import pytest
from sdk.conformance.conftest import leave_out, require
from sdk.conformance.languages import HONO, SDK, missing_node, missing_ruby, missing_rust
from sdk.conformance.real_server import RealServer, real_server, run
from sdk.founding.serving import SOON
from tests.ports import reserved_port

POLYGLOT = SDK.parent / "examples" / "polyglot"
BOTH = "customer_success,payments"
REFUND = {"ticket_id": "t-1", "payment_id": "pay_1", "refund_amount": 4999}
UNKNOWN = "/refunds/00000000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Application:
    """An application, and how it is started."""

    name: str
    language: str
    commands: Callable[[], Sequence[Sequence[str]]]
    """Returns the commands of its processes."""
    missing: Callable[[], str | None]
    """Returns what this machine lacks, or None."""

    @contextmanager
    def serving(self, server: RealServer, namespaces: str = BOTH) -> Iterator[httpx.Client]:
        """Run its processes, which serve namespaces; yield a client of its routes."""
        folder = POLYGLOT / self.name
        variables = {"TASKER_URL": server.url, "TASKER_NAMESPACE": namespaces}
        with ExitStack() as running:
            port = running.enter_context(reserved_port())
            variables["PORT"] = str(port)
            url = f"http://127.0.0.1:{port}"
            client = running.enter_context(httpx.Client(base_url=url, timeout=SOON))
            for command in self.commands():
                running.enter_context(server.running(*command, cwd=folder, **variables))
            end = time.monotonic() + SOON
            while not responds(client) or not serves(server, self.language):
                assert time.monotonic() < end, f"{self.name} did not start"
                time.sleep(0.05)
            yield client


def missing_rails() -> str | None:
    """Return what a machine without the gems of the Rails application needs."""
    if problem := missing_ruby():
        return problem
    check = ["bundle", "check"]
    if shutil.which("bundle") and 0 == subprocess.call(
        check, cwd=POLYGLOT / "rails", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ):
        return None
    return "needs the gems of Gemfile.lock (apt-get install bundler puma ruby-railties)"


def missing_hono() -> str | None:
    """Return what a machine without the packages of the Hono application needs."""
    installed = (HONO / "node_modules").exists()
    return missing_node() or (None if installed else "needs its packages (make sdk-typescript)")


@cache
def axum() -> Sequence[Sequence[str]]:
    """Build the application in Rust, and return its command."""
    target = os.environ.get("CARGO_TARGET_DIR", str(SDK / "rust" / "target"))
    run(POLYGLOT / "axum", "cargo", "build", "--locked", "--quiet", CARGO_TARGET_DIR=target)
    return [[str(Path(target) / "debug" / "refunds")]]


def fastapi() -> Sequence[Sequence[str]]:
    """Return the command of the application in Python."""
    return [["sh", "-c", f'exec "{sys.executable}" -m uvicorn refunds.app:app --port "$PORT"']]


APPLICATIONS = {
    application.name: application
    for application in (
        Application(
            "rails",
            "ruby",
            lambda: [["bundle", "exec", "puma"], ["bin/rails", "tasker:worker"]],
            missing_rails,
        ),
        Application("hono", "typescript", lambda: [["npm", "start"]], missing_hono),
        Application("fastapi", "python", fastapi, lambda: None),
        Application("axum", "rust", axum, missing_rust),
    )
}


def responds(client: httpx.Client) -> bool:
    """Return whether the application accepts requests."""
    try:
        return 404 == client.get(UNKNOWN).status_code
    except httpx.TransportError:
        return False


def serves(server: RealServer, language: str) -> bool:
    """Return whether a worker in a language is registered."""
    return language in languages(server).values()


def languages(server: RealServer) -> dict[str, str]:
    """Return the languages of the server's workers, by name."""
    workers = server.api.get("/v1/workers").json()["workers"]
    return {worker["name"]: worker["process"]["sdk"].partition("/")[0] for worker in workers}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealServer]:
    """Return a server with the templates of the applications."""
    with real_server(tmp_path) as started:
        for template in (POLYGLOT / "templates").iterdir():
            started.register(template.read_text())
        yield started


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_creates_runs_and_reads_refunds(server: RealServer, name: str) -> None:
    application = APPLICATIONS[name]
    require(application)
    with application.serving(server) as client:
        created = client.post("/refunds", json=REFUND)
        refund = created.json()
        assert (202, "pending") == (created.status_code, refund["status"]), created.text
        assert created.headers["location"].endswith(f"/refunds/{refund['id']}")
        steps = server.results(refund["id"])
        closed = {"ticket_id": "t-1", "ticket_status": "resolved", "refund_id": "refund_of_pay_1"}
        assert {"id": refund["id"], "status": "complete", "result": closed, "error": None} == (
            client.get(f"/refunds/{refund['id']}").json()
        )
        assert {"refund_id": "refund_of_pay_1", "amount": 4999} == steps["execute_refund_workflow"]
        assert {application.language} == languages_of(server, refund["id"])

        for change, code in (
            ({"refund_amount": 500_001}, "NEEDS_MANAGER"),
            ({"payment_id": "closed_1"}, "PAYMENT_CLOSED"),
        ):
            task = client.post("/refunds", json=REFUND | change).json()["id"]
            server.ended(task)
            failed = client.get(f"/refunds/{task}").json()
            assert ("error", None) == (failed["status"], failed["result"])
            assert code in str([step["error"] for step in server.steps(task).values()])

        refused = client.post("/refunds", json=REFUND | {"refund_amount": 0})
        assert (400, "invalid_input") == (refused.status_code, refused.json()["code"])
        assert "refund_amount" in refused.json()["detail"]
        unknown = client.get(UNKNOWN)
        assert (404, "not_found") == (unknown.status_code, unknown.json()["code"])


def languages_of(server: RealServer, task: str) -> set[str]:
    """Return the languages of the workers that ran a task's steps."""
    by_name = languages(server)
    return {by_name[step["worker"]] for step in server.steps(task).values()}


def test_customer_success_in_ruby_delegates_to_payments_in_rust(
    server: RealServer,
) -> None:
    rails, axum = APPLICATIONS["rails"], APPLICATIONS["axum"]
    require(rails)
    require(axum)
    with (
        rails.serving(server, "customer_success") as client,
        axum.serving(server, "payments"),
    ):
        headers = {"X-Request-Id": "case-4711"}
        parent = client.post("/refunds", json=REFUND, headers=headers).json()["id"]
        assert "refund_of_pay_1" == server.results(parent)["update_ticket_status"]["refund_id"]
        answer = server.api.get("/v1/tasks", params={"correlation_id": "case-4711"}).json()
        tasks = {task["namespace"]: task["id"] for task in answer["tasks"]}
        assert {"customer_success": parent, "payments": tasks["payments"]} == tasks
        assert {"ruby"} == languages_of(server, parent)
        assert {"rust"} == languages_of(server, tasks["payments"])
        assert {"ruby", "rust"} <= set(languages(server).values())
        check_pages(server, tasks)


def check_pages(server: RealServer, tasks: dict[str, str]) -> None:
    """Expect both workers on the UI's page of workers, and each with its task."""
    chromium = shutil.which("chromium") or leave_out("needs chromium (apt-get install chromium)")
    show(chromium, f"{server.url}/ui/workers", *languages(server))
    for namespace, task in tasks.items():
        show(chromium, f"{server.url}/ui/tasks/{task}", namespace, "case-4711")


def show(chromium: str, url: str, *texts: str) -> None:
    """Expect that a page of the UI shows texts in a browser, within a few tries."""
    end = time.monotonic() + SOON
    while missing := [text for text in texts if text not in (shown := page(chromium, url))]:
        assert time.monotonic() < end, (missing, shown)


def page(chromium: str, url: str) -> str:
    """Return a page of the UI as a browser shows it."""
    options = ["--headless", "--no-sandbox", "--disable-dev-shm-usage", "--dump-dom"]
    command = [chromium, *options, "--virtual-time-budget=5000", url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SOON).stdout
