"""Steps that send an HTTP request instead of running a handler."""

import json
import threading
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from tests.http_service import Reply, Sent, serving

from tasker import (
    HandlerNotFound,
    HttpCall,
    HttpHostNotAllowed,
    HttpStatusClassification,
    NamespacePolicy,
    Retry,
    StepSpec,
    StepStatus,
    TaskFailed,
    Template,
    Worker,
    WorkerSettings,
    open_store,
)
from tasker.engine.checked_transport import is_address_allowed
from tasker.engine.http_step import MOST_BYTES, HttpStepHandler
from tasker.errors import InvalidExpression
from tasker.model import Attempt
from tasker.store.protocol import AuditNote
from tasker.template.http import render_url
from tasker.testing import WorkflowRun, run_workflow

pytestmark = pytest.mark.anyio

HTTP = WorkerSettings(http=True, http_networks=(ip_network("127.0.0.0/8"),))
JSON = {"Content-Type": "application/json"}
NOTE = AuditNote(actor="root")


def calling(call: HttpCall, attempts: int = 3) -> Template:
    return Template(
        namespace="shop",
        name="order",
        version="1.0.0",
        steps=(
            StepSpec(name="prepare"),
            StepSpec(
                name="pay",
                http=call,
                dependencies=("prepare",),
                retry=Retry(max_attempts=attempts, jitter=0),
            ),
        ),
    )


async def run(
    call: HttpCall,
    context: dict[str, Any] | None = None,
    *,
    prepared: Any = None,
    attempts: int = 3,
) -> WorkflowRun[Any]:
    return await run_workflow(
        calling(call, attempts), context or {}, stubs={"prepare": lambda: prepared}, settings=HTTP
    )


def error_of(result: WorkflowRun[Any]) -> dict[str, Any]:
    error = result.steps["pay"].error
    assert error is not None
    return dict(error)


def pay_attempts(result: WorkflowRun[Any]) -> list[Attempt]:
    return [attempt for attempt in result.attempts if attempt.step == "pay"]


async def test_a_request_is_built_from_inputs_and_results() -> None:
    """Values in the URL are encoded, and a string that is only a placeholder keeps its type."""
    with serving(lambda _: Reply(201, b'{"id": 7}')) as service:
        call = HttpCall(
            url=service.url + "/orders/{input.order}/pay?by={results.prepare.by}",
            method="POST",
            headers={"X-Customer": "c-{input.customer}"},
            body={"lines": "{input.lines}", "note": "for {input.customer}", "fixed": [1, None]},
        )
        result = await run(
            call,
            {"order": "a/b&c", "customer": 12, "lines": [{"sku": "x", "n": 2}]},
            prepared={"by": "card 1"},
        )

    (sent,) = service.requests
    assert ("POST", "/orders/a%2Fb%26c/pay?by=card%201") == (sent.method, sent.path)
    assert "c-12" == sent.headers["x-customer"]
    assert "application/json" == sent.headers["content-type"]
    assert f"{result.task.id}:pay" == sent.headers["idempotency-key"]
    assert {
        "lines": [{"sku": "x", "n": 2}],
        "note": "for 12",
        "fixed": [1, None],
    } == json.loads(sent.body)
    outcome = result.results["pay"]
    assert isinstance(outcome, dict)
    assert (201, {"id": 7}) == (outcome["status"], outcome["body"])
    assert "application/json" == outcome["headers"]["content-type"]


async def test_a_safe_request_has_no_idempotency_key() -> None:
    """A text is sent and read as it is."""
    plain = Reply(200, "grün".encode(), {"Content-Type": "text/plain; charset=utf-8"})
    with serving(lambda _: plain) as service:
        result = await run(HttpCall(url=service.url + "/x"))

    assert "idempotency-key" not in service.requests[0].headers
    outcome = result.results["pay"]
    assert isinstance(outcome, dict)
    assert "grün" == outcome["body"]


