"""Schedules over HTTP: what clients of the protocol do not see."""

from typing import Any

import pytest
from tests.api.api_client import ApiClient

pytestmark = pytest.mark.anyio

HOURLY = {
    "name": "hourly",
    "namespace": "shop",
    "template": "refund",
    "every": "1h",
    "context": {"order": "o-1"},
}


async def test_a_new_schedule_has_a_location_and_an_etag(one: ApiClient) -> None:
    response = await one.post("/v1/schedules", json=HOURLY)
    schedule = one.json_of(response, 201)
    paused = await one.call("/v1/schedules/shop/hourly/pause", headers={"If-Match": "*"})
    outdated = {"If-Match": response.headers["etag"]}
    refused = await one.call("/v1/schedules/shop/hourly/resume", None, 412, headers=outdated)

    assert "/v1/schedules/shop/hourly" == response.headers["location"]
    assert f'"{schedule["etag"]}"' == response.headers["etag"]
    assert ("1h", "6h", "0s", None) == tuple(
        schedule[field] for field in ("every", "catch_up", "jitter", "anchor")
    )
    assert ("schedule_changed", paused["etag"], "shop.hourly") == (
        refused["code"],
        refused["etag"],
        refused["schedule"],
    )


async def test_a_change_keeps_the_other_fields(one: ApiClient) -> None:
    """A cron expression replaces the interval; an old ETag or an invalid change has no effect."""
    path = "/v1/schedules/shop/hourly"
    made = await one.call("/v1/schedules", {**HOURLY, "overlap": "allow"}, 201)
    body = {"cron": "30 6 * * *", "timezone": "Asia/Tokyo", "jitter": "20s"}
    match = {"If-Match": f'"{made["etag"]}"'}
    changed = await one.call(path, body, method="PATCH", headers=match)
    refused = await one.call(path, {"jitter": 1}, 412, method="PATCH", headers=match)
    await one.call(path, {"cron": "61 * * * *"}, 400, method="PATCH")
    await one.call(path, {"cron": "", "every": None}, 400, method="PATCH")

    assert changed == await one.read(path)
    assert "schedule_changed" == refused["code"]
    same = ("template", "version", "overlap", "catch_up", "priority", "context")
    assert [made[name] for name in same] == [changed[name] for name in same]
    assert (*body.values(), None) == tuple(changed[name] for name in (*body, "every"))
    again = await one.call(path, {"every": "2h"}, method="PATCH")
    assert ("2h", None) == (again["every"], again["cron"])


async def test_lists_are_read_in_pages(one: ApiClient) -> None:
    for name in ("a", "b", "c"):
        await one.call("/v1/schedules", {**HOURLY, "name": name}, 201)

    first = await one.read("/v1/schedules?limit=2")
    second = await one.read(f"/v1/schedules?limit=2&cursor={first['next_cursor']}")

    assert ["a", "b"] == [each["name"] for each in first["schedules"]]
    assert ["c"] == [each["name"] for each in second["schedules"]]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("", {**HOURLY, "every": "1s"}, "invalid_input"),
        ("", {**HOURLY, "every": 1e300}, "invalid_input"),
        ("", {**HOURLY, "cron": "* * * * *"}, "invalid_input"),
        ("", {**HOURLY, "timezone": "a\0b"}, "invalid_input"),
        ("", {**HOURLY, "context": {"a": "\0"}}, "invalid_input"),
        ("", {**HOURLY, "context": {"a": "{tick.now}"}}, "invalid_input"),
        ("", {**HOURLY, "overlap": "never"}, "invalid_request"),
        ("", {**HOURLY, "version": "^^1"}, "invalid_input"),
        ("", {**HOURLY, "anchor": "0001-01-01T00:00:00Z"}, "invalid_request"),
        ("/preview", {"every": "1h", "after": "9999-12-31T23:59:59Z"}, "invalid_request"),
        ("", {**HOURLY, "template": "shop.refund"}, "invalid_request"),
        ("/preview", {"every": "1h", "count": 101}, "invalid_request"),
        (
            "/shop/hourly/backfill",
            {"start": "0001-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"},
            "invalid_request",
        ),
    ],
)
async def test_an_error_names_the_invalid_field(
    one: ApiClient, path: str, body: dict[str, Any], code: str
) -> None:
    problem = await one.call(f"/v1/schedules{path}", body, 400)

    assert code == problem["code"]
    assert problem["errors"]
