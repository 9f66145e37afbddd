"""Responses as JSON."""

import asyncio
import gzip
from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from typing import Any, Protocol, TypeVar

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tasker.api.headers import first_header

T = TypeVar("T")

LARGE = (
    200  #: number of parts, such as steps, from which a response is built outside the event loop
)
LARGE_BODY = 50_000
"""Size in bytes. Responses that are at least as large are masked and compressed outside the event
loop."""

_FASTEST = 1  #: level of compression; higher ones take several times as long for a few percent
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


class ResponseMasker(Protocol):
    """Masks responses for the caller of a request, who may see only part of them."""

    async def mask(self, content: Any, *, large: bool = False) -> Any:
        """Return a response as the caller may see it; the same object if it may see all of it.

        A `large` response is processed outside the event loop.
        """
        ...


class JsonResponse(Response):
    """A value as JSON, including dataclasses; times are in UTC, written with `Z`.

    Data that the caller may not read is masked when the response is sent, so no route can forget to
    do it.

    Args:
        content: The value.
        status: The response's HTTP status.
        headers: The response's headers.
        revealed: Whether it is sent unmasked.
        compressible: Whether it is compressed, if it is large and the caller accepts that.
    """

    media_type = "application/json"

    def __init__(
        self,
        content: Any,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        revealed: bool = False,
        compressible: bool = False,
    ) -> None:
        super().__init__(content, status, headers)
        self._content = None if revealed else content
        self._compressible = compressible
        if compressible:
            self.headers["Vary"] = "Accept-Encoding"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        masker: ResponseMasker | None = scope["state"].get("masker") if "state" in scope else None
        if masker is not None and self._content is not None:
            large = len(self.body) >= LARGE_BODY
            content = await masker.mask(self._content, large=large)
            if content is not self._content:
                self._replace_body(await run_in_thread_if(large, partial(self.render, content)))
        if self._compressible and len(self.body) >= LARGE_BODY and _accepts_gzip(scope):
            packed = partial(gzip.compress, bytes(self.body), _FASTEST, mtime=0)
            self._replace_body(await asyncio.to_thread(packed))
            self.headers["Content-Encoding"] = "gzip"
        await super().__call__(scope, receive, send)

    def _replace_body(self, body: bytes) -> None:
        self.body = body
        self.headers["Content-Length"] = str(len(body))

    def copy(self) -> "JsonResponse":
        """Return the same response for another caller."""
        other = copy(self)
        other.raw_headers = [*self.raw_headers]
        other.__dict__.pop("_headers", None)  # Starlette's view of the original's headers
        return other

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=_OPTIONS)


async def build_response(
    parts: int,
    build: Callable[[], Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    compressible: bool = False,
) -> JsonResponse:
    """Return a response, built in a thread if it is large.

    Args:
        parts: Number of steps that the response contains or is built from.
        build: Returns the content; must not use the event loop.
        status: The response's HTTP status.
        headers: The response's headers.
        compressible: Whether it is compressed, if it is large and the caller accepts that.
    """
    return await run_in_thread_if_large(
        parts, lambda: JsonResponse(build(), status, headers, compressible=compressible)
    )


def _accepts_gzip(scope: Scope) -> bool:
    return "gzip" in (first_header(scope, "accept-encoding") or "")


async def run_in_thread_if_large(parts: int, build: Callable[[], T]) -> T:
    """Return the result of `build`, called outside the event loop if there are many parts."""
    return await run_in_thread_if(parts > LARGE, build)


async def run_in_thread_if(large: bool, build: Callable[[], T]) -> T:
    """Return the result of `build`, called outside the event loop if it is large."""
    return await asyncio.to_thread(build) if large else build()
