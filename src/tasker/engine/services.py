"""A worker's services, which handlers use through their context."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from tasker.client import AttemptOrigin, Client, LocalClient, SyncClient
from tasker.completions import COMPLETE, hash_token
from tasker.durable import DurableCall, NewDurableCall
from tasker.engine.call_recorder import DurableCallRecorder
from tasker.engine.instances import make_instance_reader
from tasker.engine.step_logs import StepLogs
from tasker.errors import AttemptCancelled
from tasker.handlers import LiveAttempt
from tasker.handlers.instances import JoinedStep, Page
from tasker.model import JsonText, NewInstances, SpawnedStepNumbers
from tasker.store.protocol import Store
from tasker.waits import NewWait

T = TypeVar("T")


class HandlerServices:
    """Implements `AttemptServices`; called from the event loop's thread and from others.

    Args:
        store: The store for checkpoints and durable calls.
        client: The client, which is bound to each attempt that uses it.
        public_url: The server's URL for other systems.
        logs: Keeps what handlers log and print; None: nothing is kept.
    """

    def __init__(
        self,
        store: Store,
        client: LocalClient,
        public_url: str = "",
        logs: StepLogs | None = None,
    ) -> None:
        self._logs = logs
        self._store = store
        self._public_url = public_url.rstrip("/")
        self.clock = store.clock
        self._client = client
        self._recorder = DurableCallRecorder(store)
        self._loop = asyncio.get_running_loop()

    def client(self, attempt: LiveAttempt) -> Client:
        claim = attempt.claim
        task = attempt.task
        origin = AttemptOrigin(
            claim.task_id, claim.no, task.correlation_id, task.trace, task.priority
        )
        return self._client.for_attempt(origin)

    def sync_client(self, attempt: LiveAttempt) -> SyncClient:
        return SyncClient(self.client(attempt), self._loop)

    def append_log(
        self,
        attempt: LiveAttempt,
        level: int,
        source: str,
        message: str,
        fields: Mapping[str, Any],
    ) -> None:
        if self._logs is not None:
            self._logs.add_record(attempt, level, source, message, fields)

    def append_printed_text(self, attempt: LiveAttempt, stream: str, text: str) -> None:
        if self._logs is not None:
            self._logs.add_printed_text(attempt, stream, text)

    def save_checkpoint(self, attempt: LiveAttempt, value: JsonText) -> "Future[None]":
        return asyncio.run_coroutine_threadsafe(self._save_checkpoint(attempt, value), self._loop)

    async def _save_checkpoint(self, attempt: LiveAttempt, value: JsonText) -> None:
        if not await self._store.store_checkpoint(attempt.claim, value):
            raise AttemptCancelled(
                "the checkpoint was rejected: the attempt no longer holds its step"
            )

    async def load_durable_calls(self, attempt: LiveAttempt) -> Sequence[DurableCall]:
        return await self._store.load_durable_calls(attempt.claim)

    async def record_durable_call(self, call: NewDurableCall) -> float:
        return await self._recorder.record(call)

    async def receive_arrival(self, attempt: LiveAttempt, wait: NewWait) -> DurableCall | None:
        return await self._store.receive_arrival(attempt.claim, wait)

    async def create_completion_url_unless_completed(
        self, attempt: LiveAttempt
    ) -> DurableCall | None:
        token = secrets.token_urlsafe(32)
        attempt.completion_url = f"{self._public_url}{COMPLETE}/{token}"
        return await self._store.add_token_and_find_completion(attempt.claim, hash_token(token))

    async def spawn_instances(self, attempt: LiveAttempt, new: NewInstances) -> SpawnedStepNumbers:
        spawned = await self._store.spawn_instances(attempt.claim, new)
        if spawned is None:
            raise AttemptCancelled("no instances were added: the attempt no longer holds its step")
        return spawned

    def read_instance_results(
        self, attempt: LiveAttempt, joined: JoinedStep
    ) -> AsyncIterator[Page]:
        join_no = joined.join_number(attempt.instance)
        return make_instance_reader(
            self._store, attempt.claim.task_id, joined, join_no
        ).iterate_pages()

    def run_coroutine_blocking(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
