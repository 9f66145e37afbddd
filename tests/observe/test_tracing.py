"""Traces: a span for each task, below what made it, and for each attempt below its task."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import httpx
import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.semconv._incubating.attributes import code_attributes, messaging_attributes
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import SpanKind, StatusCode
from tests.waiting import eventually

from tasker import (
    AsyncContext,
    LocalClient,
    PermanentError,
    SyncContext,
    TaskRequest,
    Template,
    Worker,
    open_store,
)
from tasker.api import create_app
from tasker.codec import new_task_id, task_id_time
from tasker.model import StepSpec, TemplateName
from tasker.notices import AttemptTraceInfo
from tasker.observe.tracing import SCHEMA, Tracing, attempt_span_attributes, span_error_type
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
        for name in ("asynchronous", "threaded", "failing", "parent", "blocking_parent"):
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


def soon() -> datetime:
    """Return when a task may begin that is waited for, so that its parent is parked first."""
    return datetime.now(UTC) + timedelta(seconds=0.3)


async def parent(context: AsyncContext) -> str | None:
    child = await context.client.create_task("n.asynchronous", run_at=soon())
    await context.client.wait(child.id)
    return context.trace


def blocking_parent(context: SyncContext) -> None:
    context.client.run("n.asynchronous", run_at=soon())


HANDLERS = {
    "asynchronous": asynchronous,
    "threaded": threaded,
    "failing": failing,
    "parent": parent,
    "blocking_parent": blocking_parent,
}


def worker(store: Store, tracing: Tracing) -> Worker:
    return Worker(
        store,
        [HANDLERS],
        namespaces="*",
        observers=[tracing.record_notice],
        around=tracing.attempt_span,
    )


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return format(span.context.trace_id, "032x")


def span_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return format(span.context.span_id, "016x")


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else format(span.parent.span_id, "016x")


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


@pytest.mark.parametrize("name", ["asynchronous", "threaded"])
async def test_a_task_is_a_span_of_its_creators_trace_with_its_attempts_as_children(
    spans: InMemorySpanExporter, store: Store, name: str
) -> None:
    """
    Handlers run inside those, in whatever thread.
    """
    client = LocalClient(store)
    async with worker(store, Tracing()):
        task = await client.run(f"n.{name}", trace=PARENT)

    (span,), (whole,) = named(spans, f"n.{name}/{name}"), named(spans, f"n.{name}")
    assert [TRACE] == [step.result for step in await client.steps(task.id)]
    assert [TRACE, TRACE] == [trace_of(span), trace_of(whole)]
    assert ("b7ad6b7169203331", span_of(whole)) == (parent_of(whole), parent_of(span))
    assert (SpanKind.CONSUMER, SpanKind.INTERNAL) == (span.kind, whole.kind)
    facts = {
        "tasker.task_id": task.id,
        "tasker.namespace": "n",
        "tasker.template": f"n.{name}@1.0.0",
        "tasker.correlation_id": task.correlation_id,
    }
    (attempt,) = await client.attempts(task.id)
    assert {
        **facts,
        "tasker.step": name,
        "tasker.attempt": 1,
        "tasker.queued_seconds": pytest.approx(attempt.queued, abs=1e-4),
        "tasker.parked_seconds": 0.0,
        "messaging.system": "tasker",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": f"n/{name}",
        "messaging.message.id": f"{task.id}/{name}",
        "messaging.message.conversation_id": task.correlation_id,
        "code.function.name": f"{__name__}.{name}",
    } == dict(span.attributes or {})
    assert {**facts, "tasker.status": "complete"} == dict(whole.attributes or {})
    assert whole.start_time == round(task_id_time(task.id).timestamp() * 1e9)


@pytest.mark.parametrize("sent", [PARENT, None])
async def test_steps_of_several_workers_belong_to_one_trace(
    monkeypatch: pytest.MonkeyPatch, store: Store, sent: str | None
) -> None:
    """
    One after the other, each with a provider of its own; the last sends the task's span, once.
    """
    steps = (
        StepSpec(name="asynchronous"),
        StepSpec(name="threaded", dependencies=("asynchronous",)),
    )
    template = Template(namespace="n", name="two", version="1.0.0", steps=steps)
    await store.register_template(template, registered_by="tests")
    await LocalClient(store).create_task("n.two", trace=sent)
    sent_by: list[tuple[ReadableSpan, ...]] = []
    for name in ("asynchronous", "threaded"):
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
        tracing = Tracing()
        async with Worker(
            store,
            [{name: HANDLERS[name]}],
            namespaces="*",
            observers=[tracing.record_notice],
            around=tracing.attempt_span,
        ):
            await eventually(exporter.get_finished_spans)
        sent_by.append(exporter.get_finished_spans())
        provider.shutdown()

    (first,), (second, whole) = sent_by
    assert ["n.two/asynchronous", "n.two/threaded", "n.two"] == [
        span.name for span in (first, second, whole)
    ]
    assert 1 == len({trace_of(span) for span in (first, second, whole)})
    assert [span_of(whole)] * 2 == [parent_of(first), parent_of(second)]
    assert parent_of(whole) == (None if sent is None else "b7ad6b7169203331")


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
async def test_a_trace_is_sampled_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, store: Store, share: float
) -> None:
    """
    By the sampler of the process, about as often as it says.
    """
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(share))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    client = LocalClient(store)
    async with worker(store, Tracing()):
        for task in await client.create_tasks([TaskRequest(template="n.asynchronous")] * 60):
            await client.wait(task.id)

    seen = Counter(
        (span.attributes or {})["tasker.task_id"] for span in exporter.get_finished_spans()
    )
    assert {2} >= {*seen.values()}
    assert abs(len(seen) - 60 * share) <= (25 if share == 0.5 else 0)  # 25: once in 10 ** 9 runs
    provider.shutdown()


async def test_a_task_that_a_request_ends_has_a_span(
    spans: InMemorySpanExporter, store: Store
) -> None:
    transport = httpx.ASGITransport(create_app(store, tracing=Tracing()))
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as http:
        made = await http.post("/v1/tasks", json={"name": "n.asynchronous"})
        await http.post(f"/v1/tasks/{made.json()['id']}/cancel")

    (whole,), (request,) = named(spans, "n.asynchronous"), named(spans, "POST /v1/tasks")
    assert "cancelled" == (whole.attributes or {})["tasker.status"]
    assert span_of(request) == parent_of(whole)


def test_attributes_are_those_of_the_semantic_conventions() -> None:
    """Those that do not begin with `tasker.` are names of the conventions' package."""
    no_time, template = timedelta(0), TemplateName("n", "t", "1.0.0")
    span = AttemptTraceInfo(
        new_task_id(), template, "s", 1, "c", None, no_time, no_time, "handler", "module.function"
    )
    known = {
        value
        for module in (code_attributes, error_attributes, messaging_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    }

    names = {name for name in attempt_span_attributes(span) if not name.startswith("tasker.")}
    assert names | {"error.type"} <= known
    assert SCHEMA in {one.value for one in Schemas}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermanentError("no", code="DECLINED"), "DECLINED"),
        (PermanentError("no"), "tasker.errors.PermanentError"),
        (ValueError("no"), "ValueError"),
    ],
)
def test_the_type_of_an_error_is_its_code_or_its_class(error: Exception, expected: str) -> None:
    assert expected == span_error_type(error)