@pytest.mark.parametrize(
    ("status", "attempts"),
    [
        *((status, 1) for status in (300, 400, 401, 402, 403, 404, 409, 410, 422, 451)),
        *((status, 3) for status in (408, 425, 429, 500, 502, 503, 504, 599)),
    ],
)
async def test_a_status_is_permanent_or_retried(status: int, attempts: int) -> None:
    with serving(lambda _: Reply(status, b'{"error": {"message": "no stock"}}')) as service:
        result = await run(HttpCall(url=service.url + "/x?token=secret"))

    assert attempts == len(pay_attempts(result))
    error = error_of(result)
    assert f"HTTP_{status}" == error["code"]
    assert error["message"].endswith(": no stock")
    assert "secret" not in json.dumps(error)
    assert {"status": status, "body": '{"error": {"message": "no stock"}}'} == error["details"]


async def test_classify_changes_the_meaning_of_a_status() -> None:
    classify = HttpStatusClassification(
        success=((409, 409),), retryable=((404, 404),), permanent=((503, 503),)
    )
    for status, attempts, expected in ((409, 1, "complete"), (404, 3, "error"), (503, 1, "error")):
        with serving(lambda _, status=status: Reply(status)) as service:  # type: ignore[misc]
            result = await run(HttpCall(url=service.url, classify=classify))

        assert (attempts, expected) == (len(pay_attempts(result)), result.steps["pay"].status)


async def test_retry_after_is_honoured() -> None:
    """Hours pass on the clock of the test; a header that cannot be read is ignored."""
    headers = iter(({"Retry-After": "7200"}, {"Retry-After": "soon"}))

    def answer(_: Sent) -> Reply:
        again = next(headers, None)
        return Reply() if again is None else Reply(503, b"", again)

    with serving(answer) as service:
        result = await run(HttpCall(url=service.url))

    assert result.ok
    assert 7200 <= result.slept.total_seconds() < 7300


async def test_redirects_to_other_hosts_are_refused() -> None:
    with serving(lambda _: Reply()) as other:

        def answer(sent: Sent) -> Reply:
            match sent.path:
                case "/first":
                    return Reply(302, b"", {"Location": "/second"})
                case "/second":
                    return Reply()
                case "/circle":
                    return Reply(302, b"", {"Location": "/circle"})
            return Reply(302, b"", {"Location": f"http://127.0.0.1:{other.port}/leak"})

        with serving(answer) as service:
            followed = await run(HttpCall(url=service.url + "/first"))
            away = await run(HttpCall(url=service.url + "/away"))
            circle = await run(HttpCall(url=service.url + "/circle"))

    assert followed.ok
    assert ["HTTP_REDIRECT"] * 2 == [error_of(away)["code"], error_of(circle)["code"]]
    assert [] == other.requests


async def test_no_request_sends_the_cookies_of_earlier_responses() -> None:
    """A worker calls for many teams: the session of one must not go out with calls of another."""

    def answer(sent: Sent) -> Reply:
        headers = {**JSON, "Set-Cookie": "session=s3cret; Path=/"}
        return (
            Reply(307, b"", {**headers, "Location": "/b"})
            if sent.path == "/a"
            else Reply(200, b"{}", headers)
        )

    with serving(answer) as service:
        step = HttpStepHandler(_allow_all, HTTP.http_networks)
        for path in ("/a", "/c"):
            request = step._client.build_request("GET", service.url + path)
            await step._send_with_redirects(request, HttpCall(url=service.url), "shop")
        await step.close()

    assert ["/a", "/b", "/c"] == [sent.path for sent in service.requests]
    assert all("cookie" not in sent.headers for sent in service.requests)


async def _allow_all(namespace: str) -> NamespacePolicy:
    return NamespacePolicy(namespace=namespace, http_hosts=("*",))


