"""Pauses and weights, by clients of every kind."""

from dataclasses import replace

import pytest
from tests.client.conftest import Scene

from tasker import InvalidInput, NotFound, PauseKind, PauseTarget, WrongStatus
from tasker.testing.store_suite.factories import ManualWorker, make_template, register_template

pytestmark = pytest.mark.anyio

TARGETS = {
    "template": PauseTarget.of_template("suite", "two"),
    "queue": PauseTarget.of_queue("suite", "a"),
    "namespace": PauseTarget.of_namespace("suite"),
}


@pytest.mark.parametrize("what", ["task", *TARGETS])
async def test_paused_steps_start_when_they_are_resumed(scene: Scene, what: str) -> None:
    """Pausing and resuming twice change nothing; the pause is shown meanwhile."""
    client = scene.client
    await register_template(scene.store, make_template("two", a="", b="a"))
    task = await client.create_task("suite.two")
    target = TARGETS.get(what, task.id)
    worker = await ManualWorker.register(scene.store)

    first = await client.pause(target, reason="gateway down")
    second = await client.pause(target, reason="again")
    held = await worker.claim()
    shown, listed = await client.get(task.id), await client.pauses("suite")
    step = (await client.steps(task.id))[0]
    (queue, _) = await client.queues("suite")
    resumed = [await client.resume(target) for _ in range(2)]

    assert (PauseKind(what), "gateway down") == (first.kind, first.reason)
    assert first == second == step.pause
    assert [first] == listed
    assert ((first,) if what != "queue" else ()) == shown.pauses
    assert (0, 1) == (queue.due, queue.paused)
    assert ([], [True, False]) == (held, resumed)
    assert 1 == len(await worker.claim())


async def test_pausing_an_unknown_or_ended_target_is_refused(scene: Scene) -> None:
    await register_template(scene.store, make_template("two", a="", b="a"))
    task = await scene.client.create_task("suite.two")
    await scene.client.cancel(task.id)

    with pytest.raises(WrongStatus):
        await scene.client.pause(task.id)
    with pytest.raises(NotFound):
        await scene.client.pause(PauseTarget.of_queue("suite", "unknown"))


async def test_the_weight_of_a_queue_can_be_set(scene: Scene) -> None:
    await register_template(scene.store, make_template("two", a="", b="a"))

    await scene.client.set_queue_weight("suite", "a", 2.5, reason="peak hour")

    weights = {queue.handler: queue.weight for queue in await scene.client.queues("suite")}
    assert {"a": 2.5, "b": 1.0} == weights
    with pytest.raises(NotFound):
        await scene.client.set_queue_weight("suite", "unknown", 2.5)


async def test_a_task_is_created_with_its_priority(scene: Scene) -> None:
    """The most urgent is claimed first; others keep the default."""
    await register_template(scene.store, make_template("two", a="", b="a"))
    low = await scene.client.create_task("suite.two", priority=0)
    normal = await scene.client.create_task("suite.two")
    urgent = await scene.client.create_task("suite.two", priority=4)
    worker = await ManualWorker.register(scene.store)

    claimed = [claim.task_id for _ in range(3) for claim in await worker.claim(1)]

    assert [urgent.id, normal.id, low.id] == claimed
    assert [4, 2, 0] == [task.priority for task in (urgent, normal, low)]
    assert [4, 2, 0] == [task.priority for task in await scene.client.tasks()]
    for priority in (-1, 5, True):
        with pytest.raises(InvalidInput):
            await scene.client.create_task("suite.two", priority=priority)


async def test_a_task_has_the_priority_of_its_parent_or_its_template(scene: Scene) -> None:
    """The request's own comes first, the template's last."""
    await register_template(scene.store, replace(make_template("two", a="", b="a"), priority=1))
    parent = await scene.client.create_task("suite.two", priority=4)

    tasks = [
        await scene.client.create_task("suite.two"),
        await scene.client.create_task("suite.two", parent_id=parent.id),
        await scene.client.create_task("suite.two", parent_id=parent.id, priority=0),
    ]

    assert [1, 4, 0] == [task.priority for task in tasks]
    assert [1, 4, 0] == [(await scene.client.get(task.id)).priority for task in tasks]
