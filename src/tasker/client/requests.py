"""Requests to a server that may be away for a moment: sent again where that is safe."""

import random
import time
from asyncio import sleep
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson

from tasker.client import decode
from tasker.errors import StoreError, StoreUnavailable

_AGAIN = frozenset({429, 502, 503, 504})
_NOT_BEGUN = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0


class Requests:
    """Sends requests, and reads answers.

    Args:
        http: Where to.
        retries: How often a request is sent again.
    """

    def __init__(self, http: httpx.AsyncClient, *, retries: int) -> None:
        self._http = http
        self._retries = retries

    async def get(self, path: str, *, within: float | None = None, **query: Any) -> Any:
        """Read something."""
        return await self.send("GET", path, query=query, within=within)

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        again: bool = True,
        within: float | None = None,
    ) -> Any:
        """Send a request; tell the JSON of its answer.

        Args:
            method: GET, POST, ...
            path: Below the server's URL.
            body: Sent as JSON; None: nothing.
            query: Parameters; those that are None are left out.
            headers: Further headers.
            again: Whether it does no harm to do it twice. What the server did not begin
                is sent again in any case.
            within: Seconds that its answer may take; None: the client's timeout.

        Raises:
            TaskerError: What the server said, as the error that a local client raises.
            StoreUnavailable: It cannot be reached.
        """
        content = None if body is None else orjson.dumps(body, default=str)
        sent = dict(headers or {})
        if content is not None:
            sent["Content-Type"] = "application/json"
        asked = {key: value for key, value in (query or {}).items() if value is not None}
        timeout = httpx.USE_CLIENT_DEFAULT if within is None else httpx.Timeout(within, connect=5)
        for left in range(self._retries, -1, -1):
            try:
                response = await self._http.request(
                    method, path, content=content, params=asked, headers=sent, timeout=timeout
                )
            except httpx.TransportError as error:
                if not left or not (again or isinstance(error, _NOT_BEGUN)):
                    why = str(error) or type(error).__name__
                    told = f"{self._http.base_url} cannot be reached: {why}"
                    raise StoreUnavailable(told) from error
                pause = None
            else:
                refused = response.status_code == 429
                if response.status_code not in _AGAIN or not left or not (again or refused):
                    return _read(response)
                pause = _asked_pause(response)
            await sleep(_pause(self._retries - left) if pause is None else pause)
        raise AssertionError  # the last round returns or raises


def _read(response: httpx.Response) -> Any:
    """Tell the JSON of an answer. Raises TaskerError."""
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    if response.is_success and kind == "application/json":
        return orjson.loads(response.content)
    if kind == "application/problem+json":
        raise decode.error_of(orjson.loads(response.content))
    told = f"{response.request.url.copy_with(query=None)} answered {response.status_code}"
    if response.status_code in _AGAIN:
        raise StoreUnavailable(told)
    raise StoreError(f"{told} with {kind or 'nothing'}, which is not the API of Tasker")


def _pause(tried: int) -> float:
    return random.uniform(0.5, 1) * min(_FIRST_PAUSE * 2.0**tried, _LONGEST_PAUSE)


def _asked_pause(response: httpx.Response) -> float | None:
    """Tell how many seconds the server asks to wait."""
    said = response.headers.get("Retry-After", "")
    if said.isdigit():
        return min(float(said), _LONGEST_PAUSE)
    try:
        until = parsedate_to_datetime(said)
    except ValueError:
        return None
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_PAUSE)


class Deadline:
    """An end of waiting, or none."""

    def __init__(self, timeout: timedelta | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout.total_seconds()

    def left(self, most: float) -> float:
        """Tell the seconds that are left, at most `most`; 0 when it is over."""
        if self._end is None:
            return most
        return max(min(most, self._end - time.monotonic()), 0.0)
