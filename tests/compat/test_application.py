"""Applications for the earlier package run unchanged."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.compat.conftest import APP
from tests.ports import reserved_port

from tasker_core import (
    ClientTaskResponse,
    InProcessDomainEventPoller,
    TaskerClient,
    Worker,
    get_health_check,
    get_metrics,
    get_worker_status,
)
from tasker_core.bootstrap import shared_client
from tasker_core.domain_events import BaseSubscriber, SubscriberRegistry

ENDED = ("complete", "error", "cancelled", "resolved_manually")


def run(client: TaskerClient, name: str, context: dict[str, Any], **options: Any) -> Any:
    """Create a task, and return it when it has ended."""
    task = client.create_task(name, context=context, **{"namespace": "shop", **options})
    end = time.monotonic() + 60
    while task.status not in ENDED:
        assert time.monotonic() < end, task
        time.sleep(0.02)
        task = client.get_task(task.task_uuid)
    return task


def results(client: TaskerClient, task: ClientTaskResponse) -> dict[str, Any]:
    """Return the results of a task's steps by name."""
    return {step.name: step.results for step in client.list_task_steps(task.task_uuid)}


def test_functions_get_inputs_and_results_and_their_errors_decide_about_retries(
    client: TaskerClient,
) -> None:
    task = run(client, "order", {"items": [{"price": 5}, {"price": 2.5}]})

    assert "complete" == task.status
    assert {"total": 7.5, "currency": "EUR"} == results(client, task)["validate_cart"]
    assert {"charged": 7.5, "attempts": 1} == results(client, task)["process_payment"]
    assert {"result": "7.5 EUR"} == results(client, task)["send_receipt"]


def test_a_task_is_a_dictionary_of_json_values(client: TaskerClient) -> None:
    task = run(client, "order", {"items": [{"price": 1}]}, tags=["web"], reason="a test")

    assert ("shop", "order", "1.0.0") == (task.namespace, task.name, task.version)
    assert "web" in (task.tags or [])
    assert ("a test", "tasker-core") == (task.reason, task.source_system)
    assert 3 == task.total_steps == task.completed_steps == len(task.steps)
    assert {"items": [{"price": 1}]} == task.__dict__["context"]
    assert isinstance(task.__dict__["created_at"], str)


@pytest.mark.parametrize(
    ("name", "context", "step", "code", "details"),
    [
        ("order", {"items": []}, "validate_cart", "EMPTY_CART", "permanent_error"),
        (
            "order",
            {"items": [{"price": 3}], "token": "declined"},
            "process_payment",
            "DECLINED",
            "permanent_error",
        ),
        ("refusal", {"how": "return"}, "refuse", "LIMIT", "limit_reached"),
        ("refusal", {"how": "raise"}, "refuse", "RAISED", "PermanentError"),
        ("missing", {}, "nobody", "handler_not_found", None),
    ],
)
def test_a_permanent_error_ends_its_step_at_once(
    client: TaskerClient, name: str, context: dict[str, Any], step: str, code: str, details: Any
) -> None:
    task = run(client, name, context)

    failed = next(each for each in client.list_task_steps(task.task_uuid) if each.name == step)
    [attempt] = client.get_step_audit_history(task.task_uuid, failed.step_uuid)
    assert ("error", 1) == (task.status, failed.attempts)
    assert attempt.success is False
    stored = next(s.error for s in shared_client().steps(task.task_uuid) if s.name == step) or {}
    more = stored.get("details")
    kind = more.get("error_type") if isinstance(more, dict) else None
    assert (code, details) == (stored["code"], kind)


@pytest.mark.parametrize(
    ("amount", "approved"),
    [(5, ["rule"]), (5000, ["finance", "manager"]), (0, None)],
)
def test_a_decision_runs_its_branches_and_methods_are_called_by_name(
    client: TaskerClient, amount: int, approved: list[str] | None
) -> None:
    task = run(client, "approval", {"amount": amount})

    finished = results(client, task)["finish"]
    assert "complete" == task.status
    assert (None if approved is None else {"by": approved}) == finished


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (100, {"total": sum(range(100)), "worker_count": 3, "scenario": "with_batches"}),
        (0, {"total": 0, "worker_count": 0, "scenario": "no_batches"}),
    ],
)
def test_batches_save_their_positions_and_their_results_are_summed(
    client: TaskerClient, rows: int, expected: dict[str, Any]
) -> None:
    task = run(client, "batch", {"rows": rows}, namespace="data")

    assert ("complete", expected) == (task.status, results(client, task)["sum_up"])