async def test_a_span_records_the_failure(spans: InMemorySpanExporter, store: Store) -> None:
    client = LocalClient(store)
    async with worker(store, Tracing()):
        task = await client.create_task("n.failing")
        with pytest.raises(Exception, match="no luck"):
            await client.wait(task.id)

    span = named(spans, "n.failing/failing")[0]
    assert StatusCode.ERROR is span.status.status_code
    assert StatusCode.ERROR is named(spans, "n.failing")[0].status.status_code
    assert ["exception"] == [event.name for event in span.events]
    assert "tasker.errors.PermanentError" == (span.attributes or {})["error.type"]
    assert "_OTHER" == (named(spans, "n.failing")[0].attributes or {})["error.type"]
    scope = span.instrumentation_scope
    assert scope is not None
    assert ("tasker", version("tasker-workflows"), SCHEMA) == (
        scope.name,
        scope.version,
        scope.schema_url,
    )


@pytest.mark.parametrize("name", ["parent", "blocking_parent"])
async def test_a_child_task_is_a_child_of_the_attempt_that_created_it(
    spans: InMemorySpanExporter, store: Store, name: str
) -> None:
    """
    The step was parked: its first attempt made the task, its second one found it ended.
    """
    async with worker(store, Tracing()):
        await LocalClient(store).run(f"n.{name}", trace=PARENT)

    (whole,), attempts = named(spans, f"n.{name}"), named(spans, f"n.{name}/{name}")
    (child,), (work,) = named(spans, "n.asynchronous"), named(spans, "n.asynchronous/asynchronous")
    assert [span_of(whole)] * 2 == [parent_of(attempt) for attempt in attempts]
    assert [span_of(attempts[0]), span_of(child)] == [parent_of(child), parent_of(work)]
    assert {TRACE} == {trace_of(span) for span in (whole, *attempts, child, work)}
    parked = (attempts[1].attributes or {})["tasker.parked_seconds"]
    assert isinstance(parked, float)
    assert 0 < parked


