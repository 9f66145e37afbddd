"""Operators' actions on many tasks at once."""

from dataclasses import replace
from typing import Any

import pytest
from tests.api.api_client import NOBODY, ApiClient, templates

from tasker.testing.store_suite.factories import ManualWorker

pytestmark = pytest.mark.anyio


async def fail(api: ApiClient, count: int) -> list[str]:
    """Create tasks, run them until they have failed, and return their ids."""
    ids = [(await api.create("shop.broken"))["id"] for _ in range(count)]
    async with api.worker():
        for task_id in ids:
            await api.read(f"/v1/tasks/{task_id}/wait", params={"timeout": 20})
    return ids


async def statuses(api: ApiClient, ids: list[str]) -> list[str]:
    return [(await api.read(f"/v1/tasks/{task_id}"))["status"] for task_id in ids]


async def test_open_tasks_of_a_filter_are_cancelled(api: ApiClient) -> None:
    """Only matching tasks; the audit has the reason for each."""
    ids = [(await api.create(tags=["red"]))["id"] for _ in range(3)]
    other = (await api.create())["id"]

    outcome = await api.call(
        "/v1/bulk", {"action": "cancel", "filter": {"tag": "red"}, "reason": "wrong"}
    )

    assert {"matches": 3, "by_status": {"pending": 3}, "dry_run": False, "refused": []} == {
        key: outcome[key] for key in ("matches", "by_status", "dry_run", "refused")
    }
    assert sorted(ids) == sorted(outcome["changed"])
    assert ["cancelled"] * 3 + ["pending"] == await statuses(api, [*ids, other])
    assert ["wrong"] == [one["reason"] for one in await api.read(f"/v1/tasks/{ids[0]}/audit")]


async def test_tasks_in_progress_are_cancelled_too(api: ApiClient) -> None:
    """
    Unless the filter names another status.
    """
    running = (await api.create())["id"]
    assert 1 == len(await (await ManualWorker.hire(api.store)).claim())
    waiting = (await api.create())["id"]
    pending = {"action": "cancel", "filter": {"namespace": "shop", "status": "pending"}}

    first = await api.call("/v1/bulk", pending)
    rest = await api.call("/v1/bulk", {"action": "cancel", "filter": {"namespace": "shop"}})

    assert [[waiting], [running]] == [first["changed"], rest["changed"]]
    assert {"in_progress": 1} == rest["by_status"]


async def test_an_id_that_is_given_twice_counts_once(api: ApiClient) -> None:
    task = await api.create()

    outcome = await api.call("/v1/bulk", {"action": "cancel", "ids": [task["id"]] * 2})

    assert (1, [task["id"]], []) == tuple(outcome[key] for key in ("matches", "changed", "refused"))


async def test_a_dry_run_changes_nothing(api: ApiClient) -> None:
    ids = [(await api.create())["id"] for _ in range(2)]

    outcome = await api.call(
        "/v1/bulk", {"action": "cancel", "filter": {"namespace": "shop"}, "dry_run": True}
    )

    assert (2, True, []) == (outcome["matches"], outcome["dry_run"], outcome["changed"])
    assert ["pending"] * 2 == await statuses(api, ids)


@pytest.mark.parametrize(
    ("action", "status"), [("retry", "in_progress"), ("resolve", "resolved_manually")]
)
async def test_failed_tasks_are_retried_and_resolved(
    api: ApiClient, action: str, status: str
) -> None:
    ids = await fail(api, 2)
    other = (await api.create())["id"]

    outcome = await api.call("/v1/bulk", {"action": action, "filter": {"error_code": "LOCKED"}})

    assert ({"error": 2}, sorted(ids)) == (outcome["by_status"], sorted(outcome["changed"]))
    assert [status, status, "pending"] == await statuses(api, [*ids, other])


async def test_tasks_with_an_attribute_are_cancelled(api: ApiClient) -> None:
    template = replace(templates()[0], version="1.1.0", attributes={"order": "input.order"})
    await api.store.register_template(template, registered_by="tests")
    ids = [(await api.create(context={"order": order}))["id"] for order in ("a", "b")]

    outcome = await api.call(
        "/v1/bulk", {"action": "cancel", "filter": {"attributes": {"order": "b"}}}
    )

    assert ids[1:] == outcome["changed"]


async def test_tasks_of_a_list_that_cannot_change_are_named(api: ApiClient) -> None:
    ids = [(await api.create())["id"] for _ in range(2)]
    await api.call(f"/v1/tasks/{ids[1]}/cancel")

    outcome = await api.call("/v1/bulk", {"action": "cancel", "ids": ids})

    assert [ids[0]] == outcome["changed"]
    assert [(ids[1], "wrong_status")] == [(one["id"], one["code"]) for one in outcome["refused"]]


async def test_a_missing_task_of_a_list_prevents_all(api: ApiClient) -> None:
    task = await api.create()

    refused = await api.call("/v1/bulk", {"action": "cancel", "ids": [task["id"], NOBODY]}, 404)

    assert "not_found" == refused["code"]
    assert ["pending"] == await statuses(api, [task["id"]])


async def test_more_matches_than_the_limit_are_refused(
    one: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Before any task changes.
    """
    monkeypatch.setattr("tasker.client.local.MAX_BULK", 2)
    ids = [(await one.create())["id"] for _ in range(3)]

    refused = await one.call("/v1/bulk", {"action": "cancel", "filter": {"namespace": "shop"}}, 400)

    assert "$.filter" == refused["errors"][0]["path"]
    assert ["pending"] * 3 == await statuses(one, ids)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"filter": {}},
        {"filter": {"namespace": None}},
        {"filter": {"namespace": "shop"}, "ids": [NOBODY]},
        {"ids": []},
        {"filter": {"limit": 5}},
        {"filter": {"attributes": {}}},
        {"filter": {"attributes": {"order": 7}}},
    ],
)
async def test_a_request_names_its_tasks_in_one_way(one: ApiClient, fields: dict[str, Any]) -> None:
    refused = await one.call("/v1/bulk", {"action": "cancel", **fields}, 400)

    assert "invalid_request" == refused["code"]
