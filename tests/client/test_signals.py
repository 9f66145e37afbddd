"""Signals and broadcasts, by clients of every kind."""

from datetime import timedelta

import pytest
from tests.client.conftest import Scene

from tasker import InvalidInput, NotFound, TooLarge, WrongStatus
from tasker.model import TaskId
from tasker.testing.store_suite.factories import (
    UNKNOWN_TASK,
    ManualWorker,
    one_step_template,
    register_template,
)
from tasker.testing.store_suite.signals import (
    make_arrival_wait,
    make_awaited_broadcast,
    read_arrivals,
)
from tasker.waits import AwaitedArrival, TooManySignals

pytestmark = pytest.mark.anyio


async def wait(scene: Scene, *awaited: AwaitedArrival | str) -> TaskId:
    """Let the step of a new task wait."""
    await register_template(scene.store, one_step_template())
    task = await scene.client.create_task("suite.one")
    claim = await (await ManualWorker.register(scene.store)).claim_one()
    await scene.store.park_for_arrival(claim, make_arrival_wait(*awaited))
    return task.id


async def test_a_signal_reaches_the_step_that_waits(scene: Scene) -> None:
    task_id = await wait(scene, "paid")

    sent = await scene.client.signal(task_id, "paid", {"cents": 5}, reason="by phone")
    kept = await scene.client.signal(task_id, "paid", {"cents": 6})

    assert (task_id, "paid", None, True, "only") == (
        sent.task_id,
        sent.name,
        sent.id,
        sent.created,
        sent.step,
    )
    assert kept.step is None
    claim = await (await ManualWorker.register(scene.store)).claim_one()
    arrival = (await read_arrivals(scene.store, claim))["wait"]
    assert ({"cents": 5}, "anonymous") == (arrival.payload, arrival.sent_by)
    assert ["by phone", "paid"] == [
        entry.reason for entry in await scene.client.task_audit(task_id) if entry.action == "signal"
    ]


async def test_two_signals_with_the_same_id_are_one_signal(scene: Scene) -> None:
    task_id = await wait(scene, "other")

    sent = [await scene.client.signal(task_id, "paid", 1, id="e-1") for _ in range(2)]

    assert [("e-1", True), ("e-1", False)] == [(each.id, each.created) for each in sent]


async def test_a_broadcast_reaches_all_steps_that_wait(scene: Scene) -> None:
    for _ in range(2):
        await wait(scene, make_awaited_broadcast("rate", "eur"))

    sent = await scene.client.broadcast("rate", "eur", 1.1, id="e-1", namespace="suite")
    again = await scene.client.broadcast("rate", "eur", 1.1, id="e-1", namespace="suite")
    elsewhere = await scene.client.broadcast("rate", "eur", 1.1)

    assert (True, 2, "suite") == (sent.created, sent.steps, sent.namespace)
    assert (False, 0) == (again.created, again.steps)
    assert (True, 0, "default") == (elsewhere.created, elsewhere.steps, elsewhere.namespace)


async def test_invalid_signals_are_refused(scene: Scene) -> None:
    task_id = await wait(scene, "paid")
    client = scene.client

    with pytest.raises(InvalidInput, match="name must be a non-empty string"):
        await client.signal(task_id, "")
    with pytest.raises(TooLarge, match="the name is 201 bytes; the limit is 200"):
        await client.signal(task_id, "x" * 201)
    with pytest.raises(TooLarge, match="the payload is 70,002 bytes; the limit is 65,536"):
        await client.signal(task_id, "paid", "x" * 70_000)
    with pytest.raises(InvalidInput, match="the payload is not valid JSON at"):
        await client.broadcast("rate", "eur", {1, object()})
    with pytest.raises(NotFound, match=f"task {UNKNOWN_TASK} not found"):
        await client.signal(UNKNOWN_TASK, "paid")
    await client.cancel(task_id)
    with pytest.raises(WrongStatus, match="it is cancelled, not in_progress or pending"):
        await client.signal(task_id, "paid")


async def test_signals_beyond_the_limit_are_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasker.store.operations.waits.UNTAKEN_SIGNALS", 1)
    task_id = await wait(scene, "other")
    await scene.client.signal(task_id, "paid")

    with pytest.raises(TooManySignals, match="signals that no step has received"):
        await scene.client.signal(task_id, "paid")


async def test_a_step_shows_what_it_waits_for(scene: Scene) -> None:
    """It also shows the timeout."""
    await register_template(scene.store, one_step_template())
    task = await scene.client.create_task("suite.one")
    claim = await (await ManualWorker.register(scene.store)).claim_one()
    wait = make_arrival_wait("cancelled", make_awaited_broadcast("paid", "o-1"), timeout=3600.0)
    await scene.store.park_for_arrival(claim, wait)

    [step] = await scene.client.steps(task.id)

    assert {("signal", "cancelled", None), ("broadcast", "paid", "o-1")} == {
        (each.kind.value, each.name, each.key) for each in step.waits
    }
    assert step.waits_until is not None
    assert step.settled_at is not None
    assert timedelta(minutes=59) < step.waits_until - step.settled_at < timedelta(minutes=61)
