"""Responses of HTTP APIs become results, retryable errors or permanent errors."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import httpx
import pytest
from tests.http_service import Reply, Sent, serving

from tasker import (
    ApiHandler,
    AsyncContext,
    HttpStatusClassification,
    PermanentError,
    RetryableError,
    SyncApiHandler,
    SyncContext,
    check_response,
)
from tasker.handlers.http import connection_error
from tasker.testing import make_context, run_step


def response(status: int, *, text: str = "", **headers: str) -> httpx.Response:
    request = httpx.Request("POST", "https://user:secret@api.example.com/pay?token=secret")
    return httpx.Response(status, text=text, headers=headers, request=request)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226])
def test_a_success_is_returned(status: int) -> None:
    assert status == check_response(response(status)).status_code


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 405, 409, 410, 422])
def test_a_permanent_status_raises_a_permanent_error(status: int) -> None:
    with pytest.raises(PermanentError) as refusal:
        check_response(response(status, text='{"detail": "no such card"}'))

    assert f"HTTP_{status}" == refusal.value.code
    assert {"status": status, "body": '{"detail": "no such card"}'} == refusal.value.details
    start = f"POST https://api.example.com/pay returned {status}"
    assert str(refusal.value).startswith(start)
    assert str(refusal.value).endswith(": no such card")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("after", "expected"),
    [(None, None), ("30", timedelta(seconds=30)), ("soon", None), ("0", timedelta(0))],
)
@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 503, 599])
def test_a_retryable_status_raises_a_retryable_error(
    status: int, after: str | None, expected: timedelta | None
) -> None:
    headers = {} if after is None else {"Retry-After": after}
    with pytest.raises(RetryableError) as refusal:
        check_response(response(status, **headers))

    assert (f"HTTP_{status}", expected) == (refusal.value.code, refusal.value.retry_after)


@pytest.mark.parametrize(
    ("status", "accept", "classify", "expected"),
    [
        (409, (409,), HttpStatusClassification(), None),
        (409, (), HttpStatusClassification(success=((400, 409),)), None),
        (404, (), HttpStatusClassification(retryable=((404, 404),)), RetryableError),
        (503, (), HttpStatusClassification(permanent=((500, 599),)), PermanentError),
        (202, (), HttpStatusClassification(retryable=((202, 202),)), RetryableError),
        (204, (), HttpStatusClassification(permanent=((204, 204),)), PermanentError),
        (409, (409,), HttpStatusClassification(permanent=((409, 409),)), None),
    ],
)
def test_the_classification_of_statuses_can_be_changed(
    status: int,
    accept: Sequence[int],
    classify: HttpStatusClassification,
    expected: type[Exception] | None,
) -> None:
    if expected is None:
        check_response(response(status), accept=accept, classify=classify)
        return
    with pytest.raises(expected):
        check_response(response(status), accept=accept, classify=classify)


def test_a_long_body_is_shortened() -> None:
    with pytest.raises(PermanentError) as refusal:
        check_response(response(400, text="x" * 10_000))

    assert refusal.value.details is not None
    assert 2_000 == len(str(refusal.value.details["body"]))


def test_a_response_without_a_request_is_accepted() -> None:
    with pytest.raises(PermanentError, match="the request returned 404"):
        check_response(httpx.Response(404))


def test_a_request_without_a_response_is_retryable() -> None:
    late = connection_error(httpx.ReadTimeout(""), "GET https://api.example.com")
    down = connection_error(httpx.ConnectError("refused"), "GET https://api.example.com")

    assert ("HTTP_TIMEOUT", "GET https://api.example.com timed out: ReadTimeout") == (
        late.code,
        str(late),
    )
    assert ("HTTP_UNREACHABLE", "GET https://api.example.com failed: refused") == (
        down.code,
        str(down),
    )


def answer(sent: Sent) -> Reply:
    if sent.path == "/v1/exists":
        return Reply(409, b'{"id": 3}')
    facts = {
        "path": sent.path,
        "key": sent.headers.get("idempotency-key"),
        "team": sent.headers.get("x-team"),
        "body": sent.body.decode(),
    }
    return Reply(200, json.dumps(facts).encode())


@pytest.mark.anyio
async def test_async_handlers_share_a_client() -> None:
    """Requests with effects carry the key of the step; instances come and go."""
    clients = []
    with serving(answer) as service:

        class Pay(ApiHandler):
            base_url = service.url + "/v1"
            headers: ClassVar = {"X-Team": "payments"}

            async def call(self, ctx: AsyncContext) -> list[Any]:
                clients.append(self.client)
                read = await self.get(ctx, "/cards", params={"page": 2})
                made = await self.post(ctx, "/pay", json={"cents": 5})
                again = await self.put(ctx, "/exists", accept=[409])
                gone = await self.delete(ctx, "/x", headers={"idempotency-key": "mine"})
                return [read.json(), made.json(), again.status_code, gone.json()["key"]]

        context = make_context()
        read, made, again, gone = await Pay().call(context)
        await Pay().call(context)
        await clients[0].aclose()

    assert ("/v1/cards?page=2", None, "payments") == (read["path"], read["key"], read["team"])
    assert ("/v1/pay", '{"cents":5}') == (made["path"], made["body"])
    assert context.idempotency_key == made["key"]
    assert (409, "mine") == (again, gone)
    assert clients[0] is clients[1]


def test_blocking_handlers_share_a_client() -> None:
    clients = []
    with serving(answer) as service:

        class Pay(SyncApiHandler):
            base_url = service.url + "/v1"

            def call(self, ctx: SyncContext) -> Any:
                clients.append(self.client)
                self.get(ctx, "/a")
                self.put(ctx, "/b")
                self.delete(ctx, "/c")
                return self.post(ctx, "/pay", json={"cents": 5}).json()

        made, again = run_step(Pay), run_step(Pay)
        clients[0].close()

    assert ("/v1/pay", '{"cents":5}') == (made.value["path"], made.value["body"])
    assert made.value == again.value
    assert clients[0] is clients[1]
