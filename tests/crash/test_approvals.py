"""Workers are killed while a person decides: the decision is kept, and used once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import eventually

from tasker import open_store
from tasker.client import LocalClient
from tasker.model import StepStatus, TaskStatus

pytestmark = pytest.mark.anyio

TEMPLATE = """
name: refund
namespace_name: payments
version: 1.0.0
steps:
  - name: approve
    approval: {assignees: ["user:ana"], timeout: 1h}
  - name: pay
    handler: pay
    dependencies: [approve]
"""
HANDLERS = """
from pathlib import Path

from tasker import handler


@handler
def pay(approve: dict) -> str:
    with Path(__file__).with_name("paid").open("a") as file:
        file.write("paid\\n")
    return approve["decided_by"]
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'crash.db'}"
    return str(request.getfixturevalue("postgres_schema_url"))


def start(url: str, folder: Path) -> "subprocess.Popen[bytes]":
    arguments = ("--handlers", "pay.py", "--templates", "refund.yaml", "--store", url)
    command = [sys.executable, "-m", "tasker", "worker", *arguments, "--lease", "1s"]
    env = {name: value for name, value in os.environ.items() if name != "TASKER_SEED"}
    return subprocess.Popen(command, cwd=folder, env=env)


async def test_a_decision_survives_killed_workers(url: str, tmp_path: Path) -> None:
    """The decision may arrive while no worker is alive."""
    (tmp_path / "refund.yaml").write_text(TEMPLATE)
    (tmp_path / "pay.py").write_text(HANDLERS)
    async with open_store(url, upgrade=True) as store:
        worker = start(url, tmp_path)
        client = LocalClient(store, actor="ana")

        async def registered() -> bool:
            return bool(await store.list_approved_versions("payments", "refund"))

        await eventually(registered)
        task = await client.create_task("payments.refund", {})

        async def is_open() -> bool:
            return bool(await store.list_open_approvals(task_id=task.id))

        await eventually(is_open)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        (approval,) = await store.list_open_approvals(task_id=task.id)
        await client.decide(approval.id, {"approved": True})
        for _ in range(3):
            killed = start(url, tmp_path)
            killed.send_signal(signal.SIGKILL)
            killed.wait()
        last = start(url, tmp_path)
        try:
            ended = await client.wait(task.id, timeout=60)
        finally:
            last.terminate()
            last.wait()
        steps = await store.list_steps(task.id)

    assert (TaskStatus.COMPLETE, "ana") == (ended.status, ended.result)
    assert {StepStatus.COMPLETE} == {step.status for step in steps}
    assert "paid\n" == (tmp_path / "paid").read_text()
