"""The events that a worker publishes: one for each accepted outcome that declares it."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from tests.engine.factories import AT_ONCE, SOON, Unreliable, step, template

from tasker import EventSpec, Retry, TaskFailed, Template, Worker
from tasker.errors import PermanentError, StoreError
from tasker.events import Event, EventFilter
from tasker.model import EventCondition, WorkerId
from tasker.settings import WorkerSettings
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import ManualWorker, create_task, register_template

pytestmark = pytest.mark.anyio

CONDITIONS = tuple(EventSpec(each.value, each) for each in EventCondition)


def publishing(*events: EventSpec, **options: Any) -> Template:
    return template("order", step("charge", events=events, **options))


async def published(store: Store) -> list[tuple[int, str]]:
    """Return (attempt, name) of all events, oldest first."""
    events = await store.list_events(EventFilter())
    return [(event.attempt, event.name) for event in reversed(events)]


async def run(store: Store, flow: Template, handler: Any, context: Any = None) -> list[Event]:
    """Run a task and return its events, oldest first."""
    async with Worker(store, [{"charge": handler}], templates=[flow]) as worker:
        with suppress(TaskFailed):
            await worker.client.run("n.order", context or {}, timeout=SOON)
    return (await store.list_events(EventFilter()))[::-1]


async def test_each_attempt_publishes_what_its_outcome_declares(memory: Store) -> None:
    attempts = 0

    def charge() -> dict[str, int]:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise RuntimeError("busy")
        return {"cents": 5}

    await run(memory, publishing(*CONDITIONS), charge)

    assert [
        (1, "failure"),
        (1, "retryable_failure"),
        (1, "always"),
        (2, "failure"),
        (2, "retryable_failure"),
        (2, "always"),
        (3, "success"),
        (3, "always"),
    ] == await published(memory)


async def test_an_event_contains_what_subscribers_need(memory: Store) -> None:
    spec = EventSpec("payment.charged", payload={"order": "input.order", "cents": "result.cents"})

    (event,) = await run(memory, publishing(spec), lambda: {"cents": 5}, {"order": 7})

    task = await memory.get_task(event.task_id)
    assert ("n", "order", "1.0.0", "charge", 1) == (
        event.namespace,
        event.template,
        event.version,
        event.step,
        event.attempt,
    )
    assert task.correlation_id == event.correlation_id
    assert {"order": 7, "cents": 5} == event.payload
    assert event.duration is not None
    assert 0 <= event.duration < SOON.total_seconds()


async def test_an_event_that_does_not_match_its_schema_fails_the_step_permanently(
    memory: Store,
) -> None:
    """The failure has events of its own."""
    flow = publishing(
        EventSpec("payment.charged", schema={"type": "object", "required": ["cents"]}),
        EventSpec("payment.failed", "permanent_failure", payload="error.code"),
        EventSpec("payment.invalid", "failure", payload="error.code", schema={"type": "array"}),
    )

    (event,) = await run(memory, flow, lambda: {"euros": 5})

    assert ("payment.failed", "invalid_event") == (event.name, event.payload)
    (charge,) = await memory.list_steps(event.task_id)
    assert charge.error is not None
    assert "cents" in str(charge.error["message"])
    assert False is charge.error["retryable"]
    assert 1 == charge.attempts


async def test_a_lost_reply_publishes_nothing_twice(memory: Store) -> None:
    store = Unreliable(memory)
    store.lose("settle", 2)
    settings = WorkerSettings(lease=timedelta(seconds=5))
    flow = publishing(EventSpec("payment.charged"))
    async with Worker(
        store,
        [{"charge": lambda: 1}],
        templates=[flow],
        settings=settings,
    ) as worker:
        await worker.client.run("n.order", timeout=SOON)

    assert [(1, "payment.charged")] == await published(memory)


async def test_a_lost_worker_publishes_the_failure_of_its_attempt(memory: Store) -> None:
    flow = publishing(*CONDITIONS, retry=AT_ONCE)
    template_id = await register_template(memory, flow)
    task_id = await create_task(memory, template_id)
    dying = await ManualWorker.register(memory, lease=timedelta(milliseconds=1))
    await dying.claim_one()
    await asyncio.sleep(0.01)

    settings = WorkerSettings(lease=timedelta(seconds=1))
    async with Worker(
        memory, [{"charge": lambda: 1}], templates=[flow], settings=settings
    ) as worker:
        await worker.client.wait(task_id, timeout=SOON)

    assert [
        (1, "failure"),
        (1, "retryable_failure"),
        (1, "always"),
        (2, "success"),
        (2, "always"),
    ] == await published(memory)


async def test_a_result_that_cannot_be_stored_publishes_the_failure(memory: Store) -> None:
    class Refusing(Unreliable):
        async def settle(self, worker: WorkerId, outcomes: Any, **options: Any) -> Any:
            if any(outcome.result for outcome in outcomes):
                raise StoreError("it does not fit")
            return await self._store.settle(worker, outcomes, **options)

    flow = publishing(*CONDITIONS, retry=Retry(retryable=False))
    async with Worker(
        Refusing(memory),
        [{"charge": lambda: 1}],
        templates=[flow],
    ) as worker:
        with pytest.raises(TaskFailed):
            await worker.client.run("n.order", timeout=SOON)

    assert [(1, "failure"), (1, "permanent_failure"), (1, "always")] == await published(memory)


async def test_the_last_attempt_fails_permanently(memory: Store) -> None:
    def charge() -> None:
        raise PermanentError("no money", code="declined")

    events = await run(memory, publishing(*CONDITIONS), charge)

    assert ["failure", "permanent_failure", "always"] == [event.name for event in events]
    assert ["declined"] == [event.payload["code"] for event in events[:1]]
