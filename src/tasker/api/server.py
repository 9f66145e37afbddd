"""Serves the application at an address until it is stopped."""

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address

import uvicorn
from fastapi import FastAPI

from tasker.api.connections import ACCEPTED_AT_ONCE, Connection, Connections
from tasker.errors import InvalidSettings
from tasker.settings import ServerSettings

_DEVELOPMENT_PORT = 3000  #: where it is free
_BACKLOG = 2048  #: connections that the kernel queues until they are accepted


class Server:
    """Serves an application in the running event loop.

    Args:
        app: The application from `create_app`.
        settings: Address and limits.
        shared: Whether other processes listen at the same address: see `choose_shared_port`.
    """

    def __init__(self, app: FastAPI, settings: ServerSettings, *, shared: bool = False) -> None:
        self._settings = settings
        self._socket = _open_listening_socket(settings.host, settings.port, shared=shared)
        host, port = self._socket.getsockname()[:2]
        self._draining: asyncio.TimerHandle | None = None
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.connections = Connections(settings)
        logging.getLogger("uvicorn").setLevel(logging.ERROR)  # other events are logged here
        self._uvicorn = _UvicornServer(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                backlog=ACCEPTED_AT_ONCE,
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(settings.proxies),
                forwarded_allow_ips=list(settings.proxies),
                timeout_graceful_shutdown=math.ceil(settings.grace.total_seconds()),
            ),
            app,
            self.connections,
        )

    async def run(self) -> None:
        """Serve until `stop` is called, then drain and give open requests their grace period."""
        try:
            await self._uvicorn.serve([self._socket])
        finally:
            self._uvicorn.ended.set()

    async def wait_started(self) -> None:
        """Wait until the server accepts requests."""
        await self._uvicorn.ready.wait()

    async def wait_ended(self) -> None:
        """Wait until the server has stopped."""
        await self._uvicorn.ended.wait()

    def stop(self, *, at_once: bool = False) -> None:
        """Fail `/ready` with 503, stop accepting requests after the `drain` time, and end.

        Args:
            at_once: Whether to end immediately, without draining or waiting for open requests.
        """
        self._uvicorn.mark_not_ready()
        if at_once or not self._settings.drain:
            self._request_exit(at_once)
        elif self._draining is None:
            drain = self._settings.drain.total_seconds()
            self._draining = asyncio.get_running_loop().call_later(drain, self._request_exit, False)

    def _request_exit(self, at_once: bool) -> None:
        self._uvicorn.force_exit = at_once
        self._uvicorn.should_exit = True


@asynccontextmanager
async def run_server(
    app: FastAPI, settings: ServerSettings, *, shared: bool = False
) -> AsyncIterator[Server]:
    """Serve an application while the block runs; see `Server`."""
    server = Server(app, settings, shared=shared)
    running = asyncio.create_task(server.run(), name="tasker-server")
    started = asyncio.create_task(server.wait_started())
    try:
        await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        yield server
    finally:
        started.cancel()
        server.stop()
        await running


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached only from this machine."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ip_address(host).is_loopback
    return False


def choose_shared_port(settings: ServerSettings) -> int:
    """Return the port for several processes: the configured one or, if that is 0, a free one.

    The system spreads new connections over the processes that listen there with `shared=True`.

    Raises:
        InvalidSettings: The address is in use, or the system cannot share it.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise InvalidSettings(
            "processes cannot share a port on this operating system: use --processes 1"
        )
    with _open_listening_socket(settings.host, settings.port) as listening:
        port: int = listening.getsockname()[1]
        return port


def choose_development_port() -> int:
    """Return port 3000 if it is free on this machine, otherwise 0 for any free port."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", _DEVELOPMENT_PORT))
            return _DEVELOPMENT_PORT
    return 0


def _open_listening_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Open the listening socket. Raises InvalidSettings."""
    try:
        candidates = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = candidates[0]
        return socket.create_server(address[:2], family=family, reuse_port=shared)
    except OSError as error:
        raise InvalidSettings(
            f"cannot listen on {host}:{port}: {error.strerror or error}"
        ) from None


class _UvicornServer(uvicorn.Server):
    """Leaves process signals to the caller, reports readiness, and ends waits and streams when it
    stops."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, connections: Connections) -> None:
        super().__init__(config)
        self.server_state = self._connections = connections
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self._app = app

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        await super().startup(list(sockets or ()))
        for listening in sockets or ():
            listening.listen(_BACKLOG)  # `backlog` above limits the connections accepted per event
        self.ready.set()

    async def on_tick(self, counter: int) -> bool:
        self._connections.close_overdue()
        return await super().on_tick(counter)

    def mark_not_ready(self) -> None:
        """Make `/ready` respond with 503."""
        if api := getattr(self._app.state, "tasker", None):  # absent before the startup
            api.readiness.stopping = True

    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        self.mark_not_ready()
        self._app.state.tasker.closing.set()
        await super().shutdown(list(sockets or ()))
