"""Ports for servers that a test stops and starts again, or that are given one to listen on."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


def reserve(port: int = 0) -> socket.socket:
    """Bind a port of the loopback interface without listening on it; return the socket.

    Until it is closed, the system gives the port to nobody else, connections to it are refused,
    and a server that sets SO_REUSEADDR, as all of ours do, can listen on it.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind(("127.0.0.1", port))
    except (OSError, OverflowError):
        holder.close()
        raise
    return holder


@contextmanager
def two_reserved_ports() -> Iterator[int]:
    """Reserve a free port and the one after it; yield the first."""
    while True:
        with reserve() as holder:
            port: int = holder.getsockname()[1]
            try:
                second = reserve(port + 1)
            except (OSError, OverflowError):  # somebody else's, or beyond the last
                continue
            with second:
                yield port
            return


@contextmanager
def reserved_port() -> Iterator[int]:
    """Reserve a free port for as long as the block runs."""
    with reserve() as holder:
        port: int = holder.getsockname()[1]
        yield port
