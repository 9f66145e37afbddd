"""Steps that wait for the decision of a person, without a handler."""

from datetime import timedelta
from typing import Any

import pytest

from tasker import StepStatus, TaskStatus, Template, Workflow, parse_template
from tasker.testing import WorkflowRun, run_workflow

pytestmark = pytest.mark.anyio

REFUND = """
name: refund
namespace_name: payments
version: 1.0.0
steps:
  - name: prepare
  - name: approve
    dependencies: [prepare]
    approval:
      form:
        type: object
        required: [amount]
        properties: {amount: {type: integer}, note: {type: string}}
      assignees: ["user:{input.manager}", "role:{results.prepare.team}"]
      timeout: 3d
      escalate: {after: 1d, to: ["role:heads"]}
      reject_when: form.amount == 0 or form.amount > input.amount
  - name: pay
    dependencies: [approve]
"""


async def run(*decisions: Any, template: Template | None = None) -> WorkflowRun[Any]:
    return await run_workflow(
        template or parse_template(REFUND),
        {"manager": "ana", "amount": 100},
        stubs={"prepare": {"team": "support"}, "pay": lambda approve: approve["form"]["amount"]},
        decisions=decisions,
    )


async def test_a_decision_is_the_result_of_the_step() -> None:
    result = await run({"amount": 70, "note": "a part"})

    assert 70 == result.result
    decided = result.results["approve"]
    assert isinstance(decided, dict)
    assert ({"amount": 70, "note": "a part"}, "test") == (decided["form"], decided["decided_by"])
    assert {"form", "decided_by", "decided_at"} == set(decided)


@pytest.mark.parametrize("amount", [0, 101])
async def test_a_rejection_fails_the_step(amount: int) -> None:
    result = await run({"amount": amount})

    assert TaskStatus.ERROR is result.task.status
    assert result.task.failure is not None
    assert ("approve", "rejected", "rejected by test") == (
        result.task.failure.step,
        result.task.failure.code,
        result.task.failure.message,
    )
    error = result.steps["approve"].error
    assert error is not None
    assert {"form": {"amount": amount}, "decided_by": "test"} == error["details"]


@pytest.mark.parametrize(
    ("action", "approve", "pay"),
    [
        ("fail", StepStatus.ERROR, StepStatus.PENDING),
        ("skip", StepStatus.SKIPPED, StepStatus.SKIPPED),
        ("continue", StepStatus.COMPLETE, StepStatus.COMPLETE),
    ],
)
async def test_a_timeout_fails_skips_or_continues_the_step(
    action: str, approve: StepStatus, pay: StepStatus
) -> None:
    text = REFUND.replace("timeout: 3d", f"timeout: 3d\n      on_timeout: {action}")
    result = await run_workflow(
        parse_template(text),
        {"manager": "ana", "amount": 100},
        stubs={"prepare": {"team": "support"}, "pay": lambda approve: approve},
    )

    assert timedelta(days=3) <= result.slept < timedelta(days=3, minutes=1)
    statuses = {name: step.status for name, step in result.steps.items()}
    assert approve is statuses["approve"]
    assert pay is statuses["pay"] or StepStatus.CANCELLED is statuses["pay"]


async def test_the_default_form_asks_for_approval() -> None:
    flow = Workflow("shop.ask", version="1.0.0")
    flow.approval("ask", "role:heads", timeout="2d", escalate_after="1d", escalate_to=["user:ana"])

    accepted = await run_workflow(flow, decisions=[{"approved": True}])
    rejected = await run_workflow(flow, decisions=[{"approved": False, "comment": "no"}])

    assert {"approved": True} == accepted.result["form"]
    assert rejected.task.failure is not None
    assert "rejected" == rejected.task.failure.code


async def test_assignees_without_a_value_fail_the_step() -> None:
    result = await run_workflow(parse_template(REFUND), {}, stubs={"prepare": {}, "pay": 1})

    assert result.task.failure is not None
    assert ("approve", "invalid_expression") == (
        result.task.failure.step,
        result.task.failure.code,
    )
