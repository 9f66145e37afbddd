"""Wake-ups over LISTEN/NOTIFY, on a dedicated connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

_LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Listener:
    """Sets an event for each notification, and reconnects when the connection is lost.

    A lost connection only adds latency: waiting callers also poll.
    """

    def __init__(
        self, connect: Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]], schema: str
    ) -> None:
        self._connect = connect
        self._channels = {
            f"{schema}.work": asyncio.Event(),
            f"{schema}.revocation": asyncio.Event(),
        }
        self.work, self.revocation = self._channels.values()
        self._task: asyncio.Task[None] | None = None
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._lent = asyncio.Lock()

    @asynccontextmanager
    async def lend_connection(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record] | None"]:
        """Lend the connection for a short urgent statement; None if it is lost."""
        async with self._lent:
            connection = self._connection
            yield None if connection is None or connection.is_closed() else connection

    async def wait(self, event: asyncio.Event, timeout: float) -> None:
        """Wait for one of the events, at most `timeout` seconds, and reset it."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name="tasker-listen")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await event.wait()
        event.clear()

    def reconnect(self) -> None:
        """Replace the connection."""
        if self._connection is not None:
            self._connection.terminate()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        pause = 0.1
        while True:
            with contextlib.suppress(*_LOST):
                connection = await self._connect()
                pause = 0.1
                try:
                    await self._listen_until_lost(connection)
                finally:
                    connection.terminate()
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _listen_until_lost(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        for channel in self._channels:
            await connection.add_listener(channel, self._on_notification)
        for event in self._channels.values():
            event.set()  # for notifications sent before it listened
        self._connection = connection
        try:
            await lost.wait()
        finally:
            self._connection = None

    def _on_notification(
        self, _connection: object, _pid: int, channel: str, _payload: object
    ) -> None:
        self._channels[channel].set()
