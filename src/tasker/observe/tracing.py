"""Traces by OpenTelemetry: a span for each attempt, below the request that made its task.

Only the API of OpenTelemetry is used: without an SDK, spans are dropped. `export` sets up the
SDK of the extra `tracing`, which sends them where the usual OTEL_* variables say.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tasker.errors import InvalidSettings
from tasker.events import AttemptSpan, Event, StepSettled

_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """Makes spans and measurements, with the providers that are set when it is made."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("tasker")
        meter = metrics.get_meter("tasker")
        self._attempts = meter.create_counter("tasker.attempts", unit="{attempt}")
        self._seconds = meter.create_histogram("tasker.attempt.duration", unit="s")

    @contextmanager
    def around(self, attempt: AttemptSpan) -> Iterator[None]:
        """Put an attempt into a span; for `Worker(around=...)`."""
        with self._tracer.start_as_current_span(
            f"{attempt.template.namespace}.{attempt.template.name}/{attempt.step}",
            context=_parent_context(attempt.trace),
            kind=SpanKind.CONSUMER,
            attributes={
                "tasker.task_id": attempt.task_id,
                "tasker.namespace": attempt.template.namespace,
                "tasker.template": str(attempt.template),
                "tasker.step": attempt.step,
                "tasker.attempt": attempt.attempt,
                "tasker.correlation_id": attempt.correlation_id,
            },
        ):
            yield

    def observe(self, event: Event) -> None:
        """Measure an attempt; for `Worker(observers=...)`."""
        if isinstance(event, StepSettled):
            labels = {
                "namespace": event.template.namespace,
                "template": event.template.name,
                "step": event.step,
                "outcome": event.outcome.value,
            }
            self._attempts.add(1, labels)
            self._seconds.record(event.ran_for.total_seconds(), labels)

    @contextmanager
    def request(self, method: str, sent: str | None) -> Iterator["RequestSpan"]:
        """Put a request into a span.

        Args:
            method: GET, POST, ...
            sent: The caller's traceparent.
        """
        with self._tracer.start_as_current_span(
            method, context=_parent_context(sent), kind=SpanKind.SERVER
        ) as span:
            yield RequestSpan(span, sent)


class RequestSpan:
    """The span of one request."""

    def __init__(self, span: trace.Span, sent: str | None) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
        self.trace = carrier.get("traceparent", sent)
        """The traceparent of tasks that the request creates."""

    def finish(self, method: str, route: str, status: int) -> None:
        """Set the span's name to the route, which has no ids in it, and its status."""
        self._span.update_name(f"{method} {route}")
        self._span.set_attribute("http.request.method", method)
        self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)


def _parent_context(traceparent: str | None) -> Context:
    """Return the context of a traceparent; an empty one without it."""
    carrier = {"traceparent": traceparent} if traceparent else {}
    return _PROPAGATOR.extract(carrier, context=Context())


def export(service: str = "tasker") -> None:
    """Send spans and measurements over OTLP, where the OTEL_* variables say.

    Raises:
        InvalidSettings: The extra `tracing` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        raise InvalidSettings(
            "exporting traces needs: pip install 'tasker-workflows[tracing]'"
        ) from None
    resource = Resource.create({"service.name": service})
    spans = TracerProvider(resource=resource)
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(spans)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    metrics.set_meter_provider(MeterProvider(resource=resource, metric_readers=[reader]))
