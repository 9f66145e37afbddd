"""The trace that a new task becomes part of, if the program uses OpenTelemetry."""

import sys


def current_trace() -> str | None:
    """Return the W3C traceparent of the current span, or None without a span.

    A program that has not imported OpenTelemetry has no current span, so this does not import it
    either.
    """
    opentelemetry = sys.modules.get("opentelemetry.trace")
    if opentelemetry is None:
        return None
    span = opentelemetry.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
