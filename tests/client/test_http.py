"""The HTTP client where the way is bad: answers lost, servers away, busy, or no Tasker at all."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal

import httpx
import pytest

from tasker import LocalClient, TaskRequest, Template, open_store
from tasker.api import create_app
from tasker.api.server import run_server
from tasker.client import connect, connect_sync
from tasker.client.http import HttpClient
from tasker.errors import (
    Forbidden,
    InvalidInput,
    Misuse,
    NotFound,
    StoreError,
    StoreUnavailable,
    Unauthenticated,
    WrongStatus,
)
from tasker.model import StepSpec, TaskId
from tasker.settings import ServerSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

TASK = TaskId("00000000-0000-7000-8000-000000000000")
TEMPLATE = Template(namespace="n", name="t", version="1.0.0", steps=(StepSpec(name="a"),))
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite::memory:") as store:
        await store.register_template(TEMPLATE, registered_by="tests")
        yield store


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pass over pauses between attempts, and return how long they would have been."""
    seconds_slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, *_: Any) -> None:
        seconds_slept.append(seconds)
        await real(0)

    monkeypatch.setattr("tasker.client.requests.sleep", sleep)
    return seconds_slept


class Line(httpx.AsyncBaseTransport):
    """A line to an application that does to each request what the test says."""

    def __init__(self, store: Store, *troubles: str) -> None:
        self._app = httpx.ASGITransport(create_app(store))
        self._troubles = list(troubles)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        trouble = self._troubles.pop(0) if self._troubles else ""
        if trouble == "not reached":
            raise httpx.ConnectError("connection refused")
        if trouble.isdigit():
            return httpx.Response(int(trouble), html="<h1>Sorry</h1>")
        response = await self._app.handle_async_request(request)
        if trouble == "answer lost":
            await response.aread()
            raise httpx.ReadError("connection reset")
        return response