async def test_a_host_that_is_not_in_the_policy_is_refused(tmp_path: Path) -> None:
    """A literal host at registration, a computed one when the step runs."""
    with serving(lambda _: Reply()) as service:
        literal = calling(HttpCall(url=service.url + "/x"))
        computed = calling(HttpCall(url="http://{input.host}:{input.port}/x"))
        async with open_store(f"sqlite:{tmp_path}/t.db") as store:
            await store.upgrade_schema()
            with pytest.raises(HttpHostNotAllowed, match=f"127.0.0.1:{service.port}") as refusal:
                await store.register_template(literal, registered_by="ana")
            assert ("pay", ()) == (refusal.value.step, refusal.value.allowed)
            await store.put_policy(
                NamespacePolicy(namespace="shop", http_hosts=("api.example.com", "*.test")),
                NOTE,
            )
            with pytest.raises(HttpHostNotAllowed, match=r"api\.example\.com"):
                await store.register_template(literal, registered_by="ana")
            worker = Worker(store, [{"prepare": lambda: None}], templates=[computed], settings=HTTP)
            async with worker:
                context = {"host": "127.0.0.1", "port": service.port}
                task = await worker.client.create_task("shop.order", context)
                with pytest.raises(TaskFailed) as failed:
                    await worker.client.wait(task.id, timeout=60)

    assert "HTTP_HOST_NOT_ALLOWED" == failed.value.details["code"]
    assert [] == service.requests


async def test_values_cannot_move_a_request_to_another_host() -> None:
    """They are encoded even within the host."""
    with serving(lambda _: Reply()) as service:
        call = HttpCall(url="http://127.0.0.1{input.evil}/x")
        result = await run(call, {"evil": f"@127.0.0.1:{service.port}"})

    assert not result.ok
    assert [] == service.requests


@pytest.mark.parametrize(
    ("url", "value", "rendered"),
    [
        ("https://a.example/users/{input.id}", "..", None),
        ("https://a.example/users/{input.id}/keys", "..", None),
        ("https://a.example/users/{input.id}?all", ".", None),
        ("https://a.example/users/{input.id}{input.id}", ".", None),
        ("https://a.example/users/.{input.id}", ".", None),
        ("{input.base}/{input.id}#x", "..", None),
        ("https://a.example/users/{input.id}", "..a", "https://a.example/users/..a"),
        ("https://a.example/users/{input.id}", "../b", "https://a.example/users/..%2Fb"),
        ("https://a.example/users/{input.id}", "%2e%2e", "https://a.example/users/%252e%252e"),
        ("https://a.example/find?id={input.id}", "..", "https://a.example/find?id=.."),
        ("{input.base}/{input.id}", "7", "https://a.example/a/../b/7"),
    ],
)
def test_values_cannot_move_a_request_to_another_path(
    url: str, value: str, rendered: str | None
) -> None:
    """Clients and servers remove the part before `..`, and that need not be the caller's."""
    names = {"input": {"id": value, "base": "https://a.example/a/../b"}}
    if rendered is None:
        with pytest.raises(InvalidExpression, match=r"'\.' or '\.\.'"):
            render_url(url, names)
    else:
        assert rendered == render_url(url, names)


async def test_private_addresses_are_refused_unless_allowed() -> None:
    """The address is checked that is connected to."""
    with serving(lambda _: Reply()) as service:
        result = await run_workflow(
            calling(HttpCall(url=f"http://localhost:{service.port}/")),
            stubs={"prepare": None},
            settings=WorkerSettings(http=True),
        )

    assert "HTTP_PRIVATE_ADDRESS" == error_of(result)["code"]
    assert 1 == len(pay_attempts(result))
    assert [] == service.requests


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("10.1.2.3", True),
        *(
            (address, False)
            for address in (
                "127.0.0.1",
                "10.2.0.1",
                "172.16.0.1",
                "192.168.1.1",
                "169.254.169.254",
                "100.64.0.1",
                "0.0.0.0",
                "224.0.0.1",
                "255.255.255.255",
                "::1",
                "::",
                "fe80::1",
                "fd00::1",
                "fec0::1",
                "64:ff9b:1::7f00:1",
                "::ffff:127.0.0.1",
                "::ffff:192.168.0.1",
                "64:ff9b::7f00:1",
                "2002:7f00:1::",
            )
        ),
        ("::ffff:10.1.0.1", True),
    ],
)
async def test_public_addresses_are_allowed(address: str, expected: bool) -> None:
    assert expected is is_address_allowed(ip_address(address), [ip_network("10.1.0.0/16")])


