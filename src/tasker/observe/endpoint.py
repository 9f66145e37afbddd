"""The HTTP endpoint of a worker: `/metrics` for Prometheus, `/live` and `/ready` for probes."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import ThreadingHTTPServer
from threading import Thread
from typing import Any, Protocol

from prometheus_client.exposition import MetricsHandler

from tasker.errors import InvalidSettings
from tasker.observe.metrics import Metrics

MAX_CONNECTIONS = 32  #: maximum number of open connections; each has a thread


class WorkerHealth(Protocol):
    """The state of a worker, which other threads read."""

    @property
    def is_live(self) -> bool:
        """Whether the worker's event loop is responsive."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether the worker claims steps."""
        ...


class ObservabilityEndpoint:
    """A worker's HTTP endpoint for its metrics and its health: `/metrics`, `/live` and `/ready`.

    It serves requests in separate threads, so it responds even if the event loop is blocked.

    Args:
        metrics: The metrics of this process.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.worker: WorkerHealth | None = None  #: None until created: live but not ready
        self.metrics = metrics

    @contextmanager
    def serve(self, address: str) -> Iterator[str]:
        """Listen on an address while the block runs; yield the URL.

        Args:
            address: `127.0.0.1:9100` or `[::1]:9100`; with port 0, any free one.

        Raises:
            InvalidSettings: The address is invalid or in use.
        """
        host, port = parse_address(address)
        endpoint = self

        class RequestHandler(MetricsHandler):
            registry = endpoint.metrics.registry
            timeout = 10  # seconds without a byte

            def do_GET(self) -> None:  # noqa: N802 - the name in the library
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    super().do_GET()
                elif path == "/live":
                    self._send_health(endpoint.worker is None or endpoint.worker.is_live)
                elif path == "/ready":
                    self._send_health(endpoint.worker is not None and endpoint.worker.is_ready)
                else:
                    self.send_error(404)

            def _send_health(self, passed: bool) -> None:
                body = b"ok\n" if passed else b"failed\n"
                self.send_response(200 if passed else 503)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        class AddressFamilyServer(_ConnectionLimitedServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        try:
            server = AddressFamilyServer((host, port), RequestHandler)
        except OSError as error:
            raise InvalidSettings(f"cannot listen on {address}: {error.strerror}") from None
        thread = Thread(target=server.serve_forever, name="tasker-endpoint", daemon=True)
        thread.start()
        try:
            yield f"http://{address.rpartition(':')[0]}:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _ConnectionLimitedServer(ThreadingHTTPServer):
    """A server that closes its oldest connection when a new one exceeds the limit."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._open: dict[Any, None] = {}
        super().__init__(*args, **options)

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            oldest = next(iter(list(self._open)), None)
            if oldest is not None:
                self._open.pop(oldest, None)
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread then closes it
        self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)


def parse_address(address: str) -> tuple[str, int]:
    """Parse an address such as `127.0.0.1:9100` or `[::1]:9100`. Raises InvalidSettings."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not port.isascii() or int(port) > 65535:
        raise InvalidSettings(
            f"{address!r} is not an address in the form HOST:PORT, such as 127.0.0.1:9100"
        )
    return host.strip("[]"), int(port)
