"""A worker, as programs hold it: started beside other code, or run until it is stopped.

The pieces at work are in `crew`. Life of a step there: `Claimer` claims it, and makes sure
that what its handler needs is at hand; `Executor` runs it; `Settler` records the outcome
and brings back the steps that it freed, which go to `Claimer` in turn. Meanwhile
`WorkerLease` keeps the lease, and `Janitor` looks after what other workers left behind.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from tasker.client import LocalClient
from tasker.config import WorkerSettings
from tasker.engine.crew import Crew
from tasker.engine.reporting import Reporter
from tasker.errors import HandlerNotFound
from tasker.events import Around, Observer
from tasker.graph import Graph
from tasker.handlers import Handlers
from tasker.model import Created, NewTask, Template, TemplateStatus, WorkerId
from tasker.store.protocol import Store

log = logging.getLogger("tasker.worker")


class Worker:
    """Runs the steps that its handlers can run.

    `async with Worker(store, handlers=[module]):` runs it beside other code; `await
    worker.run()` until `stop` is called. A failure that it cannot work with is logged as
    critical when it happens, and ends the block: the code inside is cancelled, and the
    failure comes out of it.

    Args:
        store: An open store.
        handlers: Modules, functions, workflows, ...: see `Handlers.of`.
        templates: Registered at the start, and so are those of workflows among the
            handlers; each of their steps must have a handler.
        settings: How it behaves.
        name: What operators see; default: host and process id.
        observers: Told of every event; they must not block, and may be added later.
        around: Entered around every handler but those in processes: for traces.
        replace: Whether templates that exist with other content are replaced, for
            development.

    Raises:
        HandlerImportError: A module cannot be imported.
    """

    def __init__(
        self,
        store: Store,
        handlers: Iterable[object] = (),
        *,
        templates: Iterable[Template] = (),
        settings: WorkerSettings | None = None,
        name: str | None = None,
        observers: Iterable[Observer] = (),
        replace: bool = False,
        around: Around | None = None,
    ) -> None:
        self.store = store
        self.settings = settings or WorkerSettings()
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._reporter = Reporter(self.name, observers)
        self.observers = self._reporter.observers
        self.handlers = Handlers.of(*handlers)
        self.client = LocalClient(store, claimant=self)
        self._templates = (*templates, *self.handlers.templates())
        self._replace = replace
        self._around = around
        self._crew: Crew | None = None
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._started = asyncio.Event()
        self._grace = self.settings.grace
        self._running: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None  #: what ends it before it was told to stop
        self._body: asyncio.Task[Any] | None = None  #: runs the code inside `async with`

    @property
    def id(self) -> WorkerId:
        """Its number in the store: 0 before it runs, another after a lost lease."""
        return self._crew.presence.id if self._crew else WorkerId(0)

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.run(), name=f"worker {self.name}")
        started = asyncio.create_task(self._started.wait())
        try:
            await asyncio.wait({self._running, started}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._running.cancel()
            raise
        finally:
            started.cancel()
        if self._running.done() or self._failure is not None:
            await self._running
        self._body = asyncio.current_task()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._stopping.is_set():
            self.stop()
        if self._running is None:
            return
        body, self._body = self._body, None
        if self._failure is not None and body is not None:
            body.uncancel()
        await self._running

    async def ended(self) -> None:
        """Wait until it has stopped, when it was started by `async with`.

        Raises:
            Exception: What ended it before it was told to stop.
        """
        if self._running is not None:
            await asyncio.shield(self._running)

    def stop(self, grace: timedelta | None = None) -> None:
        """Stop claiming, let running attempts finish, hand back what has not.

        Args:
            grace: How long they get; None: `settings.grace`. A second call may shorten it.
        """
        self._grace = self.settings.grace if grace is None else grace
        self._stopping.set()
        self._hurry.set()
        if self._crew is not None:
            self._crew.intake.close()

    async def run(self) -> None:
        """Work until `stop` is called. Where it is cancelled, it hands back what runs.

        Raises:
            HandlerNotFound: A step of the templates has no handler here.
            Misuse: A handler asks for what its step cannot give.
            TaskRegistrationError: A template's version exists with other content.
            StoreUnavailable: The store cannot be reached at the start.
        """
        await self._register()
        crew = Crew(
            self.name,
            self.store,
            self.handlers,
            self.settings,
            client=self.client,
            reporter=self._reporter,
            failed=self._failed,
            around=self._around,
        )
        await crew.presence.announce()
        crew.start()
        self._crew = crew
        self._started.set()
        facts = {"worker": self.name, "slots": self.settings.slots}
        log.info("worker_started", extra={**facts, "queues": len(crew.presence.queues)})
        try:
            await self._stopping.wait()
            await crew.finish(lambda: self._grace, self._hurry)
        finally:
            await crew.part()
        if self._failure is not None:
            raise self._failure
        log.info("worker_stopped", extra={"worker": self.name})

    async def _register(self) -> None:
        """Register the templates, all of whose steps must have a handler that fits."""
        for template in self._templates:
            graph = Graph(template)
            for spec in template.steps:
                if self.handlers.plan(template, graph, spec) is None:
                    missing = self.handlers.missing(spec.handler, template.namespace)
                    raise HandlerNotFound(f"{template.full_name}, step {spec.name}: {missing}")
        for template in self._templates:
            registered = await self.store.register_template(
                template, registered_by=self.name, replace=self._replace
            )
            status = registered.stored.status
            if status is not TemplateStatus.APPROVED:
                log.warning(
                    "template_takes_no_tasks",
                    extra={"template": template.full_name, "status": status.value},
                )

    def _failed(self, duty: str, failure: BaseException) -> None:
        """Make a failure loud that nobody foresaw, and stop: half a worker is worse than none."""
        facts = {"worker": self.name, "duty": duty}
        log.critical("worker_failed", extra=facts, exc_info=failure)
        if self._failure is None:
            self._failure = failure
            self.stop(timedelta(0))
            if self._body is not None:
                self._body.cancel()

    async def create(self, new: NewTask, roots: int) -> Created:
        """Create a task, and take those of its `roots` for which there is room here."""
        if self._crew is None:
            return await self.store.create_tasks([new])
        return await self._crew.intake.create(new, roots)
