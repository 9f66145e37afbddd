"""Reads the HTTP calls of steps."""

import re
from collections.abc import Collection, Mapping
from datetime import timedelta

from tasker.errors import InvalidExpression
from tasker.model import HttpCall, HttpStatusClassification, Json, StatusRange
from tasker.template.expressions import Path, TextTemplate, check_path_names, compile_text
from tasker.template.http import DEFAULT, KINDS, find_literal_host, is_valid_header_value
from tasker.template.parts import strings_with_placeholders
from tasker.template.reading import (
    AllowedKeys,
    LocatedValue,
    MappingFields,
    node_to_json,
    read_choice,
    read_duration,
    read_text,
)
from tasker.template.source import ScalarNode

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MOST_HEADERS = 50

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_RANGE = re.compile(r"([1-5])xx|([1-5]\d\d)(?:-([1-5]\d\d))?")
_RESERVED = ("host", "content-length", "transfer-encoding", "connection")
_LONGEST = timedelta(minutes=10)

_CALL = AllowedKeys(
    what="an http call",
    allowed=("url", "method", "headers", "body", "timeout", "classify"),
    aliases={"timeout_seconds": "timeout"},
    rejected={
        "json": "write 'body'; a mapping or list is sent as JSON",
        "params": "write the query in 'url'",
        "retry": "write 'retry' in the step",
    },
)
_CLASSIFY = AllowedKeys(what="'classify'", allowed=KINDS)


def read_http(value: LocatedValue, names: Collection[str]) -> HttpCall | None:
    """Read the `http` of a step, whose placeholders may use `names` and `completion_url`."""
    names = (*names, "completion_url")
    fields = value.read_fields(_CALL)
    url = fields.get_required("url")
    body = fields.get("body")
    default = "GET" if body is None else "POST"
    call = HttpCall(
        url=(url and _read_url(url, names)) or "",
        method=fields.read("method", read_choice, METHODS) or default,
        headers=fields.read("headers", _read_headers, names) or {},
        body=None if body is None else _read_body(body, names),
        timeout=fields.read("timeout", read_duration, _LONGEST) or DEFAULT.timeout,
        classify=fields.read("classify", _read_status_classification) or HttpStatusClassification(),
    )
    if body is not None and call.method in ("GET", "HEAD"):
        body.report_problem(f"a {call.method} request cannot have a body")
    return call if call.url else None


def _read_url(value: LocatedValue, names: Collection[str]) -> str | None:
    text = _read_placeholder_text(value, names)
    if text is None:
        return None
    url = text.text
    if not text.parts or isinstance(text.parts[0], Path):
        if not text.parts:
            value.report_problem("a URL must not be empty")
        return url
    if not url.startswith(("http://", "https://")):
        value.report_problem("a URL must begin with https://, http:// or a placeholder")
        return None
    try:
        host = find_literal_host(url)
    except ValueError as error:
        value.report_problem(str(error))
        return None
    if host is not None and (not host.name.isascii() or not host.name):
        value.report_problem(
            "the URL's host must be ASCII; write an internationalized name in its xn-- form"
        )
        return None
    return url


def _read_placeholder_text(value: LocatedValue, names: Collection[str]) -> TextTemplate | None:
    """Read a string with placeholders."""
    written = read_text(value)
    if written is None:
        return None
    try:
        text = compile_text(written)
        check_path_names(written, text.paths, names)
    except InvalidExpression as error:
        value.report_problem(str(error))
        return None
    return text


def _read_headers(value: LocatedValue, names: Collection[str]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for name, part in value.mapping_values("a mapping of headers").items():
        text = _read_placeholder_text(part, names)
        if not _HEADER.fullmatch(name):
            part.report_problem(f"{name[:60]!r} is not a valid header name")
        elif name.lower() in _RESERVED:
            part.report_problem(f"the header {name!r} is set by Tasker; remove it")
        elif name.lower() in map(str.lower, headers):
            part.report_problem(f"the header {name!r} is duplicated")
        elif text is not None and not is_valid_header_value(text.text):
            part.report_problem("a header must be printable text without line breaks")
        elif text is not None:
            headers[name] = text.text
    if len(headers) > MOST_HEADERS:
        value.report_problem(
            f"a call may have at most {MOST_HEADERS} headers, found {len(headers)}"
        )
    return headers


def _read_body(value: LocatedValue, names: Collection[str]) -> Json:
    for part in strings_with_placeholders(value):
        _read_placeholder_text(part, names)
    return node_to_json(value.node)


def _read_status_classification(value: LocatedValue) -> HttpStatusClassification:
    fields = value.read_fields(_CLASSIFY)
    return HttpStatusClassification(
        success=_read_status_ranges(fields, "success"),
        retryable=_read_status_ranges(fields, "retryable"),
        permanent=_read_status_ranges(fields, "permanent"),
    )


def _read_status_ranges(fields: MappingFields, key: str) -> tuple[StatusRange, ...]:
    ranges: list[StatusRange] = []
    for item in fields.list_items(key, "a list of statuses"):
        content = item.node.value if isinstance(item.node, ScalarNode) else None
        match = _RANGE.fullmatch(str(content)) if isinstance(content, int | str) else None
        if match is None or int(match[3] or 599) < int(match[2] or 0):
            item.report_wrong_type('a status such as 409, or a range such as "500-599" or "5xx"')
        elif match[1]:
            ranges.append((int(match[1]) * 100, int(match[1]) * 100 + 99))
        else:
            ranges.append((int(match[2]), int(match[3] or match[2])))
    return tuple(ranges)
