"""How handlers call other services, and what the answers mean.

The services stand at `GROWTHCORP_GATEWAYS`; where that is not set, this process simulates
them. Standard library only, so that the example runs wherever Tasker does; a service of
your own would use an HTTP library.
"""

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.parser import BytesHeaderParser
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlsplit

from tasker import PermanentError, RetryableError

from .gateways import own_gateways

REFUSED = (400, 401, 403, 404, 409, 410, 422)
"""Answers that would be the same another time; whatever else is not a success may change."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The response of a service."""

    status: int
    body: dict[str, Any]
    retry_after: float | None = None  #: seconds

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def message(self) -> str:
        return str(self.body.get("message", f"status {self.status}"))


class Unreachable(RetryableError):
    """No answer came: the call may have had its effect, or not."""


def now() -> datetime:
    """Return the current instant, for results with a timestamp."""
    return datetime.now(UTC)


def accepted(reply: Reply, what: str) -> dict[str, Any]:
    """Return the body of a success; raise the error of any other reply.

    Raises:
        PermanentError: The service refused.
        RetryableError: It may succeed later.
    """
    if reply.ok:
        return reply.body
    message = f"{what}: {reply.message}"
    if reply.status in REFUSED:
        raise PermanentError(message, code="REFUSED", details={"status": reply.status})
    raise RetryableError(
        message,
        code="RATE_LIMITED" if reply.status == 429 else "UNAVAILABLE",
        retry_after=reply.retry_after,
        details={"status": reply.status},
    )


def ask(
    method: str, path: str, body: object = None, *, key: str = "", timeout: float = 5.0
) -> Reply:
    """Call a service and wait for its answer.

    Args:
        method: The HTTP method.
        path: The path, from the `/` on; what users gave is quoted on the way.
        body: JSON.
        key: Names the call's effect: the service has it once, however often it is asked.
        timeout: Most seconds to wait.

    Raises:
        Unreachable: There was no answer.
    """
    host, port = _address()
    connection = HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, quote(path), _text(body), _headers(key))
        response = connection.getresponse()
        return _reply(response.status, response.headers, response.read())
    except (OSError, HTTPException) as error:
        raise _unreachable(path, error) from error
    finally:
        connection.close()


async def ask_async(
    method: str, path: str, body: object = None, *, key: str = "", timeout: float = 5.0
) -> Reply:
    """Call a service from a coroutine: see `ask`."""
    host, port = _address()
    text = _text(body)
    headers = {"Host": host, "Content-Length": str(len(text)), **_headers(key)}
    lines = [
        f"{method} {quote(path)} HTTP/1.0",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write("\r\n".join([*lines, "", ""]).encode() + text)
                status_line = await reader.readline()
                head = await reader.readuntil(b"\r\n\r\n")
                content = await reader.read()
            finally:
                writer.close()
        status = int(status_line.split()[1])
    except (OSError, asyncio.IncompleteReadError, IndexError) as error:
        raise _unreachable(path, error) from error
    return _reply(status, BytesHeaderParser().parsebytes(head), content)


def _address() -> tuple[str, int]:
    url = urlsplit(os.environ.get("GROWTHCORP_GATEWAYS") or own_gateways().url)
    return url.hostname or "127.0.0.1", url.port or 80


def _text(body: object) -> bytes:
    return b"" if body is None else json.dumps(body).encode()


def _headers(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key} if key else {}


def _reply(status: int, headers: Message, content: bytes) -> Reply:
    wait = headers.get("Retry-After")
    return Reply(status, json.loads(content) if content else {}, float(wait) if wait else None)


def _unreachable(path: str, error: Exception) -> Unreachable:
    service = path.split("/")[1]
    return Unreachable(f"{service} did not answer: {error!r}", code="UNREACHABLE")
