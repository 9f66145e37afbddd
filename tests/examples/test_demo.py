"""The demo in a separate process, on both stores, more than once."""

import asyncio
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from examples.growthcorp import __main__ as demo
from examples.growthcorp import handlers, story
from tests.examples.company import ROOT, TEMPLATES, company_templates

from tasker import Handlers, LocalClient, TaskStatus, open_store
from tasker.cli.commands.demo import find_example_folder
from tasker.handlers import find_template_problems
from tasker.handlers.check import find_unused_handlers
from tasker.model import AttemptOutcome, TaskFilter

pytestmark = pytest.mark.anyio

TASKER = Path(sys.executable).with_name("tasker")
ESCAPE = "\x1b"
NAMESPACES = {"payments", "customer_success", "inventory", "microservices", "sales"}

Run = subprocess.CompletedProcess[str]


def run_tasker(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> Run:
    """Run the command line without a terminal."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TASKER_")}
    return subprocess.run(
        [TASKER, *arguments],
        cwd=cwd,
        env={**clean, "PYTHONWARNINGS": "error", "PYTHONUTF8": "1", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


async def test_the_demo_can_be_repeated_on_both_stores(
    tmp_path: Path, postgres_schema_url: str
) -> None:
    """A second run on the same store has the same results."""
    here, elsewhere = tmp_path / "sqlite", tmp_path / "postgres"
    for folder in (here, elsewhere):
        folder.mkdir()

    def twice(folder: Path, *arguments: str) -> list[Run]:
        return [run_tasker("demo", *arguments, cwd=folder) for _ in range(2)]

    runs, documents = await asyncio.gather(
        asyncio.to_thread(twice, here),
        asyncio.to_thread(twice, elsewhere, "--json", "--store", postgres_schema_url),
    )

    for run in runs:
        _check_what_people_read(run)
    for run in documents:
        _check_what_programs_read(run)
    for url in (f"sqlite:{here}/.tasker/demo.db", postgres_schema_url):
        async with open_store(url) as store:
            client = LocalClient(store)
            tasks = await client.tasks(TaskFilter(), limit=100)
            (killed,) = await client.tasks(TaskFilter(name="process_return"), limit=1)
            outcomes = {entry.outcome for entry in await client.attempts(killed.id)}
            (retried,) = await client.tasks(TaskFilter(name="user_registration"), limit=1)
            (act,) = {entry.action: entry for entry in await client.task_audit(retried.id)}.values()
        assert 24 == len(tasks)
        assert 2 == sum(task.status is TaskStatus.ERROR for task in tasks)
        assert NAMESPACES == {task.template.namespace for task in tasks}
        assert {AttemptOutcome.COMPLETE, AttemptOutcome.LOST} == outcomes
        assert ("retry", "operator", "billing is back") == (act.action, act.actor, act.reason)


def _check_what_people_read(run: Run) -> None:
    """Without a terminal: lines, no colours, and nothing on stderr."""
    assert (0, "") == (run.returncode, run.stderr)
    assert ESCAPE not in run.stdout
    for text in (
        "1/6  Two versions of payments.process_refund, side by side",
        "process_gateway_refund failed after",
        "Payment method 'gift_card' does not support automated refunds",
        "execute_refund_workflow waits for task",
        "refunds 3 (asked 4 times)",
        "All as expected",
        "goods receipts 1 (asked 2 times)",
        "▶ kill -9 ",
        "--as operator --reason 'billing is back'",
        "--as kim --group sales-leads",
        "the payment provider reports the payment",
        "reservations 3 (asked 4 times)",
        "export TASKER_STORE=sqlite:.tasker/demo.db",
    ):
        assert text in run.stdout


def _check_what_programs_read(run: Run) -> None:
    """One document on stdout, progress on stderr."""
    assert 0 == run.returncode, run.stderr
    document = json.loads(run.stdout)
    assert document["ok"]
    assert story.EFFECTS == document["effects"]
    assert 4 == document["asked"]["refunds"]
    by_label = {task["label"]: task for task in document["tasks"]}
    parent, child = by_label["customer refund"], by_label["delegated by it"]
    assert parent["id"] == child["parent_id"]
    assert parent["correlation_id"] == child["correlation_id"]
    assert parent["correlation_id"].startswith("cs-")
    assert 2 == document["asked"]["goods receipts"]
    parcels = [task for task in document["tasks"] if task["parent_id"] == by_label["order"]["id"]]
    assert ["Parcel DESK-1", "Parcel LAMP-2", "Parcel CHAIR-3"] == [
        task["label"] for task in parcels
    ]
    assert "complete" == by_label["no billing"]["status"]
    assert ("error", 1) == (by_label["gift card"]["status"], by_label["gift card"]["attempts"])


def test_an_interrupted_demo_ends_without_a_traceback(tmp_path: Path) -> None:
    """
    Ctrl-C in the middle of a scene: exit code 130, no stack trace, and no process left.
    """
    with subprocess.Popen(
        [TASKER, "demo"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"},
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        next(line for line in process.stdout if "started" in line)
        process.send_signal(signal.SIGINT)
        code, errors = process.wait(timeout=60), process.stderr.read()

    assert (130, "") == (code, errors)
    assert [] == _processes_in(tmp_path)


def _processes_in(folder: Path) -> list[int]:
    """List the processes whose current directory is `folder`."""
    processes = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # it has ended, or is not ours to look at
            if link.resolve() == folder:
                processes.append(int(link.parent.name))
    return processes


def test_the_worker_of_a_killed_demo_ends(tmp_path: Path) -> None:
    """No process of the demo outlives it."""
    with subprocess.Popen(
        [TASKER, "demo"], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "started" in line)
        assert 2 == len(_processes_in(tmp_path))
        process.kill()
    deadline = time.monotonic() + 60
    while _processes_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert [] == _processes_in(tmp_path)


def test_a_store_in_memory_is_refused(tmp_path: Path) -> None:
    """
    Two processes work in the demo, and cannot share it.
    """
    run = run_tasker("demo", "--store", "sqlite::memory:", cwd=tmp_path)

    assert 2 == run.returncode
    assert "cannot be in memory" in run.stderr


def test_the_picture_matches_the_output_of_the_demo() -> None:
    """
    `make picture` draws it again.
    """
    svg = (ROOT / "docs" / "images" / "demo.svg").read_text("utf-8")
    text = html.unescape(re.sub(r"<[^>]*>", "", svg)).replace("\xa0", " ")

    for scene in story.SCENES:
        assert scene.title in text
        assert {given.label for given in scene.submissions if given.label not in text} == set()
    assert "All as expected" in text


async def test_tasks_of_an_interrupted_demo_are_cancelled(tmp_path: Path) -> None:
    """Its open tasks and their child tasks are cancelled; other tasks stay."""
    async with open_store(f"sqlite:{tmp_path}/demo.db") as store:
        client = LocalClient(store)
        await client.register(next(iter(company_templates())))
        context: dict[str, Any] = {
            "ticket_id": "TICKET-1",
            "customer_id": "cust_1",
            "refund_amount": 1,
        }
        name = "customer_success.process_refund"
        left = await client.create_task(name, context, tags=(demo.TAG,))
        child = await client.create_task(name, context, parent_id=left.id)
        other = await client.create_task(name, context)

        await demo.clear_stage(client)

        states = [(await client.get(task.id)).status.value for task in (left, child, other)]
        (entry,) = await client.task_audit(left.id)
    assert ["cancelled", "cancelled", "pending"] == states
    assert "the demo was interrupted" == entry.reason


def test_the_demo_ignores_the_store_of_the_environment(tmp_path: Path) -> None:
    """The demo ignores TASKER_STORE, since it replaces templates and creates tasks."""
    run = run_tasker(
        "demo", "--help", cwd=tmp_path, env={"TASKER_STORE": "sqlite:precious.db", "COLUMNS": "200"}
    )

    assert 0 == run.returncode
    assert "sqlite:.tasker/demo.db" in run.stdout
    assert "precious" not in run.stdout


def test_an_unreachable_store_is_reported_in_one_line(tmp_path: Path) -> None:
    """
    No stack trace, exit code 3, and no password.
    """
    run = run_tasker(
        "demo", "--store", "postgresql://tasker:secret@127.0.0.1:9/nowhere", cwd=tmp_path
    )

    assert 3 == run.returncode
    assert "Traceback" not in run.stderr
    assert "secret" not in run.stdout + run.stderr
    assert run.stderr.startswith("error: ")


@pytest.mark.parametrize("namespace", ["payments", "microservices"])
def test_one_task_of_the_example_can_be_run_alone(tmp_path: Path, namespace: str) -> None:
    """
    `tasker run` needs a template, the handlers, and a context; services start on first use.
    """
    name, context = {
        "payments": (
            "payments_process_refund_2.0.0.yaml",
            {"payment_id": "pay_123", "refund_amount": 4999},
        ),
        "microservices": (
            "microservices_user_registration_1.0.0.yaml",
            {"user_info": {"email": "new.user@example.com", "name": "New User", "plan": "pro"}},
        ),
    }[namespace]

    run = run_tasker(
        "run",
        str(TEMPLATES / name),
        "--handlers",
        str(ROOT / "examples" / "growthcorp" / "handlers.py"),
        "--context",
        json.dumps(context),
        "--environment",
        "demo",
        "--json",
        cwd=tmp_path,
        env={"GROWTHCORP_GATEWAYS": ""},
    )

    assert 0 == run.returncode, run.stderr
    assert "complete" == json.loads(run.stdout)["status"]


# -------------------------------------------------------------------------- the example


def test_templates_and_handlers_of_the_example_match() -> None:
    """
    Every callable resolves, every parameter has a source, types and schemas agree.
    """
    handlers_of_file = Handlers.collect(handlers)

    assert [] == [
        problem
        for template in company_templates()
        for problem in find_template_problems(template, handlers_of_file)
    ]


def test_every_handler_is_used() -> None:
    """The templates of the example or of the founding documents use it."""
    from tasker import load_templates

    printed = [
        path
        for path in (ROOT / "tests" / "seeds").glob("*.yaml")
        if "collision" not in path.name and "fragment" not in path.name
    ]
    templates = [*company_templates(), *load_templates(printed)]

    assert [] == find_unused_handlers(templates, Handlers.collect(handlers))


def test_the_retries_of_the_demo_have_short_delays() -> None:
    """
    The templates are realistic; the environment `demo` makes their backoff short.
    """
    for template in company_templates():
        delays = [
            (
                template.step(spec.name).retry.max_delay.total_seconds(),
                spec.retry.max_delay.total_seconds(),
            )
            for spec in template.for_environment("demo").steps
        ]
        assert all(realistic >= 20 and short <= 1 for realistic, short in delays)


def test_the_example_is_found_in_the_repository() -> None:
    """
    Where Tasker runs from its sources, the example stands beside them.
    """
    assert ROOT / "examples" / "growthcorp" == find_example_folder()


def test_an_installed_tasker_includes_the_example(tmp_path: Path) -> None:
    """
    The wheel holds it, and there `tasker demo` finds it.
    """
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)

    script = (
        "from tasker import Handlers\n"
        "from tasker.cli.commands.demo import find_example_folder\n"
        "folder = find_example_folder()\n"
        "print(folder, len(Handlers.collect(folder / 'handlers.py')))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    )

    folder = installed / "tasker" / "examples" / "growthcorp"
    assert f"{folder} {len(Handlers.collect(handlers))}" == asked.stdout.strip()
    assert {path.name for path in TEMPLATES.iterdir()} == {
        path.name for path in (folder / "templates").iterdir()
    }


@pytest.mark.parametrize(
    ("path", "called", "command"),
    [
        ("/usr/bin/tasker", ".venv/bin/tasker", "tasker"),
        (None, ".venv/bin/tasker", ".venv/bin/tasker"),
        (None, "my programs/tasker", "'my programs/tasker'"),
        (None, "pytest", "tasker"),
    ],
)
def test_the_commands_that_the_demo_suggests_can_be_pasted(
    monkeypatch: pytest.MonkeyPatch, path: str | None, called: str, command: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: path)
    monkeypatch.setattr(sys, "argv", [called])

    assert command == demo.program()
