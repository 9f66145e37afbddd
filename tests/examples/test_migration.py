"""The five workflows of the migration example, with both kinds of handlers."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from examples.migration import native

from tasker import load_templates
from tasker.testing import run_workflow_sync

TEMPLATES = Path(native.__file__).with_name("templates")
CASES = [
    ("shop.order", {"items": [{"cents": 5}, {"cents": 7}]}, "complete", "2 items for 12"),
    ("shop.order", {"items": []}, "error", "EMPTY_CART"),
    ("accounts.registration", {"email": "ada@example.org"}, "complete", "ada"),
    ("accounts.registration", {"email": "ada"}, "error", "NO_ADDRESS"),
    ("customer_success.refund", {"cents": 500}, "complete", "rule"),
    ("customer_success.refund", {"cents": 50_000}, "complete", "manager"),
    ("payments.payout", {"payee": "ada", "cents": 9}, "complete", 9),
    ("payments.payout", {"payee": "unknown", "cents": 9}, "error", "UNKNOWN_PAYEE"),
    ("analytics.report", {"rows": 10}, "complete", 45),
]


@pytest.mark.parametrize(("name", "context", "status", "expected"), CASES)
def test_native_handlers_run_the_templates(
    name: str, context: dict[str, Any], status: str, expected: Any
) -> None:
    template = next(
        each for each in load_templates([TEMPLATES]) if f"{each.namespace}.{each.name}" == name
    )

    run = run_workflow_sync(template, context, handlers=native)

    assert status == run.task.status
    if run.task.failure is not None:
        assert expected == run.task.failure.code
    else:
        assert [expected] == list(run.task.result.values())


def test_the_application_runs_them_with_the_earlier_handlers(
    tmp_path: Path, free_port: int
) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "examples.migration.app:app", "--port", str(free_port)],
        cwd=Path(native.__file__).parents[2],
        env={"DATABASE_URL": f"sqlite:{tmp_path}/tasker.db", "PATH": "", "PYTHONPATH": "compat"},
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{free_port}", timeout=60) as http:
            wait_for(lambda: answers(http))
            tasks = [
                http.post(f"/{name.replace('.', '/')}", json=context).json()["task_uuid"]
                for name, context, *_ in CASES
            ]
            for task, (name, context, status, _) in zip(tasks, CASES, strict=True):
                ended = wait_for(lambda task=task: of_ended(http.get(f"/tasks/{task}").json()))
                assert (name, context, status) == (
                    f"{ended['namespace']}.{ended['name']}",
                    ended["context"],
                    ended["status"],
                )
            refused = http.post("/shop/absent", json={})
            assert (422, True) == (refused.status_code, "absent" in refused.json()["detail"])
    finally:
        server.terminate()
        assert server.wait(60) in (0, -signal.SIGTERM)


def answers(http: httpx.Client) -> bool:
    """Return whether the server answers."""
    try:
        return http.get("/openapi.json").is_success
    except httpx.TransportError:
        return False


def of_ended(task: dict[str, Any]) -> dict[str, Any] | None:
    """Return a task if it has ended."""
    return task if task["status"] in ("complete", "error") else None


def wait_for(condition: Any) -> Any:
    """Return the first value that is true, of a function called until then."""
    end = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value
