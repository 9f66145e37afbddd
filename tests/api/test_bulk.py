"""Operators' actions on many tasks at once."""

from dataclasses import replace
from typing import Any

import pytest
from tests.api.api_client import UNKNOWN_TASK, ApiClient, templates
from tests.waiting import eventually

from tasker.client import LocalClient
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


async def act(api: ApiClient, body: Any) -> Any:
    """Start an operation, carry it on to its end, and return it."""
    started = await api.call("/v1/bulk", {"per_second": 1_000, **body}, 202)
    while await LocalClient(api.store).bulk.execute_batch_if_due() is not None:
        pass
    return await api.read(f"/v1/bulk/{started['id']}")


async def test_open_tasks_that_match_a_filter_are_cancelled(api: ApiClient) -> None:
    """Only matching tasks; the audit has the reason and the operation for each."""
    ids = [(await api.create(tags=["red"]))["id"] for _ in range(3)]
    other = (await api.create())["id"]

    done = await act(api, {"action": "cancel", "filter": {"tag": "red"}, "reason": "wrong"})

    assert {"status": "complete", "matches": 3, "changed": 3, "rejected": {}} == {
        key: done[key] for key in ("status", "matches", "changed", "rejected")
    }
    assert ["cancelled"] * 3 + ["pending"] == await statuses(api, [*ids, other])
    assert [("wrong", done["id"])] == [
        (one["reason"], one["bulk_id"]) for one in await api.read(f"/v1/tasks/{ids[0]}/audit")
    ]


async def test_tasks_in_progress_are_cancelled_too(api: ApiClient) -> None:
    """
    Unless the filter names another status.
    """
    running = (await api.create())["id"]
    assert 1 == len(await (await ManualWorker.register(api.store)).claim())
    waiting = (await api.create())["id"]
    pending = {"action": "cancel", "filter": {"namespace": "shop", "status": "pending"}}

    await act(api, pending)
    first = await statuses(api, [running, waiting])
    await act(api, {"action": "cancel", "filter": {"namespace": "shop"}})

    assert ["in_progress", "cancelled"] == first
    assert ["cancelled", "cancelled"] == await statuses(api, [running, waiting])


