"""Routes that call their dependencies themselves answer as FastAPI would."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi.routing import request_response
from tests.api.api_client import templates
from tests.api.auth.scene import calling, key

from tasker import open_store
from tasker.api.app import ROUTES
from tasker.api.routing import DirectRoute
from tasker.settings import ServerSettings

pytestmark = pytest.mark.anyio

TASK = b'{"name": "shop.refund", "context": {"order": "o-1"}}'
JSON = {"Content-Type": "application/json"}
_CHANGING = re.compile(
    rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
    rb"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
    rb'|(?<="etag":)"[^"]*"'
)


def direct_routes() -> Iterator[DirectRoute]:
    for group in ROUTES:
        for route in group.router.routes:
            if isinstance(route, DirectRoute) and route.is_direct:
                yield route


class Case(NamedTuple):
    """A request, and the status of its response."""

    status: int
    body: bytes = TASK
    path: str = "/v1/tasks"
    method: str = "POST"
    headers: dict[str, str] = JSON


CASES = {
    "nothing yet": Case(200, b"", method="GET"),
    "created": Case(201),
    "bulk": Case(201, b'{"tasks": [%s, %s]}' % (TASK, TASK), "/v1/tasks/bulk"),
    "keyed": Case(201, headers={**JSON, "Idempotency-Key": "k-1"}),
    "keyed again": Case(200, headers={**JSON, "Idempotency-Key": "k-1"}),
    "key of another task": Case(
        409, TASK.replace(b"o-1", b"o-2"), headers={**JSON, "Idempotency-Key": "k-1"}
    ),
    "not JSON": Case(400, b"{"),
    "no body": Case(400, b""),
    "no object": Case(400, b"[]"),
    "unknown field": Case(400, TASK.replace(b"context", b"contxt")),
    "wrong type": Case(400, b'{"name": 5}'),
    "wrong input": Case(400, TASK.replace(b'"o-1"', b"1")),
    "unknown query": Case(400, path="/v1/tasks?now=1"),
    "no media type": Case(415, headers={}),
    "other media type": Case(415, headers={"Content-Type": "text/plain"}),
    "too large": Case(413, b" " * 2001),
    "no such template": Case(404, b'{"name": "shop.nothing"}'),
    "another namespace": Case(403, b'{"name": "billing.refund"}'),
    "no such parent": Case(
        404, TASK[:-1] + b', "parent_id": "01900000-0000-7000-8000-000000000000"}'
    ),
    "wrong method": Case(405, method="PUT"),
    "two keys": Case(401, headers={**JSON, "X-API-Key": "x"}),
}


async def answer(client: httpx.AsyncClient, case: Case) -> tuple[int, list[Any], bytes]:
    """Send a request; return its response without ids, times and ETags."""
    headers = {**case.headers, "X-Correlation-Id": "c-1"}
    if case.status == 401:
        headers["Authorization"] = "Bearer tsk_0"
    response = await client.request(case.method, case.path, content=case.body, headers=headers)
    sent = [(name, _CHANGING.sub(b"?", value)) for name, value in response.headers.raw]
    return response.status_code, sent, _CHANGING.sub(b"?", response.content)


async def answers() -> dict[str, tuple[int, list[Any], bytes]]:
    """Send the requests of all cases to an application over a store of its own."""
    async with open_store("sqlite::memory:") as store:
        for template in templates():
            await store.register_template(template, registered_by="tests")
        text = await key(store, permissions=["tasks:create", "tasks:list"], namespaces=["shop"])
        async with calling(store, text, settings=ServerSettings(body_bytes=2000)) as client:
            return {name: await answer(client, case) for name, case in CASES.items()}


async def test_direct_routes_respond_like_fastapi(monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte by byte, whether a request succeeds or is refused."""
    direct = await answers()
    for route in direct_routes():
        monkeypatch.setattr(route, "app", request_response(route.get_route_handler()))
        monkeypatch.setattr(route, "is_direct", False)  # the router finds it
    solved = await answers()

    assert {name: case.status for name, case in CASES.items()} == {
        name: status for name, (status, _, _) in direct.items()
    }
    assert solved == direct


def test_creating_tasks_uses_the_direct_route() -> None:
    """A route that gains a parameter becomes slow unnoticed otherwise."""
    paths = {route.path for route in direct_routes()}

    assert {"/v1/tasks", "/v1/tasks/bulk", "/v1/bulk"} <= paths
