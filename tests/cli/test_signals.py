"""`tasker task signal`, `tasker broadcast`, and what is shown of a step that waits."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.cli.conftest import Here

from tasker import Step, StepStatus
from tasker.cli.render.task import describe_step_wait
from tasker.model import StepWait, TaskId, WaitKind
from tasker.store.open import open_store
from tasker.testing.store_suite.factories import (
    ManualWorker,
    one_step_template,
    register_and_create_task,
)
from tasker.testing.store_suite.signals import make_arrival_wait

NOW = datetime(2030, 1, 1, tzinfo=UTC)
WAITING = Step(
    task_id=TaskId("t"),
    no=1,
    name="payment",
    status=StepStatus.WAITING,
    attempts=1,
    pending_parents=0,
    run_at=NOW,
    claimed_at=NOW,
    settled_at=NOW,
    worker=None,
    error=None,
    result=None,
    checkpoint=None,
)


def test_a_signal_is_sent_once(tasker: Here) -> None:
    task = tasker("task", "create", "sell.yaml", "-c", '{"sku": "mug"}').out.strip()

    sent = [
        tasker("task", "signal", task, "paid", '{"cents": 5}', "--id", "e-1", "--as", "ann")
        for _ in range(2)
    ]
    document = tasker("task", "signal", task, "paid", "--json").document

    assert "sent; no step waits for it yet\n" == sent[0].out
    assert "a signal with this id was already sent\n" == sent[1].out
    assert (True, None) == (document["created"], document["step"])
    assert "ann" in tasker("task", "show", task).out


def test_a_signal_that_no_step_receives_names_what_the_steps_wait_for(tasker: Here) -> None:
    """A misspelt name would otherwise wait unnoticed."""

    async def park(url: str) -> TaskId:
        async with open_store(url, upgrade=True) as store:
            task_id = await register_and_create_task(store, one_step_template())
            (claim,) = await (await ManualWorker.register(store)).claim()
            assert await store.park_for_arrival(claim, make_arrival_wait("paid"))
            return task_id

    store = ("--store", "sqlite:parked.db")
    task_id = asyncio.run(park(store[1]))
    misspelt = tasker("task", "signal", task_id, "payed", *store)
    received = tasker("task", "signal", task_id, "paid", *store)

    expected = "sent; no step waits for it yet; only waits for the signal paid\n"
    assert expected == misspelt.out
    assert "sent; step only received it\n" == received.out


def test_a_signal_to_an_ended_task_is_refused(tasker: Here) -> None:
    task = tasker.task()["id"]

    refused = tasker("task", "signal", task, "paid")

    assert 5 == refused.code
    assert "it is complete, not in_progress or pending" in refused.err


def test_a_broadcast_is_sent_once(tasker: Here) -> None:
    assert 0 == tasker("template", "register", "sell.yaml").code

    sent = [
        tasker("broadcast", "rate", "eur", "1.1", "--id", "e-1", "-n", "shop") for _ in range(2)
    ]

    assert "sent to namespace shop; 0 steps received it\n" == sent[0].out
    assert "a broadcast with this id was already sent\n" == sent[1].out


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (replace(WAITING, waits_for=TaskId("x")), "waits for task x"),
        (replace(WAITING, waits_until=NOW + timedelta(hours=1)), "sleeps, due in 1 h"),
        (
            replace(WAITING, waits=(StepWait(kind=WaitKind.SIGNAL, name="paid"),)),
            "waits for the signal paid",
        ),
        (
            replace(
                WAITING,
                waits=(
                    StepWait(
                        kind=WaitKind.APPROVAL,
                        name="approval",
                        approval="0199",
                        assignees=("a", "b", "c", "d", "e"),
                    ),
                ),
            ),
            "waits for an approval by a or b or c or 2 others (`tasker approval decide 0199 JSON`)",
        ),
        (
            replace(WAITING, waits=(StepWait(kind=WaitKind.EXTERNAL, name="external"),)),
            "waits for its completion by another system",
        ),
        (
            replace(
                WAITING,
                waits=(
                    StepWait(kind=WaitKind.BROADCAST, name="paid", key="o-1"),
                    StepWait(kind=WaitKind.SIGNAL, name="cancelled"),
                    StepWait(kind=WaitKind.SIGNAL, name="paid"),
                ),
                waits_until=NOW + timedelta(days=3),
            ),
            "waits for the signal paid with the key o-1 or cancelled, times out in 3 d",
        ),
    ],
)
def test_a_waiting_step_shows_its_wait_and_timeout(step: Step, text: str) -> None:
    assert text == describe_step_wait(step, NOW)
