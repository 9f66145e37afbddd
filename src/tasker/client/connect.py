"""Opens a client for the URL of a server, or of a store that this process uses directly."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from tasker.client.local import LocalClient
from tasker.client.protocol import Client
from tasker.client.sync import SyncClient
from tasker.errors import InvalidSettings
from tasker.store.open import open_store


@asynccontextmanager
async def connect(
    url: str = "sqlite", *, api_key: str | None = None, token: str | None = None, **options: Any
) -> AsyncIterator[Client]:
    """Open a client for a URL and close it at the end of the block.

    Args:
        url: `http://...` or `https://...` of a server, or the URL of a store; see `open_store`.
        api_key: The API key to send to a server.
        token: The bearer token to send to a server.
        options: Further arguments of `HttpClient` or `LocalClient`.
    """
    if url.startswith(("http://", "https://")):
        try:
            from tasker.client.http import HttpClient
        except ModuleNotFoundError as error:
            if error.name != "httpx":
                raise
            raise InvalidSettings(
                "connecting to a server needs an extra: pip install 'tasker-workflows[client]'"
            ) from None
        async with HttpClient(url, api_key=api_key, token=token, **options) as client:
            yield client
        return
    async with open_store(url) as store:
        yield LocalClient(store, **options)


@contextmanager
def connect_sync(url: str = "sqlite", **options: Any) -> Iterator[SyncClient]:
    """Open a blocking client for scripts; its event loop runs in a separate thread.

    Args:
        url: See `connect`.
        options: See `connect`.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tasker-client", daemon=True)
    thread.start()
    stack = AsyncExitStack()
    try:
        opening = stack.enter_async_context(connect(url, **options))
        client = asyncio.run_coroutine_threadsafe(opening, loop).result()
        yield SyncClient(client, loop)
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
