"""Hearing that another process wrote to the database."""

import asyncio
import contextlib
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from tasker.errors import StoreError

_LOOKS = (0.0, 0.001, 0.003, 0.009, 0.027)
"""Pauses, in seconds, before the looks that a write leads to: it comes before its commit."""

_REST = 0.05  #: seconds between looks while this process writes, or where nothing tells of writes
_TO_BE_SURE = 0.25  #: seconds until a look that nothing led to


class ChangeWatcher:
    """Rings when another process has committed.

    Linux tells when anybody writes to the database's log, which leads to a look; elsewhere,
    and to be sure, it is looked now and then. A look costs a few microseconds; only where
    somebody has committed, the database's thread is asked whether it was itself.

    Args:
        path: The database file.
        version: Asks for a number that others' commits change, and the thread's do not.
        ring: Called after such commits.
    """

    def __init__(
        self, path: Path, version: Callable[[], Awaitable[int]], ring: Callable[[], None]
    ) -> None:
        self._path = path
        self._version = version
        self._ring = ring
        self._committed = -1  #: changes with anybody's commits
        self._heard = -1  #: with others'; so that it rings once for what nobody listened to
        self._task: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Begin to listen, unless it is done already."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name="tasker-bell")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        writes = _writes_to(Path(f"{self._path.resolve()}-wal"))
        try:
            while True:
                if writes is None:
                    await asyncio.sleep(_REST)
                elif await _readable(writes):
                    await self._look_closely(connection, writes)
                await self._look(connection)
        finally:
            connection.close()
            if writes is not None:
                os.close(writes)

    async def _look_closely(self, connection: sqlite3.Connection, writes: int) -> None:
        """Look again and again for the commit of a write; rest where it was this process's."""
        rang = False
        for pause in _LOOKS:
            await asyncio.sleep(pause)
            rang = await self._look(connection) or rang
        with contextlib.suppress(BlockingIOError):
            os.read(writes, _MUCH)
        if not rang:
            await asyncio.sleep(_REST)

    async def _look(self, connection: sqlite3.Connection) -> bool:
        """Ring if another process has committed since the last look; tell whether."""
        with contextlib.suppress(StoreError, sqlite3.OperationalError):  # who needs it says so
            committed = connection.execute("pragma data_version").fetchone()[0]
            if committed == self._committed:
                return False
            heard = await self._version()
            self._committed = committed
            if heard != self._heard:
                self._heard = heard
                self._ring()
                return True
        return False


def _writes_to(path: Path) -> int | None:
    """Open what is readable when a file was written to; None where there is no such thing."""
    if sys.platform != "linux":
        return None
    import ctypes

    libc = ctypes.CDLL(None)
    descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor >= 0 and libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_MODIFY) >= 0:
        return descriptor
    if descriptor >= 0:
        os.close(descriptor)
    return None


_IN_MODIFY = 2
_MUCH = 1 << 16  #: bytes, more than notes of writes come to


async def _readable(descriptor: int) -> bool:
    """Wait for something to read, and read it; tell False where nothing came in time."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        async with asyncio.timeout(_TO_BE_SURE):
            await readable.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    os.read(descriptor, _MUCH)
    return True