async def test_more_tasks_than_one_batch_are_handled_newest_first(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks created after the dry run are left alone."""
    monkeypatch.setattr("tasker.bulk.LARGEST_BATCH", 2)
    ids = [(await api.create())["id"] for _ in range(5)]
    body = {"action": "cancel", "filter": {"namespace": "shop"}, "per_second": 1_000}
    counted = await api.call("/v1/bulk", {**body, "dry_run": True})
    later = (await api.create())["id"]

    started = await api.call("/v1/bulk", {**body, "token": counted["token"]}, 202)
    bulk = LocalClient(api.store).bulk
    await bulk.execute_batch_if_due()
    first = await statuses(api, ids)
    while await bulk.execute_batch_if_due() is not None:
        pass

    assert ["pending"] * 3 + ["cancelled"] * 2 == first
    assert ["cancelled"] * 5 + ["pending"] == await statuses(api, [*ids, later])
    assert 5 == (await api.read(f"/v1/bulk/{started['id']}"))["changed"]


async def test_an_id_that_is_given_twice_counts_once(api: ApiClient) -> None:
    task = await api.create()

    done = await act(api, {"action": "cancel", "ids": [task["id"]] * 2})

    assert (1, 1, {}) == (done["matches"], done["changed"], done["rejected"])


async def test_a_dry_run_changes_nothing(api: ApiClient) -> None:
    ids = [(await api.create())["id"] for _ in range(2)]

    counted = await api.call(
        "/v1/bulk", {"action": "cancel", "filter": {"namespace": "shop"}, "dry_run": True}
    )

    assert (2, True, {"shop.refund": 2}, ids[::-1]) == tuple(
        counted[key] for key in ("matches", "exact", "by_template", "sample")
    )
    assert {"operations": [], "next_cursor": None} == await api.read("/v1/bulk")
    assert ["pending"] * 2 == await statuses(api, ids)


@pytest.mark.parametrize(
    ("action", "status"), [("retry", "in_progress"), ("resolve", "resolved_manually")]
)
async def test_failed_tasks_are_retried_and_resolved(
    api: ApiClient, action: str, status: str
) -> None:
    ids = await fail(api, 2)
    other = (await api.create())["id"]

    done = await act(api, {"action": action, "filter": {"error_code": "LOCKED"}})

    assert (2, 2) == (done["matches"], done["changed"])
    assert [status, status, "pending"] == await statuses(api, [*ids, other])


async def test_tasks_with_an_attribute_are_cancelled(api: ApiClient) -> None:
    template = replace(templates()[0], version="1.1.0", attributes={"order": "input.order"})
    await api.store.register_template(template, registered_by="tests")
    ids = [(await api.create(context={"order": order}))["id"] for order in ("a", "b")]

    await act(api, {"action": "cancel", "filter": {"attributes": {"order": "b"}}})

    assert ["pending", "cancelled"] == await statuses(api, ids)


async def test_listed_tasks_that_cannot_change_are_reported(api: ApiClient) -> None:
    """Beforehand in the dry run, and afterwards with their reasons."""
    ids = [(await api.create())["id"] for _ in range(2)]
    await api.call(f"/v1/tasks/{ids[1]}/cancel")

    counted = await api.call("/v1/bulk", {"action": "cancel", "ids": ids, "dry_run": True})
    done = await act(api, {"action": "cancel", "ids": ids})

    assert (2, {"wrong_status": 1}) == (counted["matches"], counted["rejected"])
    assert (1, {"wrong_status": 1}) == (done["changed"], done["rejected"])
    assert [(ids[1], "wrong_status")] == [(one["id"], one["code"]) for one in done["rejections"]]


async def test_a_missing_task_in_a_list_prevents_the_whole_operation(api: ApiClient) -> None:
    task = await api.create()

    refused = await api.call(
        "/v1/bulk", {"action": "cancel", "ids": [task["id"], UNKNOWN_TASK]}, 404
    )

    assert "not_found" == refused["code"]
    assert ["pending"] == await statuses(api, [task["id"]])


async def test_a_worker_carries_an_operation_on_until_it_is_stopped(api: ApiClient) -> None:
    """One task at a time, where the pace is slow."""
    for _ in range(3):
        await api.create(delay_seconds=3_600)
    body = {"action": "cancel", "filter": {"namespace": "shop"}, "per_second": 0.01}
    path = f"/v1/bulk/{(await api.call('/v1/bulk', body, 202))['id']}"

    async with api.worker():
        await eventually(lambda: _has_changed(api, path, 1))
        stopped = await api.call(path, method="DELETE")

    assert ("stopped", 1, 3) == (stopped["status"], stopped["changed"], stopped["matches"])
    refused = await api.call(path, None, 409, method="DELETE")
    assert "wrong_status" == refused["code"]


async def _has_changed(api: ApiClient, path: str, count: int) -> bool:
    return bool((await api.read(path))["changed"] == count)


async def test_a_missing_operation_is_not_found(one: ApiClient) -> None:
    await one.read(f"/v1/bulk/{UNKNOWN_TASK}", 404)
    await one.call(f"/v1/bulk/{UNKNOWN_TASK}", None, 404, method="DELETE")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"filter": {}},
        {"filter": {"namespace": None}},
        {"filter": {"namespace": "shop"}, "ids": [UNKNOWN_TASK]},
        {"ids": []},
        {"filter": {"limit": 5}},
        {"filter": {"attributes": {}}},
        {"filter": {"attributes": {"order": 7}}},
        {"filter": {"namespace": "shop"}, "per_second": 0},
        {"filter": {"namespace": "shop"}, "per_second": 1_001},
    ],
)
async def test_a_request_selects_tasks_either_by_ids_or_by_filter(
    one: ApiClient, fields: dict[str, Any]
) -> None:
    refused = await one.call("/v1/bulk", {"action": "cancel", **fields}, 400)

    assert "invalid_request" == refused["code"]
