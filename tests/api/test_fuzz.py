"""Whatever is sent: an answer that is described, no failure of the server, nothing half done."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.api_client import ApiClient, templates

from tasker import open_store
from tasker.api import create_app

SOME = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
JSON = {"Content-Type": "application/json"}

texts = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
fields = st.sampled_from(
    ["context", "tags", "reason", "version", "namespace", "idempotency_key", "run_at", "options"]
)
bodies = st.dictionaries(fields | texts, values, max_size=4).map(
    lambda body: {"name": "shop.refund", "context": {"order": "o"}, **body}
)
paths = st.sampled_from(["/v1/tasks", "/tasker/tasks", "/workflows/execute"])


class Loop:
    """An application and a loop of its own, to be asked from tests that are not async."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.opening = open_store("sqlite::memory:")
        self.store = self.runner.run(self.opening.__aenter__())
        for template in templates():
            self.runner.run(self.store.register_template(template, registered_by="tests"))
        transport = httpx.ASGITransport(create_app(self.store))
        self.one = ApiClient(self.store, transport=transport, base_url="http://t")

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.runner.run(self.one.request(method, path, **options))

    def close(self) -> None:
        self.runner.run(self.one.aclose())
        self.runner.run(self.opening.__aexit__(None, None, None))
        self.runner.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def check(response: httpx.Response) -> None:
    """Hold an answer to what every answer is."""
    assert response.status_code < 500, response.text
    kind = "application/problem+json" if response.status_code >= 400 else "application/json"
    assert kind == response.headers["content-type"]
    if response.status_code >= 400:
        problem = response.json()
        assert response.status_code == problem["status"]
        assert problem["detail"]
        assert "Traceback" not in response.text


@SOME
@given(path=paths, body=bodies)
def test_any_fields_are_accepted_or_refused(loop: Loop, path: str, body: Any) -> None:
    try:
        text = json.dumps(body).encode()
    except UnicodeEncodeError:
        text = json.dumps(body, ensure_ascii=True).encode()

    response = loop.ask("POST", path, content=text, headers=JSON)

    check(response)
    if response.status_code == 201:
        body = response.json()
        read = loop.ask("GET", f"/v1/tasks/{body['id']}")
        assert body["context"] == read.json()["context"]


@SOME
@given(
    path=paths | st.just("/v1/templates") | st.just("/v1/tasks/bulk"), text=st.binary(max_size=60)
)
def test_any_bytes_are_refused(loop: Loop, path: str, text: bytes) -> None:
    response = loop.ask("POST", path, content=text, headers=JSON)

    check(response)
    assert response.status_code >= 400


@SOME
@given(
    text=st.binary(max_size=80)
    | st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_yaml_is_accepted_or_refused(loop: Loop, text: bytes) -> None:
    check(loop.ask("POST", "/v1/templates", content=text, headers={"Content-Type": "text/yaml"}))


@SOME
@given(
    parts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=4),
    prefix=st.sampled_from(
        ["/v1/tasks", "/v1/templates", "/tasker/handlers", "/v1/namespaces", ""]
    ),
)
def test_any_path_is_served_or_refused(loop: Loop, prefix: str, parts: list[str]) -> None:
    path = "/".join([prefix, *(quote(part, safe="") for part in parts)])

    check(loop.ask("GET", f"http://t/{path.lstrip('/')}"))


@SOME
@given(
    query=st.dictionaries(
        st.sampled_from(["limit", "cursor", "status", "tag", "created_after", "namespace", "name"])
        | texts,
        texts,
        max_size=3,
    )
)
def test_any_query_is_accepted_or_refused(loop: Loop, query: dict[str, str]) -> None:
    try:
        httpx.QueryParams(query)
    except UnicodeEncodeError:
        return

    check(loop.ask("GET", "/v1/tasks", params=query))


@SOME
@given(
    name=st.sampled_from(
        ["Idempotency-Key", "X-Correlation-Id", "traceparent", "Last-Event-ID", "Authorization"]
    ),
    value=st.binary(max_size=40).filter(lambda value: not set(value) & set(b"\r\n\0")),
)
def test_arbitrary_headers_do_not_crash_the_server(loop: Loop, name: str, value: bytes) -> None:
    body = {"name": "shop.refund", "context": {"order": "o"}}
    text = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (name.encode(), value)]

    check(loop.ask("POST", "/v1/tasks", content=text, headers=headers))
