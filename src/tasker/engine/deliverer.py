"""Delivers domain events: to the subscribers of this worker, and to webhooks.

The store decides what is due and keeps the order. Any number of workers can deliver at the same
time. Failures of subscribers and endpoints do not affect the workflow.
"""

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from tasker.durations import human_duration
from tasker.errors import Misuse, TaskerError
from tasker.events import (
    WEBHOOK_TIMEOUT,
    ClaimedDelivery,
    DeliveryAttemptResult,
    DeliveryOutcome,
    DeliveryStatus,
    Event,
    EventFilter,
    EventNo,
    NewSubscription,
    SubscriptionId,
    WebhookEndpoint,
    matches_event_name,
    next_delivery_delay,
)
from tasker.handlers import Subscriber
from tasker.handlers.registry import EVERY_NAMESPACE
from tasker.settings import WorkerSettings
from tasker.store.protocol import Store

if TYPE_CHECKING:
    from tasker.engine.webhook_sender import WebhookSender

log = logging.getLogger("tasker.worker")

POLL = 1.0  #: seconds between searches for events, while there are subscriptions
LOOK = 5.0  #: seconds between searches for webhooks
RENEWAL = 60.0  #: seconds between notes that the subscriptions are served
MOST = 50  #: deliveries at the same time
MOST_OF_ONE = 4  #: deliveries of one subscription that one claim takes
WINDOW = timedelta(
    seconds=10
)  #: events of this age are read again, as they may appear out of order
_SLACK = timedelta(seconds=10)  #: after the time limit, until others may deliver the event
_FIRST_DELAY = 1.0  #: seconds before a subscriber is called again
_FIRST_DELAY_OF_WEBHOOK = 10.0

Receive = Callable[[Event], Awaitable[DeliveryAttemptResult]]


@dataclass(frozen=True, slots=True)
class DeliveryTarget:
    """The function that receives one subscription's events, and the delay of its first retry."""

    name: str
    receive: Receive
    first_delay: float


