"""Request headers, such as correlation ids and trace contexts, and addresses of callers."""

import re
from collections.abc import MutableMapping
from typing import Any

from tasker import codec
from tasker.client.trace import current_trace

CORRELATION = "x-correlation-id"
BASE_PATH = "tasker.base_path"  #: key of the server's base path in an ASGI scope, if it has one

_BY_NAME = "tasker.headers"  #: key of the headers by name in an ASGI scope
_CORRELATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def is_valid_correlation_id(text: str) -> bool:
    """Return whether `text` is a valid correlation id: letters, digits and `._:-`, starting with a
    letter or digit."""
    return _CORRELATION_ID.fullmatch(text) is not None


def first_header(scope: MutableMapping[str, Any], name: str) -> str | None:
    """Return the first header with a (lower-case) name, or None if it is absent."""
    headers: dict[bytes, bytes] | None = scope.get(_BY_NAME)
    if headers is None:
        headers = scope[_BY_NAME] = dict(reversed(scope["headers"]))  # the first one is kept
    value = headers.get(name.encode())
    return None if value is None else value.decode("latin-1")


def client_address(scope: MutableMapping[str, Any]) -> str:
    """Return the address of the caller, or "" if it is not known."""
    address: str = (scope.get("client") or ("",))[0]
    return address


def find_valid_correlation_id(scope: MutableMapping[str, Any]) -> str | None:
    """Return the caller's correlation id, or None if it is absent or invalid."""
    sent = first_header(scope, CORRELATION)
    return sent if sent is not None and is_valid_correlation_id(sent) else None


def parse_correlation_id_header(scope: MutableMapping[str, Any]) -> str | None:
    """Return the caller's correlation id, or None if it is absent. Raises ValueError."""
    sent = first_header(scope, CORRELATION)
    if sent is None or is_valid_correlation_id(sent):
        return sent
    raise ValueError(
        "must have at most 128 characters (A-Z a-z 0-9 . _ : -) and begin with a letter or digit"
    )


def get_or_make_correlation_id(scope: MutableMapping[str, Any]) -> str:
    """Return the request's correlation id: the caller's, or a new one."""
    state = scope["state"]
    known: str | None = state.get("correlation_id")
    if known is None:
        known = state["correlation_id"] = find_valid_correlation_id(scope) or codec.new_task_id()
    return known


def find_valid_traceparent(scope: MutableMapping[str, Any]) -> str | None:
    """Return the caller's W3C traceparent, or None if it is absent or invalid."""
    sent = first_header(scope, "traceparent")
    return sent if sent is not None and _TRACEPARENT.fullmatch(sent) else None


def traceparent_for_new_tasks(scope: MutableMapping[str, Any]) -> str | None:
    """Return the traceparent for new tasks: that of the request's span, or the caller's."""
    return current_trace() or find_valid_traceparent(scope)
