"""Subscribers that turn events of checkouts into figures and alerts."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from examples.growthcorp import observability
from examples.growthcorp.observability import Figures, business_metrics, performance
from tests.waiting import eventually

from tasker import Event, TaskFailed, Worker, open_store
from tasker.events import EventFilter
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def memory() -> AsyncIterator[Store]:
    async with open_store("sqlite::memory:", upgrade=True) as store:
        yield store


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Iterator[Figures]:
    """Empty figures for each test."""
    empty = Figures()
    monkeypatch.setattr(observability, "figures", empty)
    yield empty


async def check_out(store: Store, **context: object) -> list[Event]:
    """Run a checkout until its events are delivered, and return them."""
    async with Worker(store, [observability]) as worker:
        task = await worker.client.create_task(observability.checkout, context)
        with suppress(TaskFailed):
            await worker.client.wait(task.id)

        async def is_delivered() -> bool:
            waiting = [each.pending for each in await store.list_subscriptions()]
            return [0, 0] == waiting and not await store.distribute_events()

        await eventually(is_delivered)
    return await store.list_events(EventFilter(task_id=task.id))


async def test_a_checkout_is_counted_with_its_revenue(memory: Store, figures: Figures) -> None:
    await check_out(memory, order_value=129.97, customer_tier="premium", card="busy")

    assert {"premium": 129.97} == dict(figures.revenue)
    assert {
        "payments_processed_total": 1,
        "checkout_conversions_total": 1,
        "step_failures_total{process_payment,BANK_BUSY}": 1,
    } == dict(figures.counters)
    assert {"validate_cart": 1, "process_payment": 2, "update_inventory": 1, "create_order": 1} == {
        step: len(seconds) for step, seconds in figures.seconds.items()
    }
    assert [] == figures.alerts


async def test_a_failure_after_the_payment_is_reported(memory: Store, figures: Figures) -> None:
    """The report has the lost value and identifies the task."""
    events = await check_out(memory, order_value=800.0, stock=0)

    assert 1 == figures.counters["checkout_failures_total"]
    assert ["revenue_loss", "oversell_risk"] == [alert.kind for alert in figures.alerts]
    assert {
        "task_id": events[0].task_id,
        "step": "update_inventory",
        "correlation_id": events[0].correlation_id,
        "value": 800.0,
    } == figures.alerts[0].facts


async def test_a_slow_step_is_a_bottleneck(memory: Store, figures: Figures) -> None:
    events = await check_out(memory, order_value=1.0)
    slow = next(event for event in events if event.name == "step.completed")

    performance(replace(slow, attempt=9, duration=10.0))

    (alert,) = figures.alerts
    limit = observability.THRESHOLDS[slow.step]
    assert ("bottleneck", 10.0 / limit) == (alert.kind, alert.facts["factor"])


async def test_a_repeated_delivery_is_counted_once(memory: Store, figures: Figures) -> None:
    events = await check_out(memory, order_value=5.0)
    before = dict(figures.counters)

    for event in events:
        business_metrics(event)
        performance(event)

    assert before == dict(figures.counters)
    assert [] == figures.alerts
