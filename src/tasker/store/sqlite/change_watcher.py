"""Detects that another process has written to the database."""

import asyncio
import contextlib
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from tasker.errors import StoreError

_LOOKS = (0.0, 0.001, 0.003, 0.009, 0.027)
"""Delays, in seconds, before the checks that follow a write. There are several checks because the
commit comes after the write."""

_REST = 0.05  #: seconds between checks while this process writes, or without file notifications
_TO_BE_SURE = 0.25  #: seconds until a check without any notification


class ChangeWatcher:
    """Notifies when another process has committed.

    On Linux, writes to the database's log (inotify) trigger a check; elsewhere, and as a
    fallback, it polls. A check costs a few microseconds; only after a commit does it ask the
    database's thread whether the commit was its own.

    Args:
        path: The database file.
        version: Returns a number that changes with commits of other connections only.
        notify: Called after such commits.
    """

    def __init__(
        self, path: Path, version: Callable[[], Awaitable[int]], notify: Callable[[], None]
    ) -> None:
        self._path = path
        self._version = version
        self._notify = notify
        self._committed = -1  #: the data version at the last check, which every commit changes
        self._notified = -1  #: the version, which only commits of others change, last notified of
        self._task: asyncio.Task[None] | None = None

    def start_listening(self) -> None:
        """Start listening, unless already started."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name="tasker-change-watcher")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        writes = _open_inotify_descriptor(Path(f"{self._path.resolve()}-wal"))
        try:
            while True:
                if writes is None:
                    await asyncio.sleep(_REST)
                elif await _wait_and_discard_data(writes):
                    await self._poll_for_commit(connection, writes)
                await self._notify_if_others_committed(connection)
        finally:
            connection.close()
            if writes is not None:
                os.close(writes)

    async def _poll_for_commit(self, connection: sqlite3.Connection, writes: int) -> None:
        """Check repeatedly for the commit of a write; pause after this process's own."""
        notified = False
        for pause in _LOOKS:
            await asyncio.sleep(pause)
            notified = await self._notify_if_others_committed(connection) or notified
        with contextlib.suppress(BlockingIOError):
            os.read(writes, _MUCH)
        if not notified:
            await asyncio.sleep(_REST)

    async def _notify_if_others_committed(self, connection: sqlite3.Connection) -> bool:
        """Notify if another process has committed since the last check; return whether it has."""
        with contextlib.suppress(StoreError, sqlite3.OperationalError):  # who needs it says so
            committed = connection.execute("pragma data_version").fetchone()[0]
            if committed == self._committed:
                return False
            version = await self._version()
            self._committed = committed
            if version != self._notified:
                self._notified = version
                self._notify()
                return True
        return False


def _open_inotify_descriptor(path: Path) -> int | None:
    """Open a file descriptor that is readable after writes to a file; None if unsupported."""
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
_MUCH = 1 << 16  #: bytes, more than the notifications need


async def _wait_and_discard_data(descriptor: int) -> bool:
    """Wait for data and read it; return False on timeout."""
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
