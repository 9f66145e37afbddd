"""Responses shared briefly by callers that see the same content.

Each open page of the web UI repeats its requests every few seconds. A request that accepts an older
response says so with `Cache-Control: max-age=SECONDS`; all other requests are answered from the
store.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import NamedTuple

from starlette.requests import Request

from tasker.api.headers import first_header
from tasker.api.responses import JsonResponse
from tasker.ttl_cache import Clock

LONGEST_SHARED = 10  #: seconds for which a response is kept at most
MOST_SHARED = 128  #: responses
LARGEST_SHARED = 256_000  #: bytes of a response that is kept; larger ones are shared while built

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])", re.ASCII | re.IGNORECASE)


class _SharedResponse(NamedTuple):
    response: "asyncio.Task[JsonResponse]"
    began: float


class SharedResponses:
    """Builds responses and shares them among all requests that accept their age.

    Callers are authenticated, authorized and masked one by one: only the content is shared.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[Hashable, _SharedResponse] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def respond(
        self, request: Request, key: Hashable, build: Callable[[], Awaitable[JsonResponse]]
    ) -> JsonResponse:
        """Return a response of a route, newly built unless the request accepts an older one.

        Args:
            request: The request.
            key: Everything that the response depends on, such as the caller's visible namespaces.
            build: Builds the response; must not use anything else about the caller.
        """
        age = _accepted_age_seconds(request)
        if not age:
            return await build()
        key = (request.scope["path"], key)
        entry = self._entries.get(key)
        if entry is None or self._clock() - entry.began >= age:
            entry = self._start_building(key, build)
        response = await asyncio.shield(entry.response)
        return response.copy()

    def _start_building(
        self, key: Hashable, build: Callable[[], Awaitable[JsonResponse]]
    ) -> _SharedResponse:
        async def build_as_coroutine() -> JsonResponse:
            return await build()

        entry = _SharedResponse(asyncio.create_task(build_as_coroutine()), self._clock())
        self._entries.pop(key, None)
        self._remove_expired()
        self._entries[key] = entry

        def forget_if_failed_or_large(done: "asyncio.Task[JsonResponse]") -> None:
            failed = done.cancelled() or done.exception() is not None
            kept = not failed and len(done.result().body) <= LARGEST_SHARED
            if not kept and self._entries.get(key) is entry:
                del self._entries[key]

        entry.response.add_done_callback(forget_if_failed_or_large)
        return entry

    def _remove_expired(self) -> None:
        """Remove the expired responses, and the oldest ones if there are too many; they are ordered
        by age."""
        oldest = self._clock() - LONGEST_SHARED
        for key, entry in [*self._entries.items()]:
            if entry.began > oldest and len(self._entries) < MOST_SHARED:
                return
            del self._entries[key]


def _accepted_age_seconds(request: Request) -> int:
    """Return the age in seconds that the caller accepts; 0: none."""
    match = _MAX_AGE.search(first_header(request.scope, "cache-control") or "")
    return min(int(match[1]), LONGEST_SHARED) if match else 0
