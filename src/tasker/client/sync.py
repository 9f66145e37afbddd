"""The client for blocking code: sync handlers and scripts."""

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeVar, Unpack

from tasker.client.protocol import Client, TaskOptions
from tasker.model import Task

T = TypeVar("T")


class SyncClient:
    """Blocking methods of a `Client`, for threads other than the loop's.

    Args:
        client: Used in `loop`.
        loop: A running event loop of another thread.
    """

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def create_task(
        self,
        template: str,
        context: Mapping[str, Any] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """See `Client.create_task`."""
        return self._wait_for(self._client.create_task(template, context, **options))

    def run(
        self,
        template: str,
        context: Mapping[str, Any] | None = None,
        *,
        timeout: timedelta | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """See `Client.run`."""
        return self._wait_for(self._client.run(template, context, timeout=timeout, **options))

    def get(self, task_id: str) -> Task:
        """See `Client.get`."""
        return self._wait_for(self._client.get(task_id))

    def wait(self, task_id: str, *, timeout: timedelta | None = None) -> Task:
        """See `Client.wait`."""
        return self._wait_for(self._client.wait(task_id, timeout=timeout))

    def cancel(self, task_id: str, *, reason: str = "") -> Task:
        """See `Client.cancel`."""
        return self._wait_for(self._client.cancel(task_id, reason=reason))

    def retry(self, task_id: str, *, reason: str = "") -> Task:
        """See `Client.retry`."""
        return self._wait_for(self._client.retry(task_id, reason=reason))

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
