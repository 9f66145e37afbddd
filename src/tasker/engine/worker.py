"""The worker object for programs, which runs next to other code or until it is stopped."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tasker.client import LocalClient
from tasker.engine.background import BackgroundTasks
from tasker.engine.claimer import Claimer
from tasker.engine.deliverer import EventDeliverer
from tasker.engine.engine_steps import EngineServices
from tasker.engine.executor import Executor
from tasker.engine.figures import OutcomeCounter
from tasker.engine.janitor import Janitor
from tasker.engine.lease import WorkerLease
from tasker.engine.loop_monitor import LoopMonitor
from tasker.engine.reporting import Reporter
from tasker.engine.scheduler import Scheduler
from tasker.engine.services import HandlerServices
from tasker.engine.settler import Settler
from tasker.engine.slots import Slots
from tasker.engine.step_logs import StepLogs
from tasker.engine.task_cache import TaskCache
from tasker.errors import (
    HandlerNotFound,
    HttpHostNotAllowed,
    Misuse,
    StoreUnavailable,
    TaskRegistrationError,
)
from tasker.graph import Graph
from tasker.handlers import Handlers
from tasker.handlers.check import find_undeclared_inputs
from tasker.layout import steps_with_handlers
from tasker.model import (
    HTTP_HANDLER,
    CreateTasksResult,
    NewTask,
    StepSpec,
    Template,
    TemplateStatus,
    WorkerId,
)
from tasker.notices import Around, Observer
from tasker.settings import WorkerSettings
from tasker.store.protocol import Store
from tasker.suggest import suggest_allowed

if TYPE_CHECKING:
    from tasker.engine.http_step import HttpStepHandler

log = logging.getLogger("tasker.worker")

_CLEANUP = 1.0  #: seconds for handlers to clean up when they are stopped at shutdown
_MOST_COUNTED = 100_000  #: maximum number of open tasks that a starting worker counts
_BOUND_NOWHERE = (
    "the handlers are not bound to any namespace: pass the templates that call them (--templates),"
    " or the namespaces whose templates may call them (--namespace payments, repeatable, '*'"
    ' for all; in Python: Worker(..., namespaces=["payments"]))'
)
_FLUSH = 10.0  #: time limit for the final settle and retire at shutdown


class Worker:
    """Runs the steps for which it has handlers.

    `async with Worker(store, handlers=[module]):` runs it next to other code; `await worker.run()`
    runs it until `stop` is called. A fatal failure is logged as critical when it happens, and ends
    the block: the code inside is cancelled, and the failure is raised from the block.

    Args:
        store: An open store.
        handlers: Modules, functions, workflows, ...; see `Handlers.collect`.
        templates: Templates to register at the start, in addition to those of workflows among the
            handlers. Each of their steps must have a handler, unless `partial` is set.
        namespaces: Namespaces whose templates may call handlers that none of the given templates
            refer to; "*" means all.
        settings: The worker's settings; the default is `WorkerSettings()`.
        name: The worker's name, as shown to operators; the default is the host and process id.
        observers: Functions called with every notice; they must not block, and more can be added
            later.
        around: Context managers entered around every handler, except those in processes, for
            traces.
        replace: Whether existing templates with different content are replaced; for development.
        partial: Whether steps without a handler here are left to other workers or to operators,
            with a warning, instead of raising HandlerNotFound.

        engine_only: Whether it runs only the engine's own steps, in all namespaces where no other
            worker runs them; for servers.

    Raises:
        HandlerImportError: A module cannot be imported.
        Misuse: The handlers are not bound to any namespace.
    """

    _SETTLEMENTS = 1  #: at the same time: more would compete with those of other workers

    def __init__(
        self,
        store: Store,
        handlers: Iterable[object] = (),
        *,
        templates: Iterable[Template] = (),
        namespaces: Iterable[str] = (),
        settings: WorkerSettings | None = None,
        name: str | None = None,
        observers: Iterable[Observer] = (),
        replace: bool = False,
        partial: bool = False,
        around: Around | None = None,
        engine_only: bool = False,
    ) -> None:
        self.store = store
        self.settings = settings or WorkerSettings()
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self.client = LocalClient(store, claimant=self)
        self._figures = OutcomeCounter(store)
        self._logs = StepLogs(store, self.settings.step_logs)
        self.reporter = self._reporter = Reporter(
            self.name, observers, self.client.task_end_waiter, self._figures, self._logs
        )
        self.observers = self._reporter.observers
        given, namespaces = Handlers.collect(*handlers), frozenset(namespaces)
        self._templates = (*templates, *given.templates())
        self.handlers = given.bind_to_namespaces(self._templates, namespaces)
        if not self._templates and self.handlers.are_all_unbound():
            raise Misuse(_BOUND_NOWHERE)
        self._http = self._make_http_step_handler() if self.settings.http else None
        if self._http is not None:
            self.handlers = self.handlers.copy_with_built_in_handler(
                HTTP_HANDLER, self._http, namespaces=namespaces, templates=self._templates
            )
            if self.handlers.are_all_unbound():
                raise Misuse(_BOUND_NOWHERE)
        self._replace = replace
        self._partial = partial
        self._around = around
        self._background = BackgroundTasks(self.name)
        self._slots = Slots(self.settings.slots)
        self._cache = self._make_task_cache()
        named = {*namespaces, *(template.namespace for template in self._templates)}
        self._lease = WorkerLease(
            store, self.name, self.settings, self.handlers, named, engine_only=engine_only
        )
        self._settler = Settler(
            store,
            self._lease,
            self._slots,
            self._cache,
            self._reporter,
            self._background,
            settlements=self._SETTLEMENTS,
        )
        self._deliverer = EventDeliverer(
            store,
            self.name,
            self.handlers.subscribers,
            {*namespaces, *(template.namespace for template in self._templates)},
            self.settings,
            self._settler.published,
        )
        self._janitor = Janitor(
            store,
            self._cache,
            self._lease,
            self._reporter,
            Scheduler(store, self.client, self._reporter),
            self._figures,
            self.client.bulk,
            lease_time=self.settings.lease,
            retention=self.settings.retention,
            event_retention=self.settings.event_retention,
            step_log_retention=self.settings.step_log_retention,
        )
        self._claimer: Claimer | None = None  #: set while the worker runs
        self._monitor: LoopMonitor | None = None
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()  #: set when the grace period is shortened
        self._started = asyncio.Event()
        self._grace = self.settings.grace
        self._running: asyncio.Task[None] | None = None
        self._body: asyncio.Task[Any] | None = None  #: the asyncio task inside `async with`

    def _make_task_cache(self) -> TaskCache:
        return TaskCache(
            self.store,
            self.handlers,
            environment=self.settings.environment,
            limit=self.settings.memory,
            labels=self.settings.labels,
        )

    def _make_handler_services(self) -> HandlerServices:
        url = self.settings.public_url or ""
        return HandlerServices(self.store, self.client, url, self._logs)

    def _background_loops(
        self, executor: Executor, claimer: Claimer
    ) -> dict[str, Coroutine[Any, Any, None]]:
        """Return the coroutines that run until the worker stops, by the names of their tasks."""
        return {
            "settle": self._settler.run(),
            "lease": self._lease.maintain(executor, claimer),
            **{duty.name: self._janitor.repeat_duty(duty) for duty in self._janitor.duties},
            "admit_after_ends": self._janitor.admit_waiting_tasks_as_others_end(),
            "claim": claimer.run(),
            "deliver": self._deliverer.run(),
            "logs": self._logs.run(),
        }

    def _make_http_step_handler(self) -> "HttpStepHandler":
        from tasker.engine.http_step import HttpStepHandler

        return HttpStepHandler(self.store.get_policy, self.settings.http_networks)

    @property
    def id(self) -> WorkerId:
        """The worker's id in the store: 0 before it runs, and a new one after a lost lease."""
        return self._lease.id

    @property
    def is_ready(self) -> bool:
        """Whether the worker claims steps: its lease is valid and it is not stopping. Callable from
        any thread.
        """
        return self._lease.holds and not self._stopping.is_set()

    @property
    def is_live(self) -> bool:
        """Whether the event loop has run within the duration of a lease. Callable from any thread.

        If not, other workers have taken over the steps, so a restart loses nothing.
        """
        return self._monitor is None or self._monitor.blocked_duration() <= self.settings.lease

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
        if self._running.done() or self._background.failure is not None:
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
        if self._background.failure is not None and body is not None:
            body.uncancel()
        await self._running

    async def wait_until_ended(self) -> None:
        """Wait until the worker has stopped, if it was started by `async with`.

        Raises:
            Exception: The failure that ended it before `stop` was called.
        """
        if self._running is not None:
            await asyncio.shield(self._running)

    def stop(self, grace: timedelta | None = None) -> None:
        """Stop claiming, let running attempts finish, and release the others.

        Args:
            grace: Time limit for running attempts; None means `settings.grace`. A second call may
                shorten it.
        """
        self._grace = self.settings.grace if grace is None else grace
        self._stopping.set()
        self._changed.set()
        if self._claimer is not None:
            self._claimer.close()

    async def run(self) -> None:
        """Run until `stop` is called. On cancellation, release the running attempts.

        Raises:
            HandlerNotFound: A step of the templates has no handler here.
            Misuse: A handler's parameters do not match its step, or a required one is neither a
                result of a step nor an input that the template declares.
            TaskRegistrationError: A template version exists with different content.
            HttpHostNotAllowed: A template calls a host that its namespace does not allow.
            StoreUnavailable: The store cannot be reached at the start.
        """
        try:
            await self._register_templates()
        except (Misuse, TaskRegistrationError, HttpHostNotAllowed) as error:
            raise error.with_traceback(None) from None  # the caller's mistake, not the store's
        await self._lease.register_and_open_lease()
        await self._store_subscriptions()
        self._warn_of_unbound_handlers()
        self._warn_of_unknown_environment()
        await self._warn_of_lacking_versions()
        services = self._make_handler_services()
        executor = Executor(
            self.settings,
            services,
            self._slots,
            self._settler,
            self._reporter,
            EngineServices(self.store, self.client, services),
            around=self._around,
        )
        claimer = self._claimer = Claimer(
            self.store,
            self.settings,
            self._lease,
            self._slots,
            self._cache,
            executor,
            self._settler,
            self._background,
        )
        self._settler.set_freed_step_consumer(claimer)
        self._logs.start_capturing_output()
        self._monitor = LoopMonitor(self.settings.blocked_after, executor, self._reporter)
        for name, loop in self._background_loops(executor, claimer).items():
            self._background.start_loop(name, loop)
        self._background.start_loop("failure", self._stop_on_failure())
        self._started.set()
        facts = {"worker": self.name, "slots": self.settings.slots}
        log.info("worker_started", extra={**facts, "queues": len(self._lease.served)})
        try:
            await self._stopping.wait()
            await self._await_running_attempts()
        finally:
            await self._shut_down(executor, claimer)
            self._logs.stop_capturing_output()
            self._monitor.stop()
        if self._background.failure is not None:
            raise self._background.failure
        log.info("worker_stopped", extra={"worker": self.name})

    async def _stop_on_failure(self) -> None:
        """Stop the whole worker if one of its parts fails unexpectedly."""
        await self._background.failed.wait()
        self.stop(timedelta(0))
        if self._body is not None:
            self._body.cancel()

    async def _await_running_attempts(self) -> None:
        """Let running attempts and background tasks end within the grace period."""
        end = time.monotonic() + self._grace.total_seconds()
        while self._slots.taken or self._background.pending:
            left = end - time.monotonic()
            if left <= 0:
                return
            self._changed.clear()
            changes = (self._changed, self._slots.given_back, self._background.changed)
            for change in changes[1:]:
                change.clear()
            waits = [asyncio.ensure_future(change.wait()) for change in changes]
            await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            end = min(end, time.monotonic() + self._grace.total_seconds())

    async def _shut_down(self, executor: Executor, claimer: Claimer) -> None:
        """Release running attempts, settle finished ones, and end the lease."""
        claimer.close()
        executor.shutdown()
        try:
            await executor.wait_for_interrupted_handlers(timeout=_CLEANUP)
            async with asyncio.timeout(_FLUSH):
                await self._settle_and_end_lease()
        except Exception as error:  # the claims expire with the lease
            facts = {"worker": self.name, "error": str(error) or type(error).__name__}
            log.warning("shutdown_incomplete", extra=facts)
        finally:
            self._background.cancel_all()
            executor.close()
            if self._http is not None:
                await self._http.close()

    async def _settle_and_end_lease(self) -> None:
        """Settle or release all claims, and end the lease."""
        loops = self._background
        await asyncio.wait({loops["claim"]}, timeout=1.0)  # it releases claims that still arrive
        drained = asyncio.create_task(self._settler.drain())
        await asyncio.wait({drained, loops["settle"]}, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        await self._stop_deliveries_and_flush()
        loops["lease"].cancel()
        await asyncio.wait({loops["lease"]})  # a pending renewal would revive the lease
        await self._lease.release_claims_and_end_lease()

    async def _store_subscriptions(self) -> None:
        await self._deliverer.store_subscriptions()

    async def _stop_deliveries_and_flush(self) -> None:
        """Stop deliveries, and write the figures and the log records."""
        self._background["deliver"].cancel()
        await self._deliverer.close()
        with suppress(StoreUnavailable):
            await self._figures.write_counts()
            await self._logs.write_records()

    async def _register_templates(self) -> None:
        """Register the templates, and check that their steps match the handlers."""
        self._check_handlers()
        client = self.client.acting_as(self.name)
        registered = await client.register_all(self._templates, replace=self._replace)
        for template, (stored, _) in zip(self._templates, registered, strict=True):
            self._warn_unless_approved(template, stored.status)

    def _check_handlers(self) -> None:
        """Raise Misuse or HandlerNotFound unless the templates' steps match the handlers."""
        for template in {each.full_name: each for each in self._templates}.values():
            graph = Graph(template)
            for spec in steps_with_handlers(template.steps):
                if self.handlers.compile_call_plan(template, graph, spec) is None:
                    self._raise_or_warn_of_missing_handler(template, spec)
            if problems := find_undeclared_inputs(template, self.handlers):
                lines = "\n".join(str(problem) for problem in problems)
                raise Misuse(f"the handlers do not match {template.full_name}:\n{lines}")

    def _warn_unless_approved(self, template: Template, status: TemplateStatus) -> None:
        if status is not TemplateStatus.APPROVED:
            log.warning(
                "template_takes_no_tasks",
                extra={"template": template.full_name, "status": status.value},
            )

    def _raise_or_warn_of_missing_handler(self, template: Template, spec: StepSpec) -> None:
        """Raise for a step without a handler here, or log a warning if `partial` is set."""
        missing = self.handlers.not_found_error(
            spec.handler, template.namespace, spec.handler_version
        )
        if not self._partial:
            raise HandlerNotFound(f"{template.full_name}, step {spec.name}: {missing}")
        facts = {"template": template.full_name, "step": spec.name, "reason": str(missing)}
        log.warning("step_without_handler", extra=facts)

    def _warn_of_unbound_handlers(self) -> None:
        """Log a warning about handlers that are not bound to any namespace, so never called."""
        if unbound := [handler.name for handler in self.handlers.unbound_handlers()]:
            hint = (
                "no template given to this worker calls them; use --namespace to allow the"
                " templates of a namespace to call them"
            )
            facts = {"worker": self.name, "handlers": unbound, "hint": hint}
            log.warning("handlers_unbound", extra=facts)

    def _warn_of_unknown_environment(self) -> None:
        """Log a warning if the templates declare environments, but not the one of the settings."""
        name = self.settings.environment
        declared = sorted({each for one in self._templates for each in one.environments})
        if name is not None and declared and name not in declared:
            facts = {"worker": self.name, "environment": name}
            hint = f"no template given to this worker declares it{suggest_allowed(name, declared)}"
            log.warning("environment_unknown", extra={**facts, "hint": hint})

    async def _warn_of_lacking_versions(self) -> None:
        """Log a warning about open tasks that require other code versions than this worker has."""
        for template_id, tasks in (
            await self.store.count_open_tasks_by_template(_MOST_COUNTED)
        ).items():
            template = (await self._cache.load_template(template_id)).template
            lacking = await asyncio.to_thread(self._list_steps_lacking_version, template)
            if lacking:
                facts = {
                    "worker": self.name,
                    "template": template.full_name,
                    "tasks": tasks,
                    "steps": lacking,
                    "hint": "to run these tasks with newer code, declare"
                    f' Workflow("{template.namespace}.{template.name}", ...,'
                    f' serves=">={template.version}"); otherwise, start a worker with the code'
                    " version that they require",
                }
                log.warning("open_tasks_need_other_version", extra=facts)

    def _list_steps_lacking_version(self, template: Template) -> list[str]:
        steps = steps_with_handlers(template.steps)
        return [spec.name for spec in steps if self._lacks_required_version(template, spec)]

    def _lacks_required_version(self, template: Template, spec: StepSpec) -> bool:
        """Return whether a step's handler is here, but not in the required version."""
        find, namespace = self.handlers.find_handler, template.namespace
        required = find(spec.handler, namespace, spec.handler_version)
        return required is None and find(spec.handler, namespace) is not None

    async def create_task_and_claim(self, new: NewTask, roots: int) -> CreateTasksResult:
        """Create a task, and claim as many of its `roots` as there are free slots."""
        if self._claimer is None:
            return await self.store.create_tasks([new])
        return await self._claimer.create_task_and_claim(new, roots)