class Receipts(BaseSubscriber):
    """Collects events of payments."""

    received: list[dict[str, Any]] = []  # noqa: RUF012 - of the class, as the registry makes it

    @classmethod
    def subscribes_to(cls) -> list[str]:
        """Return its patterns."""
        return ["payment.*"]

    def handle(self, event: dict[str, Any]) -> None:
        """Collect an event."""
        self.received.append(event)


def test_subscribers_receive_the_events_of_templates(client: TaskerClient) -> None:
    SubscriberRegistry.reset()
    poller = InProcessDomainEventPoller()
    poller.start()
    SubscriberRegistry.instance().register(Receipts)
    assert 1 == SubscriberRegistry.instance().start_all(poller)

    task = run(client, "order", {"items": [{"price": 4}]})
    end = time.monotonic() + 60
    while not (mine := [e for e in Receipts.received if of(e) == task.task_uuid]):
        assert time.monotonic() < end
        time.sleep(0.02)

    SubscriberRegistry.reset()
    poller.stop()
    assert [("payment.processed", {"charged": 4, "attempts": 1})] == [
        (event["event_name"], event["payload"]) for event in mine
    ]
    assert ("shop", "process_payment") == tuple(
        mine[0]["metadata"][key] for key in ("namespace", "step_name")
    )


def of(event: dict[str, Any]) -> Any:
    """Return the task of an event."""
    return event["metadata"]["task_uuid"]


def test_the_client_lists_and_cancels_tasks_and_reports_errors(client: TaskerClient) -> None:
    task = run(client, "order", {"items": [{"price": 1}]})
    page = client.list_tasks(limit=1, namespace="shop", status="complete")

    assert task.task_uuid == page.tasks[0].task_uuid
    assert (1, True) == (page.pagination.page, page.pagination.has_next)
    with pytest.raises(ValueError, match="Invalid UUID"):
        client.get_task("7")
    with pytest.raises(RuntimeError, match=r"create_task failed: .*no_such"):
        client.create_task("no_such", namespace="shop")
    with pytest.raises(RuntimeError, match="cancel_task failed"):
        client.cancel_task("01890a5d-ac96-774b-bcce-b302099a8057")


def test_the_worker_reports_its_health(worker: Worker) -> None:
    status, health = get_worker_status(), get_health_check()

    assert (True, ["data", "shop"]) == (status.running, status.supported_namespaces)
    assert ("healthy", True) == (health.status, health.is_running)
    assert 0 < get_metrics().steps_succeeded
    assert Worker.start() is worker


def test_a_worker_without_the_database_uses_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs in a separate process, because this one has a worker."""
    with served(f"sqlite:{tmp_path / 'tasker.db'}") as url:
        monkeypatch.setenv("ORCHESTRATION_URL", url)
        monkeypatch.setenv("TASKER_TEMPLATE_PATH", str(APP / "templates"))
        monkeypatch.delenv("DATABASE_URL", raising=False)
        ended = subprocess.run(
            [sys.executable, "-c", _SCRIPT], check=True, capture_output=True, text=True, timeout=300
        )

    assert "complete 4950" == ended.stdout.strip()


_SCRIPT = """
import time
from tasker_core import TaskerClient, Worker

with Worker.start(["tests.compat.app.handlers", "tasker_core.examples"]):
    client = TaskerClient()
    task = client.create_task("batch", namespace="data", context={"rows": 100})
    while task.status not in ("complete", "error"):
        time.sleep(0.05)
        task = client.get_task(task.task_uuid)
    steps = {step.name: step for step in client.list_task_steps(task.task_uuid)}
    print(task.status, (steps["sum_up"].results or {}).get("total"))
"""


@contextmanager
def served(store: str) -> Iterator[str]:
    """Run a server, and yield its URL."""
    with reserved_port() as port, serving(port, store) as url:
        yield url


@contextmanager
def serving(port: int, store: str) -> Iterator[str]:
    """Run a server at a port, and yield its URL."""
    command = [sys.executable, "-m", "tasker", "server", "--port", str(port), "--store", store]
    server = subprocess.Popen(command, env={"PATH": os.environ["PATH"]})
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while not answers(url):
            assert time.monotonic() < end
            time.sleep(0.05)
        yield url
    finally:
        server.terminate()
        server.wait(60)


def answers(url: str) -> bool:
    """Return whether a server answers."""
    try:
        return httpx.get(f"{url}/health/live").is_success
    except httpx.TransportError:
        return False
