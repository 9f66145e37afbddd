"""A worker: claims steps, has them run, and keeps its promises to the store.

Life of a step here: `_claim_for_ever` leases it, `_admit` makes sure that what its
handler needs is at hand, `Executor` runs it, `Settler` records the outcome and brings
back the steps that it freed, which go to `_admit` in turn.
"""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Coroutine, Iterable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from tasker.client import LocalClient
from tasker.config import WorkerSettings
from tasker.engine.executor import Executor, Finished, Running, Stop
from tasker.engine.janitor import Janitor
from tasker.engine.knowledge import Knowledge
from tasker.engine.leases import Leases
from tasker.engine.reporter import Reporter
from tasker.engine.services import HandlerServices
from tasker.engine.settler import Settler
from tasker.engine.watch import LoopWatch
from tasker.errors import HandlerNotFound, StoreUnavailable
from tasker.events import Observer
from tasker.handler import Handlers
from tasker.model import (
    Claim,
    Queue,
    QueueId,
    Settled,
    TaskEnd,
    TaskId,
    TaskInput,
    Template,
    TemplateStatus,
    WorkerId,
)
from tasker.store.protocol import Store

log = logging.getLogger("tasker.worker")

_FAIR = 4  #: of so many settlements under load, one leaves its freed steps to all
_NEW_QUEUES = 0.5  #: seconds between looks for queues of templates that came later