async def test_a_request_is_a_span_between_its_caller_and_its_tasks(
    spans: InMemorySpanExporter, store: Store
) -> None:
    """
    It is FastAPI's own, named by the route; probes have none.
    """
    tracing = Tracing()
    transport = httpx.ASGITransport(create_app(store, tracing=tracing))
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as http:
        await http.get("/health")
        made = await http.post(
            "/v1/tasks", json={"name": "n.asynchronous"}, headers={"traceparent": PARENT}
        )
        async with worker(store, tracing):
            await http.get(f"/v1/tasks/{made.json()['id']}/wait")
        await http.get("/v1/nothing")

    (request,), (task,) = named(spans, "POST /v1/tasks"), named(spans, "n.asynchronous")
    assert ("b7ad6b7169203331", span_of(request)) == (parent_of(request), parent_of(task))
    assert {
        "GET",
        "GET /v1/tasks/{task_id}/wait",
        "POST /v1/tasks",
        "n.asynchronous",
        "n.asynchronous/asynchronous",
    } == {span.name for span in spans.get_finished_spans()}
    assert {
        "http.request.method": "POST",
        "http.route": "/v1/tasks",
        "http.response.status_code": 201,
        "url.path": "/v1/tasks",
    }.items() <= dict(request.attributes or {}).items()


async def test_without_an_sdk_no_spans_are_made_and_trace_ids_are_passed_on(store: Store) -> None:
    """The caller's trace context is stored with the task."""
    transport = httpx.ASGITransport(create_app(store))
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as http:
        for sent in ({"traceparent": PARENT}, {}):
            made = await http.post("/v1/tasks", json={"name": "n.parent"}, headers=sent)
            (kept,) = await store.load_task_inputs([made.json()["id"]])
            assert sent.get("traceparent") == kept.trace
    async with worker(store, Tracing()):
        task = await LocalClient(store).run("n.asynchronous")

    assert ["0" * 32] == [step.result for step in await LocalClient(store).steps(task.id)]


async def test_attempts_are_measured_with_histograms(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert {"tasker.attempts", "tasker.attempt.duration", "tasker.step.time"} == set(attributes)
    assert {
        "tasker.namespace": "n",
        "tasker.template": "asynchronous",
        "tasker.step": "asynchronous",
        "tasker.outcome": "complete",
    } == attributes["tasker.attempts"]
    provider.shutdown()
