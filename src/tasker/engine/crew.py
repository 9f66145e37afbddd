"""The pieces of a running worker, put together: who tells whom what."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta

from tasker.client import LocalClient
from tasker.config import WorkerSettings
from tasker.engine.claimer import Claimer
from tasker.engine.executor import Executor, Finished, Running, Stop
from tasker.engine.janitor import Janitor
from tasker.engine.lease import WorkerLease
from tasker.engine.loop_monitor import LoopWatch
from tasker.engine.reporting import Reporter
from tasker.engine.services import HandlerServices
from tasker.engine.settler import Settler
from tasker.engine.task_cache import TaskCache
from tasker.events import Around
from tasker.handlers import Handlers
from tasker.model import ATTEMPT_OUTCOMES, AttemptOutcome, Claim, Settled, TaskEnd, TaskId
from tasker.store.protocol import Store

log = logging.getLogger("tasker.worker")

_CLEANING = 1.0  #: seconds that handlers get to clean up when they are stopped at a shutdown
_PARTING = 10.0  #: seconds that the last words to the store may take
_COMPLETE = ATTEMPT_OUTCOMES.index(AttemptOutcome.COMPLETE)
_RETRY = ATTEMPT_OUTCOMES.index(AttemptOutcome.RETRY)


class Crew:
    """What works while a worker runs.

    Args:
        name: The worker's.
        store: The store.
        handlers: What it can run.
        settings: How it behaves.
        client: Bound to the attempts that ask for it.
        reporter: Tells the world.
        failed: Told when a duty failed in a way that nobody foresaw.
        around: Entered around every handler that runs in this process.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        handlers: Handlers,
        settings: WorkerSettings,
        *,
        client: LocalClient,
        reporter: Reporter,
        failed: Callable[[str, BaseException], None],
        around: Around | None,
    ) -> None:
        self._name = name
        self._failed = failed
        self._reporter = reporter
        self._loop = asyncio.get_running_loop()
        self._duties: dict[str, asyncio.Task[None]] = {}
        self._errands: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()  #: a slot is free again, or an errand done
        self._knowledge = TaskCache(
            store, handlers, environment=settings.environment, limit=settings.memory
        )
        self._executor = Executor(
            settings,
            HandlerServices(store, client),
            finished=self._finished,
            freed=self._slot_freed,
            park=self._park,
            around=around,
        )
        self.presence = WorkerLease(
            store,
            name,
            settings,
            handlers,
            held=self._executor.held,
            taken=self._taken,
            opened=self._opened,
        )
        self._settler = Settler(
            store,
            self.presence,
            room=self._room,
            settled=self._settled,
            recover=self._recover,
        )
        self.intake = Claimer(
            store,
            settings,
            self.presence,
            self._knowledge,
            self._executor,
            self._settler,
            started=reporter.started,
            errand=self._errand,
        )
        self._janitor = Janitor(
            store, self._knowledge, self.presence, lease=settings.lease, ended=self._ended
        )
        self._blocked_after = settings.blocked_after

    def start(self) -> None:
        """Take up all duties. The presence is announced already."""
        self._watch = LoopWatch(self._blocked_after, self._blocked)
        for name, work in (
            ("settle", self._settler.run()),
            ("lease", self.presence.keep()),
            ("janitor", self._janitor.run()),
            ("claim", self.intake.run()),
        ):
            duty = asyncio.create_task(work, name=f"tasker-{name}")
            duty.add_done_callback(self._duty_ended)
            self._duties[name] = duty

    # -------------------------------------------------------------------- ending

    async def finish(self, grace: Callable[[], timedelta], hurry: asyncio.Event) -> None:
        """Let running attempts and errands end; `hurry` tells that `grace` has changed."""
        end = time.monotonic() + grace().total_seconds()
        while (self._executor.running or self._errands) and time.monotonic() < end:
            self._freed.clear()
            hurry.clear()
            await _first(self._freed.wait(), hurry.wait(), timeout=end - time.monotonic())
            end = min(end, time.monotonic() + grace().total_seconds())

    async def part(self) -> None:
        """Hand back what still runs, settle what finished, end the lease."""
        self.intake.close()
        for key in list(self._executor.running):
            self._executor.stop(key, Stop.SHUTDOWN)
        try:
            await self._executor.interrupted(timeout=_CLEANING)
            async with asyncio.timeout(_PARTING):
                await self._flush()
        except Exception as error:  # then what it holds lapses
            facts = {"worker": self._name, "error": str(error) or type(error).__name__}
            log.warning("shutdown_incomplete", extra=facts)
        finally:
            for task in (*self._duties.values(), *self._errands):
                task.cancel()
            self._watch.stop()
            self._executor.close()

    async def _flush(self) -> None:
        claiming, settling, lease = (self._duties[name] for name in ("claim", "settle", "lease"))
        await asyncio.wait({claiming}, timeout=1.0)  # what it is still given, it hands back
        drained = asyncio.create_task(self._settler.drain())
        await asyncio.wait({drained, settling}, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        lease.cancel()
        await asyncio.wait({lease})  # a renewal on its way would bring the lease back to life
        await self.presence.retire()

    def _duty_ended(self, duty: asyncio.Task[None]) -> None:
        """Make loud what nobody foresaw: half a worker is worse than none."""
        trouble = None if duty.cancelled() else duty.exception()
        if trouble is not None:
            self._failed(duty.get_name(), trouble)

    def _errand(self, work: Coroutine[object, object, None]) -> None:
        """Begin what the worker should not end without."""
        errand = asyncio.create_task(work, name="tasker-errand")
        self._errands.add(errand)
        errand.add_done_callback(self._errand_ended)

    def _errand_ended(self, errand: asyncio.Task[None]) -> None:
        self._errands.discard(errand)
        self._freed.set()
        self._duty_ended(errand)

    # ------------------------------------------------- what the pieces tell each other

    def _opened(self) -> None:
        self.intake.wake()

    def _room(self, most: int) -> AbstractContextManager[int]:
        return self.intake.room(most)

    async def _recover(self) -> None:
        await self.intake.recover()

    def _finished(self, finished: Finished) -> None:
        self._settler.add(finished)

    def _slot_freed(self) -> None:
        self._freed.set()
        self.intake.made_room()

    def _taken(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._executor.stop(claim[:3], Stop.TAKEN)

    def _settled(self, batch: Sequence[Finished], settled: Settled) -> None:
        refused = set(settled.refused)
        for index, (_, outcome, _) in enumerate(batch):
            if outcome.outcome == _COMPLETE and index not in refused:
                self._knowledge.learn(outcome.task_id, outcome.no, outcome.result)
            elif outcome.outcome == _RETRY:
                self.intake.retry_in(outcome.delay)
        self._reporter.settled(batch, refused)
        self._ended(settled.ended)
        self.intake.accept(settled.claims)
        self.intake.made_room()

    def _ended(self, ended: Sequence[TaskEnd]) -> None:
        for task_id, _ in ended:
            self._knowledge.forget(task_id)
        self._reporter.ended(ended)

    def _park(self, running: Running, awaits: TaskId) -> None:
        self._errand(self._park_until_stored(running, awaits))

    async def _park_until_stored(self, running: Running, awaits: TaskId) -> None:
        if await self._settler.park(running, awaits):
            self._reporter.parked(running, awaits)
        else:
            self._reporter.refused(running)

    def _blocked(self, blocked_for: timedelta) -> None:
        """Name the handler that holds up the loop; called in the watching thread."""
        event = self._reporter.blocked(self._executor.current(), blocked_for)
        self._loop.call_soon_threadsafe(self._reporter.emit, event)


async def _first(*waits: Coroutine[object, object, object], timeout: float) -> None:
    """Wait until one of several things happens, at most `timeout` seconds."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=max(timeout, 0), return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
