"""Task spans, whose ids are derived from task ids. Requires the OpenTelemetry SDK.

Different processes run the steps of a task, and the process that ends the task sends its span. Each
process knows the parent span of its attempts, because the span id is derived from the task id.
"""

from copy import copy
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from opentelemetry.util.types import Attributes

from tasker.codec import task_id_time
from tasker.model import TaskId


class TaskSpanIds(NamedTuple):
    """The id of a task's span, and the id of its trace unless its creator has a trace."""

    trace: int
    span: int

    @classmethod
    def derive_from_task_id(cls, task_id: TaskId) -> "TaskSpanIds":
        """Derive the ids with a digest, because samplers need random bits and task ids share a
        prefix.
        """
        digest = blake2b(UUID(task_id).bytes, digest_size=24, person=b"tasker task").digest()
        return cls(int.from_bytes(digest[:16]), int.from_bytes(digest[16:]))


class _TaskSpanIdGenerator(IdGenerator):
    """Gives a span the ids that are derived from its task's id."""

    def __init__(self, ids: TaskSpanIds) -> None:
        self._ids = ids

    def generate_span_id(self) -> int:
        return self._ids.span

    def generate_trace_id(self) -> int:
        return self._ids.trace

    def is_trace_id_random(self) -> bool:
        return True  # a digest is just as random


class TaskSpanFactory:
    """Creates the spans of tasks, with ids that every process derives in the same way.

    Args:
        tracer: A tracer of the SDK.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def task_span_context(self, task_id: TaskId, creator: Context) -> Context:
        """Return the context of a task's span, which is the parent of its attempts' spans."""
        ids, above = (
            TaskSpanIds.derive_from_task_id(task_id),
            trace.get_current_span(creator).get_span_context(),
        )
        flags, trace_id = above.trace_flags, above.trace_id
        if not above.is_valid:
            trace_id = ids.trace
            decision = self._tracer.sampler.should_sample(creator, trace_id, "task").decision
            sampled = decision is Decision.RECORD_AND_SAMPLE
            flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        context = SpanContext(trace_id, ids.span, is_remote=True, trace_flags=flags)
        return trace.set_span_in_context(NonRecordingSpan(context), creator)

    def create_span(
        self, task_id: TaskId, creator: Context, name: str, attributes: Attributes
    ) -> trace.Span:
        """Create the span of a task that ends now; the caller sets its status and ends it."""
        tracer = copy(self._tracer)
        tracer.id_generator = _TaskSpanIdGenerator(TaskSpanIds.derive_from_task_id(task_id))
        return tracer.start_span(
            name,
            context=creator,
            kind=SpanKind.INTERNAL,
            attributes=attributes,
            start_time=round(task_id_time(task_id).timestamp() * 1e9),
        )
