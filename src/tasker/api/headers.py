"""Request headers: correlation ids and trace contexts."""

import re
from collections.abc import Mapping
from typing import Any

from tasker import codec
from tasker.client.trace import current_trace

CORRELATION = "x-correlation-id"

_CORRELATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def is_correlation_id(text: str) -> bool:
    """Return whether `text` is a valid correlation id: a letter or digit, then also `._:-`."""
    return _CORRELATION_ID.fullmatch(text) is not None


def first_header(scope: Mapping[str, Any], name: str) -> str | None:
    """Return the first header with a (lower-case) name, or None if it is absent."""
    wanted = name.encode()
    for key, value in scope["headers"]:
        if key == wanted:
            text: str = value.decode("latin-1")
            return text
    return None


def sent_correlation_id(scope: Mapping[str, Any]) -> str | None:
    """Return the caller's correlation id, or None if it is absent or invalid."""
    sent = first_header(scope, CORRELATION)
    return sent if sent is not None and is_correlation_id(sent) else None


def correlation_id_of_new_tasks(scope: Mapping[str, Any]) -> str | None:
    """Return the caller's correlation id, or None if it is absent. Raises ValueError."""
    sent = first_header(scope, CORRELATION)
    if sent is None or is_correlation_id(sent):
        return sent
    raise ValueError(
        "must have at most 128 characters of A-Z a-z 0-9 . _ : -, and begin with a letter or digit"
    )


def correlation_id_of(scope: Mapping[str, Any]) -> str:
    """Return the request's correlation id: the caller's, or a new one."""
    state = scope["state"]
    known: str | None = state.get("correlation_id")
    if known is None:
        known = state["correlation_id"] = sent_correlation_id(scope) or codec.new_task_id()
    return known


def sent_traceparent(scope: Mapping[str, Any]) -> str | None:
    """Return the caller's W3C traceparent, or None if it is absent or invalid."""
    sent = first_header(scope, "traceparent")
    return sent if sent is not None and _TRACEPARENT.fullmatch(sent) else None


def traceparent_of(scope: Mapping[str, Any]) -> str | None:
    """Return the traceparent for new tasks: that of the request's span, or the caller's."""
    return current_trace() or sent_traceparent(scope)
