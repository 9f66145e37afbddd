"""The engine of Tasker in a thread of this process."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import tasker
from tasker.client import Client, LocalClient, SyncClient
from tasker.client.connect import connect
from tasker.engine import Worker
from tasker.events import Event
from tasker.layout import steps_with_handlers
from tasker.model import AttemptOutcome
from tasker.notices import Notice, StepSettled
from tasker.remote.store import RemoteStore
from tasker.remote.worker import RemoteWorker
from tasker.settings import JsonSchemaMismatchAction, WorkerSettings
from tasker.store.open import DEFAULT_URL, open_store
from tasker_core.adapter import adapters_of
from tasker_core.environment import concurrency, database_url, environment, server_url
from tasker_core.exceptions import WorkerBootstrapError
from tasker_core.registry.handler_registry import HandlerRegistry
from tasker_core.template_discovery import TemplatePath

log = logging.getLogger("tasker_core.worker")

_ACTOR = "tasker-core-python"
_STARTED_WITHIN = 60.0  #: seconds


def load_application_templates() -> list[tasker.Template]:
    """Return the templates of this application.

    Raises:
        WorkerBootstrapError: A template is invalid; has all problems.
    """
    folder: Path | None = TemplatePath.find_template_config_directory()
    if folder is None:
        return []
    try:
        return tasker.load_templates([folder])
    except (tasker.InvalidTemplate, tasker.TooLarge) as error:
        raise WorkerBootstrapError(f"the templates in {folder} are invalid:\n{error}") from None


class Counts:
    """Numbers of the steps that ended."""

    def __init__(self) -> None:
        self.succeeded = self.failed = 0

    def add(self, notice: Notice) -> None:
        """Count a notice of the worker."""
        if isinstance(notice, StepSettled):
            self.succeeded += notice.outcome is AttemptOutcome.COMPLETE
            self.failed += notice.outcome in (AttemptOutcome.ERROR, AttemptOutcome.RETRY)


class Host:
    """A worker of Tasker, its store and its event loop, in a thread.

    Args:
        name: The worker's name.
        registry: The handlers.
        namespace: The namespace of handlers, if there are no templates.
        on_event: Called with every domain event.

    Raises:
        WorkerBootstrapError: It cannot start.
    """

    client: SyncClient

    def __init__(
        self,
        name: str,
        registry: HandlerRegistry,
        namespace: str,
        on_event: Callable[[Event], None],
    ) -> None:
        self.name = name
        self.templates: Sequence[tasker.Template] = load_application_templates()
        steps = (
            step for template in self.templates for step in steps_with_handlers(template.steps)
        )
        self._handlers = adapters_of(registry, ((step.handler, step.method) for step in steps))
        self._namespaces = {template.namespace for template in self.templates} or {namespace}
        self._on_event = on_event
        self.counts = Counts()
        self._ready: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: Worker | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def namespaces(self) -> list[str]:
        """The namespaces whose steps it runs."""
        return sorted(self._namespaces)

    @property
    def handlers(self) -> list[str]:
        """The names of its handlers."""
        return sorted(self._handlers)

    def is_running(self) -> bool:
        """Return whether it claims steps."""
        return self._worker is not None and self._worker.is_ready

    def start(self) -> None:
        """Start it, and return when it claims steps."""
        self._thread.start()
        try:
            self._ready.result(_STARTED_WITHIN)
        except WorkerBootstrapError:
            raise
        except Exception as error:
            raise WorkerBootstrapError(f"the worker cannot start: {error}") from error
        log.info("%s runs %d handlers", self.name, len(self._handlers))

    def drain(self) -> None:
        """Stop claiming; let running handlers end."""
        if self._loop is not None and self._worker is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._worker.stop)

    def stop(self) -> None:
        """Let running handlers end, and stop."""
        self.drain()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            else:
                log.critical("the worker has failed: %s", error)

    async def _serve(self) -> None:
        url, server = database_url(), server_url()
        async with AsyncExitStack() as stack:
            if url is None and server is not None:
                remote = await stack.enter_async_context(_connection_to(server))
                worker: Worker = RemoteWorker(remote, [self._handlers], **self._options())
                client: Client = remote.client
            else:
                opening = open_store(url or DEFAULT_URL, upgrade=_upgrades())
                store = await stack.enter_async_context(opening)
                worker = Worker(store, [self._handlers, self._subscriber()], **self._options())
                client = LocalClient(
                    store, claimant=worker, actor=_ACTOR, inputs=JsonSchemaMismatchAction.OFF
                )
            await stack.enter_async_context(worker)
            self._loop, self._worker = asyncio.get_running_loop(), worker
            self.client = SyncClient(client, self._loop)
            self._ready.set_result(None)
            await worker.wait_until_ended()

    def _options(self) -> dict[str, Any]:
        return {
            "templates": self.templates,
            "namespaces": self._namespaces,
            "settings": WorkerSettings(
                slots=concurrency(), environment=environment(), results=JsonSchemaMismatchAction.OFF
            ),
            "name": self.name,
            "observers": [self.counts.add],
            "partial": True,
            "replace": environment() != "production",
        }

    def _subscriber(self) -> Any:
        received = self._on_event

        @tasker.on_event("*", name="tasker_core", namespace="*", every_process=True)
        async def receive(event: Event) -> None:
            await asyncio.to_thread(received, event)

        return receive


def _connection_to(server: str) -> RemoteStore:
    return RemoteStore(server, api_key=os.environ.get("TASKER_API_KEY"))


def _upgrades() -> bool | None:
    """Return whether the schema of the store is brought up to date; in production by hand."""
    return None if environment() == "production" else True


class ClientHost:
    """A client in a thread of its own, for processes without a worker."""

    def __init__(self) -> None:
        url = database_url() or server_url() or DEFAULT_URL
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._ready: Future[SyncClient] = Future()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete,
            args=(self._serve(url),),
            name="tasker-core-client",
            daemon=True,
        )
        self._thread.start()
        self.client = self._ready.result()

    async def _serve(self, url: str) -> None:
        is_server = url.startswith(("http://", "https://"))
        options = {"api_key": os.environ.get("TASKER_API_KEY")} if is_server else {}
        given = {} if is_server else {"actor": _ACTOR, "inputs": JsonSchemaMismatchAction.OFF}
        try:
            async with connect(url, **options, **given) as client:
                self._ready.set_result(SyncClient(client, self._loop))
                await self._closing.wait()
        except Exception as error:
            if not self._ready.done():
                self._ready.set_exception(error)

    def close(self) -> None:
        """Close the client."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        self._loop.close()