def answering(*answers: httpx.Response | Exception) -> HttpClient:
    """Make a client whose server gives these answers, the last one for ever."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        answer_now = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer_now, Exception):
            raise answer_now
        return answer_now

    return HttpClient("http://t", transport=httpx.MockTransport(answer), retries=3)


def problem(status: int, code: str, **more: Any) -> httpx.Response:
    return httpx.Response(
        status,
        content=json.dumps({"status": status, "code": code, "detail": f"{code}!", **more}),
        headers={"Content-Type": "application/problem+json", **more.pop("headers", {})},
    )


@pytest.mark.parametrize("trouble", ["answer lost", "not reached", "502", "503", "504"])
async def test_a_task_is_created_once_despite_lost_requests_and_responses(
    store: Store, trouble: str
) -> None:
    """
    Every creation has a key, so that sending it again is safe; it still counts as new.
    """
    line = Line(store, trouble, trouble)
    async with HttpClient("http://t", transport=line) as client:
        one = await client.create_task("n.t", {"a": 1})

    keys = {json.loads(request.content)["idempotency_key"] for request in line.requests}
    assert (3, 1, True) == (len(line.requests), len(keys), one.created)
    assert [one.id] == [task.id for task in await LocalClient(store).tasks()]


@pytest.mark.parametrize("if_exists", ["reject", "replace"])
async def test_a_creation_that_rejects_or_replaces_is_not_retried(
    store: Store, if_exists: Literal["reject", "replace"]
) -> None:
    """
    Sent again, it would be rejected for its own task, or replace it.
    """
    line = Line(store, "answer lost")
    request = TaskRequest(template="n.t", idempotency_key="k", if_exists=if_exists)
    async with HttpClient("http://t", transport=line) as client:
        with pytest.raises(StoreUnavailable, match="connection reset"):
            await client.create_tasks([request])

    assert 1 == len(line.requests)
    assert 1 == len(await LocalClient(store).tasks())


async def test_the_callers_idempotency_key_is_sent(store: Store) -> None:
    line = Line(store)
    async with HttpClient("http://t", transport=line) as client:
        first = await client.create_task("n.t", idempotency_key="k")
        again = await client.create_task("n.t", idempotency_key="k")

    assert (first.id, True, False, "k") == (
        again.id,
        first.created,
        again.created,
        again.idempotency_key,
    )


async def test_a_request_that_is_not_idempotent_is_not_retried(store: Store) -> None:
    """
    Unless the server did not even begin with it.
    """
    task = await LocalClient(store).create_task("n.t")
    line = Line(store, "answer lost")
    async with HttpClient("http://t", transport=line) as client:
        with pytest.raises(StoreUnavailable, match="connection reset"):
            await client.cancel(task.id)
        with pytest.raises(WrongStatus):
            await client.cancel(task.id)
        line._troubles = ["not reached", "not reached"]
        with pytest.raises(WrongStatus):
            await client.cancel(task.id)

    assert 5 == len(line.requests)


async def test_delays_between_retries_grow_and_respect_the_server(pauses: list[float]) -> None:
    """
    Retry-After is seconds or an instant, and never for ever.
    """
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    client = answering(
        problem(503, "overloaded"),
        httpx.Response(429, headers={"Retry-After": "7"}),
        httpx.Response(503, headers={"Retry-After": "100000"}),
        problem(404, "not_found"),
    )
    with pytest.raises(NotFound):
        await client.get(TASK)
    assert 0.05 <= pauses[0] <= 0.1
    assert [7.0, 10.0] == pauses[1:]

    client = answering(
        httpx.Response(503, headers={"Retry-After": soon}), problem(404, "not_found")
    )
    with pytest.raises(NotFound):
        await client.get(TASK)
    assert 1 <= pauses[-1] <= 3


async def test_a_server_that_stays_unreachable_is_unavailable(pauses: list[float]) -> None:
    for answer, seconds_slept in (
        (
            httpx.ConnectError("connection refused"),
            "http://t cannot be reached: connection refused",
        ),
        (httpx.ReadTimeout(""), "ReadTimeout"),
        (httpx.Response(502, html="<h1>Bad gateway</h1>"), "returned status 502"),
        (problem(503, "store_unavailable"), "store_unavailable!"),
        (problem(429, "rate_limited"), "rate_limited!"),
    ):
        pauses.clear()
        with pytest.raises(StoreUnavailable, match=seconds_slept):
            await answering(answer).get(TASK)
        assert 3 == len(pauses)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(401, "unauthenticated"), Unauthenticated),
        (problem(403, "forbidden"), Forbidden),
        (problem(400, "invalid_request"), InvalidInput),
        (problem(418, "of_a_later_release"), Misuse),
        (problem(500, "internal_error"), StoreError),
        (httpx.Response(200, html="<h1>Welcome</h1>"), StoreError),
        (httpx.Response(404, html="<h1>Not here</h1>"), StoreError),
        (httpx.Response(302, headers={"Location": "http://elsewhere"}), StoreError),
    ],
)
async def test_error_responses_raise_our_errors(
    answer: httpx.Response, kind: type[Exception], pauses: list[float]
) -> None:
    """Also responses of other servers; none of these requests is retried."""
    with pytest.raises(kind) as caught:
        await answering(answer).get(TASK)

    assert kind is type(caught.value)
    assert [] == pauses


async def test_credentials_are_sent_and_not_shown() -> None:
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return problem(404, "not_found")

    client = HttpClient(
        "http://t", api_key="tsk_key", token="token", transport=httpx.MockTransport(answer)
    )
    with pytest.raises(NotFound):
        await client.get(TASK)

    assert ("tsk_key", "Bearer token") == (seen[0]["x-api-key"], seen[0]["authorization"])
    assert "tsk_key" not in repr(client)


async def test_connect_chooses_the_client_by_the_url(store: Store) -> None:
    """
    A server's, or that of a store in this process.
    """
    settings = ServerSettings(port=0, grace=timedelta(0))
    async with run_server(create_app(store, settings=settings), settings) as server:
        async with connect(server.url) as client:
            assert isinstance(client, HttpClient)
            task = await client.create_task("n.t")
        async with connect("sqlite::memory:") as local:
            assert isinstance(local, LocalClient)

        def blocking() -> str:
            with connect_sync(server.url) as sync:
                return sync.cancel(sync.create_task("n.t").id).status.value

        assert "cancelled" == await asyncio.to_thread(blocking)
    assert task.created
