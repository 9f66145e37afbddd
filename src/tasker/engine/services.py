"""Services of a worker that handlers use through their context."""

import asyncio
from concurrent.futures import Future

from tasker.client import Client, LocalClient, Origin, SyncClient
from tasker.errors import AttemptCancelled
from tasker.handlers import LiveAttempt
from tasker.model import JsonText
from tasker.store.protocol import Store


class HandlerServices:
    """Implements `tasker.handlers.Services`; called from the loop's thread and from others.

    Args:
        store: The store for checkpoints.
        client: The client, which is bound to each attempt that uses it.
    """

    def __init__(self, store: Store, client: LocalClient) -> None:
        self._store = store
        self.clock = store.clock
        self._client = client
        self._loop = asyncio.get_running_loop()

    def client(self, attempt: LiveAttempt) -> Client:
        claim = attempt.claim
        task = attempt.task
        origin = Origin(claim.task_id, claim.no, task.correlation_id, task.trace, task.priority)
        return self._client.on_behalf_of(origin)

    def sync_client(self, attempt: LiveAttempt) -> SyncClient:
        return SyncClient(self.client(attempt), self._loop)

    def save_checkpoint(self, attempt: LiveAttempt, value: JsonText) -> "Future[None]":
        return asyncio.run_coroutine_threadsafe(self._save_checkpoint(attempt, value), self._loop)

    async def _save_checkpoint(self, attempt: LiveAttempt, value: JsonText) -> None:
        if not await self._store.checkpoint(attempt.claim, value):
            raise AttemptCancelled(
                "the checkpoint was rejected: another attempt has taken over the step"
            )
