"""What every request passes: limits of size, time and number, headers, and the outer edge."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.api.api_client import UNKNOWN_TASK, ApiClient
from tests.api.conftest import client_of
from tests.waiting import eventually

from tasker.api import create_app
from tasker.api.rate_limits import CallerRateLimits
from tasker.errors import StoreUnavailable
from tasker.model import SchemaStatus
from tasker.settings import AccessLogMode, AuthSettings, ServerSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

REFUND = {"name": "shop.refund", "context": {"order": "o-1"}}
JSON = {"Content-Type": "application/json"}


async def test_the_size_of_a_body_is_limited(memory: Store) -> None:
    """
    Whether it says how long it is or not; bulk has another.
    """
    settings = ServerSettings(body_bytes=200, bulk_body_bytes=1000)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 100

    async with client_of(memory, settings) as one:
        fits = await one.post("/v1/tasks", json=REFUND)
        declared = await one.post("/v1/tasks", content=b" " * 201, headers=JSON)
        undeclared = await one.post("/v1/tasks", content=chunks(), headers=JSON)
        bulk = await one.post("/v1/tasks/bulk", json={"tasks": [REFUND] * 5})
        too_many = await one.post("/v1/tasks/bulk", content=b" " * 1001, headers=JSON)

        assert (201, 201) == (fits.status_code, bulk.status_code)
        for response, limit in ((declared, 200), (undeclared, 200), (too_many, 1000)):
            problem = one.json_of(response, 413)
            assert ("too_large", limit) == (problem["code"], problem["limit"])
        assert 6 == len((await one.read("/v1/tasks"))["tasks"])


async def test_the_size_of_a_context_is_limited(memory: Store) -> None:
    async with client_of(memory, ServerSettings(body_bytes=4 << 20)) as one:
        problem = await one.call(
            "/v1/tasks", {"name": "shop.broken", "context": {"text": "x" * (1 << 20)}}, 413
        )

        assert ("too_large", 1 << 20) == (problem["code"], problem["limit"])


async def test_the_number_of_tasks_in_a_bulk_is_limited(memory: Store) -> None:
    async with client_of(memory, ServerSettings(bulk_tasks=2)) as one:
        problem = await one.call("/v1/tasks/bulk", {"tasks": [REFUND] * 3}, 400)

        assert "$.tasks" == problem["errors"][0]["path"]
        assert [] == (await one.read("/v1/tasks"))["tasks"]


async def test_a_request_has_a_time_limit(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    504 where the server is too slow, 408 where the body is.
    """
    never = asyncio.Event()

    async def hang(*_: Any, **__: Any) -> Any:
        await never.wait()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    monkeypatch.setattr(memory, "list_tasks", hang)
    async with client_of(memory, ServerSettings(timeout=timedelta(seconds=0.05))) as one:
        late = await one.read("/v1/tasks", 504)
        slow = one.json_of(await one.post("/v1/tasks", content=slowly(), headers=JSON), 408)

        assert ("request_timeout", "request_incomplete") == (late["code"], slow["code"])
        assert "/v1/tasks" == late["instance"]


