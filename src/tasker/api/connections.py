"""Limits the number of a server's connections and how long they stay open without a request.

uvicorn closes a connection that is idle after a response, but it limits neither the time in which a
request's head must arrive, nor the size of the head, nor the number of connections. A client can
reach these limits without credentials, so they are enforced before authentication.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tasker.settings import ServerSettings

log = logging.getLogger("tasker.api")

MAX_HEAD = 64 << 10  #: bytes of a request excluding its body, not counting the first read
MAX_HEADERS = 100  #: of a request
ACCEPTED_AT_ONCE = 50  #: connections that the event loop accepts before it hands them over
RESERVED = 200  #: file descriptors for the store, files and connections not yet handed over
LOG_EVERY = 60.0  #: seconds between two log records of closed connections
CONNECTION = "tasker.connection"  #: key of a request's connection in its ASGI scope

_OVERLOADED = b"503 Service Unavailable\r\nretry-after: 1"
_HEAD_TOO_LARGE = b"431 Request Header Fields Too Large"
_INVALID = b"400 Bad Request"


class HeadBufferingTransport:
    """A transport that sends the head of a response together with the first part of its body.

    uvicorn writes them one after the other. Each write costs a system call and wakes the client.
    A head that is not immediately followed by a body is sent in the next iteration of the event
    loop.
    """

    __slots__ = ("_head", "_transport", "_write", "is_closing")

    def __init__(self, transport: Any) -> None:  # of asyncio or uvloop
        self._transport = transport
        self._write = transport.write
        self._head = b""
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._write(head + data)
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            asyncio.get_running_loop().call_soon(self._flush_head)
        else:
            self._write(data)

    def _flush_head(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._write(head)

    def close(self) -> None:
        self._flush_head()
        self._transport.close()

    def get_write_buffer_size(self) -> int:
        return len(self._head) + int(self._transport.get_write_buffer_size())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Connection(HttpToolsProtocol):
    """One connection to a server."""

    __slots__ = ("_on_lost", "_since", "_unparsed", "_waits_for", "address")
    """Kept out of the instance's dictionary: with more than 30 keys, it would not share them with
    other instances and would take 1.3 kB more."""

    server_state: "Connections"

    _NO_PIPELINE: Any = ()
    """Replaces an empty queue of pipelined requests. Few clients send pipelined requests, and an
    empty deque takes 760 bytes."""

    def __init__(self, *args: Any, **options: Any) -> None:  # uvicorn's
        super().__init__(*args, **options)
        self.headers = []
        self.pipeline = self._NO_PIPELINE
        self.address = ""
        self._on_lost: Callable[[], None] | None = None
        self._unparsed = 0  # bytes since the request began, or since the last part of its body
        self._waits_for: object = None  # see `overdue_reason`
        self._since = 0.0

    def connection_made(self, transport: Any) -> None:  # of asyncio or uvloop
        joining: Any = HeadBufferingTransport(transport)
        super().connection_made(joining)
        self.address = self.client[0] if self.client else ""
        if not self.server_state.admit(self):
            self._reject_request(_OVERLOADED)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.forget(self)
        super().connection_lost(exc)
        scope: Any = self.scope
        if scope is not None:  # otherwise only the garbage collector would free both
            scope.pop(CONNECTION, None)
        callback, self._on_lost = self._on_lost, None
        if callback is not None:
            callback()

    def set_disconnect_callback(self, callback: Callable[[], None]) -> None:
        """Call a function once if the client disconnects, unless it is cleared before.

        This takes less memory than a task that waits for the ASGI message of the disconnection.
        """
        if self.transport.is_closing():
            callback()
        else:
            self._on_lost = callback
            self.flow.resume_reading()  # paused during large bodies

    def clear_disconnect_callback(self) -> None:
        """Forget the function passed to `set_disconnect_callback`."""
        self._on_lost = None

    def data_received(self, data: bytes) -> None:
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MAX_HEAD and not self.transport.is_closing():
            self.server_state.count_closed(self, "head_too_large")
            self._reject_request(_HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._unparsed = 0
        super().on_message_begin()
        scope: Any = self.scope
        scope[CONNECTION] = self

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS:
            raise ValueError("too many headers")  # stops the parser: see `send_400_response`
        if self._is_responding and not self.pipeline:
            self.pipeline = deque()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        too_many = len(self.headers) > MAX_HEADERS
        self.server_state.count_closed(self, "head_too_large" if too_many else "invalid_request")
        self._reject_request(_HEAD_TOO_LARGE if too_many else _INVALID)

    def _reject_request(self, status: bytes) -> None:
        head = b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(head)
        self.transport.close()

    @property
    def is_busy(self) -> bool:
        """Whether a request is being handled or a response has not been sent completely."""
        return self._is_responding or self.transport.get_write_buffer_size() > 0

    @property
    def _is_responding(self) -> bool:
        cycle: Any = self.cycle  # None until the first request, despite its annotation
        return cycle is not None and not cycle.response_complete

    def overdue_reason(self, now: float, *, head: float, response: float) -> str | None:
        """Return the reason why the connection must be closed, or None if it may stay open.

        Args:
            now: The time of the monotonic clock.
            head: Time limit for the arrival of a request's head, in seconds.
            response: Time limit for the client to read what was sent, in seconds.
        """
        waits_for: object
        if self.flow.write_paused or self.transport.is_closing():
            waits_for, limit, reason = "reader", response, "slow_reader"
        elif self._is_responding or self.timeout_keep_alive_task is not None:
            waits_for, limit, reason = None, 0.0, ""
        else:
            waits_for, limit, reason = (self.cycle, "head"), head, "slow_head"
        if waits_for != self._waits_for:
            self._waits_for, self._since = waits_for, now
        return reason if waits_for is not None and now - self._since >= limit else None


class Connections(ServerState):
    """The connections of one server.

    When a limit is reached, a new connection replaces the oldest connection without a request. If
    all connections have a request, the new one is rejected.

    Args:
        settings: The limits.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self, settings: ServerSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.cut: Counter[str] = Counter()
        self._settings = settings
        self._proxies = set(_parse_proxy_networks(settings.proxies))
        self._clock = clock
        self._most = min(
            settings.connections, max(_increase_descriptor_limit(settings.connections), 1)
        )
        self._open: dict[str, dict[Connection, None]] = {}  # by address, oldest first
        self.count = 0  #: open connections
        self._next_sweep = self._next_record = 0.0
        self._last_address = ""
        if self._most < settings.connections:
            facts = {"connections": self._most, "wanted": settings.connections}
            log.warning("connections_bound_lowered", extra=facts)

    def admit(self, connection: Connection) -> bool:
        """Count a new connection; return False if it must be rejected."""
        own = self._open.setdefault(connection.address, {})
        own[connection] = None
        self.count += 1
        groups: Sequence[dict[Connection, None]] = ()
        if self.count > self._most:
            groups = sorted(self._open.values(), key=len, reverse=True)
        elif len(own) > self._settings.connections_per_address and not self._is_proxy(connection):
            groups = (own,)
        if not groups:
            return True
        for each in _flatten_connections(groups):
            if each is not connection and not each.is_busy:
                self._count_closed_and_forget(each, "displaced")
                each.transport.abort()
                return True
        self._count_closed_and_forget(connection, "rejected")
        return False

    def forget(self, connection: Connection) -> None:
        """Stop counting a connection."""
        own = self._open.get(connection.address, {})
        if connection in own:
            del own[connection]
            self.count -= 1
            if not own:
                del self._open[connection.address]

    def close_overdue(self) -> None:
        """Close the overdue connections, and log how many were closed."""
        now, settings = self._clock(), self._settings
        head, response = settings.header_timeout.total_seconds(), settings.timeout.total_seconds()
        if now >= self._next_sweep:
            self._next_sweep = now + head / 10
            for connection in list(_flatten_connections(self._open.values())):
                if reason := connection.overdue_reason(now, head=head, response=response):
                    self._count_closed_and_forget(connection, reason)
                    connection.transport.abort()
        if self.cut and now >= self._next_record:
            self._next_record = now + LOG_EVERY
            facts = {"open": self.count, "last_client": self._last_address}
            log.warning("connections_cut", extra={**self.cut, **facts})
            self.cut.clear()

    def count_closed(self, connection: Connection, reason: str) -> None:
        """Count a closed connection, for the next log record."""
        self.cut[reason] += 1
        self._last_address = connection.address

    def _count_closed_and_forget(self, connection: Connection, reason: str) -> None:
        self.count_closed(connection, reason)
        self.forget(connection)

    def _is_proxy(self, connection: Connection) -> bool:
        if "*" in self._settings.proxies:
            return True
        with contextlib.suppress(ValueError):
            address = ip_address(connection.address)
            return any(address in network for network in self._proxies)
        return False


def _parse_proxy_networks(proxies: Iterable[str]) -> Iterator[IPv4Network | IPv6Network]:
    for proxy in proxies:
        with contextlib.suppress(ValueError):  # "*", or a name, which uvicorn compares as text
            yield ip_network(proxy, strict=False)


def _flatten_connections(groups: Iterable[Iterable[Connection]]) -> Iterator[Connection]:
    for group in groups:
        yield from group


def _increase_descriptor_limit(wanted: int) -> int:
    """Raise the limit on file descriptors, and return how many connections it allows."""
    try:
        import resource
    except ImportError:  # Windows
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else soft - RESERVED
