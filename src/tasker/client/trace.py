"""The trace of which a new task becomes part, where the program uses OpenTelemetry."""

import sys


def current_trace() -> str | None:
    """Return the W3C traceparent of the current span; None without one.

    No span is current in a program that has not imported OpenTelemetry, so this does not either.
    """
    opentelemetry = sys.modules.get("opentelemetry.trace")
    if opentelemetry is None:
        return None
    span = opentelemetry.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