class EventDeliverer:
    """Delivers the events of this worker's subscriptions and of webhooks.

    Args:
        store: The store.
        worker: The worker's name.
        subscribers: Functions that receive events.
        namespaces: The namespaces of subscribers without their own.
        settings: The worker's settings.
        published: Set when this worker has published events.
    """

    def __init__(
        self,
        store: Store,
        worker: str,
        subscribers: Iterable[Subscriber],
        namespaces: Iterable[str],
        settings: WorkerSettings,
        published: asyncio.Event,
    ) -> None:
        self._store = store
        self._worker = worker
        self._settings = settings
        self._published = published
        spaces = sorted(namespaces)
        if EVERY_NAMESPACE in spaces:
            spaces = [EVERY_NAMESPACE]
        bound = [
            (namespace, subscriber)
            for subscriber in subscribers
            for namespace in ([subscriber.namespace] if subscriber.namespace else spaces)
        ]
        self._shared = [each for each in bound if not each[1].every_process]
        self._local = [each for each in bound if each[1].every_process]
        self._sender: WebhookSender | None = None  #: opened for the first webhook
        self._targets: dict[SubscriptionId, DeliveryTarget] = {}
        self._webhooks: dict[SubscriptionId, DeliveryTarget] = {}
        self._renew_at = self._look_at = 0.0
        self._running: set[asyncio.Task[None]] = set()
        self._outcomes: list[DeliveryOutcome] = []
        self._ended = asyncio.Event()
        self._seen: dict[EventNo, None] = {}
        self._newest = EventNo(0)
        _reject_subscribers_without_namespace(subscribers, spaces)

    async def store_subscriptions(self) -> None:
        """Store this worker's subscriptions, so that their events are delivered. Raises Misuse."""
        new = [
            NewSubscription(namespace=namespace, name=each.name, events=each.events)
            for namespace, each in self._shared
        ]
        if new:
            ids = await self._store.subscribe(new, self._worker)
            for subscription, (_, subscriber) in zip(ids, self._shared, strict=True):
                self._targets[subscription] = DeliveryTarget(
                    subscriber.name,
                    self._make_subscriber_delivery_function(subscriber),
                    _FIRST_DELAY,
                )
        self._renew_at = time.monotonic() + RENEWAL
        if self._local and not self._newest:
            newest = await self._store.list_events(EventFilter(), limit=1)
            self._newest = newest[0].no if newest else EventNo(0)
            self._seen = {event.no: None for event in await self._read_recent_events()}

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            try:
                busy = await self._deliver_due_events()
            except TaskerError as error:
                log.warning("delivery_postponed", extra={"error": str(error)})
                busy = False
            if not busy:
                await self._wait_for_deliveries()

    async def close(self) -> None:
        """Stop deliveries and record those that have ended; other workers repeat the rest."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._record_ended_deliveries()
        if self._sender is not None:
            await self._sender.close()

    async def _wait_for_deliveries(self) -> None:
        """Wait for events of this worker, the end of a delivery, or the next search."""
        idle = not (self._targets or self._webhooks or self._local)
        waits = [asyncio.ensure_future(each.wait()) for each in (self._published, self._ended)]
        try:
            await asyncio.wait(
                waits, timeout=LOOK if idle else POLL, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()
        self._published.clear()
        self._ended.clear()

    async def _deliver_due_events(self) -> bool:
        """Record ended deliveries and start due ones; return whether more may be due."""
        await self._record_ended_deliveries()
        if time.monotonic() >= self._renew_at:
            await self.store_subscriptions()
        await self._refresh_webhook_targets()
        await self._deliver_to_every_process_subscribers()
        targets = {**self._targets, **self._webhooks}
        if not targets or len(self._running) >= MOST:
            return False
        distributed = await self._store.distribute_events()
        limit = timedelta(seconds=WEBHOOK_TIMEOUT if self._webhooks else 0)
        lease = max(self._settings.subscriber_timeout, limit) + _SLACK
        claimed = await self._store.claim_deliveries(list(targets), MOST_OF_ONE, lease=lease)
        for pending in claimed:
            task = asyncio.create_task(
                self._attempt_delivery(pending, targets[pending.subscription])
            )
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return bool(distributed or claimed)

    async def _refresh_webhook_targets(self) -> None:
        if not self._settings.webhooks or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK
        endpoints = await self._store.list_webhook_endpoints()
        if endpoints and self._sender is None:
            self._sender = self._open_webhook_sender()
        self._webhooks = {
            endpoint.id: DeliveryTarget(
                endpoint.name,
                self._make_webhook_delivery_function(endpoint),
                _FIRST_DELAY_OF_WEBHOOK,
            )
            for endpoint in endpoints
        }

    def _open_webhook_sender(self) -> "WebhookSender":
        from tasker.engine.webhook_sender import WebhookSender

        return WebhookSender(self._settings.http_networks)

    # -- attempts

    async def _attempt_delivery(self, pending: ClaimedDelivery, target: DeliveryTarget) -> None:
        began = time.monotonic()
        response = await target.receive(pending.event)
        ran_for = time.monotonic() - began
        delay, status = 0.0, DeliveryStatus.DELIVERED
        if response.error:
            now, limit = self._store.clock.now(), self._settings.deliver_for
            delay = next_delivery_delay(
                pending.attempt, pending.since, now, first=target.first_delay, limit=limit
            )
            status = DeliveryStatus.DEAD if delay < 0 else DeliveryStatus.PENDING
            self._log_delivery_failure(pending, target, response, status)
        delay = max(delay, response.retry_after)
        outcome = DeliveryOutcome(
            pending.id, pending.attempt, status, delay, ran_for, response.status, response.error
        )
        self._outcomes.append(outcome)
        self._ended.set()

    def _log_delivery_failure(
        self,
        pending: ClaimedDelivery,
        target: DeliveryTarget,
        response: DeliveryAttemptResult,
        status: DeliveryStatus,
    ) -> None:
        dead = status is DeliveryStatus.DEAD
        facts = {
            "subscription": target.name,
            "event": pending.event.id,
            "attempt": pending.attempt,
            "error": response.error,
        }
        level = logging.ERROR if dead else logging.WARNING
        log.log(level, "delivery_given_up" if dead else "delivery_failed", extra=facts)

    async def _record_ended_deliveries(self) -> None:
        """Record ended deliveries; if that fails, keep them for the next call."""
        if outcomes := self._outcomes[:]:
            await self._store.settle_deliveries(outcomes)
            del self._outcomes[: len(outcomes)]

    def _make_subscriber_delivery_function(self, subscriber: Subscriber) -> Receive:
        """Return a function that calls a subscriber."""
        limit = self._settings.subscriber_timeout.total_seconds()

        async def call_subscriber(event: Event) -> DeliveryAttemptResult:
            try:
                async with asyncio.timeout(limit):
                    if inspect.iscoroutinefunction(subscriber.function):
                        await subscriber.function(event)
                    else:
                        await _call_in_thread(subscriber.function, event)
            except TimeoutError:
                return DeliveryAttemptResult(
                    None, f"the subscriber took longer than {human_duration(limit)}"
                )
            except (Exception, SystemExit) as error:  # subscribers may raise anything
                return DeliveryAttemptResult(None, f"{type(error).__name__}: {error}")
            return DeliveryAttemptResult(None, "")

        return call_subscriber

    def _make_webhook_delivery_function(self, endpoint: WebhookEndpoint) -> Receive:
        """Return a function that sends events to a webhook."""

        async def post_event(event: Event) -> DeliveryAttemptResult:
            if self._sender is None:
                return DeliveryAttemptResult(None, "the worker is stopping")
            return await self._sender.send(endpoint, event)

        return post_event

    # -- every process

    async def _read_recent_events(self) -> Sequence[Event]:
        since = self._store.clock.now() - WINDOW
        return await self._store.list_recent_events(self._newest, since, 1000)

    async def _deliver_to_every_process_subscribers(self) -> None:
        """Call the subscribers that get every event in each process."""
        if not self._local:
            return
        events = await self._read_recent_events()
        for event in events:
            if event.no not in self._seen:
                self._newest = max(self._newest, event.no)
                await self._call_every_process_subscribers(event)
        self._seen = {event.no: None for event in events}

    async def _call_every_process_subscribers(self, event: Event) -> None:
        for namespace, subscriber in self._local:
            if namespace not in (event.namespace, EVERY_NAMESPACE):
                continue
            if not matches_event_name(subscriber.events, event.name):
                continue
            response = await self._make_subscriber_delivery_function(subscriber)(event)
            if response.error:
                facts = {"subscription": subscriber.name, "event": event.id}
                log.warning("delivery_failed", extra={**facts, "error": response.error})


async def _call_in_thread(function: Callable[[Event], object], event: Event) -> None:
    """Call a function in a separate thread, which is abandoned if it is stuck."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def complete_call_future(error: BaseException | None) -> None:
        if not ended.done():
            ended.set_result(None) if error is None else ended.set_exception(error)

    def run_function_in_thread() -> None:
        failure: BaseException | None = None
        try:
            function(event)
        except StopIteration as error:  # which no future takes
            failure = RuntimeError(f"StopIteration: {error}")
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(complete_call_future, failure)

    threading.Thread(target=run_function_in_thread, name="tasker-subscriber", daemon=True).start()
    await ended


def _reject_subscribers_without_namespace(
    subscribers: Iterable[Subscriber], namespaces: Sequence[str]
) -> None:
    """Raise Misuse if neither a subscriber nor its worker has a namespace."""
    for subscriber in subscribers:
        if not subscriber.namespace and not namespaces:
            raise Misuse(
                f"the subscriber {subscriber.name!r} has no namespace: pass templates or namespaces"
                ' to the worker, or write @on_event(..., namespace="payments")'
            )
