"""The pieces of a worker, connected as a worker connects them; none runs until a test says so."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import NamedTuple

from tasker import LocalClient, Template
from tasker.engine.background import BackgroundTasks
from tasker.engine.claimer import Claimer
from tasker.engine.engine_steps import EngineServices
from tasker.engine.executor import Executor
from tasker.engine.figures import OutcomeCounter
from tasker.engine.janitor import Janitor
from tasker.engine.lease import WorkerLease
from tasker.engine.reporting import Reporter
from tasker.engine.scheduler import Scheduler
from tasker.engine.services import HandlerServices
from tasker.engine.settler import Settler
from tasker.engine.slots import Slots
from tasker.engine.task_cache import TaskCache
from tasker.handlers import Handlers
from tasker.notices import Observer
from tasker.settings import WorkerSettings
from tasker.store.protocol import Store


class Pieces(NamedTuple):
    """The pieces of one worker."""

    store: Store
    background: BackgroundTasks
    slots: Slots
    cache: TaskCache
    lease: WorkerLease
    settler: Settler
    executor: Executor
    claimer: Claimer
    janitor: Janitor


@asynccontextmanager
async def assembled(
    store: Store,
    handlers: Iterable[object],
    templates: Iterable[Template],
    settings: WorkerSettings | None = None,
    observers: Iterable[Observer] = (),
    namespaces: Iterable[str] = (),
) -> AsyncIterator[Pieces]:
    """Register templates, open a lease, and connect the pieces of a worker."""
    settings = settings or WorkerSettings()
    client = LocalClient(store)
    for template in templates:
        await client.register(template)
    bound = Handlers.collect(*handlers).bind_to_namespaces(templates, namespaces)
    background = BackgroundTasks("pieces")
    slots = Slots(settings.slots)
    cache = TaskCache(store, bound, environment=None, limit=settings.memory)
    reporter = Reporter("pieces", observers, client.task_end_waiter)
    lease = WorkerLease(store, "pieces", settings, bound)
    await lease.register_and_open_lease()
    settler = Settler(store, lease, slots, cache, reporter, background)
    services = HandlerServices(store, client)
    engine = EngineServices(store, client, services)
    executor = Executor(settings, services, slots, settler, reporter, engine)
    claimer = Claimer(store, settings, lease, slots, cache, executor, settler, background)
    settler.set_freed_step_consumer(claimer)
    scheduler = Scheduler(store, client, reporter)
    janitor = Janitor(
        store,
        cache,
        lease,
        reporter,
        scheduler,
        OutcomeCounter(store),
        client.bulk,
        lease_time=settings.lease,
        retention=settings.retention,
    )
    try:
        yield Pieces(store, background, slots, cache, lease, settler, executor, claimer, janitor)
    finally:
        background.cancel_all()
        executor.close()
