"""The server for assistants."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.types import TextContent
from tests.waiting import eventually

from tasker import LocalClient, PermanentError, TaskFailed, Worker, open_store, parse_template
from tasker.mcp import make_server
from tasker.mcp.tokens import ActionTokens
from tasker.model import TaskStatus

TEMPLATE = parse_template("""
name: refund
namespace: payments
version: 1.2.0
description: Refunds an order
input_schema: {type: object, required: [order]}
steps:
  - name: check
  - name: ask
    dependencies: [check]
    approval: {}
  - name: pay
    dependencies: [ask]
""")


def check(order: str) -> str:
    """Refuse one order."""
    if order == "o-2":
        raise PermanentError("no such order", code="NO_ORDER")
    return order


def pay(check: str) -> str:
    """Pay."""
    return f"paid {check}"


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    """A worker with the template."""
    async with (
        open_store("sqlite::memory:") as store,
        Worker(store, [check, pay], templates=[TEMPLATE]) as worker,
    ):
        yield worker


async def call(assistant: Client, tool: str, **arguments: Any) -> Any:
    """Return the answer of a tool, or the text of its error."""
    result = await assistant.call_tool(tool, arguments)
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text if result.is_error else json.loads(content.text)


async def approvals(assistant: Client) -> Any:
    """Return the open approvals."""
    return (await call(assistant, "list_approvals"))["approvals"]


@pytest.mark.anyio
async def test_an_assistant_finds_the_cause_of_a_failure_and_retries_the_step(
    worker: Worker,
) -> None:
    task = await worker.client.create_task("payments.refund", {"order": "o-2"})
    with pytest.raises(TaskFailed):
        await worker.client.wait(task.id)

    async with Client(make_server(worker.client)) as assistant:
        failures = await call(assistant, "list_failures", namespace="payments")
        reasons = await call(assistant, "why", task_id=task.id)
        preview = await call(
            assistant,
            "preview_action",
            action="complete_step",
            task_id=task.id,
            step="check",
            result="o-3",
            reason="the customer gave another number",
        )
        done = await call(assistant, "act", token=preview["token"])
        again = await call(assistant, "act", token=preview["token"])

    assert ["NO_ORDER"] == [each["failure"]["code"] for each in failures["failures"]]
    assert "failed" == reasons["reasons"][0]["code"]
    assert preview["effects"]
    assert "complete_step" == done["action"]
    assert "the token is unknown, was already used, or is older than ten minutes" in again
    [entry] = await worker.client.task_audit(task.id)
    assert "the customer gave another number" == entry.reason


@pytest.mark.anyio
async def test_an_assistant_creates_a_task_and_decides_its_approval(worker: Worker) -> None:
    async with Client(make_server(worker.client)) as assistant:
        shown = await call(assistant, "show_template", name="payments.refund")
        preview = await call(
            assistant, "preview_task", template="payments.refund", context={"order": "o-1"}
        )
        created = await call(assistant, "act", token=preview["token"])
        waiting = await eventually(lambda: approvals(assistant))
        decision = await call(
            assistant, "preview_decision", approval_id=waiting[0]["id"], form={"approved": True}
        )
        await call(assistant, "act", token=decision["token"])
        ended = await worker.client.wait(created["now"]["id"])
        listed = await call(assistant, "search_tasks", template="refund", status="complete")
        detail = await call(assistant, "show_task", task_id=ended.id)

    assert (["check", "ask", "pay"], ["order"]) == (
        [step["name"] for step in shown["steps"]],
        shown["input_schema"]["required"],
    )
    assert TaskStatus.COMPLETE is ended.status
    assert [ended.id] == [each["id"] for each in listed["tasks"]]
    assert ("paid o-1", 3) == (detail["result"], len(detail["steps"]))


@pytest.mark.anyio
async def test_nothing_happens_without_a_valid_token_or_after_a_change(worker: Worker) -> None:
    task = await worker.client.create_task("payments.refund", {"order": "o-1"})
    async with Client(make_server(worker.client)) as assistant:
        await eventually(lambda: approvals(assistant))

    async with Client(make_server(worker.client)) as assistant:
        guessed = await call(assistant, "act", token="guessed")
        stale = await call(assistant, "preview_action", action="cancel", task_id=task.id)
        await worker.client.pause(task.id, reason="changed meanwhile")
        refused = await call(assistant, "act", token=stale["token"])
        impossible = await call(assistant, "preview_action", action="retry", task_id=task.id)
        unknown = await call(assistant, "preview_action", action="explode", task_id=task.id)
        step = await call(
            assistant, "preview_action", action="cancel", task_id=task.id, step="check"
        )

    assert "the token is unknown" in guessed
    assert "task_changed" in refused
    assert "token" not in impossible
    assert "'explode' is not an action; allowed: cancel, retry, resolve" in unknown
    assert "cancel acts on the whole task: omit the argument 'step'" in step
    assert TaskStatus.IN_PROGRESS is (await worker.client.get(task.id)).status


@pytest.mark.anyio
async def test_errors_have_a_code_and_the_allowed_values(worker: Worker) -> None:
    async with Client(make_server(worker.client)) as assistant:
        missing = await call(assistant, "show_task", task_id="01890a5d-ac96-774b-bcce-b302099a8057")
        status = await call(assistant, "search_tasks", status="broken")
        template = await call(assistant, "preview_task", template="payments.refunds")

    assert "not_found" in missing
    assert "'broken' is not a status; allowed: pending" in status
    assert "refunds" in template


def test_a_token_is_valid_for_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, now = ActionTokens(), 1000.0
    monkeypatch.setattr("tasker.mcp.tokens.time.monotonic", lambda: now)
    early, late = tokens.issue("cancel", {}), tokens.issue("cancel", {})

    now += 599
    assert "cancel" == tokens.redeem(early).action
    now += 2
    with pytest.raises(Exception, match="older than ten minutes"):
        tokens.redeem(late)


@pytest.mark.anyio
async def test_the_command_serves_on_stdin_and_stdout(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'tasker.db'}"
    async with open_store(url) as store:
        await LocalClient(store).register(TEMPLATE)
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "tasker", "mcp", "--store", url]
    )

    async with Client(server) as assistant:
        templates = await call(assistant, "list_templates")

    assert [{"name": "payments.refund@1.2.0", "description": "Refunds an order"}] == templates[
        "templates"
    ]
