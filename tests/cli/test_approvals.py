"""`tasker approval`, from the command line."""

import asyncio
import json
from pathlib import Path

from tests.cli.conftest import Here

from tasker.store.open import open_store
from tasker.testing.store_suite.decisions import create_open_approval


def open_approval(url: str, *assignees: str) -> str:
    """Let a step wait for an approval, and return its id."""

    async def run() -> str:
        async with open_store(url, upgrade=True) as store:
            return (await create_open_approval(store, *assignees, timeout=3600.0))[1].id

    return asyncio.run(run())


def test_approvals_are_listed_shown_and_decided(tasker: Here, tmp_path: Path) -> None:
    store = ("--store", f"sqlite:{tmp_path}/t.db")
    mine = open_approval(store[1], "user:ana", "role:heads")
    other = open_approval(store[1], "user:bob")

    listed = json.loads(tasker("approval", "list", *store, "--json").out)["approvals"]
    own = tasker("approval", "list", "--mine", "--as", "eve", "--group", "heads", *store)
    shown = tasker("approval", "show", mine, *store)
    task_id = json.loads(tasker("approval", "show", mine, *store, "--json").out)["task_id"]
    shown_task = tasker("task", "show", task_id, *store)
    why = tasker("task", "why", task_id, *store)
    refused = tasker("approval", "decide", mine, '{"approved": true}', "--as", "eve", *store)
    invalid = tasker("approval", "decide", mine, '{"approved": 1}', "--as", "ana", *store)
    form = '{"approved": true, "comment": "fine"}'
    decided = tasker("approval", "decide", mine, form, "--as", "ana", "--reason", "seen", *store)
    again = tasker("approval", "decide", mine, form, "--as", "ana", *store)
    history = tasker("approval", "list", "--decided", *store)
    unknown = tasker("approval", "show", "x", *store)

    assert [mine, other] == [approval["id"] for approval in listed]
    assert mine in own.out
    assert other not in own.out
    assert "user:ana, role:heads" in shown.out
    advice = f"an approval by user:ana or role:heads (`tasker approval decide {mine} JSON`)"
    assert advice in " ".join(shown_task.out.split())
    assert advice in " ".join(why.out.split())
    assert "eve may not decide this approval" in refused.err
    assert "$.approved" in invalid.err
    assert decided.out.startswith("decided: step only of task ")
    assert "it is decided, not open" in again.err
    assert mine in history.out
    assert "ana" in history.out
    assert "approval x not found" in unknown.err
    assert [0, 0, 0] == [run.code for run in (own, shown, decided)]
    assert 0 not in {run.code for run in (refused, invalid, again, unknown)}
