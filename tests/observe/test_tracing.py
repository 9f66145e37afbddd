"""Traces: a span for each attempt, below the request that made its task."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tasker import AsyncContext, LocalClient, PermanentError, Template, Worker, open_store
from tasker.api import create_app
from tasker.model import StepSpec
from tasker.observe.tracing import Tracing
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Gather the spans of a test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite::memory:") as store:
        for name in ("asynchronous", "threaded", "failing", "parent"):
            template = Template(
                namespace="n", name=name, version="1.0.0", steps=(StepSpec(name=name),)
            )
            await store.register_template(template, registered_by="tests")
        yield store


async def asynchronous() -> str:
    return format(trace.get_current_span().get_span_context().trace_id, "032x")


def threaded() -> str:
    return format(trace.get_current_span().get_span_context().trace_id, "032x")


def failing() -> None:
    raise PermanentError("no luck")


async def parent(context: AsyncContext) -> str | None:
    child = await context.client.create_task("n.asynchronous")
    await context.client.wait(child.id)
    return context.trace


HANDLERS = {
    "asynchronous": asynchronous,
    "threaded": threaded,
    "failing": failing,
    "parent": parent,
}


def worker(store: Store, tracing: Tracing) -> Worker:
    return Worker(
        store, [HANDLERS], namespaces="*", observers=[tracing.observe], around=tracing.around
    )


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


@pytest.mark.parametrize("name", ["asynchronous", "threaded"])
async def test_an_attempt_is_a_span_of_the_creators_trace(
    spans: InMemorySpanExporter, store: Store, name: str
) -> None:
    """
    The handler runs inside it, in whatever thread.
    """
    client = LocalClient(store)
    async with worker(store, Tracing()):
        task = await client.run(f"n.{name}", trace=PARENT)

    span = named(spans, f"n.{name}/{name}")[0]
    assert [TRACE] == [step.result for step in await client.steps(task.id)]
    assert span.parent is not None
    assert span.context is not None
    assert (TRACE, "b7ad6b7169203331") == (
        format(span.context.trace_id, "032x"),
        format(span.parent.span_id, "016x"),
    )
    assert SpanKind.CONSUMER is span.kind
    assert {
        "tasker.task_id": task.id,
        "tasker.namespace": "n",
        "tasker.template": f"n.{name}@1.0.0",
        "tasker.step": name,
        "tasker.attempt": 1,
        "tasker.correlation_id": task.correlation_id,
    } == dict(span.attributes or {})


async def test_a_failure_is_told_in_its_span(spans: InMemorySpanExporter, store: Store) -> None:
    client = LocalClient(store)
    async with worker(store, Tracing()):
        task = await client.create_task("n.failing")
        with pytest.raises(Exception, match="no luck"):
            await client.wait(task.id)

    span = named(spans, "n.failing/failing")[0]
    assert StatusCode.ERROR is span.status.status_code
    assert ["exception"] == [event.name for event in span.events]


async def test_tasks_that_tasks_make_are_of_one_trace(
    spans: InMemorySpanExporter, store: Store
) -> None:
    client = LocalClient(store)
    async with worker(store, Tracing()):
        task = await client.run("n.parent", trace=PARENT)

    child = named(spans, "n.asynchronous/asynchronous")[0]
    assert child.context is not None
    assert TRACE == format(child.context.trace_id, "032x")
    assert [PARENT] == [step.result for step in await client.steps(task.id)]


async def test_a_request_is_a_span_between_its_caller_and_its_tasks(
    spans: InMemorySpanExporter, store: Store
) -> None:
    tracing = Tracing()
    transport = httpx.ASGITransport(create_app(store, tracing=tracing))
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as http:
        made = await http.post(
            "/v1/tasks", json={"name": "n.asynchronous"}, headers={"traceparent": PARENT}
        )
        async with worker(store, tracing):
            await http.get(f"/v1/tasks/{made.json()['id']}/wait")

    request = named(spans, "POST /v1/tasks")[0]
    attempt = named(spans, "n.asynchronous/asynchronous")[0]
    assert request.parent is not None
    assert request.context is not None
    assert attempt.parent is not None
    assert "b7ad6b7169203331" == format(request.parent.span_id, "016x")
    assert request.context.span_id == attempt.parent.span_id
    assert [
        "POST /v1/tasks",
        "n.asynchronous/asynchronous",
        "GET /v1/tasks/{task_id}/wait",
    ] == [span.name for span in spans.get_finished_spans()]
    assert {
        "http.request.method": "POST",
        "http.route": "/v1/tasks",
        "http.response.status_code": 201,
    } == dict(request.attributes or {})


async def test_without_an_sdk_nothing_is_made_and_traces_pass_through(store: Store) -> None:
    """
    What the caller sent is kept with the task as it is.
    """
    tracing = Tracing()
    with tracing.request("GET", PARENT) as passed, tracing.request("GET", None) as none:
        assert (PARENT, None) == (passed.trace, none.trace)
    async with worker(store, tracing):
        task = await LocalClient(store).run("n.asynchronous")

    assert ["0" * 32] == [step.result for step in await LocalClient(store).steps(task.id)]


async def test_attempts_are_measured(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    monkeypatch.setattr(metrics, "get_meter", provider.get_meter)
    async with worker(store, Tracing()):
        await LocalClient(store).run("n.asynchronous")

    data = reader.get_metrics_data()
    assert data is not None
    attributes = {
        metric.name: metric.data.data_points[0].attributes
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert {"tasker.attempts", "tasker.attempt.duration"} == set(attributes)
    assert {
        "namespace": "n",
        "template": "asynchronous",
        "step": "asynchronous",
        "outcome": "complete",
    } == attributes["tasker.attempts"]
    provider.shutdown()
