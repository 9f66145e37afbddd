"""The Ruby of the founding documents runs as printed, against a real server.

Each scenario is a file in `ruby/`, which names what the documents leave unprinted and it supplies.
"""

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sdk.conformance.languages import missing_ruby, selected
from sdk.founding.documents import block_at, folder, listed, text_of
from sdk.founding.serving import SOON, serving, wait_for_end, wait_for_line

SCENARIOS = Path(__file__).parent / "ruby"

pytestmark = [
    pytest.mark.skipif(
        folder() is None, reason="needs the founding documents (TASKER_FOUNDING_DOCUMENTS)"
    ),
    pytest.mark.skipif("ruby" not in selected(), reason="TASKER_SDK names other languages"),
]


@pytest.fixture(autouse=True, scope="module")
def ruby() -> None:
    """Skip where Ruby is missing; fail under TASKER_REQUIRE=all."""
    if problem := missing_ruby():
        if os.environ.get("TASKER_REQUIRE") == "all":
            pytest.fail(problem)
        pytest.skip(problem)


class Application:
    """A server, and Ruby processes with the blocks of the documents."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.url = url
        self.api = httpx.Client(base_url=url, timeout=SOON)
        self.variables: dict[str, str] = {}
        blocks = root / "blocks"
        blocks.mkdir()
        for block in listed():
            (blocks / block.place.replace(":", "_")).write_text(text_of(block))

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        paths = {"BLOCKS": str(self.root / "blocks"), "APPLICATION": str(self.root / "application")}
        return kept | paths | {"TASKER_URL": self.url} | self.variables

    def _command(self, scenario: str, mode: str) -> list[str]:
        return ["ruby", str(SCENARIOS / f"{scenario}.rb"), mode]

    def _run(self, scenario: str, mode: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self._command(scenario, mode),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=SOON,
            check=False,
        )

    def call(self, scenario: str, mode: str = "create") -> Any:
        """Run a scenario to its end, and return the JSON that it prints."""
        done = self._run(scenario, mode)
        assert 0 == done.returncode, done.stderr
        return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout

    def fail(self, scenario: str, mode: str = "worker") -> str:
        """Run a scenario that fails, and return its error output."""
        done = self._run(scenario, mode)
        assert 0 != done.returncode
        return done.stderr

    @contextmanager
    def worker(self, scenario: str) -> Iterator[None]:
        """Run the worker of a scenario."""
        log = self.root / f"{scenario}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                self._command(scenario, "worker"), env=self._environment(), stdout=out, stderr=out
            )
        try:
            wait_for_line(process, log, r"tasker: worker \S+ registered")
            yield
        except BaseException as error:
            error.add_note(log.read_text()[-3000:])
            raise
        finally:
            process.terminate()
            process.wait(SOON)

    def create(self, name: str, namespace: str, **context: Any) -> str:
        """Create a task; return its id."""
        body = {"name": name, "namespace": namespace, "context": context}
        answer = self.api.post("/v1/tasks", json=body)
        assert answer.status_code == 201, answer.text
        task: str = answer.json()["id"]
        return task

    def ended(self, task: str) -> dict[str, Any]:
        """Return a task when it has ended."""
        return wait_for_end(self.api, task)

    def steps(self, task: str) -> dict[str, Any]:
        """Return a task's steps by name."""
        return {step["name"]: step for step in self.api.get(f"/v1/tasks/{task}/steps").json()}

    def completed(self, task: str) -> dict[str, Any]:
        """Return the results of the steps of a task that completes, by name."""
        fields = self.ended(task)
        errors = [step["error"] for step in self.steps(task).values() if step["error"]]
        assert "complete" == fields["status"], errors
        return {name: step["result"] for name, step in self.steps(task).items()}


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    """Run a server on a SQLite file."""
    with serving(tmp_path) as url:
        one = Application(tmp_path, url)
        with one.api:
            yield one


def test_a_user_is_registered(application: Application) -> None:
    with application.worker("registration"):
        results = application.completed(application.call("registration")["task"])
        account, welcome = results["create_user_account"], results["send_welcome_sequence"]
        assert re.fullmatch("usr_[0-9a-f]{24}", account["user_id"])
        assert ("new.user@example.com", "pro", "created") == tuple(
            account[name] for name in ("email", "plan", "status")
        )
        assert (account["user_id"], ["email", "push"], 3) == tuple(
            welcome[name] for name in ("user_id", "channels_used", "messages_sent")
        )
        assert "active" == results["update_user_status"]["status"]

        refused = {
            "MISSING_EMAIL": {},
            "INVALID_EMAIL": {"email": "nobody"},
            "BLOCKED_EMAIL_DOMAIN": {"email": "a@mailinator.com"},
        }
        tasks = {
            code: application.create("user_registration", "microservices", user_info=user)
            for code, user in refused.items()
        }
        for code, task in tasks.items():
            assert "error" == application.ended(task)["status"]
            step = application.steps(task)["create_user_account"]
            assert (code, 1) == (step["error"]["code"], step["attempts"])


