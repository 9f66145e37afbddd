"""HTTP calls of steps: their documents, their hosts, and their placeholders."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from tasker.errors import InvalidExpression
from tasker.model import (
    HttpCall,
    HttpStatusClassification,
    Json,
    JsonObject,
    StatusRange,
    StepSpec,
    flatten_steps,
)
from tasker.template.expressions import Names, Path, TextTemplate, compile_text, value_to_text

_DOTS = (".", "..")  #: parts of a path that remove themselves, or the part before them
_FILLED = "\0"  #: before a value in a URL, in which it cannot occur
KINDS = ("success", "retryable", "permanent")  #: of `HttpStatusClassification`
DEFAULT = HttpCall(url="")


def http_to_document(call: HttpCall) -> JsonObject:
    """Write a call in the form used in templates. Defaults are omitted."""
    document: dict[str, Json] = {"url": call.url, "method": call.method}
    if call.headers:
        document["headers"] = dict(call.headers)
    if call.body is not None:
        document["body"] = call.body
    if call.timeout != DEFAULT.timeout:
        document["timeout"] = call.timeout.total_seconds()
    classified = {
        key: [low if low == high else f"{low}-{high}" for low, high in ranges]
        for key in KINDS
        if (ranges := getattr(call.classify, key))
    }
    if classified:
        document["classify"] = classified
    return document


def http_from_document(document: Mapping[str, Any]) -> HttpCall:
    """Read a call written by `http_to_document`."""
    classified = document.get("classify", {})
    timeout = document.get("timeout")
    return HttpCall(
        url=document["url"],
        method=document["method"],
        headers=document.get("headers", {}),
        body=document.get("body"),
        timeout=DEFAULT.timeout if timeout is None else timedelta(seconds=timeout),
        classify=HttpStatusClassification(
            **{key: tuple(map(_parse_status_range, ranges)) for key, ranges in classified.items()}
        ),
    )


def _parse_status_range(written: int | str) -> StatusRange:
    low, _, high = str(written).partition("-")
    return int(low), int(high or low)


# --------------------------------------------------------------------------- hosts


class UrlHost(NamedTuple):
    """The host of a URL."""

    name: str  #: in lower case; an IPv6 address in brackets
    port: int

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


def find_literal_host(url: str) -> UrlHost | None:
    """Return the host of a call's URL, or None if it is only known at run time.

    Raises:
        ValueError: The URL is invalid.
    """
    authority = re.match(r"https?://([^/?#]*)", url)
    if authority is None or may_have_placeholders(authority[1]):
        return None
    return parse_url_host(url)


def parse_url_host(url: str) -> UrlHost:
    """Return the host of a URL without placeholders.

    Raises:
        ValueError: The URL is invalid, or contains a user name.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a URL must have the form https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "a URL must not contain a user name or password, because URLs are not kept secret"
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return UrlHost(name.lower(), parts.port or (443 if parts.scheme == "https" else 80))


def list_literal_hosts(steps: Iterable[StepSpec]) -> list[tuple[str, UrlHost]]:
    """List the hosts that the steps of a template call, each with its step."""
    return [
        (spec.name, host)
        for spec in flatten_steps(steps)
        if spec.http is not None and (host := find_literal_host(spec.http.url)) is not None
    ]


# -------------------------------------------------------------------- placeholders


def compile_texts_of_call(call: HttpCall) -> Iterator[TextTemplate]:
    """Yield the strings with placeholders in a call."""
    for text in (call.url, *call.headers.values(), *_iterate_strings(call.body)):
        if may_have_placeholders(text):
            yield compile_text(text)


def results_used_by_call(call: HttpCall) -> Iterator[str]:
    """Yield the names of the steps whose results a call uses."""
    for text in compile_texts_of_call(call):
        for path in text.paths:
            if path.keys[0] == "results" and len(path.keys) > 1:
                yield str(path.keys[1])


def render_url(url: str, names: Names) -> str:
    """Return a URL with its placeholders filled in.

    Values are percent-encoded unless they are at its start.

    Raises:
        InvalidExpression: A value is null, empty, an object or a list, or would remove parts of the
            path.
    """
    text = compile_text(url)
    text.render_key(names)
    marked = "".join(
        part
        if isinstance(part, str)
        else _placeholder_to_text(part.evaluate(names), encode=number > 0)
        for number, part in enumerate(text.parts)
    )
    path = re.split(r"[?#]", marked, maxsplit=1)[0]
    if any(_FILLED in part and part.replace(_FILLED, "") in _DOTS for part in path.split("/")):
        raise InvalidExpression(url, "a value must not turn a path segment into '.' or '..'")
    return marked.replace(_FILLED, "")


def _placeholder_to_text(value: Json, *, encode: bool) -> str:
    text = value_to_text(value)
    return f"{_FILLED}{quote(text, safe='')}" if encode else text


def render_header(text: str, names: Names) -> str:
    """Return the value of a header with its placeholders filled in.

    Raises:
        InvalidExpression: A value is null, empty, an object or a list, or not printable ASCII.
    """
    filled = compile_text(text).render_key(names)
    if not is_valid_header_value(filled):
        raise InvalidExpression(text, "its value is not printable ASCII text")
    return filled


def render_body(body: Json, names: Names) -> Json:
    """Return a body with its placeholders filled in; a string that is only one placeholder becomes
    the value itself."""
    if isinstance(body, str):
        if not may_have_placeholders(body):
            return body
        text = compile_text(body)
        if len(text.parts) == 1 and isinstance(text.parts[0], Path):
            return text.parts[0].evaluate(names)
        return text.render(names)
    if isinstance(body, Mapping):
        return {key: render_body(part, names) for key, part in body.items()}
    if isinstance(body, list | tuple):
        return [render_body(part, names) for part in body]
    return body


def _iterate_strings(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _iterate_strings(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _iterate_strings(part)


def may_have_placeholders(text: str) -> bool:
    """Return whether a text may have placeholders."""
    return "{" in text or "}" in text


def is_valid_header_value(text: str) -> bool:
    """Return whether a text may be the value of a header."""
    return text.isprintable() and text.isascii()
