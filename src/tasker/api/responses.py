"""Responses as JSON."""

import asyncio
from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from typing import Any, Protocol, TypeVar

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")

LARGE = (
    200  #: number of parts, such as steps, from which a response is built outside the event loop
)
LARGE_BODY = 50_000  #: size in bytes from which a response is masked outside the event loop

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


class Viewer(Protocol):
    """The caller of a request, who may see only part of a response."""

    async def masked(self, content: Any, *, large: bool = False) -> Any:
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
    """

    media_type = "application/json"

    def __init__(
        self,
        content: Any,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        revealed: bool = False,
    ) -> None:
        super().__init__(content, status, headers)
        self._content = None if revealed else content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        viewer: Viewer | None = scope["state"].get("viewer") if "state" in scope else None
        if viewer is not None and self._content is not None:
            large = len(self.body) >= LARGE_BODY
            content = await viewer.masked(self._content, large=large)
            if content is not self._content:
                self.body = await in_thread(large, partial(self.render, content))
                length = (b"content-length", b"%d" % len(self.body))
                self.raw_headers = [
                    length if header[0] == length[0] else header for header in self.raw_headers
                ]
        await super().__call__(scope, receive, send)

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
) -> JsonResponse:
    """Return a response, built in a thread if it is large.

    Args:
        parts: Number of steps that the response contains or is built from.
        build: Returns the content; must not use the event loop.
        status: The response's HTTP status.
        headers: The response's headers.
    """
    return await in_thread_if_large(parts, lambda: JsonResponse(build(), status, headers))


async def in_thread_if_large(parts: int, build: Callable[[], T]) -> T:
    """Return the result of `build`, called outside the event loop if there are many parts."""
    return await in_thread(parts > LARGE, build)


async def in_thread(large: bool, build: Callable[[], T]) -> T:
    """Return the result of `build`, called outside the event loop if it is large."""
    return await asyncio.to_thread(build) if large else build()
