"""Responses that requests of the same view share, if they accept their age."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from tests.api.api_client import ApiClient
from tests.api.auth.scene import ACT, key, register

from tasker import open_store
from tasker.api import create_app
from tasker.api.responses import JsonResponse
from tasker.api.shared import LARGEST_SHARED, LONGEST_SHARED, MOST_SHARED, SharedResponses
from tasker.errors import StoreUnavailable
from tasker.settings import AuthSettings
from tasker.store.protocol import Store
from tasker.teams.api_keys import parse_key

pytestmark = pytest.mark.anyio

AGED = {"Cache-Control": "max-age=10"}


class Time:
    """A clock that stands still until a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Reads:
    """Counts how often a store lists tasks."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        list_tasks = store.list_tasks

        async def counted(*args: Any, **options: Any) -> Sequence[Any]:
            self.count += 1
            return await list_tasks(*args, **options)

        monkeypatch.setattr(store, "list_tasks", counted)


def still(store: Store, auth: AuthSettings | None = None) -> Any:
    """Make an application whose shared responses do not age."""
    app = create_app(store, auth=auth)
    app.state.tasker.shared = SharedResponses(Time())
    return app


def client_of(app: Any, store: Store, credential: str = "") -> ApiClient:
    headers = {"Authorization": f"Bearer {credential}"} if credential else {}
    return ApiClient(
        store, transport=httpx.ASGITransport(app), base_url="http://tasker", headers=headers
    )


def request(accepts: str = "max-age=10") -> Request:
    return Request(
        {
            "type": "http",
            "path": "/v1/tasks",
            "headers": [(b"cache-control", accepts.encode())] if accepts else [],
        }
    )


async def test_tabs_share_one_read_of_the_store(
    memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty tabs that ask for the same list within the accepted age cost one read."""
    async with client_of(still(memory), memory) as api:
        await api.create()
        reads = Reads(memory, monkeypatch)

        pages = await asyncio.gather(
            *(api.read("/v1/tasks", headers=AGED) for _ in range(50)),
        )
        other = await api.read("/v1/tasks", params={"limit": 1}, headers=AGED)

    assert 2 == reads.count
    assert all(pages[0] == page for page in pages)
    assert pages[0]["tasks"] == other["tasks"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/tasks",
        "/v1/tasks/counts",
        "/v1/failures",
        "/v1/system",
        "/v1/analytics/series",
        "/v1/analytics/performance",
        "/v1/analytics/bottlenecks",
    ],
)
async def test_what_pages_ask_regularly_is_shared(memory: Store, path: str) -> None:
    """And the same as what is newly built."""
    app = still(memory)
    async with client_of(app, memory) as api:
        await api.create()
        fresh = await api.read(path)
        assert 0 == len(app.state.tasker.shared)
        shared = [await api.read(path, headers=AGED) for _ in range(3)]

    assert 1 == len(app.state.tasker.shared)
    assert shared[0] == shared[1] == shared[2]
    assert fresh.keys() == shared[0].keys() if isinstance(fresh, dict) else fresh == shared[0]


async def test_a_request_that_accepts_no_age_reads_the_store(memory: Store) -> None:
    """A caller reads what it has written, whatever was shared before."""
    async with client_of(still(memory), memory) as api:
        before = await api.read("/v1/tasks", headers=AGED)
        await api.create()
        after = await api.read("/v1/tasks")
        zero = await api.read("/v1/tasks", headers={"Cache-Control": "max-age=0"})
        shared = await api.read("/v1/tasks", headers=AGED)

    assert [0, 1, 1, 0] == [len(page["tasks"]) for page in (before, after, zero, shared)]


async def test_viewers_with_other_rights_share_nothing_that_they_may_not_see() -> None:
    """Lists are shared by those who see the same namespaces, and masked for each."""
    async with open_store("sqlite::memory:") as store:
        await register(store, "payments", "shop")
        app = still(store, AuthSettings(enabled=True, cache=timedelta(0)))
        names = ("tasks:list", "payloads:read", "tasks:create")
        both = await key(store, namespaces=("payments", "shop"), permissions=names, name="both")
        one = await key(store, permissions=names, name="one")
        blind = await key(store, permissions=("tasks:list",), name="blind")

        async with client_of(app, store, both) as api:
            await api.create("payments.refund")
            await api.create("shop.refund")
        seen = {}
        for name, credential in (("both", both), ("one", one), ("blind", blind), ("again", one)):
            async with client_of(app, store, credential) as api:
                page = await api.read("/v1/tasks", headers=AGED)
                seen[name] = page["tasks"]

        parts = parse_key(one)
        assert parts is not None
        await store.revoke_api_key(parts.prefix, ACT)
        async with client_of(app, store, one) as api:
            refused = await api.get("/v1/tasks", headers=AGED)

    assert {"payments", "shop"} == {task["namespace"] for task in seen["both"]}
    assert ["payments"] == [task["namespace"] for task in seen["one"]]
    assert seen["one"] == seen["again"]
    assert {"order": "o-1"} == seen["one"][0]["context"]
    assert {"order": "o-1"} != seen["blind"][0]["context"]
    assert 401 == refused.status_code


async def test_a_response_is_built_again_when_it_is_older_than_a_request_accepts() -> None:
    """Each request decides for itself; nothing is older than `LONGEST_SHARED`."""
    clock, built = Time(), 0
    shared = SharedResponses(clock)

    async def build() -> JsonResponse:
        nonlocal built
        built += 1
        return JsonResponse(built)

    async def body(accepts: str) -> bytes:
        return bytes((await shared.respond(request(accepts), "key", build)).body)

    assert b"1" == await body("max-age=2")
    clock.now += 1
    assert b"1" == await body("max-age=2")
    assert b"2" == await body("max-age=1")
    clock.now += LONGEST_SHARED
    assert b"3" == await body("max-age=999999")
    assert b"4" == await body("no-cache")


async def test_shared_responses_are_bounded() -> None:
    """The oldest is forgotten first; a large response is not kept at all."""
    shared = SharedResponses(Time())

    async def build() -> JsonResponse:
        return JsonResponse("small")

    async def build_large() -> JsonResponse:
        return JsonResponse("x" * LARGEST_SHARED)

    for no in range(2 * MOST_SHARED):
        await shared.respond(request(), no, build)
    assert MOST_SHARED == len(shared)
    await shared.respond(request(), "large", build_large)
    await asyncio.sleep(0)

    assert MOST_SHARED - 1 == len(shared)


async def test_a_failure_is_not_kept() -> None:
    """It reaches those who wait for the same response, and the next request tries again."""
    shared = SharedResponses(Time())

    async def fail() -> JsonResponse:
        raise StoreUnavailable("down")

    async def build() -> JsonResponse:
        return JsonResponse("up")

    outcomes = await asyncio.gather(
        *(shared.respond(request(), "key", fail) for _ in range(3)), return_exceptions=True
    )
    assert [StoreUnavailable] * 3 == [type(outcome) for outcome in outcomes]
    await asyncio.sleep(0)
    assert b'"up"' == (await shared.respond(request(), "key", build)).body
