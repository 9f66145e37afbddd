"""Subscribers in workers: once for each subscription, in order, and what failures do."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.engine.factories import SOON, step, template
from tests.waiting import eventually

from tasker import EventSpec, Misuse, Worker, on_event
from tasker.errors import HandlerImportError, InvalidInput
from tasker.events import DeliveryStatus, Event
from tasker.handlers import Handlers
from tasker.settings import WorkerSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("order", step("charge", events=(EventSpec("payment.charged"),)))
OTHERS = template(
    "two",
    step("charge", events=(EventSpec("payment.a"),)),
    step("ship", "charge", events=(EventSpec("payment.b"), EventSpec("order.shipped"))),
)
HANDLERS = {"charge": lambda: {"cents": 5}, "ship": lambda: None}


class Inbox:
    """Events that were received."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._arrived = threading.Condition()

    def put(self, event: Event) -> None:
        with self._arrived:
            self.events.append(event)
            self._arrived.notify_all()

    async def wait(self, count: int) -> list[str]:
        """Wait for `count` events, and return all their names."""

        def wait() -> bool:
            with self._arrived:
                return self._arrived.wait_for(
                    lambda: len(self.events) >= count, SOON.total_seconds()
                )

        assert await asyncio.to_thread(wait)
        return [event.name for event in self.events]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


def subscribing(inbox: Inbox, *events: str, **options: Any) -> Callable[[Event], None]:
    @on_event(*events, **options)
    def audit(event: Event) -> None:
        inbox.put(event)

    return audit


def worker(store: Store, *sources: object, **options: Any) -> Worker:
    options.setdefault("templates", [FLOW])
    return Worker(store, [HANDLERS, *sources], **options)


async def test_a_subscriber_receives_the_events_that_it_names(memory: Store, inbox: Inbox) -> None:
    """In the order of the task's steps."""
    audit = subscribing(inbox, "payment.*")
    async with worker(memory, audit, templates=[OTHERS]) as one:
        await one.client.run("n.two", {"order": 7}, timeout=SOON)

        assert ["payment.a", "payment.b"] == await inbox.wait(2)

    first = inbox.events[0]
    assert ({"cents": 5}, {"order": 7}, {"cents": 5}) == (
        first.payload,
        first.context,
        first.result,
    )


async def test_an_async_subscriber_is_awaited(memory: Store, inbox: Inbox) -> None:
    @on_event("*", namespace="*")
    async def audit(event: Event) -> None:
        await asyncio.sleep(0)
        inbox.put(event)

    async with worker(memory, audit) as one:
        await one.client.run("n.order", timeout=SOON)

        assert ["payment.charged"] == await inbox.wait(1)


async def test_each_event_goes_to_one_process_of_a_subscription(memory: Store) -> None:
    inboxes = [Inbox(), Inbox()]
    async with (
        worker(memory, subscribing(inboxes[0], "*"), name="w1") as one,
        worker(memory, subscribing(inboxes[1], "*"), name="w2"),
    ):
        ids = [(await one.client.run("n.order", timeout=SOON)).id for _ in range(10)]
        await eventually(lambda: len(inboxes[0].events) + len(inboxes[1].events) == 10)

    received = [event.task_id for inbox in inboxes for event in inbox.events]
    assert sorted(ids) == sorted(received)


async def test_every_process_receives_every_event_on_request(memory: Store) -> None:
    inboxes = [Inbox(), Inbox()]
    options = {"every_process": True}
    async with (
        worker(memory, subscribing(inboxes[0], "*", **options), name="w1") as one,
        worker(memory, subscribing(inboxes[1], "payment.*", **options), name="w2"),
    ):
        await one.client.run("n.order", timeout=SOON)

        assert ["payment.charged"] == await inboxes[0].wait(1)
        assert ["payment.charged"] == await inboxes[1].wait(1)
    assert [] == await memory.list_subscriptions()


async def test_a_failing_subscriber_is_retried_and_does_not_affect_tasks(
    memory: Store, inbox: Inbox
) -> None:
    @on_event("*")
    def audit(event: Event) -> None:
        inbox.put(event)
        if len(inbox.events) == 1:
            raise RuntimeError("not now")

    async with worker(memory, audit) as one:
        task = await one.client.run("n.order", timeout=SOON)
        await inbox.wait(2)

    assert "complete" == task.status
    assert inbox.events[0] == inbox.events[1]


async def test_an_event_that_no_attempt_delivers_becomes_a_dead_letter(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    @on_event("*")
    def audit(event: Event) -> None:
        raise SystemExit("never")

    settings = WorkerSettings(deliver_for=timedelta(seconds=1))
    async with worker(memory, audit, settings=settings) as one:
        await one.client.run("n.order", timeout=SOON)
        (delivery,) = await eventually(
            lambda: memory.list_deliveries("n", "audit", status=DeliveryStatus.DEAD)
        )

    assert "SystemExit: never" == delivery.log[-1].error
    assert "delivery_given_up" in [record.getMessage() for record in caplog.records]


async def test_a_subscriber_that_exceeds_its_timeout_has_failed(memory: Store) -> None:
    release = threading.Event()

    @on_event("*")
    def audit(event: Event) -> None:
        release.wait(SOON.total_seconds())

    settings = WorkerSettings(
        deliver_for=timedelta(seconds=1), subscriber_timeout=timedelta(milliseconds=10)
    )
    async with worker(memory, audit, settings=settings) as one:
        await one.client.run("n.order", timeout=SOON)
        (delivery,) = await eventually(
            lambda: memory.list_deliveries("n", "audit", status=DeliveryStatus.DEAD)
        )
    release.set()

    assert "the subscriber took longer than 10 ms" == delivery.log[0].error


async def test_events_that_a_stopped_worker_did_not_deliver_go_to_another(
    memory: Store, inbox: Inbox
) -> None:
    async with worker(memory, subscribing(Inbox(), "*")):
        pass
    async with worker(memory) as one:
        await one.client.run("n.order", timeout=SOON)
    async with worker(memory, subscribing(inbox, "*")):
        assert ["payment.charged"] == await inbox.wait(1)


async def test_subscribers_are_collected_from_modules(memory: Store) -> None:
    import tests.engine.subscribing as module

    handlers = Handlers.collect(module)

    assert [("audit", ("payment.*",), "billing")] == [
        (each.name, each.events, each.namespace) for each in handlers.subscribers
    ]
    assert () == handlers.registered_names()


def test_two_subscribers_with_the_same_name_are_refused() -> None:
    with pytest.raises(HandlerImportError, match="two subscribers are named 'audit'"):
        Handlers.collect(subscribing(Inbox(), "a"), subscribing(Inbox(), "b"))


def test_an_invalid_name_of_an_event_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"'pay\*' is not an event name"):
        on_event("pay*")
    with pytest.raises(InvalidInput, match="1 to 20 event names"):
        on_event()


def test_an_invalid_namespace_is_refused() -> None:
    with pytest.raises(Misuse, match="namespace 'a b'"):
        on_event("*", namespace="a b")


async def test_a_subscriber_without_any_namespace_is_refused(memory: Store) -> None:
    with pytest.raises(Misuse, match="the subscriber 'audit' has no namespace"):
        Worker(memory, [subscribing(Inbox(), "*")])
