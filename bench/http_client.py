"""A server in a process of its own, and connections to it that cost the client little."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, NamedTuple, cast
from urllib.parse import urlsplit

from bench.fleet import ROOT
from bench.proc import cpu_of_process

_TASKER = (sys.executable, "-P", "-m", "tasker")
_LENGTH = re.compile(rb"\ncontent-length: *(\d+)", re.IGNORECASE)
_ETAG = re.compile(rb"\netag: *([^\r\n]+)", re.IGNORECASE)
_START = 60.0  #: seconds that a server may take to start


class Response(NamedTuple):
    """One response, its ETag, and the seconds until it was read."""

    status: int
    body: bytes
    etag: str
    took: float


class Connection(asyncio.Protocol):
    """An HTTP connection that sends one request after the other."""

    def __init__(self, key: str | None) -> None:
        self._key = f"Authorization: Bearer {key}\r\n" if key else ""
        self._transport: asyncio.Transport
        self._response: asyncio.Future[tuple[int, bytes, str]]
        self._received = bytearray()
        self._head = self._size = 0  # of the response, once its head has arrived

    async def request(
        self, method: str, path: str, body: bytes = b"", *, max_age: int = 0, known: str = ""
    ) -> Response:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{self._key}"
        if max_age:
            head += f"Cache-Control: max-age={max_age}\r\n"
        if known:
            head += f"If-None-Match: {known}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        start = time.perf_counter()
        self._response = asyncio.get_running_loop().create_future()
        self._transport.write(head.encode() + b"\r\n" + body)
        return Response(*await self._response, time.perf_counter() - start)

    @property
    def closed(self) -> bool:
        """Whether it was closed, by the server as well: it closes those that are idle."""
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._head and (head := self._received.find(b"\r\n\r\n") + 4) >= 4:
            length = _LENGTH.search(self._received, 0, head)
            self._head, self._size = head, head + int(length[1] if length else 0)
        if self._head and len(self._received) >= self._size:
            status, body = int(self._received[9:12]), bytes(self._received[self._head :])
            etag = _ETAG.search(self._received, 0, self._head)
            named = etag[1].decode() if etag else ""
            self._received.clear()
            self._head = 0
            if not self._response.done():
                self._response.set_result((status, body, named))

    def connection_lost(self, error: Exception | None) -> None:
        if hasattr(self, "_response") and not self._response.done():
            self._response.set_exception(error or ConnectionResetError("the server closed"))


async def connect(port: int, key: str | None = None) -> Connection:
    """Open a connection; its requests have the API key, if one is given."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(key), "127.0.0.1", port)
    return connection


async def send_all(
    lines: Sequence[Connection], path: str, bodies: Iterator[bytes]
) -> list[Response]:
    """Post all bodies, one at a time on each connection. Raises RuntimeError for a refusal."""

    async def send(line: Connection) -> list[Response]:
        responses = [await line.request("POST", path, body) for body in bodies]
        require_success(responses)
        return responses

    sent = await asyncio.gather(*(send(line) for line in lines))
    return [response for some in sent for response in some]


def require_success(responses: Sequence[Response]) -> None:
    """Raise RuntimeError unless all requests succeeded."""
    for response in responses:
        if response.status not in (200, 201, 304):
            raise RuntimeError(f"{response.status}: {response.body[:500].decode(errors='replace')}")


class RunningServer(NamedTuple):
    """A server in a process of its own."""

    port: int
    pid: int

    @property
    def cpu(self) -> float:
        """CPU seconds used by its process."""
        return cpu_of_process(self.pid) or 0.0


def make_key(url: str, namespace: str) -> str:
    """Create an API key that may do anything with tasks of a namespace."""
    done = subprocess.run(
        [
            *(*_TASKER, "key", "create", "bench", "--scope", "tasks:*"),
            *("--namespace", namespace, "--store", url),
        ],
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@contextmanager
def serving(
    url: str, *arguments: str, auth: bool = False, settings: Mapping[str, str] | None = None
) -> Iterator[RunningServer]:
    """Run `tasker server` on a store, with default settings but for the port.

    Args:
        url: The URL of the store.
        arguments: Further arguments of the command.
        auth: Whether callers must authenticate.
        settings: Variables with other settings.
    """
    variables = {**_environment(), "TASKER_SERVER__PORT": "0", **(settings or {})}
    if auth:
        variables["TASKER_AUTH__ENABLED"] = "true"
    with TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*_TASKER, "server", "--store", url, *arguments], env=variables, stderr=log
        )
        try:
            yield RunningServer(_port(process, log), process.pid)
        finally:
            process.terminate()
            process.wait()


def _environment() -> dict[str, str]:
    """Return this process's variables without settings, with `tasker` and `bench` importable."""
    inherited = {name: value for name, value in os.environ.items() if name[:7] != "TASKER_"}
    return {"PYTHONPATH": str(ROOT), **inherited}


def _port(process: "subprocess.Popen[bytes]", log: IO[str]) -> int:
    """Wait until the server has logged its address. Raises RuntimeError."""
    end = time.monotonic() + _START
    while time.monotonic() < end:
        log.seek(0)
        text = log.read()
        if match := re.search(r"server_started.* url=(\S+)\s", text):
            return urlsplit(match[1]).port or 0
        if process.poll() is not None:
            raise RuntimeError(f"the server exited with code {process.returncode}: {text[-2000:]}")
        time.sleep(0.01)
    raise RuntimeError(f"the server did not start in {_START:.0f} s: {text[-2000:]}")
