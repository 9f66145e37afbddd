"""OpenTelemetry traces: a span for each task, with a child span for each of its attempts.

The parent of a task's span is the span of its creator: a request, or an attempt of another task.
Request spans are created by FastAPI.

Attributes follow OpenTelemetry's semantic conventions where they exist (`messaging.*`, `code.*`,
`error.type`); the others begin with `tasker.`. The names are written out, because the conventions'
package comes with the SDK.

Only the OpenTelemetry API is used; without an SDK, spans are dropped. `set_up_otlp_export` sets up
the SDK of the extra `tracing`, which sends spans to the destination in the usual OTEL_* variables.
"""

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tasker.errors import InvalidSettings, StepError
from tasker.model import TaskId, TaskStatus, TemplateName
from tasker.notices import AttemptTraceInfo, Notice, StepSettled, TaskEnded
from tasker.times import phase_durations_in_notice

if TYPE_CHECKING:
    from tasker.observe.task_spans import TaskSpanFactory

_OTHER = "_OTHER"  #: the conventions' value for an error of unknown type
SCHEMA = "https://opentelemetry.io/schemas/1.43.0"
"""The version of the semantic conventions that the attributes follow."""

_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """Creates spans and measurements, with the providers that are set at construction.

    Without the SDK's provider, tasks have no spans, and the parent of an attempt's span is the
    task's creator.
    """

    def __init__(self) -> None:
        version = importlib.metadata.version("tasker-workflows")
        self._tracer = trace.get_tracer("tasker", version, schema_url=SCHEMA)
        self._tasks = _make_task_span_factory(self._tracer)
        meter = metrics.get_meter("tasker", version, schema_url=SCHEMA)
        self._attempts = meter.create_counter("tasker.attempts", unit="{attempt}")
        self._seconds = meter.create_histogram("tasker.attempt.duration", unit="s")
        self._times = meter.create_counter("tasker.step.time", unit="s")

    @contextmanager
    def attempt_span(self, attempt: AttemptTraceInfo) -> Iterator[None]:
        """Run an attempt inside a span; for `Worker(around=...)`."""
        creator = _parse_traceparent(attempt.trace)
        with self._tracer.start_as_current_span(
            f"{attempt.template.namespace}.{attempt.template.name}/{attempt.step}",
            context=self._tasks.task_span_context(attempt.task_id, creator)
            if self._tasks
            else creator,
            kind=SpanKind.CONSUMER,
            attributes=attempt_span_attributes(attempt),
        ) as span:
            try:
                yield
            except Exception as error:
                span.set_attribute("error.type", span_error_type(error))
                raise

    def record_notice(self, notice: Notice) -> None:
        """Measure attempts, and create the spans of ended tasks; for `Worker(observers=...)`."""
        if isinstance(notice, TaskEnded):
            self._create_ended_task_span(notice)
        for kind, template, seconds in phase_durations_in_notice(notice):
            labels = _template_labels(template)
            self._times.add(seconds, {**labels, "tasker.time.kind": kind.name.lower()})
        if isinstance(notice, StepSettled):
            labels = {
                **_template_labels(notice.template),
                "tasker.step": notice.step,
                "tasker.outcome": notice.outcome.value,
            }
            self._attempts.add(1, labels)
            self._seconds.record(notice.ran_for.total_seconds(), labels)

    def _create_ended_task_span(self, notice: TaskEnded) -> None:
        if self._tasks is None or notice.template is None:
            return
        attributes = _common_span_attributes(notice.task_id, notice.template, notice.correlation_id)
        span = self._tasks.create_span(
            notice.task_id,
            _parse_traceparent(notice.trace),
            f"{notice.template.namespace}.{notice.template.name}",
            {**attributes, "tasker.status": notice.status.value},
        )
        if notice.status is TaskStatus.ERROR:
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", _OTHER)
        span.end()


def _make_task_span_factory(tracer: trace.Tracer) -> "TaskSpanFactory | None":
    """Return the factory for the spans of tasks, or None if the tracer is not the SDK's."""
    try:
        from opentelemetry.sdk.trace import Tracer
    except ModuleNotFoundError:
        return None
    from tasker.observe.task_spans import TaskSpanFactory

    return TaskSpanFactory(tracer) if isinstance(tracer, Tracer) else None


def _common_span_attributes(
    task_id: TaskId, template: TemplateName, correlation_id: str
) -> dict[str, str | int | float]:
    return {
        "tasker.task_id": task_id,
        "tasker.namespace": template.namespace,
        "tasker.template": str(template),
        "tasker.correlation_id": correlation_id,
    }


def attempt_span_attributes(attempt: AttemptTraceInfo) -> dict[str, str | int | float]:
    """Return the attributes of an attempt's span."""
    code = {} if attempt.function is None else {"code.function.name": attempt.function}
    return {
        **_common_span_attributes(attempt.task_id, attempt.template, attempt.correlation_id),
        "tasker.step": attempt.step,
        "tasker.attempt": attempt.attempt,
        "tasker.queued_seconds": attempt.queued_for.total_seconds(),
        "tasker.parked_seconds": attempt.parked_for.total_seconds(),
        "messaging.system": "tasker",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": f"{attempt.template.namespace}/{attempt.handler}",
        "messaging.message.id": f"{attempt.task_id}/{attempt.step}",
        "messaging.message.conversation_id": attempt.correlation_id,
        **code,
    }


def _template_labels(template: TemplateName) -> dict[str, str]:
    return {"tasker.namespace": template.namespace, "tasker.template": template.name}


def span_error_type(error: Exception) -> str:
    """Return the attribute `error.type` of a failed span.

    It is the code of the error, if the handler set one, or the qualified name of its class.
    """
    code = getattr(error, "code", None) if isinstance(error, StepError) else None
    kind = type(error)
    name = kind.__qualname__
    return code or (name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}")


def _parse_traceparent(traceparent: str | None) -> Context:
    """Return the context of a traceparent, or an empty context without one."""
    carrier = {"traceparent": traceparent} if traceparent else {}
    return _PROPAGATOR.extract(carrier, context=Context())


def set_up_otlp_export(service: str = "tasker") -> None:
    """Send spans and measurements by OTLP to the destination in the OTEL_* variables.

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
            "exporting traces requires an extra: pip install 'tasker-workflows[tracing]'"
        ) from None
    resource = Resource.create({"service.instance.id": str(uuid4()), "service.name": service})
    spans = TracerProvider(resource=resource)
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(spans)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    metrics.set_meter_provider(MeterProvider(resource=resource, metric_readers=[reader]))
