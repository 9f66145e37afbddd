"""Responses as JSON."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson
from starlette.responses import Response

T = TypeVar("T")

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


class JsonResponse(Response):
    """A value as JSON, including dataclasses; times are in UTC, written with `Z`."""

    media_type = "application/json"

    def __init__(
        self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(content, status, headers)

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=_OPTIONS)


LARGE = 200  #: parts, such as steps, from which a response is built off the event loop


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
    """Return what `build` makes of so many parts, off the event loop if they are many."""
    return build() if parts <= LARGE else await asyncio.to_thread(build)
