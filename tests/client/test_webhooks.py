"""Webhooks and events, by clients of every kind."""

import pytest
from tests.client.conftest import Scene

from tasker import InvalidInput, NotFound, WebhookExists
from tasker.events import DeliveryStatus
from tasker.testing.store_suite.events import EventReceiver, PublishingWorker

pytestmark = pytest.mark.anyio

URL = "https://crm.example/tasker"


async def test_a_webhook_is_created_changed_and_deleted(scene: Scene) -> None:
    """Its secret is returned when it is new, and never again."""
    hooks = scene.client.webhooks
    made = await hooks.create("suite.crm", URL, ["payment.*", "order.paid"], include=["result"])
    changed = await hooks.update("suite.crm", url=f"{URL}/2", paused=True, reason="moved")
    again = await hooks.replace_secret("suite.crm")

    assert ("suite", "crm", ("payment.*", "order.paid"), ("result",)) == (
        made.namespace,
        made.name,
        made.events,
        made.include,
    )
    assert made.secret is not None
    assert again.secret is not None
    assert made.secret.startswith("whsec_")
    assert made.secret != again.secret
    assert (f"{URL}/2", made.events, True, None) == (
        changed.url,
        changed.events,
        changed.paused,
        changed.secret,
    )
    assert changed == await hooks.get("suite.crm")
    assert [changed] == await hooks.list("suite")
    assert [] == await hooks.list("other")
    await hooks.delete("suite.crm", reason="over")
    assert [] == await hooks.list()
    audit = await scene.client.namespace_audit("suite")
    assert ["over", "", "moved", ""] == [entry.reason for entry in audit]


async def test_invalid_webhooks_are_refused(scene: Scene) -> None:
    hooks = scene.client.webhooks
    await hooks.create("suite.crm", URL)

    with pytest.raises(WebhookExists, match="'crm'"):
        await hooks.create("suite.crm", URL)
    for name, url, events in (
        ("suite.a b", URL, "*"),
        ("suite.other", "ftp://crm.example", "*"),
        ("suite.other", "https://user:pass@crm.example", "*"),
        ("suite.other", "https://", "*"),
        ("suite.other", URL, "pay*"),
    ):
        with pytest.raises(InvalidInput):
            await hooks.create(name, url, events)
    with pytest.raises(InvalidInput):
        await hooks.create("suite.other", URL, include=["everything"])
    with pytest.raises(NotFound):
        await hooks.get("suite.other")
    with pytest.raises(NotFound):
        await hooks.update("suite.other", paused=True)
    with pytest.raises(NotFound):
        await hooks.delete("suite.other")
    with pytest.raises(NotFound):
        await hooks.deliveries("suite.other")


async def test_deliveries_are_listed_and_repeated(scene: Scene) -> None:
    hooks = scene.client.webhooks
    publisher = await PublishingWorker.register(scene.store)
    await hooks.create("suite.crm", URL)
    (endpoint,) = await scene.store.list_webhook_endpoints()
    ids = [await publisher.run_task_with_events("payment.charged") for _ in range(3)]
    assert 3 == len(await EventReceiver(scene.store, endpoint.id).deliver_all_and_list_names())

    rows = await hooks.deliveries("suite.crm", status=DeliveryStatus.DELIVERED)
    page = await hooks.deliveries("suite.crm", after=rows[0].id, limit=1)
    await hooks.send_again("suite.crm", rows[0].id)

    assert ids[::-1] == [row.task_id for row in rows]
    assert [rows[1]] == page
    assert 204 == rows[0].log[0].response
    (pending,) = await hooks.deliveries("suite.crm", status=DeliveryStatus.PENDING)
    assert rows[0].id == pending.id
    with pytest.raises(NotFound):
        await hooks.send_again("suite.crm", rows[0].id + 10)


async def test_events_are_listed(scene: Scene) -> None:
    publisher = await PublishingWorker.register(scene.store)
    first = await publisher.run_task_with_events("payment.charged", context={"order": 7})
    await publisher.run_task_with_events("order.shipped")

    everything = await scene.client.events()
    (charged,) = await scene.client.events("payment.*", namespace="suite", task_id=first)

    assert ["order.shipped", "payment.charged"] == [event.name for event in everything]
    assert charged == everything[1]
    assert f"{first}:1:1:payment.charged" == charged.id
    assert [charged] == await scene.client.events(after=everything[0].no)