async def test_concurrent_requests_are_limited(
    memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One more is refused with `Retry-After`; waits and health do not count.
    """
    going = asyncio.Event()
    real, under_way = memory.list_tasks, 0

    async def held_up(*args: Any, **options: Any) -> Any:
        nonlocal under_way
        under_way += 1
        await going.wait()
        return await real(*args, **options)

    monkeypatch.setattr(memory, "list_tasks", held_up)
    async with client_of(memory, ServerSettings(concurrency=2)) as one:
        first = [asyncio.create_task(one.read("/v1/tasks")) for _ in range(2)]
        await eventually(lambda: 2 == under_way)
        refused = await one.get("/v1/tasks")
        health = await one.get("/health")
        going.set()
        await asyncio.gather(*first)

        assert "overloaded" == one.json_of(refused, 503)["code"]
        assert "1" == refused.headers["retry-after"]
        assert 200 == health.status_code
        await one.read("/v1/tasks")


async def test_concurrent_waits_are_limited_separately(memory: Store) -> None:
    app = create_app(memory, settings=ServerSettings(streams=1))
    async with ApiClient(memory, transport=httpx.ASGITransport(app), base_url="http://t") as one:
        task = await one.create()
        place = f"/v1/tasks/{task['id']}/wait"
        first = asyncio.create_task(one.read(place, 202, params={"timeout": 1}))
        await eventually(lambda: app.state.tasker.watcher.waiting_request_count(task["id"]))
        refused = await one.read(place, 503)
        await first

        assert "overloaded" == refused["code"]


PUBLIC = ["/v1/session", "/v1/complete/guess", "/v1/hooks/shop/pay"]


@pytest.mark.parametrize("path", PUBLIC)
async def test_slow_bodies_without_a_credential_keep_no_others_out(
    memory: Store, path: str
) -> None:
    """Those of one address do not keep out others of their kind either."""
    settings = ServerSettings(concurrency=16)
    app = create_app(memory, settings=settings, auth=AuthSettings(enabled=True))
    never, begun = asyncio.Event(), 0

    async def slowly() -> AsyncIterator[bytes]:
        nonlocal begun
        begun += 1
        yield b"{"
        await never.wait()

    @asynccontextmanager
    async def at(address: str) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as caller:
            yield caller

    async with at("10.0.0.1") as slow, at("10.0.0.2") as other:
        request = slow.post(path, content=slowly(), headers=JSON)
        held = asyncio.create_task(request)
        await eventually(lambda: begun == 1)
        refused = await slow.post(path, content=b"{}", headers=JSON)
        served = await other.post(path, content=b"{}", headers=JSON)
        tasks = await slow.get("/v1/tasks")
        held.cancel()
        await asyncio.wait([held])

    assert "overloaded" == refused.json()["code"]
    assert "overloaded" != served.json()["code"]
    assert 401 == tasks.status_code


@pytest.mark.parametrize("path", PUBLIC)
async def test_a_rate_limit_without_a_credential_applies_before_the_body_is_read(
    memory: Store, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for route in ("completions", "hooks"):
        monkeypatch.setattr(f"tasker.api.routes.{route}._limits", CallerRateLimits(0.001, 1))
    app = create_app(memory, auth=AuthSettings(enabled=True))
    app.state.tasker.logins = CallerRateLimits(0.001, 1)
    read = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b"{}"

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as caller:
        await caller.post(path, content=b"{}", headers=JSON)
        limited = await caller.post(path, content=body(), headers=JSON)

    assert 429 == limited.status_code
    assert not read


def _many_fields(count: int) -> str:
    return ",".join(f'"f{number}": 0' for number in range(count))


@pytest.mark.parametrize(
    ("path", "body", "path_of_fault"),
    [
        ("/v1/session", f"{{{_many_fields(50_000)}}}", "$"),
        ("/v1/complete/guess", f"{{{_many_fields(50_000)}}}", "$"),
        ("/v1/tasks", f"{{{_many_fields(50_000)}}}", "$"),
        ("/v1/tasks/bulk", f'{{"tasks": [{{{_many_fields(50_000)}}}]}}', "$.tasks[0]"),
    ],
)
async def test_many_unknown_fields_are_refused_at_once(
    memory: Store, path: str, body: str, path_of_fault: str
) -> None:
    """An error for each of them would stop the server for seconds."""
    async with client_of(memory, ServerSettings()) as one:
        problem = one.json_of(await one.post(path, content=body, headers=JSON), 400)

    assert "50,000 fields; the limit is 200" in problem["detail"]
    assert [path_of_fault] == [fault["path"] for fault in problem["errors"]]


async def test_many_errors_of_a_body_are_only_counted(memory: Store) -> None:
    body = {"tasks": [0] * 5_000}
    async with client_of(memory, ServerSettings()) as one:
        problem = await one.call("/v1/tasks/bulk", body, 400)
        too_many = await one.call("/v1/tasks/bulk", {"tasks": [0] * 100_001}, 400)

    assert "The body has 5,000 errors." == problem["detail"]
    assert "at most 100,000 items" in too_many["detail"]


async def test_requests_are_limited_by_a_rate_per_caller(memory: Store) -> None:
    """
    A caller above it gets 429 with `Retry-After`.
    """
    async with client_of(memory, ServerSettings(rate=0.5, burst=3)) as one:
        statuses = [(await one.get("/v1/tasks")).status_code for _ in range(4)]
        refused = await one.get("/v1/tasks")
        health = await one.get("/health")

        assert [200, 200, 200, 429] == statuses
        assert "rate_limited" == one.json_of(refused, 429)["code"]
        assert refused.headers["retry-after"] in ("1", "2")
        assert 200 == health.status_code


async def test_every_response_has_security_headers(one: ApiClient) -> None:
    for path in ("/health", "/v1/tasks", "/nothing", "/openapi.json"):
        headers = (await one.get(path)).headers

        assert "nosniff" == headers["x-content-type-options"]
        assert "DENY" == headers["x-frame-options"]
        assert "no-store" == headers["cache-control"]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers


async def test_the_interactive_api_documentation_is_off_by_default(memory: Store) -> None:
    """Its page loads scripts from another origin, which no other response may."""
    async with client_of(memory) as closed:
        assert 404 == (await closed.get("/docs")).status_code
    async with client_of(memory, ServerSettings(docs=True)) as shown:
        page = await shown.get("/docs")
        assert 200 == page.status_code
        assert "/openapi.json" in page.text
        assert "content-security-policy" not in page.headers
        assert "DENY" == page.headers["x-frame-options"]


async def test_cross_origin_requests_are_refused(memory: Store) -> None:
    """
    Unless their origin is listed.
    """
    preflight = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    async with client_of(memory) as closed:
        response = await closed.options("/v1/tasks", headers=preflight)
        assert 405 == response.status_code
        assert "access-control-allow-origin" not in response.headers

    settings = ServerSettings(cors_origins=("https://app.example.com",))
    async with client_of(memory, settings) as open_to_one:
        response = await open_to_one.options("/v1/tasks", headers=preflight)
        other = await open_to_one.options(
            "/v1/tasks", headers={**preflight, "Origin": "https://evil.example.com"}
        )
        assert "https://app.example.com" == response.headers["access-control-allow-origin"]
        assert "access-control-allow-origin" not in other.headers


async def test_an_unexpected_error_is_logged_and_not_shown(
    memory: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    500 with a correlation id, by which the log has the trace.
    """

    async def burst(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("secret of the database")

    monkeypatch.setattr(memory, "list_tasks", burst)
    async with client_of(memory) as one:
        response = await one.get("/v1/tasks", headers={"X-Correlation-Id": "c-500"})

        problem = one.json_of(response, 500)
    assert ("internal_error", "c-500") == (problem["code"], problem["correlation_id"])
    assert "secret" not in response.text
    assert "ZeroDivisionError" not in response.text
    records = [record for record in caplog.records if record.msg == "request_failed"]
    assert [("c-500", ZeroDivisionError)] == [
        (getattr(record, "correlation_id", ""), record.exc_info and record.exc_info[0])
        for record in records
    ]


@pytest.mark.parametrize(
    ("logged", "statuses"),
    [(AccessLogMode.ALL, [200, 404]), (AccessLogMode.ERRORS, [404]), (AccessLogMode.OFF, [])],
)
async def test_the_access_log_has_the_requests_that_the_settings_select(
    memory: Store, caplog: pytest.LogCaptureFixture, logged: AccessLogMode, statuses: list[int]
) -> None:
    """Requests of probes are never logged."""
    caplog.set_level(logging.INFO, "tasker.access")
    async with client_of(memory, ServerSettings(access_log=logged)) as one:
        for path in ("/v1/tasks", f"/v1/tasks/{UNKNOWN_TASK}", "/live"):
            await one.get(path)

    records = [record for record in caplog.records if record.name == "tasker.access"]
    assert statuses == [vars(record)["status"] for record in records]


async def test_an_access_record_is_built_only_if_it_is_logged(
    memory: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING, "tasker.access")
    monkeypatch.setattr("tasker.api.middleware.access_log.info", pytest.fail)
    async with client_of(memory, ServerSettings(access_log=AccessLogMode.ALL)) as one:
        assert 404 == (await one.get(f"/v1/tasks/{UNKNOWN_TASK}")).status_code


async def test_an_unavailable_store_is_reported_without_its_address(
    memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("postgresql://admin:secret@10.0.0.7 refused")

    for name in ("list_tasks", "get_task", "schema_status", "create_tasks"):
        monkeypatch.setattr(memory, name, gone)
    async with client_of(memory) as one:
        listing = await one.get("/v1/tasks")
        creation = await one.post("/v1/tasks", json=REFUND)
        ready = await one.get("/ready")

        for response in (listing, creation):
            assert "store_unavailable" == one.json_of(response, 503)["code"]
            assert "2" == response.headers["retry-after"]
        assert ["store", "schema"] == one.json_of(ready, 503)["failed_checks"]
        for response in (listing, creation, ready):
            assert "10.0.0.7" not in response.text
            assert "secret" not in response.text
        assert 200 == (await one.get("/live")).status_code


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (SchemaStatus(1, 2), "the schema is at version 1, not 2"),
        (
            SchemaStatus(1, 1, known=False),
            "the schema was created by another development version of Tasker",
        ),
    ],
)
async def test_a_server_whose_schema_does_not_match_is_not_ready(
    memory: Store, monkeypatch: pytest.MonkeyPatch, status: SchemaStatus, reason: str
) -> None:
    async def schema_status() -> SchemaStatus:
        return status

    monkeypatch.setattr(memory, "schema_status", schema_status)
    async with client_of(memory) as one:
        ready = one.json_of(await one.get("/ready"), 503)

        assert ["schema"] == ready["failed_checks"]
        assert reason in str(ready["checks"]["schema"])


async def test_an_application_opens_a_store_by_url() -> None:
    app = create_app("sqlite::memory:")
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://t") as client,
    ):
        assert 200 == (await client.get("/v1/tasks")).status_code
