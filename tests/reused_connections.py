"""Connections to PostgreSQL that one test leaves to the next, with all statements planned.

A new connection plans each statement again, which takes most of the server's time in a test.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import asyncpg.connection
import pytest
from anyio.pytest_plugin import get_runner
from asyncpg import Connection

MOST = 12  #: kept at once of those with equal settings: a pool, and two of a worker
KEPT_SCHEMAS: set[str] = set()  #: whose tables stay from test to test


class Reuse:
    """Keeps connections when they are closed, and returns them instead of new ones.

    Only connections to `KEPT_SCHEMAS`, and only in one event loop.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connect = asyncpg.connection.connect
        self._close = Connection.close
        self._keys: dict[Connection[Any], object] = {}
        self._kept: dict[object, list[Connection[Any]]] = defaultdict(list)

    async def start(self) -> None:
        """Reuse connections in the running event loop."""
        self._loop = asyncio.get_running_loop()

    async def connect(self, *arguments: Any, **options: Any) -> Any:
        """Return a kept connection with these settings, or a new one."""
        settings = options.get("server_settings") or {}
        if settings.get("search_path") not in KEPT_SCHEMAS or not self._is_own_loop():
            return await self._connect(*arguments, **options)
        key = (arguments, *sorted(settings.items()))
        while self._kept[key]:
            connection = self._kept[key].pop()
            if not connection.is_closed():
                return connection
        connection = await self._connect(*arguments, **options)
        self._keys[connection] = key
        return connection

    async def close(self, connection: Any, *, timeout: float | None = None) -> None:
        """Keep a connection for the next test; close it if it is broken or not of the schema."""
        key = self._keys.get(connection)
        kept = self._kept[key]
        if key is None or len(kept) >= MOST or not (self._is_own_loop() and _is_unused(connection)):
            self._keys.pop(connection, None)
            await self._close(connection, timeout=timeout)
            return
        holder = connection._pool_holder and connection._pool_holder()
        connection._pool_holder = None
        if holder is not None:
            holder._release_on_close()
        kept.append(connection)

    async def close_all(self) -> None:
        """Close all connections that are kept."""
        for connections in self._kept.values():
            for connection in connections:
                await self._close(connection)
        self._kept.clear()
        self._keys.clear()

    def _is_own_loop(self) -> bool:
        return asyncio.get_running_loop() is self._loop


def _is_unused(connection: Any) -> bool:
    return not (
        connection.is_closed()
        or connection.is_in_transaction()
        or connection._listeners
        or connection._protocol._is_cancelling()
    )


@contextmanager
def reused_connections() -> Iterator[None]:
    """Let tests in this block share an event loop, and their connections to the kept schemas."""
    reuse = Reuse()

    async def close(connection: Any, *, timeout: float | None = None) -> None:
        await reuse.close(connection, timeout=timeout)

    with get_runner("asyncio", {}) as runner, pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg.connection, "connect", reuse.connect)
        patch.setattr(asyncpg, "connect", reuse.connect)
        patch.setattr(Connection, "close", close)
        runner.run_test(reuse.start, {})
        yield
        runner.run_test(reuse.close_all, {})