class Worker:
    """Runs the steps that its handlers can run.

    `async with Worker(store, handlers=[module]):` runs it beside other code; `await
    worker.run()` until `stop` is called.

    Args:
        store: An open store.
        handlers: Modules, functions, workflows, ...: see `Handlers.of`.
        templates: Registered at the start, and so are those of workflows among the
            handlers; each of their steps must have a handler.
        settings: How it behaves.
        name: What operators see; default: host and process id.
        observers: Told of every event; they must not block, and may be added later.
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
    ) -> None:
        self.store = store
        self.settings = settings or WorkerSettings()
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._reporter = Reporter(self.name, observers)
        self.observers = self._reporter.observers
        self.handlers = Handlers.of(*handlers)
        self.id = WorkerId(0)
        self.queues: Sequence[QueueId] = ()
        self.client = LocalClient(store, claimant=self)
        self._templates = (*templates, *self.handlers.templates())
        self._replace = replace
        self._knowledge = Knowledge(
            store,
            self.handlers,
            environment=self.settings.environment,
            limit=self.settings.memory,
        )
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._started = asyncio.Event()
        self._grace = self.settings.grace
        self._room_made = asyncio.Event()
        self._reserved = 0  #: slots for claims that are asked for, or being fetched
        self._backlog = False  #: the last claim found all it asked for
        self._settlements = 0
        self._uncertain = False  #: a reply was lost: the store may hold claims for us
        self._settling = asyncio.Lock()
        self._errands: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None
        self._retry_due = float("inf")  #: when a step that failed here is due again

    # ------------------------------------------------------------------ running

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.run(), name=f"worker {self.name}")
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait({self._running, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._running.done():
            await self._running
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._stopping.is_set():
            self.stop()
        if self._running is not None:
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
        self._room_made.set()
        self._hurry.set()

    async def run(self) -> None:
        """Work until `stop` is called.

        Raises:
            HandlerNotFound: A step of the templates has no handler here.
            TaskRegistrationError: A template's version exists with other content.
            StoreUnavailable: The store cannot be reached at the start.
        """
        await self._register()
        self._executor = Executor(
            self.settings,
            HandlerServices(self.store, self.client),
            finished=self._finished,
            freed=self._room_made.set,
            park=self._park,
        )
        self._settler = Settler(
            self.store, self, settled=self._settled, recover=self._recover, lock=self._settling
        )
        self._loop = asyncio.get_running_loop()
        watch = LoopWatch(self.settings.blocked_after, self._blocked)
        await self._announce()
        try:
            await self._work()
        finally:
            watch.stop()
            self._executor.close()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            duties = [
                group.create_task(self._settler.run(), name="tasker-settle"),
                group.create_task(self._keep_lease(), name="tasker-lease"),
                group.create_task(self._do_duties(), name="tasker-janitor"),
            ]
            claiming = group.create_task(self._claim_for_ever(), name="tasker-claim")
            self._started.set()
            log.info(
                "worker_started",
                extra={
                    "worker": self.name,
                    "slots": self.settings.slots,
                    "queues": len(self.queues),
                },
            )
            await self._stopping.wait()
            claiming.cancel()
            await self._finish_running()
            for duty in duties:
                duty.cancel()
        with contextlib.suppress(StoreUnavailable):
            await self.store.retire_worker(self.id)
        log.info("worker_stopped", extra={"worker": self.name})

    async def _finish_running(self) -> None:
        """Give running attempts their grace, then hand back what is left."""
        end = time.monotonic() + self._grace.total_seconds()
        while (self._executor.running or self._errands) and time.monotonic() < end:
            self._room_made.clear()
            self._hurry.clear()
            await _first(self._room_made.wait(), self._hurry.wait(), timeout=end - time.monotonic())
            end = min(end, time.monotonic() + self._grace.total_seconds())
        for key in list(self._executor.running):
            self._executor.stop(key, Stop.SHUTDOWN)
        await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await self._settler.drain()

    async def _register(self) -> None:
        """Register the templates, all of whose steps must have a handler."""
        for template in self._templates:
            for spec in template.steps:
                if self.handlers.find(spec.handler, template.namespace) is None:
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

    async def _announce(self) -> None:
        """Open a lease, and find out which queues this worker serves."""
        self.id = await self.store.register_worker(
            self.name,
            lease=self.settings.lease,
            slots=self.settings.slots,
            handlers=self.handlers.names(),
        )
        await self._find_queues()

    async def _find_queues(self) -> bool:
        """Look which queues there are; tell whether this worker serves one more."""
        self._queues_found = time.monotonic()
        served = [queue.id for queue in await self.store.queues() if self._serves(queue)]
        grown = len(served) > len(self.queues)
        self.queues = served
        return grown

    def _serves(self, queue: Queue) -> bool:
        return self.handlers.find(queue.handler, queue.namespace) is not None

    # ----------------------------------------------------------------- claiming

    def room(self) -> int:
        """Tell how many freed steps to take; none now and then, so that older work gets in."""
        if self._stopping.is_set():
            return 0
        self._settlements += 1
        if self._backlog and self._settlements % _FAIR == 0:
            return 0
        return max(0, self._free())

    def _free(self) -> int:
        return self.settings.slots - len(self._executor.running) - self._reserved

    def _unpromised(self) -> int:
        """Tell how many steps to claim: a slot is kept for what each settlement may free."""
        return self._free() - len(self._settler.unsettled())

    async def _claim_for_ever(self) -> None:
        enough = max(1, self.settings.slots // 4)
        while True:
            if self._unpromised() < enough:
                self._room_made.clear()
                await self._room_made.wait()
                continue
            try:
                if self._uncertain:
                    await self._adopt()
                pause = await self._claim(self._unpromised())
            except StoreUnavailable:
                await self._recover()
                continue
            if pause > 0:
                await self.store.wait_for_work(pause)

    async def _claim(self, limit: int) -> float:
        """Claim; tell how many seconds to wait before the next try."""
        self._reserved += limit
        try:
            claims, next_due = await self.store.claim(self.id, self.queues, limit)
        finally:
            self._reserved -= limit
        self._backlog = len(claims) == limit
        self.accept(claims)
        if self._backlog:
            return 0
        stale = time.monotonic() - self._queues_found > _NEW_QUEUES
        if not claims and stale and await self._find_queues():
            return 0
        pause = self.settings.poll.total_seconds()
        if next_due is not None:
            pause = min(pause, max(next_due, 0.001))
        return max(min(pause, self._retry_due - time.monotonic()), 0.001)

    async def _adopt(self) -> None:
        """After a lost reply: run the claims that the store holds for us unknown to us."""
        async with self._settling:
            known = set(self._executor.running)
            known |= {finished.outcome[:3] for finished in self._settler.unsettled()}
            held = await self.store.held(self.id)
            self._uncertain = False
            self.accept([claim for claim in held if claim[:3] not in known])

    def accept(self, claims: Sequence[Claim]) -> None:
        """Run claims; at once where all they need is known, else when it was fetched."""
        unknown: list[Claim] = []
        for claim in claims:
            task = self._knowledge.task(claim)
            if task is None:
                unknown.append(claim)
            else:
                self._reporter.started(self._executor.start(claim, task))
        if unknown:
            self._reserved += len(unknown)
            fetching = asyncio.create_task(self._fetch(unknown))
            self._errands.add(fetching)
            fetching.add_done_callback(self._errands.discard)

    async def _fetch(self, claims: list[Claim]) -> None:
        try:
            while True:
                try:
                    await self._knowledge.fetch(claims)
                    break
                except StoreUnavailable:
                    await self._recover()
        finally:
            self._reserved -= len(claims)
        for claim in claims:
            task = self._knowledge.task(claim)
            if task is not None:  # None: pruned, or taken while the store was away
                self._reporter.started(self._executor.start(claim, task))

    async def created(self, task: TaskInput, claims: Sequence[Claim]) -> None:
        """Run the roots of a task that this process made, claimed as it was made."""
        await self._knowledge.remember(task)
        self.accept(claims)

    # ----------------------------------------------------------------- settling

    def _finished(self, finished: Finished) -> None:
        self._settler.add(finished)
        if finished.outcome.outcome == _RETRY:
            due = time.monotonic() + finished.outcome.delay
            self._retry_due = min(self._retry_due, due)

    def _park(self, running: Running, child: TaskId) -> None:
        parking = asyncio.create_task(self._park_until_stored(running, child))
        self._errands.add(parking)
        parking.add_done_callback(self._errands.discard)

    async def _park_until_stored(self, running: Running, child: TaskId) -> None:
        """Let a step wait for a task; a repeated call is refused, and does no harm."""
        while True:
            try:
                parked = await self.store.park(running.claim, child)
                break
            except StoreUnavailable:
                await self._recover()
        if parked:
            self._reporter.parked(running, child)
        else:
            self._reporter.refused(running)

    def _settled(self, batch: Sequence[Finished], settled: Settled) -> None:
        knowledge = self._knowledge
        for finished in batch:
            outcome = finished.outcome
            if outcome.outcome == _COMPLETE:
                knowledge.learn(outcome.task_id, outcome.no, outcome.result)
        self._reporter.settled(batch, settled.refused)
        self._tell_ended(settled.ended)
        if time.monotonic() >= self._retry_due:
            self._retry_due = float("inf")
        self.accept(settled.claims)
        self._room_made.set()

    def _tell_ended(self, ended: Sequence[TaskEnd]) -> None:
        for task_id, _ in ended:
            self._knowledge.forget(task_id)
        self._reporter.ended(ended)

    # ------------------------------------------------------------------- duties

    async def _keep_lease(self) -> None:
        while True:
            leases = Leases(
                self.store,
                lease=self.settings.lease,
                held=self._executor.held,
                taken=self._taken,
                lost=self._lease_lost,
            )
            leases.opened()
            await leases.run(self.id)
            await self._announce_again()

    async def _announce_again(self) -> None:
        while True:
            try:
                await self._announce()
                return
            except StoreUnavailable:
                await asyncio.sleep(0.5)

    async def _do_duties(self) -> None:
        janitor = Janitor(self.store, self._knowledge, ended=self._tell_ended)
        await janitor.run(lambda: self.id)

    def _taken(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._executor.stop(claim[:3], Stop.TAKEN)

    def _lease_lost(self) -> None:
        held = self._executor.held()
        log.error("lease_lost", extra={"worker": self.name, "held": len(held)})
        self._taken(held)

    async def _recover(self) -> None:
        """Wait until the store can be reached again."""
        self._uncertain = True
        pause, told = 0.05, False
        while True:
            await asyncio.sleep(pause)
            try:
                await self.store.schema_status()
            except StoreUnavailable as error:
                if not told:
                    log.error("store_unavailable", extra={"worker": self.name, "error": str(error)})
                told, pause = True, min(pause * 2, 2.0)
            else:
                if told:
                    log.info("store_available", extra={"worker": self.name})
                return

    def _blocked(self, blocked_for: timedelta) -> None:
        """Name the handler that holds up the loop; called in the watching thread."""
        event = self._reporter.blocked(self._executor.current(), blocked_for)
        self._loop.call_soon_threadsafe(self._reporter.emit, event)


_COMPLETE, _RETRY = 0, 1  # indexes in ATTEMPT_OUTCOMES


async def _first(*waits: Coroutine[Any, Any, object], timeout: float) -> None:
    """Wait until one of several things happens, at most `timeout` seconds."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=max(timeout, 0), return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
