"""Webhooks: signed requests, retries, and what is refused."""

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from tests.engine.factories import SOON, step, template
from tests.http_service import Reply, Sent, serving
from tests.waiting import eventually

from tasker import EventSpec, Webhook, Worker, WorkerSettings, limits
from tasker.engine.webhook_sender import serialize_event
from tasker.events import Delivery, DeliveryStatus, Event, EventFilter
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

FLOW = template("order", step("charge", events=(EventSpec("payment.charged"),)))
LOCAL = WorkerSettings(http_networks=(ip_network("127.0.0.0/8"),), deliver_for=timedelta(seconds=1))


@asynccontextmanager
async def publishing(
    store: Store, url: str, settings: WorkerSettings = LOCAL, **options: Any
) -> AsyncIterator[tuple[Worker, Webhook]]:
    """Run a worker beside a webhook, and a task that publishes one event."""
    worker = Worker(store, [{"charge": lambda: {"cents": 5}}], templates=[FLOW], settings=settings)
    webhook = await worker.client.webhooks.create("n.crm", url, "payment.*", **options)
    async with worker:
        await worker.client.run("n.order", {"order": 7}, timeout=SOON)
        yield worker, webhook


async def delivered(store: Store, status: DeliveryStatus = DeliveryStatus.DELIVERED) -> Delivery:
    """Wait for the end of the only delivery."""
    (delivery,) = await eventually(lambda: store.list_deliveries("n", "crm", status=status))
    assert isinstance(delivery, Delivery)
    return delivery


def is_signed(sent: Sent, secret: str) -> bool:
    """Verify a signature as receivers do."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    head = f"{sent.headers['webhook-id']}.{sent.headers['webhook-timestamp']}."
    digest = hmac.new(key, head.encode() + sent.body, hashlib.sha256).digest()
    expected = f"v1,{base64.b64encode(digest).decode()}"
    return hmac.compare_digest(expected, sent.headers["webhook-signature"])


async def test_an_event_is_sent_as_a_signed_request(memory: Store) -> None:
    """Without context and result, which are not included by default."""
    with serving(lambda _: Reply(204)) as service:
        async with publishing(memory, service.url + "/hook?x=1") as (_, webhook):
            delivery = await delivered(memory)

    (sent,) = service.requests
    (event,) = await memory.list_events(EventFilter())
    assert webhook.secret is not None
    assert is_signed(sent, webhook.secret)
    assert not is_signed(replace_body(sent), webhook.secret)
    assert ("POST", "/hook?x=1", event.id) == (sent.method, sent.path, sent.headers["webhook-id"])
    assert {
        "id": event.id,
        "name": "payment.charged",
        "namespace": "n",
        "template": "order",
        "version": "1.0.0",
        "task_id": event.task_id,
        "step": "charge",
        "step_no": 1,
        "attempt": 1,
        "outcome": "complete",
        "at": event.at.isoformat(),
        "duration": event.duration,
        "correlation_id": event.correlation_id,
        "payload": {"cents": 5},
    } == json.loads(sent.body)
    assert (1, 204, "") == (
        delivery.attempts,
        delivery.log[0].response,
        delivery.log[0].error,
    )


def replace_body(sent: Sent) -> Sent:
    return sent._replace(body=sent.body + b" ")


async def test_context_and_result_are_sent_if_included(memory: Store) -> None:
    with serving(lambda _: Reply(200)) as service:
        async with publishing(memory, service.url, include=["context", "result"]):
            await delivered(memory)

    body = json.loads(service.requests[0].body)
    assert ({"order": 7}, {"cents": 5}) == (body["context"], body["result"])


async def test_a_body_that_is_too_large_omits_context_and_result(event: Event) -> None:
    large = replace(event, context={"text": "x" * limits.WEBHOOK_BYTES})

    body = json.loads(serialize_event(large, ("context", "result")))

    assert {"context", "result"}.isdisjoint(body)
    assert event.payload == body["payload"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(500), "the response has the status 500"),
        (Reply(404), "the response has the status 404"),
        (Reply(503, headers={"Retry-After": "²"}), "the response has the status 503"),
        (Reply(302, headers={"Location": "/elsewhere"}), "the response has the status 302"),
    ],
)
async def test_an_event_that_is_always_refused_becomes_a_dead_letter(
    memory: Store, reply: Reply, error: str
) -> None:
    """Redirects are not followed."""
    with serving(lambda _: reply) as service:
        async with publishing(memory, service.url):
            delivery = await delivered(memory, DeliveryStatus.DEAD)

    assert error == delivery.log[0].error
    assert 1 == len(service.requests)


async def test_an_unreachable_endpoint_is_a_failed_delivery(memory: Store) -> None:
    with serving(lambda _: Reply(200)) as service:
        url = service.url
    async with publishing(memory, url):
        delivery = await delivered(memory, DeliveryStatus.DEAD)

    assert delivery.log[0].response is None
    assert "" != delivery.log[0].error


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1]:1", "http://10.0.0.1/x"])
async def test_private_addresses_are_refused(memory: Store, url: str) -> None:
    settings = WorkerSettings(deliver_for=timedelta(seconds=1))
    async with publishing(memory, url, settings):
        delivery = await delivered(memory, DeliveryStatus.DEAD)

    assert "has no public address" in delivery.log[0].error


async def test_a_dead_letter_can_be_repeated(memory: Store) -> None:
    replies = [Reply(500, headers={"Set-Cookie": "session=s3cret; Path=/"}), Reply(200)]
    with serving(lambda _: replies.pop(0)) as service:
        async with publishing(memory, service.url) as (worker, _):
            dead = await delivered(memory, DeliveryStatus.DEAD)
            await worker.client.webhooks.update("n.crm", paused=False)  # it is tried at once
            await worker.client.webhooks.send_again("n.crm", dead.id)
            again = await delivered(memory)

    assert [500, 200] == [attempt.response for attempt in again.log]
    assert 1 == len({sent.headers["webhook-id"] for sent in service.requests})
    assert all("cookie" not in sent.headers for sent in service.requests)


async def test_a_worker_without_webhooks_leaves_them_to_other_workers(memory: Store) -> None:
    settings = WorkerSettings(webhooks=False)
    with serving(lambda _: Reply(200)) as service:
        async with publishing(memory, service.url, settings):
            pass
        assert [] == service.requests
        async with Worker(memory, namespaces=["*"], settings=LOCAL):
            await delivered(memory)


async def test_no_log_record_contains_the_secret(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(lambda _: Reply(500)) as service:
        async with publishing(memory, service.url) as (_, webhook):
            await delivered(memory, DeliveryStatus.DEAD)
            endpoints = await memory.list_webhook_endpoints()

    assert webhook.secret is not None
    texts = [str(vars(record)) for record in caplog.records]
    texts += [repr(webhook), repr(endpoints), str(await memory.list_team_audit())]
    assert [] == [text for text in texts if webhook.secret in text]


@pytest.fixture
async def event(memory: Store) -> Event:
    async with Worker(memory, [{"charge": lambda: 1}], templates=[FLOW]) as worker:
        await worker.client.run("n.order", timeout=SOON)
        (event,) = await worker.client.events()
    return event
