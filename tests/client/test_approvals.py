"""Approvals, by clients of every kind."""

from typing import Any

import pytest
from tests.client.conftest import Scene

from tasker import InvalidInput, LocalClient, NotFound, TooLarge, WrongStatus
from tasker.approvals import Approval, ApprovalStatus, NotAnAssignee
from tasker.testing.store_suite.decisions import make_approval_wait
from tasker.testing.store_suite.factories import ManualWorker, one_step_template, register_template

pytestmark = pytest.mark.anyio


async def ask(scene: Scene, *assignees: str, **options: Any) -> Approval:
    """Let the step of a new task wait for an approval."""
    await register_template(scene.store, one_step_template())
    task = await scene.client.create_task("suite.one")
    claim = await (await ManualWorker.register(scene.store)).claim_one()
    assert await scene.store.park_for_arrival(claim, make_approval_wait(assignees, **options))
    (approval,) = await scene.client.approvals(task_id=task.id)
    return approval


async def test_an_approval_is_listed_and_decided(scene: Scene) -> None:
    approval = await ask(scene, "user:anonymous", timeout=3600.0)
    assert approval == await scene.client.approval(approval.id)

    decided = await scene.client.decide(
        approval.id, {"approved": False, "comment": "no"}, reason="too much"
    )

    assert (ApprovalStatus.DECIDED, "anonymous", {"approved": False, "comment": "no"}) == (
        decided.status,
        decided.decided_by,
        decided.decision,
    )
    assert [] == await scene.client.approvals()
    assert [decided] == await scene.client.approvals(status="decided", task_id=approval.task_id)
    assert ["too much"] == [
        entry.reason
        for entry in await scene.client.task_audit(approval.task_id)
        if entry.action == "decide"
    ]
    with pytest.raises(WrongStatus, match=r"cannot decide approval .*: it is decided, not open"):
        await scene.client.decide(approval.id, {"approved": True})


async def test_a_form_must_match_its_schema(scene: Scene) -> None:
    """The error names the parts, and the approval stays open."""
    approval = await ask(scene)

    for form, path in (
        ({}, "$"),
        ({"approved": "yes"}, "$.approved"),
        ({"approved": True, "comment": 5}, "$.comment"),
        ([], "$"),
        (None, "$"),
    ):
        with pytest.raises(InvalidInput) as refusal:
            await scene.client.decide(approval.id, form)
        assert refusal.value.path.endswith(path.removeprefix("$")), form
    with pytest.raises(TooLarge):
        await scene.client.decide(approval.id, {"approved": True, "comment": "x" * 70_000})

    assert ApprovalStatus.OPEN is (await scene.client.approval(approval.id)).status


async def test_an_inbox_has_pages(scene: Scene) -> None:
    ids = [(await ask(scene, "user:anonymous")).id for _ in range(3)]

    first = await scene.client.approvals(mine=True, namespace="suite", limit=2)
    rest = await scene.client.approvals(mine=True, after=first[-1].id)

    assert ids == [approval.id for approval in (*first, *rest)]
    assert [] == await scene.client.approvals(namespace="other")
    with pytest.raises(InvalidInput, match="status must be open or decided"):
        await scene.client.approvals(status="closed")
    with pytest.raises(NotFound, match="approval x not found"):
        await scene.client.approval("x")
    with pytest.raises(NotFound, match="approval x not found"):
        await scene.client.decide("x", {"approved": True})


async def test_a_local_client_decides_as_its_actor_with_the_given_groups(scene: Scene) -> None:
    """The program sets the groups."""
    approval = await ask(scene, "user:ana", "role:support")
    client = LocalClient(scene.store, actor="bob")

    assert [] == await client.approvals(mine=True)
    assert [approval] == await client.approvals(mine=True, groups=["support"])
    with pytest.raises(NotAnAssignee, match="bob may not decide this approval"):
        await client.decide(approval.id, {"approved": True}, groups=["sales"])
    decided = await client.decide(approval.id, {"approved": True}, groups=["support"])

    assert "bob" == decided.decided_by