def test_a_refund_is_delegated_to_another_namespace(application: Application) -> None:
    with application.worker("delegation_core"):
        task = application.call("delegation_core")["task"]
        results = application.completed(task)
        validated = results["validate_refund_request"]
        assert (True, "TICKET-1234", 49.99, "defective", "customer_success") == tuple(
            validated[name]
            for name in ("request_validated", "ticket_id", "refund_amount", "reason", "namespace")
        )
        delegated = results["execute_refund_workflow"]
        assert ("delegated_to_payments", task) == (delegated["status"], delegated["correlation_id"])

        payment = application.ended(delegated["payment_task_id"])
        assert ("payments", "process_refund", "complete") == tuple(
            payment[name] for name in ("namespace", "name", "status")
        )
        assert task == payment["context"]["correlation_id"]
        assert task == payment["parent_id"]

        direct = application.call("delegation_core", "create_payment")["task"]
        checked = application.completed(direct)["validate_payment_eligibility"]
        assert {"payment_validated": True, "namespace": "payments"} == checked

        invalid = application.create(
            "process_refund", "customer_success",
            ticket_id="t", customer_id="c", refund_amount=1, refund_reason="bored",
        )  # fmt: skip
        missing = application.create("process_refund", "customer_success", ticket_id="t")
        for task, code in ((invalid, "INVALID_REASON"), (missing, "MISSING_FIELDS")):
            assert "error" == application.ended(task)["status"]
            assert code == application.steps(task)["validate_refund_request"]["error"]["code"]


def test_a_refund_is_delegated_over_http(application: Application) -> None:
    fields = {"customer_id": "cust_789", "refund_amount": 4999, "refund_reason": "customer_request"}
    with proxy_to(application.url) as proxy:
        application.variables = {"http_proxy": proxy, "no_proxy": "127.0.0.1"}
        with application.worker("delegation_http"):
            task = application.create(
                "process_refund", "customer_success",
                ticket_id="cs_456", correlation_id="cs-1", **fields,
            )  # fmt: skip
            results = application.completed(task)
            validated = results["validate_refund_request"]
            assert (True, "open", "pay_123") == tuple(
                validated[name] for name in ("request_validated", "ticket_status", "payment_id")
            )
            delegated = results["execute_refund_workflow"]
            assert (True, "payments", "created", "cs-1") == tuple(
                delegated[name]
                for name in (
                    "task_delegated", "target_namespace", "delegated_task_status", "correlation_id",
                )
            )  # fmt: skip
            payment = application.ended(delegated["delegated_task_id"])
            assert ("complete", "2.1.3") == (payment["status"], payment["version"])
            assert ("pay_123", "appr_1") == tuple(
                payment["context"][name] for name in ("payment_id", "approval_id")
            )

            for ticket, message in (
                ("closed", "Cannot process refund for closed ticket"),
                ("unknown", "Ticket or customer not found in customer service system"),
            ):
                refused = application.create(
                    "process_refund", "customer_success", ticket_id=ticket, **fields
                )
                assert "error" == application.ended(refused)["status"]
                step = application.steps(refused)["validate_refund_request"]
                assert (message, 1) == (step["error"]["message"], step["attempts"])


def test_two_teams_with_the_same_name_collide(application: Application) -> None:
    printed = text_of(block_at("001:14")).strip()
    assert printed in text_of(block_at("000:6"))
    error = application.fail("collision")
    kind, message = printed.split(": ", 1)
    assert f"Tasker::{kind}" in error
    assert message in error


def test_workflows_declared_in_ruby_run_side_by_side(application: Application) -> None:
    with application.worker("declared"):
        tasks = application.call("declared")
        refund = application.completed(tasks["payments_task"])
        assert 4 == len(refund)
        assert "payments.notify_customer" == refund["notify_customer"]["done"]
        assert {"payment_id": "pay_123", "amount": 49.99} == refund["notify_customer"]["context"]
        escalated = application.completed(tasks["cs_task"])
        assert (
            "customer_success.execute_refund_workflow"
            == (escalated["execute_refund_workflow"]["done"])
        )


def test_two_versions_run_side_by_side(application: Application) -> None:
    with application.worker("versions"):
        tasks = application.call("versions")
        new = application.completed(tasks["new_refund_task"])
        assert {"version": "2.1.0"} == new["check_fraud_indicators"]
        legacy = application.completed(tasks["legacy_refund_task"])
        assert {"version": "2.0.0"} == legacy["process_gateway_refund"]
        assert 2 == len(legacy)


def test_policies_reach_the_server(application: Application) -> None:
    application.call("policies")
    answer = application.api.get("/v1/namespaces").json()["namespaces"]
    policies = {each["name"]: each["policy"] for each in answer}
    assert ("payments", False) == tuple(
        policies["payments"][name] for name in ("owner_team", "requires_approval")
    )
    shared = policies["shared"]
    assert (True, ["sarah@growthcorp.com", "marcus@growthcorp.com"]) == (
        shared["requires_approval"],
        shared["approvers"],
    )


def test_a_step_waits_for_the_workflow_of_another_team(application: Application) -> None:
    with application.worker("collaboration"):
        task = application.create("process_refund", "customer_success", ticket_id="cs_456")
        results = application.completed(task)
        refund = results["execute_payment_refund"]
        assert ("re_9", 49.99, "2024-05-02T10:00:00Z") == tuple(
            refund[name] for name in ("payment_refund_id", "refund_amount", "refunded_at")
        )
        payment = application.ended(refund["payments_task_id"])
        assert ("2.1.0", task) == (payment["version"], payment["parent_id"])
        assert "cs_456" == payment["context"]["cs_ticket_id"]


@pytest.mark.parametrize(
    "place", [b.place for b in listed() if b.language == "ruby" and b.how == "loaded"]
)
def test_a_block_without_a_caller_can_be_loaded(application: Application, place: str) -> None:
    assert "loaded" == application.call("load", place).strip()


@contextmanager
def proxy_to(url: str) -> Iterator[str]:
    """Run an HTTP proxy that takes every request to one server, whatever host it names."""
    target = urlsplit(url)

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            to = HTTPConnection(target.hostname or "", target.port or 80)
            to.request("POST", urlsplit(self.path).path, body, {"Content-Type": "application/json"})
            answer = to.getresponse()
            text = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            to.close()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
