"""A server in a process of its own, and connections to it that cost the client little."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, NamedTuple
from urllib.parse import urlsplit

from bench.fleet import ROOT
from bench.proc import cpu_of_process

_TASKER = (sys.executable, "-P", "-m", "tasker")
_START = 60.0  #: seconds that a server may take to start


class Response(NamedTuple):
    """One response, and the seconds until it was read."""

    status: int
    body: bytes
    took: float


class Connection:
    """An HTTP connection that sends one request after the other."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str | None
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._key = f"Authorization: Bearer {key}\r\n" if key else ""

    async def request(self, method: str, path: str, body: bytes = b"") -> Response:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{self._key}"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        start = time.perf_counter()
        self._writer.write(head.encode() + b"\r\n" + body)
        header = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(header.split(b"content-length:")[1].split(b"\r\n")[0])
        content = await self._reader.readexactly(length)
        return Response(int(header[9:12]), content, time.perf_counter() - start)


async def connect(port: int, key: str | None = None) -> Connection:
    """Open a connection; its requests have the API key, if one is given."""
    streams = await asyncio.open_connection("127.0.0.1", port, limit=64 << 20)
    return Connection(*streams, key)


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
        if response.status not in (200, 201):
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
def serving(url: str, *arguments: str, auth: bool = False) -> Iterator[RunningServer]:
    """Run `tasker server` on a store, with default settings but for the port.

    Args:
        url: The URL of the store.
        arguments: Further arguments of the command.
        auth: Whether callers must authenticate.
    """
    variables = {**_environment(), "TASKER_SERVER__PORT": "0"}
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
