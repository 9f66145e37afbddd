"""Reads the HTTP calls of steps."""

import re
from collections.abc import Collection, Mapping
from datetime import timedelta

from tasker.errors import InvalidExpression
from tasker.model import Classification, HttpCall, Json, StatusRange
from tasker.template.expressions import Path, TextTemplate, check_names, compile_text
from tasker.template.http import DEFAULT, KINDS, is_header_value, literal_host
from tasker.template.parts import texts_with_braces
from tasker.template.reading import (
    Fields,
    Keys,
    Value,
    read_choice,
    read_duration,
    read_text,
    to_json,
)
from tasker.template.source import Scalar

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MOST_HEADERS = 50

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_RANGE = re.compile(r"([1-5])xx|([1-5]\d\d)(?:-([1-5]\d\d))?")
_RESERVED = ("host", "content-length", "transfer-encoding", "connection")
_LONGEST = timedelta(minutes=10)

_CALL = Keys(
    what="an http call",
    allowed=("url", "method", "headers", "body", "timeout", "classify"),
    aliases={"timeout_seconds": "timeout"},
    refused={
        "json": "write 'body'; a mapping or list is sent as JSON",
        "params": "write the query in 'url'",
        "retry": "write 'retry' in the step",
    },
)
_CLASSIFY = Keys(what="'classify'", allowed=KINDS)


def read_http(value: Value, names: Collection[str]) -> HttpCall | None:
    """Read the `http` of a step, whose placeholders may use `names` and `completion_url`."""
    names = (*names, "completion_url")
    fields = value.fields(_CALL)
    url = fields.required("url")
    body = fields.get("body")
    default = "GET" if body is None else "POST"
    call = HttpCall(
        url=(url and _read_url(url, names)) or "",
        method=fields.read("method", read_choice, METHODS) or default,
        headers=fields.read("headers", _read_headers, names) or {},
        body=None if body is None else _read_body(body, names),
        timeout=fields.read("timeout", read_duration, _LONGEST) or DEFAULT.timeout,
        classify=fields.read("classify", _read_classification) or Classification(),
    )
    if body is not None and call.method in ("GET", "HEAD"):
        body.refuse(f"a {call.method} request has no body")
    return call if call.url else None


def _read_url(value: Value, names: Collection[str]) -> str | None:
    text = _read_template(value, names)
    if text is None:
        return None
    url = text.text
    if not text.parts or isinstance(text.parts[0], Path):
        if not text.parts:
            value.refuse("a URL must not be empty")
        return url
    if not url.startswith(("http://", "https://")):
        value.refuse("a URL must begin with https://, http:// or a placeholder")
        return None
    try:
        host = literal_host(url)
    except ValueError as error:
        value.refuse(str(error))
        return None
    if host is not None and (not host.name.isascii() or not host.name):
        value.refuse("the URL's host must be ASCII; write other names in their xn-- form")
        return None
    return url


def _read_template(value: Value, names: Collection[str]) -> TextTemplate | None:
    """Read a string with placeholders."""
    written = read_text(value)
    if written is None:
        return None
    try:
        text = compile_text(written)
        check_names(written, text.paths, names)
    except InvalidExpression as error:
        value.refuse(str(error))
        return None
    return text


def _read_headers(value: Value, names: Collection[str]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for name, part in value.table("a mapping of headers").items():
        text = _read_template(part, names)
        if not _HEADER.fullmatch(name):
            part.refuse(f"{name[:60]!r} is not the name of a header")
        elif name.lower() in _RESERVED:
            part.refuse(f"the header {name!r} is set by Tasker; remove it")
        elif name.lower() in map(str.lower, headers):
            part.refuse(f"the header {name!r} is duplicated")
        elif text is not None and not is_header_value(text.text):
            part.refuse("a header must be printable text without line breaks")
        elif text is not None:
            headers[name] = text.text
    if len(headers) > MOST_HEADERS:
        value.refuse(f"a call may have at most {MOST_HEADERS} headers, found {len(headers)}")
    return headers


def _read_body(value: Value, names: Collection[str]) -> Json:
    for part in texts_with_braces(value):
        _read_template(part, names)
    return to_json(value.node)


def _read_classification(value: Value) -> Classification:
    fields = value.fields(_CLASSIFY)
    return Classification(
        success=_read_statuses(fields, "success"),
        retryable=_read_statuses(fields, "retryable"),
        permanent=_read_statuses(fields, "permanent"),
    )


def _read_statuses(fields: Fields, key: str) -> tuple[StatusRange, ...]:
    ranges: list[StatusRange] = []
    for item in fields.items(key, "a list of statuses"):
        content = item.node.value if isinstance(item.node, Scalar) else None
        match = _RANGE.fullmatch(str(content)) if isinstance(content, int | str) else None
        if match is None or int(match[3] or 599) < int(match[2] or 0):
            item.refuse_kind('a status such as 409, or a range such as "500-599" or "5xx"')
        elif match[1]:
            ranges.append((int(match[1]) * 100, int(match[1]) * 100 + 99))
        else:
            ranges.append((int(match[2]), int(match[3] or match[2])))
    return tuple(ranges)
