"""Sends requests to a server, with retries if they are safe."""

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
from tasker.errors import ServerUnavailable, StoreError

_RETRIED = frozenset({429, 502, 503, 504})
_NOT_STARTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0


class ApiRequestSender:
    """Sends requests to the API, repeats them if that is safe, and decodes the responses.

    Args:
        http: A client with the server's URL.
        retries: Maximum number of repetitions of a request.
    """

    def __init__(self, http: httpx.AsyncClient, *, retries: int) -> None:
        self._http = http
        self._retries = retries

    async def get(self, path: str, *, within: float | None = None, **query: Any) -> Any:
        """Return the JSON at a path."""
        return await self.send("GET", path, query=query, within=within)

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        within: float | None = None,
    ) -> Any:
        """Send a request and return the JSON of its response.

        Args:
            method: GET, POST, ...
            path: The path below the server's URL.
            body: The body, sent as JSON; None means no body.
            query: Query parameters; None values are omitted.
            headers: Additional headers.
            repeatable: Whether the request is safe to repeat. A request that the server did not
                start to handle is always repeated.
            within: Time limit in seconds; None means the client's timeout.

        Raises:
            TaskerError: The server's problem, as the error that a local client would raise.
            ServerUnavailable: The server cannot be reached.
        """
        content = None if body is None else orjson.dumps(body, default=str)
        sent = dict(headers or {})
        if content is not None:
            sent["Content-Type"] = "application/json"
        params = {key: value for key, value in (query or {}).items() if value is not None}
        timeout = httpx.USE_CLIENT_DEFAULT if within is None else httpx.Timeout(within, connect=5)
        for left in range(self._retries, -1, -1):
            try:
                response = await self._http.request(
                    method, path, content=content, params=params, headers=sent, timeout=timeout
                )
            except httpx.TransportError as error:
                if not left or not (repeatable or isinstance(error, _NOT_STARTED)):
                    why = str(error) or type(error).__name__
                    message = f"{self._http.base_url} cannot be reached: {why}"
                    raise ServerUnavailable(message) from error
                pause = None
            else:
                rejected = response.status_code == 429
                if response.status_code not in _RETRIED or not left or not (repeatable or rejected):
                    return _decode_response(response)
                pause = _parse_retry_after(response)
            await sleep(_retry_delay(self._retries - left) if pause is None else pause)
        raise AssertionError  # the last iteration returns or raises


def _decode_response(response: httpx.Response) -> Any:
    """Return the JSON of a response; raise the error that it contains as a TaskerError."""
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    if response.is_success and kind == "application/json":
        return orjson.loads(response.content)
    if kind == "application/problem+json":
        raise decode.error(orjson.loads(response.content))
    message = f"{response.request.url.copy_with(query=None)} returned status {response.status_code}"
    if response.status_code in _RETRIED:
        raise ServerUnavailable(message)
    raise StoreError(f"{message} with {kind or 'no content type'}: is this a Tasker server?")


def _retry_delay(tried: int) -> float:
    return random.uniform(0.5, 1) * min(_FIRST_PAUSE * 2.0**tried, _LONGEST_PAUSE)


def _parse_retry_after(response: httpx.Response) -> float | None:
    """Return the server's `Retry-After` in seconds, or None."""
    value = response.headers.get("Retry-After", "")
    if value.isdigit():
        return min(float(value), _LONGEST_PAUSE)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_PAUSE)


class Deadline:
    """The deadline of a wait, if it has one."""

    def __init__(self, timeout: timedelta | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout.total_seconds()

    def remaining(self, most: float) -> float:
        """Return the remaining seconds, between 0 and `most`."""
        if self._end is None:
            return most
        return max(min(most, self._end - time.monotonic()), 0.0)
