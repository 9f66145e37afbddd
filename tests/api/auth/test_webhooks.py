"""Who may see events, and who may send them elsewhere."""

import pytest
from tests.api.auth.scene import calling, key

from tasker.store.protocol import Store
from tasker.testing.store_suite.events import PublishingWorker

pytestmark = pytest.mark.anyio

NEW = {"namespace": "payments", "name": "crm", "url": "https://crm.example"}


async def test_webhooks_of_other_namespaces_can_be_neither_created_nor_seen(store: Store) -> None:
    """They cannot be changed, deleted or listed either."""
    async with calling(store, await key(store, "admin", namespaces=["payments"])) as owner:
        made = await owner.post("/v1/webhooks", json=NEW)
    async with calling(store, await key(store, "admin", namespaces=["orders"])) as other:
        statuses = [
            (await other.post("/v1/webhooks", json={**NEW, "name": "mine"})).status_code,
            (await other.get("/v1/webhooks/payments/crm")).status_code,
            (await other.get("/v1/webhooks/payments/crm/deliveries")).status_code,
            (await other.patch("/v1/webhooks/payments/crm", json={"paused": True})).status_code,
            (await other.post("/v1/webhooks/payments/crm/secret", json={})).status_code,
            (await other.delete("/v1/webhooks/payments/crm")).status_code,
        ]
        listed = (await other.get("/v1/webhooks")).json()

    assert 201 == made.status_code
    assert {404} == set(statuses)
    assert [] == listed["webhooks"]


async def test_a_webhook_needs_the_permission_to_read_events(store: Store) -> None:
    text = await key(store, permissions=["webhooks:update", "webhooks:read"])
    async with calling(store, text) as caller:
        refused = await caller.post("/v1/webhooks", json=NEW)

    assert (403, "events:read") == (refused.status_code, refused.json()["permission"])
    assert [] == await store.list_webhooks()


async def test_a_secret_is_only_in_the_response_to_its_creation(store: Store) -> None:
    async with calling(store, await key(store, "developer")) as caller:
        made = (await caller.post("/v1/webhooks", json=NEW)).json()
        replaced = (await caller.post("/v1/webhooks/payments/crm/secret", json={})).json()
        texts = [
            (await caller.get(path)).text
            for path in (
                "/v1/webhooks",
                "/v1/webhooks/payments/crm",
                "/v1/namespaces/payments/audit",
            )
        ]

    assert made["secret"] != replaced["secret"]
    assert [] == [text for text in texts if "whsec_" in text]


async def test_only_events_of_visible_namespaces_are_listed(store: Store) -> None:
    publisher = await PublishingWorker.register(store)
    await publisher.run_task_with_events("payment.charged")
    async with calling(store, await key(store, "viewer", namespaces=["suite"])) as caller:
        seen = (await caller.get("/v1/events")).json()
    async with calling(store, await key(store, "viewer")) as caller:
        unseen = (await caller.get("/v1/events?namespace=suite")).json()

    assert ["payment.charged"] == [event["name"] for event in seen["events"]]
    assert {"events": [], "next_cursor": None} == unseen