async def test_size_and_time_of_responses_are_limited() -> None:
    """A request that had its effect is not repeated because of an unusable response."""
    release = threading.Event()

    def answer(sent: Sent) -> Reply:
        match sent.path:
            case "/long":
                return Reply(200, b"x" * (MOST_BYTES + 1))
            case "/broken":
                return Reply(200, b"{", JSON)
            case "/packed":
                return Reply(200, b"x", {"Content-Encoding": "gzip"})
            case "/binary":
                return Reply(200, b"\xff\xfe\xfa", {"Content-Type": "image/png"})
        release.wait(30)
        return Reply()

    with serving(answer) as service:
        for path, seconds, code, attempts in (
            ("/long", 30, "HTTP_TOO_LARGE", 1),
            ("/broken", 30, "HTTP_UNUSABLE_BODY", 1),
            ("/packed", 30, "HTTP_UNUSABLE_BODY", 1),
            ("/binary", 30, "HTTP_UNUSABLE_BODY", 1),
            ("/slow", 0.2, "HTTP_TIMEOUT", 2),
        ):
            call = HttpCall(url=service.url + path, timeout=timedelta(seconds=seconds))
            result = await run(call, attempts=2)

            assert (code, attempts) == (error_of(result)["code"], len(pay_attempts(result))), path
        large = await run(HttpCall(url=service.url, method="POST", body="x" * (MOST_BYTES + 1)))
        release.set()

    assert "HTTP_TOO_LARGE" == error_of(large)["code"]


async def test_an_unavailable_service_is_retried() -> None:
    with serving(lambda _: Reply()) as service:
        url = service.url
    result = await run(HttpCall(url=url))

    assert 3 == len(pay_attempts(result))
    assert "HTTP_UNREACHABLE" == error_of(result)["code"]


async def test_values_that_make_an_invalid_request_fail_permanently() -> None:
    for call in (
        HttpCall(url="http://127.0.0.1/{input.missing}"),
        HttpCall(url="{input.text}"),
        HttpCall(url="http://127.0.0.1/", headers={"X-A": "{input.lines}"}),
    ):
        result = await run(call, {"text": "file:///etc/passwd", "lines": "a\r\nX-B: c"})

        assert ("HTTP_INVALID_REQUEST", 1) == (error_of(result)["code"], len(pay_attempts(result)))


async def test_a_worker_without_the_option_does_not_run_http_steps(tmp_path: Path) -> None:
    """It refuses to start if it must run all steps, and the task names the option."""
    template = calling(HttpCall(url="https://api.example.com/"))
    async with open_store(f"sqlite:{tmp_path}/t.db") as store:
        await store.upgrade_schema()
        await store.put_policy(
            NamespacePolicy(namespace="shop", http_hosts=("api.example.com",)), NOTE
        )
        with pytest.raises(HandlerNotFound, match="--http"):
            async with Worker(store, [{"prepare": lambda: None}], templates=[template]):
                pass
        worker = Worker(store, [{"prepare": lambda: None}], templates=[template], partial=True)
        async with worker:
            task = await worker.client.create_task("shop.order", {})
            waiting = await _until_pay_is_enqueued(worker, task.id)
        unserved = await store.unserved_queues(timedelta(0), 10)

    assert StepStatus.ENQUEUED is waiting
    assert ["tasker.http"] == [one.queue.handler for one in unserved]
    assert "--http" in unserved[0].reason


async def _until_pay_is_enqueued(worker: Worker, task_id: Any) -> StepStatus:
    while True:
        _, pay = await worker.client.steps(task_id)
        if pay.status is not StepStatus.PENDING:
            return pay.status


async def test_the_policy_is_reread_periodically(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that was removed is refused within seconds, without a new registration."""
    policies = [NamespacePolicy(namespace="shop", http_hosts=("a",)), None]
    reads: list[str] = []

    async def read(namespace: str) -> NamespacePolicy | None:
        reads.append(namespace)
        return policies[len(reads) - 1]

    now = 100.0
    monkeypatch.setattr("tasker.engine.http_step.time.monotonic", lambda: now)
    step = HttpStepHandler(read)
    first, second = await step._load_policy("shop"), await step._load_policy("shop")
    now += 5
    third = await step._load_policy("shop")
    await step.close()

    assert (policies[0], policies[0], None) == (first, second, third)
